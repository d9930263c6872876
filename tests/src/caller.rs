//! A client program that asks when it is told to: it may be watched from its first byte, or joined midway.
//!
//! Invariant: a caller that is dropped is gone.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::process::wait_for;

const END_LIMIT: Duration = Duration::from_mins(1);

/// A client that waits for a line on its stdin and prints a line for each request.
#[derive(Debug)]
pub struct Caller {
    child: Child,
    word: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Caller {
    /// Starts it. It asks nothing yet, or nothing more than it does by itself.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
        let word = child.stdin.take().context("its stdin is a pipe")?;
        let output = BufReader::new(child.stdout.take().context("its stdout is a pipe")?);
        Ok(Self { child, word, output })
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(self.output.read_line(&mut line)? > 0, "it ended without a line");
        Ok(line)
    }

    /// Gives it a line and waits for the one that answers it.
    pub fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        writeln!(self.word, "{line}").context("give the line")?;
        self.line()
    }

    /// Gives the word and waits for the end: the lines printed from now on.
    pub fn call(mut self) -> anyhow::Result<Vec<String>> {
        self.word.write_all(b"go\n").context("give the word")?;
        let lines = self.output.by_ref().lines().collect::<Result<Vec<_>, _>>()?;
        let status = wait_for(&mut self.child, END_LIMIT)?;
        ensure!(status.success(), "the caller ended with {status}");
        Ok(lines)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
