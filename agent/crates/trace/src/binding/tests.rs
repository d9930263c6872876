//! Calls of one thread, in many orders.

use Direction::{Received, Sent};
use TlsCallKind::{Free, Handshake, Read, Write};

use super::*;

const THREAD: Thread = Thread {
    pid: 1,
    tid: 1,
    identity: model::Identity::Thread,
    timing: model::Timing { ran_ns: None, waited: None, written_ns: None },
};

/// What a call moves, in clear text and encrypted, if nothing else is said.
const CLEAR: u64 = 100;
const ENCRYPTED: u64 = 122;

/// A thread's calls, in order: on a socket, or of the library (with the time at which it was entered).
#[derive(Debug, Clone, Copy)]
enum Step {
    Socket(u64, Direction),
    /// As many bytes.
    Sized(u64, Direction, u64),
    /// As many, which the kernel encrypts or has decrypted.
    Kernel(u64, Direction, u64),
    /// The library moves so many bytes.
    Moves(u64, TlsCallKind, u64),
    Library(u64, TlsCallKind),
    /// The library is entered, makes a socket call and returns.
    Inside(u64, TlsCallKind, u64),
    /// The library has moved so many bytes, by itself; when it was entered was not seen.
    Behind(u64, TlsCallKind, u64),
}
use Step::{Behind, Inside, Kernel, Library, Moves, Sized, Socket};

fn by_library(bytes: u64) -> Passed {
    Passed { bytes, by_kernel: false }
}

fn joins(steps: &[Step]) -> Vec<(u64, u64)> {
    let (mut binding, mut joins, mut now) = (Binding::default(), Vec::new(), 0);
    for step in steps {
        now += 10;
        let mut found = Vec::new();
        match *step {
            Socket(connection, direction) => {
                let moved = (direction, by_library(ENCRYPTED));
                found.push(binding.socket_call((now, THREAD), ConnectionId(connection), moved));
            }
            Sized(connection, direction, bytes) => {
                let moved = (direction, by_library(bytes));
                found.push(binding.socket_call((now, THREAD), ConnectionId(connection), moved));
            }
            Kernel(connection, direction, bytes) => {
                let moved = (direction, Passed { bytes, by_kernel: true });
                found.push(binding.socket_call((now, THREAD), ConnectionId(connection), moved));
            }
            Moves(session, kind, bytes) => {
                let call = (Some(now - 1), bytes);
                found.push(binding.library_call((now, THREAD), TlsSessionId(session), kind, call));
            }
            Library(session, kind) => {
                let session = TlsSessionId(session);
                found.push(binding.library_call((now, THREAD), session, kind, (Some(now - 1), CLEAR)));
            }
            Behind(session, kind, bytes) => {
                found.push(binding.library_call((now, THREAD), TlsSessionId(session), kind, (None, bytes)));
            }
            Inside(session, kind, connection) => {
                let id = ConnectionId(connection);
                let direction = if kind == Read { Received } else { Sent };
                found.push(binding.socket_call((now, THREAD), id, (direction, by_library(ENCRYPTED))));
                let session = TlsSessionId(session);
                found.push(binding.library_call((now + 2, THREAD), session, kind, (Some(now - 1), CLEAR)));
            }
        }
        joins.extend(found.into_iter().flatten().map(|joined| (joined.session.0, joined.connection.0)));
    }
    joins
}

#[test]
fn a_socket_call_inside_is_proof() {
    assert_eq!(joins(&[Inside(1, Write, 7), Inside(2, Read, 8)]), [(1, 7), (2, 8)]);
}

/// The library sends each record by itself; what else it sends in between counts.
#[test]
fn what_the_kernel_encrypts_is_as_large_as_the_clear_text() {
    assert_eq!(joins(&[Kernel(7, Sent, CLEAR), Behind(1, Write, CLEAR)]), [(1, 7)]);
    let records = [Kernel(7, Sent, 16_384), Kernel(7, Sent, 16), Behind(1, Write, 16_400)];
    assert_eq!(joins(&records), [(1, 7)]);
    for bytes in [CLEAR - 1, CLEAR + 1] {
        assert_eq!(joins(&[Kernel(7, Sent, bytes), Behind(1, Write, CLEAR)]), []);
    }
    assert_eq!(joins(&[Sized(7, Sent, CLEAR), Behind(1, Write, CLEAR)]), []);
    assert_eq!(joins(&[Kernel(7, Sent, 2), Kernel(7, Sent, CLEAR), Behind(1, Write, CLEAR)]), []);
    // Two connections, two answers each.
    let steps = [
        Kernel(7, Received, CLEAR),
        Behind(1, Read, CLEAR),
        Kernel(7, Sent, CLEAR),
        Behind(1, Write, CLEAR),
        Kernel(8, Received, CLEAR),
        Behind(2, Read, CLEAR),
        Kernel(8, Sent, CLEAR),
        Behind(2, Write, CLEAR),
    ];
    assert_eq!(joins(&steps), [(1, 7), (2, 8)]);
}

#[test]
fn what_the_library_must_have_sent_is_proof() {
    assert_eq!(joins(&[Socket(7, Sent), Behind(1, Write, CLEAR)]), [(1, 7)]);
    // More than it makes of that; in two records.
    assert_eq!(joins(&[Socket(7, Sent), Socket(7, Sent), Behind(1, Write, CLEAR)]), []);
    assert_eq!(joins(&[Sized(7, Sent, 16_406), Sized(7, Sent, 122), Behind(1, Write, 16_484)]), [(1, 7)]);
    // What was received tells less: it may have lain in the library.
    let read = [Socket(7, Received), Behind(1, Read, CLEAR)];
    assert_eq!(joins(&[read, read].concat()), []);
    assert_eq!(joins(&[&read[..], &[Socket(7, Sent), Behind(1, Write, CLEAR)]].concat()), [(1, 7)]);
    // A read on another connection found nothing, of which nobody tells.
    assert_eq!(joins(&[Socket(8, Received), Socket(7, Sent), Behind(1, Write, CLEAR)]), [(1, 7)]);
}

#[test]
fn what_was_received_for_a_read_that_found_nothing_is_no_proof() {
    // Part of a record came on 7, whose object is 1; object 2 goes on with what it had before.
    let other = [Socket(7, Received), Library(2, Read)];
    let mut steps = [other, other, other].concat();
    assert_eq!(joins(&steps), []);
    for _ in 0..2 {
        steps.extend([Library(2, Write), Socket(8, Sent)]);
    }
    steps.extend([Socket(7, Received), Library(1, Read), Library(1, Write), Socket(7, Sent)]);
    assert_eq!(joins(&steps), [(2, 8), (1, 7)]);
}

#[test]
fn what_others_sent_before_the_library_is_no_proof() {
    // Another object's clear text, sent by the process, lies before the call.
    let both = [Moves(2, Write, CLEAR), Socket(8, Sent), Socket(7, Sent), Behind(1, Write, CLEAR)];
    assert_eq!(joins(&both), []);
    // Of another size.
    assert_eq!(joins(&[Sized(8, Sent, 900), Behind(1, Write, CLEAR)]), []);
    // Before an earlier call.
    assert_eq!(joins(&[Socket(8, Sent), Behind(2, Read, CLEAR), Behind(1, Write, CLEAR)]), []);
    // And what is sent afterwards is not this object's.
    let later = [Behind(1, Write, CLEAR), Socket(8, Sent), Behind(2, Read, CLEAR)];
    assert_eq!(joins(&[later, later].concat()), []);
}

#[test]
fn a_handshake_over_memory_joins_before_the_first_clear_text() {
    let server = [Socket(7, Received), Library(1, Handshake), Socket(7, Sent)];
    assert_eq!(joins(&server), [(1, 7)]);
    let client = [Library(1, Handshake), Socket(7, Sent), Socket(7, Received), Library(1, Handshake)];
    assert_eq!(joins(&client), [(1, 7)]);
}

#[test]
fn joined_midway_two_steps_that_agree_are_needed() {
    let steps = [Socket(7, Received), Library(1, Read), Library(1, Write), Socket(7, Sent)];
    assert_eq!(joins(&steps[..3]), []);
    assert_eq!(joins(&steps), [(1, 7)]);
}

#[test]
fn interleaved_connections_are_not_mixed() {
    // Both have received before either object is asked: nobody knows which is whose.
    let blurred = [Socket(7, Received), Socket(8, Received), Library(2, Read), Library(1, Read)];
    let mut steps = [blurred, blurred].concat();
    assert_eq!(joins(&steps), []);
    // The answers go out one by one.
    for _ in 0..2 {
        steps.extend([Library(1, Write), Socket(7, Sent), Library(2, Write), Socket(8, Sent)]);
    }
    assert_eq!(joins(&steps), [(1, 7), (2, 8)]);
}

#[test]
fn a_connection_that_is_taken_is_no_candidate() {
    let steps = [
        Inside(1, Read, 7),
        Socket(7, Received),
        Socket(8, Received),
        Library(2, Read),
        Library(2, Write),
        Socket(8, Sent),
    ];
    assert_eq!(joins(&steps), [(1, 7), (2, 8)]);
}

#[test]
fn contradictions_start_anew() {
    let steps = [Socket(7, Received), Library(1, Read), Socket(8, Received), Library(1, Read)];
    assert_eq!(joins(&steps), []);
    let steps = [&steps[..], &[Library(1, Write), Socket(8, Sent)]].concat();
    assert_eq!(joins(&steps), [(1, 8)]);
}

#[test]
fn sizes_that_do_not_agree_are_no_hint() {
    // What is sent then was left over from before, and is another connection's.
    let other = [Moves(1, Write, 5000), Sized(8, Sent, 900), Moves(1, Write, 5000), Sized(8, Sent, 900)];
    assert_eq!(joins(&other), []);
    let own = [Moves(1, Write, 5000), Sized(7, Sent, 5022), Moves(1, Write, 9), Moves(1, Write, 9)];
    assert_eq!(joins(&[&own[..], &[Sized(7, Sent, 62)]].concat()), [(1, 7)]);
    assert_eq!(joins(&[&other[..], &own, &[Sized(7, Sent, 62)]].concat()), [(1, 7)]);
    let small = [Sized(8, Received, 60), Moves(1, Read, 5000)];
    assert_eq!(joins(&[small, small].concat()), []);
    let large = [Sized(7, Received, 5050), Moves(1, Read, 5000)];
    assert_eq!(joins(&[&large[..], &[Library(1, Write), Socket(7, Sent)]].concat()), [(1, 7)]);
}

#[test]
fn an_object_that_is_given_up_is_forgotten() {
    let steps = [Inside(1, Read, 7), Library(1, Free), Inside(2, Read, 7)];
    assert_eq!(joins(&steps), [(1, 7), (2, 7)]);
    assert_eq!(joins(&[Inside(1, Read, 7), Inside(2, Read, 7)]), [(1, 7)]);
}

#[test]
fn what_is_kept_is_bounded_and_counted() {
    let mut binding = Binding::default();
    let session = TlsSessionId(1);
    binding.library_call((1, THREAD), session, Read, (Some(1), CLEAR));
    let held = |len: usize| Held {
        at_ns: 1,
        thread: THREAD,
        direction: Received,
        position: 0,
        len: len as u64,
        head: vec![0; len],
        tail: Vec::new(),
    };
    binding.hold(session, held(1000));
    assert_eq!(binding.take_held(session).len(), 1);
    binding.hold(session, held(1000));
    binding.hold(session, held(MAX_HELD_BYTES));
    assert_eq!(binding.unbound_bytes, 1000 + MAX_HELD_BYTES as u64);
    binding.hold(session, held(5));
    binding.exit(1);
    assert_eq!(binding.unbound_bytes, 1005 + MAX_HELD_BYTES as u64);
    assert!(binding.sessions.is_empty() && binding.threads.is_empty());
}
