//! HTTP/2 (RFC 9113) from both directions of a connection: frames, header blocks, and what they say of streams.
//!
//! Nothing is kept of a stream: every part names its stream and side, in the order of the bytes of its direction.
//! Frames are skipped by their length, seen or not. Where a frame's first byte was not seen for certain, its
//! direction is searched: it goes on at a socket call that begins with a chain of frames which hold together (the
//! module `detect`). What header blocks said in the meantime stays unknown ([`crate::hpack`]).
//! Invariant: memory is bounded by one header block and one table for each direction.

mod block;
mod detect;
mod frame;
mod half;
mod head;
mod payload;
mod piece;

use model::Origin;

use crate::Chunk;
pub use detect::{Looks, detect};
use half::Half;
pub use head::Head;
pub use piece::Content;

/// Who sent the bytes of a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The one that asks.
    Client,
    /// The one that answers.
    Server,
}

/// What a direction said.
#[derive(Debug)]
pub enum Part<'a> {
    /// A header block (HEADERS and its CONTINUATIONs) has passed: request, response, interim response or trailers.
    Head {
        /// The stream.
        stream: u32,
        /// The fields, as far as they are known.
        head: Box<Head>,
        /// When the call with the first byte of the first frame passed.
        start_ns: u64,
        /// When the call with the last byte of the last frame passed.
        end_ns: u64,
        /// Where the first frame's first byte stands in its direction.
        position: u64,
        /// Bytes of the frames, their headers and padding included.
        bytes: u64,
        /// Its end was not seen: there may have been more bytes.
        cut: bool,
        /// Nothing follows on this stream in this direction.
        end_stream: bool,
    },
    /// Bytes of a DATA frame have passed: all of it, or a part that stands in one call.
    Data {
        /// The stream.
        stream: u32,
        /// When they passed.
        at_ns: u64,
        /// How many bytes, those of the frame's header and padding included.
        bytes: u64,
        /// Those of them that are the message's content.
        content: Content<'a>,
        /// The frame is over, and nothing follows on this stream in this direction.
        end_stream: bool,
    },
    /// `RST_STREAM`: the sender has given the stream up.
    Reset {
        /// The stream.
        stream: u32,
        /// RFC 9113 section 7, if it was seen.
        code: Option<u32>,
        /// When.
        at_ns: u64,
    },
    /// GOAWAY: the sender will not answer streams of the other side past this one.
    GoAway {
        /// The last stream that it may have answered or will answer.
        last_stream: u32,
        /// RFC 9113 section 7.
        code: u32,
        /// When.
        at_ns: u64,
    },
    /// Frames of this direction may have been missed.
    Lost,
    /// This is not HTTP/2, or not found to be again. Nothing else follows in this direction.
    NotHttp,
}

/// Where parts go: with the side that sent them.
pub type Sink<'a> = dyn FnMut(Sender, Part<'_>) + 'a;

/// A connection.
#[derive(Debug)]
pub struct Parser {
    client: Half,
    server: Half,
}

impl Parser {
    /// The origins of the directions: the client's, the server's. From the start, the client's begins with the
    /// connection preface (RFC 9113 section 3.4).
    pub fn new(client: Origin, server: Origin) -> Self {
        Self { client: Half::new(Sender::Client, client), server: Half::new(Sender::Server, server) }
    }

    /// Where in a direction the next frame begins, if that is certain.
    pub fn next_frame(&self, sender: Sender) -> Option<u64> {
        match sender {
            Sender::Client => self.client.next_frame(),
            Sender::Server => self.server.next_frame(),
        }
    }

    /// Takes the next chunk of one direction and tells the parts it completes.
    pub fn push(&mut self, sender: Sender, chunk: &Chunk<'_>, sink: &mut Sink<'_>) {
        let (half, other) = match sender {
            Sender::Client => (&mut self.client, &mut self.server),
            Sender::Server => (&mut self.server, &mut self.client),
        };
        half.push(chunk, &mut |part| sink(sender, part));
        if let Some(bytes) = half.take_table_bytes() {
            other.allow_table(bytes);
        }
    }
}
