//! The response side: what a response's head and the request before it say of the bytes after it.

use std::collections::VecDeque;

use model::{HttpVersion, Origin};

use super::flow::Flow;
use super::framing::{Body, Length, length};
use super::head::RawHead;
use super::start_line::StartLine;
use super::stream::{Reading, Side, Stream};
use super::{Headers, Part};
use crate::Chunk;

/// Requests that may wait for their responses. What is pipelined beyond is answered as `Asked::Other`.
const MAX_EXPECTED: usize = 4096;

/// A response's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code. 100 to 199 (but 101) are interim: their message ends with the head.
    pub status: u16,
    /// The version.
    pub version: Option<HttpVersion>,
    /// The fields.
    pub headers: Headers,
    /// How long the message is was known with its head: it does not last until the last chunk or the close.
    pub sized: bool,
    /// The end of the head was not copied: fields may be missing.
    pub truncated: bool,
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

/// Reads responses from the direction that carries them.
///
/// `expect` tells it of each request whose head has been seen, in order, before its response can come.
/// Interim responses do not use one up. A response that nobody asked for is framed as one to
/// `Asked::Other`, but a call that begins with a status line ends it, for the request may have been a HEAD
/// that was not seen. After `Lost` only the last request told is still expected.
#[derive(Debug)]
pub struct ResponseParser {
    stream: Stream<Responses>,
}

#[derive(Debug)]
struct Responses {
    expected: VecDeque<Asked>,
    /// What is expected may not be what comes.
    stale: bool,
}

impl ResponseParser {
    /// `origin` as for [`RequestParser::new`](super::RequestParser::new).
    pub fn new(origin: Origin) -> Self {
        Self { stream: Stream::new(Responses { expected: VecDeque::new(), stale: false }, origin) }
    }

    /// A request of this kind has been seen; its final response is still to come.
    pub fn expect(&mut self, asked: Asked) {
        let expected = &mut self.stream.side.expected;
        if expected.len() < MAX_EXPECTED {
            expected.push_back(asked);
        }
    }

    /// Of the requests told so far only the last `count` still wait for a response to begin.
    pub fn still_expect(&mut self, count: usize) {
        let expected = &mut self.stream.side.expected;
        expected.drain(..expected.len().saturating_sub(count));
    }

    /// Takes the next chunk and gives the parts it completes, in order.
    pub fn push(&mut self, chunk: &Chunk<'_>, sink: &mut dyn FnMut(Part<ResponseHead>)) {
        self.stream.push(chunk, sink);
    }

    /// How the body of the last response has come so far.
    pub fn flow(&self) -> Flow {
        self.stream.flow
    }

    /// The stream has ended: what is open ends with `EndBy::Close` or `EndBy::Cut`, or `EndBy::Lost` if its
    /// end was not seen.
    pub fn close(&mut self, sink: &mut dyn FnMut(Part<ResponseHead>)) {
        self.stream.close(sink);
    }
}

impl Side for Responses {
    type Head = ResponseHead;

    fn start_line(_sure: bool) -> StartLine {
        StartLine::status()
    }

    fn read(&mut self, raw: RawHead<'_>) -> Reading<ResponseHead> {
        let (headers, truncated) = raw.headers();
        let status = raw.start.status;
        let interim = (100..200).contains(&status) && status != 101;
        let asked = if interim { Some(Asked::Other) } else { self.expected.pop_front() };
        let length = length(&headers);
        let body = match (status, asked.unwrap_or(Asked::Other), length) {
            (101, _, _) | (200..300, Asked::Connect, _) => Body::Switched,
            (100..200 | 204 | 304, _, _) | (_, Asked::Head, _) | (_, _, Length::Counted(0)) => Body::None,
            (_, _, Length::Chunked) => Body::Chunked,
            (_, _, Length::Counted(bytes)) => Body::Counted(bytes),
            (_, _, Length::Unsaid) if raw.truncated => Body::Unknown,
            (_, _, Length::Unsaid | Length::OtherCoding | Length::Invalid) => Body::UntilClose,
        };
        let sure = asked.is_some() && !self.stale && length != Length::Invalid;
        self.stale &= interim;
        let sized = matches!(body, Body::None | Body::Counted(_));
        let head = ResponseHead { status, version: Some(raw.start.version), headers, sized, truncated };
        Reading { head, body, sure, offers_switch: false }
    }

    fn lost(&mut self) {
        let last = self.expected.pop_back();
        self.expected.clear();
        self.expected.extend(last);
        self.stale = true;
    }
}
