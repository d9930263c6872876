//! Connections that break every rule, seen from both ends: what can be told is told and right, the rest is counted,
//! and the probe goes on with as much memory as before.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rstest::rstest;
use serde_json::{Value, json};
use tests::probe::SpanLine;
use tests::script::{EMPTY, answers, asks, count, hex, says, try_out};
use tests::watch::can_run;

/// Streams that are taken back, and streams that are opened at once.
const RESETS: u32 = 3000;
const STREAMS: u32 = 10_000;
/// Of these so many are followed.
const FOLLOWED: usize = 4096;
/// The length of the largest frame, and in how many pieces it is sent.
const LARGEST: usize = (1 << 24) - 1;
const PIECES: usize = 15;

/// A request that is read late or not at all.
const UNREAD: &[u8] = b"GET /unread HTTP/1.1\r\nHost: a\r\n\r\n";

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
/// `:method: GET`, `:scheme: http`, `:path: /`
const GET: &[u8] = b"\x82\x86\x84";
/// `:status: 200`
const OK: &[u8] = b"\x88";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn greeting() -> [Value; 2] {
    [asks(&[PREFACE, SETTINGS].concat()), answers(SETTINGS)]
}

fn by_kind<'a>(spans: &'a [SpanLine], kind: &'a str) -> Vec<&'a SpanLine> {
    spans.iter().filter(|span| span.kind == kind).collect()
}

#[rstest]
#[case::first(&[json!(["client", "random", 300_000]), json!(["server", "random", 300_000])])]
#[case::behind_an_exchange(&[
    asks(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"),
    answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    json!(["client", "random", 300_000]),
    json!(["server", "random", 300_000]),
])]
fn rubbish(#[case] script: &[Value]) {
    if !can_run() {
        return;
    }
    let (spans, counts) = try_out(script, 4);
    // Both ends of the exchange, where there was one.
    assert_eq!(spans.len(), if script.len() > 2 { 8 } else { 0 }, "{spans:#?}");
    assert!(spans.iter().all(|span| span.status == Some(200) && span.end == "complete"), "{spans:#?}");
    assert!(count(&counts, "not_http") + count(&counts, "lost_framings") >= 8, "{counts}");
}

/// A header block without an end, two megabytes of it.
#[test]
fn a_flood_of_continuations() {
    if !can_run() {
        return;
    }
    let field = [&b"\0\x01a\x7f\x80\x07"[..], &[b'x'; 1023]].concat();
    let mut script = greeting().to_vec();
    script.push(asks(&frame(1, 0, 1, GET)));
    script.push(says("client", &frame(9, 0, 1, &field), 2000));
    script.push(json!(["client", "closes"]));
    let (spans, counts) = try_out(&script, 3);
    assert_eq!(spans.len(), 0, "no request was ever made: {spans:#?}");
    assert_eq!(count(&counts, "ring_full"), 0, "{counts}");
}

/// A request is opened and taken back, as often as the client can.
#[test]
fn rapid_resets() {
    if !can_run() {
        return;
    }
    let mut script = greeting().to_vec();
    for stream in (0..RESETS).map(|n| 2 * n + 1) {
        let reset = frame(3, 0, stream, &8_u32.to_be_bytes());
        script.push(asks(&[frame(1, 5, stream, GET), reset].concat()));
    }
    let (spans, _) = try_out(&script, 1);
    for kind in ["server", "client"] {
        let spans = by_kind(&spans, kind);
        assert_eq!(spans.len(), RESETS as usize);
        for span in spans {
            assert_eq!((span.end.as_str(), span.status), ("client_closed", None), "{span:?}");
            assert_eq!(span.attributes["error.type"], "CANCEL");
        }
    }
}

/// More streams than are followed at once: those are told, the others counted.
#[test]
fn ten_thousand_streams_without_an_answer() {
    if !can_run() {
        return;
    }
    let mut script = greeting().to_vec();
    let heads: Vec<u8> = (0..STREAMS).flat_map(|n| frame(1, 5, 2 * n + 1, GET)).collect();
    script.push(asks(&heads));
    script.push(json!(["server", "closes"]));
    let (spans, counts) = try_out(&script, 1);
    for kind in ["server", "client"] {
        let spans = by_kind(&spans, kind);
        assert_eq!(spans.len(), FOLLOWED);
        assert!(spans.iter().all(|span| span.end == "server_closed"), "{:?}", spans[0]);
    }
    assert_eq!(count(&counts, "overrun_requests"), 2 * (u64::from(STREAMS) - FOLLOWED as u64), "{counts}");
}

/// The largest frame that there can be, and one behind it.
#[test]
fn the_largest_frame() {
    if !can_run() {
        return;
    }
    let mut script = greeting().to_vec();
    script.push(asks(&frame(1, 5, 1, GET)));
    script.push(answers(&frame(1, 4, 1, OK)));
    script.push(answers(b"\xff\xff\xff\0\0\0\0\0\x01"));
    // Slowly: calls of HTTP/2 are copied whole, and two ends of this are more than the ring holds.
    for _ in 0..PIECES {
        script.push(says("server", b"xyz", LARGEST / PIECES / 3));
        script.push(json!(["server", "waits", 0.05]));
    }
    script.push(answers(&frame(0, 1, 1, b"end")));
    let (spans, counts) = try_out(&script, 2);
    assert_eq!(spans.len(), 4, "{spans:#?}");
    for span in &spans {
        assert_eq!((span.status, span.end.as_str()), (Some(200), "complete"), "{counts}: {span:?}");
        assert_eq!(span.response_bytes, 10 + 9 + LARGEST as u64 + 12, "{span:?}");
    }
}

/// Each field refers to a large one: a small block that says megabytes.
#[test]
fn a_block_that_grows() {
    if !can_run() {
        return;
    }
    // `x: ` and 4000 bytes into the table, then 10,000 times the newest entry.
    let large = [&b"\x40\x01x\x7f\xa1\x1e"[..], &[b'x'; 4000]].concat();
    let bomb = [GET, &large, &[0xbe; 10_000]].concat();
    let mut script = greeting().to_vec();
    script.push(asks(&frame(1, 5, 1, &bomb)));
    script.push(answers(&frame(1, 5, 1, OK)));
    let (spans, _) = try_out(&script, 3);
    assert_eq!(spans.len(), 6, "{spans:#?}");
    for span in &spans {
        assert_eq!((span.name.as_str(), span.status), ("GET /", Some(200)), "{span:?}");
        // What was not kept is said.
        assert!(span.attributes["http.request.unknown_fields"].as_u64().unwrap() > 0, "{span:?}");
    }
}

/// Heads that no two servers agree upon.
#[rstest]
#[case::two_lengths("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")]
#[case::length_and_chunks("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")]
#[case::a_negative_length("Content-Length: -1\r\n", "")]
#[case::a_chunk_without_end("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\nx")]
#[case::a_line_without_end("X: ", "")]
fn ambiguous_heads(#[case] fields: &str, #[case] body: &str) {
    if !can_run() {
        return;
    }
    let mut script = vec![asks(format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}").as_bytes())];
    if fields == "X: " {
        script.push(says("client", b"x", 1 << 20));
    }
    script.push(asks(format!("\r\n{body}").as_bytes()));
    script.push(answers(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
    script.push(json!(["server", "closes"]));
    let (spans, counts) = try_out(&script, 3);
    // One for each end at most, and what is told of it is what was answered.
    assert!(spans.len() <= 6, "{spans:#?}");
    for span in &spans {
        assert!(span.name == "POST /a" && matches!(span.status, None | Some(400)), "{counts}: {span:?}");
    }
    assert!(spans.iter().any(|span| span.status == Some(400)), "{counts}: {spans:#?}");
}

fn upgrade() -> [Value; 2] {
    [
        asks(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
        answers(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ]
}

/// Frames that cannot be, behind one that is: the counts are said to be the least there were.
#[rstest]
#[case::a_length_of_64_bits(b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff")]
#[case::a_long_ping(b"\x89\x7e\x01\x00")]
#[case::a_ping_in_parts(b"\x09\x00")]
#[case::masked_by_the_server(b"\x82\x81\0\0\0\0x")]
#[case::an_opcode_of_nobody(b"\x83\x00")]
fn frames_that_cannot_be(#[case] frame: &[u8]) {
    if !can_run() {
        return;
    }
    let mut script = upgrade().to_vec();
    script.push(answers(b"\x82\x02ok"));
    script.push(answers(frame));
    script.push(json!(["server", "random", 100_000]));
    script.push(json!(["server", "closes"]));
    let (spans, counts) = try_out(&script, 2);
    let sessions: Vec<_> = spans.iter().filter(|span| span.protocol == "websocket").collect();
    assert_eq!((sessions.len(), spans.len()), (4, 8), "{spans:#?}");
    for span in sessions {
        assert_eq!(span.attributes["websocket.incomplete"], true, "{span:?}");
        let way = if span.kind == "server" { "sent" } else { "received" };
        assert_eq!(span.attributes[&format!("websocket.{way}.frames")], 1, "{span:?}");
        assert_eq!(span.end, "server_closed", "{span:?}");
    }
    assert!(count(&counts, "lost_framings") >= 4, "{counts}");
}

/// What has come before can still be read of a socket that was shut down both ways. It is no connection of its own: the
/// exchange ended when that was done, and what is read later begins none.
#[rstest]
#[case::a_request(&[], ("client", "server", UNREAD), "server_closed", &[])]
#[case::an_answer(&[asks(UNREAD)], ("server", "client", EMPTY), "client_closed", &[("server", "GET /unread", "complete")])]
fn what_is_read_of_a_socket_that_was_shut_down(
    #[case] before: &[Value],
    #[case] (from, to, bytes): (&str, &str, &[u8]),
    #[case] end: &str,
    #[case] answered: &[(&str, &str, &str)],
) {
    if !can_run() {
        return;
    }
    let first = [asks(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"), answers(EMPTY)];
    let unread =
        [json!([from, "leaves", hex(bytes)]), json!([to, "shuts"]), json!([to, "reads", bytes.len()])];
    let times = 3;
    let (spans, counts) = try_out(&[&first, before, &unread].concat(), times);
    let mut told: Vec<_> =
        spans.iter().map(|span| (span.kind.as_str(), span.name.as_str(), span.end.as_str())).collect();
    let complete = ["client", "server"].map(|kind| (kind, "GET /a", "complete"));
    let once = [&complete, answered, &[("client", "GET /unread", end)]].concat();
    let mut expected = once.repeat(times);
    told.sort_unstable();
    expected.sort_unstable();
    assert_eq!(told, expected);
    // Each script has two ends, as have the two that follow.
    assert_eq!(count(&counts, "connections"), 2 * (times as u64 + 2), "{counts}");
    assert_eq!(count(&counts, "ignored_calls"), times as u64, "{counts}");
}

/// Replies within replies within replies.
#[test]
fn replies_without_a_ground() {
    if !can_run() {
        return;
    }
    let ask = asks(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
    let script = [ask.clone(), says("server", b"*1\r\n", 200_000), ask, answers(b"$1\r\nb\r\n")];
    let (spans, counts) = try_out(&script, 3);
    let ends: Vec<_> =
        spans.iter().map(|span| (span.kind.as_str(), span.name.as_str(), span.end.as_str())).collect();
    // The first ends as nobody knows, the second as it did.
    assert_eq!(ends.len(), 6, "{spans:#?}");
    assert!(ends.iter().all(|(kind, name, _)| (*kind, *name) == ("client", "GET")), "{ends:?}");
    assert_eq!(ends.iter().filter(|(_, _, end)| *end == "probe_lost").count(), 3, "{ends:?}");
    assert_eq!(ends.iter().filter(|(_, _, end)| *end == "complete").count(), 3, "{ends:?}");
    assert!(count(&counts, "lost_framings") >= 3, "{counts}");
}

/// What a server pushes answers nothing, between replies and within a wait (RESP3).
#[test]
fn pushes_between_replies() {
    if !can_run() {
        return;
    }
    let push = "|1\r\n+ttl\r\n:3600\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n";
    let ask = |key: &str| asks(format!("*2\r\n$3\r\nGET\r\n$1\r\n{key}\r\n").as_bytes());
    let script = [
        ask("a"),
        answers(format!("{push}$1\r\n1\r\n{push}").as_bytes()),
        ask("b"),
        json!(["server", "waits", 0.05]),
        answers(push.as_bytes()),
        json!(["server", "waits", 0.05]),
        answers(b"-ERR no\r\n"),
        answers(push.as_bytes()),
    ];
    let (spans, counts) = try_out(&script, 1);
    let [first, second] = &spans[..] else { panic!("{counts}: {spans:#?}") };
    assert_eq!((first.response_bytes, first.error.as_deref()), (7, None), "{first:?}");
    assert_eq!((second.response_bytes, second.error.as_deref()), (9, Some("redis error ERR")), "{second:?}");
    assert!(second.duration_us >= 95_000.0, "{second:?}");
    assert_eq!(count(&counts, "unpaired_responses"), 0, "{counts}");
}

/// A value of two gigabytes is announced, and the connection cut.
#[test]
fn a_value_that_never_comes() {
    if !can_run() {
        return;
    }
    let script =
        [asks(b"set a 0 0 2147483648\r\n"), says("client", &[b'x'; 4096], 64), json!(["client", "resets"])];
    let (spans, _) = try_out(&script, 3);
    assert!(spans.is_empty(), "{spans:#?}");
}

/// The beginning of a TLS handshake, then noise.
#[test]
fn a_handshake_that_is_none() {
    if !can_run() {
        return;
    }
    let script = [
        asks(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        json!(["client", "random", 200_000]),
        json!(["server", "random", 200_000]),
    ];
    let (spans, counts) = try_out(&script, 3);
    assert!(spans.is_empty(), "{spans:#?}");
    assert!(count(&counts, "tls_unbound_connections") > 0, "{counts}");
}
