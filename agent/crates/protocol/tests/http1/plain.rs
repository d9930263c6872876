//! Streams that were seen whole: framing by the book.

use model::Origin;
use protocol::http1::{Asked, RequestParser, ResponseParser};

use crate::harness::{Case, Step, call, play, requests, responses};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"; // 28 bytes
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"; // 40 bytes

#[test]
fn requests_are_framed() {
    let cases: &[Case<'_>] = &[
        (
            "keep-alive",
            vec![call(GET), call(GET)],
            &["GET /a 1.1 @0 1..1", "end 28 Framing @1", "GET /a 1.1 @28 2..2", "end 28 Framing @2"],
        ),
        (
            "pipelined",
            vec![call(GET.repeat(2))],
            &["GET /a 1.1 @0 1..1", "end 28 Framing @1", "GET /a 1.1 @28 1..1", "end 28 Framing @1"],
        ),
        (
            "head in pieces",
            vec![call("GE"), call("T /a HTTP/1.1\r\nHost: h\r\n\r"), call("\n")],
            &["GET /a 1.1 @0 1..3", "end 28 Framing @3"],
        ),
        (
            "counted",
            vec![call("POST / HTTP/1.1\r\ncontent-LENGTH: 5\r\n\r\nab"), call("cde"), call(GET)],
            &["POST / 1.1 @0 1..1", "end 43 Framing @2", "GET /a 1.1 @43 3..3", "end 28 Framing @3"],
        ),
        (
            "content-length 0",
            vec![call("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")],
            &["POST / 1.1 @0 1..1", "end 38 Framing @1"],
        ),
        (
            "same length twice",
            vec![call("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx")],
            &["POST / 1.1 @0 1..1", "end 58 Framing @1"],
        ),
        (
            "chunked",
            vec![
                call("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
                call("3;x=y\r\nabc\r\n0\r\nTrailer: 1\r\n\r\nGET / HTTP/1.0\r\n\r\n"),
            ],
            &["PUT / 1.1 @0 1..1", "end 75 Framing @2", "GET / 1.0 @75 2..2", "end 18 Framing @2"],
        ),
        (
            "chunked wins",
            vec![call("PUT / HTTP/1.1\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")],
            &["PUT / 1.1 @0 1..1", "end 71 Framing @1"],
        ),
        (
            "empty lines before",
            vec![call("\r\n\r\n"), call("\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n\r\n"), call(GET)],
            &["GET /a 1.1 @5 2..2", "end 28 Framing @2", "GET /a 1.1 @35 3..3", "end 28 Framing @3"],
        ),
        (
            "bare line feeds",
            vec![call("GET / HTTP/1.1\nHost: h\n\nGET / HTTP/1.0\n\n")],
            &["GET / 1.1 @0 1..1", "end 24 Framing @1", "GET / 1.0 @24 1..1", "end 16 Framing @1"],
        ),
        (
            "targets",
            vec![
                call("GET http://h:1/p?q HTTP/1.1\r\n\r\n"),
                call("OPTIONS * HTTP/1.1\r\n\r\n"),
                call("PURGE /\u{e9} HTTP/1.1\r\n\r\n"),
            ],
            &[
                "GET http://h:1/p?q 1.1 @0 1..1",
                "end 31 Framing @1",
                "OPTIONS * 1.1 @31 2..2",
                "end 22 Framing @2",
                "PURGE /\u{e9} 1.1 @53 3..3",
                "end 22 Framing @3",
            ],
        ),
        (
            "closed in the body",
            vec![call("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"), Step::Close, call(GET), Step::Close],
            &["POST / 1.1 @0 1..1", "end 40 Cut @1"],
        ),
        ("closed in the head", vec![call("GET / HTTP/1.1\r\nHo"), Step::Close], &[]),
    ];
    for (name, steps, expected) in cases {
        assert_eq!(requests(steps), *expected, "{name}");
    }
}

#[test]
fn broken_requests_do_no_harm() {
    let cases: &[Case<'_>] = &[
        (
            "lengths differ",
            vec![call("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"), call(GET)],
            &["POST / 1.1 @0 1..1", "end 57 Lost @1", "lost", "GET /a 1.1 @58 2..2", "end 28 Framing @2"],
        ),
        (
            "chunked is not last",
            vec![call("POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"), call(GET)],
            &["POST / 1.1 @0 1..1", "end 53 Lost @1", "lost", "GET /a 1.1 @53 2..2", "end 28 Framing @2"],
        ),
        (
            "chunks that are none",
            vec![call("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), call("what?"), call(GET)],
            &["PUT / 1.1 @0 1..1", "end 51 Lost @2", "GET /a 1.1 @51 3..3", "end 28 Framing @3"],
        ),
        (
            "junk after a message",
            vec![call(format!("{GET}junk\r\n")), call("more"), call(GET)],
            &["GET /a 1.1 @0 1..1", "end 28 Framing @1", "lost", "GET /a 1.1 @38 3..3", "end 28 Framing @3"],
        ),
        ("not http", vec![call("\x16\x03\x01"), call(GET), Step::Close], &["not http"]),
        ("not http, found out later", vec![call("EHLO"), call(" host\r\n"), call(GET)], &["not http"]),
        ("http/2", vec![call("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")], &["not http"]),
        ("http/0.9", vec![call("GET /\r\n")], &["not http"]),
        ("nothing", vec![call(""), Step::Close], &[]),
    ];
    for (name, steps, expected) in cases {
        assert_eq!(requests(steps), *expected, "{name}");
    }
}

#[test]
fn responses_are_framed() {
    let cases: &[Case<'_>] = &[
        (
            "pipelined",
            vec![call(OK.repeat(2))],
            &["200 1.1 @0 1..1", "end 40 Framing @1", "200 1.1 @40 1..1", "end 40 Framing @1"],
        ),
        (
            "no body by status",
            vec![
                call("HTTP/1.1 204 No Content\r\n\r\n"),
                call("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
                call(OK),
            ],
            &[
                "204 1.1 @0 1..1",
                "end 27 Framing @1",
                "304 1.1 @27 2..2",
                "end 48 Framing @2",
                "200 1.1 @75 3..3",
                "end 40 Framing @3",
            ],
        ),
        (
            "interim",
            vec![call("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"), call(OK)],
            &[
                "100 1.1 @0 1..1",
                "end 25 Framing @1",
                "103 1.1 @25 1..1",
                "end 37 Framing @1",
                "200 1.1 @62 2..2",
                "end 40 Framing @2",
            ],
        ),
        (
            "chunked",
            vec![
                call("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
                call("2\r\nhi\r\n"),
                call("0\r\n"),
                call("\r\n"),
                call(OK),
            ],
            &["200 1.1 @0 1..1", "end 59 Framing @4", "200 1.1 @59 5..5", "end 40 Framing @5"],
        ),
        (
            "until close",
            vec![call("HTTP/1.0 200 OK\r\n\r\nbody"), call(OK), Step::Close],
            &["200 1.0 @0 1..1", "end 63 Close @2"],
        ),
        (
            "other coding",
            vec![call("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxy"), Step::Close],
            &["200 1.1 @0 1..1", "end 46 Close @1"],
        ),
        (
            "no reason",
            vec![call("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n")],
            &["200 1.1 @0 1..1", "end 35 Framing @1"],
        ),
        (
            "closed in the body",
            vec![call("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi"), Step::Close],
            &["200 1.1 @0 1..1", "end 40 Cut @1"],
        ),
        (
            "switched",
            vec![
                call("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01\x02"),
                call(OK),
                Step::Close,
            ],
            &["101 1.1 @0 1..1", "end 56 Upgrade @1", "upgraded"],
        ),
        ("not http", vec![call("SSH-2.0-OpenSSH_9.2\r\n"), call(OK)], &["not http"]),
    ];
    for (name, steps, expected) in cases {
        assert_eq!(responses(steps), *expected, "{name}");
    }
}

#[test]
fn responses_follow_what_was_asked() {
    type Answered<'a> = (&'a str, Vec<Asked>, Vec<Step>, &'a [&'a str]);
    let head_only = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    let tunnel = "HTTP/1.1 200 OK\r\n\r\n";
    let cases: &[Answered<'_>] = &[
        (
            "HEAD",
            vec![Asked::Head, Asked::Other],
            vec![call(head_only), call(OK)],
            &["200 1.1 @0 1..1", "end 38 Framing @1", "200 1.1 @38 2..2", "end 40 Framing @2"],
        ),
        (
            "interim does not answer",
            vec![Asked::Head],
            vec![call("HTTP/1.1 100 Continue\r\n\r\n"), call(head_only)],
            &["100 1.1 @0 1..1", "end 25 Framing @1", "200 1.1 @25 2..2", "end 38 Framing @2"],
        ),
        (
            "CONNECT",
            vec![Asked::Connect],
            vec![call(tunnel), call("\x16\x03")],
            &["200 1.1 @0 1..1", "end 19 Upgrade @1", "upgraded"],
        ),
        (
            "CONNECT refused",
            vec![Asked::Connect, Asked::Connect],
            vec![call("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno"), call(tunnel)],
            &["407 1.1 @0 1..1", "end 40 Framing @1", "200 1.1 @40 2..2", "end 19 Upgrade @2", "upgraded"],
        ),
        ("nobody asked", vec![], vec![call(OK)], &["200 1.1 @0 1..1", "end 40 Framing @1"]),
        (
            "a HEAD that was not seen",
            vec![],
            vec![call(head_only), call(OK)],
            &["200 1.1 @0 1..1", "end 38 Lost @1", "200 1.1 @38 2..2", "end 40 Framing @2"],
        ),
    ];
    for (name, asked, steps, expected) in cases {
        let all: Vec<Step> = asked.iter().map(|asked| Step::Expect(*asked)).chain(steps.clone()).collect();
        assert_eq!(play::<ResponseParser>(Origin::Start, &all), *expected, "{name}");
    }
}

#[test]
fn a_switch_ends_what_is_open() {
    let offer = "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    let cases: &[Case<'_>] = &[
        (
            "accepted",
            vec![call(offer), Step::Switch, call("\u{1}junk"), call(GET), Step::Close],
            &["GET /ws 1.1 @0 1..1", "end 40 Framing @1"],
        ),
        (
            "accepted late",
            vec![call(offer), call("\u{1}junk"), Step::Switch, call(GET)],
            &["GET /ws 1.1 @0 1..1", "end 40 Framing @1"],
        ),
        (
            "declined",
            vec![call(offer), call(GET)],
            &["GET /ws 1.1 @0 1..1", "end 40 Framing @1", "GET /a 1.1 @40 2..2", "end 28 Framing @2"],
        ),
        (
            "in the body",
            vec![
                call("POST / HTTP/1.1\r\nUpgrade: h2c\r\nContent-Length: 9\r\n\r\nab"),
                call("c"),
                Step::Switch,
            ],
            &["POST / 1.1 @0 1..1", "end 55 Upgrade @2"],
        ),
        (
            "connect",
            vec![call("CONNECT h:443 HTTP/1.1\r\n\r\n"), Step::Switch, call("\u{16}\u{3}")],
            &["CONNECT h:443 1.1 @0 1..1", "end 26 Framing @1"],
        ),
    ];
    for (name, steps, expected) in cases {
        assert_eq!(play::<RequestParser>(Origin::Start, steps), *expected, "{name}");
    }
}
