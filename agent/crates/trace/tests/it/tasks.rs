//! Calls of tasks and greenlets find the request that the same task answers.

use model::{Blur, Identity, ParentKind, SpanKind};
use trace::Settings;

use crate::conversation::Step::{Exits, Idles, Reads, Writes};
use crate::conversation::{MS, Socket, World, get, path, socket, task};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const LONG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhi";

/// The reader of a connection: a callback with a context of its own.
fn reader(id: u64) -> Socket {
    socket(id).by(Identity::Task(0x1000 + id))
}

/// For each client span, in order of paths: its parent's path, or why there is none, which is all that is said of it then.
fn parents(world: &World) -> Vec<String> {
    let calls = world.spans.iter().filter(|span| span.kind == SpanKind::Client);
    for span in calls.filter(|span| span.parent.is_none()) {
        let said: Vec<&str> = span.attributes.iter().map(|attribute| attribute.name).collect();
        assert!(matches!(said[..], [] | ["stardust_probe.parent"]), "{said:?}");
    }
    world.parents(&[ParentKind::Context])
}

const UNCLAIMED: &str = "unknown: no open request was answered by the task that called";
const UNSEEN: &str = "unknown: it was not seen yet which task starts which";

#[test]
fn concurrent_tasks_on_one_thread_keep_their_calls() {
    let mut world = World::new(&Settings::default()).see_copies();
    world.play(&reader(1), &[Reads(&get("/a"))]);
    world.play(&reader(2), &[Reads(&get("/b"))]);
    world.play(&task(3, 0xa0), &[Writes(&get("/of-a"))]);
    world.play(&task(4, 0xb0), &[Writes(&get("/of-b"))]);
    world.play(&reader(4), &[Reads(OK)]);
    world.play(&reader(3), &[Reads(OK)]);
    assert_eq!(world.spans.len(), 0, "they wait");
    world.play(&task(2, 0xb0), &[Writes(OK)]);
    world.play(&task(1, 0xa0), &[Writes(OK)]);
    assert_eq!(parents(&world), ["/of-a /a", "/of-b /b"]);
    // They were given out as soon as they were known, before their parents.
    let order: Vec<&str> = world.spans.iter().map(path).collect();
    assert_eq!(order, ["/b", "/of-b", "/a", "/of-a"]);
}

#[test]
fn an_address_that_is_used_again_is_another_task() {
    let mut world = World::new(&Settings::default()).see_copies();
    // The first client goes away; its task is cancelled, the address goes to the next request's task.
    world.play(&reader(1), &[Reads(&get("/gone"))]);
    world.play(&task(3, 0xa0), &[Writes(&get("/of-gone")), Reads(OK)]);
    world.play(&reader(2), &[Reads(&get("/next"))]);
    world.copy(0xa0, Identity::Task(0x1002));
    world.play(&task(4, 0xa0), &[Writes(&get("/of-next")), Reads(OK)]);
    world.play(&task(2, 0xa0), &[Writes(OK)]);
    world.tracer.drain(world.now_ns, &mut world.spans);
    assert_eq!(parents(&world), [format!("/of-gone {UNCLAIMED}"), "/of-next /next".to_owned()]);
}

#[test]
fn one_task_serves_a_kept_connection_request_by_request() {
    let mut world = World::new(&Settings::default()).see_copies();
    for number in 0..3 {
        world.play(&reader(1), &[Reads(&get(&format!("/{number}")))]);
        world.play(&task(2, 0xa0), &[Writes(&get(&format!("/of-{number}"))), Reads(OK)]);
        world.play(&task(1, 0xa0), &[Writes(OK)]);
        // After the answer and before the next request: of neither, for all that can be seen.
        world.play(&task(3, 0xa0), &[Writes(&get(&format!("/then-{number}"))), Reads(OK)]);
    }
    assert_eq!(parents(&world)[..3], ["/of-0 /0", "/of-1 /1", "/of-2 /2"]);
    assert!(parents(&world)[3..].iter().all(|line| line.ends_with("root")));
}

#[test]
fn pipelined_requests_are_served_one_after_the_other() {
    let mut world = World::new(&Settings::default()).see_copies();
    world.play(&reader(1), &[Reads(&(get("/0") + &get("/1")))]);
    world.play(&task(2, 0xa0), &[Writes(&get("/of-0")), Reads(OK)]);
    world.play(&task(1, 0xa0), &[Writes(OK)]);
    world.play(&task(2, 0xa0), &[Writes(&get("/of-1")), Reads(OK)]);
    world.play(&task(1, 0xa0), &[Writes(OK)]);
    assert_eq!(parents(&world), ["/of-0 /0", "/of-1 /1"]);
}

#[test]
fn a_call_in_the_middle_of_a_response_is_the_request_s() {
    let mut world = World::new(&Settings::default()).see_copies();
    world.play(&reader(1), &[Reads(&get("/stream"))]);
    world.play(&task(1, 0xa0), &[Writes(LONG)]);
    world.play(&task(2, 0xa0), &[Writes(&get("/within")), Reads(OK)]);
    world.play(&task(1, 0xa0), &[Writes("ho")]);
    assert_eq!(parents(&world), ["/within /stream"]);
}

#[test]
fn a_tail_that_the_loop_sends_proves_nothing() {
    let mut world = World::new(&Settings::default()).see_copies();
    let late = socket(1).by(Identity::Unknown(Blur::Deferred));
    world.play(&reader(1), &[Reads(&get("/big"))]);
    world.play(&task(1, 0xa0), &[Writes(LONG)]);
    // The task is over, its address another's, while the rest of its response is still on the way.
    world.play(&reader(2), &[Reads(&get("/next"))]);
    world.copy(0xa0, Identity::Task(0x1002));
    world.play(&task(3, 0xa0), &[Writes(&get("/of-next")), Reads(OK)]);
    world.play(&late, &[Writes("ho")]);
    world.play(&task(2, 0xa0), &[Writes(OK)]);
    assert_eq!(parents(&world), ["/of-next /next"]);
    // A head that the loop sends tells nothing of who wrote it.
    world.play(&reader(1), &[Reads(&get("/late"))]);
    world.copy(0xa0, Identity::Task(0x20));
    world.play(&task(3, 0xa0), &[Writes(&get("/of-late")), Reads(OK)]);
    world.play(&late, &[Writes(OK)]);
    assert_eq!(parents(&world), [format!("/of-late {UNCLAIMED}"), "/of-next /next".to_owned()]);
}

#[test]
fn requests_that_share_a_context_share_no_calls() {
    let mut world = World::new(&Settings::default()).see_copies();
    world.play(&reader(1), &[Reads(&get("/a"))]);
    world.play(&reader(2), &[Reads(&get("/b"))]);
    world.play(&reader(3), &[Reads(&get("/c"))]);
    for id in [1, 2] {
        world.play(&task(id, 0xa0), &[Writes(OK)]);
    }
    world.play(&task(4, 0xa0), &[Writes(&get("/of-c")), Reads(OK)]);
    world.play(&task(3, 0xa0), &[Writes(OK)]);
    assert_eq!(parents(&world), ["/of-c unknown: several requests are answered in the context of the call"]);
}

#[test]
fn what_reads_in_a_context_need_not_serve_in_it() {
    let mut world = World::new(&Settings::default()).see_copies();
    // Threads of 3.14 run in a context that was entered, and answer in it; so do tasks of trio.
    world.play(&task(1, 0xa0), &[Reads(&get("/a"))]);
    world.play(&task(3, 0xa0), &[Writes(&get("/of-a")), Reads(OK)]);
    world.play(&task(1, 0xa0), &[Writes(OK)]);
    // A callback of asyncio that read a request is gone as soon as it need not read more; the address is a task's.
    world.play(&task(2, 0xb0), &[Reads(&get("/b"))]);
    world.play(&reader(4), &[Reads(&get("/c"))]);
    world.copy(0xb0, Identity::Task(0x1004));
    world.play(&task(5, 0xb0), &[Writes(&get("/of-c")), Reads(OK)]);
    world.play(&task(4, 0xb0), &[Writes(OK)]);
    world.play(&task(2, 0xc0), &[Writes(OK)]);
    assert_eq!(parents(&world), ["/of-a /a", "/of-c /c"]);
}

#[test]
fn a_request_that_is_read_ahead_may_be_another_thread_s() {
    let mut world = World::new(&Settings::default());
    // gunicorn's threads hand a connection on after each request, with what was read of it.
    world.play(&socket(1), &[Reads(&(get("/0") + &get("/1")))]);
    world.play(&socket(1), &[Writes(OK)]);
    world.play(&socket(2).tid(7), &[Reads(&(get("/2") + &get("/3")))]);
    world.play(&socket(2).tid(7), &[Writes(OK)]);
    // The first thread serves what the second has read, and the other way round.
    world.play(&socket(3), &[Writes(&get("/of-3")), Reads(OK)]);
    world.play(&socket(4).tid(7), &[Writes(&get("/of-1")), Reads(OK)]);
    let want = "unknown: no request is open on its thread";
    assert_eq!(parents(&world), [format!("/of-1 {want}"), format!("/of-3 {want}")]);
}

#[test]
fn what_cannot_be_told_says_why() {
    let mut world = World::new(&Settings::default()).see_copies();
    let call = |world: &mut World, id: u64, identity, name: &str| {
        world.play(&socket(id).by(identity), &[Writes(&get(name)), Reads(OK)]);
    };
    // Nothing is served: it belongs to nothing.
    call(&mut world, 10, Identity::Task(0xa0), "/0");
    call(&mut world, 11, Identity::Unknown(Blur::Loop), "/1");
    world.play(&socket(1).by(Identity::Unknown(Blur::Loop)), &[Reads(&get("/a"))]);
    call(&mut world, 12, Identity::Unknown(Blur::Unreadable), "/2");
    call(&mut world, 13, Identity::Greenlet(7), "/3");
    call(&mut world, 14, Identity::Base(7), "/4");
    call(&mut world, 15, Identity::Task(7), "/5");
    world.play(&socket(1).by(Identity::Task(8)), &[Writes(OK)]);
    let want = [
        "/0 root".to_owned(),
        "/1 root".to_owned(),
        "/2 unknown: the interpreter's memory could not be read".to_owned(),
        "/3 unknown: its greenlet reads no request".to_owned(),
        "/4 unknown: no request is open on its thread".to_owned(),
        format!("/5 {UNCLAIMED}"),
    ];
    assert_eq!(parents(&world), want);
}

#[test]
fn waiting_ends_with_the_process_with_time_and_with_the_probe() {
    let waits = |steps: &dyn Fn(&mut World)| {
        let mut world = World::new(&Settings::default()).see_copies();
        world.play(&reader(1), &[Reads(&get("/a"))]);
        world.play(&task(2, 0xa0), &[Writes(&get("/of-a")), Reads(OK)]);
        steps(&mut world);
        let found = parents(&world).concat();
        world.tracer.drain(world.now_ns, &mut world.spans);
        let counts = world.tracer.counts();
        assert_eq!(counts.exchanges, counts.spans);
        found
    };
    assert_eq!(waits(&|_| ()), "");
    let exits = waits(&|world| world.play(&socket(9), &[Exits]));
    // Its requests end with it, and with them what could have claimed the call.
    assert_eq!(exits, format!("/of-a {UNCLAIMED}"));
    let late = waits(&|world| {
        world.play(&socket(9), &[Idles(61_000)]);
        world.tracer.tick(world.now_ns, &mut world.spans);
    });
    assert_eq!(late, "/of-a unknown: its request took too long to answer");
}

#[test]
fn a_crowd_that_waits_is_bounded() {
    let mut world = World::new(&Settings::default()).see_copies();
    world.play(&reader(1), &[Reads(&get("/a"))]);
    for id in 0..20_000 {
        world.play(&task(10 + id % 100, 0xa000 + id), &[Writes(&get("/call")), Reads(OK)]);
    }
    let waiting = 20_000 - world.spans.len();
    assert!((1_000..=16_384).contains(&waiting), "{waiting}");
    assert!(world.now_ns > 20_000 * MS);
    world.play(&task(1, 0xb0), &[Writes(OK)]);
    assert_eq!(world.spans.len(), 20_001);
}

#[test]
fn a_context_of_the_same_address_on_another_thread_is_another() {
    let mut world = World::new(&Settings::default()).see_copies();
    world.play(&reader(1), &[Reads(&get("/a"))]);
    world.play(&task(3, 0xa0).tid(7), &[Writes(&get("/elsewhere")), Reads(OK)]);
    world.play(&task(4, 0xa0), &[Writes(&get("/here")), Reads(OK)]);
    world.play(&task(1, 0xa0), &[Writes(OK)]);
    assert_eq!(parents(&world), [format!("/elsewhere {UNCLAIMED}"), "/here /a".to_owned()]);
}

/// What answers may be a later task than what called at its address.
#[test]
fn while_copies_are_not_seen_nothing_is_known_of_tasks() {
    let mut world = World::new(&Settings::default());
    world.play(&task(9, 0xa0), &[Writes(&get("/alone")), Reads(OK)]);
    world.play(&reader(1), &[Reads(&get("/a"))]);
    world.play(&task(3, 0xa0), &[Writes(&get("/of-a")), Reads(OK)]);
    assert_eq!(world.spans.len(), 2, "nothing is waited for");
    assert_eq!(world.tracer.copy_counts().map(|(_, counts)| counts.unclaimed).sum::<u64>(), 1);
    world.play(&task(1, 0xa0), &[Writes(LONG)]);
    world.play(&task(3, 0xa0), &[Writes(&get("/within")), Reads(OK)]);
    world = world.see_copies();
    // The address may be another's since the request began.
    world.play(&task(3, 0xa0), &[Writes(&get("/of-a-too")), Reads(OK)]);
    world.play(&task(1, 0xa0), &[Writes("ho")]);
    world.play(&reader(2), &[Reads(&get("/b"))]);
    world.play(&task(3, 0xb0), &[Writes(&get("/of-b")), Reads(OK)]);
    world.play(&task(2, 0xb0), &[Writes(OK)]);
    let want = [
        "/alone root".to_owned(),
        format!("/of-a {UNSEEN}"),
        format!("/of-a-too {UNCLAIMED}"),
        "/of-b /b".to_owned(),
        format!("/within {UNSEEN}"),
    ];
    assert_eq!(parents(&world), want);
}
