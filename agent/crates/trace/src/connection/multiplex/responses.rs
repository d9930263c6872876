//! What the server says. Invariant: an answer goes to the request of its own stream, or to none.

use model::{End, HttpVersion, Span};
use protocol::http2::{Head, Part};

use super::grpc;
use super::stream::Stream;
use super::{MAX_OPEN, Streams};
use crate::assemble::Assembler;
use crate::head::Answering;
use crate::place::Thread;

impl Streams {
    /// Takes a part of the server's direction. `thread`: of the call in hand.
    pub(super) fn answer(
        &mut self,
        part: Part<'_>,
        thread: Thread,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        if !matches!(part, Part::Lost | Part::NotHttp) && std::mem::take(&mut self.answers_missed) {
            self.open.values_mut().for_each(Stream::doubt);
        }
        match part {
            Part::Head { stream, head, start_ns, end_ns, position, bytes, cut, end_stream } => {
                if !self.open.contains_key(&stream) {
                    self.join_late(stream, &head, start_ns, thread, assembler);
                }
                let Some(open) = self.open.get_mut(&stream) else { return };
                open.exchange.touch(end_ns);
                if is_interim(&head, end_stream) {
                    return;
                }
                if head.status.is_some() {
                    open.trust();
                }
                if open.begins_with(&head) {
                    // Whatever was taken for its beginning before was an interim response.
                    open.response.bytes = 0;
                    open.answered = true;
                    open.set_length(&head);
                    let answering = Answering {
                        status: head.status,
                        version: Some(HttpVersion::Http2),
                        headers: &head.headers,
                    };
                    assembler.respond(&mut open.exchange, answering, start_ns, position);
                    assembler.answer(&mut open.exchange, thread, end_ns);
                    if grpc::is_grpc(&head.headers) {
                        grpc::mark(&mut open.exchange);
                    }
                } else if open.may_begin_again() {
                    open.response.bytes = 0;
                    open.response.is_short = true;
                }
                open.response.head(&head, (bytes, cut));
                open.response_done |= end_stream;
                open.grpc_status = grpc::status(&head.headers).or(open.grpc_status);
                if end_stream {
                    self.finish(stream, End::Complete, end_ns, assembler, out);
                }
            }
            Part::Data { stream, at_ns, bytes, content, end_stream } => {
                let Some(open) = self.open.get_mut(&stream) else { return };
                open.response.data(content, bytes);
                open.exchange.touch(at_ns);
                open.response_done |= end_stream;
                if end_stream {
                    self.finish(stream, End::Complete, at_ns, assembler, out);
                }
            }
            Part::Reset { stream, code, at_ns } => {
                self.reset(stream, code, (End::ServerClosed, at_ns), assembler, out);
            }
            Part::GoAway { last_stream, code: _, at_ns } => {
                // They will not be answered, and may be sent again on another connection (section 6.8).
                while let Some(stream) =
                    self.open.range(last_stream.saturating_add(1)..).next().map(|(id, _)| *id)
                {
                    if let Some(open) = self.open.get_mut(&stream) {
                        open.exchange.span.set("error.type", "GOAWAY");
                    }
                    self.finish(stream, End::ServerClosed, at_ns, assembler, out);
                }
            }
            Part::Lost => {
                // The end of any of them may have been among what was missed.
                self.abandon(End::ProbeLost, assembler, out);
                self.answers_missed = true;
                self.note(&Part::Lost, assembler);
            }
            part @ Part::NotHttp => self.note(&part, assembler),
        }
    }

    /// A response has begun whose request was not seen.
    fn join_late(
        &mut self,
        stream: u32,
        head: &Head,
        start_ns: u64,
        thread: Thread,
        assembler: &mut Assembler,
    ) {
        // Pushed (even), or no beginning of a final response: nothing is counted.
        if stream.is_multiple_of(2) || head.status.is_none_or(|status| status < 200) {
            return;
        }
        let before = self.first_stream.is_none_or(|first| stream < first);
        if !self.midway || !before || self.open.len() >= MAX_OPEN {
            assembler.counts.unpaired_responses += 1;
            return;
        }
        let (number, place) = self.begin();
        let exchange = assembler.open_late(place, thread, number, start_ns);
        self.open.insert(stream, Stream::new(exchange));
    }
}

impl Stream {
    /// Whether a header block is the beginning of the final response; else it is trailers.
    fn begins_with(&self, head: &Head) -> bool {
        !self.answered || self.exchange.span.status.is_none() && head.status.is_some()
    }

    /// Whether a header block that says no status may be the beginning of the final response all the same: of the one
    /// before it is not known either whether it was an interim one.
    fn may_begin_again(&self) -> bool {
        self.exchange.span.status.is_none() && self.response.content == Some(0)
    }
}

/// An interim response (RFC 9110 section 15.2). 101 does not occur (RFC 9113 section 8.6).
fn is_interim(head: &Head, end_stream: bool) -> bool {
    !end_stream && head.status.is_some_and(|status| status < 200)
}
