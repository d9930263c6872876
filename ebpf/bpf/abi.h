/* The binary contract between the kernel programs and the agent: record kinds, headers, limits.
 *
 * `ebpf/src/abi.rs` says the same in Rust; `cargo xtask tidy` compares the two through the object's BTF.
 * All integers are in the host's byte order; every struct is a multiple of 8 bytes and has no hidden padding.
 * Long because the contract stands in one place.
 */
#ifndef STARDUST_PROBE_ABI_H
#define STARDUST_PROBE_ABI_H

#include "lib/kernel.h"

enum limit {
	HEAD_BYTES_MAX = 8192,
	TAIL_BYTES_MAX = 16,
	PATH_BYTES_MAX = 108, /* sizeof(sockaddr_un.sun_path) */
	SEGMENTS_MAX = 64,
	WATCHED_SLOTS = 8192,
	SLOT_ASK_TABLE = 0x7fffffff, /* who has this slot cannot be told from it: the table knows */
	SLOT_KEEPS_EXCEPTIONS = 63, /* the bit of a slot that says that the process's are kept as they unwind */
	INTERPRETERS = 256,
	TLS_LIBRARIES = 128,
	STATE_WINDOW_BYTES = 88, /* of a PyThreadState, read at once */
	EXCEPTIONS_MAX = 4,
	END_FRAMES = 32, /* kept of each end of a traceback */
	FIRST_TEXT_BYTES = 256,
	SECOND_TEXT_BYTES = 128,
	THIRD_TEXT_BYTES = 128,
	DISPATCH_CODES = 16,
	RING_LINE_BYTES = 64, /* what a record takes in the ring is so many, or a multiple */
	RING_BEYOND_BYTES = 32768, /* the largest: more than any record */
	RING_ROOM_BITS = 10,
};

enum record_kind {
	RECORD_NONE = 0, /* room that was given back */
	RECORD_SOCKET_CALL = 1,
	RECORD_SOCKET_STATE = 2,
	RECORD_FORK = 3,
	RECORD_EXEC = 4,
	RECORD_EXIT = 5,
	RECORD_TLS_CALL = 6,
	RECORD_EXCEPTIONS = 7,
	RECORD_CONTEXT_COPY = 8,
	RECORD_COLLECTION = 9,
	RECORD_STREAM_WRITE = 10,
	RECORD_THREAD_START = 11,
	RECORD_THREAD_END = 12,
};

enum record_flag {
	/* Positions count from the connection's first byte. */
	FLAG_ORIGIN_START = 1,
	FLAG_PATH_OF_PEER = 2, /* the path after the payload is the peer's, not this end's */
	/* Earlier bytes of this direction had to wait in the process: who sends may not be who wrote. */
	FLAG_DEFERRED = 4,
	FLAG_ASKS_FRAME = 8, /* of a call that is copied whole: it is not known where in it a frame of HTTP/2 begins */
	/* The kernel may have encrypted or decrypted these bytes of a TLS connection (KTLS): then they are in the clear. */
	FLAG_KERNEL_TLS = 16,
};

/* What the agent asks for on a connection. */
enum wish {
	WISH_IGNORE = 1, /* record nothing more */
	WISH_WHOLE = 2,	 /* copy calls whole */
	WISH_IGNORE_DATA = 3, /* record no more bytes: its clear text is seen elsewhere. Ends, errors and states are */
};

enum direction {
	DIRECTION_RECEIVED = 0,
	DIRECTION_SENT = 1,
};

enum family {
	FAMILY_UNIX = 1,
	FAMILY_INET = 2,
	FAMILY_INET6 = 10,
};

enum call {
	CALL_OTHER = 0,
	CALL_READ = 1,
	CALL_WRITE = 2,
	CALL_RECVFROM = 3,
	CALL_RECVMSG = 4,
	CALL_RECVMMSG = 5,
	CALL_SENDTO = 6,
	CALL_SENDMSG = 7,
	CALL_SENDMMSG = 8,
	CALL_SENDFILE = 9,
	CALL_SPLICE = 10,
	CALL_IO_URING = 11,
	CALL_KINDS = 12,
};

/* What a call belongs to, within its process. */
enum identity_kind {
	/* The thread: no interpreter is known here, or the thread is none of its. */
	IDENTITY_THREAD = 0,
	IDENTITY_UNREADABLE = 1, /* the interpreter's memory could not be read */
	/* The thread's own context, if it has one: it does one thing at a time. */
	IDENTITY_BASE = 2,
	/* The context of a greenlet: others share the thread. Without a context it cannot be told which. */
	IDENTITY_GREENLET = 3,
	/* Outside the tasks of an event loop: it cannot be told for whom. */
	IDENTITY_LOOP = 4,
	IDENTITY_ENTERED = 5, /* a context that was entered: a task's, a callback's, of code that was given a copy */
	IDENTITY_DEFERRED = 6, /* as IDENTITY_LOOP, in a process whose event loop sends later what its tasks write */
	IDENTITY_ENTERED_LATER = 7, /* as IDENTITY_ENTERED, in such a process: all that it sends later it sends in one context */
	IDENTITY_UNSEEN = 8, /* in a process that runs an event loop, and of which nothing more is asked */
};

/* In an id, in the table of wishes and of what was raised: an object of a TLS library is meant, not a connection. */
#define TLS_OBJECT (1ULL << 63)

/* What a probe in a TLS library or its caller stands for: the cookie it is attached with. */
enum tls_site {
	TLS_SITE_READ = 1, /* (connection, buffer, length), gives the length */
	TLS_SITE_READ_EX = 2, /* (connection, buffer, length, where the length goes) */
	TLS_SITE_WRITE = 3,
	TLS_SITE_WRITE_EX = 4,
	TLS_SITE_HANDSHAKE = 5, /* (connection) */
	TLS_SITE_RETURN = 6, /* behind a call that reads or writes */
	TLS_SITE_FREE = 7, /* (connection) */
	TLS_SITE_WRITE_EX2 = 10, /* (connection, buffer, length, flags, where the length goes) */
	TLS_SITE_BEHIND = 8, /* behind a call whose arguments can still be found: see tls_behind */
	TLS_SITE_SHUTDOWN = 11, /* (connection) */
	TLS_SITE_SENDFILE = 12, /* (connection, file, offset, length), gives the length */
	TLS_SITE_GIVEN = 9, /* such a one that only calls which gave something pass; the result may be gone */
};

/* The cookie of such a site, from its low end: the site in 4 bits; whether the call writes; whether its fourth argument
 * says where the length goes, which else is the result; the number of the library (7 bits, see struct tls_library); then the
 * connection, the buffer and the fourth argument (or where the length is kept), as operands of 17 bits. In those of
 * TLS_SITE_RETURN and TLS_SITE_SHUTDOWN: whether it is in a module that calls the library; the number of the library there.
 */
enum tls_behind {
	TLS_BEHIND_WRITES = 4,
	TLS_BEHIND_EX = 5,
	TLS_LIBRARY = 6,
	TLS_BEHIND_OBJECT = 13,
	TLS_BEHIND_BUFFER = 30,
	TLS_BEHIND_MOVED = 47,
	/* An operand, from its low end: a register (enum kept_register), whether the value is the word in memory there, and
	 * what is added to the register. */
	OPERAND_IN_MEMORY = 3,
	OPERAND_ADDED = 4,
	OPERAND_ADDED_BITS = 13,
	TLS_IN_MODULE = 4,
};

/* Those that a function leaves as it found them (System V ABI for AMD64, section 3.2.1). */
enum kept_register {
	KEPT_RBX = 0,
	KEPT_RBP = 1,
	KEPT_R12 = 2,
	KEPT_R13 = 3,
	KEPT_R14 = 4,
	KEPT_R15 = 5,
	KEPT_RSP = 6,
};

enum tls_call_kind {
	TLS_CALL_READ = 0,
	TLS_CALL_WRITE = 1,
	TLS_CALL_HANDSHAKE = 2,
	TLS_CALL_FREE = 3,
	TLS_CALL_CLOSE = 4, /* it says that it sends no more, before the peer does */
	TLS_CALL_CLOSE_BACK = 5, /* after the peer has */
	TLS_CALL_AGREED = 6, /* none: what the handshake has agreed on is told. Followed by the protocol's name */
};

/* Why something was not recorded, or not whole. One per-CPU slot each. */
enum counter {
	COUNTER_RING_FULL = 0,
	COUNTER_RING_FULL_BYTES = 1,
	COUNTER_PAYLOAD_UNREADABLE = 2,
	COUNTER_SEGMENTS_UNREAD = 3,
	COUNTER_CONNECTIONS_FULL = 4,
	COUNTER_PROCESSES_FULL = 5,
	COUNTER_FD_MISMATCH = 6,
	COUNTER_COMPAT_CALL = 7,
	COUNTER_PATH_UNREADABLE = 8,
	COUNTER_IGNORED_CALLS = 9,
	COUNTER_IDENTITY_UNREADABLE = 10,
	COUNTER_TLS_SESSIONS_FULL = 11,
	COUNTER_TLS_CARRIERS_UNKNOWN = 12,
	COUNTER_EXCEPTIONS_DISPLACED = 13,
	/* Calls without content, by `enum call`. */
	COUNTER_WITHOUT_CONTENT = 16,
	COUNTERS = COUNTER_WITHOUT_CONTENT + CALL_KINDS,
};

/* Before each record in the ring. */
struct ring_head {
	u64 signature; /* the tag and the secret, exclusive or: the record may be read */
	u64 tag; /* its position in bytes since the beginning, and the room it takes: see ring_tag */
};

struct record_header {
	u64 at_ns; /* CLOCK_MONOTONIC */
	u32 size;  /* of the whole record, payload included */
	u16 kind;  /* enum record_kind */
	u16 flags; /* enum record_flag */
	u32 tgid;
	u32 tid;
};

struct endpoints {
	u8 local[16]; /* IPv4: the first 4 bytes; unix: zero */
	u8 remote[16];
	u16 local_port; /* host byte order */
	u16 remote_port;
	u32 netns; /* inode number */
	u16 family;
	u8 reserved[6];
} __attribute__((aligned(8))); /* copied in words */

/* Followed by `head_bytes`, then `tail_bytes`, then `path_bytes` bytes. */
struct socket_call {
	struct record_header header;
	u64 connection;
	u64 inode;
	u64 position; /* bytes before this call in this direction */
	s64 result;   /* bytes; 0: end of stream; negative: error number */
	u64 context;  /* the address of the Python context; 0: none */
	u64 ran_ns;   /* CPU time of the thread so far, from a beginning of its own */
	u64 first_arrival_us; /* CLOCK_MONOTONIC: when the bytes came, if they are the connection's first; else 0 */
	u32 arrival_ticks; /* since bytes last came */
	u32 tick_us;	   /* 0: that is not known */
	struct endpoints ends;
	s32 fd; /* -1: not known */
	u32 head_bytes;
	u16 tail_bytes;
	u16 path_bytes;
	u8 call;      /* enum call */
	u8 direction; /* enum direction */
	u8 identity;  /* enum identity_kind */
	u8 reserved;
};

/* A call of a TLS library. Followed by `head_bytes`, then `tail_bytes` bytes of clear text. */
struct tls_call {
	struct record_header header; /* at_ns: when it returned */
	u64 session; /* the library's object, by an id that is not used twice */
	u64 entered_ns; /* 0: not seen, and the library moves the encrypted bytes by itself */
	u64 position; /* clear text bytes before this call in this direction */
	u64 bytes;    /* of clear text; 0: none moved */
	u64 context;  /* see enum identity_kind */
	u32 head_bytes;
	u16 tail_bytes;
	u8 call; /* enum tls_call_kind */
	u8 identity; /* enum identity_kind */
};

struct socket_state {
	struct record_header header;
	u64 connection;
	u64 context_or_sent; /* of who connects: as in socket_call; later: the bytes sent so far, heard of or not */
	struct endpoints ends;
	s32 error; /* sk_err */
	u8 old_state;
	u8 new_state;
	u8 identity; /* enum identity_kind */
	u8 reserved;
};

struct process_fork {
	struct record_header header; /* tgid: the parent */
	u32 child;
	u32 reserved;
};

/* A thread has started another one of its process. */
struct thread_start {
	struct record_header header; /* tid: who has started it */
	u64 context; /* with `identity`: what that one was running */
	u32 child;   /* the new one's tid */
	u32 identity; /* enum identity_kind */
};

/* A thread that is not its process's last is gone. */
struct thread_end {
	struct record_header header;
};

struct process_exec {
	struct record_header header;
};

struct process_exit {
	struct record_header header;
	s32 status; /* as wait(2) gives it */
	u32 reserved;
};

/* A context of Python was made, mostly as a copy of the thread's. */
struct context_copy {
	struct record_header header;
	u64 context;   /* its address */
	u64 copied_in; /* what the thread was running, see enum identity_kind */
	u32 identity;  /* enum identity_kind */
	u32 reserved;
};

/* Bytes were left to an event loop that sends them later. */
struct stream_write {
	struct record_header header;
	u64 context; /* with `identity`: what the thread was running */
	s32 fd;	     /* where they will be sent */
	u32 identity; /* enum identity_kind */
};

/* Python has collected garbage, until now. */
struct collection {
	struct record_header header;
	u64 begun_ns;
	u64 number; /* counts those of the process that were seen */
};

/* Where a process's interpreter keeps what its threads are running. Offsets in bytes. */
struct interpreter {
	u32 slot;    /* from the thread pointer to the pointer to the thread's PyThreadState */
	u16 context; /* in a PyThreadState: the pointer to the current context */
	u16 entered; /* in a context: an int, not 0 if it was entered */
	u16 outside; /* enum identity_kind of threads that have entered no context */
	u16 unread;  /* not 0: that is said of whatever works on a request that has come in, and not read */
	u16 thread;   /* in a PyThreadState, before `context`: what pthread_self gives there */
	u16 previous; /* in a context: the pointer to the one that is returned to */
	u32 greenlet_module; /* the number of the library that keeps each thread's current greenlet; 0: not known */
	u32 greenlet_place; /* in what the library keeps of a thread: the pointer to the state of its greenlets */
};

/* Where a build of a TLS library keeps what is read of its connections. Offsets in bytes; 0: not known. */
struct tls_library {
	u32 bio; /* in a connection: the BIO that it reads from */
	u32 agreed; /* in a connection, or in what that leads to: the address of the protocol agreed on, then its length */
	u32 agreed_within; /* in a connection: where that is which it leads to; 0: the connection itself */
	u32 agreed_if_zero; /* only of connections that begin with an int that is zero */
	u32 state; /* in a connection: what was said of its end */
	u32 differs; /* modules that are known to call it call another one in some processes */
};

/* An argument of an exception: a text, a number, or anything else of the type at `kind`. */
struct argument {
	u64 kind;
	s64 number;
	u16 bytes; /* of the text that were copied */
	u8 width;  /* of the text's characters, in bytes; 0: it is none */
	u8 cut;    /* the text goes on */
	u8 is_number;
	u8 reserved[3];
};

/* An exception of Python. Addresses are the process's own. */
struct exception {
	u64 raised_ns; /* it was first seen to leave a frame; 0: not seen, it is being handled */
	u64 left_ns;   /* it left its last frame so far */
	u64 object;    /* 0: not made yet, or gone */
	u64 kind;
	u64 args;
	u64 cause;
	u64 context;
	u64 last_frame;
	u32 frames; /* so many were left */
	u8 suppress_context;
	u8 arguments_count;
	u8 dispatched; /* it went through the code that calls the service's */
	u8 earlier;    /* it is the cause or the context of another */
	struct argument arguments[3]; /* the first two; the file of an OSError */
	/* The innermost frames, then a ring of the outermost: frame n of these stands at END_FRAMES + n % END_FRAMES. */
	u64 code[2 * END_FRAMES];
	u32 offset[2 * END_FRAMES]; /* bytes into the code */
	u8 first_text[FIRST_TEXT_BYTES];
	u8 second_text[SECOND_TEXT_BYTES];
	u8 third_text[THIRD_TEXT_BYTES];
};

/* What was raised where an answer comes from. Followed by `count` exceptions. */
struct exceptions {
	struct record_header header;
	u64 connection; /* or, with TLS_OBJECT, what stands for it in a TLS library */
	u64 sent; /* on it before the answer */
	u64 displaced_ns; /* what had to give way to others' was raised then, the last of it; 0: nothing */
	u32 count; /* at most EXCEPTIONS_MAX */
	u32 stream; /* that the answer is for, in HTTP/2; else 0 */
};

/* Where a process's interpreter keeps exceptions. Offsets in bytes. */
struct exception_layout {
	u64 hits; /* of the probe, counted by it */
	u64 asked; /* so often was it asked what is being handled, counted by the program that sees this */
	u64 dispatch[DISPATCH_CODES]; /* code objects of what calls the service's code, as far as they were met */
	u32 slot; /* as in struct interpreter */
	u32 context;
	u32 raised; /* in a PyThreadState: the exception; in parts: its type, value and traceback */
	u32 raised_in_parts;
	u32 handled; /* in a PyThreadState: the stack of exceptions that are handled */
	u32 handled_value;
	u32 handled_previous;
	u32 frame_inner; /* in a PyFrameObject: the interpreter's frame; 0: it is its own */
	u32 frame_code;
	u32 frame_instruction;
	u32 instruction_bytes; /* of code for one step */
	u32 first_instruction; /* in a code object; not 0: the frame's instruction is an address */
	u32 exception_args;
	u32 exception_traceback;
	u32 exception_context;
	u32 exception_cause;
	u32 exception_suppress_context;
	u32 exception_filename; /* of an OSError */
	u32 traceback_next;
	u32 traceback_frame;
	u32 traceback_last_instruction;
	u32 object_kind;
	u32 object_size;
	u32 type_flags;
	u32 tuple_items;
	u32 str_length;
	u32 str_state;
	u32 str_ascii;
	u32 str_wide;
	u32 int_tag;
	u32 int_digits;
	u32 int_one_digit; /* the tag of a positive number of one digit */
};

/* Set once, before the programs are loaded. */
struct probe_config {
	u32 own_tgid;   /* never watched */
	u32 head_bytes; /* copied of each call, at most HEAD_BYTES_MAX */
	u32 wake_bytes; /* unread bytes in the ring that wake the reader */
	u32 use_socket_storage;
	u32 whole_bytes; /* copied of each call where calls are copied whole */
	u32 use_slots;   /* that of TCP connections stands in slots first */
	u32 ring_bytes; /* a power of two */
	u32 exceptions; /* 1: those of Python are kept and reported */
	u32 tick_us;	/* how long one of the kernel's lasts */
	u32 reserved;
	u64 ring_secret;
};

#endif
