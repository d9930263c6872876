//! One direction of a connection: cuts its bytes into messages, whichever side they come from.
//!
//! Invariants: every `Head` is followed by exactly one `End` before the next; `at` is the position of the next
//! byte, and every byte, seen or not, moves it once; after `Done` nothing is said.

use model::Origin;

mod advance;

use super::blind::{Blind, Sight};
use super::chunked::Chunks;
use super::detect::skip_empty_lines;
use super::flow::Flow;
use super::framing::Body;
use super::head::{Gathering, RawHead};
use super::start_line::{StartLine, Verdict};
use super::{EndBy, Part};
use crate::Chunk;
use crate::call::Call;

/// Calls and bytes that are searched for a message before a direction that has shown none is given up.
const MAX_SEARCH_CALLS: u32 = 64;
const MAX_SEARCH_BYTES: u64 = 4 * 1024 * 1024;

/// How much longer a direction is searched that has shown one.
const PROVEN_PATIENCE: u32 = 16;

/// What differs between requests and responses.
pub(super) trait Side {
    /// The head's value.
    type Head;

    /// An empty start line of this side. Not `sure`: of bytes that may be anything.
    fn start_line(sure: bool) -> StartLine;

    /// Reads a head.
    fn read(&mut self, raw: RawHead<'_>) -> Reading<Self::Head>;

    /// Whole messages may have been missed.
    fn lost(&mut self) {}
}

/// A head and what it says of the bytes after it.
#[derive(Debug)]
pub(super) struct Reading<H> {
    pub head: H,
    pub body: Body,
    /// The framing can be relied upon.
    pub sure: bool,
    /// What follows the message may be another protocol.
    pub offers_switch: bool,
}

/// Where parts go.
pub(super) type Sink<'a, S> = dyn FnMut(Part<<S as Side>::Head>) + 'a;

/// One direction.
#[derive(Debug)]
pub(super) struct Stream<S> {
    pub side: S,
    /// The position of the next byte.
    at: u64,
    /// `at` is known: the first call has come, or the connection's beginning has been seen.
    anchored: bool,
    /// When the last call passed.
    last_ns: u64,
    state: State,
    /// How the body of the message came that began last.
    pub flow: Flow,
    /// The probe was not told of some bytes of it: what ends then may be another message.
    missed: bool,
    /// A message has been seen.
    proven: bool,
    searched_calls: u32,
    searched_bytes: u64,
}

#[derive(Debug)]
enum State {
    /// The next byte is a message's first. Not `sure`: if it is one's at all.
    Boundary { sure: bool },
    /// In a head.
    Head(Box<Gathering>),
    /// In a body whose end will be known. Not `sure`: unless a message begins before.
    Body { open: Open, rest: Rest, sure: bool },
    /// In a message whose end cannot be counted.
    Blind { open: Open, blind: Blind },
    /// Looking for a call that begins with a message.
    Searching,
    /// Closed, switched or not HTTP.
    Done,
}

/// A message whose head has been told.
#[derive(Debug, Clone, Copy)]
struct Open {
    position: u64,
    offers_switch: bool,
}

/// What is left of a body.
#[derive(Debug)]
enum Rest {
    Counted(u64),
    Chunked(Chunks),
    UntilClose,
}

impl<S: Side> Stream<S> {
    pub fn new(side: S, origin: Origin) -> Self {
        let (anchored, state) = match origin {
            Origin::Start => (true, State::Boundary { sure: true }),
            Origin::Midway => (false, State::Searching),
        };
        let (at, last_ns, proven) = (0, 0, false);
        let (flow, missed) = (Flow::default(), false);
        Self {
            side,
            at,
            anchored,
            last_ns,
            state,
            flow,
            missed,
            proven,
            searched_calls: 0,
            searched_bytes: 0,
        }
    }

    /// Takes the next chunk and tells the parts it completes.
    pub fn push(&mut self, chunk: &Chunk<'_>, sink: &mut Sink<'_, S>) {
        if matches!(self.state, State::Done) {
            return;
        }
        if !self.anchored {
            self.anchored = true;
            self.at = chunk.position;
        }
        let Some(call) = Call::after(self.at, chunk) else { return };
        // The end of what was lost is not known, so nothing in it is later than the call before it.
        let gap = call.position - self.at;
        self.miss(gap, self.last_ns, sink);
        if gap > 0 && matches!(self.state, State::Blind { .. }) {
            self.missed = true;
            self.side.lost();
        }
        if call.begins {
            self.greet(&call, sink);
        }
        self.run(call.head, call.at_ns, sink);
        self.miss(call.hole, call.at_ns, sink);
        self.run(call.tail, call.at_ns, sink);
        self.judge_end(&call, sink);
        self.last_ns = call.at_ns;
        self.bound_search(call.len(), sink);
    }

    /// Another protocol follows: what is open ends.
    pub fn switch(&mut self, at_ns: u64, sink: &mut Sink<'_, S>) {
        self.end(EndBy::Upgrade, at_ns, sink);
        self.state = State::Done;
    }

    /// The stream has ended: what is open ends.
    pub fn close(&mut self, sink: &mut Sink<'_, S>) {
        let by = match self.state {
            State::Body { rest: Rest::UntilClose, .. } => EndBy::Close,
            State::Blind { .. } => EndBy::Lost,
            _ => EndBy::Cut,
        };
        self.end(by, self.last_ns, sink);
        self.state = State::Done;
    }

    /// How a blind message ends whose end seems to have been seen.
    fn sighted(&self) -> EndBy {
        if self.missed { EndBy::Lost } else { EndBy::Framing }
    }

    /// Ends the open message, if there is one, before the byte at `at`.
    fn end(&mut self, by: EndBy, end_ns: u64, sink: &mut Sink<'_, S>) {
        let (State::Body { open, .. } | State::Blind { open, .. }) = self.state else { return };
        self.state = match by {
            EndBy::Framing => State::Boundary { sure: !open.offers_switch },
            EndBy::Lost => State::Searching,
            EndBy::Close | EndBy::Cut | EndBy::Upgrade => State::Done,
        };
        sink(Part::End { end_ns, bytes: self.at - open.position, by, flow: self.flow });
    }

    /// A call begins: where no message is known to go on, it may begin with a new one.
    fn greet(&mut self, call: &Call<'_>, sink: &mut Sink<'_, S>) {
        let may_begin = match &self.state {
            State::Searching => true,
            State::Head(head) => !head.sure && head.scan.start.verdict() == Verdict::Pending,
            State::Body { sure, .. } => !sure,
            State::Blind { blind, .. } => blind.may_end_before(self.at),
            State::Boundary { .. } | State::Done => false,
        };
        if !may_begin {
            return;
        }
        let first = skip_empty_lines(call.head);
        let verdict = S::start_line(false).feed(first);
        // A line that is cut off by the call's end may go on in the next call; one cut off by the limit on
        // copying cannot.
        let begun = verdict == Verdict::Pending && !first.is_empty() && call.head.len() as u64 == call.len();
        match &self.state {
            State::Searching if verdict == Verdict::Complete || begun => {}
            State::Head(_) | State::Body { .. } | State::Blind { .. } if verdict == Verdict::Complete => {}
            State::Head(head) if head.scan.start.clone().feed(call.head) == Verdict::Refused => {
                self.state = if begun { State::Boundary { sure: false } } else { State::Searching };
                return;
            }
            _ => return,
        }
        if matches!(self.state, State::Body { .. } | State::Blind { .. }) {
            self.side.lost();
        }
        self.end(EndBy::Lost, self.last_ns, sink);
        self.state = State::Boundary { sure: false };
    }

    /// A call ends: its last bytes may say where a blind message stands.
    fn judge_end(&mut self, call: &Call<'_>, sink: &mut Sink<'_, S>) {
        let State::Blind { open, blind } = &self.state else { return };
        let (last, whole) = call.ending();
        let rest = match blind.at_call_end(last, whole, self.at) {
            Sight::None => return,
            Sight::Over => return self.end(self.sighted(), call.at_ns, sink),
            Sight::Presumed => return self.end(EndBy::Lost, call.at_ns, sink),
            Sight::Counted(bytes) => Rest::Counted(bytes),
            Sight::Chunked(chunks) => Rest::Chunked(chunks),
        };
        self.state = State::Body { open: *open, rest, sure: false };
    }

    /// Gives the direction up once it has been searched for long enough.
    fn bound_search(&mut self, call_bytes: u64, sink: &mut Sink<'_, S>) {
        let searching = match &self.state {
            State::Searching => true,
            State::Head(head) => !head.sure && head.scan.start.verdict() == Verdict::Pending,
            _ => false,
        };
        if !searching {
            return;
        }
        let patience = if self.proven { PROVEN_PATIENCE } else { 1 };
        self.searched_calls = self.searched_calls.saturating_add(1);
        self.searched_bytes = self.searched_bytes.saturating_add(call_bytes);
        if self.searched_calls > MAX_SEARCH_CALLS * patience
            || self.searched_bytes > MAX_SEARCH_BYTES * u64::from(patience)
        {
            self.state = State::Done;
            sink(Part::NotHttp);
        }
    }
}
