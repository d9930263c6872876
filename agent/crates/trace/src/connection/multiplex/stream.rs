//! One stream: its exchange, and what has passed of its two messages. Invariant: bytes are those of the frames of
//! the message, headers of frames and padding included.

use model::{End, HttpVersion, Protocol, Span};
use protocol::grpc::Messages;
use protocol::http2::{Content, Head};

use super::grpc;
use crate::assemble::Assembler;
use crate::exchange::Exchange;

/// Of each message: how many fields are not known, and whether its bytes are but the least there were.
const REQUEST_ATTRIBUTES: [&str; 2] = ["http.request.unknown_fields", "http.request.bytes_incomplete"];
const RESPONSE_ATTRIBUTES: [&str; 2] = ["http.response.unknown_fields", "http.response.bytes_incomplete"];

/// A stream with an open exchange.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) exchange: Exchange,
    pub(super) request: Message,
    pub(super) response: Message,
    /// The response's last byte has passed.
    pub(super) response_done: bool,
    /// The final response has begun.
    pub(super) answered: bool,
    /// See [`Stream::doubt`].
    in_doubt: bool,
    /// How many bytes of content it is to have, if its head tells.
    pub(super) length: Option<u64>,
    /// What gRPC says of the outcome.
    pub(super) grpc_status: Option<u32>,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) bytes: u64,
    /// There may have been more.
    pub(super) is_short: bool,
    /// Of them content; `None`: not known.
    pub(super) content: Option<u64>,
    /// What gRPC sends as messages, counted for any stream: whether it is gRPC may be known later.
    messages: Messages,
    /// Fields that are not known, of its heads.
    unknown_fields: usize,
}

impl Message {
    fn new(from_start: bool) -> Self {
        Self {
            bytes: 0,
            is_short: false,
            content: from_start.then_some(0),
            messages: Messages::new(from_start),
            unknown_fields: 0,
        }
    }

    /// A header block of it has passed.
    pub(super) fn head(&mut self, head: &Head, (bytes, cut): (u64, bool)) {
        self.bytes += bytes;
        self.is_short |= cut;
        self.unknown_fields += head.unknown + usize::from(head.truncated);
    }

    /// Bytes of a DATA frame have passed.
    pub(super) fn data(&mut self, content: Content<'_>, bytes: u64) {
        self.bytes += bytes;
        let passed = match content {
            Content::Seen(seen) => Some(seen.len() as u64),
            Content::Missed(missed) => Some(missed),
            Content::Unknown => None,
        };
        self.content = self.content.zip(passed).map(|(before, passed)| before.saturating_add(passed));
        self.messages.push(content);
    }

    /// A message of gRPC has begun in it and is not over.
    pub(super) fn is_inside_message(&self) -> bool {
        self.messages.is_inside()
    }

    /// Frames of it may have been missed.
    pub(super) fn lose(&mut self) {
        self.is_short = true;
        self.content = None;
        self.messages.lose();
    }
}

impl Stream {
    pub(super) fn new(exchange: Exchange) -> Self {
        let from_start = exchange.request_position.is_some();
        Self {
            exchange,
            request: Message::new(from_start),
            response: Message::new(true),
            response_done: false,
            answered: false,
            in_doubt: false,
            length: None,
            grpc_status: None,
        }
    }

    /// The stream of a request that was written in HTTP/1.1 and asked for HTTP/2.
    pub(super) fn upgraded(mut exchange: Exchange) -> Self {
        let span = &mut exchange.span;
        span.protocol = Protocol::Http2;
        span.http_version = Some(HttpVersion::Http2);
        // Those of the 101, which is no final response.
        (span.status, span.ttfb_ns, span.response_bytes) = (None, None, 0);
        span.headers.retain(|(name, _)| !name.starts_with("response."));
        exchange.response_position = None;
        let bytes = exchange.span.request_bytes;
        let mut stream = Self::new(exchange);
        stream.request.bytes = bytes;
        stream
    }

    /// How long the final response is by its head (RFC 9113 section 8.1.1, RFC 9110 section 6.4.1).
    pub(super) fn set_length(&mut self, head: &Head) {
        let bodiless =
            self.exchange.span.method.as_deref() == Some("HEAD") || matches!(head.status, Some(204 | 304));
        let told = head.headers.get("content-length").and_then(|length| length.parse().ok());
        self.length = if bodiless { Some(0) } else { told };
    }

    /// All of the response's content has passed, as its head counts it; whether more follows is not said yet.
    pub(super) fn has_whole_response(&self) -> bool {
        self.answered && self.length.is_some() && self.length == self.response.content
    }

    /// The response may have begun, and even have ended, among what was missed.
    pub(super) fn doubt(&mut self) {
        self.in_doubt = true;
        self.response.lose();
    }

    /// The response begins here.
    pub(super) fn trust(&mut self) {
        if std::mem::take(&mut self.in_doubt) || self.response.is_short {
            self.response = Message::new(true);
        }
    }

    /// The exchange is over; `end_ns` is when its last byte passed.
    pub(super) fn finish(mut self, end: End, end_ns: u64, assembler: &mut Assembler, out: &mut Vec<Span>) {
        let end = if self.in_doubt { End::ProbeLost } else { end };
        let span = &mut self.exchange.span;
        span.request_bytes = self.request.bytes;
        span.response_bytes = self.response.bytes;
        let sides = [
            (&self.request, self.exchange.request_done, REQUEST_ATTRIBUTES),
            (&self.response, self.response_done, RESPONSE_ATTRIBUTES),
        ];
        for (message, is_done, [unknown_fields, incomplete]) in sides {
            if message.unknown_fields > 0 {
                span.set(unknown_fields, message.unknown_fields as u64);
            }
            // What was lost at the end of a direction is not noticed before something follows.
            let is_short = message.is_short || end == End::Complete && !is_done;
            if is_short && end != End::ProbeLost {
                span.set(incomplete, true);
            }
        }
        if span.protocol == Protocol::Grpc {
            let has_ended = end != End::Complete || self.exchange.request_done;
            let requests = self.request.messages.count().filter(|_| has_ended);
            grpc::settle(span, self.grpc_status, [requests, self.response.messages.count()]);
        }
        assembler.finish(self.exchange, end, end_ns, out);
    }
}
