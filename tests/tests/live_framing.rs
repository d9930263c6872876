//! Raw sockets: pipelines, interim responses, bodies of every framing, heads in pieces, clients that leave.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::ledger::assert_agree;
use tests::server::Server;
use tests::watch::{Watch, can_run};

/// A response that no socket buffer holds.
const WHOLE: u64 = 50_000_000;

fn start(kind: &str) -> Watch {
    let server = match kind {
        "plain" => Server::plain(),
        "gthread" => Server::gunicorn("flask_app:app", &["--threads", "4"]),
        kind => Server::uvicorn("fastapi_app:app", kind),
    };
    Watch::on(server.unwrap()).unwrap()
}

fn finish(watch: Watch) -> Vec<tests::probe::SpanLine> {
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    spans
}

#[rstest]
#[case("plain")]
#[case("h11")]
#[case("httptools")]
fn pipelined_requests_in_one_piece(#[case] kind: &str) {
    if !can_run() {
        return;
    }
    let mut watch = start(kind);
    for round in 0..5 {
        let mut connection = Connection::open(&watch.server.endpoint).unwrap();
        let requests: Vec<Request> = (0..8)
            .map(|n| match n % 3 {
                0 => Request::get(&format!("/items/{}", round * 10 + n)),
                1 => Request::post(&format!("/echo?n={round}-{n}"), 30),
                _ => Request::get(&format!("/missing?n={round}-{n}")),
            })
            .collect();
        let sent = connection.send_pipelined(requests).unwrap();
        for sent in sent {
            watch.entries.push(connection.receive(sent).unwrap());
        }
    }
    assert!(watch.entries.iter().all(|entry| entry.complete));
    finish(watch);
}

#[rstest]
#[case("plain")]
#[case("h11")]
#[case("httptools")]
#[case("gthread")]
fn interim_responses_are_not_the_response(#[case] kind: &str) {
    if !can_run() {
        return;
    }
    let mut watch = start(kind);
    for n in 0..5 {
        let headers = "Content-Length: 5000\r\nExpect: 100-continue\r\n";
        let request = Request::new("POST", &format!("/echo?n={n}"), headers, &[b'x'; 5000]);
        let head_bytes = request.bytes.len() - 5000;
        let mut connection = Connection::open(&watch.server.endpoint).unwrap();
        let sent = connection.send_expecting(request, head_bytes).unwrap();
        let entry = connection.receive(sent).unwrap();
        assert_eq!((entry.status, entry.body.as_slice()), (Some(200), b"5000".as_slice()));
        watch.entries.push(entry);
    }
    finish(watch);
}

#[rstest]
#[case("plain")]
#[case("h11")]
#[case("httptools")]
#[case("gthread")]
fn bodies_of_every_framing(#[case] kind: &str) {
    if !can_run() {
        return;
    }
    let mut watch = start(kind);
    let chunked = b"5;a=b\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nX-Trailer: 1\r\n\r\n";
    for n in 0..3 {
        let upload = Request::new("POST", &format!("/echo?n={n}"), "Transfer-Encoding: chunked\r\n", chunked);
        let entry = watch.ask(upload).unwrap();
        assert_eq!(entry.body, b"21");
        let head = watch.ask(Request::new("HEAD", &format!("/fast?n={n}"), "", b"")).unwrap();
        assert!(head.body.is_empty() && head.complete);
        watch.get(&format!("/nocontent?n={n}"), 204, "GET /nocontent").unwrap();
        watch.get(&format!("/stream?chunks=2&size=3000&n={n}"), 200, "GET /stream").unwrap();
        let close = Request::new("GET", &format!("/close?n={n}"), "Connection: close\r\n", b"");
        let closed = watch.ask(close).unwrap();
        assert!(closed.complete && !closed.keeps_alive);
        let mut old = Request::get(&format!("/stream?chunks=3&n=old{n}"));
        old.bytes = format!("GET {} HTTP/1.0\r\n\r\n", old.target).into_bytes();
        if kind != "plain" {
            assert!(watch.ask(old).unwrap().complete, "the connection's end is the body's");
            watch.hang_up();
        }
    }
    finish(watch);
}

#[rstest]
#[case("plain", 1)]
#[case("h11", 1)]
#[case("httptools", 1)]
#[case("gthread", 1)]
#[case("h11", 7)]
fn heads_in_pieces(#[case] kind: &str, #[case] piece_bytes: usize) {
    if !can_run() {
        return;
    }
    let mut watch = start(kind);
    for n in 0..3 {
        let mut connection = Connection::open(&watch.server.endpoint).unwrap();
        let request = Request::new("POST", &format!("/echo?n={n}"), "Content-Length: 10\r\n", &[b'x'; 10]);
        let pieces = request.bytes.len().div_ceil(piece_bytes) as u64;
        let sent = connection.send_pieces(request, piece_bytes, Duration::from_millis(1)).unwrap();
        // It lasts from the first byte on.
        let entry = connection.receive(sent).unwrap().lasting_ms(pieces - 1);
        assert_eq!(entry.body, b"10");
        watch.entries.push(entry);
    }
    finish(watch);
}

#[test]
fn a_client_that_leaves_before_the_response() {
    if !can_run() {
        return;
    }
    let mut watch = start("h11");
    for n in 0..5 {
        let mut connection = Connection::open(&watch.server.endpoint).unwrap();
        let sent = connection.send(Request::get(&format!("/slow?ms=2000&n={n}"))).unwrap();
        // The server has taken the request when it answers another that came later.
        assert_eq!(watch.get(&format!("/fast?n={n}"), 200, "GET /fast").unwrap().status, Some(200));
        let gone = connection.abandon(sent).named("GET /slow");
        watch.entries.push(gone);
    }
    let spans = finish(watch);
    for span in spans.iter().filter(|span| span.name == "GET /slow") {
        assert_eq!((span.end.as_str(), span.status), ("client_closed", None), "{span:?}");
        assert!(span.duration_us < 1_500_000.0, "{span:?}");
        assert!(span.error.as_deref().is_some_and(|error| error.contains("client closed")), "{span:?}");
    }
}

#[test]
fn a_client_that_leaves_amid_the_response() {
    if !can_run() {
        return;
    }
    let mut watch = start("plain");
    let mut connection = Connection::open(&watch.server.endpoint).unwrap();
    let sent = connection.send(Request::get(&format!("/big?bytes={WHOLE}"))).unwrap();
    let mut entry = connection.abandon_amid(sent).unwrap().named("GET /big");
    assert_eq!(entry.status, Some(200));
    entry.response_bytes = 0;
    watch.entries.push(entry);
    let spans = finish(watch);
    assert!(matches!(spans[0].end.as_str(), "reset" | "client_closed"), "{:?}", spans[0]);
    assert!(spans[0].response_bytes < WHOLE && spans[0].error.is_some(), "{:?}", spans[0]);
}

/// gunicorn does not look whether its client is still there, and answers. The client's host refuses that with a reset,
/// but what ended the exchange is that the client left.
#[rstest]
#[case::before_the_answer("/slow?ms=200&n=1", "GET", "", 0)]
#[case::amid_its_request("/echo?n=1", "POST", "Content-Length: 1000000000000\r\n", 100_000)]
fn a_client_that_leaves_and_is_answered(
    #[case] target: &str,
    #[case] method: &str,
    #[case] headers: &str,
    #[case] body_bytes: usize,
) {
    if !can_run() {
        return;
    }
    let watch = start("gthread");
    let mut connection = Connection::open(&watch.server.endpoint).unwrap();
    let sent = connection.send(Request::new(method, target, headers, &vec![b'x'; body_bytes])).unwrap();
    // Only what was read before it left is of the request.
    std::thread::sleep(Duration::from_millis(100));
    let entry = connection.abandon(sent);
    assert!(watch.probe.wait_for_spans(1, Duration::from_secs(5)), "{}", watch.probe.log());
    let spans = watch.probe.stop().unwrap();
    let [span] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!((span.target.as_deref(), span.request_bytes), (Some(target), entry.request_bytes), "{span:?}");
    assert_eq!((span.end.as_str(), span.status), ("client_closed", Some(200)), "{span:?}");
    assert!(span.error.as_deref().is_some_and(|error| error.contains("client closed")), "{span:?}");
    assert!(span.response_bytes > 100, "the head was sent: {span:?}");
}

#[test]
fn a_client_that_sends_no_more_but_reads() {
    if !can_run() {
        return;
    }
    let mut watch = start("plain");
    let mut connection = Connection::open(&watch.server.endpoint).unwrap();
    let sent = connection.send(Request::get("/slow?ms=30&n=1")).unwrap();
    connection.finish_sending().unwrap();
    let entry = connection.receive(sent).unwrap().lasting_ms(30);
    assert!(entry.complete);
    watch.entries.push(entry);
    finish(watch);
}
