//! `WebSocket` sessions: frames, messages and bytes each way as the client counted them below its protocol.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rstest::rstest;
use serde::Deserialize;
use tests::probe::{Probe, SpanLine};
use tests::server::{Endpoint, Server};
use tests::venv::Venv;
use tests::watch::{can_run, read};

const SESSIONS: usize = 4;

/// How long spans may take to come out after the last byte.
const SPAN_LIMIT: Duration = Duration::from_secs(5);

/// A line of `apps/websocket_client.py`. Frames, messages, payload bytes.
#[derive(Debug, Deserialize)]
struct Book {
    target: String,
    sent: [u64; 3],
    received: [u64; 3],
    sent_bytes: u64,
    received_bytes: u64,
    close_code: u64,
    least_us: f64,
    most_us: f64,
}

/// What two clocks, read one after the other, may differ by.
const SLACK_US: f64 = 5000.0;

/// The client, waiting to be told to begin.
fn client(server: &Server, more: &[&str]) -> Child {
    let (Endpoint::Tcp(address) | Endpoint::Tls(address)) = server.endpoint else {
        panic!("it has an address")
    };
    let mut command = Venv::open().unwrap().script("websocket_client.py");
    command.args([&format!("{}://{address}", scheme(server)), &SESSIONS.to_string()]).args(more);
    command.env("SSL_CERT_FILE", server.certificate_file());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn scheme(server: &Server) -> &'static str {
    if matches!(server.endpoint, Endpoint::Tls(_)) { "wss" } else { "ws" }
}

fn talk(mut client: Child) -> Vec<Book> {
    client.stdin.take().unwrap().write_all(b"begin\n").unwrap();
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sessions(spans: &[SpanLine]) -> Vec<&SpanLine> {
    spans.iter().filter(|span| span.protocol == "websocket").collect()
}

fn number(span: &SpanLine, name: &str) -> u64 {
    span.attributes.get(name).unwrap_or_else(|| panic!("{name} in {span:?}")).as_u64().unwrap()
}

/// `server`: the watched end is the server.
fn assert_agree(books: &[Book], spans: &[SpanLine], scheme: &str, server: bool) {
    let sessions = sessions(spans);
    assert_eq!((books.len(), sessions.len(), spans.len()), (SESSIONS, SESSIONS, 2 * SESSIONS), "{spans:#?}");
    for book in books {
        let session = sessions.iter().find(|span| span.target.as_ref() == Some(&book.target)).unwrap();
        let (asked, answered) = if server { ("received", "sent") } else { ("sent", "received") };
        for (way, counted) in [(asked, book.sent), (answered, book.received)] {
            let told = ["frames", "messages", "payload_bytes"]
                .map(|what| number(session, &format!("websocket.{way}.{what}")));
            assert_eq!(told, counted, "{way}: {session:?}");
        }
        assert_eq!((session.request_bytes, session.response_bytes), (book.sent_bytes, book.received_bytes));
        assert_eq!(number(session, "websocket.close.code"), book.close_code);
        let lasted = book.least_us - SLACK_US..=book.most_us + SLACK_US;
        assert!(lasted.contains(&session.duration_us), "{lasted:?}: {session:?}");
        assert_eq!(session.attributes["websocket.close.by"], "client");
        assert!(!session.attributes.contains_key("websocket.incomplete"));
        assert_eq!((session.end.as_str(), session.error.as_deref()), ("complete", None));
        assert_eq!((session.name.as_str(), session.scheme.as_str()), ("WEBSOCKET /echo/{id}", scheme));
        let handshake = spans.iter().find(|span| Some(&span.span_id) == session.parent_id.as_ref()).unwrap();
        assert_eq!((handshake.status, &handshake.target), (Some(101), &session.target));
        assert_eq!(handshake.name, "GET /echo/{id}");
        assert_eq!(handshake.trace_id, session.trace_id);
    }
}

fn start(kind: &str) -> Server {
    match kind {
        "websockets" => Server::websockets(),
        "tls" => Server::uvicorn_tls("fastapi_app:app", "asyncio"),
        _ => Server::uvicorn_sockets("fastapi_app:app", kind),
    }
    .unwrap()
}

#[rstest]
#[case::websockets("websockets", &[])]
#[case::websockets_deflate("websockets", &["deflate"])]
#[case::uvicorn("websockets-sansio", &[])]
#[case::uvicorn_deflate("websockets-sansio", &["deflate"])]
#[case::wsproto("wsproto", &[])]
#[case::wsproto_deflate("wsproto", &["deflate"])]
#[case::uvicorn_inside_tls("tls", &[])]
#[case::uvicorn_inside_tls_deflate("tls", &["deflate"])]
fn a_server_s_sessions_are_counted_exactly(#[case] kind: &str, #[case] more: &[&str]) {
    if !can_run() {
        return;
    }
    let server = start(kind);
    let probe = Probe::attach(&[server.pid()], &[]).unwrap();
    let books = talk(client(&server, more));
    probe.wait_for_spans(2 * SESSIONS, SPAN_LIMIT);
    let spans = probe.stop().unwrap();
    assert_agree(&books, &spans, scheme(&server), true);
    for session in sessions(&spans) {
        assert_eq!(session.attributes.contains_key("websocket.compression"), !more.is_empty());
        // The one server that pings when asked to.
        let pings = session.attributes.get("websocket.ping.answered").and_then(serde_json::Value::as_u64);
        assert_eq!(pings, (kind == "websockets").then_some(1));
    }
}

#[test]
fn a_client_s_sessions_are_counted_exactly() {
    if !can_run() {
        return;
    }
    let server = Server::websockets().unwrap();
    let client = client(&server, &["deflate"]);
    let probe = Probe::attach(&[client.id()], &[]).unwrap();
    let books = talk(client);
    probe.wait_for_spans(2 * SESSIONS, SPAN_LIMIT);
    let spans = probe.stop().unwrap();
    assert_agree(&books, &spans, scheme(&server), false);
    for session in sessions(&spans) {
        assert_eq!(number(session, "websocket.ping.answered"), 1);
        let (mean, longest) =
            (number(session, "websocket.ping.mean_us"), number(session, "websocket.ping.longest_us"));
        assert_eq!(mean, longest);
        assert!((1..2_000_000).contains(&longest), "{longest}");
    }
}

/// Runs a few lines of Python that use `connect` and `BASE`.
fn python(server: &Server, lines: &str) {
    let Endpoint::Tcp(address) = server.endpoint else { panic!("it listens on TCP") };
    let program = format!("from websockets.sync.client import connect\nBASE = 'ws://{address}'\n{lines}");
    let python = Venv::open().unwrap().program("python");
    read(Command::new("timeout").arg("60").arg(python).args(["-c", &program])).unwrap();
}

#[test]
fn a_long_session_reports_in_between() {
    if !can_run() {
        return;
    }
    let server = Server::websockets().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("probe.toml");
    std::fs::write(&config, "[trace]\nprogress_s = 1\n").unwrap();
    let probe = Probe::attach(&[server.pid()], &["--config", config.to_str().unwrap()]).unwrap();
    let listen = "with connect(BASE + '/feed?count=40&ms=100') as socket:\n  try:\n    while True: socket.recv()\n  except Exception: pass";
    python(&server, listen);
    // The handshake, the session, and what was reported in between.
    probe.wait_for_spans(5, SPAN_LIMIT);
    let spans = probe.stop().unwrap();
    let (parts, whole): (Vec<_>, Vec<_>) =
        sessions(&spans).into_iter().partition(|span| span.end == "ongoing");
    let [session] = whole[..] else { panic!("{whole:#?}") };
    assert_eq!((session.name.as_str(), session.end.as_str()), ("WEBSOCKET /feed", "complete"));
    assert_eq!(number(session, "websocket.sent.messages"), 40);
    assert_eq!(number(session, "websocket.close.code"), 4001);
    assert_eq!(session.attributes["websocket.close.by"], "server");
    assert!(session.duration_us >= 4_000_000.0, "{session:?}");
    // On a slow machine it lasts longer.
    let seconds = session.duration_us / 1e6;
    assert!((3..=seconds as usize).contains(&parts.len()), "{parts:#?}");
    let mut begins_ns = session.start_unix_ns;
    for part in &parts {
        assert_eq!(part.name, "WEBSOCKET /feed (open)");
        assert_eq!(part.parent_id.as_ref(), Some(&session.span_id));
        assert_eq!(part.parent_kind.as_deref(), Some("whole"));
        // Durations are printed in whole microseconds.
        assert!(part.start_unix_ns.abs_diff(begins_ns) < 2000, "{part:?}");
        begins_ns = part.start_unix_ns + (part.duration_us * 1000.0) as u64;
    }
    let told: u64 = parts.iter().map(|part| number(part, "websocket.sent.messages")).sum();
    // A message goes out each tenth of a second, or later.
    let untold_us = session.duration_us - parts.iter().map(|part| part.duration_us).sum::<f64>();
    assert!(
        (39_u64.saturating_sub((untold_us / 1e5) as u64)..=40).contains(&told),
        "{told}: nothing twice, all but the end"
    );
}

#[test]
fn a_session_that_is_cut_says_so() {
    if !can_run() {
        return;
    }
    let server = Server::websockets().unwrap();
    let probe = Probe::attach(&[server.pid()], &[]).unwrap();
    let drop =
        "socket = connect(BASE + '/drop')\nsocket.send('go')\ntry: socket.recv()\nexcept Exception: pass";
    python(&server, drop);
    let vanish = "socket = connect(BASE + '/echo/1')\nsocket.send('a')\nsocket.recv()\nsocket.socket.close()\nimport os; os._exit(0)";
    python(&server, vanish);
    probe.wait_for_spans(4, SPAN_LIMIT);
    let spans = probe.stop().unwrap();
    let ends: Vec<_> = sessions(&spans)
        .iter()
        .map(|span| (span.name.as_str(), span.end.as_str(), number(span, "websocket.received.messages")))
        .collect();
    assert_eq!(
        ends,
        [("WEBSOCKET /drop", "server_closed", 1), ("WEBSOCKET /echo/{id}", "client_closed", 1)],
        "{spans:#?}"
    );
    assert!(sessions(&spans).iter().all(|span| span.error.is_some()));
}
