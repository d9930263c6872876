//! Client calls find the request that their thread is serving.

use model::{Body, ContextCopied, Direction, Identity, ParentKind, SpanKind, TcpState};
use trace::Settings;

use crate::conversation::Step::{Eof, Fails, Idles, Reads, Writes};
use crate::conversation::{Socket, World, socket};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_call_within_a_request_is_its_child() {
    let mut world = World::new(&Settings::default());
    world.play(&socket(1), &[Reads(GET)]);
    world.play(&socket(2), &[Writes(&GET[..5]), Writes(&GET[5..]), Reads(OK)]);
    let refused = socket(3).peer("127.0.0.1:1");
    world.state(&refused, TcpState::Close, TcpState::SynSent, 0);
    world.state(&refused, TcpState::SynSent, TcpState::Close, 111);
    world.play(&socket(1), &[Writes(OK)]);
    world.play(&socket(2), &[Writes(GET), Reads(OK)]);
    world.tracer.drain(world.now_ns, &mut world.spans);
    let [child, parent, after, connect] = &world.spans[..] else { panic!("{:?}", world.lines()) };
    for span in [child, connect] {
        let named = span.parent.as_ref().unwrap();
        assert_eq!((&*named.span_id, named.kind), (parent.span_id.to_string().as_str(), ParentKind::Thread));
        assert_eq!(span.trace_id, parent.trace_id);
        assert_eq!(span.head_sampled, parent.head_sampled);
        assert!(span.start_ns >= parent.start_ns);
        assert!(span.start_ns + span.duration_ns <= parent.start_ns + parent.duration_ns);
    }
    assert_eq!((child.kind, parent.kind), (SpanKind::Client, SpanKind::Server));
    assert_eq!(parent.parent, None);
    assert_eq!(after.parent, None);
    assert_ne!(after.trace_id, parent.trace_id);
}

#[test]
fn better_none_than_a_wrong_one() {
    let mut world = World::new(&Settings::default());
    // Two requests on one thread, and one on another.
    world.play(&socket(1), &[Reads(GET)]);
    world.play(&socket(2), &[Reads(GET)]);
    world.play(&socket(3).tid(7), &[Reads(GET)]);
    world.play(&socket(4), &[Writes(GET), Reads(OK)]);
    world.play(&socket(5).tid(8), &[Writes(GET), Reads(OK)]);
    assert!(world.spans.iter().all(|span| span.parent.is_none()));
    // The other request is over: now there is only one.
    world.play(&socket(2), &[Writes(OK)]);
    world.play(&socket(4), &[Writes(GET), Reads(OK)]);
    assert!(world.spans.last().unwrap().parent.is_some());
}

#[test]
fn the_thread_of_the_first_byte_counts() {
    let mut world = World::new(&Settings::default());
    world.play(&socket(1).tid(7), &[Reads(&GET[..4])]);
    world.play(&socket(1).tid(8), &[Reads(&GET[4..])]);
    world.play(&socket(2).tid(7), &[Writes(&GET[..4])]);
    world.play(&socket(2).tid(8), &[Writes(&GET[4..]), Reads(OK)]);
    assert_eq!((world.spans[0].tid, world.spans[0].parent.is_some()), (7, true));
    // On a connection that is used again too.
    world.play(&socket(2).tid(9), &[Writes(GET), Reads(OK)]);
    assert_eq!((world.spans[1].tid, world.spans[1].parent.is_some()), (9, false));
}

/// Three requests in one piece, and the answers to them.
const THREE: &str = "GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n";

/// Whose the calls are, each as the number in its host and that in its parent's path.
fn parents(world: &mut World) -> Vec<String> {
    world.tracer.drain(world.now_ns, &mut world.spans);
    let number = |text: &str| text.trim_start_matches(['h', '/']).to_owned();
    let path = |id: &str| {
        let parent = world.spans.iter().find(|span| span.span_id.to_string() == id).unwrap();
        number(parent.target.as_deref().unwrap())
    };
    let calls = world.spans.iter().filter(|span| span.kind == SpanKind::Client);
    let mut told: Vec<String> = calls
        .map(|call| {
            let parent = call.parent.as_ref().map_or("none".to_owned(), |parent| path(&parent.span_id));
            format!("{} of {parent}", number(&call.host))
        })
        .collect();
    told.sort();
    told
}

fn calls(world: &mut World, socket: &Socket, host: &str) {
    world.play(socket, &[Writes(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), Reads(OK)]);
}

#[test]
fn what_reads_ahead_and_answers_serves_in_turn() {
    for identity in [Identity::Base(0), Identity::Base(7), Identity::Greenlet(0xa)] {
        let mut world = World::new(&Settings::default());
        let (server, client) = (socket(1).by(identity), socket(2).by(identity));
        world.play(&server, &[Reads(THREE)]);
        for host in ["h1", "h2", "h3"] {
            calls(&mut world, &client, host);
            calls(&mut world, &client, host);
            // What it does while it answers is for that, too.
            world
                .play(&server, &[Writes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")]);
            calls(&mut world, &client, host);
            world.play(&server, &[Writes("0\r\n\r\n")]);
        }
        calls(&mut world, &client, "h4");
        let mut want: Vec<String> =
            ["1 of 1", "2 of 2", "3 of 3"].repeat(3).iter().map(|told| (*told).to_owned()).collect();
        want.push("4 of none".to_owned());
        want.sort();
        assert_eq!(parents(&mut world), want, "{identity:?}");
    }
}

#[test]
fn what_a_greenlet_starts_for_a_request_read_ahead_is_its_own() {
    let mut world = World::new(&Settings::default());
    let server = socket(1).by(Identity::Greenlet(0xa));
    world.feed(100, 100, Body::CopiesSeen(Some(world.now_ns)));
    world.play(&server, &[Reads(THREE), Writes(OK)]);
    world.feed(
        100,
        100,
        Body::ContextCopied(ContextCopied { context: 0xb, copied_in: Identity::Greenlet(0xa) }),
    );
    calls(&mut world, &socket(2).by(Identity::Greenlet(0xb)), "h2");
    world.play(&server, &[Writes(OK)]);
    calls(&mut world, &socket(2).by(Identity::Greenlet(0xb)), "h3");
    world.play(&server, &[Writes(OK)]);
    // The one that it was started for is over.
    assert_eq!(parents(&mut world), ["2 of 2", "3 of none"]);
}

#[test]
fn what_is_handed_over_is_nobodys() {
    let (reader, other) = (Identity::Base(0), 7);
    let mut world = World::new(&Settings::default());
    let server = socket(1).by(reader);
    world.play(&server, &[Reads(THREE), Writes(OK)]);
    // Another thread goes on with the second request, and the first thread with the third.
    calls(&mut world, &socket(2).by(reader), "h5");
    calls(&mut world, &socket(3).by(reader).tid(other), "h2");
    world.play(&server.clone().tid(other), &[Writes(OK)]);
    calls(&mut world, &socket(2).by(reader), "h3");
    world.play(&server, &[Writes(OK)]);
    // From then on nothing is taken for granted in that process.
    let server = socket(4).by(reader);
    world.play(&server, &[Reads(THREE), Writes(OK)]);
    calls(&mut world, &socket(2).by(reader), "h2");
    world.play(&server, &[Writes(OK), Writes(OK)]);
    assert_eq!(parents(&mut world), ["2 of none", "2 of none", "3 of none", "5 of none"]);
}

#[test]
fn what_was_elsewhere_in_between_may_have_worked_for_that() {
    let by = Identity::Base(0);
    let elsewhere = socket(4).by(by);
    let other = |world: &mut World, step| world.play(&elsewhere, &[step]);
    for step in [Writes(OK), Fails(Direction::Sent, 32), Eof] {
        let mut world = World::new(&Settings::default());
        let server = socket(1).by(by);
        // Another thread has read on that connection.
        world.play(&elsewhere.clone().tid(7), &[Reads(THREE), Writes(OK)]);
        world.play(&server, &[Reads(THREE), Writes(OK)]);
        calls(&mut world, &socket(2).by(by), "h5");
        other(&mut world, step);
        calls(&mut world, &socket(2).by(by), "h2");
        world.play(&server, &[Writes(OK)]);
        let told = parents(&mut world);
        assert_eq!(told, ["2 of none", "5 of none"], "{step:?}");
    }
}

#[test]
fn somebody_may_be_at_work_on_what_was_left() {
    let by = Identity::Base(0);
    let mut world = World::new(&Settings::default());
    let (left, server) = (socket(4).by(by).tid(7), socket(1).by(by));
    world.play(&left, &[Reads(THREE), Writes(OK)]);
    world.play(&server, &[Reads(THREE), Writes(OK)]);
    calls(&mut world, &socket(2).by(by), "h2");
    world.state(&left, TcpState::Established, TcpState::Close, 104);
    // This one would be for the second request on the other connection, which cannot be answered.
    calls(&mut world, &socket(2).by(by), "h5");
    world.play(&server, &[Writes(OK)]);
    calls(&mut world, &socket(2).by(by), "h3");
    world.play(&server, &[Writes(OK), Idles(600_000), Reads(THREE), Writes(OK)]);
    // Nobody works that long.
    calls(&mut world, &socket(2).by(by), "h2");
    world.play(&server, &[Writes(OK), Writes(OK)]);
    assert_eq!(parents(&mut world), ["2 of 2", "2 of none", "3 of none", "5 of none"]);
}

#[test]
fn what_does_not_say_what_it_runs_may_serve_all_it_has_read() {
    let mut world = World::new(&Settings::default());
    world.play(&socket(1), &[Reads(THREE)]);
    calls(&mut world, &socket(2), "h2");
    world.play(&socket(1), &[Writes(OK), Writes(OK)]);
    calls(&mut world, &socket(2), "h3");
    world.play(&socket(1), &[Writes(OK), Reads(GET)]);
    calls(&mut world, &socket(2), "h4");
    let told = parents(&mut world);
    assert_eq!(told, ["2 of none", "3 of none", "4 of a"]);
}
