//! The Rust side of `bpf/abi.h`: the same structs, the same numbers.
//!
//! `cargo xtask tidy` compares [`LAYOUT`] and [`CONSTANTS`] with the types in the compiled object.
//! Long because the contract stands in one place, as it does in C.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most bytes that are copied from the start of a call.
pub const HEAD_BYTES_MAX: u32 = 8192;
/// Most bytes that are copied from the end of a call.
pub const TAIL_BYTES_MAX: u32 = 16;
/// Longest path of a unix socket (`sockaddr_un.sun_path`).
pub const PATH_BYTES_MAX: u32 = 108;
/// How many processes the short form of the table of watched ones tells apart.
pub const WATCHED_SLOTS: u32 = 8192;
/// No pid: some process with this slot was watched, the table knows.
pub const SLOT_ASK_TABLE: u32 = 0x7fff_ffff;
/// Builds of interpreters that the programs can know, and one place for none.
pub const INTERPRETERS: u32 = 256;
/// Of a `PyThreadState`, read at once.
pub const STATE_WINDOW_BYTES: u32 = 88;

/// Positions count from the connection's first byte.
pub const FLAG_ORIGIN_START: u16 = 1;
/// The path belongs to the peer.
pub const FLAG_PATH_OF_PEER: u16 = 2;

/// Earlier bytes of this direction had to wait in the process: who sends may not be who wrote.
pub const FLAG_DEFERRED: u16 = 4;

/// `enum wish`: record nothing more.
pub const WISH_IGNORE: u8 = 1;
/// `enum wish`: copy calls whole.
pub const WISH_WHOLE: u8 = 2;
/// `enum wish`: record no more bytes; ends, errors and states are recorded.
pub const WISH_IGNORE_DATA: u8 = 3;
/// Most bytes of a call that are copied where calls are copied whole: what the steps of a copy suffice for.
pub const WHOLE_BYTES_MAX: u32 = 1 << 20;

/// `enum record_kind`.
pub const RECORD_SOCKET_CALL: u16 = 1;
/// `enum record_kind`.
pub const RECORD_SOCKET_STATE: u16 = 2;
/// `enum record_kind`.
pub const RECORD_FORK: u16 = 3;
/// `enum record_kind`.
pub const RECORD_EXEC: u16 = 4;
/// `enum record_kind`.
pub const RECORD_EXIT: u16 = 5;

/// `enum record_kind`.
pub const RECORD_TLS_CALL: u16 = 6;

/// In the table of wishes: an object of a TLS library is meant, not a connection.
pub const TLS_WISH: u64 = 1 << 63;

/// `enum tls_site`: a call that reads and gives the length.
pub const TLS_SITE_READ: u64 = 1;
/// `enum tls_site`: a call that reads and tells the length through its fourth argument.
pub const TLS_SITE_READ_EX: u64 = 2;
/// `enum tls_site`: a call that writes and gives the length.
pub const TLS_SITE_WRITE: u64 = 3;
/// `enum tls_site`: a call that writes and tells the length through its fourth argument.
pub const TLS_SITE_WRITE_EX: u64 = 4;
/// `enum tls_site`: a step of the handshake.
pub const TLS_SITE_HANDSHAKE: u64 = 5;
/// `enum tls_site`: behind a call that reads or writes.
pub const TLS_SITE_RETURN: u64 = 6;
/// `enum tls_site`: the library's object is given up.
pub const TLS_SITE_FREE: u64 = 7;

/// `enum tls_call_kind`.
pub const TLS_CALL_READ: u8 = 0;
/// `enum tls_call_kind`.
pub const TLS_CALL_WRITE: u8 = 1;
/// `enum tls_call_kind`.
pub const TLS_CALL_HANDSHAKE: u8 = 2;
/// `enum tls_call_kind`.
pub const TLS_CALL_FREE: u8 = 3;

/// `enum family`.
pub const FAMILY_UNIX: u16 = 1;
/// `enum family`.
pub const FAMILY_INET: u16 = 2;
/// `enum family`.
pub const FAMILY_INET6: u16 = 10;

/// `enum direction`.
pub const DIRECTION_RECEIVED: u8 = 0;
/// `enum direction`.
pub const DIRECTION_SENT: u8 = 1;

/// `enum identity_kind`: the thread; no interpreter is known, or the thread is none of its.
pub const IDENTITY_THREAD: u8 = 0;
/// `enum identity_kind`: the interpreter's memory could not be read.
pub const IDENTITY_UNREADABLE: u8 = 1;
/// `enum identity_kind`: the thread's own context, if it has one.
pub const IDENTITY_BASE: u8 = 2;
/// `enum identity_kind`: a greenlet, by its context.
pub const IDENTITY_GREENLET: u8 = 3;
/// `enum identity_kind`: outside the tasks of an event loop.
pub const IDENTITY_LOOP: u8 = 4;
/// `enum identity_kind`: a context that was entered.
pub const IDENTITY_ENTERED: u8 = 5;

/// Names of `enum counter`, in order; the ones after [`COUNTER_WITHOUT_CONTENT`] follow `enum call`.
pub const COUNTER_NAMES: [&str; 12] = [
    "ring_full",
    "ring_full_bytes",
    "payload_unreadable",
    "segments_unread",
    "connections_full",
    "processes_full",
    "fd_mismatch",
    "compat_call",
    "path_unreadable",
    "ignored_calls",
    "identity_unreadable",
    "tls_sessions_full",
];
/// Where the counters of calls without content begin.
pub const COUNTER_WITHOUT_CONTENT: u32 = 16;
/// Names of `enum call`, in order.
pub const CALL_NAMES: [&str; 12] = [
    "other", "read", "write", "recvfrom", "recvmsg", "recvmmsg", "sendto", "sendmsg", "sendmmsg", "sendfile",
    "splice", "io_uring",
];
/// How many counters there are.
pub const COUNTERS: u32 = COUNTER_WITHOUT_CONTENT + CALL_NAMES.len() as u32;

/// What every record begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RecordHeader {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// Of the whole record, payload included.
    pub size: u32,
    /// `RECORD_*`.
    pub kind: u16,
    /// `FLAG_*`.
    pub flags: u16,
    /// The process.
    pub tgid: u32,
    /// The thread; 0 if none.
    pub tid: u32,
}

/// Both ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Endpoints {
    /// IPv4 in the first four bytes.
    pub local: [u8; 16],
    /// IPv4 in the first four bytes.
    pub remote: [u8; 16],
    /// Host byte order.
    pub local_port: u16,
    /// Host byte order.
    pub remote_port: u16,
    /// The network namespace's inode number.
    pub netns: u32,
    /// `FAMILY_*`.
    pub family: u16,
    /// Zero.
    pub reserved: [u8; 6],
}

/// A socket call; head, tail and path bytes follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SocketCall {
    /// See [`RecordHeader`].
    pub header: RecordHeader,
    /// The connection's id.
    pub connection: u64,
    /// The socket's inode number.
    pub inode: u64,
    /// Bytes before this call in this direction.
    pub position: u64,
    /// Bytes; 0: end of stream; negative: error number.
    pub result: i64,
    /// The address of the Python context; 0: none.
    pub context: u64,
    /// Addresses.
    pub ends: Endpoints,
    /// -1: not known.
    pub fd: i32,
    /// First bytes copied.
    pub head_bytes: u32,
    /// Last bytes copied.
    pub tail_bytes: u16,
    /// Length of the unix path.
    pub path_bytes: u16,
    /// Index in [`CALL_NAMES`].
    pub call: u8,
    /// `DIRECTION_*`.
    pub direction: u8,
    /// `IDENTITY_*`.
    pub identity: u8,
    /// Zero.
    pub reserved: u8,
}

/// A call of a TLS library; head and tail bytes of clear text follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TlsCall {
    /// See [`RecordHeader`]; the time is that of the return.
    pub header: RecordHeader,
    /// The library's object.
    pub session: u64,
    /// When the call began.
    pub entered_ns: u64,
    /// Clear text bytes before this call in this direction.
    pub position: u64,
    /// Clear text bytes; 0: none moved.
    pub bytes: u64,
    /// The context's address, where the kind has one.
    pub context: u64,
    /// First bytes copied.
    pub head_bytes: u32,
    /// Last bytes copied.
    pub tail_bytes: u16,
    /// `TLS_CALL_*`.
    pub call: u8,
    /// `IDENTITY_*`.
    pub identity: u8,
}

/// A change of TCP state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SocketState {
    /// See [`RecordHeader`].
    pub header: RecordHeader,
    /// The connection's id.
    pub connection: u64,
    /// As in [`SocketCall`], of who connects.
    pub context: u64,
    /// Addresses.
    pub ends: Endpoints,
    /// `sk_err`.
    pub error: i32,
    /// `include/net/tcp_states.h`.
    pub old_state: u8,
    /// `include/net/tcp_states.h`.
    pub new_state: u8,
    /// `IDENTITY_*`.
    pub identity: u8,
    /// Zero.
    pub reserved: u8,
}

/// A watched process has a child; the header's process is the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ProcessFork {
    /// See [`RecordHeader`].
    pub header: RecordHeader,
    /// The child's pid.
    pub child: u32,
    /// Zero.
    pub reserved: u32,
}

/// A watched process runs another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ProcessExec {
    /// See [`RecordHeader`].
    pub header: RecordHeader,
}

/// A watched process is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ProcessExit {
    /// See [`RecordHeader`].
    pub header: RecordHeader,
    /// As `wait(2)` gives it.
    pub status: i32,
    /// Zero.
    pub reserved: u32,
}

/// Where a process's interpreter keeps what its threads are running. Offsets in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Interpreter {
    /// From the thread pointer to the pointer to the thread's `PyThreadState`.
    pub slot: u32,
    /// In a `PyThreadState`: the pointer to the current context.
    pub context: u16,
    /// In a context: an int, not 0 if it was entered.
    pub entered: u16,
    /// `IDENTITY_*` of threads that have entered no context.
    pub outside: u32,
    /// In a `PyThreadState`, at most [`STATE_WINDOW_BYTES`] less eight before `context`: what `pthread_self` gives there.
    pub thread: u16,
    /// In a context: the pointer to the one that is returned to.
    pub previous: u16,
}

/// What the programs are told before they are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ProbeConfig {
    /// Never watched.
    pub own_tgid: u32,
    /// Copied of each call.
    pub head_bytes: u32,
    /// Unread bytes in the ring that wake the reader.
    pub wake_bytes: u32,
    /// 1: connection state hangs on the socket.
    pub use_socket_storage: u32,
    /// Copied of each call where calls are copied whole.
    pub whole_bytes: u32,
    /// 1: that of TCP connections stands in slots first.
    pub use_slots: u32,
    /// How many records, less one, ask once how full the ring is: a power of two, less one.
    pub ask_mask: u32,
    /// Zero.
    pub reserved: u32,
}

/// A struct's shape, for the comparison with the C side.
#[derive(Debug, Clone, Copy)]
pub struct StructLayout {
    /// The C struct's tag.
    pub name: &'static str,
    /// Its size.
    pub size_bytes: usize,
    /// Name, offset and size of each field, in bytes.
    pub fields: &'static [(&'static str, usize, usize)],
}

macro_rules! layout {
    ($tag:literal, $type:ident { $($field:ident: $kind:ty),+ $(,)? }) => {
        StructLayout {
            name: $tag,
            size_bytes: size_of::<$type>(),
            fields: &[$((stringify!($field), std::mem::offset_of!($type, $field), size_of::<$kind>())),+],
        }
    };
}

/// Every struct of the contract.
pub const LAYOUT: &[StructLayout] = &[
    layout!(
        "record_header",
        RecordHeader { at_ns: u64, size: u32, kind: u16, flags: u16, tgid: u32, tid: u32 }
    ),
    layout!(
        "endpoints",
        Endpoints {
            local: [u8; 16],
            remote: [u8; 16],
            local_port: u16,
            remote_port: u16,
            netns: u32,
            family: u16,
            reserved: [u8; 6]
        }
    ),
    layout!(
        "socket_call",
        SocketCall {
            header: RecordHeader,
            connection: u64,
            inode: u64,
            position: u64,
            result: i64,
            context: u64,
            ends: Endpoints,
            fd: i32,
            head_bytes: u32,
            tail_bytes: u16,
            path_bytes: u16,
            call: u8,
            direction: u8,
            identity: u8,
            reserved: u8
        }
    ),
    layout!(
        "tls_call",
        TlsCall {
            header: RecordHeader,
            session: u64,
            entered_ns: u64,
            position: u64,
            bytes: u64,
            context: u64,
            head_bytes: u32,
            tail_bytes: u16,
            call: u8,
            identity: u8
        }
    ),
    layout!(
        "socket_state",
        SocketState {
            header: RecordHeader,
            connection: u64,
            context: u64,
            ends: Endpoints,
            error: i32,
            old_state: u8,
            new_state: u8,
            identity: u8,
            reserved: u8
        }
    ),
    layout!("process_fork", ProcessFork { header: RecordHeader, child: u32, reserved: u32 }),
    layout!("process_exec", ProcessExec { header: RecordHeader }),
    layout!("process_exit", ProcessExit { header: RecordHeader, status: i32, reserved: u32 }),
    layout!(
        "interpreter",
        Interpreter { slot: u32, context: u16, entered: u16, outside: u32, thread: u16, previous: u16 }
    ),
    layout!(
        "probe_config",
        ProbeConfig {
            own_tgid: u32,
            head_bytes: u32,
            wake_bytes: u32,
            use_socket_storage: u32,
            whole_bytes: u32,
            use_slots: u32,
            ask_mask: u32,
            reserved: u32
        }
    ),
];

/// Every number of the contract, under its C name.
pub const CONSTANTS: &[(&str, u64)] = &[
    ("HEAD_BYTES_MAX", HEAD_BYTES_MAX as u64),
    ("TAIL_BYTES_MAX", TAIL_BYTES_MAX as u64),
    ("PATH_BYTES_MAX", PATH_BYTES_MAX as u64),
    ("WATCHED_SLOTS", WATCHED_SLOTS as u64),
    ("SLOT_ASK_TABLE", SLOT_ASK_TABLE as u64),
    ("INTERPRETERS", INTERPRETERS as u64),
    ("STATE_WINDOW_BYTES", STATE_WINDOW_BYTES as u64),
    ("FLAG_ORIGIN_START", FLAG_ORIGIN_START as u64),
    ("FLAG_PATH_OF_PEER", FLAG_PATH_OF_PEER as u64),
    ("FLAG_DEFERRED", FLAG_DEFERRED as u64),
    ("WISH_IGNORE", WISH_IGNORE as u64),
    ("WISH_WHOLE", WISH_WHOLE as u64),
    ("WISH_IGNORE_DATA", WISH_IGNORE_DATA as u64),
    ("IDENTITY_THREAD", IDENTITY_THREAD as u64),
    ("IDENTITY_UNREADABLE", IDENTITY_UNREADABLE as u64),
    ("IDENTITY_BASE", IDENTITY_BASE as u64),
    ("IDENTITY_GREENLET", IDENTITY_GREENLET as u64),
    ("IDENTITY_LOOP", IDENTITY_LOOP as u64),
    ("IDENTITY_ENTERED", IDENTITY_ENTERED as u64),
    ("RECORD_SOCKET_CALL", RECORD_SOCKET_CALL as u64),
    ("RECORD_SOCKET_STATE", RECORD_SOCKET_STATE as u64),
    ("RECORD_FORK", RECORD_FORK as u64),
    ("RECORD_EXEC", RECORD_EXEC as u64),
    ("RECORD_EXIT", RECORD_EXIT as u64),
    ("RECORD_TLS_CALL", RECORD_TLS_CALL as u64),
    ("TLS_SITE_READ", TLS_SITE_READ),
    ("TLS_SITE_READ_EX", TLS_SITE_READ_EX),
    ("TLS_SITE_WRITE", TLS_SITE_WRITE),
    ("TLS_SITE_WRITE_EX", TLS_SITE_WRITE_EX),
    ("TLS_SITE_HANDSHAKE", TLS_SITE_HANDSHAKE),
    ("TLS_SITE_RETURN", TLS_SITE_RETURN),
    ("TLS_SITE_FREE", TLS_SITE_FREE),
    ("TLS_CALL_READ", TLS_CALL_READ as u64),
    ("TLS_CALL_WRITE", TLS_CALL_WRITE as u64),
    ("TLS_CALL_HANDSHAKE", TLS_CALL_HANDSHAKE as u64),
    ("TLS_CALL_FREE", TLS_CALL_FREE as u64),
    ("FAMILY_UNIX", FAMILY_UNIX as u64),
    ("FAMILY_INET", FAMILY_INET as u64),
    ("FAMILY_INET6", FAMILY_INET6 as u64),
    ("DIRECTION_RECEIVED", DIRECTION_RECEIVED as u64),
    ("DIRECTION_SENT", DIRECTION_SENT as u64),
    ("COUNTER_WITHOUT_CONTENT", COUNTER_WITHOUT_CONTENT as u64),
    ("COUNTERS", COUNTERS as u64),
    ("CALL_KINDS", CALL_NAMES.len() as u64),
    ("COUNTER_TLS_SESSIONS_FULL", COUNTER_NAMES.len() as u64 - 1),
];
