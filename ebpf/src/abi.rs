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
/// What a record takes in the ring is so many bytes, or a multiple.
pub const RING_LINE_BYTES: u32 = 64;
/// Behind the ring's end, so that no record has to wrap.
pub const RING_BEYOND_BYTES: u32 = 32_768;
/// Of a tag (see [`RingHead`]).
pub const RING_ROOM_BITS: u32 = 10;
/// How many processes the short form of the table of watched ones tells apart.
pub const WATCHED_SLOTS: u32 = 8192;
/// No pid: some process with this slot was watched, the table knows.
pub const SLOT_ASK_TABLE: u32 = 0x7fff_ffff;
/// The bit of a slot that says that the process's exceptions are kept as they unwind.
pub const SLOT_KEEPS_EXCEPTIONS: u32 = 63;
/// Builds of interpreters that the programs can know, and one place for none.
pub const INTERPRETERS: u32 = 256;
/// Builds of TLS libraries that the programs can know, and one place for none.
pub const TLS_LIBRARIES: u32 = 128;
/// Of a `PyThreadState`, read at once.
pub const STATE_WINDOW_BYTES: u32 = 88;

/// Most exceptions in a record.
pub const EXCEPTIONS_MAX: usize = 4;
/// Frames kept of each end of a traceback.
pub const END_FRAMES: usize = 32;
/// Copied of the first argument's text.
pub const FIRST_TEXT_BYTES: usize = 256;
/// Copied of the second argument's text.
pub const SECOND_TEXT_BYTES: usize = 128;
/// Copied of an `OSError`'s file.
pub const THIRD_TEXT_BYTES: usize = 128;
/// Code objects that are remembered of what calls a service's code.
pub const DISPATCH_CODES: usize = 16;

/// Positions count from the connection's first byte.
pub const FLAG_ORIGIN_START: u16 = 1;
/// The path belongs to the peer.
pub const FLAG_PATH_OF_PEER: u16 = 2;

/// Earlier bytes of this direction had to wait in the process: who sends may not be who wrote.
pub const FLAG_DEFERRED: u16 = 4;
/// Of a call that is copied whole: it is not known where in it a frame of HTTP/2 begins.
pub const FLAG_ASKS_FRAME: u16 = 8;
/// The kernel may have encrypted or decrypted these bytes of a TLS connection (KTLS): then they are in the clear.
pub const FLAG_KERNEL_TLS: u16 = 16;

/// `enum wish`: record nothing more.
pub const WISH_IGNORE: u8 = 1;
/// `enum wish`: copy calls whole.
pub const WISH_WHOLE: u8 = 2;
/// `enum wish`: record no more bytes; ends, errors and states are recorded.
pub const WISH_IGNORE_DATA: u8 = 3;
/// Most bytes of a call that are copied where calls are copied whole: what the steps of a copy suffice for.
pub const WHOLE_BYTES_MAX: u32 = 1 << 20;

/// Room in the ring that was given back.
pub const RECORD_NONE: u16 = 0;
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

/// In an id, in the table of wishes and of what was raised: an object of a TLS library is meant, not a connection.
pub const TLS_OBJECT: u64 = 1 << 63;

/// `enum tls_site`: a call that reads and gives the length.
pub const TLS_SITE_READ: u64 = 1;
/// `enum tls_site`: a call that reads and tells the length through its fourth argument.
pub const TLS_SITE_READ_EX: u64 = 2;
/// `enum tls_site`: a call that writes and gives the length.
pub const TLS_SITE_WRITE: u64 = 3;
/// `enum tls_site`: a call that writes and tells the length through its fourth argument.
pub const TLS_SITE_WRITE_EX: u64 = 4;
/// `enum tls_site`: a call that writes, has flags, and tells the length through its fifth argument.
pub const TLS_SITE_WRITE_EX2: u64 = 10;
/// `enum tls_site`: a step of the handshake.
pub const TLS_SITE_HANDSHAKE: u64 = 5;
/// `enum tls_site`: behind a call that reads or writes.
pub const TLS_SITE_RETURN: u64 = 6;
/// `enum tls_site`: the library's object is given up.
pub const TLS_SITE_FREE: u64 = 7;
/// `enum tls_site`: the end of what is sent is told.
pub const TLS_SITE_SHUTDOWN: u64 = 11;
/// `enum tls_site`: (connection, file, offset, length), gives the length.
pub const TLS_SITE_SENDFILE: u64 = 12;
/// `enum tls_site`: behind a call that reads or writes, whose arguments can still be found. The rest of the cookie says
/// where, by the `TLS_BEHIND_*` and `OPERAND_*` places.
pub const TLS_SITE_BEHIND: u64 = 8;
/// `enum tls_site`: as `TLS_SITE_BEHIND`, where only calls get that gave something.
pub const TLS_SITE_GIVEN: u64 = 9;

/// `enum tls_behind`: the bit that says that the call writes.
pub const TLS_BEHIND_WRITES: u32 = 4;
/// `enum tls_behind`: the bit that says that the fourth argument says where the length goes.
pub const TLS_BEHIND_EX: u32 = 5;
/// `enum tls_behind`: in the cookies of `TLS_SITE_RETURN` and `TLS_SITE_SHUTDOWN`, the bit that says that the site is in a
/// module that calls the library.
pub const TLS_IN_MODULE: u32 = 4;
/// `enum tls_behind`: the number of the library (see [`TlsLibrary`]), also in those cookies.
pub const TLS_LIBRARY: u32 = 6;
/// `enum tls_behind`: the operand of the connection.
pub const TLS_BEHIND_OBJECT: u32 = 13;
/// `enum tls_behind`: the operand of the buffer.
pub const TLS_BEHIND_BUFFER: u32 = 30;
/// `enum tls_behind`: the operand of the fourth argument, or of the length.
pub const TLS_BEHIND_MOVED: u32 = 47;
/// `enum tls_behind`: in an operand, the bit that says that the value is the word in memory.
pub const OPERAND_IN_MEMORY: u32 = 3;
/// `enum tls_behind`: in an operand, what is added to the register (`KEPT_*`, the first bits).
pub const OPERAND_ADDED: u32 = 4;
/// `enum tls_behind`: the bits of that.
pub const OPERAND_ADDED_BITS: u32 = 13;

/// `enum kept_register`.
pub const KEPT_RBX: u64 = 0;
/// `enum kept_register`.
pub const KEPT_RBP: u64 = 1;
/// `enum kept_register`.
pub const KEPT_R12: u64 = 2;
/// `enum kept_register`.
pub const KEPT_R13: u64 = 3;
/// `enum kept_register`.
pub const KEPT_R14: u64 = 4;
/// `enum kept_register`.
pub const KEPT_R15: u64 = 5;
/// `enum kept_register`.
pub const KEPT_RSP: u64 = 6;

/// `enum tls_call_kind`.
pub const TLS_CALL_READ: u8 = 0;
/// `enum tls_call_kind`.
pub const TLS_CALL_WRITE: u8 = 1;
/// `enum tls_call_kind`.
pub const TLS_CALL_HANDSHAKE: u8 = 2;
/// `enum tls_call_kind`.
pub const TLS_CALL_FREE: u8 = 3;
/// `enum tls_call_kind`.
pub const TLS_CALL_CLOSE: u8 = 4;
/// `enum tls_call_kind`.
pub const TLS_CALL_CLOSE_BACK: u8 = 5;
/// `enum tls_call_kind`.
pub const TLS_CALL_AGREED: u8 = 6;
/// `enum record_kind`.
pub const RECORD_EXCEPTIONS: u16 = 7;
/// `enum record_kind`.
pub const RECORD_CONTEXT_COPY: u16 = 8;
/// `enum record_kind`.
pub const RECORD_COLLECTION: u16 = 9;
/// `enum record_kind`: a [`StreamWrite`].
pub const RECORD_STREAM_WRITE: u16 = 10;
/// `enum record_kind`: a [`ThreadStart`].
pub const RECORD_THREAD_START: u16 = 11;
/// `enum record_kind`: a [`ThreadEnd`].
pub const RECORD_THREAD_END: u16 = 12;

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
/// `enum identity_kind`: whatever runs, of a process whose event loop sends later what its tasks have written.
pub const IDENTITY_DEFERRED: u8 = 6;
/// `enum identity_kind`: as `IDENTITY_ENTERED`, in a process whose event loop sends later.
pub const IDENTITY_ENTERED_LATER: u8 = 7;
/// `enum identity_kind`: in a process that runs an event loop, and of which nothing more is asked.
pub const IDENTITY_UNSEEN: u8 = 8;

/// Names of `enum counter`, in order; the ones after [`COUNTER_WITHOUT_CONTENT`] follow `enum call`.
pub const COUNTER_NAMES: [&str; 14] = [
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
    "tls_carriers_unknown",
    "exceptions_displaced",
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

/// What stands before each record in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RingHead {
    /// The tag and the ring's secret, exclusive or: the record may be read.
    pub signature: u64,
    /// Position and room, both in lines, the room in the lowest [`RING_ROOM_BITS`].
    pub tag: u64,
}

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
    /// CPU time of the thread so far, from a beginning of its own: only differences mean something. 0: not known.
    pub ran_ns: u64,
    /// When the bytes came, if they are the connection's first: `CLOCK_MONOTONIC`, microseconds. 0: others, or not known.
    pub first_arrival_us: u64,
    /// Since bytes last came.
    pub arrival_ticks: u32,
    /// How long a tick lasts. 0: that is not known.
    pub tick_us: u32,
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
    /// When the call began. 0: not seen, and the library moves the encrypted bytes by itself.
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
    /// Of who connects: as in [`SocketCall`]; later: the bytes sent so far, heard of or not.
    pub context_or_sent: u64,
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

/// A thread has started another one of its process; the header's thread is the one that has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ThreadStart {
    /// See [`RecordHeader`].
    pub header: RecordHeader,
    /// The address of the context that it was running, if any.
    pub context: u64,
    /// The new thread's id.
    pub child: u32,
    /// `IDENTITY_*`: what the context was.
    pub identity: u32,
}

/// A thread that is not its process's last is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ThreadEnd {
    /// See [`RecordHeader`].
    pub header: RecordHeader,
}

/// A context of Python was made, mostly as a copy of the thread's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ContextCopy {
    /// See [`RecordHeader`].
    pub header: RecordHeader,
    /// Its address.
    pub context: u64,
    /// The address of the context that the thread was running, if any.
    pub copied_in: u64,
    /// `IDENTITY_*`: what that was.
    pub identity: u32,
    /// Zero.
    pub reserved: u32,
}

/// Bytes were left to an event loop that sends them later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StreamWrite {
    /// See [`RecordHeader`].
    pub header: RecordHeader,
    /// The address of the context that the thread was running, if any.
    pub context: u64,
    /// Where they will be sent.
    pub fd: i32,
    /// `IDENTITY_*`: what that was.
    pub identity: u32,
}

/// Python has collected garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Collection {
    /// See [`RecordHeader`]; its time is when the collection ended.
    pub header: RecordHeader,
    /// When it began.
    pub begun_ns: u64,
    /// Counts those of the process that were seen.
    pub number: u64,
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
    pub outside: u16,
    /// Not 0: that is said of whatever works on a request that has come in, and not read.
    pub unread: u16,
    /// In a `PyThreadState`, at most [`STATE_WINDOW_BYTES`] less eight before `context`: what `pthread_self` gives there.
    pub thread: u16,
    /// In a context: the pointer to the one that is returned to.
    pub previous: u16,
    /// The number, among the libraries that keep something of each thread, of the one that keeps its current greenlet; 0:
    /// not known.
    pub greenlet_module: u32,
    /// In what that library keeps of a thread: the pointer to the state of its greenlets.
    pub greenlet_place: u32,
}

/// Where a build of a TLS library keeps what is read of its connections. Offsets in bytes; 0: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TlsLibrary {
    /// In a connection: the BIO that it reads from.
    pub bio: u32,
    /// In a connection, or in what that leads to: the address of the protocol agreed on, then its length.
    pub agreed: u32,
    /// In a connection: where that is which it leads to; 0: the connection itself.
    pub agreed_within: u32,
    /// Not 0: only of connections that begin with an `int` that is zero.
    pub agreed_if_zero: u32,
    /// In a connection: what was said of its end.
    pub state: u32,
    /// Not 0: modules that are known to call it call another one in some processes.
    pub differs: u32,
}

/// An argument of an exception: a text, a number, or anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Argument {
    /// Its type's address; 0: there is none.
    pub kind: u64,
    /// The number, if it is one.
    pub number: i64,
    /// Of the text that were copied.
    pub bytes: u16,
    /// Of the text's characters, in bytes; 0: it is none.
    pub width: u8,
    /// 1: the text goes on.
    pub cut: u8,
    /// 1: it is a number.
    pub is_number: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// An exception of Python. Addresses are the process's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Exception {
    /// It left its first frame; 0: not seen, it is being handled.
    pub raised_ns: u64,
    /// It left its last frame so far.
    pub left_ns: u64,
    /// The object; 0: not made yet, or gone.
    pub object: u64,
    /// Its type.
    pub kind: u64,
    /// Its arguments.
    pub args: u64,
    /// `__cause__`
    pub cause: u64,
    /// `__context__`
    pub context: u64,
    /// The frame object it left last.
    pub last_frame: u64,
    /// How many frames it has left.
    pub frames: u32,
    /// `__suppress_context__`
    pub suppress_context: u8,
    /// How many arguments it has.
    pub arguments_count: u8,
    /// 1: it went through the code that calls the service's.
    pub dispatched: u8,
    /// 1: it is the cause or the context of another.
    pub earlier: u8,
    /// The first two, and the file of an `OSError`.
    pub arguments: [Argument; 3],
    /// Code objects: of the innermost frames, then a ring of those of the outermost.
    pub code: [u64; 2 * END_FRAMES],
    /// Bytes into the code.
    pub offset: [u32; 2 * END_FRAMES],
    /// The first argument's text.
    pub first_text: [u8; FIRST_TEXT_BYTES],
    /// The second argument's text.
    pub second_text: [u8; SECOND_TEXT_BYTES],
    /// The file's text.
    pub third_text: [u8; THIRD_TEXT_BYTES],
}

/// What was raised where an answer comes from; `count` exceptions follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Exceptions {
    /// See [`RecordHeader`].
    pub header: RecordHeader,
    /// The connection's id, or with [`TLS_OBJECT`] that of what stands for it in a TLS library.
    pub connection: u64,
    /// Bytes that were sent on it before the answer.
    pub sent: u64,
    /// What had to give way to others' was raised then, the last of it; 0: nothing did.
    pub displaced_ns: u64,
    /// At most [`EXCEPTIONS_MAX`].
    pub count: u32,
    /// The stream that the answer is for, in HTTP/2; else 0.
    pub stream: u32,
}

/// Where a process's interpreter keeps exceptions. Offsets in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExceptionLayout {
    /// Of the probe, counted by it.
    pub hits: u64,
    /// How often the process asked what it was handling, counted by the program that sees this.
    pub asked: u64,
    /// Code objects of what calls the service's code, as far as they were met; the rest 0.
    pub dispatch: [u64; DISPATCH_CODES],
    /// From the thread pointer to the pointer to the thread's `PyThreadState`.
    pub slot: u32,
    /// In a `PyThreadState`.
    pub context: u32,
    /// In a `PyThreadState`: the exception; in parts: its type, value and traceback.
    pub raised: u32,
    /// 1: in three parts.
    pub raised_in_parts: u32,
    /// In a `PyThreadState`: the stack of exceptions that are handled.
    pub handled: u32,
    /// In an item of that stack.
    pub handled_value: u32,
    /// In an item of that stack.
    pub handled_previous: u32,
    /// In a `PyFrameObject`: the interpreter's frame; 0: it is its own.
    pub frame_inner: u32,
    /// In the interpreter's frame.
    pub frame_code: u32,
    /// In the interpreter's frame.
    pub frame_instruction: u32,
    /// Of code for one step.
    pub instruction_bytes: u32,
    /// In a code object; not 0: the frame's instruction is an address.
    pub first_instruction: u32,
    /// As its name says.
    pub exception_args: u32,
    /// As its name says.
    pub exception_traceback: u32,
    /// As its name says.
    pub exception_context: u32,
    /// As its name says.
    pub exception_cause: u32,
    /// As its name says.
    pub exception_suppress_context: u32,
    /// Of an `OSError`.
    pub exception_filename: u32,
    /// As its name says.
    pub traceback_next: u32,
    /// As its name says.
    pub traceback_frame: u32,
    /// As its name says.
    pub traceback_last_instruction: u32,
    /// As its name says.
    pub object_kind: u32,
    /// As its name says.
    pub object_size: u32,
    /// As its name says.
    pub type_flags: u32,
    /// As its name says.
    pub tuple_items: u32,
    /// As its name says.
    pub str_length: u32,
    /// As its name says.
    pub str_state: u32,
    /// As its name says.
    pub str_ascii: u32,
    /// As its name says.
    pub str_wide: u32,
    /// As its name says.
    pub int_tag: u32,
    /// As its name says.
    pub int_digits: u32,
    /// The tag of a positive int of one digit.
    pub int_one_digit: u32,
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
    /// The ring's size, a power of two.
    pub ring_bytes: u32,
    /// 1: exceptions of Python are kept and reported.
    pub exceptions: u32,
    /// How long one of the kernel's ticks lasts.
    pub tick_us: u32,
    /// Zero.
    pub reserved: u32,
    /// What records in the ring are signed with.
    pub ring_secret: u64,
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
    layout!("ring_head", RingHead { signature: u64, tag: u64 }),
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
            ran_ns: u64,
            first_arrival_us: u64,
            arrival_ticks: u32,
            tick_us: u32,
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
            context_or_sent: u64,
            ends: Endpoints,
            error: i32,
            old_state: u8,
            new_state: u8,
            identity: u8,
            reserved: u8
        }
    ),
    layout!("process_fork", ProcessFork { header: RecordHeader, child: u32, reserved: u32 }),
    layout!("thread_start", ThreadStart { header: RecordHeader, context: u64, child: u32, identity: u32 }),
    layout!("thread_end", ThreadEnd { header: RecordHeader }),
    layout!("process_exec", ProcessExec { header: RecordHeader }),
    layout!(
        "context_copy",
        ContextCopy { header: RecordHeader, context: u64, copied_in: u64, identity: u32, reserved: u32 }
    ),
    layout!("stream_write", StreamWrite { header: RecordHeader, context: u64, fd: i32, identity: u32 }),
    layout!("collection", Collection { header: RecordHeader, begun_ns: u64, number: u64 }),
    layout!("process_exit", ProcessExit { header: RecordHeader, status: i32, reserved: u32 }),
    layout!(
        "interpreter",
        Interpreter {
            slot: u32,
            context: u16,
            entered: u16,
            outside: u16,
            unread: u16,
            thread: u16,
            previous: u16,
            greenlet_module: u32,
            greenlet_place: u32
        }
    ),
    layout!(
        "tls_library",
        TlsLibrary {
            bio: u32,
            agreed: u32,
            agreed_within: u32,
            agreed_if_zero: u32,
            state: u32,
            differs: u32
        }
    ),
    layout!(
        "argument",
        Argument { kind: u64, number: i64, bytes: u16, width: u8, cut: u8, is_number: u8, reserved: [u8; 3] }
    ),
    layout!(
        "exception",
        Exception {
            raised_ns: u64,
            left_ns: u64,
            object: u64,
            kind: u64,
            args: u64,
            cause: u64,
            context: u64,
            last_frame: u64,
            frames: u32,
            suppress_context: u8,
            arguments_count: u8,
            dispatched: u8,
            earlier: u8,
            arguments: [Argument; 3],
            code: [u64; 2 * END_FRAMES],
            offset: [u32; 2 * END_FRAMES],
            first_text: [u8; FIRST_TEXT_BYTES],
            second_text: [u8; SECOND_TEXT_BYTES],
            third_text: [u8; THIRD_TEXT_BYTES]
        }
    ),
    layout!(
        "exceptions",
        Exceptions {
            header: RecordHeader,
            connection: u64,
            sent: u64,
            displaced_ns: u64,
            count: u32,
            stream: u32
        }
    ),
    layout!(
        "exception_layout",
        ExceptionLayout {
            hits: u64,
            asked: u64,
            dispatch: [u64; DISPATCH_CODES],
            slot: u32,
            context: u32,
            raised: u32,
            raised_in_parts: u32,
            handled: u32,
            handled_value: u32,
            handled_previous: u32,
            frame_inner: u32,
            frame_code: u32,
            frame_instruction: u32,
            instruction_bytes: u32,
            first_instruction: u32,
            exception_args: u32,
            exception_traceback: u32,
            exception_context: u32,
            exception_cause: u32,
            exception_suppress_context: u32,
            exception_filename: u32,
            traceback_next: u32,
            traceback_frame: u32,
            traceback_last_instruction: u32,
            object_kind: u32,
            object_size: u32,
            type_flags: u32,
            tuple_items: u32,
            str_length: u32,
            str_state: u32,
            str_ascii: u32,
            str_wide: u32,
            int_tag: u32,
            int_digits: u32,
            int_one_digit: u32
        }
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
            ring_bytes: u32,
            exceptions: u32,
            tick_us: u32,
            reserved: u32,
            ring_secret: u64
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
    ("SLOT_KEEPS_EXCEPTIONS", SLOT_KEEPS_EXCEPTIONS as u64),
    ("INTERPRETERS", INTERPRETERS as u64),
    ("TLS_LIBRARIES", TLS_LIBRARIES as u64),
    ("STATE_WINDOW_BYTES", STATE_WINDOW_BYTES as u64),
    ("EXCEPTIONS_MAX", EXCEPTIONS_MAX as u64),
    ("END_FRAMES", END_FRAMES as u64),
    ("FIRST_TEXT_BYTES", FIRST_TEXT_BYTES as u64),
    ("SECOND_TEXT_BYTES", SECOND_TEXT_BYTES as u64),
    ("THIRD_TEXT_BYTES", THIRD_TEXT_BYTES as u64),
    ("DISPATCH_CODES", DISPATCH_CODES as u64),
    ("RING_LINE_BYTES", RING_LINE_BYTES as u64),
    ("RING_BEYOND_BYTES", RING_BEYOND_BYTES as u64),
    ("RING_ROOM_BITS", RING_ROOM_BITS as u64),
    ("RECORD_NONE", RECORD_NONE as u64),
    ("RECORD_EXCEPTIONS", RECORD_EXCEPTIONS as u64),
    ("RECORD_CONTEXT_COPY", RECORD_CONTEXT_COPY as u64),
    ("RECORD_STREAM_WRITE", RECORD_STREAM_WRITE as u64),
    ("RECORD_COLLECTION", RECORD_COLLECTION as u64),
    ("RECORD_THREAD_START", RECORD_THREAD_START as u64),
    ("RECORD_THREAD_END", RECORD_THREAD_END as u64),
    ("FLAG_ORIGIN_START", FLAG_ORIGIN_START as u64),
    ("FLAG_PATH_OF_PEER", FLAG_PATH_OF_PEER as u64),
    ("FLAG_DEFERRED", FLAG_DEFERRED as u64),
    ("FLAG_ASKS_FRAME", FLAG_ASKS_FRAME as u64),
    ("FLAG_KERNEL_TLS", FLAG_KERNEL_TLS as u64),
    ("WISH_IGNORE", WISH_IGNORE as u64),
    ("WISH_WHOLE", WISH_WHOLE as u64),
    ("WISH_IGNORE_DATA", WISH_IGNORE_DATA as u64),
    ("IDENTITY_THREAD", IDENTITY_THREAD as u64),
    ("IDENTITY_UNREADABLE", IDENTITY_UNREADABLE as u64),
    ("IDENTITY_BASE", IDENTITY_BASE as u64),
    ("IDENTITY_GREENLET", IDENTITY_GREENLET as u64),
    ("IDENTITY_LOOP", IDENTITY_LOOP as u64),
    ("IDENTITY_ENTERED", IDENTITY_ENTERED as u64),
    ("IDENTITY_DEFERRED", IDENTITY_DEFERRED as u64),
    ("IDENTITY_ENTERED_LATER", IDENTITY_ENTERED_LATER as u64),
    ("IDENTITY_UNSEEN", IDENTITY_UNSEEN as u64),
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
    ("TLS_SITE_WRITE_EX2", TLS_SITE_WRITE_EX2),
    ("TLS_SITE_HANDSHAKE", TLS_SITE_HANDSHAKE),
    ("TLS_SITE_RETURN", TLS_SITE_RETURN),
    ("TLS_SITE_FREE", TLS_SITE_FREE),
    ("TLS_SITE_SHUTDOWN", TLS_SITE_SHUTDOWN),
    ("TLS_SITE_SENDFILE", TLS_SITE_SENDFILE),
    ("TLS_SITE_BEHIND", TLS_SITE_BEHIND),
    ("TLS_SITE_GIVEN", TLS_SITE_GIVEN),
    ("TLS_BEHIND_WRITES", TLS_BEHIND_WRITES as u64),
    ("TLS_BEHIND_EX", TLS_BEHIND_EX as u64),
    ("TLS_LIBRARY", TLS_LIBRARY as u64),
    ("TLS_BEHIND_OBJECT", TLS_BEHIND_OBJECT as u64),
    ("TLS_BEHIND_BUFFER", TLS_BEHIND_BUFFER as u64),
    ("TLS_BEHIND_MOVED", TLS_BEHIND_MOVED as u64),
    ("OPERAND_IN_MEMORY", OPERAND_IN_MEMORY as u64),
    ("OPERAND_ADDED", OPERAND_ADDED as u64),
    ("OPERAND_ADDED_BITS", OPERAND_ADDED_BITS as u64),
    ("TLS_IN_MODULE", TLS_IN_MODULE as u64),
    ("KEPT_RBX", KEPT_RBX),
    ("KEPT_RBP", KEPT_RBP),
    ("KEPT_R12", KEPT_R12),
    ("KEPT_R13", KEPT_R13),
    ("KEPT_R14", KEPT_R14),
    ("KEPT_R15", KEPT_R15),
    ("KEPT_RSP", KEPT_RSP),
    ("TLS_CALL_READ", TLS_CALL_READ as u64),
    ("TLS_CALL_WRITE", TLS_CALL_WRITE as u64),
    ("TLS_CALL_HANDSHAKE", TLS_CALL_HANDSHAKE as u64),
    ("TLS_CALL_FREE", TLS_CALL_FREE as u64),
    ("TLS_CALL_CLOSE", TLS_CALL_CLOSE as u64),
    ("TLS_CALL_CLOSE_BACK", TLS_CALL_CLOSE_BACK as u64),
    ("TLS_CALL_AGREED", TLS_CALL_AGREED as u64),
    ("FAMILY_UNIX", FAMILY_UNIX as u64),
    ("FAMILY_INET", FAMILY_INET as u64),
    ("FAMILY_INET6", FAMILY_INET6 as u64),
    ("DIRECTION_RECEIVED", DIRECTION_RECEIVED as u64),
    ("DIRECTION_SENT", DIRECTION_SENT as u64),
    ("COUNTER_WITHOUT_CONTENT", COUNTER_WITHOUT_CONTENT as u64),
    ("COUNTERS", COUNTERS as u64),
    ("CALL_KINDS", CALL_NAMES.len() as u64),
    ("COUNTER_EXCEPTIONS_DISPLACED", COUNTER_NAMES.len() as u64 - 1),
];
