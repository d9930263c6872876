//! The probe under test: started, attached, read, stopped.
//!
//! Invariant: one probe at a time in one test program, and none is left behind.

use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use parking_lot::{Condvar, Mutex, MutexGuard};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::wait_for;
use crate::venv::target_folder;

const ATTACH_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Whether the routes of apps are read.
pub const ROUTES: &str = "STARDUST_PROBE_PYTHON_ROUTES";

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A span as `--format json` prints it.
#[derive(Debug, Clone, Deserialize)]
pub struct SpanLine {
    /// `server` or `client`.
    pub kind: String,
    /// The app.
    pub app: String,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Low in cardinality.
    pub name: String,
    /// The path's template.
    pub route: Option<String>,
    /// The request's method.
    pub method: Option<String>,
    /// `http1`, `websocket`, `postgresql`, ...
    #[serde(default)]
    pub protocol: String,
    /// `http`.
    pub scheme: String,
    /// The authority.
    pub host: Option<String>,
    /// Path and query.
    pub target: Option<String>,
    /// The status.
    pub status: Option<u16>,
    /// Unix nanoseconds.
    pub start_unix_ns: u64,
    /// Microseconds.
    pub duration_us: f64,
    /// Microseconds to the response's first byte.
    pub ttfb_us: Option<f64>,
    /// Message bytes.
    pub request_bytes: u64,
    /// Message bytes.
    pub response_bytes: u64,
    /// The process's end of the connection.
    pub local: Option<String>,
    /// The other end.
    pub peer: Option<String>,
    /// Who really asked.
    pub client_addr: Option<String>,
    /// The client's program.
    #[serde(default)]
    pub user_agent: Option<String>,
    /// `1.0`, `1.1` or `2`.
    pub http_version: Option<String>,
    /// Headers that were to be recorded.
    #[serde(default)]
    pub headers: serde_json::Map<String, Value>,
    /// What else is known.
    #[serde(default)]
    pub attributes: serde_json::Map<String, Value>,
    /// The trace.
    pub trace_id: String,
    /// The span.
    pub span_id: String,
    /// The parent, if it is known.
    pub parent_id: Option<String>,
    /// `remote`, `thread`, `context`, ...
    pub parent_kind: Option<String>,
    /// `tracestate`.
    #[serde(default)]
    pub trace_state: Option<String>,
    /// Why it is an error.
    pub error: Option<String>,
    /// How it ended.
    pub end: String,
}

impl SpanLine {
    /// Whether nothing else is known than where the time went, and where the route is from.
    pub fn says_no_more_than_times(&self) -> bool {
        let is_always =
            |name: &str| name.starts_with("stardust_probe.time.") || name == "stardust_probe.route_source";
        self.attributes.keys().all(|name| is_always(name))
    }
}

#[derive(Debug, Default)]
struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    spans: Vec<SpanLine>,
    log: Vec<String>,
    broken: Vec<String>,
    open_pipes: usize,
}

/// A running probe.
#[derive(Debug)]
pub struct Probe {
    child: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
    state: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// Why a live test cannot run here; `None` if it can. Tests print it and return.
pub fn cannot_run() -> Option<String> {
    if !Uid::effective().is_root() {
        return Some("SKIPPED: live tests need root".to_owned());
    }
    match find_program() {
        Ok(_) => None,
        Err(error) => Some(format!("SKIPPED: {error:#}")),
    }
}

/// What the probe has counted, as its log says at the end.
pub fn counts(log: &str) -> Value {
    let counts = log.lines().find_map(|line| line.split_once("counts: ")).map(|(_, json)| json);
    serde_json::from_str(counts.expect("it says what it has counted")).expect("counts are an object")
}

/// The probe's program: `PROBE_UNDER_TEST`, else `release/` or `debug/` of the target folder.
pub fn find_program() -> anyhow::Result<PathBuf> {
    if let Some(program) = std::env::var_os("PROBE_UNDER_TEST") {
        return Ok(program.into());
    }
    let target = target_folder()?;
    let places = ["release", "debug"].map(|profile| target.join(profile).join("stardust-probe"));
    let found = places.iter().find(|place| place.exists()).cloned();
    found.with_context(|| format!("no {} or {}", places[0].display(), places[1].display()))
}

impl Probe {
    /// Starts the probe on these processes with JSON output, and waits until it is attached.
    pub fn attach(pids: &[u32], arguments: &[&str]) -> anyhow::Result<Self> {
        Self::attach_in(pids, arguments, &[])
    }

    /// As [`attach`](Self::attach), with more variables in the probe's environment.
    pub fn attach_in(pids: &[u32], arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let turn = ONE_AT_A_TIME.lock();
        let state = tempfile::tempdir().context("make a state folder")?;
        let mut command = Command::new(find_program()?);
        for pid in pids {
            command.args(["--pid", &pid.to_string()]);
        }
        command.args(["--format", "json"]).arg("--state-dir").arg(state.path()).args(arguments);
        // Names are learned from paths: most apps here are loaded while they are watched.
        command.env(ROUTES, "false").envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("start the probe")?;
        let output = Arc::new(Output::default());
        output.lines.lock().open_pipes = 2;
        let readers = vec![
            read_lines(child.stdout.take(), &output, Lines::take_output),
            read_lines(child.stderr.take(), &output, Lines::take_log),
        ];
        let mut probe = Self { child, output, readers, state, _turn: turn };
        let is_attached = |lines: &Lines| lines.log.iter().any(|line| line.contains("attached"));
        if !probe.wait_until(ATTACH_LIMIT, |lines| is_attached(lines) || lines.open_pipes < 2) {
            bail!("the probe is not attached after {ATTACH_LIMIT:?}:\n{}", probe.log());
        }
        if !is_attached(&probe.output.lines.lock()) {
            let status = wait_for(&mut probe.child, STOP_LIMIT)?;
            bail!("the probe ended with {status}:\n{}", probe.log());
        }
        Ok(probe)
    }

    /// The probe's own process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it keeps its state.
    pub fn state_folder(&self) -> &std::path::Path {
        self.state.path()
    }

    /// What it has written to stderr.
    pub fn log(&self) -> String {
        self.output.lines.lock().log.join("\n")
    }

    /// Spans so far.
    pub fn spans(&self) -> Vec<SpanLine> {
        self.output.lines.lock().spans.clone()
    }

    /// Waits for at least this many spans; `false` if they do not come within the limit.
    pub fn wait_for_spans(&self, count: usize, limit: Duration) -> bool {
        self.wait_until(limit, |lines| lines.spans.len() >= count)
    }

    /// Waits until the log says this; false if it does not in time.
    pub fn wait_for_log(&self, text: &str, limit: Duration) -> bool {
        self.wait_until(limit, |lines| lines.log.iter().any(|line| line.contains(text)))
    }

    /// Waits until it tells apart what the interpreters of these processes run, which it says at `--log-level debug`.
    pub fn wait_until_followed(&self, pids: &[u32], limit: Duration) -> anyhow::Result<()> {
        let said: Vec<String> = pids.iter().map(|pid| format!("{pid}: followed")).collect();
        let follows =
            |lines: &Lines| said.iter().all(|said| lines.log.iter().any(|line| line.contains(said.as_str())));
        ensure!(self.wait_until(limit, follows), "not all of {pids:?} are followed:\n{}", self.log());
        Ok(())
    }

    /// Stops it as Ctrl-C does, and gives every span. It must end in time, with exit code 0, and print nothing
    /// but spans.
    pub fn stop(self) -> anyhow::Result<Vec<SpanLine>> {
        Ok(self.stop_with_log()?.0)
    }

    /// As [`stop`](Self::stop), and gives the log too, with the counts that end it.
    pub fn stop_with_log(mut self) -> anyhow::Result<(Vec<SpanLine>, String)> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).context("interrupt the probe")?;
        let status = wait_for(&mut self.child, STOP_LIMIT).context("wait for the probe")?;
        for reader in std::mem::take(&mut self.readers) {
            reader.join().ok().context("read the probe's output")?;
        }
        let log = self.log();
        let mut lines = self.output.lines.lock();
        ensure!(status.success(), "the probe ended with {status}:\n{log}");
        ensure!(lines.broken.is_empty(), "not spans: {:#?}", lines.broken);
        Ok((std::mem::take(&mut lines.spans), log))
    }

    fn wait_until(&self, limit: Duration, condition: impl Fn(&Lines) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        let mut lines = self.output.lines.lock();
        while !condition(&lines) {
            if self.output.changed.wait_until(&mut lines, deadline).timed_out() {
                return condition(&lines);
            }
        }
        true
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // Stopped already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lines {
    fn take_log(&mut self, line: &str) {
        self.log.push(line.to_owned());
    }

    /// A line of stdout: a span, or an object of another kind, which says so in `type`.
    fn take_output(&mut self, line: &str) {
        let value: Value = serde_json::from_str(line).unwrap_or_default();
        if value.get("span_id").is_none() && value.is_object() {
            return;
        }
        match serde_json::from_value(value) {
            Ok(span) => self.spans.push(span),
            Err(error) => self.broken.push(format!("{error}: {line}")),
        }
    }
}

fn read_lines<R: Read + Send + 'static>(
    pipe: Option<R>,
    output: &Arc<Output>,
    take: fn(&mut Lines, &str),
) -> JoinHandle<()> {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        let lines = pipe.into_iter().flat_map(|pipe| BufReader::new(pipe).lines());
        for line in lines.map_while(Result::ok) {
            take(&mut output.lines.lock(), &line);
            output.changed.notify_all();
        }
        output.lines.lock().open_pipes -= 1;
        output.changed.notify_all();
    })
}
