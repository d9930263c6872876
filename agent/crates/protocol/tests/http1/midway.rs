//! Connections that were open before the probe looked.

use model::Origin;
use protocol::http1::{Asked, RequestParser, ResponseParser};

use crate::harness::{Case, Step, call, play, short};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"; // 28 bytes
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"; // 40 bytes

#[test]
fn requests_are_found_at_the_beginning_of_a_call() {
    let cases: &[Case<'_>] = &[
        ("at once", vec![call(GET)], &["GET /a 1.1 @0 1..1", "end 28 Framing @1"]),
        ("after lost calls", vec![Step::Lost(7), call(GET)], &["GET /a 1.1 @7 2..2", "end 28 Framing @2"]),
        (
            "after the rest of a body",
            vec![call("rest of a body"), Step::Hidden(99), call(GET)],
            &["GET /a 1.1 @113 3..3", "end 28 Framing @3"],
        ),
        (
            "not inside a call",
            vec![call(format!("rest{GET}")), call(format!("\r\n\r\nx{GET}")), Step::Close],
            &[],
        ),
        (
            "after an empty line",
            vec![call(format!("\r\n{GET}"))],
            &["GET /a 1.1 @2 1..1", "end 28 Framing @1"],
        ),
        (
            "in pieces",
            vec![call("GET /a HT"), call("TP/1.1\r\nHost: h\r\n\r\n")],
            &["GET /a 1.1 @0 1..2", "end 28 Framing @2"],
        ),
        ("a word before it", vec![call("WORD"), call(GET)], &["GET /a 1.1 @4 2..2", "end 28 Framing @2"]),
        (
            "words before it",
            vec![call("two words"), call("go on"), call("GET "), call("/ HTTP/1.1\r\n\r\n")],
            &["GET / 1.1 @14 3..4", "end 18 Framing @4"],
        ),
        (
            "a piece, then a lost one",
            vec![call("GET /a"), Step::Lost(4), call(GET)],
            &["GET /a 1.1 @10 3..3", "end 28 Framing @3"],
        ),
        (
            "a line cut off by the limit",
            vec![short(format!("GET /{} HTTP/1.1\r\n\r\n", "p".repeat(99)), 20), call(GET)],
            &["GET /a 1.1 @117 2..2", "end 28 Framing @2"],
        ),
        (
            "a head cut off by the limit",
            vec![short(format!("GET /a HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(99)), 20)],
            &["GET /a 1.1 cut @0 1..1", "end 123 Framing @1"],
        ),
        (
            "known bytes again hide the beginning",
            vec![call("junk"), Step::Back(2), call(format!("nk{GET}"))],
            &[],
        ),
        ("other side", vec![call(OK)], &[]),
    ];
    for (name, steps, expected) in cases {
        assert_eq!(play::<RequestParser>(Origin::Midway, steps), *expected, "{name}");
    }
}

#[test]
fn responses_are_found_at_the_beginning_of_a_call() {
    let cases: &[Case<'_>] = &[
        (
            "rest of a body",
            vec![call("rest"), Step::Expect(Asked::Other), call(OK), Step::Expect(Asked::Other), call(OK)],
            &["200 1.1 @4 2..2", "end 40 Framing @2", "200 1.1 @44 3..3", "end 40 Framing @3"],
        ),
        (
            "nobody asked",
            vec![call(OK), call(OK)],
            &["200 1.1 @0 1..1", "end 40 Framing @1", "200 1.1 @40 2..2", "end 40 Framing @2"],
        ),
        (
            "until close",
            vec![call("HTTP/1.0 200 OK\r\n\r\n"), call("x"), Step::Close],
            &["200 1.0 @0 1..1", "end 20 Close @2"],
        ),
    ];
    for (name, steps, expected) in cases {
        assert_eq!(play::<ResponseParser>(Origin::Midway, steps), *expected, "{name}");
    }
}

#[test]
fn the_search_is_bounded() {
    let nothing: &[&str] = &[];
    let cases: &[(&str, Step, usize, &[&str])] = &[
        ("calls", call("\x17\x03\x03"), 64, nothing),
        ("too many calls", call("\x17\x03\x03"), 65, &["not http"]),
        ("words that go on", call("W"), 65, &["not http"]),
        ("bytes", Step::Hidden(2 << 20), 2, nothing),
        ("too many bytes", Step::Hidden(2 << 20), 3, &["not http"]),
    ];
    for (name, step, count, expected) in cases {
        let mut steps = vec![step.clone(); *count];
        assert_eq!(play::<RequestParser>(Origin::Midway, &steps), *expected, "{name}");
        steps.push(call(GET));
        let found = play::<RequestParser>(Origin::Midway, &steps).len();
        assert_eq!(found, if expected.is_empty() { 2 } else { 1 }, "{name}, then a request");
    }
}

#[test]
fn a_direction_that_has_shown_a_message_is_searched_for_longer() {
    let mut steps = vec![call(GET)];
    steps.extend(vec![call("junk\n"); 1024]);
    let found = ["GET /a 1.1 @0 1..1", "end 28 Framing @1", "lost"];
    assert_eq!(play::<RequestParser>(Origin::Start, &steps), found);
    steps.push(call("junk\n"));
    assert_eq!(play::<RequestParser>(Origin::Start, &steps)[3..], ["not http"]);
}
