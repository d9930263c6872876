//! Sessions after a handshake.

use model::Direction::{Received, Sent};
use model::{Direction, ParentKind, Protocol, Span, TcpState};
use proptest::prelude::*;
use trace::Settings;

use crate::conversation::Step::{Eof, Exits, Fails, Idles, Reads, State, Writes};
use crate::conversation::{MS, Socket, Step, World, line, socket};

const ASK: &str =
    "GET /chat/7?token=a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\
                     Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\
                     Sec-WebSocket-Protocol: chat.v2\r\n\r\n";

/// A frame as the client (masked with zeros) or the server writes it.
fn frame(client: bool, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, payload.len() as u8 | if client { 0x80 } else { 0 }];
    bytes.extend_from_slice(if client { &[0; 4] } else { &[] });
    bytes.extend_from_slice(payload);
    bytes
}

fn agreed(settings: &Settings, socket: &Socket) -> World {
    let mut world = World::new(settings);
    world.play(socket, &[Reads(ASK), Writes(AGREE)]);
    world
}

fn attributes(span: &Span) -> String {
    let shown = crate::conversation::attributes(span)
        .map(|attribute| format!("{}={}", attribute.name, attribute.value));
    shown.collect::<Vec<_>>().join(" ").replace("websocket.", "")
}

#[test]
fn a_session_is_one_span_beside_its_handshake() {
    let mut world = agreed(&Settings::default(), &socket(1));
    let at = |world: &mut World, direction, bytes: &[u8]| world.bytes(&socket(1), direction, bytes);
    at(&mut world, Received, &frame(true, 0x81, b"hello"));
    at(&mut world, Sent, &[frame(false, 0x01, b"wo"), frame(false, 0x80, b"rld")].concat());
    at(&mut world, Sent, &frame(false, 0x89, b"p1"));
    world.play(&socket(1), &[Idles(9)]);
    at(&mut world, Received, &frame(true, 0x8a, b"p1"));
    at(&mut world, Received, &frame(true, 0x88, b"\x03\xe8"));
    at(&mut world, Sent, &frame(false, 0x88, b"\x03\xe8"));
    world.play(&socket(1), &[State(TcpState::FinWait1, 0), State(TcpState::Close, 0)]);
    assert_eq!(
        world.lines(),
        [
            &*format!("server GET /chat/{{id}} 101 upgraded - {}/{} 1/1", ASK.len(), AGREE.len()),
            "server WEBSOCKET /chat/{id} - complete - 27/17 15/-",
        ]
    );
    let (handshake, session) = (&world.spans[0], &world.spans[1]);
    assert_eq!(
        attributes(session),
        "subprotocol=chat.v2 compression=permessage-deflate received.frames=3 received.messages=1 \
         received.payload_bytes=9 sent.frames=4 sent.messages=1 sent.payload_bytes=9 ping.answered=1 \
         ping.mean_us=10000 ping.longest_us=10000 close.by=client close.code=1000"
    );
    assert_eq!((session.protocol, session.scheme), (Protocol::WebSocket, "ws"));
    assert_eq!((session.route.as_deref(), &*session.host), (Some("/chat/{id}"), "h"));
    assert_eq!(session.target.as_deref(), Some("/chat/7?token=***"));
    assert_eq!(session.trace_id, handshake.trace_id);
    let parent = session.parent.as_ref().unwrap();
    assert_eq!((&*parent.span_id, parent.kind), (&*handshake.span_id.to_string(), ParentKind::Handshake));
    assert_eq!(world.tracer.counts().upgraded, 1);
}

#[test]
fn the_first_frames_may_come_with_the_handshake() {
    let mut world = World::new(&Settings::default());
    world.bytes(&socket(1), Sent, ASK.as_bytes());
    let mut first = AGREE.as_bytes().to_vec();
    first.extend(frame(false, 0x81, b"at once"));
    world.bytes(&socket(1), Received, &first);
    world.bytes(&socket(1), Sent, &frame(true, 0x82, b"a"));
    world.play(&socket(1), &[State(TcpState::FinWait1, 0), State(TcpState::Close, 0)]);
    assert_eq!(line(&world.spans[1]), "client WEBSOCKET /chat/{id} - client_closed Incomplete 7/9 3/-");
    assert_eq!(world.spans[1].error().as_deref(), Some("client closed without a close frame"));
    assert!(attributes(&world.spans[1]).contains("received.messages=1"));
}

#[test]
fn ends_as_it_was_seen_to_end() {
    for (steps, want) in [
        (vec![State(TcpState::CloseWait, 0), Eof], "client_closed Incomplete"),
        (vec![State(TcpState::FinWait1, 0), State(TcpState::Close, 0)], "server_closed Incomplete"),
        (vec![State(TcpState::Close, 104)], "reset Reset"),
        (vec![Fails(Received, 110)], "timed_out TimedOut"),
        (
            vec![Fails(Sent, 32), State(TcpState::CloseWait, 0), State(TcpState::Close, 0)],
            "client_closed Incomplete",
        ),
        (vec![Exits], "process_exited ProcessExited"),
    ] {
        let mut world = agreed(&Settings::default(), &socket(1));
        world.play(&socket(1), &steps);
        // A reset is held back for a moment.
        world.tracer.tick(world.now_ns + 1000 * MS, &mut world.spans);
        assert_eq!(world.spans.len(), 2, "{steps:?}");
        let shown = line(&world.spans[1]);
        assert!(shown.contains(&format!(" - {want} ")), "{shown} {steps:?}");
    }
    // One close frame is enough, though the other side does not wait for its own to be answered.
    let mut world = agreed(&Settings::default(), &socket(1));
    world.bytes(&socket(1), Sent, &frame(false, 0x88, b"\x03\xe9"));
    world.play(&socket(1), &[Eof, State(TcpState::LastAck, 0), State(TcpState::Close, 0)]);
    assert_eq!(line(&world.spans[1]), "server WEBSOCKET /chat/{id} - complete - 0/4 4/-");
}

#[test]
fn a_close_code_may_be_an_error() {
    for (code, want) in [
        (1000, None),
        (1001, None),
        (1011, Some("websocket error 1011")),
        (1008, Some("websocket error 1008")),
        (4000, None),
    ] {
        let mut world = agreed(&Settings::default(), &socket(1));
        let close = u16::to_be_bytes(code);
        world.bytes(&socket(1), Sent, &frame(false, 0x88, &close));
        world.bytes(&socket(1), Received, &frame(true, 0x88, &close));
        assert_eq!(world.spans[1].error().as_deref(), want);
        assert!(attributes(&world.spans[1]).ends_with(&format!(
            "close.by=server close.code={code}{}",
            match want {
                Some(_) => format!(" error.type={code}"),
                None => String::new(),
            }
        )));
    }
}

#[test]
fn payloads_are_not_needed_but_headers_are() {
    let mut world = agreed(&Settings::default(), &socket(1));
    world.part(&socket(1), Received, &[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 9, 9, 9, 9, 1, 2, 3], 65536 + 14);
    world.bytes(&socket(1), Received, &frame(true, 0x81, b"x"));
    world.play(&socket(1), &[Step::Loses(Received, 40)]);
    world.bytes(&socket(1), Received, &frame(true, 0x81, b"unknown"));
    world.bytes(&socket(1), Sent, &frame(false, 0x81, b"still read"));
    world.play(&socket(1), &[Eof]);
    assert!(attributes(&world.spans[1]).contains(
        "received.frames=2 received.messages=2 received.payload_bytes=65537 sent.frames=1 sent.messages=1 \
         sent.payload_bytes=10 incomplete=true"
    ));
    assert_eq!(world.tracer.counts().lost_framings, 1);
}

#[test]
fn long_sessions_report_in_between_and_nothing_twice() {
    let mut world = agreed(&Settings { progress_s: 10, ..Settings::default() }, &socket(1));
    let start_ns = world.now_ns;
    for second in 1..=34_u64 {
        world.now_ns = start_ns + second * 1000 * MS;
        world.bytes(&socket(1), Sent, &frame(false, 0x81, b"tick"));
        world.tracer.tick(start_ns + second * 1000 * MS + 500 * MS, &mut world.spans);
    }
    // Nothing passes for long: nothing to report.
    world.tracer.tick(start_ns + 100_000 * MS, &mut world.spans);
    world.tracer.tick(start_ns + 150_000 * MS, &mut world.spans);
    world.now_ns = start_ns + 160_000 * MS;
    world.play(&socket(1), &[Eof]);
    let session = world.spans.last().unwrap();
    let parts: Vec<&Span> = world.spans.iter().filter(|span| span.end == model::End::Ongoing).collect();
    assert_eq!(parts.len(), 4);
    assert_eq!(line(session), "server WEBSOCKET /chat/{id} - client_closed Incomplete 0/204 160001/-");
    let mut end_ns = session.start_ns;
    for part in &parts {
        assert_eq!((&*part.name, part.end.as_str()), ("WEBSOCKET /chat/{id} (open)", "ongoing"));
        let parent = part.parent.as_ref().unwrap();
        assert_eq!((&*parent.span_id, parent.kind), (&*session.span_id.to_string(), ParentKind::Whole));
        assert_eq!(part.start_ns, end_ns, "no stretch is missing and none is told twice");
        end_ns = part.start_ns + part.duration_ns;
    }
    assert_eq!(parts.iter().map(|part| part.response_bytes).sum::<u64>(), 204);
    world.lines();
}

/// Plays a session cut at the given places of what the server reads and writes; what must not depend on them.
fn cut_session(cuts: &[usize]) -> String {
    let mut world = agreed(&Settings::default(), &socket(1));
    let asked: Vec<u8> = [
        frame(true, 0x01, &[7; 100]),
        frame(true, 0x80, b"end"),
        frame(true, 0x89, b"ping"),
        frame(true, 0x88, b"\x03\xe9"),
    ]
    .concat();
    let answered: Vec<u8> =
        [frame(false, 0xc2, &[1; 125]), frame(false, 0x8a, b"ping"), frame(false, 0x88, b"")].concat();
    let mut play = |direction: Direction, bytes: &[u8]| {
        let mut places: Vec<usize> = cuts.iter().copied().filter(|cut| *cut < bytes.len()).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        places.dedup();
        places.windows(2).for_each(|ends| world.bytes(&socket(1), direction, &bytes[ends[0]..ends[1]]));
    };
    play(Received, &asked);
    play(Sent, &answered);
    let session = &world.spans[1];
    format!("{} {} {} {}", session.name, session.request_bytes, session.response_bytes, attributes(session))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn cuts_change_nothing(cuts in prop::collection::vec(1_usize..150, 0..40)) {
        prop_assert_eq!(cut_session(&cuts), cut_session(&[]));
    }
}
