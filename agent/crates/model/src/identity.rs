//! What made a call, within its process.

/// What a call belongs to. The addresses name a `contextvars.Context` only as long as it lives; they are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Identity {
    /// The thread: nothing more is known, or there is nothing more.
    #[default]
    Thread,
    /// A thread of Python that does one thing at a time, and the address of its own context; 0 while it has none.
    Base(u64),
    /// One of the greenlets that share the thread, by the address of its context.
    Greenlet(u64),
    /// An asyncio task, a callback, or code that runs in a copy of a context, by the context's address.
    Task(u64),
    /// It cannot be told.
    Unknown(Blur),
}

/// Why it cannot be told what made a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blur {
    /// The interpreter's memory could not be read.
    Unreadable,
    /// An event loop made it, outside the tasks: it may be for any of them.
    Loop,
    /// The bytes had waited in the process: an event loop sent them later.
    Deferred,
    /// One of the greenlets that share the thread, of which nothing tells which.
    Greenlet,
    /// What the tasks of its process run is not looked at, as nothing more would tell of it.
    Unseen,
    /// A request was read while another one was open on its connection: whoever read it need not serve it.
    ReadAhead,
}

impl Blur {
    /// In words that follow "unknown: ".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "the interpreter's memory could not be read",
            Self::Loop => "an event loop sent it outside its tasks",
            Self::Deferred => "an event loop sent it later than it was written",
            Self::Greenlet => "its greenlet has no context",
            Self::Unseen => "it was not seen yet which task starts which",
            Self::ReadAhead => "it was read ahead of its turn",
        }
    }
}
