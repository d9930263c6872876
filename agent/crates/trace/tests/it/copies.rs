//! Calls of what a request's task has started, where copies of contexts are seen.

use model::{Body, ContextCopied, Identity, ParentKind, TcpState};
use trace::{CopyCounts, Settings};

use crate::conversation::Step::{Reads, Writes};
use crate::conversation::{MS, World, get, socket, task};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const STREAMED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
const UNCLAIMED: &str = "unknown: no open request was answered by the task that called";
const UNSEEN: &str = "unknown: it was not seen yet which task starts which";
const OVER: &str = "unknown: the request that its task was started for was over";

/// A world in which copies are seen, thread 100 being the loop's.
fn seen() -> World {
    World::new(&Settings::default()).see_copies()
}

/// One task starts another.
fn start(world: &mut World, child: u64, parent: u64) {
    world.copy(child, Identity::Task(parent));
}

/// A call of a task, and its answer, which something else reads.
fn call(world: &mut World, id: u64, tid: u32, context: u64, path: &str) {
    world.play(&task(id, context).tid(tid), &[Writes(&get(path))]);
    world.play(&task(id, 0xc000 + id), &[Reads(OK)]);
}

/// For each client span, in order of paths: its parent's path, or why there is none.
fn parents(world: &mut World) -> Vec<String> {
    world.tracer.drain(world.now_ns, &mut world.spans);
    world.parents(&[ParentKind::Context])
}

#[test]
fn what_a_request_s_task_starts_is_the_request_s() {
    let mut world = seen();
    // The reader of each connection makes the task.
    for (id, name) in [(1, "/a"), (2, "/b")] {
        world.play(&task(id, 0x10 + id), &[Reads(&get(name))]);
        start(&mut world, 0xa0 + id, 0x10 + id);
    }
    // gather, a thread of a pool, and a task of a task.
    for id in [1, 2] {
        start(&mut world, 0xb0 + id, 0xa0 + id);
        start(&mut world, 0xd0 + id, 0xb0 + id);
    }
    call(&mut world, 11, 100, 0xb1, "/gathered-of-a");
    call(&mut world, 12, 107, 0xb2, "/pooled-of-b");
    call(&mut world, 13, 100, 0xd1, "/deeper-of-a");
    call(&mut world, 14, 100, 0xd2, "/deeper-of-b");
    assert_eq!(world.spans.len(), 4, "known before the answers");
    for id in [2, 1] {
        world.play(&task(id, 0xa0 + id), &[Writes(OK)]);
    }
    let want = ["/deeper-of-a /a", "/deeper-of-b /b", "/gathered-of-a /a", "/pooled-of-b /b"];
    assert_eq!(parents(&mut world), want);
    let counts: Vec<_> = world.tracer.copy_counts().collect();
    assert!(counts.is_empty(), "the process is forgotten: {counts:?}");
}

#[test]
fn it_is_told_what_copies_are_good_for() {
    let mut world = seen();
    world.play(&task(1, 0x11), &[Reads(&get("/a"))]);
    start(&mut world, 0xa1, 0x11);
    call(&mut world, 11, 100, 0xa1, "/known");
    call(&mut world, 12, 100, 0xe1, "/never");
    world.play(&task(1, 0xa1), &[Writes(OK)]);
    let counts: Vec<_> = world.tracer.copy_counts().collect();
    assert_eq!(counts, [(100, CopyCounts { copies: 2, found: 1, unclaimed: 1 })]);
    assert_eq!(world.tracer.copy_counts().count(), 0);
    assert_eq!(parents(&mut world), ["/known /a".to_owned(), format!("/never {UNCLAIMED}")]);
}

#[test]
fn a_task_that_is_made_late_is_not_the_one_whose_address_it_has() {
    let mut world = seen();
    // The request waits in the server, while another's child comes and goes.
    world.play(&task(1, 0x11), &[Reads(&get("/late"))]);
    world.play(&task(2, 0x12), &[Reads(&get("/other"))]);
    start(&mut world, 0xa2, 0x20);
    start(&mut world, 0xb0, 0xa2);
    call(&mut world, 11, 100, 0xb0, "/of-other");
    start(&mut world, 0xb0, 0x20);
    call(&mut world, 12, 100, 0xb0, "/of-late");
    world.play(&task(1, 0xb0), &[Writes(OK)]);
    world.play(&task(2, 0xa2), &[Writes(OK)]);
    assert_eq!(parents(&mut world), ["/of-late /late", "/of-other /other"]);
}

#[test]
fn what_streams_is_known_to_be_made_for_that() {
    let mut world = seen();
    world.play(&task(1, 0x11), &[Reads(&get("/a"))]);
    start(&mut world, 0xa1, 0x11);
    call(&mut world, 11, 100, 0xa1, "/before");
    start(&mut world, 0xb1, 0xa1);
    world.play(&task(1, 0xb1), &[Writes(STREAMED)]);
    assert_eq!(parents(&mut world), ["/before /a"]);
}

/// A server whose loop sends later may go on to the next request before: its task is made in the one before's.
#[test]
fn what_is_made_while_requests_wait_behind_may_be_for_them() {
    for at_once in [true, false] {
        let mut world = seen();
        world.play(&task(1, 0x11), &[Reads(&(get("/a") + &get("/b")))]);
        start(&mut world, 0xa1, 0x11);
        start(&mut world, 0xb1, 0xa1);
        call(&mut world, 11, 100, 0xb1, "/of-a");
        if at_once {
            world.play(&task(1, 0xa1), &[Writes(OK)]);
        }
        start(&mut world, 0xe1, 0xa1);
        start(&mut world, 0xa2, 0xa1);
        call(&mut world, 12, 100, 0xa2, "/of-b");
        if at_once {
            world.play(&task(1, 0xa2), &[Writes(OK)]);
        } else {
            world.play(&task(1, 0xe1), &[Writes(OK)]);
            start(&mut world, 0xe2, 0xa2);
            world.play(&task(1, 0xe2), &[Writes(OK)]);
        }
        let unknown = |call: &str| format!("{call} {UNCLAIMED}");
        let want = if at_once {
            ["/of-a /a".to_owned(), "/of-b /b".to_owned()]
        } else {
            [unknown("/of-a"), unknown("/of-b")]
        };
        assert_eq!(parents(&mut world), want);
    }
}

#[test]
fn requests_that_are_never_answered_keep_their_calls() {
    let mut world = seen();
    world.play(&task(1, 0x11), &[Reads(&get("/gone"))]);
    start(&mut world, 0xa1, 0x11);
    start(&mut world, 0xb1, 0xa1);
    world.play(&task(11, 0xb1), &[Writes(&get("/of-gone"))]);
    world.state(&socket(1), TcpState::Established, TcpState::Close, 0);
    world.play(&task(11, 0xc1), &[Reads(OK)]);
    // The task goes on.
    call(&mut world, 12, 100, 0xb1, "/too-late");
    // Its address is the next request's.
    world.play(&task(2, 0x12), &[Reads(&get("/next"))]);
    start(&mut world, 0xb1, 0x12);
    call(&mut world, 13, 100, 0xb1, "/zz-of-next");
    let want = ["/of-gone /gone".to_owned(), format!("/too-late {OVER}"), "/zz-of-next /next".to_owned()];
    assert_eq!(parents(&mut world), want);
}

#[test]
fn what_goes_on_after_the_answer_is_no_request_s() {
    let mut world = seen();
    world.play(&task(1, 0x11), &[Reads(&get("/a"))]);
    start(&mut world, 0xa1, 0x11);
    start(&mut world, 0xb1, 0xa1);
    world.play(&task(1, 0xa1), &[Writes(OK)]);
    // Forgotten by the one that had started it; and one that is started after the answer, while another is served.
    call(&mut world, 11, 100, 0xb1, "/forgotten");
    world.play(&task(2, 0x12), &[Reads(&get("/b"))]);
    start(&mut world, 0xa2, 0x12);
    start(&mut world, 0xb2, 0xa1);
    call(&mut world, 12, 100, 0xb2, "/started-after");
    call(&mut world, 13, 100, 0xa1, "/then");
    world.play(&task(2, 0xa2), &[Writes(OK)]);
    let want = [format!("/forgotten {OVER}"), format!("/started-after {OVER}"), format!("/then {OVER}")];
    assert_eq!(parents(&mut world), want);
}

#[test]
fn pipelined_requests_do_not_inherit_from_each_other() {
    let mut world = seen();
    world.play(&task(1, 0x11), &[Reads(&(get("/0") + &get("/1")))]);
    start(&mut world, 0xa0, 0x11);
    start(&mut world, 0xb0, 0xa0);
    call(&mut world, 11, 100, 0xb0, "/of-0");
    world.play(&task(1, 0xa0), &[Writes(OK)]);
    // The task of the first makes that of the second, as it is over.
    start(&mut world, 0xa1, 0xa0);
    start(&mut world, 0xb1, 0xa1);
    call(&mut world, 12, 100, 0xb1, "/of-1");
    world.play(&task(1, 0xa1), &[Writes(OK)]);
    assert_eq!(parents(&mut world), ["/of-0 /0", "/of-1 /1"]);
}

#[test]
fn one_task_may_serve_a_connection_and_start_others_for_each_request() {
    let mut world = seen();
    for number in 0..3 {
        world.play(&task(1, 0x11), &[Reads(&get(&format!("/{number}")))]);
        start(&mut world, 0xb0, 0xa0);
        call(&mut world, 11, 100, 0xb0, &format!("/of-{number}"));
        world.play(&task(1, 0xa0), &[Writes(OK)]);
    }
    assert_eq!(parents(&mut world), ["/of-0 /0", "/of-1 /1", "/of-2 /2"]);
}

#[test]
fn what_reads_answers_works_for_nobody() {
    let mut world = seen();
    world.play(&task(1, 0x11), &[Reads(&get("/a"))]);
    start(&mut world, 0xa1, 0x11);
    // A connection of a pool is opened for this request; what reads from it is another context.
    start(&mut world, 0xc0, 0xa1);
    world.play(&task(11, 0xa1), &[Writes(&get("/of-a"))]);
    world.play(&task(11, 0xc0), &[Reads(OK)]);
    // From there the next call is sent, for whoever waited.
    world.play(&task(11, 0xc0), &[Writes(&get("/queued")), Reads(OK)]);
    world.play(&task(1, 0xa1), &[Writes(OK)]);
    assert_eq!(parents(&mut world), ["/of-a /a".to_owned(), format!("/queued {UNCLAIMED}")]);
}

#[test]
fn a_loop_where_a_request_is_served_works_for_that() {
    let mut world = seen();
    let base = Identity::Base(0x51);
    let server = socket(1).tid(105).by(base);
    world.play(&server, &[Reads(&get("/sync"))]);
    world.feed(100, 105, Body::ContextCopied(ContextCopied { context: 0xa1, copied_in: base }));
    call(&mut world, 11, 105, 0xa1, "/of-sync");
    world.play(&server, &[Writes(OK)]);
    // In a greenlet.
    let server = socket(2).tid(106).by(Identity::Greenlet(0x61));
    world.play(&server, &[Reads(&get("/green"))]);
    let copied_in = Identity::Greenlet(0x61);
    world.feed(100, 106, Body::ContextCopied(ContextCopied { context: 0xb1, copied_in }));
    call(&mut world, 12, 106, 0xb1, "/of-green");
    world.play(&server, &[Writes(OK)]);
    assert_eq!(parents(&mut world), ["/of-green /green", "/of-sync /sync"]);
}

/// By themselves, not by contexts. The one that serves goes on with the connection's next request.
#[test]
fn greenlets_belong_to_the_request_they_were_made_for() {
    let mut world = seen();
    let made = |world: &mut World, greenlet, maker| {
        let copied_in = Identity::Greenlet(maker);
        world.feed(100, 106, Body::ContextCopied(ContextCopied { context: greenlet, copied_in }));
    };
    let call = |world: &mut World, id, greenlet, name: &str| {
        let by = socket(id).tid(106).by(Identity::Greenlet(greenlet));
        world.play(&by, &[Writes(&get(name)), Reads(OK)]);
    };
    let server = socket(2).tid(106).by(Identity::Greenlet(0x61));
    made(&mut world, 0x61, 0x50);
    made(&mut world, 0x81, 0x50);
    world.play(&server, &[Reads(&get("/a"))]);
    made(&mut world, 0x71, 0x61);
    made(&mut world, 0x72, 0x71);
    call(&mut world, 11, 0x71, "/child");
    call(&mut world, 12, 0x72, "/grandchild");
    call(&mut world, 13, 0x81, "/of-none");
    world.play(&server, &[Writes(OK), Reads(&get("/b"))]);
    call(&mut world, 14, 0x72, "/late");
    // Another one at the same address.
    made(&mut world, 0x71, 0x61);
    call(&mut world, 15, 0x71, "/of-b");
    world.play(&server, &[Writes(OK)]);
    let over = "unknown: the request that its task was started for was over";
    let want = [
        "/child /a".to_owned(),
        "/grandchild /a".to_owned(),
        format!("/late {over}"),
        "/of-b /b".to_owned(),
        "/of-none unknown: its greenlet reads no request".to_owned(),
    ];
    assert_eq!(parents(&mut world), want);
}

#[test]
fn what_was_not_seen_ends_what_is_known() {
    for anew in [true, false] {
        let mut world = seen();
        world.play(&task(1, 0x11), &[Reads(&get("/a"))]);
        start(&mut world, 0xa1, 0x11);
        start(&mut world, 0xb1, 0xa1);
        let since_ns = anew.then_some(world.now_ns);
        world.feed(100, 0, Body::CopiesSeen(since_ns));
        // Whose the address is now cannot be told.
        call(&mut world, 11, 100, 0xb1, "/whose");
        start(&mut world, 0xe1, 0xe0);
        call(&mut world, 12, 100, 0xb1, "/whose-still");
        world.play(&task(1, 0xa1), &[Writes(OK)]);
        let still = if anew { UNCLAIMED } else { UNSEEN };
        let want = [format!("/whose {UNSEEN}"), format!("/whose-still {still}")];
        assert_eq!(parents(&mut world), want);
    }
}

#[test]
fn stray_copies_mean_nothing() {
    for since_ms in [None, Some(3)] {
        let mut world = seen();
        world.play(&task(1, 0x11), &[Reads(&get("/a"))]);
        // One that comes late, from before the time.
        let since_ns = since_ms.map(|ms| world.now_ns + ms * MS + 1);
        world.feed(100, 0, Body::CopiesSeen(since_ns));
        start(&mut world, 0xa1, 0x11);
        start(&mut world, 0xb1, 0xa1);
        call(&mut world, 11, 100, 0xb1, "/of-a");
        world.play(&task(1, 0xa1), &[Writes(OK)]);
        assert_eq!(parents(&mut world), [format!("/of-a {UNSEEN}")]);
    }
}
