//! From the kernel's records to events.
//!
//! Invariant: total. What a record cannot tell becomes `None` or `Unknown`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ebpf::abi::{self, Endpoints, SocketCall, TlsCall};
use ebpf::record::Record;
use model::{
    Address, Blur, Body, Collected, ConnectionId, ContextCopied, Direction, Event, Identity, Origin, Outcome,
    Payload, SocketState, Syscall, TcpState, ThreadStarted, Timing, TlsCallKind, TlsSessionId, Waited,
    Written,
};

/// Turns a record into an event. `None`: a state or a kind of call that this version does not know.
pub fn decode<'a>(record: &Record<'a>) -> Option<Event<'a>> {
    let (header, body) = match record {
        Record::SocketCall { call, head, tail, path } => {
            (call.header, Body::SocketCall(socket_call(call, head, tail, path)))
        }
        Record::TlsCall { call, head, tail } => (call.header, Body::TlsCall(tls_call(call, head, tail)?)),
        Record::SocketState(state) => {
            let new = tcp_state(state.new_state)?;
            let opens = new == TcpState::SynSent;
            let body = SocketState {
                connection: ConnectionId(state.connection),
                local: address(&state.ends, state.ends.local, state.ends.local_port),
                peer: address(&state.ends, state.ends.remote, state.ends.remote_port),
                netns: state.ends.netns,
                old: tcp_state(state.old_state)?,
                new,
                errno: state.error.saturating_abs(),
                identity: identity(state.identity, state.context_or_sent),
                sent: if opens { 0 } else { state.context_or_sent },
            };
            (state.header, Body::SocketState(body))
        }
        Record::Fork(fork) => (fork.header, Body::Fork { child: fork.child }),
        Record::ThreadStart(start) => {
            let body = ThreadStarted { child: start.child, by: wide_identity(start.identity, start.context) };
            (start.header, Body::ThreadStarted(body))
        }
        Record::ThreadEnd(end) => (end.header, Body::ThreadEnded),
        Record::ContextCopy(copy) => {
            let copied_in = wide_identity(copy.identity, copy.copied_in);
            (copy.header, Body::ContextCopied(ContextCopied { context: copy.context, copied_in }))
        }
        Record::StreamWrite(write) => {
            let by = wide_identity(write.identity, write.context);
            (write.header, Body::Written(Written { fd: write.fd, by }))
        }
        Record::Collection(collection) => {
            let body = Collected { begun_ns: collection.begun_ns, number: collection.number };
            (collection.header, Body::Collected(body))
        }
        Record::Exec(exec) => (exec.header, Body::Exec),
        // In addresses: the pipeline has them put into words first.
        Record::Exceptions { .. } => return None,
        Record::Exit(exit) => (exit.header, Body::Exit { status: exit.status }),
    };
    Some(Event { at_ns: header.at_ns, pid: header.tgid, tid: header.tid, body })
}

fn socket_call<'a>(call: &SocketCall, head: &'a [u8], tail: &'a [u8], path: &[u8]) -> model::SocketCall<'a> {
    let mut local = address(&call.ends, call.ends.local, call.ends.local_port);
    let mut peer = address(&call.ends, call.ends.remote, call.ends.remote_port);
    if let Some(path) = unix_path(path) {
        let bound = if call.header.flags & abi::FLAG_PATH_OF_PEER == 0 { &mut local } else { &mut peer };
        *bound = Address::Unix(Some(path.into()));
    }
    let outcome = match call.result {
        0 => Outcome::EndOfStream,
        bytes @ 1.. => Outcome::Bytes(Payload { len: bytes.cast_unsigned(), head, tail }),
        error => Outcome::Failed { errno: i32::try_from(error.saturating_neg()).unwrap_or(i32::MAX) },
    };
    model::SocketCall {
        connection: ConnectionId(call.connection),
        inode: call.inode,
        fd: (call.fd >= 0).then_some(call.fd),
        direction: if call.direction == abi::DIRECTION_SENT { Direction::Sent } else { Direction::Received },
        origin: if call.header.flags & abi::FLAG_ORIGIN_START == 0 { Origin::Midway } else { Origin::Start },
        local,
        peer,
        netns: call.ends.netns,
        syscall: syscall(call.call),
        position: call.position,
        outcome,
        identity: match identity(call.identity, call.context) {
            _ if sends_later(call) => Identity::Unknown(Blur::Deferred),
            // A greenlet sends itself what had to wait; a task leaves it to the loop.
            Identity::Task(_) if call.header.flags & abi::FLAG_DEFERRED != 0 => {
                Identity::Unknown(Blur::Deferred)
            }
            identity => identity,
        },
        timing: timing(call),
        kernel_tls: call.header.flags & abi::FLAG_KERNEL_TLS != 0,
        asks_frame: call.header.flags & abi::FLAG_ASKS_FRAME != 0,
    }
}

/// What uvloop sends later it writes as to any file (`UVStream._try_write` in its handles/stream.pyx, `uv__try_write` in libuv's
/// src/unix/stream.c); Python's own sockets have calls of theirs.
fn sends_later(call: &SocketCall) -> bool {
    matches!(call.identity, abi::IDENTITY_DEFERRED | abi::IDENTITY_ENTERED_LATER)
        && call.direction == abi::DIRECTION_SENT
        && syscall(call.call) == Syscall::Write
}

/// A wait of less than two ticks may be none at all.
fn timing(call: &SocketCall) -> Timing {
    let (ticks, tick_us) = (u64::from(call.arrival_ticks), u64::from(call.tick_us));
    let waited = match call.first_arrival_us {
        0 if tick_us > 0 && ticks > 1 => {
            let step_ns = tick_us * 1000;
            Some(Waited { for_ns: ticks.saturating_mul(step_ns), step_ns })
        }
        0 => None,
        first_us => {
            let for_ns = call.header.at_ns.saturating_sub(first_us.saturating_mul(1000));
            Some(Waited { for_ns, step_ns: 1000 })
        }
    };
    Timing { ran_ns: (call.ran_ns != 0).then_some(call.ran_ns), waited, written_ns: None }
}

fn wide_identity(kind: u32, context: u64) -> Identity {
    identity(u8::try_from(kind).unwrap_or(abi::IDENTITY_UNREADABLE), context)
}

fn identity(kind: u8, context: u64) -> Identity {
    match (kind, context) {
        (abi::IDENTITY_UNREADABLE, _) => Identity::Unknown(Blur::Unreadable),
        (abi::IDENTITY_BASE, context) => Identity::Base(context),
        (abi::IDENTITY_GREENLET, 0) => Identity::Unknown(Blur::Greenlet),
        (abi::IDENTITY_GREENLET, context) => Identity::Greenlet(context),
        (abi::IDENTITY_LOOP | abi::IDENTITY_DEFERRED, _) => Identity::Unknown(Blur::Loop),
        (abi::IDENTITY_UNSEEN, _) => Identity::Unknown(Blur::Unseen),
        (abi::IDENTITY_ENTERED | abi::IDENTITY_ENTERED_LATER, context) => Identity::Task(context),
        _ => Identity::Thread,
    }
}

fn tls_call<'a>(call: &TlsCall, head: &'a [u8], tail: &'a [u8]) -> Option<model::TlsCall<'a>> {
    let kind = match call.call {
        abi::TLS_CALL_READ => TlsCallKind::Read,
        abi::TLS_CALL_WRITE => TlsCallKind::Write,
        abi::TLS_CALL_HANDSHAKE => TlsCallKind::Handshake,
        abi::TLS_CALL_FREE => TlsCallKind::Free,
        abi::TLS_CALL_CLOSE => TlsCallKind::Close,
        abi::TLS_CALL_CLOSE_BACK => TlsCallKind::CloseBack,
        abi::TLS_CALL_AGREED => TlsCallKind::Agreed,
        _ => return None,
    };
    Some(model::TlsCall {
        session: TlsSessionId(call.session),
        kind,
        entered_ns: (call.entered_ns > 0).then_some(call.entered_ns),
        identity: identity(call.identity, call.context),
        position: call.position,
        payload: (call.bytes > 0).then_some(Payload { len: call.bytes, head, tail }),
        asks_frame: call.header.flags & abi::FLAG_ASKS_FRAME != 0,
    })
}

fn address(ends: &Endpoints, octets: [u8; 16], port: u16) -> Address {
    match ends.family {
        abi::FAMILY_INET => {
            let ip = Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]);
            Address::Ip(SocketAddr::new(IpAddr::V4(ip), port))
        }
        abi::FAMILY_INET6 => Address::from_ipv6(octets, port),
        abi::FAMILY_UNIX => Address::Unix(None),
        _ => Address::Unknown,
    }
}

/// A path ends at its first zero; an abstract name begins with one and may hold anything.
fn unix_path(bytes: &[u8]) -> Option<String> {
    match bytes {
        [] => None,
        [0, name @ ..] => Some(format!("@{}", String::from_utf8_lossy(name))),
        path => {
            let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
            Some(String::from_utf8_lossy(&path[..end]).into_owned())
        }
    }
}

fn syscall(call: u8) -> Syscall {
    // In the order of `enum call` in abi.h.
    const CALLS: [Syscall; abi::CALL_NAMES.len()] = [
        Syscall::Other,
        Syscall::Read,
        Syscall::Write,
        Syscall::Recvfrom,
        Syscall::Recvmsg,
        Syscall::Recvmmsg,
        Syscall::Sendto,
        Syscall::Sendmsg,
        Syscall::Sendmmsg,
        Syscall::Sendfile,
        Syscall::Splice,
        Syscall::IoUring,
    ];
    CALLS.get(usize::from(call)).copied().unwrap_or(Syscall::Other)
}

fn tcp_state(number: u8) -> Option<TcpState> {
    use TcpState as S;
    let known = [
        S::Established,
        S::SynSent,
        S::SynRecv,
        S::FinWait1,
        S::FinWait2,
        S::TimeWait,
        S::Close,
        S::CloseWait,
        S::LastAck,
        S::Listen,
        S::Closing,
    ];
    known.into_iter().find(|state| *state as u8 == number)
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    fn call(change: impl FnOnce(&mut SocketCall)) -> SocketCall {
        let mut call = SocketCall::new_zeroed();
        call.ends.family = abi::FAMILY_INET;
        call.ends.local[..4].copy_from_slice(&[127, 0, 0, 1]);
        call.ends.local_port = 80;
        change(&mut call);
        call
    }

    #[test]
    fn results_become_outcomes() {
        for (result, want) in [
            (5, Outcome::Bytes(Payload { len: 5, head: b"he", tail: b"t" })),
            (0, Outcome::EndOfStream),
            (-104, Outcome::Failed { errno: 104 }),
            (i64::MIN, Outcome::Failed { errno: i32::MAX }),
        ] {
            assert_eq!(socket_call(&call(|c| c.result = result), b"he", b"t", b"").outcome, want);
        }
    }

    #[test]
    fn addresses_and_paths_are_told() {
        let tcp = socket_call(&call(|_| ()), b"", b"", b"");
        assert_eq!(tcp.local.to_string(), "127.0.0.1:80");
        let unix = |flags, path: &[u8]| {
            let call = call(|c| {
                c.ends.family = abi::FAMILY_UNIX;
                c.header.flags = flags;
            });
            let event = socket_call(&call, b"", b"", path);
            (event.local.to_string(), event.peer.to_string())
        };
        assert_eq!(unix(0, b"/run/a.sock\0junk"), ("unix:/run/a.sock".into(), "unix:".into()));
        assert_eq!(unix(abi::FLAG_PATH_OF_PEER, b"\0name"), ("unix:".into(), "unix:@name".into()));
        assert_eq!(unix(0, b""), ("unix:".into(), "unix:".into()));
    }

    #[test]
    fn who_sent_late_is_not_who_wrote() {
        let of = |kind, context, flags| {
            let call = call(|c| (c.identity, c.context, c.header.flags) = (kind, context, flags));
            socket_call(&call, b"", b"", b"").identity
        };
        assert_eq!(of(abi::IDENTITY_ENTERED, 7, 0), Identity::Task(7));
        assert_eq!(of(abi::IDENTITY_ENTERED, 7, abi::FLAG_DEFERRED), Identity::Unknown(Blur::Deferred));
        assert_eq!(of(abi::IDENTITY_GREENLET, 7, abi::FLAG_DEFERRED), Identity::Greenlet(7));
        assert_eq!(of(abi::IDENTITY_GREENLET, 0, 0), Identity::Unknown(Blur::Greenlet));
        assert_eq!(of(abi::IDENTITY_BASE, 0, 0), Identity::Base(0));
        assert_eq!(of(abi::IDENTITY_LOOP, 7, 0), Identity::Unknown(Blur::Loop));
        assert_eq!(of(abi::IDENTITY_DEFERRED, 0, 0), Identity::Unknown(Blur::Loop));
        let later = |kind, name: &str, direction| {
            let number = abi::CALL_NAMES.iter().position(|known| *known == name).unwrap();
            let number = u8::try_from(number).unwrap();
            let call = call(|c| (c.identity, c.context, c.call, c.direction) = (kind, 7, number, direction));
            socket_call(&call, b"", b"", b"").identity
        };
        let (entered, outside) = (abi::IDENTITY_ENTERED_LATER, abi::IDENTITY_DEFERRED);
        for (kind, name, direction, expected) in [
            (entered, "write", abi::DIRECTION_SENT, Identity::Unknown(Blur::Deferred)),
            (entered, "sendto", abi::DIRECTION_SENT, Identity::Task(7)),
            (entered, "read", abi::DIRECTION_RECEIVED, Identity::Task(7)),
            (outside, "write", abi::DIRECTION_SENT, Identity::Unknown(Blur::Deferred)),
            (outside, "sendto", abi::DIRECTION_SENT, Identity::Unknown(Blur::Loop)),
            (outside, "read", abi::DIRECTION_RECEIVED, Identity::Unknown(Blur::Loop)),
        ] {
            assert_eq!(later(kind, name, direction), expected, "{kind} {name}");
        }
        assert_eq!(of(abi::IDENTITY_THREAD, 7, 0), Identity::Thread);
        assert_eq!(of(99, 7, 0), Identity::Thread);
    }

    #[test]
    fn a_wait_is_told_as_exactly_as_it_is_known() {
        let of = |first_arrival_us, arrival_ticks, tick_us| {
            let call = call(|c| {
                c.header.at_ns = 7_000_000;
                (c.first_arrival_us, c.arrival_ticks, c.tick_us) = (first_arrival_us, arrival_ticks, tick_us);
            });
            timing(&call).waited.map(|waited| (waited.for_ns, waited.step_ns))
        };
        assert_eq!(of(6_500, 9, 4000), Some((500_000, 1000)));
        assert_eq!(of(8_000, 0, 4000), Some((0, 1000)));
        assert_eq!(of(u64::MAX, 0, 0), Some((0, 1000)));
        assert_eq!(of(0, 2, 4000), Some((8_000_000, 4_000_000)));
        assert_eq!(of(0, u32::MAX, u32::MAX).map(|(_, step_ns)| step_ns), Some(4_294_967_295_000));
        for (ticks, tick_us) in [(1, 4000), (0, 4000), (50, 0)] {
            assert_eq!(of(0, ticks, tick_us), None);
        }
        assert_eq!(timing(&call(|c| c.ran_ns = 5)).ran_ns, Some(5));
        assert_eq!(timing(&call(|_| {})).ran_ns, None);
    }

    #[test]
    fn unknown_numbers_are_said_to_be_unknown() {
        let odd = socket_call(&call(|c| (c.call, c.ends.family, c.fd) = (200, 77, -1)), b"", b"", b"");
        assert_eq!((odd.syscall, odd.local, odd.fd), (Syscall::Other, Address::Unknown, None));
        assert_eq!(tcp_state(12), None);
        assert_eq!(tcp_state(8), Some(TcpState::CloseWait));
    }
}
