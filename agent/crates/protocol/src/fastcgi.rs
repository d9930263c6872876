//! `FastCGI` (specification 1.0, sections 3 and 5): requests and responses, each from one direction of a connection, cut
//! into records that carry the number of their request.
//!
//! Invariants: as of [`crate::http1`]; at most [`MAX_OPEN`] requests are open in a direction, and of each at most
//! [`MAX_KEPT_BYTES`] are kept.

mod records;
mod request;
mod response;

pub use request::RequestParser;
pub use response::{End, ResponseParser};

use crate::gateway::Request;
use crate::http1::{Looks, ResponseHead};

/// Most requests open on one connection.
pub const MAX_OPEN: usize = 256;
/// Most bytes kept of a request's variables or a response's head.
pub const MAX_KEPT_BYTES: usize = 64 * 1024;

/// What the direction of requests holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestPart {
    /// A request has begun. Another one of this number that is open has been given up.
    Begin {
        /// Its number.
        id: u16,
    },
    /// Its variables are known.
    Head {
        /// Its number.
        id: u16,
        /// What they say.
        request: Box<Request>,
        /// When its first byte passed.
        start_ns: u64,
        /// Where its first byte stands.
        position: u64,
    },
    /// Its last byte has passed, or it was given up by the one who asks.
    End {
        /// Its number.
        id: u16,
        /// When.
        end_ns: u64,
        /// Bytes of its records.
        bytes: u64,
    },
    /// Bytes were missed in a place that matters: requests may have been missed.
    Lost,
    /// This is not `FastCGI`. Nothing else follows.
    Stranger,
}

/// What the direction of responses holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponsePart {
    /// The head is known.
    Head {
        /// The request's number.
        id: u16,
        /// What it says.
        head: ResponseHead,
        /// When its first byte passed.
        start_ns: u64,
        /// Where its first byte stands.
        position: u64,
    },
    /// The request is over.
    End {
        /// Its number.
        id: u16,
        /// When.
        end_ns: u64,
        /// Bytes of its records.
        bytes: u64,
        /// What was said.
        end: End,
    },
    /// Bytes were missed in a place that matters: the end of a response may have been.
    Lost,
}

/// Judges first bytes: a record that begins a request. Its header is enough, for some read it by itself.
pub fn detect(bytes: &[u8]) -> Looks {
    // version, type, id, content length, padding, reserved, role
    let fits = |at: usize, byte: u8| match at {
        0 | 1 => byte == 1,
        4 | 7 | 8 => byte == 0,
        5 => byte == 8,
        9 => (1..=3).contains(&byte),
        _ => true,
    };
    let shown = &bytes[..bytes.len().min(10)];
    let has_id = shown.get(2..4).is_none_or(|id| id != [0, 0]);
    if !has_id || shown.iter().enumerate().any(|(at, byte)| !fits(at, *byte)) {
        Looks::Neither
    } else if shown.len() >= records::HEADER_BYTES {
        Looks::Request
    } else {
        Looks::TooShort
    }
}
