//! Requests that are to fail, and what their spans say of it.
//!
//! Invariant: one request after the other, each on a connection of its own unless the caller keeps one; the probe is in
//! place, or knows what it needs to know of the processes, before the first.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;

use crate::client::{Connection, Request};
use crate::probe::SpanLine;
use crate::server::Server;
use crate::watch::Watch;

/// The probe is in place, or what it needs to know of the process is known.
pub const READY_LIMIT: Duration = Duration::from_secs(30);

/// What `plain` of `apps/failures.py` raises.
pub const NONE_LEFT: &str = "failures.NoStock: none of 7 left: \u{661f}";

/// The functions of `failing_fastapi.py` and its framework around a view, the innermost last.
pub const FASTAPI: &str = "__call__ __call__ __call__ __call__ middleware call_next coro __call__ wrapped_app wrapped_app \
                           __call__ __call__ app handle handle app wrapped_app wrapped_app app app \
                           run_endpoint_function";

/// What a span says: `status type: message`, then the functions of the last traceback, the innermost last.
pub fn said(span: &SpanLine) -> String {
    let text = |name: &str| Some(span.attributes.get(name)?.as_str()?.to_owned());
    let status = span.status.map_or("-".to_owned(), |status| status.to_string());
    let Some(kind) = text("exception.type") else { return status };
    let message = text("exception.message").map_or(String::new(), |message| format!(": {message}"));
    format!("{status} {kind}{message} | {}", functions(&text("exception.stacktrace").unwrap_or_default()))
}

fn functions(stacktrace: &str) -> String {
    let last = stacktrace.rsplit("Traceback (most recent call last):").next().unwrap_or_default();
    let names = last.lines().filter_map(|line| line.strip_prefix("  File ")?.rsplit_once(", in "));
    names.map(|(_, name)| name).collect::<Vec<_>>().join(" ")
}

/// The spans of requests for these paths, which `ask` sends, with this value of `python.errors`.
pub fn spans_by(
    server: Server,
    errors: &str,
    paths: &[&str],
    mut ask: impl FnMut(&Server, &str),
) -> anyhow::Result<Vec<SpanLine>> {
    let variables = [("STARDUST_PROBE_PYTHON_ERRORS", errors), ("STARDUST_PROBE_LOG_LEVEL", "debug")];
    let watch = Watch::within(server, &[], &variables)?;
    let ready = if errors == "always" { ": looking at exceptions" } else { ": followed: " };
    let pids = [watch.server.processes.children(), vec![watch.server.pid()]].concat();
    for pid in pids {
        let is_ready = watch.probe.wait_for_log(&format!("{pid}{ready}"), READY_LIMIT);
        ensure!(is_ready, "{pid}{ready}: {}", watch.probe.log());
    }
    for (index, path) in paths.iter().enumerate() {
        ask(&watch.server, path);
        ensure!(watch.probe.wait_for_spans(index + 1, READY_LIMIT), "{path}: {}", watch.probe.log());
    }
    let spans = watch.probe.stop()?;
    Ok(spans.into_iter().filter(|span| span.kind == "server").collect())
}

/// The same, one connection each.
pub fn spans(server: Server, errors: &str, paths: &[&str]) -> anyhow::Result<Vec<SpanLine>> {
    spans_by(server, errors, paths, ask_alone)
}

/// Sends a request on a connection of its own.
pub fn ask_alone(server: &Server, path: &str) {
    // Some connections are to be cut.
    let _ = Connection::open(&server.endpoint).and_then(|mut open| open.exchange(Request::get(path)));
}

/// Paths and what their spans say, where `around` are the functions around the view, the innermost last: they stand for
/// `@`.
pub fn with(around: &str, cases: &[(&str, &str)]) -> Vec<(String, String)> {
    let fill = |text: &str| text.replace('@', around);
    cases.iter().map(|(path, want)| ((*path).to_owned(), fill(want))).collect()
}

/// That the spans say what they are to say of each path.
pub fn assert_said(spans: &[SpanLine], cases: &[(String, String)]) {
    let target = |span: &SpanLine| span.target.clone().unwrap_or_default();
    let found: Vec<_> = spans.iter().map(|span| (target(span), said(span))).collect();
    assert_eq!(found, cases);
}

/// Interpreters of this machine.
pub fn interpreters() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("/usr/bin")];
    if let Some(home) = std::env::var_os("HOME") {
        let versions = Path::new(&home).join(".pyenv/versions").read_dir();
        folders.extend(versions.into_iter().flatten().flatten().map(|entry| entry.path().join("bin")));
    }
    let all =
        folders.iter().flat_map(|folder| (8..=14).map(move |minor| folder.join(format!("python3.{minor}"))));
    all.filter(|path| path.is_file()).collect()
}
