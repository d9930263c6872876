//! The demo's clients: `demo/traffic.py` in the background.
//!
//! Invariant: the clients are gone when the value is dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::interpreter;

/// Clients that have connected and wait for the word.
pub struct Traffic {
    child: Child,
    output: BufReader<ChildStdout>,
}

/// How many requests were made.
#[derive(Debug, PartialEq, Eq)]
pub struct Ledger {
    /// By kind and status, as in `slow 200`.
    pub by_kind: Vec<(String, u64)>,
}

impl Ledger {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.by_kind.iter().map(|(_, count)| count).sum()
    }

    fn read(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text.trim()).context("the clients printed no ledger")?;
        let counts = value.as_object().context("the clients' ledger is no object")?;
        let by_kind =
            counts.iter().map(|(kind, count)| (kind.clone(), count.as_u64().unwrap_or(0))).collect();
        Ok(Self { by_kind })
    }
}

impl Traffic {
    /// Starts the clients and waits until each has made its first request.
    pub fn prepare(venv: &Path, sources: &Path, port: u16, seconds: u64) -> Result<Self> {
        let mut child = Command::new(interpreter(venv))
            .arg(sources.join("traffic.py"))
            .args([port.to_string(), seconds.to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the clients")?;
        let output = BufReader::new(child.stdout.take().context("the clients' stdout is a pipe")?);
        let mut traffic = Self { child, output };
        let mut line = String::new();
        traffic.output.read_line(&mut line).context("read from the clients")?;
        if line.trim() != "ready" {
            bail!("the clients did not get ready");
        }
        Ok(traffic)
    }

    /// Gives the word.
    pub fn start(&mut self) -> Result<()> {
        let mut input = self.child.stdin.take().context("the clients have been started already")?;
        writeln!(input, "go").context("write to the clients")
    }

    /// The ledger, once all clients have ended.
    pub fn finished(&mut self) -> Result<Option<Ledger>> {
        let Some(status) = self.child.try_wait().context("look after the clients")? else { return Ok(None) };
        let mut text = String::new();
        self.output.read_to_string(&mut text).context("read the clients' ledger")?;
        if !status.success() {
            bail!("the clients failed ({status})");
        }
        Ledger::read(&text).map(Some)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_summed() {
        let ledger = Ledger::read("{\"fast 200\": 12, \"slow 200\": 3}\n").unwrap();
        assert_eq!(ledger.by_kind, [("fast 200".to_owned(), 12), ("slow 200".to_owned(), 3)]);
        assert_eq!(ledger.total(), 15);
        assert!(Ledger::read("").is_err());
    }
}
