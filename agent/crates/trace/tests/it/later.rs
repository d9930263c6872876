//! Calls and answers that an event loop sends some time after a task has written them.

use model::{Blur, Body, ContextCopied, Identity, SpanKind, Written};
use trace::Settings;

use crate::conversation::Step::{Reads, Writes};
use crate::conversation::{Socket, World, get, path, socket};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const LATER: &str = "unknown: an event loop sent it later than it was written";

/// The loop itself, at a connection.
fn by_loop(id: u64) -> Socket {
    socket(id).by(Identity::Unknown(Blur::Deferred))
}

fn copy(world: &mut World, context: u64, copied_in: u64) {
    let copied_in = Identity::Task(copied_in);
    world.feed(100, 100, Body::ContextCopied(ContextCopied { context, copied_in }));
}

fn write(world: &mut World, id: u64, context: u64) {
    let by = Identity::Task(context);
    world.feed(100, 100, Body::Written(Written { fd: fd_of(id), by }));
}

fn fd_of(id: u64) -> i32 {
    i32::try_from(id).unwrap()
}

/// A world in which copies are seen, and two requests have been read.
fn asked() -> World {
    let mut world = World::new(&Settings::default());
    world.feed(100, 0, Body::CopiesSeen(Some(0)));
    copy(&mut world, 0xa1, 0x1);
    copy(&mut world, 0xa2, 0x1);
    for (id, name) in [(1, "/a"), (2, "/b")] {
        world.play(&by_loop(id), &[Reads(&get(name))]);
    }
    world
}

/// Whose the calls are, in order of paths.
fn parents(world: &mut World) -> Vec<String> {
    world.tracer.drain(world.now_ns, &mut world.spans);
    let mut calls: Vec<_> = world.spans.iter().filter(|span| span.kind == SpanKind::Client).collect();
    calls.sort_by_key(|span| path(span));
    let parent = |id: &str| world.spans.iter().find(|span| span.span_id.to_string() == id).map(path);
    let said = |span: &&model::Span| match &span.parent {
        Some(of) => parent(&of.span_id).unwrap().to_owned(),
        None => {
            span.attribute("stardust_probe.parent").map_or("root", |why| why.as_text().unwrap()).to_owned()
        }
    };
    calls.iter().map(|span| format!("{} {}", path(span), said(span))).collect()
}

fn answer_both(world: &mut World) {
    for id in [2, 1] {
        write(world, id, 0xa0 + id);
    }
    for id in [1, 2] {
        world.play(&by_loop(id), &[Writes(OK)]);
    }
}

/// What waits in stream 11 is sent: nobody is told to have written it.
fn assert_nobodys(mut world: World) {
    world.play(&by_loop(11), &[Writes(&get("/whose")), Reads(OK)]);
    answer_both(&mut world);
    assert_eq!(parents(&mut world), [format!("/whose {LATER}")]);
}

#[test]
fn who_wrote_it_has_made_it() {
    let mut world = asked();
    write(&mut world, 11, 0xa1);
    write(&mut world, 12, 0xa2);
    // In whatever order the loop sends.
    world.play(&by_loop(12), &[Writes(&get("/of-b")), Reads(OK)]);
    world.play(&by_loop(11), &[Writes(&get("/of-a")), Reads(OK)]);
    // A task of the first one's.
    copy(&mut world, 0xb1, 0xa1);
    write(&mut world, 13, 0xb1);
    world.play(&by_loop(13), &[Writes(&get("/started-by-a")), Reads(OK)]);
    // Nobody was seen to write it.
    world.play(&by_loop(14), &[Writes(&get("/unseen")), Reads(OK)]);
    answer_both(&mut world);
    let unseen = format!("/unseen {LATER}");
    assert_eq!(parents(&mut world), ["/of-a /a", "/of-b /b", "/started-by-a /a", &unseen]);
}

/// The task is gone, and its context's address another's.
#[test]
fn who_wrote_it_may_be_gone() {
    let mut world = asked();
    copy(&mut world, 0xb1, 0xa1);
    write(&mut world, 11, 0xb1);
    copy(&mut world, 0xb1, 0xa2);
    world.play(&by_loop(11), &[Writes(&get("/of-a")), Reads(OK)]);
    write(&mut world, 12, 0xb1);
    world.play(&by_loop(12), &[Writes(&get("/of-b")), Reads(OK)]);
    write(&mut world, 1, 0xa1);
    copy(&mut world, 0xa1, 0x1);
    world.play(&by_loop(1), &[Writes(OK)]);
    write(&mut world, 2, 0xa2);
    world.play(&by_loop(2), &[Writes(OK)]);
    assert_eq!(parents(&mut world), ["/of-a /a", "/of-b /b"]);
}

/// Two tasks, one after the other at one address, wrote what is sent at once.
#[test]
fn who_wrote_it_may_be_two() {
    let mut world = asked();
    copy(&mut world, 0xb1, 0xa1);
    write(&mut world, 11, 0xb1);
    copy(&mut world, 0xb1, 0xa2);
    write(&mut world, 11, 0xb1);
    assert_nobodys(world);
}

#[test]
fn two_that_wrote_to_one_stream_are_not_told_apart() {
    let mut world = asked();
    write(&mut world, 11, 0xa1);
    write(&mut world, 11, 0xa2);
    assert_nobodys(world);
}

#[test]
fn what_was_written_before_copies_were_lost_is_nobodys() {
    let mut world = asked();
    write(&mut world, 11, 0xa1);
    let since_ns = Some(world.now_ns);
    world.feed(100, 0, Body::CopiesSeen(since_ns));
    copy(&mut world, 0xff, 0x1);
    assert_nobodys(world);
}
