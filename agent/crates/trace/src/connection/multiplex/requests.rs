//! What the client says. Invariant: a stream is opened by a header block that is a request's for certain.

use model::{End, HttpVersion, Span, SpanKind};
use protocol::http2::{Head, Part};

use super::grpc;
use super::stream::Stream;
use super::{MAX_OPEN, Streams};
use crate::assemble::Assembler;
use crate::head::Asking;
use crate::place::Thread;

/// What the product token of a user agent is in which one thread may write for another.
const SHARED_WRITER: &str = "grpc-c/";

/// Codes by which a side says that it wants no more, and that nothing is wrong (RFC 9113 section 7).
const NO_ERROR: u32 = 0;
const STREAM_CLOSED: u32 = 5;
const CANCEL: u32 = 8;

impl Streams {
    /// Takes a part of the client's direction. `thread`: of the call in hand.
    pub(super) fn ask(
        &mut self,
        part: Part<'_>,
        thread: Thread,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        match part {
            Part::Head { stream, head, start_ns, end_ns, position, bytes, cut, end_stream } => {
                // If it is open, these are trailers.
                let is_new = !self.open.contains_key(&stream) && self.is_new(stream, &head);
                if is_new {
                    self.begin_request(stream, &head, (start_ns, position), thread, assembler);
                }
                if let Some(open) = self.open.get_mut(&stream) {
                    open.request.head(&head, (bytes, cut));
                    open.exchange.touch(end_ns);
                    open.exchange.request_done |= end_stream;
                }
                // A block whose end was missed is told when something else is seen: by then it may have been answered.
                if is_new && position < self.unseen_before {
                    self.finish(stream, End::ProbeLost, end_ns, assembler, out);
                }
            }
            Part::Data { stream, at_ns, bytes, content, end_stream } => {
                if let Some(open) = self.open.get_mut(&stream) {
                    open.request.data(content, bytes);
                    open.exchange.touch(at_ns);
                    open.exchange.request_done |= end_stream;
                }
            }
            Part::Reset { stream, code, at_ns } => {
                self.reset(stream, code, (End::ClientClosed, at_ns), assembler, out);
            }
            Part::Lost => {
                for open in self.open.values_mut().filter(|open| !open.exchange.request_done) {
                    open.request.lose();
                }
                self.note(&Part::Lost, assembler);
            }
            part => self.note(&part, assembler),
        }
    }

    /// A side has given a stream up.
    pub(super) fn reset(
        &mut self,
        stream: u32,
        code: Option<u32>,
        (end, at_ns): (End, u64),
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        let Some(open) = self.open.get_mut(&stream) else { return };
        // A client that has the content that the head told may leave before END_STREAM; curl says STREAM_CLOSED.
        let is_calm = matches!(code, Some(NO_ERROR | STREAM_CLOSED | CANCEL));
        if end == End::ClientClosed && is_calm && open.has_whole_response() {
            let last_ns = open.exchange.last_ns;
            return self.finish(stream, End::Complete, last_ns, assembler, out);
        }
        if let Some(code) = code {
            open.exchange.span.set("error.type", error_name(code));
        }
        self.finish(stream, end, at_ns, assembler, out);
    }

    /// Clients number their streams upwards (RFC 9113 section 5.1.1).
    fn is_new(&self, stream: u32, head: &Head) -> bool {
        stream % 2 == 1 && stream > self.last_stream && head.asks()
    }

    fn begin_request(
        &mut self,
        stream: u32,
        head: &Head,
        (start_ns, position): (u64, u64),
        thread: Thread,
        assembler: &mut Assembler,
    ) {
        self.first_stream.get_or_insert(stream);
        self.last_stream = stream;
        if self.open.len() >= MAX_OPEN {
            assembler.counts.overrun_requests += 1;
            return;
        }
        let calls = self.calls.iter().rev();
        let first = calls
            .clone()
            .find(|(at, _)| *at <= position)
            .map_or(thread.within_call(true), |(at, first)| first.within_call(*at != position));
        let asking = Asking {
            method: head.method.as_deref(),
            target: head.path.as_deref().or_else(|| connect_target(head)),
            authority: head.authority.as_deref(),
            version: Some(HttpVersion::Http2),
            headers: &head.headers,
            is_cut: !head.is_whole(),
            by_any_thread: head.headers.get("user-agent").is_some_and(|agent| agent.contains(SHARED_WRITER)),
        };
        let (number, place) = self.begin();
        let mut exchange = assembler.open(place, first, asking, number, (start_ns, position));
        if head.scheme.as_deref() == Some("https") {
            exchange.span.scheme = "https";
        }
        if grpc::is_grpc(&head.headers) {
            grpc::mark(&mut exchange);
        }
        // Several threads' requests may go out in one call: then it is not known whose they are.
        if self.place.kind == SpanKind::Client
            && let Some(before) = self.opened.replace(stream)
        {
            assembler.disown(&mut exchange);
            if let Some(open) = self.open.get_mut(&before) {
                assembler.disown(&mut open.exchange);
            }
        }
        self.open.insert(stream, Stream::new(exchange));
    }
}

/// CONNECT has no path: its target is the authority (RFC 9113 section 8.5).
fn connect_target(head: &Head) -> Option<&str> {
    head.authority.as_deref().filter(|_| head.method.as_deref() == Some("CONNECT"))
}

/// RFC 9113 section 7.
fn error_name(code: u32) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    NAMES.get(code as usize).map_or_else(|| format!("0x{code:x}"), |name| (*name).to_owned())
}
