//! Servers with a thread for each connection, whose requests start threads, and those others; and pools that all share. No call
//! gets the wrong parent; where every thread is waited for, and none is a pool's, every call gets the right one.

use model::{Body, Identity, ThreadStarted};
use proptest::prelude::*;
use trace::Settings;

use crate::conversation::Step::{Reads, Writes};
use crate::conversation::{MS, Socket, World, socket};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const SERVERS: usize = 4;
const CHILDREN: usize = 6;
/// Those of the children that are a pool's threads: they take what anybody asks for, and never end.
const POOL: usize = 4;

#[derive(Debug, Clone, Copy)]
enum Move {
    Ask(usize),
    /// The request of a server's thread starts a child.
    Start(usize, usize),
    /// A child starts another one for what it works for.
    StartBy(usize, usize),
    Call(usize),
    End(usize),
    /// A child of the pool goes on with what this server's request has asked for.
    Take(usize, usize),
    Answer(usize),
    Wait,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one =
        (0..10_u8, 0..SERVERS, 0..CHILDREN, 0..CHILDREN).prop_map(
            |(kind, server, child, other)| match kind {
                0 | 1 => Move::Ask(server),
                2 | 3 => Move::Start(server, child),
                4 => Move::StartBy(child, other),
                5 | 6 => Move::Call(child),
                7 => Move::End(child),
                8 => Move::Take(server, child),
                _ if other == 0 => Move::Wait,
                _ => Move::Answer(server),
            },
        );
    proptest::collection::vec(one, 1..120)
}

/// `waits`: a request waits for its threads before it answers, and there is no pool. Gives how many calls have a parent, and how
/// many there are.
fn play(moves: &[Move], waits: bool) -> (usize, usize) {
    let mut world = World::new(&Settings::default());
    let by = |id: u64, tid: usize| -> Socket { socket(id).tid(tid as u32).by(Identity::Base(0)) };
    let (server_tid, child_tid) = (|server: usize| 200 + server, |child: usize| 300 + child);
    let is_pool = |child: usize| !waits && child >= POOL;
    let mut serving: [Option<usize>; SERVERS] = [None; SERVERS];
    // The request that each child works for.
    let mut works: [Option<usize>; CHILDREN] = [None; CHILDREN];
    let (mut requests, mut last_id) = (0, 100);
    let text = |request: usize| format!("GET /{request} HTTP/1.1\r\nHost: h\r\n\r\n");
    let start = |world: &mut World, starter: usize, child: usize| {
        let started = ThreadStarted { child: child_tid(child) as u32, by: Identity::Base(0) };
        world.feed(100, starter as u32, Body::ThreadStarted(started));
    };
    for step in moves {
        match *step {
            Move::Ask(server) if serving[server].is_none() => {
                requests += 1;
                serving[server] = Some(requests);
                world.play(&by(server as u64, server_tid(server)), &[Reads(&text(requests))]);
            }
            Move::Start(server, child) if works[child].is_none() && serving[server].is_some() => {
                start(&mut world, server_tid(server), child);
                works[child] = serving[server];
            }
            Move::StartBy(child, other) if works[other].is_none() && works[child].is_some() => {
                start(&mut world, child_tid(child), other);
                works[other] = works[child];
            }
            Move::Call(child) => {
                let Some(request) = works[child] else { continue };
                last_id += 1;
                world.play(&by(last_id, child_tid(child)), &[Writes(&text(request)), Reads(OK)]);
            }
            Move::End(child) if works[child].is_some() && !is_pool(child) => {
                world.feed(100, child_tid(child) as u32, Body::ThreadEnded);
                works[child] = None;
            }
            Move::Take(server, child) if works[child].is_some() && is_pool(child) => {
                works[child] = serving[server].or(works[child]);
            }
            Move::Answer(server) => {
                let Some(request) = serving[server].take() else { continue };
                for child in (0..CHILDREN).filter(|_| waits) {
                    if works[child] == Some(request) {
                        world.feed(100, child_tid(child) as u32, Body::ThreadEnded);
                        works[child] = None;
                    }
                }
                world.play(&by(server as u64, server_tid(server)), &[Writes(OK)]);
            }
            Move::Wait => {
                for _ in 0..3 {
                    world.now_ns += 50 * MS;
                    world.tracer.tick(world.now_ns, &mut world.spans);
                }
            }
            _ => {}
        }
    }
    world.known_calls()
}

proptest! {
    #[test]
    fn no_parent_is_wrong(moves in moves()) {
        play(&moves, false);
    }

    #[test]
    fn what_is_waited_for_is_known(moves in moves()) {
        let end = (0..SERVERS).map(Move::Answer);
        let (known, all) = play(&moves.into_iter().chain(end).collect::<Vec<_>>(), true);
        prop_assert_eq!(known, all);
    }
}
