//! Where TLS libraries are found: in the mounts of the process that has them, and whenever it loads them; an old one too.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;
use std::time::Duration;

use rstest::rstest;
use tests::caller::Caller;
use tests::command::{probe, run};
use tests::curl;
use tests::encryption::{assert_agreed, assert_encrypted};
use tests::ledger::{Entry, assert_agree};
use tests::probe::Probe;
use tests::process::POLL;
use tests::server::Server;
use tests::told_client::ToldClient;
use tests::venv::Venv;
use tests::watch::can_run;

const SPAN_LIMIT: Duration = Duration::from_secs(10);

fn server() -> Server {
    Server::gunicorn_tls("flask_app:app", &["--workers", "2", "--threads", "4"]).unwrap()
}

/// A request that a client has made.
fn got(number: usize) -> Entry {
    Entry {
        method: "GET".to_owned(),
        target: format!("/items/{number}"),
        status: Some(200),
        complete: true,
        ..Entry::default()
    }
}

/// A library that is nowhere but in the process's own mounts is found there.
#[test]
fn a_library_that_only_the_process_sees() {
    const ALONE: &str = "mount -t tmpfs none /mnt && \
        cp -L $(ldd \"$(command -v curl)\" | awk '/lib(ssl|crypto)\\.so/ { print $3 }') /mnt && \
        LD_LIBRARY_PATH=/mnt exec curl \"$@\"";
    if !can_run() {
        return;
    }
    let server = server();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", ALONE, "curl"]);
    let mut curl = curl::start_by(command, &server, &["--http1.1"]).unwrap();
    let maps = format!("/proc/{}/maps", curl.id());
    while !std::fs::read_to_string(&maps).unwrap().contains(" /mnt/libssl.so") {
        std::thread::sleep(POLL);
    }
    let probe = Probe::attach(&[curl.id()], &[]).unwrap();
    let entries = curl::ask(&mut curl, &server).unwrap();
    assert!(probe.wait_for_spans(entries.len(), SPAN_LIMIT), "{}", probe.log());
    let (spans, log) = probe.stop_with_log().unwrap();
    assert!(log.contains("/mnt/libssl.so"), "{log}");
    assert_agree(&entries, &spans);
    assert!(spans.iter().all(|span| span.scheme == "https"), "{spans:?}");
}

/// A library that a process loads after the probe has come is found by its first connection: what passes from then on is
/// told, on that connection too.
#[test]
fn a_library_that_is_loaded_later() {
    const PROGRAM: &str = "
import sys
print('ready', flush=True)
sys.stdin.readline()
import http.client, ssl
context = ssl.create_default_context(cafile=sys.argv[2])
connect = lambda: http.client.HTTPSConnection('127.0.0.1', int(sys.argv[1]), context=context)
def get(connection, number):
    connection.request('GET', f'/items/{number}')
    assert connection.getresponse().read()
first = connect()
get(first, 0)
print('asked', flush=True)
sys.stdin.readline()
second = connect()
for number in range(1, 21):
    get(second if number % 2 else first, number)
print('done', flush=True)
sys.stdin.readline()
";
    if !can_run() {
        return;
    }
    let server = server();
    let mut command = Command::new(Venv::open().unwrap().program("python"));
    command.args(["-c", PROGRAM, &server.endpoint.port()]).arg(server.certificate_file());
    let mut client = Caller::start(command).unwrap();
    assert_eq!(client.line().unwrap(), "ready\n");
    let probe = Probe::attach(&[client.pid()], &[]).unwrap();
    assert!(!probe.log().contains("TLS is seen"), "{}", probe.log());
    assert_eq!(client.ask("load").unwrap(), "asked\n");
    assert!(probe.wait_for_log("TLS is seen", SPAN_LIMIT), "{}", probe.log());
    assert_eq!(client.ask("go on").unwrap(), "done\n");
    let entries: Vec<_> = (1..21).map(got).collect();
    probe.wait_for_spans(entries.len(), SPAN_LIMIT);
    let mut spans = probe.stop().unwrap();
    // The first one passed while the library was looked for.
    spans.retain(|span| span.target.as_deref() != Some("/items/0"));
    assert_agree(&entries, &spans);
    assert!(spans.iter().all(|span| span.scheme == "https"), "{spans:?}");
}

/// The parts of what `check` says of a process that are about a file with TLS in it.
fn tls_of(pid: u32) -> Vec<String> {
    let said = run(probe(&["check", "--pid", &pid.to_string()]).unwrap()).unwrap().stdout;
    let parts = said.split("\ntls ").skip(1).map(|part| part.trim_end().to_owned());
    parts.collect()
}

/// What a wheel brings along is a second library beside Python's own: its caller calls it, and Python's module calls the
/// other one. So the module is seen as where there is one library, and the one it calls is not probed.
#[test]
fn a_second_library_beside_that_of_python() {
    const PROGRAM: &str = "
import http.client, ssl, sys
print('one', flush=True)
sys.stdin.readline()
import psycopg2
print('two', flush=True)
sys.stdin.readline()
context = ssl.create_default_context(cafile=sys.argv[2])
context.set_alpn_protocols(['http/1.1'])
connections = [http.client.HTTPSConnection('127.0.0.1', int(sys.argv[1]), context=context) for _ in range(2)]
for number in range(20):
    connections[number % 2].request('GET', f'/items/{number}')
    assert connections[number % 2].getresponse().read()
print('done', flush=True)
sys.stdin.readline()
";
    if !can_run() {
        return;
    }
    let app = Server::gunicorn("flask_app:app", &["--threads", "8"]).unwrap();
    let nginx = Server::nginx_tls(&app.endpoint, "TLSv1.3").unwrap();
    let mut command = Command::new(Venv::open().unwrap().program("python"));
    command.args(["-c", PROGRAM, &nginx.endpoint.port()]).arg(nginx.certificate_file());
    let mut client = Caller::start(command).unwrap();
    assert_eq!(client.line().unwrap(), "one\n");
    let alone = tls_of(client.pid());
    assert!(alone.len() == 1 && alone[0].contains("/_ssl."), "{alone:?}");
    assert_eq!(client.ask("load").unwrap(), "two\n");
    let (module, others): (Vec<_>, Vec<_>) =
        tls_of(client.pid()).into_iter().partition(|part| part.contains("/_ssl."));
    assert_eq!(module, alone);
    assert!(others.len() == 1 && others[0].contains("/psycopg2_binary.libs/libssl-"), "{others:?}");

    let probe = Probe::attach(&[client.pid()], &[]).unwrap();
    assert_eq!(client.ask("go on").unwrap(), "done\n");
    let entries: Vec<_> = (0..20).map(got).collect();
    assert!(probe.wait_for_spans(entries.len(), SPAN_LIMIT), "{}", probe.log());
    let spans = probe.stop().unwrap();
    assert_agree(&entries, &spans);
    assert_encrypted(&spans, "1.3");
    assert_agreed(&spans, Some("http/1.1"));
}

/// Containers of one image have their files from the same layer, each through mounts of its own: what is put on the one is on
/// the other too, and each request is told once.
#[test]
fn containers_of_one_image() {
    const LAYERED: &str = "mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work /mnt/files && \
        mount -t overlay none -o lowerdir=\"$0\",upperdir=/mnt/upper,workdir=/mnt/work /mnt/files && exec \"$@\"";
    const PROGRAM: &str = "
import sys
sys.path.insert(0, '/mnt/files')
import http.client, ssl, _ssl
assert _ssl.__file__.startswith('/mnt/files/')
print('ready', flush=True)
sys.stdin.readline()
context = ssl.create_default_context(cafile=sys.argv[2])
connection = http.client.HTTPSConnection('127.0.0.1', int(sys.argv[1]), context=context)
for number in range(10):
    connection.request('GET', f'/items/{sys.argv[3]}{number}')
    assert connection.getresponse().read()
print('done', flush=True)
sys.stdin.readline()
";
    if !can_run() {
        return;
    }
    let server = server();
    let python = Venv::open().unwrap().program("python");
    let layer = "import _ssl, os; print(os.path.dirname(_ssl.__file__), end='')";
    let layer = Command::new(&python).args(["-c", layer]).output().unwrap().stdout;
    let start = |number: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", LAYERED]).arg(String::from_utf8_lossy(&layer).as_ref());
        command.arg(&python).args(["-c", PROGRAM, &server.endpoint.port()]);
        command.arg(server.certificate_file()).arg(number);
        let mut client = Caller::start(command).unwrap();
        assert_eq!(client.line().unwrap(), "ready\n");
        client
    };
    let mut clients = ["1", "2"].map(start);
    let probe = Probe::attach(&clients.each_ref().map(Caller::pid), &[]).unwrap();
    for client in &mut clients {
        assert_eq!(client.ask("go on").unwrap(), "done\n");
    }
    let entries: Vec<_> = (10..30).map(got).collect();
    assert!(probe.wait_for_spans(entries.len(), SPAN_LIMIT), "{}", probe.log());
    let (spans, log) = probe.stop_with_log().unwrap();
    assert_eq!(log.matches("TLS is seen").count(), 1, "{log}");
    assert_agree(&entries, &spans);
    assert_encrypted(&spans, "1.3");
}

/// OpenSSL 1.1, as a wheel brings it along, called by nobody's module. It keeps what was agreed on apart from the connection.
#[rstest]
#[case::offers(Some("http/1.1"))]
#[case::offers_nothing(None)]
fn openssl_1_1(#[case] protocol: Option<&str>) {
    if !can_run() {
        return;
    }
    let venv = Venv::open().unwrap();
    let libraries = venv.package("psycopg2-binary==2.9.5").unwrap().join("psycopg2_binary.libs");
    let app = Server::gunicorn("flask_app:app", &["--threads", "8"]).unwrap();
    let nginx = Server::nginx_tls(&app.endpoint, "TLSv1.3").unwrap();
    let mut command = venv.script("tls_ctypes.py");
    command.arg(libraries).args([&nginx.endpoint.to_string(), "20"]).args(protocol);
    let mut client = ToldClient::start(command).unwrap();
    let probe = Probe::attach(&[client.pid()], &[]).unwrap();
    let entries = client.run().unwrap();
    assert_eq!(entries.len(), 20);
    assert!(probe.wait_for_spans(entries.len(), SPAN_LIMIT), "{}", probe.log());
    let spans = probe.stop().unwrap();
    assert_agree(&entries, &spans);
    assert_encrypted(&spans, "1.3");
    assert_agreed(&spans, protocol);
}
