//! HTTP/1.0 and HTTP/1.1 messages (RFC 9112) from one direction of a connection.
//!
//! Where a message must begin, anything else is `NotHttp` (before the first message) or `Lost` (after it).
//! Where it is not known (joined midway, after `Lost`, after an offer to switch), a message is only looked for
//! at the beginning of a socket call, by a start line that is whole or becomes so; after 64 calls or 4 MiB
//! without one (16 times as much once a message was seen) the direction is `NotHttp`. Messages whose end
//! cannot be counted end by the rules of the module `blind`.

mod blind;
mod chunked;
mod detect;
mod empty_line;
mod fields;
mod flow;
mod framing;
mod head;
mod headers;
mod request;
mod response;
mod start_line;
mod stream;

pub(crate) use empty_line::EmptyLine;
pub(crate) use fields::read as read_fields;

pub use detect::{Looks, detect};
pub use flow::Flow;
pub use headers::Headers;
pub use request::{RequestHead, RequestParser};
pub use response::{Asked, ResponseHead, ResponseParser};

/// What a parser found, in the order of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<H> {
    /// A message has begun and its head is known.
    Head {
        /// What the head says.
        head: H,
        /// When the chunk with the message's first byte passed.
        start_ns: u64,
        /// When the chunk with the head's last byte passed.
        head_end_ns: u64,
        /// Where the message's first byte stands in its direction.
        position: u64,
    },
    /// The message that the last `Head` began is over.
    End {
        /// When the chunk with the message's last byte passed.
        end_ns: u64,
        /// Bytes of the message on the wire, head, framing and body.
        bytes: u64,
        /// How the end is known.
        by: EndBy,
        /// How the body came.
        flow: Flow,
    },
    /// From here on the connection speaks another protocol. Nothing else follows in this direction.
    Upgraded,
    /// The framing was lost (bytes missed or broken in a place that matters): whole messages may have been
    /// missed; the parser looks for the next one. A message that was open has ended with `EndBy::Lost`
    /// before; not every such end is followed by this, only those after which messages may be missing.
    Lost,
    /// These bytes are not HTTP/1: the connection should be let go. Nothing else follows in this direction.
    NotHttp,
}

impl<H> Part<H> {
    /// The same with another value for the head.
    pub fn map<G>(self, convert: impl FnOnce(H) -> G) -> Part<G> {
        match self {
            Self::Head { head, start_ns, head_end_ns, position } => {
                Part::Head { head: convert(head), start_ns, head_end_ns, position }
            }
            Self::End { end_ns, bytes, by, flow } => Part::End { end_ns, bytes, by, flow },
            Self::Upgraded => Part::Upgraded,
            Self::Lost => Part::Lost,
            Self::NotHttp => Part::NotHttp,
        }
    }
}

/// How the end of a message is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndBy {
    /// By its framing: no body, Content-Length, or the last chunk.
    Framing,
    /// The stream ended, and the framing says that this is the end (a response without a length).
    Close,
    /// The stream ended in the middle.
    Cut,
    /// Bytes were missed and the end with them; `end_ns` is when the last byte passed that surely belongs to
    /// it, `bytes` counts up to the end of the call with that byte.
    Lost,
    /// The head announced a switch and the switch came about (request side: with its response).
    Upgrade,
}
