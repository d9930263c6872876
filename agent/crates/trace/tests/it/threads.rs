//! Calls of threads that requests have started.

use model::{Body, Identity, ParentKind, ThreadStarted};
use trace::Settings;

use crate::conversation::Step::{Reads, State, Writes};
use crate::conversation::{MS, Socket, World, get, socket, task};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const GOES_ON: &str =
    "unknown: its thread went on after the request that has started it, and may work for others";
const OVER: &str = "unknown: the request that its thread was started for was over";
const NOT_READ: &str = "unknown: no request is open on its thread";
const UNCLAIMED: &str = "unknown: no open request was answered by the task that called";
const BASE: Identity = Identity::Base(0);

fn by(id: u64, tid: u32) -> Socket {
    socket(id).tid(tid).by(BASE)
}

fn start(world: &mut World, starter: u32, by: Identity, child: u32) {
    world.feed(100, starter, Body::ThreadStarted(ThreadStarted { child, by }));
}

fn end(world: &mut World, tid: u32) {
    world.feed(100, tid, Body::ThreadEnded);
}

fn call(world: &mut World, id: u64, tid: u32, path: &str) {
    world.play(&by(id, tid), &[Writes(&get(path)), Reads(OK)]);
}

/// Time goes by.
fn wait(world: &mut World, ms: u64) {
    for _ in 0..ms {
        world.now_ns += MS;
        world.tracer.tick(world.now_ns, &mut world.spans);
    }
}

/// For each client span that was given out, in order of paths: its parent's path, or why there is none.
fn parents(world: &World) -> Vec<String> {
    world.parents(&[ParentKind::Thread, ParentKind::Context])
}

#[test]
fn threads_that_end_with_a_request_have_worked_for_it() {
    let mut world = World::new(&Settings::default());
    // Two requests at once, each of which starts a thread, and that another one.
    for (id, tid) in [(1, 201), (2, 202)] {
        world.play(&by(id, tid), &[Reads(&get(&format!("/{id}")))]);
        start(&mut world, tid, BASE, tid + 100);
        start(&mut world, tid + 100, BASE, tid + 200);
    }
    call(&mut world, 11, 301, "/of-1");
    call(&mut world, 12, 302, "/of-2");
    call(&mut world, 21, 401, "/deeper-of-1");
    assert_eq!(world.spans.len(), 0, "they wait");
    end(&mut world, 301);
    assert_eq!(world.spans.len(), 1, "known before the answer");
    end(&mut world, 302);
    // The one above has ended, and this one has not.
    assert_eq!(world.spans.len(), 2);
    end(&mut world, 401);
    for (id, tid) in [(1, 201), (2, 202)] {
        world.play(&by(id, tid), &[Writes(OK)]);
    }
    assert_eq!(parents(&world), ["/deeper-of-1 /1", "/of-1 /1", "/of-2 /2"]);
    assert!(!world.tracer.holds_back());
}

#[test]
fn a_thread_beside_a_loop_says_nothing_and_is_known_all_the_same() {
    let mut world = World::new(&Settings::default()).see_copies();
    let says_nothing = Identity::Unknown(model::Blur::Loop);
    world.play(&task(1, 0x1001), &[Reads(&get("/1"))]);
    start(&mut world, 100, Identity::Task(0xa1), 301);
    start(&mut world, 301, says_nothing, 401);
    for tid in [100, 301, 401] {
        let own = socket(tid.into()).tid(tid).by(says_nothing);
        world.play(&own, &[Writes(&get(&format!("/on-{tid}"))), Reads(OK)]);
    }
    end(&mut world, 401);
    end(&mut world, 301);
    world.play(&task(1, 0xa1), &[Writes(OK)]);
    let of_loop = "unknown: an event loop sent it outside its tasks";
    let want = [format!("/on-100 {of_loop}"), "/on-301 /1".to_owned(), "/on-401 /1".to_owned()];
    assert_eq!(parents(&world), want);
}

#[test]
fn a_thread_may_take_a_moment_to_end() {
    let mut world = World::new(&Settings::default());
    world.play(&by(1, 201), &[Reads(&get("/1"))]);
    for child in [301, 302] {
        start(&mut world, 201, BASE, child);
        call(&mut world, u64::from(child), child, &format!("/of-{child}"));
    }
    world.play(&by(1, 201), &[Writes(OK)]);
    assert!(world.tracer.holds_back());
    wait(&mut world, 90);
    assert_eq!(parents(&world), [""; 0], "they wait");
    end(&mut world, 301);
    assert_eq!(parents(&world), ["/of-301 /1"]);
    wait(&mut world, 20);
    assert_eq!(parents(&world), ["/of-301 /1".to_owned(), format!("/of-302 {GOES_ON}")]);
    assert!(!world.tracer.holds_back());
    // Nothing is asked of its end any more.
    end(&mut world, 302);
    assert_eq!(world.spans.len(), 3);
}

#[test]
fn a_call_may_end_after_its_request() {
    let mut world = World::new(&Settings::default());
    world.play(&by(1, 201), &[Reads(&get("/1"))]);
    for child in [301, 302, 303] {
        start(&mut world, 201, BASE, child);
        world.play(&by(child.into(), child), &[Writes(&get(&format!("/of-{child}")))]);
    }
    world.play(&by(1, 201), &[Writes(OK)]);
    world.play(&by(301, 301), &[Reads(OK)]);
    end(&mut world, 301);
    // Another one reads for it, later.
    end(&mut world, 302);
    world.play(&by(302, 999), &[Reads(OK)]);
    wait(&mut world, 110);
    world.play(&by(303, 303), &[Reads(OK)]);
    let want = ["/of-301 /1".to_owned(), "/of-302 /1".to_owned(), format!("/of-303 {GOES_ON}")];
    assert_eq!(parents(&world), want);
}

#[test]
fn a_pool_s_thread_works_for_others() {
    let mut world = World::new(&Settings::default());
    world.play(&by(1, 201), &[Reads(&get("/1"))]);
    world.play(&by(2, 202), &[Reads(&get("/2"))]);
    // The first one starts it; it takes what the second one asks for.
    start(&mut world, 201, BASE, 301);
    call(&mut world, 11, 301, "/of-2");
    world.play(&by(1, 201), &[Writes(OK)]);
    wait(&mut world, 110);
    call(&mut world, 12, 301, "/of-2-too");
    world.play(&by(2, 202), &[Writes(OK)]);
    assert_eq!(parents(&world), [format!("/of-2 {GOES_ON}"), format!("/of-2-too {OVER}")]);
}

#[test]
fn what_nobody_has_started_is_nobody_s() {
    let mut world = World::new(&Settings::default());
    // Before the request; while two are open on the thread; and with the number of one that was.
    start(&mut world, 201, BASE, 301);
    world.play(&by(1, 201), &[Reads(&get("/1"))]);
    start(&mut world, 201, BASE, 303);
    end(&mut world, 303);
    start(&mut world, 999, BASE, 303);
    world.play(&by(2, 201), &[Reads(&get("/2"))]);
    start(&mut world, 201, BASE, 302);
    for tid in [301, 302, 303] {
        call(&mut world, tid.into(), tid, &format!("/of-{tid}"));
        end(&mut world, tid);
    }
    world.play(&by(1, 201), &[Writes(OK)]);
    world.play(&by(2, 201), &[Writes(OK)]);
    let want = [301, 302, 303].map(|tid| format!("/of-{tid} {NOT_READ}"));
    assert_eq!(parents(&world), want);
}

#[test]
fn what_a_task_has_started_is_known_with_its_answer() {
    let mut world = World::new(&Settings::default()).see_copies();
    for (id, context) in [(1, 0xa1), (2, 0xa2)] {
        world.play(&task(id, 0x1000 + id), &[Reads(&get(&format!("/{id}")))]);
        start(&mut world, 100, Identity::Task(context), 300 + id as u32);
        call(&mut world, 10 + id, 300 + id as u32, &format!("/of-{id}"));
    }
    // The first one's thread ends in time.
    end(&mut world, 301);
    assert_eq!(world.spans.len(), 0, "they wait");
    for (id, context) in [(1, 0xa1), (2, 0xa2)] {
        world.play(&task(id, context), &[Writes(OK)]);
    }
    wait(&mut world, 110);
    // One more, while another request is open.
    world.play(&task(3, 0x1003), &[Reads(&get("/3"))]);
    call(&mut world, 22, 302, "/of-2-too");
    let of_task = "unknown: the request that its task was started for was over";
    let want = ["/of-1 /1".to_owned(), format!("/of-2 {GOES_ON}"), format!("/of-2-too {of_task}")];
    assert_eq!(parents(&world), want);
}

#[test]
fn what_never_answers_leaves_its_threads_unknown() {
    let mut world = World::new(&Settings::default());
    world.play(&task(1, 0x1001), &[Reads(&get("/1"))]);
    start(&mut world, 100, Identity::Task(0xa1), 301);
    call(&mut world, 11, 301, "/of-1");
    end(&mut world, 301);
    world.play(&socket(1), &[State(model::TcpState::Close, 104)]);
    wait(&mut world, 110);
    assert_eq!(parents(&world), [format!("/of-1 {UNCLAIMED}")]);
}

#[test]
fn a_loop_on_a_thread_works_for_whom_that_was_started() {
    let mut world = World::new(&Settings::default());
    for id in [1, 2] {
        world.play(&by(id, 200 + id as u32), &[Reads(&get(&format!("/{id}")))]);
        start(&mut world, 200 + id as u32, BASE, 300 + id as u32);
    }
    // Tasks there, and what one of them has a thread of its own do.
    for (id, tid) in [(11, 301), (12, 302), (13, 301)] {
        world.play(&task(id, 0xa0 + id).tid(tid), &[Writes(&get(&format!("/of-{tid}-{id}"))), Reads(OK)]);
    }
    start(&mut world, 301, Identity::Task(0xab), 401);
    call(&mut world, 14, 401, "/deeper-of-301");
    end(&mut world, 301);
    end(&mut world, 401);
    world.play(&by(1, 201), &[Writes(OK)]);
    world.play(&by(2, 202), &[Writes(OK)]);
    wait(&mut world, 110);
    let want = ["/deeper-of-301 /1".to_owned(), "/of-301-11 /1".to_owned(), "/of-301-13 /1".to_owned()];
    assert_eq!(parents(&world), [&want[..], &[format!("/of-302-12 {UNCLAIMED}")]].concat());
}

#[test]
fn what_a_pool_s_thread_runs_comes_before_who_has_started_it() {
    let mut world = World::new(&Settings::default()).see_copies();
    for id in [1, 2] {
        world.play(&task(id, 0x10 + id), &[Reads(&get(&format!("/{id}")))]);
        world.copy(0xa0 + id, Identity::Task(0x10 + id));
    }
    // The first one starts it; the second one's task hands it something, which calls before and after the first one's answer.
    start(&mut world, 100, Identity::Task(0xa1), 301);
    world.copy(0xb2, Identity::Task(0xee));
    world.play(&task(11, 0xb2).tid(301), &[Writes(&get("/of-another")), Reads(OK)]);
    world.copy(0xc2, Identity::Task(0xa2));
    world.play(&task(12, 0xc2).tid(301), &[Writes(&get("/of-2")), Reads(OK)]);
    world.play(&task(1, 0xa1), &[Writes(OK)]);
    wait(&mut world, 110);
    world.play(&task(13, 0xc2).tid(301), &[Writes(&get("/of-2-too")), Reads(OK)]);
    world.play(&task(2, 0xa2), &[Writes(OK)]);
    let want = ["/of-2 /2".to_owned(), "/of-2-too /2".to_owned(), format!("/of-another {UNCLAIMED}")];
    assert_eq!(parents(&world), want);
}

#[test]
fn a_pool_s_thread_that_ends_has_not_worked_for_who_has_started_it() {
    let mut world = World::new(&Settings::default()).see_copies();
    for id in [1, 2] {
        world.play(&task(id, 0x1000 + id), &[Reads(&get(&format!("/{id}")))]);
    }
    // The first one's task starts it, the second one's hands it a copy of its context, and is never answered.
    start(&mut world, 100, Identity::Task(0xa1), 301);
    world.play(&task(11, 0xc2).tid(301), &[Writes(&get("/of-2")), Reads(OK)]);
    end(&mut world, 301);
    world.play(&socket(2), &[State(model::TcpState::Close, 104)]);
    world.play(&task(1, 0xa1), &[Writes(OK)]);
    wait(&mut world, 110);
    assert_eq!(parents(&world), [format!("/of-2 {UNCLAIMED}")]);
}
