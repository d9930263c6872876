//! A server, the probe on it, and the client's books: what every live test begins and ends with.
//!
//! Invariant: the probe is attached before the first request is sent, and stopped after its span has come.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::client::{Connection, Request};
use crate::ledger::Entry;
use crate::probe::{self, Probe, SpanLine};
use crate::server::Server;
use crate::venv::Venv;

/// How long spans may take to come out after the last request.
const SPAN_LIMIT: Duration = Duration::from_secs(5);

/// A server that is watched.
#[derive(Debug)]
pub struct Watch {
    /// The server.
    pub server: Server,
    /// The probe.
    pub probe: Probe,
    /// The requests so far.
    pub entries: Vec<Entry>,
    connection: Option<Connection>,
}

/// Whether live tests can run here. If not, the reason goes to stderr, past the capture of test output.
pub fn can_run() -> bool {
    match probe::cannot_run() {
        None => true,
        Some(reason) => {
            // Nobody reads a closed stderr.
            let _ = writeln!(std::io::stderr(), "{reason}");
            false
        }
    }
}

impl Watch {
    /// Attaches a probe to the server.
    pub fn on(server: Server) -> anyhow::Result<Self> {
        Self::with(server, &[])
    }

    /// Attaches a probe to the server, with more arguments for the probe.
    pub fn with(server: Server, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::within(server, arguments, &[])
    }

    /// As [`with`](Self::with), with more variables in the probe's environment.
    pub fn within(server: Server, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let probe = Probe::attach_in(&[server.pid()], arguments, environment)?;
        Ok(Self { server, probe, entries: Vec::new(), connection: None })
    }

    /// Sends a request, on the last connection if the server has kept it, and writes it down.
    pub fn ask(&mut self, request: Request) -> anyhow::Result<&mut Entry> {
        let mut connection = match self.connection.take() {
            Some(kept) => kept,
            None => Connection::open(&self.server.endpoint)?,
        };
        let entry = connection.exchange(request)?;
        self.connection = entry.keeps_alive.then_some(connection);
        self.entries.push(entry);
        self.entries.last_mut().context("one was just pushed")
    }

    /// A GET with the status and the name its span must have.
    pub fn get(&mut self, target: &str, status: u16, name: &str) -> anyhow::Result<&mut Entry> {
        let entry = self.ask(Request::get(target))?;
        ensure!(entry.status == Some(status), "{target} gives {:?}", entry.status);
        name.clone_into(&mut entry.name);
        Ok(entry)
    }

    /// Closes the connection that is kept.
    pub fn hang_up(&mut self) {
        self.connection = None;
    }

    /// Waits for a span of every request and `more` beside them, stops the probe, and gives all spans.
    pub fn finish(mut self, more: usize) -> anyhow::Result<(Vec<Entry>, Vec<SpanLine>)> {
        // If they do not come, the books tell which.
        self.probe.wait_for_spans(self.entries.len() + more, SPAN_LIMIT);
        self.hang_up();
        let spans = self.probe.stop()?;
        Ok((self.entries, spans))
    }
}

/// What a line of `apps/clients.py` says.
#[derive(Deserialize)]
struct ClientLine {
    method: String,
    target: String,
    status: u16,
    start_ns: u64,
    last_ns: u64,
}

/// Runs a real Python client (`requests`, `urllib3`, `httpx`) against a URL. Bytes on the wire stay unknown.
pub fn python_client(kind: &str, url: &str, count: usize) -> anyhow::Result<Vec<Entry>> {
    let mut command = Venv::open()?.script("clients.py");
    let output = read(command.args([kind, url, &count.to_string()]))?;
    let lines = output.lines().map(serde_json::from_str::<ClientLine>);
    lines
        .map(|line| {
            let line = line.context("read a line of the client")?;
            Ok(Entry {
                method: line.method,
                target: line.target,
                status: Some(line.status),
                start_ns: line.start_ns,
                last_ns: line.last_ns,
                complete: true,
                ..Entry::default()
            })
        })
        .collect()
}

/// Runs a command to its end and gives what it printed.
pub fn read(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).context("read the output")
}
