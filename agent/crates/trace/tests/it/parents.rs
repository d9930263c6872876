//! Client calls find the request that their thread is serving.

use model::{ParentKind, SpanKind, TcpState};
use trace::Settings;

use crate::conversation::Step::{Reads, Writes};
use crate::conversation::{World, socket};

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
