//! A client process that waits to be told, so that a probe can be put on it first.
//!
//! Invariant: it is gone with its value.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::ledger::Entry;

/// A process that says `ready`, waits for a line, and says what it did until `done`.
#[derive(Debug)]
pub struct ToldClient {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
struct Line {
    method: String,
    target: String,
    status: u16,
    start_ns: u64,
    last_ns: u64,
    local: Option<String>,
}

impl ToldClient {
    /// Starts it; it is ready then.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
        let input = child.stdin.take().context("its input")?;
        let output = BufReader::new(child.stdout.take().context("its output")?);
        let mut client = Self { child, input, output };
        ensure!(client.line()? == "ready", "it is not ready");
        Ok(client)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it send its requests, and gives its books.
    pub fn run(&mut self) -> anyhow::Result<Vec<Entry>> {
        self.tell()?;
        let mut entries = Vec::new();
        loop {
            let text = self.line()?;
            if text == "done" {
                return Ok(entries);
            }
            let line: Line = serde_json::from_str(&text).with_context(|| format!("read {text:?}"))?;
            let local = line.local.map(|local| local.parse()).transpose().context("read its address")?;
            entries.push(Entry {
                method: line.method,
                target: line.target,
                status: Some(line.status),
                start_ns: line.start_ns,
                last_ns: line.last_ns,
                complete: true,
                local,
                ..Entry::default()
            });
        }
    }

    fn tell(&mut self) -> anyhow::Result<()> {
        self.input.write_all(b"\n").context("tell the client")
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(
            self.output.read_line(&mut line).context("read the client's output")? > 0,
            "the client ended"
        );
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for ToldClient {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = (self.child.kill(), self.child.wait());
    }
}
