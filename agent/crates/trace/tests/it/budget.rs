//! Where the time of a request went.

use model::{AttributeValue, Blur, Identity, Load, Span, SpanKind, TcpState, Timing, Waited};
use trace::Settings;

use crate::conversation::Step::{Exits, Idles, Reads, Writes};
use crate::conversation::{MS, Socket, World, socket};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// Of each server span: milliseconds in calls, if they are said, and whether some calls may be missing.
fn calls(world: &World) -> Vec<(Option<i64>, bool)> {
    let of = |span: &Span| {
        let ms = match span.attribute("stardust_probe.time.calls_us") {
            Some(AttributeValue::Int(us)) => Some(us / 1000),
            None => None,
            other => panic!("{other:?}"),
        };
        (ms, span.attribute("stardust_probe.time.calls_incomplete").is_some())
    };
    world.spans.iter().filter(|span| span.kind == SpanKind::Server).map(of).collect()
}

#[test]
fn calls_of_a_thread_count_one_after_the_other() {
    let mut world = World::new(&Settings::default());
    world.play(&socket(1), &[Reads(GET), Idles(20)]);
    world.play(&socket(2), &[Writes(GET), Idles(9), Reads(OK)]);
    world.play(&socket(1), &[Idles(20)]);
    world.play(&socket(2), &[Writes(GET), Idles(4), Reads(OK)]);
    world.play(&socket(1), &[Writes(OK)]);
    // The next request of the same connection starts anew.
    world.play(&socket(1), &[Reads(GET), Writes(OK)]);
    assert_eq!(calls(&world), [(Some(15), false), (Some(0), false)]);
}

#[test]
fn calls_at_the_same_time_count_once() {
    let mut world = World::new(&Settings::default());
    world.play(&socket(1), &[Reads(GET), Idles(5)]);
    world.play(&socket(2), &[Writes(GET), Idles(5)]);
    world.play(&socket(3), &[Writes(GET), Idles(5)]);
    world.play(&socket(4), &[Writes(GET), Idles(5)]);
    for id in [4, 2, 3] {
        world.play(&socket(id), &[Reads(OK)]);
    }
    world.play(&socket(1), &[Idles(5), Writes(OK)]);
    // From the first write on: 5, 1 5, 1 5, then three reads.
    assert_eq!(calls(&world), [(Some(20), false)]);
}

#[test]
fn a_call_that_outlives_the_request_counts_up_to_its_end() {
    let mut world = World::new(&Settings::default());
    world.play(&socket(1), &[Reads(GET)]);
    world.play(&socket(2), &[Writes(GET)]);
    world.play(&socket(1), &[Idles(9), Writes(OK)]);
    world.play(&socket(2), &[Idles(100), Reads(OK)]);
    assert_eq!(calls(&world), [(Some(10), false)]);
}

#[test]
fn a_connect_that_fails_is_a_call() {
    let mut world = World::new(&Settings::default());
    world.play(&socket(1), &[Reads(GET)]);
    world.state(&socket(2), TcpState::Close, TcpState::SynSent, 0);
    world.play(&socket(1), &[Idles(499)]);
    world.state(&socket(2), TcpState::SynSent, TcpState::Close, 110);
    world.play(&socket(1), &[Writes(OK)]);
    assert_eq!(calls(&world), [(Some(500), false)]);
}

#[test]
fn calls_of_a_task_are_known_with_its_answer() {
    let by = |id, context| socket(id).by(Identity::Task(context));
    let mut world = World::new(&Settings::default()).see_copies();
    world.play(&by(1, 0x1001), &[Reads(GET)]);
    world.play(&by(2, 0x1002), &[Reads(GET)]);
    world.play(&by(3, 0xa0), &[Writes(GET), Idles(9), Reads(OK)]);
    world.play(&by(4, 0xa0), &[Writes(GET), Idles(9), Reads(OK)]);
    world.play(&by(1, 0xa0), &[Writes(OK)]);
    assert_eq!(calls(&world), [(Some(20), false)]);
    // While a call of another task does not know its request, it may be this one's.
    world.play(&by(5, 0xb0), &[Writes(GET), Idles(9), Reads(OK)]);
    world.play(&by(6, 0xc0), &[Writes(GET), Idles(9), Reads(OK)]);
    world.play(&by(2, 0xb0), &[Writes(OK)]);
    assert_eq!(calls(&world)[1..], [(Some(10), true)]);
    // What began after those calls cannot have made them.
    world.play(&by(1, 0x1001), &[Reads(GET)]);
    world.play(&by(1, 0xd0), &[Writes(OK)]);
    assert_eq!(calls(&world)[2..], [(Some(0), false)]);
}

#[test]
fn a_call_of_nobody_known_may_be_anybody_s() {
    let mut world = World::new(&Settings::default());
    world.play(&socket(1), &[Reads(GET)]);
    world.play(&socket(2).tid(7), &[Writes(GET), Reads(OK)]);
    world.play(&socket(1), &[Writes(OK)]);
    let loop_ = Identity::Unknown(Blur::Loop);
    world.play(&socket(1).by(loop_), &[Reads(GET)]);
    world.play(&socket(2).by(loop_), &[Writes(GET), Reads(OK)]);
    world.play(&socket(1).by(loop_), &[Writes(OK), Reads(GET), Writes(OK)]);
    assert_eq!(calls(&world), [(None, true), (None, true), (Some(0), false)]);
}

/// A socket whose thread has run so many milliseconds, in all.
fn ran(id: u64, ran_ms: u64) -> Socket {
    // The count may begin anywhere, and wrap.
    let ran = (u64::MAX - 4 * MS).wrapping_add(ran_ms * MS);
    socket(id).timed(Timing { ran_ns: Some(ran), ..Timing::default() })
}

/// Of each server span: `calls+cpu+rest` in milliseconds.
fn parts(world: &World) -> Vec<String> {
    let ms = |span: &Span, part: &str| match span.attribute(&format!("stardust_probe.time.{part}_us")) {
        Some(AttributeValue::Int(us)) => (us / 1000).to_string(),
        _ => "?".to_owned(),
    };
    let servers = world.spans.iter().filter(|span| span.kind == SpanKind::Server);
    servers.map(|span| ["calls", "cpu", "rest"].map(|part| ms(span, part)).join("+")).collect()
}

#[test]
fn the_parts_add_up_to_the_whole() {
    let mut world = World::new(&Settings::default());
    world.play(&ran(1, 0), &[Reads(GET), Idles(19)]);
    // 15 ms on the CPU before the call, 2 within it, 1 after it.
    world.play(&ran(2, 15), &[Writes(GET), Idles(9)]);
    world.play(&ran(2, 17), &[Reads(OK)]);
    world.play(&ran(1, 18), &[Idles(4), Writes(OK)]);
    assert_eq!(world.spans.last().unwrap().duration_ns, 35 * MS);
    assert_eq!(parts(&world), ["10+16+9"]);
}

#[test]
fn cpu_time_of_a_thread_with_two_requests_is_nobody_s() {
    let mut world = World::new(&Settings::default());
    world.play(&ran(1, 0), &[Reads(GET)]);
    world.play(&ran(2, 1), &[Reads(GET)]);
    world.play(&ran(1, 2), &[Writes(OK)]);
    world.play(&ran(2, 3), &[Writes(OK)]);
    world.play(&ran(1, 3), &[Reads(GET), Idles(9)]);
    world.play(&ran(1, 7), &[Writes(OK)]);
    assert_eq!(parts(&world), ["0+?+?", "0+?+?", "0+4+6"]);
}

#[test]
fn cpu_time_is_that_of_the_one_thread_that_served() {
    let mut world = World::new(&Settings::default());
    world.play(&ran(1, 0), &[Reads(GET), Idles(9)]);
    world.play(&ran(1, 7).tid(7), &[Writes(OK)]);
    world.play(&ran(1, 0), &[Reads(GET), Idles(9)]);
    // A call by another thread on its behalf would say nothing; one without a clock neither.
    world.play(&socket(2), &[Writes(GET), Reads(OK)]);
    world.play(&ran(1, 7), &[Writes(OK)]);
    // A clock that is off by more than passed, either way.
    world.play(&ran(1, 9), &[Reads(GET)]);
    world.play(&ran(1, 8), &[Writes(OK)]);
    world.play(&ran(1, 9), &[Reads(GET)]);
    world.play(&ran(1, 99), &[Writes(OK)]);
    assert_eq!(parts(&world), ["0+?+?", "1+?+?", "0+0+1", "0+1+0"]);
}

#[test]
fn a_request_says_how_long_its_first_bytes_had_waited() {
    let waited = |for_ms| Timing {
        waited: Some(Waited { for_ns: for_ms * MS, step_ns: 4 * MS }),
        ..Timing::default()
    };
    let mut world = World::new(&Settings::default());
    world.play(&socket(1).timed(waited(48)), &[Reads(&GET[..9])]);
    world.play(&socket(1).timed(waited(8)), &[Reads(&GET[9..])]);
    world.play(
        &socket(1).timed(waited(12)),
        &[Writes(OK), Reads(&[GET, GET].concat()), Writes(OK), Writes(OK)],
    );
    let of = |span: &Span| {
        let us = ["read_wait_us", "read_wait_step_us"]
            .map(|name| span.attribute(&format!("stardust_probe.time.{name}")).cloned());
        us.map(|us| if let Some(AttributeValue::Int(us)) = us { us / 1000 } else { -1 })
    };
    // Of the second of two that are read at once it is not known when it came.
    assert_eq!(world.spans.iter().map(of).collect::<Vec<_>>(), [[48, 4], [12, 4], [-1, -1]]);
}

/// Of the one process: busy and known milliseconds, open requests and begun ones.
fn load(world: &mut World) -> (u64, u64, u32, u64) {
    let now_ns = world.now_ns;
    let loads = world.tracer.loads(now_ns, true);
    let [Load { pid: 100, workers: 1, busy_ns, known_ns, open_requests, requests, .. }] = loads[..] else {
        panic!("{loads:?}")
    };
    (busy_ns / MS, known_ns / MS, open_requests, requests)
}

#[test]
fn a_thread_is_busy_while_a_request_is_open() {
    let mut world = World::new(&Settings::default());
    assert!(world.tracer.loads(world.now_ns, true).is_empty());
    world.play(&socket(1), &[Reads(GET), Idles(9), Writes(OK), Idles(30)]);
    assert_eq!(load(&mut world), (10, 40, 0, 1));
    world.play(&socket(1), &[Reads(GET), Idles(9)]);
    assert_eq!(load(&mut world), (9, 10, 1, 1));
    // One that is read meanwhile does not make it busier.
    world.play(&socket(2), &[Reads(GET)]);
    world.play(&socket(1), &[Writes(OK)]);
    world.play(&socket(2), &[Writes(OK), Idles(7)]);
    assert_eq!(load(&mut world), (3, 10, 0, 1));
    assert!(world.tracer.loads(world.now_ns + 9_999 * MS, false).is_empty());
    assert_eq!(world.tracer.loads(world.now_ns + 10_000 * MS, false).len(), 1);
    world.play(&socket(1), &[Exits]);
    assert!(world.tracer.loads(world.now_ns, true).is_empty());
}

#[test]
fn a_loop_is_busy_while_its_thread_runs_and_late_while_requests_wait() {
    let by_loop = |socket: Socket| socket.by(Identity::Unknown(Blur::Loop));
    let late = |ran_ms: u64, waited_ms: u64| {
        let waited = Some(Waited { for_ns: waited_ms * MS, step_ns: 4 * MS });
        by_loop(socket(2).timed(Timing { ran_ns: Some(ran_ms * MS), waited, written_ns: None }))
    };
    let mut world = World::new(&Settings::default());
    world.play(
        &by_loop(socket(1).timed(Timing { ran_ns: Some(0), ..Timing::default() })),
        &[Reads(GET), Idles(98)],
    );
    world.play(&late(30, 52), &[Reads(GET)]);
    world.play(&late(31, 0), &[Writes(OK)]);
    world.play(&late(31, 12), &[Reads(GET), Idles(500)]);
    let loads = world.tracer.loads(world.now_ns, true);
    let expected = Load {
        pid: 100,
        workers: 1,
        busy_ns: 31 * MS,
        known_ns: 101 * MS,
        loop_lag_ns: Some(52 * MS),
        open_requests: 2,
        requests: 3,
    };
    assert_eq!(loads, [expected]);
    // Nothing has been heard of it since.
    let loads = world.tracer.loads(world.now_ns, true);
    assert_eq!((loads[0].known_ns, loads[0].loop_lag_ns, loads[0].saturation()), (0, None, None));
}
