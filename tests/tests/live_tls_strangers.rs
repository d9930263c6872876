//! A TLS library that a process shares with others is probed for all of them; what passes inside it is read of the
//! watched one alone.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use rstest::rstest;
use tests::client::{Connection, Request};
use tests::command::{Running, probe, run};
use tests::curl;
use tests::probe::{Probe, SpanLine, counts};
use tests::process::{POLL, wait_for};
use tests::server::Server;
use tests::venv::Venv;
use tests::watch::can_run;

const LIMIT: Duration = Duration::from_secs(30);

/// Asks for what it is told, once it is told.
const PYTHON: &str = "
import http.client, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
connection = http.client.HTTPSConnection('127.0.0.1', int(sys.argv[1]), context=context)
connection.request('GET', sys.stdin.readline().strip())
connection.getresponse().read()
";

/// A client that has its library, and waits for what to ask for.
fn start(kind: &str, server: &Server) -> Child {
    let client = if kind == "curl" {
        curl::start(server, &["--http1.1"]).unwrap()
    } else {
        let mut python = Command::new(Venv::open().unwrap().program("python"));
        python.args(["-c", PYTHON, &server.endpoint.port()]).arg(server.certificate_file());
        python.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    };
    let started = std::time::Instant::now();
    while libraries(client.id()).is_empty() {
        assert!(started.elapsed() < LIMIT, "no library in {}", client.id());
        std::thread::sleep(POLL);
    }
    client
}

/// The files of TLS that a process has mapped, by device and inode.
fn libraries(pid: u32) -> BTreeSet<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let of_tls = |line: &&str| line.contains("libssl") || line.contains("/_ssl.");
    let file = |line: &str| line.split_whitespace().skip(3).take(2).collect::<Vec<_>>().join(" ");
    maps.lines().filter(of_tls).map(file).collect()
}

/// Has a client ask for a target, and waits for its end.
fn ask(kind: &str, client: &mut Child, server: &Server, target: &str) {
    let mut input = client.stdin.take().unwrap();
    match kind {
        "curl" => writeln!(input, "url = \"{}{target}\"\noutput = \"/dev/null\"", server.endpoint.url()),
        _ => writeln!(input, "{target}"),
    }
    .unwrap();
    drop(input);
    assert!(wait_for(client, LIMIT).unwrap().success());
}

/// The process of a record's header, whose first thread is told by the same number.
fn told_as(pid: u32) -> Vec<u8> {
    [pid.to_le_bytes(), pid.to_le_bytes()].concat()
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

#[rstest]
#[case::the_library_itself("curl")]
#[case::the_module_of_python("python")]
fn nothing_is_read_of_who_is_not_watched(#[case] kind: &str) {
    if !can_run() {
        return;
    }
    let server = Server::gunicorn_tls("flask_app:app", &["--workers", "2", "--threads", "4"]).unwrap();
    let mut clients = [0; 3].map(|_| start(kind, &server));
    let pids = clients.each_ref().map(Child::id);
    assert_eq!(libraries(pids[0]), libraries(pids[1]), "they share the files");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events");
    let arguments = ["record", file.to_str().unwrap(), "--pid", &pids[1].to_string()];
    let mut recording = Running::start(probe(&arguments).unwrap()).unwrap();
    recording.wait_for_line("attached", LIMIT).unwrap();
    let markers = ["the-first-stranger", "who-is-watched", "the-second-stranger"];
    for (client, marker) in clients.iter_mut().zip(markers) {
        ask(kind, client, &server, &format!("/missing/{marker}"));
    }
    recording.signal(Signal::SIGINT).unwrap();
    assert_eq!(recording.wait(LIMIT).unwrap().code(), Some(0), "{:#?}", recording.lines);
    assert!(recording.lines.iter().any(|line| line.contains("TLS is seen")), "{:#?}", recording.lines);
    let bytes = std::fs::read(&file).unwrap();
    for ((pid, marker), is_watched) in pids.iter().zip(markers).zip([false, true, false]) {
        assert_eq!(holds(&bytes, marker.as_bytes()), is_watched, "{marker}");
        assert_eq!(holds(&bytes, &told_as(*pid)), is_watched, "{marker}: {pid}");
    }
    let replayed = run(probe(&["replay", file.to_str().unwrap(), "--format", "json"]).unwrap()).unwrap();
    let spans: Vec<SpanLine> =
        replayed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let targets: Vec<_> = spans.iter().map(|span| (span.pid, span.target.as_deref())).collect();
    assert_eq!(targets, [(pids[1], Some("/missing/who-is-watched"))], "{spans:#?}");
}

#[test]
fn where_it_is_not_wanted_nobody_pays() {
    if !can_run() {
        return;
    }
    let server = Server::uvicorn_tls("fastapi_app:app", "asyncio").unwrap();
    let environment = [("STARDUST_PROBE_TRACE_TLS", "false")];
    let probe = Probe::attach_in(&[server.pid()], &["--log-level", "debug"], &environment).unwrap();
    for n in 0..3 {
        let mut connection = Connection::open(&server.endpoint).unwrap();
        assert_eq!(connection.exchange(Request::get(&format!("/items/{n}"))).unwrap().status, Some(200));
    }
    let (spans, log) = probe.stop_with_log().unwrap();
    assert!(spans.is_empty() && !log.contains("TLS is seen"), "{spans:#?}\n{log}");
    let counts = counts(&log);
    assert_eq!(counts["trace"]["tls_unbound_connections"], 3, "{counts}");
}
