//! Values only: what flows through the probe, from the kernel's events to the spans that are reported.
//!
//! Invariant: nothing here does IO, reads a clock or knows another crate of this workspace.

#![forbid(unsafe_code)]

mod address;
mod attribute;
mod books;
mod clock;
mod event;
mod exception;
mod identity;
mod load;
mod process;
mod protocol;
mod routes;
mod span;
mod timing;

pub use address::Address;
pub use attribute::{Attribute, AttributeValue};
pub use books::{Books, DropReason};
pub use clock::WallClock;
pub use event::{
    Body, Collected, ConnectionId, ContextCopied, Direction, Event, Origin, Outcome, Payload, SocketCall,
    SocketState, Syscall, TcpState, ThreadStarted, TlsCall, TlsCallKind, TlsSessionId, Written,
};
pub use exception::{Bearer, Exception, Exceptions};
pub use identity::{Blur, Identity};
pub use load::Load;
pub use process::{AppIdSource, Process};
pub use protocol::{Family, Protocol};
pub use routes::{Order, Piece, Routes, Rule, Target};
pub use span::{End, Fault, HttpVersion, Parent, ParentKind, Span, SpanId, SpanKind, TraceId};
pub use timing::{Timing, Waited};
