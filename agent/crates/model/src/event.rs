//! What a source saw: one value for the kernel ring, a recorded file and any later source alike.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Address, Exceptions, Identity, Process, Routes, Timing};

/// One thing that happened in a watched process.
///
/// Times are nanoseconds of `CLOCK_MONOTONIC`, taken in the kernel when the thing happened.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// When, in nanoseconds of the monotonic clock.
    pub at_ns: u64,
    /// The process (thread group id), as the initial pid namespace numbers it.
    pub pid: u32,
    /// The thread. 0 where the event came from no thread of the process (a packet's arrival, an exit).
    pub tid: u32,
    /// What happened.
    pub body: Body<'a>,
}

/// The kinds of event.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    /// A socket call returned. At most one event for one call.
    SocketCall(SocketCall<'a>),
    /// A call of a TLS library returned.
    TlsCall(TlsCall<'a>),
    /// A TCP connection changed its state, or any watched connection was closed.
    SocketState(SocketState),
    /// The process has a new child.
    Fork {
        /// The child's pid.
        child: u32,
    },
    /// The thread has started another one.
    ThreadStarted(ThreadStarted),
    /// The thread is gone, and others of its process are not.
    ThreadEnded,
    /// The process now runs another program.
    Exec,
    /// The last thread of the process is gone.
    Exit {
        /// The exit code as `wait(2)` gives it.
        status: i32,
    },
    /// What was raised where the next answer on a connection comes from. Precedes the answer.
    Exceptions(Exceptions),
    /// A context of Python was copied.
    ContextCopied(ContextCopied),
    /// Bytes were left to an event loop that sends them later.
    Written(Written),
    /// Every copy of a context of the process is told from this time on, in nanoseconds of the monotonic clock; `None`: not
    /// any more. What was known of copies before, and earlier ones that still come, mean nothing.
    CopiesSeen(Option<u64>),
    /// The process has collected garbage.
    Collected(Collected),
    /// Every collection of the process that begins from this time on is told; `None`: not any more.
    CollectionsSeen(Option<u64>),
    /// The agent found out (again) which routes the app of the process has.
    Routes(Arc<Routes>),
    /// The agent found out (again) what the process is. Precedes every other event of that process.
    Process(Arc<Process>),
}

/// A new thread of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadStarted {
    /// Its id.
    pub child: u32,
    /// What has started it.
    pub by: Identity,
}

/// A new `contextvars.Context`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextCopied {
    /// Its address.
    pub context: u64,
    /// What made it.
    pub copied_in: Identity,
}

/// Bytes that are sent later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Where they will be sent.
    pub fd: i32,
    /// What has written them.
    pub by: Identity,
}

/// A collection of garbage that has ended: no code of the process ran in its interpreter meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    /// When it began.
    pub begun_ns: u64,
    /// Counts those of the process: one that is missing was not told.
    pub number: u64,
}

/// A connection's identity: unique as long as the probe runs, never used again, whatever fds it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectionId(pub u64);

/// Which way bytes went, seen from the watched process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The process read them.
    Received,
    /// The process wrote them.
    Sent,
}

/// Whether the probe saw the connection's very first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Positions count from the first byte of the connection.
    Start,
    /// Bytes may have passed before the probe looked.
    Midway,
}

/// The system call that moved the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Syscall {
    /// `read`, `readv`, `preadv2`.
    Read,
    /// `write`, `writev`, `pwritev2`.
    Write,
    /// `recvfrom`.
    Recvfrom,
    /// `recvmsg`.
    Recvmsg,
    /// `recvmmsg`.
    Recvmmsg,
    /// `sendto`.
    Sendto,
    /// `sendmsg`.
    Sendmsg,
    /// `sendmmsg`.
    Sendmmsg,
    /// `sendfile`: length only.
    Sendfile,
    /// `splice`: length only.
    Splice,
    /// `io_uring`: length only.
    IoUring,
    /// Anything else: length only.
    Other,
}

/// One call that read from or wrote to a stream socket.
#[derive(Debug, Clone)]
pub struct SocketCall<'a> {
    /// The connection.
    pub connection: ConnectionId,
    /// The socket's inode number, as `/proc/PID/fd` shows it: `socket:[inode]`.
    pub inode: u64,
    /// The file descriptor in the process, where the call names one.
    pub fd: Option<i32>,
    /// Which way.
    pub direction: Direction,
    /// Whether positions count from the connection's first byte.
    pub origin: Origin,
    /// The process's own end.
    pub local: Address,
    /// The other end.
    pub peer: Address,
    /// The network namespace's inode number.
    pub netns: u32,
    /// The call.
    pub syscall: Syscall,
    /// How many bytes went this way on this connection before this call, since the probe first saw it.
    /// A step between the end of one call and the position of the next is a loss of that many bytes.
    pub position: u64,
    /// What came of it.
    pub outcome: Outcome<'a>,
    /// What made it, where the process's interpreter tells.
    pub identity: Identity,
    /// The times around it.
    pub timing: Timing,
    /// The kernel may have encrypted or decrypted these bytes of a TLS connection (KTLS): then they are in the clear.
    pub kernel_tls: bool,
    /// The source would copy less of such calls, if it were told where a frame of HTTP/2 begins.
    pub asks_frame: bool,
}

/// An object of a TLS library that stands for one connection: unique as long as the probe runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TlsSessionId(pub u64);

/// What a call of a TLS library is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsCallKind {
    /// It reads clear text.
    Read,
    /// It writes clear text.
    Write,
    /// It takes a step of the handshake. The event stands at its beginning.
    Handshake,
    /// It says that it sends no more, before the peer has said so.
    Close,
    /// The same after the peer has.
    CloseBack,
    /// It gives the object up.
    Free,
    /// None: the object is about to move its first clear text, and the payload names the protocol that the handshake has
    /// agreed on.
    Agreed,
}

/// A call of a TLS library. Which connection it is about shows by the calls of the same thread around it.
#[derive(Debug, Clone)]
pub struct TlsCall<'a> {
    /// The object.
    pub session: TlsSessionId,
    /// What for.
    pub kind: TlsCallKind,
    /// When it began; the event's time is that of its return. `None`: not seen, and the library moved the encrypted
    /// bytes by itself.
    pub entered_ns: Option<u64>,
    /// What the call belongs to.
    pub identity: Identity,
    /// Clear text bytes before this call in this direction, since the probe first saw the object.
    pub position: u64,
    /// The clear text that it moved, if any.
    pub payload: Option<Payload<'a>>,
    /// See [`SocketCall::asks_frame`].
    pub asks_frame: bool,
}

/// What a socket call gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Bytes passed.
    Bytes(Payload<'a>),
    /// A read found the end of the stream: the peer has closed its sending side.
    EndOfStream,
    /// The call failed for good (never `EAGAIN`, `EINTR` or their like).
    Failed {
        /// The error number, positive.
        errno: i32,
    },
}

/// The bytes of one call, or what was copied of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    /// How many bytes passed. Never 0.
    pub len: u64,
    /// The first bytes. May be fewer than `len`, or none.
    pub head: &'a [u8],
    /// The last bytes, where `head` does not reach the end. Never overlaps `head`.
    pub tail: &'a [u8],
}

/// Kernel states of a TCP socket, numbered as in `include/net/tcp_states.h`; unix sockets use `Close` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TcpState {
    /// Data can flow both ways.
    Established = 1,
    /// `connect` has been called.
    SynSent = 2,
    /// A listener has seen a SYN.
    SynRecv = 3,
    /// This side has closed.
    FinWait1 = 4,
    /// This side has closed and the peer knows.
    FinWait2 = 5,
    /// Both closed, waiting for stray packets.
    TimeWait = 6,
    /// The connection is gone.
    Close = 7,
    /// The peer has closed its sending side.
    CloseWait = 8,
    /// The peer closed first, now this side has too.
    LastAck = 9,
    /// Accepts connections.
    Listen = 10,
    /// Both closed at once.
    Closing = 11,
}

/// A connection changed its state.
#[derive(Debug, Clone)]
pub struct SocketState {
    /// The connection.
    pub connection: ConnectionId,
    /// The process's own end.
    pub local: Address,
    /// The other end.
    pub peer: Address,
    /// The network namespace's inode number.
    pub netns: u32,
    /// The state it left.
    pub old: TcpState,
    /// The state it has now.
    pub new: TcpState,
    /// The socket's error (`sk_err`), positive; 0 if none.
    pub errno: i32,
    /// What connects, where the process's interpreter tells; else its thread.
    pub identity: Identity,
    /// The bytes that the process has sent so far, heard of or not, counted as [`SocketCall::position`] counts; 0: not known.
    pub sent: u64,
}
