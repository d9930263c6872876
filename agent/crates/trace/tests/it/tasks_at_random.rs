//! Whatever order requests, tasks and calls come in, and however often addresses are used again: where copies of contexts
//! are not seen, no call of a task gets a parent; where they are, none gets the wrong one, and where every request is answered by
//! its task, every call gets the right one.

use model::Identity;
use proptest::prelude::*;
use trace::Settings;

use crate::conversation::Step::{Reads, Writes};
use crate::conversation::{World, socket};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const STREAMED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";

#[derive(Debug, Clone, Copy)]
enum Move {
    /// A connection sends a request, if it has none open; a task is made for it.
    Ask(usize),
    /// The task of that connection calls another service.
    Call(usize),
    /// The task sends the response and is over.
    Answer(usize),
    /// The task is cancelled and its connection closed.
    Cancel(usize),
    /// The task starts another one, or a thread of a pool, that calls and is over.
    Spawn(usize, u32),
    /// The task starts another one, which sends the response, and is over after that (Starlette's streams, Quart).
    Leave(usize, &'static str),
}

/// `plain`: tasks do all by themselves, and nobody goes away.
fn moves(plain: bool) -> impl Strategy<Value = Vec<Move>> {
    let kinds = if plain { 4_u8 } else { 10 };
    let one = (0..kinds, 0..6_usize).prop_map(move |(kind, connection)| match kind {
        0 | 4 => Move::Ask(connection),
        1 => Move::Call(connection),
        5 => Move::Cancel(connection),
        6 => Move::Spawn(connection, 100),
        7 => Move::Spawn(connection, 107),
        8 => Move::Leave(connection, STREAMED),
        9 => Move::Leave(connection, OK),
        _ => Move::Answer(connection),
    });
    proptest::collection::vec(one, 1..120)
}

/// Plays the moves and compares each client span's parent with the request that its path names.
/// Gives how many calls have one, and how many there are. `seen`: copies of contexts are.
fn play(moves: &[Move], seen: bool) -> (usize, usize) {
    let mut world = World::new(&Settings::default());
    if seen {
        world = world.see_copies();
    }
    let made = |world: &mut World, context, by| {
        if seen {
            world.copy(context, by);
        }
    };
    // Addresses of contexts, the one freed last on top: that is how CPython's allocator gives them out again.
    let mut free: Vec<u64> = (0..16).map(|slot| 0xa000 + slot * 0x40).collect();
    let mut open: [Option<(usize, u64)>; 6] = [None; 6];
    let mut ids: [u64; 6] = [0, 1, 2, 3, 4, 5];
    let mut last_id = 100;
    let mut requests = 0;
    for step in moves {
        match *step {
            Move::Ask(connection) if open[connection].is_none() => {
                requests += 1;
                let text = format!("GET /{requests} HTTP/1.1\r\nHost: h\r\n\r\n");
                // What reads is over as soon as it need not read more: its address may be the next task's.
                let (reader, context) = (free[free.len() - 2], free.pop().unwrap());
                made(&mut world, reader, Identity::Base(0x1));
                let reader = Identity::Task(reader);
                world.play(&socket(ids[connection]).by(reader), &[Reads(&text)]);
                made(&mut world, context, reader);
                open[connection] = Some((requests, context));
            }
            Move::Call(connection) => {
                let Some((request, context)) = open[connection] else { continue };
                last_id += 1;
                let text = format!("GET /{request} HTTP/1.1\r\nHost: h\r\n\r\n");
                let call = socket(last_id).by(Identity::Task(context));
                world.play(&call, &[Writes(&text), Reads(OK)]);
            }
            Move::Answer(connection) => {
                let Some((_, context)) = open[connection].take() else { continue };
                world.play(&socket(ids[connection]).by(Identity::Task(context)), &[Writes(OK)]);
                free.push(context);
            }
            Move::Spawn(connection, tid) => {
                let Some((request, context)) = open[connection] else { continue };
                last_id += 1;
                let text = format!("GET /{request} HTTP/1.1\r\nHost: h\r\n\r\n");
                made(&mut world, free[free.len() - 1], Identity::Task(context));
                let call = socket(last_id).tid(tid).by(Identity::Task(free[free.len() - 1]));
                world.play(&call, &[Writes(&text), Reads(OK)]);
            }
            Move::Leave(connection, answer) => {
                let Some((_, context)) = open[connection].take() else { continue };
                let leaves = free[free.len() - 1];
                made(&mut world, leaves, Identity::Task(context));
                world.play(&socket(ids[connection]).by(Identity::Task(leaves)), &[Writes(answer)]);
                free.push(context);
            }
            Move::Cancel(connection) => {
                let Some((_, context)) = open[connection].take() else { continue };
                let closed = socket(ids[connection]);
                world.state(&closed, model::TcpState::Established, model::TcpState::Close, 104);
                last_id += 1;
                ids[connection] = last_id;
                free.push(context);
            }
            Move::Ask(_) => {}
        }
    }
    world.known_calls()
}

proptest! {
    #[test]
    fn no_parent_is_wrong(moves in moves(false)) {
        play(&moves, true);
    }

    #[test]
    fn no_task_is_known_by_its_address(moves in moves(false)) {
        prop_assert_eq!(play(&moves, false).0, 0);
    }

    #[test]
    fn what_is_answered_is_known(moves in moves(true)) {
        let answers: Vec<Move> = (0..6).map(Move::Answer).collect();
        let (known, all) = play(&[moves, answers].concat(), true);
        prop_assert_eq!(known, all);
    }
}
