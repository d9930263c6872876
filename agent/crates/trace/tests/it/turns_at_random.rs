//! Servers whose clients send several requests in one piece: one thread for each connection, or a pool whose threads go on with
//! what any of them has read. No call gets the wrong parent; where each thread has a connection of its own and all is answered,
//! every call gets the right one.

use std::collections::VecDeque;

use model::{Identity, TcpState};
use proptest::prelude::*;
use trace::Settings;

use crate::conversation::Step::{Reads, Writes};
use crate::conversation::{Socket, World, socket};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const CONNECTIONS: usize = 5;

#[derive(Debug, Clone, Copy)]
enum Move {
    /// A client that awaits nothing sends so many requests in one piece.
    Ask(usize, usize),
    /// An idle thread takes the connection that has waited longest, and reads if nothing was read ahead.
    Take(usize),
    /// A thread that is at work calls.
    Call(usize),
    /// It answers, if there is still somebody to answer.
    Answer(usize),
    /// A client resets its connection, and will ask on another one.
    Leave(usize),
}

/// `calm`: nobody leaves.
fn moves(calm: bool) -> impl Strategy<Value = Vec<Move>> {
    let one =
        (0..if calm { 8_u8 } else { 9 }, 0..CONNECTIONS, 1..4_usize).prop_map(
            |(kind, who, count)| match kind {
                0 => Move::Ask(who, count),
                1 | 2 => Move::Take(who),
                3..=5 => Move::Call(who),
                8 => Move::Leave(who),
                _ => Move::Answer(who),
            },
        );
    proptest::collection::vec(one, 1..150)
}

#[derive(Debug, Default, Clone)]
struct Client {
    id: u64,
    gone: bool,
    /// Sent, and read ahead.
    sent: Vec<usize>,
    ahead: VecDeque<usize>,
    /// Waits for a thread, or has one.
    taken: bool,
}

fn text(request: usize) -> String {
    format!("GET /{request} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// `pooled`: any thread takes any connection. Gives how many calls have a parent, and how many there are.
fn play(moves: &[Move], pooled: bool) -> (usize, usize) {
    let mut world = World::new(&Settings::default());
    let by = |id: u64, thread: usize| -> Socket { socket(id).tid(200 + thread as u32).by(Identity::Base(0)) };
    let mut clients: Vec<Client> =
        (0..CONNECTIONS as u64).map(|id| Client { id, ..Client::default() }).collect();
    let mut queue: VecDeque<usize> = VecDeque::new();
    // The client and the request that each thread is at work for: on a connection that may be gone.
    let mut work: [Option<(usize, u64, usize)>; CONNECTIONS] = [None; CONNECTIONS];
    let (mut requests, mut last_id) = (0, 100);
    for step in moves {
        match *step {
            Move::Ask(who, count) => {
                let client = &mut clients[who];
                if !client.sent.is_empty() || !client.ahead.is_empty() || client.taken {
                    continue;
                }
                client.sent = (1..=count).map(|number| requests + number).collect();
                requests += count;
                queue.push_back(who);
            }
            Move::Take(thread) => {
                if work[thread].is_some() {
                    continue;
                }
                let next = if pooled {
                    queue.front().copied()
                } else {
                    queue.iter().copied().find(|who| *who == thread)
                };
                let Some(who) = next else { continue };
                queue.retain(|waits| *waits != who);
                let client = &mut clients[who];
                if client.ahead.is_empty() && !client.gone {
                    let piece: String = client.sent.iter().map(|request| text(*request)).collect();
                    world.play(&by(client.id, thread), &[Reads(&piece)]);
                    client.ahead = client.sent.drain(..).collect();
                }
                let Some(request) = client.ahead.pop_front() else { continue };
                client.taken = true;
                work[thread] = Some((who, client.id, request));
            }
            Move::Call(thread) => {
                let Some((_, _, request)) = work[thread] else { continue };
                last_id += 1;
                world.play(&by(last_id, thread), &[Writes(&text(request)), Reads(OK)]);
            }
            Move::Answer(thread) => {
                let Some((who, id, _)) = work[thread].take() else { continue };
                let client = &mut clients[who];
                client.taken = false;
                if client.id == id && !client.gone {
                    world.play(&by(id, thread), &[Writes(OK)]);
                    if !client.ahead.is_empty() {
                        queue.push_back(who);
                    }
                } else {
                    client.ahead.clear();
                }
                if client.gone {
                    last_id += 1;
                    *client = Client { id: last_id, ..Client::default() };
                }
            }
            Move::Leave(who) => {
                let client = &mut clients[who];
                // What was not read yet never comes.
                if client.gone || !client.sent.is_empty() || (!client.taken && client.ahead.is_empty()) {
                    continue;
                }
                world.state(&socket(client.id), TcpState::Established, TcpState::Close, 104);
                client.gone = true;
            }
        }
    }
    world.known_calls()
}

proptest! {
    #[test]
    fn a_pool_makes_no_parent_wrong(moves in moves(false)) {
        play(&moves, true);
    }

    #[test]
    fn nor_does_a_thread_for_each_connection(moves in moves(false)) {
        play(&moves, false);
    }

    #[test]
    fn what_a_thread_of_its_own_answers_is_known(moves in moves(true)) {
        let end = (0..4).flat_map(|_| (0..CONNECTIONS).flat_map(|thread| [Move::Take(thread), Move::Answer(thread)]));
        let (known, all) = play(&moves.into_iter().chain(end).collect::<Vec<_>>(), false);
        prop_assert_eq!(known, all);
    }
}
