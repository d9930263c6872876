//! One file of Python's module that calls another build of OpenSSL in each process, as environments that share their files by
//! hard links have it. Each build keeps its connections' fields elsewhere.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rstest::rstest;
use tests::caller::Caller;
use tests::encryption::{assert_agreed, assert_encrypted};
use tests::ledger::{Entry, assert_agree};
use tests::probe::{Probe, SpanLine};
use tests::server::Server;
use tests::venv::Venv;
use tests::watch::can_run;

const SPAN_LIMIT: Duration = Duration::from_secs(10);
const REQUESTS: usize = 10;

/// Says which build it has got; then, line by line, makes one request, and the others on a new connection.
const PROGRAM: &str = "
import http.client, ssl, sys
print(ssl.OPENSSL_VERSION, flush=True)
context = ssl.create_default_context(cafile=sys.argv[2])
context.set_alpn_protocols(['http/1.1'])
def get(numbers):
    connection = http.client.HTTPSConnection('127.0.0.1', int(sys.argv[1]), context=context)
    for number in numbers:
        connection.request('GET', f'/items/{sys.argv[3]}{number}')
        assert connection.getresponse().read()
    print('done', flush=True)
sys.stdin.readline()
get(range(1))
sys.stdin.readline()
get(range(1, 11))
sys.stdin.readline()
";

/// The interpreter's own build, or the one that a wheel brings along under the same name.
#[derive(Debug, Clone, Copy)]
enum Build {
    Own,
    Wheel,
}

fn wheel_libraries() -> PathBuf {
    let code = "import mysql, os; print(os.path.join(mysql.__path__[0], 'vendor'), end='')";
    let told = Command::new(Venv::open().unwrap().program("python")).args(["-c", code]).output().unwrap();
    String::from_utf8(told.stdout).unwrap().into()
}

/// One that has not begun waits for a line before it becomes the client.
fn start(build: Build, has_begun: bool, server: &Server, number: usize) -> Caller {
    let mut command = Command::new("sh");
    let wait = if has_begun { "" } else { "read line;" };
    command.args(["-c", &format!("{wait} exec \"$@\""), "sh"]).arg(Venv::open().unwrap().program("python"));
    command
        .args(["-c", PROGRAM, &server.endpoint.port()])
        .arg(server.certificate_file())
        .arg(number.to_string());
    if let Build::Wheel = build {
        command.env("LD_LIBRARY_PATH", wheel_libraries());
    }
    Caller::start(command).unwrap()
}

fn assert_told(numbers: impl Iterator<Item = usize>, spans: &[SpanLine]) {
    let got = |number| Entry {
        method: "GET".to_owned(),
        target: format!("/items/{number}"),
        status: Some(200),
        complete: true,
        ..Entry::default()
    };
    let entries: Vec<_> = numbers.map(got).collect();
    assert_agree(&entries, spans);
    assert_encrypted(spans, "1.3");
    assert_agreed(spans, Some("http/1.1"));
}

/// Which build the probe meets first does not matter.
#[rstest]
#[case::own_first([Build::Own, Build::Wheel])]
#[case::wheel_first([Build::Wheel, Build::Own])]
fn open_already(#[case] builds: [Build; 2]) {
    if !can_run() {
        return;
    }
    let app = Server::gunicorn("flask_app:app", &["--threads", "8"]).unwrap();
    let server = Server::nginx_tls(&app.endpoint, "TLSv1.3").unwrap();
    let mut number = 0;
    let mut clients = builds.map(|build| {
        number += 1;
        start(build, true, &server, number)
    });
    let versions = clients.each_mut().map(|client| client.line().unwrap());
    assert_ne!(versions[0], versions[1]);
    let probe = Probe::attach(&clients.each_ref().map(Caller::pid), &[]).unwrap();
    for client in &mut clients {
        assert_eq!(client.ask("one").unwrap(), "done\n");
        assert_eq!(client.ask("many").unwrap(), "done\n");
    }
    assert!(probe.wait_for_spans(2 * (1 + REQUESTS), SPAN_LIMIT), "{}", probe.log());
    let (spans, log) = probe.stop_with_log().unwrap();
    assert_eq!(log.matches("TLS is seen").count(), 1, "{log}");
    assert_told(
        (1..=2).flat_map(|client| (0..=REQUESTS).map(move |n| format!("{client}{n}").parse().unwrap())),
        &spans,
    );
}

/// A process that becomes such a client later is known by its first connection; until then nothing of it is told wrongly.
#[test]
fn begun_later() {
    if !can_run() {
        return;
    }
    let app = Server::gunicorn("flask_app:app", &["--threads", "8"]).unwrap();
    let server = Server::nginx_tls(&app.endpoint, "TLSv1.3").unwrap();
    let mut known = start(Build::Own, true, &server, 1);
    known.line().unwrap();
    let mut later = start(Build::Wheel, false, &server, 2);
    let probe = Probe::attach(&[known.pid(), later.pid()], &[]).unwrap();
    later.ask("begin").unwrap();
    assert_eq!(later.ask("one").unwrap(), "done\n");
    assert!(probe.wait_for_log("differs by process", SPAN_LIMIT), "{}", probe.log());
    assert_eq!(later.ask("many").unwrap(), "done\n");
    assert!(probe.wait_for_spans(REQUESTS, SPAN_LIMIT), "{}", probe.log());
    let mut spans = probe.stop().unwrap();
    // It passed while the library was looked for.
    spans.retain(|span| span.target.as_deref() != Some("/items/20"));
    assert_told((1..=REQUESTS).map(|number| format!("2{number}").parse().unwrap()), &spans);
}
