//! Exceptions on the spans of the requests they ended, and on no others.

use model::Direction::Sent;
use model::TcpState::{FinWait1, LastAck};
use model::{Bearer, Body, ConnectionId, Direction, Exception, Exceptions, Span};
use trace::Settings;

use crate::conversation::Step::{Eof, Fails, Reads, State, Writes};
use crate::conversation::{MS, Step, World, socket};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const FAILED: &str = "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nhi";
const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi";

fn exception(raised_ns: u64, type_name: &str, message: &str) -> Exception {
    Exception {
        raised_ns,
        type_name: type_name.to_owned(),
        message: Some(message.to_owned()),
        stacktrace: format!(
            "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n{type_name}: {message}"
        ),
    }
}

fn raised(connection: u64, sent: usize, exceptions: Vec<Exception>) -> Body<'static> {
    let on = Bearer::Connection(ConnectionId(connection));
    Body::Exceptions(Exceptions { on, sent: sent as u64, stream: None, displaced_ns: None, exceptions })
}

/// A request, then what was raised, then the rest.
fn play(exceptions: Vec<Exception>, rest: &[Step<'_>]) -> Vec<Span> {
    let mut world = World::new(&Settings::default());
    let socket = socket(1);
    world.play(&socket, &[Reads(GET)]);
    world.feed(100, 100, raised(1, 0, exceptions));
    world.play(&socket, rest);
    world.spans
}

fn of(span: &Span) -> Option<String> {
    span.exception()
}

/// The request's first byte passes at this time.
const BEGAN_NS: u64 = 1_002 * MS;

#[test]
fn an_error_says_what_was_raised() {
    let spans = play(vec![exception(BEGAN_NS + 5, "shop.NoStock", "none of 7")], &[Writes(FAILED)]);
    assert_eq!(of(&spans[0]).as_deref(), Some("shop.NoStock: none of 7"));
    assert_eq!(spans[0].error().as_deref(), Some("HTTP 500: shop.NoStock: none of 7"));
    let trace = spans[0].attribute("exception.stacktrace").unwrap().to_string();
    assert!(trace.ends_with("in f\nshop.NoStock: none of 7"), "{trace}");
}

#[test]
fn what_ends_otherwise_says_nothing() {
    let raised = || vec![exception(BEGAN_NS, "E", "x")];
    for (rest, want) in [
        (&[Writes(FAILED)][..], Some("E: x")),
        (&[Writes(OK)], None),
        (&[State(FinWait1, 0)], Some("E: x")),
        (&[Writes(HALF), State(FinWait1, 0)], Some("E: x")),
        (&[Writes(HALF), Eof, State(LastAck, 0)], None),
        (&[Fails(Sent, 32)], Some("E: x")),
    ] {
        let spans = play(raised(), rest);
        assert_eq!(spans.len(), 1);
        assert_eq!(of(&spans[0]).as_deref(), want, "{rest:?}");
    }
}

#[test]
fn what_is_older_than_the_request_belongs_to_another() {
    let old = exception(BEGAN_NS - 1, "Old", "x");
    for (exceptions, want) in [
        (vec![old.clone()], None),
        (vec![exception(0, "Handled", "x"), old.clone()], Some("Handled: x")),
        (vec![old.clone(), exception(BEGAN_NS, "First", "x")], Some("First: x")),
        (vec![exception(BEGAN_NS + 9, "Last", "x"), exception(BEGAN_NS, "First", "x")], Some("Last: x")),
        (vec![], None),
    ] {
        assert_eq!(of(&play(exceptions, &[Writes(FAILED)])[0]).as_deref(), want);
    }
}

#[test]
fn it_is_the_first_open_request_that_is_answered() {
    let mut world = World::new(&Settings::default());
    let (one, other) = (socket(1), socket(2));
    world.play(&one, &[Reads(GET), Reads(GET)]);
    world.play(&other, &[Reads(GET)]);
    world.feed(100, 100, raised(1, 0, vec![exception(world.now_ns, "E", "x")]));
    world.feed(100, 100, raised(9, 0, vec![exception(world.now_ns, "Nobody", "x")]));
    world.play(&one, &[Writes(FAILED), Writes(FAILED)]);
    world.play(&other, &[Writes(FAILED)]);
    let said: Vec<_> = world.spans.iter().map(of).collect();
    assert_eq!(said, [Some("E: x".to_owned()), None, None]);
}

#[test]
fn secrets_are_hidden_in_what_it_says() {
    let spans = play(vec![exception(BEGAN_NS, "shop.TokenError", "bad token=abc")], &[Writes(FAILED)]);
    assert_eq!(of(&spans[0]).as_deref(), Some("shop.TokenError: bad token=***"));
    let trace = spans[0].attribute("exception.stacktrace").unwrap().to_string();
    assert!(trace.ends_with("shop.TokenError: bad token=***"), "{trace}");
}

/// Of what is missing nothing is known: neither which request it answered.
#[test]
fn what_answers_elsewhere_is_not_said() {
    for (sent, want) in [
        (FAILED.len(), Some("E: x".to_owned())),
        (0, None),
        (FAILED.len() - 1, None),
        (2 * FAILED.len(), None),
    ] {
        let mut world = World::new(&Settings::default());
        let socket = socket(1);
        world.play(&socket, &[Reads(GET), Writes(FAILED), Reads(GET)]);
        world.feed(100, 100, raised(1, sent, vec![exception(world.now_ns, "E", "x")]));
        world.play(&socket, &[Writes(FAILED)]);
        let said: Vec<_> = world.spans.iter().map(of).collect();
        assert_eq!(said, [None, want], "{sent}");
    }
}

/// What had to give way is missed only by a request that it may have ended.
#[test]
fn what_had_to_give_way_is_missed_by_who_fails_without() {
    let its = || vec![exception(BEGAN_NS, "E", "x")];
    for (exceptions, displaced_ns, rest, want) in [
        (vec![], Some(BEGAN_NS), &[Writes(FAILED)][..], 1),
        (vec![], Some(BEGAN_NS), &[Writes(HALF), State(FinWait1, 0)], 1),
        (vec![], Some(BEGAN_NS), &[Writes(OK)], 0),
        (vec![], Some(BEGAN_NS - 1), &[Writes(FAILED)], 0),
        (vec![], None, &[Writes(FAILED)], 0),
        (its(), Some(BEGAN_NS), &[Writes(FAILED)], 0),
        (vec![exception(BEGAN_NS - 1, "E", "x")], Some(BEGAN_NS), &[Writes(FAILED)], 1),
    ] {
        let mut world = World::new(&Settings::default());
        let socket = socket(1);
        world.play(&socket, &[Reads(GET)]);
        let on = Bearer::Connection(ConnectionId(1));
        let of = Exceptions { on, sent: 0, stream: None, displaced_ns, exceptions };
        world.feed(100, 100, Body::Exceptions(of));
        world.play(&socket, rest);
        assert_eq!(world.spans.len(), 1);
        assert_eq!(world.tracer.counts().missed_exceptions, want, "{displaced_ns:?} {rest:?}");
    }
}

/// In HTTP/2 the stream tells whose it is, not the place in the connection's bytes.
#[test]
fn streams_have_their_own() {
    let mut world = World::new(&Settings::default());
    let socket = socket(1);
    let block = |stream, block: &[u8]| [&[0, 0, block.len() as u8, 1, 0x5, 0, 0, 0, stream], block].concat();
    // `:method: GET`, `:scheme: http`, `:path: /`.
    let asked = [1, 3, 5].map(|stream| block(stream, &[0x82, 0x86, 0x84])).concat();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    world.bytes(&socket, Direction::Received, &[&preface[..], &asked].concat());
    world.bytes(&socket, Direction::Sent, b"\0\0\0\x04\0\0\0\0\0");
    for (stream, status, told) in [(3, 0x8e, 3), (1, 0x8e, 7), (5, 0x88, 5)] {
        let of = Exceptions {
            on: Bearer::Connection(ConnectionId(1)),
            sent: 0,
            stream: Some(told),
            displaced_ns: None,
            exceptions: vec![exception(world.now_ns, "E", "x")],
        };
        world.feed(100, 100, Body::Exceptions(of));
        world.bytes(&socket, Direction::Sent, &block(stream, &[status]));
    }
    let said: Vec<_> = world.spans.iter().map(of).collect();
    assert_eq!(said, [Some("E: x".to_owned()), None, None]);
}
