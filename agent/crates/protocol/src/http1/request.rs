//! The request side: what a request's head says of the bytes after it.

use model::{HttpVersion, Origin};

use super::framing::{Body, Length, length};
use super::head::RawHead;
use super::start_line::StartLine;
use super::stream::{Reading, Side, Stream};
use super::{Headers, Part};
use crate::Chunk;

/// A request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// The method, as sent.
    pub method: String,
    /// The target, as sent; cut off if the head was cut off inside it.
    pub target: String,
    /// The version; HTTP/1.1 if the head was cut off before it.
    pub version: Option<HttpVersion>,
    /// The fields.
    pub headers: Headers,
    /// The end of the head was not copied: fields may be missing.
    pub truncated: bool,
}

/// Reads requests from the direction that carries them.
///
/// Feed chunks in order with `push`; call `switch` when the response side reports `Upgraded`, and
/// `close` when the stream has ended. A request that offers a switch (CONNECT, Upgrade) ends by its own
/// framing, with its head or body; bytes after it that are not HTTP are passed over in silence, for the
/// response that accepts the offer may still be on its way.
#[derive(Debug)]
pub struct RequestParser {
    stream: Stream<Requests>,
}

#[derive(Debug)]
struct Requests;

impl RequestParser {
    /// `origin`: whether the first chunk holds the connection's first byte. If it does, bytes that are not a
    /// request are `NotHttp` at once; if not, the parser looks for the next request.
    pub fn new(origin: Origin) -> Self {
        Self { stream: Stream::new(Requests, origin) }
    }

    /// Takes the next chunk and gives the parts it completes, in order.
    pub fn push(&mut self, chunk: &Chunk<'_>, sink: &mut dyn FnMut(Part<RequestHead>)) {
        self.stream.push(chunk, sink);
    }

    /// The response side has switched protocols: what is open here ends with `EndBy::Upgrade` at `at_ns`.
    /// Nothing else follows in this direction.
    pub fn switch(&mut self, at_ns: u64, sink: &mut dyn FnMut(Part<RequestHead>)) {
        self.stream.switch(at_ns, sink);
    }

    /// The stream has ended: what is open ends with `EndBy::Cut`, or `EndBy::Lost` if its end was not seen.
    pub fn close(&mut self, sink: &mut dyn FnMut(Part<RequestHead>)) {
        self.stream.close(sink);
    }
}

impl Side for Requests {
    type Head = RequestHead;

    fn start_line(sure: bool) -> StartLine {
        if sure { StartLine::request() } else { StartLine::likely_request() }
    }

    fn read(&mut self, raw: RawHead<'_>) -> Reading<RequestHead> {
        let (headers, truncated) = raw.headers();
        let method = raw.text(0, raw.start.method_end);
        let target = raw.text(raw.start.method_end + 1, raw.start.target_end);
        let body = match length(&headers) {
            Length::Chunked => Body::Chunked,
            Length::Counted(bytes) if bytes > 0 => Body::Counted(bytes),
            // RFC 9112 section 6.3, items 4 and 5: the server must refuse it.
            Length::OtherCoding | Length::Invalid => Body::Unframeable,
            Length::Unsaid if raw.truncated && !is_bodiless(&method) => Body::Unknown,
            Length::Unsaid | Length::Counted(_) => Body::None,
        };
        let offers_switch = method == "CONNECT" || headers.get("upgrade").is_some();
        let head = RequestHead { method, target, version: Some(raw.start.version), headers, truncated };
        Reading { head, body, sure: true, offers_switch }
    }
}

/// Methods whose requests have no body in practice: trusted only where the fields that would tell are missing.
fn is_bodiless(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "DELETE" | "OPTIONS" | "TRACE" | "CONNECT")
}
