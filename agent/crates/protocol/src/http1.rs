//! HTTP/1.0 and HTTP/1.1 messages (RFC 9112) from one direction of a connection.

use model::{HttpVersion, Origin};

use crate::Chunk;

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
    },
    /// From here on the connection speaks another protocol. Nothing else follows in this direction.
    Upgraded,
    /// The framing was lost (bytes missed in a place that matters): a message that was open has ended
    /// with `EndBy::Lost`; the parser looks for the next message.
    Lost,
    /// These bytes are not HTTP/1: the connection should be let go. Nothing else follows in this direction.
    NotHttp,
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
    /// Bytes were missed and the end with them; `end_ns` is the last byte that surely belongs to it.
    Lost,
    /// The head announced a switch and the switch came about (request side: with its response).
    Upgrade,
}

/// A request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// The method, as sent.
    pub method: String,
    /// The target, as sent.
    pub target: String,
    /// The version.
    pub version: HttpVersion,
    /// The fields.
    pub headers: Headers,
    /// The end of the head was not copied: fields may be missing.
    pub truncated: bool,
}

/// A response's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code. 100 to 199 (but 101) are interim: their message ends with the head.
    pub status: u16,
    /// The version.
    pub version: HttpVersion,
    /// The fields.
    pub headers: Headers,
    /// The end of the head was not copied: fields may be missing.
    pub truncated: bool,
}

/// The fields of a head, in order, as sent (obs-fold joined by a space, surrounding white space removed).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    fields: Vec<(String, String)>,
}

impl Headers {
    /// The first field of this name, compared without case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every field of this name, in order, compared without case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.fields.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What the response side must know of a request to frame its response (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// HEAD: the response has no body.
    Head,
    /// CONNECT: a 2xx response turns the connection into a tunnel.
    Connect,
    /// Any other method.
    Other,
}

/// Reads requests from the direction that carries them.
///
/// Feed chunks in order with `push`; call `switch` when the response side reports `Upgraded`, and
/// `close` when the stream has ended.
#[derive(Debug)]
pub struct RequestParser {}

impl RequestParser {
    /// `origin`: whether the first chunk holds the connection's first byte. If it does, bytes that are not a
    /// request are `NotHttp` at once; if not, the parser looks for the next request.
    pub fn new(origin: Origin) -> Self {
        let _ = origin;
        Self {}
    }

    /// Takes the next chunk and gives the parts it completes, in order.
    pub fn push(&mut self, chunk: &Chunk<'_>, sink: &mut dyn FnMut(Part<RequestHead>)) {
        let _ = (chunk, sink);
    }

    /// The response side has switched protocols: what is open here ends with `EndBy::Upgrade`.
    pub fn switch(&mut self, at_ns: u64, sink: &mut dyn FnMut(Part<RequestHead>)) {
        let _ = (at_ns, sink);
    }

    /// The stream has ended: what is open ends with `EndBy::Cut`. Call once.
    pub fn close(&mut self, sink: &mut dyn FnMut(Part<RequestHead>)) {
        let _ = sink;
    }
}

/// Reads responses from the direction that carries them.
///
/// `expect` tells it of each request whose head has been seen, in order, before its response can come.
/// Interim responses do not use one up.
#[derive(Debug)]
pub struct ResponseParser {}

impl ResponseParser {
    /// `origin` as for [`RequestParser::new`].
    pub fn new(origin: Origin) -> Self {
        let _ = origin;
        Self {}
    }

    /// A request of this kind has been seen; its final response is still to come.
    pub fn expect(&mut self, asked: Asked) {
        let _ = asked;
    }

    /// Takes the next chunk and gives the parts it completes, in order.
    pub fn push(&mut self, chunk: &Chunk<'_>, sink: &mut dyn FnMut(Part<ResponseHead>)) {
        let _ = (chunk, sink);
    }

    /// The stream has ended: what is open ends with `EndBy::Close` or `EndBy::Cut`. Call once.
    pub fn close(&mut self, sink: &mut dyn FnMut(Part<ResponseHead>)) {
        let _ = sink;
    }
}

/// What the first bytes of a direction look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// A request line, or the beginning of one.
    Request,
    /// A status line, or the beginning of one.
    Response,
    /// Too short to tell.
    TooShort,
    /// Neither.
    Neither,
}

/// Judges the first bytes of a socket call. Strict: a method token, a space, a target, ` HTTP/1.`; as far as
/// the bytes reach.
pub fn detect(bytes: &[u8]) -> Looks {
    let _ = bytes;
    Looks::Neither
}
