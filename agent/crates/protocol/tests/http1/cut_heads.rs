//! Heads of which the end was not copied, was lost, or lies past the limits.

use model::Origin;
use protocol::http1::{Asked, Part, RequestParser, ResponseParser};

use crate::harness::{Case, Step, TAIL_BYTES, call, cut, play, requests, responses, short};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"; // 28 bytes
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"; // 40 bytes

/// A head with these first lines, filled up with a field that comes last to so many bytes.
fn long_head(first: &str, bytes: usize) -> String {
    let fill = bytes - first.len() - "X: \r\n\r\n".len();
    format!("{first}X: {}\r\n\r\n", "x".repeat(fill))
}

#[test]
fn requests_with_heads_cut_off() {
    let get = long_head("GET /a HTTP/1.1\r\n", 3000);
    let post = long_head("POST /p HTTP/1.1\r\nContent-Length: 500\r\n", 3000);
    let unsaid = long_head("POST /p HTTP/1.1\r\n", 3000);
    let target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "p".repeat(100));
    let body = "b".repeat(500);
    let cases: &[Case<'_>] = &[
        (
            "ends with the call",
            vec![short(&get, 2048), call(GET)],
            &["GET /a 1.1 cut @0 1..1", "end 3000 Framing @1", "GET /a 1.1 @3000 2..2", "end 28 Framing @2"],
        ),
        (
            "goes on in the next call",
            vec![short(&get[..2500], 2048), call(format!("{}{GET}", &get[2500..]))],
            &["GET /a 1.1 cut @0 1..1", "end 3000 Framing @2", "GET /a 1.1 @3000 2..2", "end 28 Framing @2"],
        ),
        (
            "its end was lost",
            vec![short(&get[..2500], 2048), Step::Lost(500), call(GET)],
            &["GET /a 1.1 cut @0 1..1", "end 3000 Lost @1", "GET /a 1.1 @3000 3..3", "end 28 Framing @3"],
        ),
        (
            "body after it",
            vec![short(&post, 2048), call(&body), call(GET)],
            &["POST /p 1.1 cut @0 1..1", "end 3500 Framing @2", "GET /a 1.1 @3500 3..3", "end 28 Framing @3"],
        ),
        (
            "body with it",
            vec![short(format!("{post}{body}"), 2048), call(GET)],
            &["POST /p 1.1 cut @0 1..1", "end 3500 Lost @1", "GET /a 1.1 @3500 2..2", "end 28 Framing @2"],
        ),
        (
            "body in two",
            vec![short(format!("{post}{}", &body[..300]), 2900), call(&body[300..]), call(GET)],
            &["POST /p 1.1 cut @0 1..1", "end 3500 Lost @2", "GET /a 1.1 @3500 3..3", "end 28 Framing @3"],
        ),
        (
            "length not seen",
            vec![short(&unsaid, 2048), call(&body), call(GET)],
            &["POST /p 1.1 cut @0 1..1", "end 3500 Lost @2", "GET /a 1.1 @3500 3..3", "end 28 Framing @3"],
        ),
        (
            "never seen to end",
            vec![short(&unsaid, 2048), Step::Close],
            &["POST /p 1.1 cut @0 1..1", "end 3000 Lost @1"],
        ),
        (
            "inside the target",
            vec![short(&target, 20), call(GET)],
            &[
                "GET /ppppppppppppppp 1.1 cut @0 1..1",
                "end 127 Framing @1",
                "GET /a 1.1 @127 2..2",
                "end 28 Framing @2",
            ],
        ),
        (
            "inside what is no target",
            vec![short(format!("AUTH {}\r\n", "x".repeat(100)), 20), call(GET)],
            &["lost", "GET /a 1.1 @107 2..2", "end 28 Framing @2"],
        ),
        (
            "lost in the head",
            vec![call("GET /a HTTP/1.1\r\nA: 1\r\nB"), Step::Lost(9), call("C: 1\r\n\r\n"), call(GET)],
            &["GET /a 1.1 cut @0 1..1", "end 41 Lost @3", "GET /a 1.1 @41 4..4", "end 28 Framing @4"],
        ),
    ];
    for (name, steps, expected) in cases {
        assert_eq!(requests(steps), *expected, "{name}");
    }
}

#[test]
fn responses_with_heads_cut_off() {
    let counted = long_head("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n", 3000);
    let chunked = long_head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", 3000);
    let unsaid = long_head("HTTP/1.1 200 OK\r\n", 3000);
    let unmodified = long_head("HTTP/1.1 304 Not Modified\r\n", 3000);
    let switch = long_head("HTTP/1.1 101 Switching Protocols\r\n", 3000);
    let body = "b".repeat(500);
    let cases: &[Case<'_>] = &[
        (
            "body after it",
            vec![short(&counted, 2048), Step::Hidden(500), call(OK)],
            &["200 1.1 cut @0 1..1", "end 3500 Framing @2", "200 1.1 @3500 3..3", "end 40 Framing @3"],
        ),
        (
            "body with it",
            vec![short(format!("{counted}{body}"), 2048), call(OK)],
            &["200 1.1 cut @0 1..1", "end 3500 Lost @1", "200 1.1 @3500 2..2", "end 40 Framing @2"],
        ),
        (
            "body that never came",
            vec![short(&counted, 2048), call(OK)],
            &["200 1.1 cut @0 1..1", "end 3000 Lost @1", "200 1.1 @3000 2..2", "end 40 Framing @2"],
        ),
        (
            "chunks after it",
            vec![short(&chunked, 2048), call("2\r\nhi\r\n0\r\n\r\n"), call(OK)],
            &["200 1.1 cut @0 1..1", "end 3012 Framing @2", "200 1.1 @3012 3..3", "end 40 Framing @3"],
        ),
        (
            "chunks with it",
            vec![short(format!("{chunked}2\r\nhi\r\n0\r\n\r\n"), 2048), call(OK)],
            &["200 1.1 cut @0 1..1", "end 3012 Framing @1", "200 1.1 @3012 2..2", "end 40 Framing @2"],
        ),
        (
            "unsaid, chunks",
            vec![short(&unsaid, 2048), call("2\r\nhi\r\n0\r\n\r\n"), call(OK)],
            &["200 1.1 cut @0 1..1", "end 3012 Framing @2", "200 1.1 @3012 3..3", "end 40 Framing @3"],
        ),
        (
            "unsaid, close",
            vec![short(&unsaid, 2048), call(&body), Step::Close],
            &["200 1.1 cut @0 1..1", "end 3500 Lost @2"],
        ),
        (
            "no body",
            vec![short(&unmodified, 2048), call(OK)],
            &["304 1.1 cut @0 1..1", "end 3000 Framing @1", "200 1.1 @3000 2..2", "end 40 Framing @2"],
        ),
        (
            "switched",
            vec![short(&switch, 2048), call(OK)],
            &["101 1.1 cut @0 1..1", "end 2048 Upgrade @1", "upgraded"],
        ),
    ];
    for (name, steps, expected) in cases {
        assert_eq!(responses(steps), *expected, "{name}");
    }
    let asked = [Step::Expect(Asked::Head), short(&counted, 2048), call(OK)];
    let expected = ["200 1.1 cut @0 1..1", "end 3000 Framing @1", "200 1.1 @3000 2..2", "end 40 Framing @2"];
    assert_eq!(play::<ResponseParser>(Origin::Start, &asked), expected);
}

#[test]
fn heads_past_the_limits_are_read_as_far_as_they_go() {
    let many = format!("GET /a HTTP/1.1\r\n{}\r\n", "X: 1\r\n".repeat(300));
    let long = long_head("GET /a HTTP/1.1\r\n", 100_000);
    let many_end = format!("end {} Framing @1", many.len());
    let cases: &[Case<'_>] = &[
        ("many fields", vec![call(&many)], &["GET /a 1.1 cut @0 1..1", &many_end]),
        (
            "long",
            vec![call(format!("{long}{GET}"))],
            &[
                "GET /a 1.1 cut @0 1..1",
                "end 100000 Framing @1",
                "GET /a 1.1 @100000 1..1",
                "end 28 Framing @1",
            ],
        ),
        (
            "long, in pieces",
            vec![call(&long[..9]), call(&long[9..70_000]), call(format!("{}{GET}", &long[70_000..]))],
            &[
                "GET /a 1.1 cut @0 1..2",
                "end 100000 Framing @3",
                "GET /a 1.1 @100000 3..3",
                "end 28 Framing @3",
            ],
        ),
    ];
    for (name, steps, expected) in cases {
        assert_eq!(requests(steps), *expected, "{name}");
    }
}

#[test]
fn a_cut_head_keeps_the_fields_that_were_seen() {
    let bytes = b"GET /a HTTP/1.1\r\nHost: h\r\nAccept: text/html\r\nX: some very long value\r\n\r\n";
    let (head, tail) = cut(bytes, 40);
    assert_eq!(tail.len(), TAIL_BYTES);
    let mut parser = RequestParser::new(Origin::Start);
    let mut fields = Vec::new();
    let chunk = protocol::Chunk { at_ns: 1, position: 0, len: bytes.len() as u64, head, tail };
    parser.push(&chunk, &mut |part| {
        if let Part::Head { head, .. } = part {
            assert!(head.truncated);
            fields.extend(head.headers.iter().map(|(name, value)| format!("{name}={value}")));
        }
    });
    assert_eq!(fields, ["Host=h"]);
}
