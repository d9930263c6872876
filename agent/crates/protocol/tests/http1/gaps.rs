//! Streams of which parts were not copied or were lost.

use model::Origin;
use protocol::http1::{Asked, ResponseParser};

use crate::harness::{Case, Step, call, play, requests, responses, short};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"; // 28 bytes
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"; // 40 bytes
const POST_100: &str = "POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n"; // 40 bytes
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"; // 47 bytes

#[test]
fn counted_bodies_need_not_be_seen() {
    let body = "b".repeat(100);
    let cases: &[Case<'_>] = &[
        (
            "middle not copied",
            vec![short(format!("{POST_100}{body}"), 64), call(GET)],
            &["POST / 1.1 @0 1..1", "end 140 Framing @1", "GET /a 1.1 @140 2..2", "end 28 Framing @2"],
        ),
        (
            "the next one in the tail",
            vec![short(format!("{POST_100}{body}GET / HTT"), 64), call("P/1.1\r\n\r\n")],
            &["POST / 1.1 @0 1..1", "end 140 Framing @1", "GET / 1.1 @140 1..2", "end 18 Framing @2"],
        ),
        (
            "nothing copied",
            vec![call(POST_100), Step::Hidden(60), Step::Hidden(40), call(GET)],
            &["POST / 1.1 @0 1..1", "end 140 Framing @3", "GET /a 1.1 @140 4..4", "end 28 Framing @4"],
        ),
        (
            "lost inside",
            vec![call(POST_100), Step::Lost(60), call("b".repeat(40)), call(GET)],
            &["POST / 1.1 @0 1..1", "end 140 Framing @3", "GET /a 1.1 @140 4..4", "end 28 Framing @4"],
        ),
        (
            "lost to the end",
            vec![call(POST_100), call("b"), Step::Lost(99), call(GET)],
            &["POST / 1.1 @0 1..1", "end 140 Framing @2", "GET /a 1.1 @140 4..4", "end 28 Framing @4"],
        ),
        (
            "lost over the end",
            vec![call(POST_100), Step::Lost(150), call(GET)],
            &[
                "POST / 1.1 @0 1..1",
                "end 140 Framing @1",
                "lost",
                "GET /a 1.1 @190 3..3",
                "end 28 Framing @3",
            ],
        ),
        (
            "the next one not copied",
            vec![short(format!("{POST_100}{body}{GET}{GET}"), 64), call(GET)],
            &[
                "POST / 1.1 @0 1..1",
                "end 140 Framing @1",
                "lost",
                "GET /a 1.1 @196 2..2",
                "end 28 Framing @2",
            ],
        ),
        (
            "known bytes come again",
            vec![call(POST_100), call(&body), Step::Back(100), call(format!("{body}{GET}")), call(GET)],
            &[
                "POST / 1.1 @0 1..1",
                "end 140 Framing @2",
                "GET /a 1.1 @140 3..3",
                "end 28 Framing @3",
                "GET /a 1.1 @168 4..4",
                "end 28 Framing @4",
            ],
        ),
        (
            "whole call known",
            vec![call(GET), Step::Back(28), call(GET), call(GET)],
            &["GET /a 1.1 @0 1..1", "end 28 Framing @1", "GET /a 1.1 @28 3..3", "end 28 Framing @3"],
        ),
    ];
    for (name, steps, expected) in cases {
        assert_eq!(requests(steps), *expected, "{name}");
    }
}

#[test]
fn a_gap_between_messages_is_a_loss() {
    let cases: &[Case<'_>] = &[
        (
            "a request was lost",
            vec![call(GET), Step::Lost(28), call(GET)],
            &["GET /a 1.1 @0 1..1", "end 28 Framing @1", "lost", "GET /a 1.1 @56 3..3", "end 28 Framing @3"],
        ),
        (
            "the first was lost",
            vec![Step::Lost(28), call(GET)],
            &["lost", "GET /a 1.1 @28 2..2", "end 28 Framing @2"],
        ),
        (
            "nothing copied",
            vec![Step::Hidden(28), call("text"), call(GET)],
            &["lost", "GET /a 1.1 @32 3..3", "end 28 Framing @3"],
        ),
        (
            "in a start line",
            vec![call("GET"), Step::Lost(9), call("TP/1.1\r\n\r\n"), call(GET)],
            &["lost", "GET /a 1.1 @22 4..4", "end 28 Framing @4"],
        ),
    ];
    for (name, steps, expected) in cases {
        assert_eq!(requests(steps), *expected, "{name}");
    }
}

#[test]
fn chunked_bodies_are_exact_as_far_as_sizes_are_seen() {
    let data = "d".repeat(256);
    let big = format!("100\r\n{data}\r\n");
    let cases: &[Case<'_>] = &[
        (
            "middles not copied",
            vec![call(CHUNKED), short(&big, 8), short(&big, 8), call("0\r\n\r\n"), call(OK)],
            &["200 1.1 @0 1..1", "end 578 Framing @4", "200 1.1 @578 5..5", "end 40 Framing @5"],
        ),
        (
            "data lost with its line end",
            vec![call(CHUNKED), call("100\r\n"), Step::Lost(258), call("0\r\n\r\n"), call(OK)],
            &["200 1.1 @0 1..1", "end 315 Framing @4", "200 1.1 @315 5..5", "end 40 Framing @5"],
        ),
        (
            "a size not copied, the last chunk in a tail",
            vec![short(format!("{CHUNKED}{big}{big}0\r\n\r\n"), 60), call(OK)],
            &["200 1.1 @0 1..1", "end 578 Framing @1", "200 1.1 @578 2..2", "end 40 Framing @2"],
        ),
        (
            "a size lost, the last chunk alone",
            vec![call(CHUNKED), Step::Lost(263), call("0\r\n\r\n"), call(OK)],
            &["200 1.1 @0 1..1", "end 315 Lost @3", "200 1.1 @315 4..4", "end 40 Framing @4"],
        ),
        (
            "a size lost, trailers",
            vec![call(CHUNKED), Step::Lost(263), call("0\r\nX: 1\r\n\r\n"), call(OK)],
            &["200 1.1 @0 1..1", "end 321 Lost @3", "200 1.1 @321 4..4", "end 40 Framing @4"],
        ),
        (
            "the last chunk lost",
            vec![call(CHUNKED), call("2\r\nhi\r\n"), Step::Lost(5), call(OK)],
            &["200 1.1 @0 1..1", "end 59 Lost @2", "200 1.1 @59 4..4", "end 40 Framing @4"],
        ),
        (
            "never seen to end",
            vec![call(CHUNKED), Step::Hidden(300), call("more"), Step::Close],
            &["200 1.1 @0 1..1", "end 351 Lost @3"],
        ),
    ];
    for (name, steps, expected) in cases {
        assert_eq!(responses(steps), *expected, "{name}");
    }
}

#[test]
fn a_lost_response_leaves_the_last_request_expected() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"; // 38 bytes
    let steps = [
        Step::Expect(Asked::Other),
        Step::Lost(40),
        Step::Expect(Asked::Head),
        call(head),
        Step::Expect(Asked::Other),
        call(OK),
    ];
    let expected = ["lost", "200 1.1 @40 2..2", "end 38 Framing @2", "200 1.1 @78 3..3", "end 40 Framing @3"];
    assert_eq!(play::<ResponseParser>(Origin::Start, &steps), expected);
}

#[test]
fn after_a_loss_the_first_response_is_not_relied_upon() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"; // 39 bytes
    let body = "HTTP/1.1 200 OK\r\nend"; // 20 bytes
    let steps =
        [Step::Lost(40), Step::Expect(Asked::Other), call(head), Step::Expect(Asked::Other), call(OK)];
    let doubted = ["lost", "200 1.1 @40 2..2", "end 39 Lost @2", "200 1.1 @79 3..3", "end 40 Framing @3"];
    assert_eq!(play::<ResponseParser>(Origin::Start, &steps), doubted);

    let steps = [&steps[..], &[Step::Expect(Asked::Other), call(head), call(body)]].concat();
    let trusted = ["200 1.1 @119 4..4", "end 59 Framing @5"];
    assert_eq!(play::<ResponseParser>(Origin::Start, &steps)[doubted.len()..], trusted);
}
