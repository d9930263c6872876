//! curl over HTTPS, which has its library loaded before it is told what to ask.
//!
//! Invariant: every request has a target of its own.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::ledger::Entry;
use crate::server::Server;

const REQUESTS: usize = 40;

/// curl, waiting for its list of requests.
pub fn start(server: &Server, arguments: &[&str]) -> anyhow::Result<Child> {
    start_by(Command::new("curl"), server, arguments)
}

/// As `command` starts it, which hands its arguments on to it.
pub fn start_by(mut command: Command, server: &Server, arguments: &[&str]) -> anyhow::Result<Child> {
    command.args(["-sS", "-K", "-"]).args(arguments).arg("--cacert").arg(server.certificate_file());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start curl")
}

/// Has it ask, and waits for its end.
pub fn ask(curl: &mut Child, server: &Server) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut list = String::new();
    for n in 0..REQUESTS {
        let target = if n % 2 == 0 { format!("/items/{n}") } else { format!("/big?bytes=60000&n={n}") };
        let url = server.endpoint.url();
        list.extend(["url = \"", &url, &target, "\"\noutput = \"/dev/null\"\n"]);
        let method = "GET".to_owned();
        entries.push(Entry { method, target, status: Some(200), complete: true, ..Entry::default() });
    }
    curl.stdin.take().context("its list is a pipe")?.write_all(list.as_bytes()).context("give the list")?;
    ensure!(curl.wait()?.success(), "curl failed");
    Ok(entries)
}
