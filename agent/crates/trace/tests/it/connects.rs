//! Connects that come to nothing.

use model::{Body, Fault, TcpState};
use trace::Settings;

use crate::conversation::Step::{Reads, Writes};
use crate::conversation::{MS, Socket, World, socket};

fn begin(world: &mut World, socket: &Socket) {
    world.state(socket, TcpState::Close, TcpState::SynSent, 0);
}

fn fail(world: &mut World, socket: &Socket, errno: i32) {
    world.state(socket, TcpState::SynSent, TcpState::Close, errno);
}

#[test]
fn failures_say_why() {
    for (errno, want) in [
        (111, Fault::ConnectionRefused),
        (110, Fault::ConnectTimedOut),
        (0, Fault::ConnectTimedOut),
        (113, Fault::ConnectFailed(113)),
    ] {
        let mut world = World::new(&Settings::default());
        begin(&mut world, &socket(1));
        world.now_ns += 20 * MS;
        fail(&mut world, &socket(1), errno);
        let now_ns = world.now_ns;
        world.tracer.tick(now_ns + 49 * MS, &mut world.spans);
        assert!(world.spans.is_empty());
        world.tracer.tick(now_ns + 50 * MS, &mut world.spans);
        let span = &world.spans[0];
        assert_eq!((span.fault, span.end.as_str(), &*span.name), (Some(want), "not_connected", "connect"));
        assert_eq!((span.method.as_deref(), span.status, span.duration_ns), (None, None, 21 * MS));
        assert_eq!((span.host.as_str(), span.tid), ("192.0.2.9:50000", 100));
        assert_eq!(world.tracer.counts().exchanges, 1);
    }
}

#[test]
fn another_address_supersedes() {
    let six = socket(1).peer("[::1]:80");
    let four = socket(2).peer("127.0.0.1:80");
    let mut world = World::new(&Settings::default());
    begin(&mut world, &six);
    fail(&mut world, &six, 111);
    begin(&mut world, &four);
    world.play(&four, &[Writes("GET / HTTP/1.0\r\n\r\n")]);
    world.play(&four, &[Reads("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")]);
    let now_ns = world.now_ns + 1000 * MS;
    world.tracer.tick(now_ns, &mut world.spans);
    assert_eq!(world.spans.len(), 1);
    assert_eq!(world.tracer.counts().superseded_connects, 1);

    // If the second fails too, it is the one that is told.
    let mut world = World::new(&Settings::default());
    begin(&mut world, &six);
    fail(&mut world, &six, 111);
    begin(&mut world, &four);
    fail(&mut world, &four, 111);
    world.tracer.tick(now_ns, &mut world.spans);
    assert_eq!(world.spans.iter().map(|span| span.host.as_str()).collect::<Vec<_>>(), ["127.0.0.1:80"]);

    // Raced: the slower one is given up when the faster one has answered.
    let mut world = World::new(&Settings::default());
    begin(&mut world, &six);
    begin(&mut world, &four);
    world.play(&four, &[Writes("GET / HTTP/1.0\r\n\r\n")]);
    fail(&mut world, &six, 0);
    world.tracer.tick(now_ns, &mut world.spans);
    assert!(world.spans.is_empty());
    assert_eq!(world.tracer.counts().superseded_connects, 1);
}

#[test]
fn other_failures_stand() {
    let mut world = World::new(&Settings::default());
    let first = socket(1).peer("[::1]:80");
    let others =
        [socket(2).peer("[::1]:80"), socket(3).peer("127.0.0.1:81"), socket(4).peer("127.0.0.1:80").tid(9)];
    begin(&mut world, &first);
    fail(&mut world, &first, 111);
    for other in &others {
        begin(&mut world, other);
    }
    world.feed(100, 0, Body::Exec);
    world.now_ns += 60 * MS;
    world.feed(100, 0, Body::Exec);
    assert_eq!(world.spans.len(), 1);
    // The process ends: what it was connecting to is of no account.
    world.feed(100, 0, Body::Exit { status: 0 });
    for other in &others {
        fail(&mut world, other, 0);
    }
    world.tracer.drain(world.now_ns, &mut world.spans);
    assert_eq!(world.spans.len(), 1);
}
