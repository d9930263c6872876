//! Requests of which both ends are watched: the server's span is the child of the client's.

use std::collections::HashMap;

use model::{Address, AttributeValue, Body, Identity, ParentKind, Span, SpanKind};
use proptest::prelude::*;
use trace::Settings;

use crate::conversation::Step::{Idles, Reads, State, Writes};
use crate::conversation::{Socket, World, get, process, socket};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// The two ends of a connection from process 100 to process 200.
fn ends(id: u64) -> (Socket, Socket) {
    let client: std::net::SocketAddr = format!("10.0.0.1:{}", 40_000 + id).parse().unwrap();
    let server = "10.0.0.2:80".parse().unwrap();
    let end = |id, pid, local, peer| Socket {
        pid,
        tid: pid,
        local: Address::Ip(local),
        peer: Address::Ip(peer),
        ..socket(id)
    };
    (end(2 * id, 100, client, server), end(2 * id + 1, 200, server, client))
}

fn world() -> World {
    let mut world = World::new(&Settings::default());
    world.feed(200, 0, Body::Process(process(200, "stock")));
    world
}

fn find(world: &World, kind: SpanKind, path: &str) -> Span {
    let wanted = |span: &&Span| span.kind == kind && span.target.as_deref() == Some(path);
    world.spans.iter().find(wanted).unwrap().clone()
}

fn is_child(child: &Span, parent: &Span) -> bool {
    let named = child.parent.as_ref().is_some_and(|named| *named.span_id == *parent.span_id.to_string());
    named && child.trace_id == parent.trace_id
}

fn reason(span: &Span) -> Option<&str> {
    span.attribute("stardust_probe.parent").and_then(AttributeValue::as_text)
}

#[test]
fn a_chain_through_two_processes_is_one_trace() {
    let mut world = world();
    let (client, server) = ends(1);
    for number in 0..3 {
        let path = format!("/{number}");
        world.play(&socket(90), &[Reads(&get(&path))]);
        world.play(&client, &[Writes(&get(&path))]);
        world.play(&server, &[Reads(&get(&path))]);
        let further = Socket { pid: 200, tid: 200, ..socket(91) };
        world.play(&further, &[Writes(&get(&format!("/further{path}"))), Reads(OK)]);
        world.play(&server, &[Writes(OK)]);
        world.play(&client, &[Reads(OK)]);
        world.play(&socket(90), &[Writes(OK)]);
        let servers: Vec<&Span> =
            world.spans.iter().filter(|span| span.target.as_deref() == Some(&path)).collect();
        let [inner, call, outer] = servers[..] else { panic!("{:?}", world.lines()) };
        assert!(is_child(inner, call) && is_child(call, outer));
        assert_eq!(inner.parent.as_ref().map(|parent| parent.kind), Some(ParentKind::Connection));
        assert!(is_child(&find(&world, SpanKind::Client, &format!("/further{path}")), inner));
        assert_eq!(inner.head_sampled, outer.head_sampled);
    }
    assert_eq!(world.tracer.counts().joined_ends, 3);
}

#[test]
fn the_receiver_may_be_told_of_first() {
    let mut world = world();
    let (client, server) = ends(1);
    world.play(&socket(90), &[Reads(&get("/a"))]);
    world.play(&server, &[Reads(&get("/a"))]);
    let further = Socket { pid: 200, tid: 200, ..socket(91) };
    world.play(&further, &[Writes(&get("/further"))]);
    world.play(&client, &[Writes(&get("/a"))]);
    world.play(&further, &[Reads(OK)]);
    world.play(&server, &[Writes(OK)]);
    world.play(&client, &[Reads(OK)]);
    world.play(&socket(90), &[Writes(OK)]);
    let [further, inner, call, outer] = &world.spans[..] else { panic!("{:?}", world.lines()) };
    assert!(is_child(further, inner) && is_child(inner, call) && is_child(call, outer));
    // But not by much.
    world.play(&server, &[Reads(&get("/b")), Idles(10)]);
    world.play(&client, &[Writes(&get("/b"))]);
    world.play(&server, &[Writes(OK)]);
    assert_eq!(find(&world, SpanKind::Server, "/b").parent, None);
}

#[test]
fn what_does_not_agree_is_not_joined() {
    let elsewhere = |(client, server): (Socket, Socket)| (client, Socket { netns: 2, ..server });
    let other_port = |(client, _): (Socket, Socket)| (client, ends(2).1);
    let named = "GET /a HTTP/1.1\r\nHost: h\r\nTraceId: t\r\n\r\n";
    for ((client, server), sent, received) in [
        (elsewhere(ends(1)), get("/a"), get("/a")),
        (other_port(ends(1)), get("/a"), get("/a")),
        (ends(1), get("/a"), get("/b")),
        (ends(1), get("/a"), get("/a").replace("GET", "PUT")),
        // A context in the request itself wins.
        (ends(1), named.to_owned(), named.to_owned()),
    ] {
        let mut world = world();
        world.play(&client, &[Writes(&sent)]);
        world.play(&server, &[Reads(&received), Writes(OK)]);
        assert_eq!((world.spans[0].parent.clone(), reason(&world.spans[0])), (None, None));
        world.play(&client, &[Reads(OK)]);
        assert_eq!(world.tracer.counts().joined_ends, 0);
    }
    // The same words again: the place in the stream tells them apart.
    let (mut world, (client, server)) = (world(), ends(1));
    world.play(&client, &[Writes(&get("/a")), Reads(OK), Writes(&get("/a"))]);
    world.play(&server, &[Reads(&get("/a")), Writes(OK), Reads(&get("/a")), Writes(OK)]);
    world.play(&client, &[Reads(OK)]);
    let [first, stale, inner, second] = &world.spans[..] else { panic!("{:?}", world.lines()) };
    assert!(is_child(inner, second) && !is_child(inner, first) && stale.parent.is_none());
}

#[test]
fn pipelined_requests_keep_their_places() {
    let (mut world, (client, server)) = (world(), ends(1));
    let all = get("/a") + &get("/a") + &get("/b");
    world.play(&client, &[Writes(&get("/a")), Writes(&get("/a")), Writes(&get("/b"))]);
    world.play(&server, &[Reads(&all[..40]), Reads(&all[40..]), Writes(OK), Writes(OK), Writes(OK)]);
    world.play(&client, &[Reads(OK), Reads(OK), Reads(OK)]);
    let of = |kind| world.spans.iter().filter(move |span| span.kind == kind);
    for (inner, call) in of(SpanKind::Server).zip(of(SpanKind::Client)) {
        assert!(is_child(inner, call), "{:?}", world.lines());
    }
}

#[test]
fn connections_joined_midway_are_learned() {
    let (mut world, (client, server)) = (world(), ends(1));
    let (client, server) = (client.midway(), server.midway());
    // The server was watched first: it counts from further back.
    world.play(&server, &[Reads(&get("/before")), Writes(OK)]);
    for number in 0..4 {
        world.play(&client, &[Writes(&get("/same"))]);
        world.play(&server, &[Reads(&get("/same")), Writes(OK)]);
        world.play(&client, &[Reads(OK)]);
        let [.., inner, call] = &world.spans[..] else { panic!() };
        // The first one might be another that the probe did not see the client send.
        assert_eq!(is_child(inner, call), number > 0);
    }
    // Once known, a request of the same words at another place is not taken for it.
    world.play(&client, &[Writes(&get("/same"))]);
    world.play(&server, &[Reads(&get("/other")), Reads(&get("/same")), Writes(OK), Writes(OK)]);
    assert!(find(&world, SpanKind::Server, "/other").parent.is_none());
    assert!(world.spans.last().unwrap().parent.is_none());
}

#[test]
fn a_client_that_gave_up_is_still_the_parent() {
    let (mut world, (client, server)) = (world(), ends(1));
    world.play(&client, &[Writes(&get("/a")), State(model::TcpState::Close, 0)]);
    world.play(&server, &[Idles(500), Reads(&get("/a")), Writes(OK)]);
    let [call, inner] = &world.spans[..] else { panic!("{:?}", world.lines()) };
    assert!(is_child(inner, call));
}

/// A request that a task of process 100 serves calls process 200, which calls on; the answer comes after so long.
fn through_a_task(after_ms: u64) -> World {
    let (mut world, (client, server)) = (world().see_copies(), ends(1));
    let task = |socket: Socket| socket.by(Identity::Task(0xa0));
    world.play(&socket(90).by(Identity::Task(0x1000)), &[Reads(&get("/outer"))]);
    world.play(&task(client.clone()), &[Writes(&get("/inner"))]);
    world.play(&server, &[Reads(&get("/inner"))]);
    let further = Socket { pid: 200, tid: 200, ..socket(91) };
    world.play(&further, &[Writes(&get("/further")), Reads(OK)]);
    world.play(&server, &[Writes(OK)]);
    world.play(&client, &[Reads(OK), Idles(after_ms)]);
    world.tracer.tick(world.now_ns, &mut world.spans);
    let early = world.spans.len();
    world.play(&task(socket(90)), &[Writes(OK)]);
    assert_eq!(early, if after_ms < 40 { 0 } else { 2 }, "{:?}", world.lines());
    assert_eq!(world.spans.len(), 4);
    world
}

#[test]
fn a_task_s_call_may_be_known_in_time() {
    let world = through_a_task(10);
    let outer = find(&world, SpanKind::Server, "/outer");
    let call = find(&world, SpanKind::Client, "/inner");
    let inner = find(&world, SpanKind::Server, "/inner");
    let further = find(&world, SpanKind::Client, "/further");
    assert!(is_child(&call, &outer) && is_child(&inner, &call) && is_child(&further, &inner));
}

#[test]
fn a_server_s_span_waits_no_longer_than_a_moment() {
    let world = through_a_task(100);
    let outer = find(&world, SpanKind::Server, "/outer");
    let call = find(&world, SpanKind::Client, "/inner");
    let inner = find(&world, SpanKind::Server, "/inner");
    assert!(is_child(&call, &outer));
    assert_eq!(inner.parent, None);
    assert_eq!(reason(&inner), Some("unknown: it was not known in time which request its caller belongs to"));
    let caller = inner.attribute("stardust_probe.caller_span_id").and_then(AttributeValue::as_text);
    assert_eq!(caller, Some(&*call.span_id.to_string()));
    assert_ne!(inner.trace_id, outer.trace_id);
    assert!(is_child(&find(&world, SpanKind::Client, "/further"), &inner));
}

#[derive(Debug, Clone, Copy)]
enum Move {
    Ask(usize),
    Call(usize),
    Receive(usize),
    Answer(usize),
    Return(usize),
    Finish(usize),
    Idle(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = (0..8_u8, 0..4_usize).prop_map(|(kind, lane)| match kind {
        0 => Move::Ask(lane),
        1 => Move::Call(lane),
        2 => Move::Receive(lane),
        3 => Move::Answer(lane),
        4 => Move::Return(lane),
        5 | 6 => Move::Finish(lane),
        _ => Move::Idle(lane as u64 * 15),
    });
    proptest::collection::vec(one, 1..160)
}

proptest! {
    /// Tasks of one process serve requests and call another over connections of their own, all on one thread, in any
    /// order: who has a parent has the right one, in the same trace, or there is none.
    #[test]
    fn no_parent_is_wrong(moves in moves()) {
        let mut world = world();
        let mut stage = [0; 4];
        let mut numbers = [0; 4];
        let mut last = 0;
        for step in moves {
            let lane = match step {
                Move::Idle(ms) => {
                    world.now_ns += ms * crate::conversation::MS;
                    world.tracer.tick(world.now_ns, &mut world.spans);
                    continue;
                }
                Move::Ask(lane)
                | Move::Call(lane)
                | Move::Receive(lane)
                | Move::Answer(lane)
                | Move::Return(lane)
                | Move::Finish(lane) => lane,
            };
            let (client, server) = ends(lane as u64);
            let server = server.tid(201 + lane as u32);
            let front = socket(80 + lane as u64);
            let task = |socket: Socket| socket.by(Identity::Task(0xa000 + lane as u64));
            let path = |number: usize| format!("/{number}");
            match (step, stage[lane]) {
                (Move::Ask(_), 0) => {
                    last += 1;
                    numbers[lane] = last;
                    let reader = front.by(Identity::Task(0x1000 + lane as u64));
                    world.play(&reader, &[Reads(&get(&path(last)))]);
                }
                (Move::Call(_), 1) => world.play(&task(client), &[Writes(&get(&path(numbers[lane])))]),
                (Move::Receive(_), 2) => world.play(&server, &[Reads(&get(&path(numbers[lane])))]),
                (Move::Answer(_), 3) => world.play(&server, &[Writes(OK)]),
                (Move::Return(_), 4) => world.play(&client, &[Reads(OK)]),
                (Move::Finish(_), 1 | 5) => {
                    world.play(&task(front), &[Writes(OK)]);
                    stage[lane] = 0;
                    continue;
                }
                _ => continue,
            }
            stage[lane] += 1;
        }
        world.tracer.drain(world.now_ns, &mut world.spans);
        let by_id: HashMap<String, &Span> =
            world.spans.iter().map(|span| (span.span_id.to_string(), span)).collect();
        for span in &world.spans {
            let Some(parent) = &span.parent else { continue };
            let parent = by_id[&*parent.span_id];
            prop_assert_eq!((&span.target, &span.trace_id), (&parent.target, &parent.trace_id));
            prop_assert_ne!(span.kind, parent.kind);
        }
        let counts = world.tracer.counts();
        prop_assert_eq!(counts.exchanges, world.spans.len() as u64);
    }
}
