//! Requests that were read ahead of their turn, and who is at which connection.
//!
//! Invariant: a thread or greenlet works for such a request only if it has read it, answers it, and was at no other server
//! connection since the answer before; and only in processes where nobody answers what another one has read, and none of them
//! was left without an answer lately, as nobody knows who is at work on that.

use model::{Blur, Identity};
use rustc_hash::FxHashMap;

use crate::place::Thread;
use crate::resets::HOLD_NS;

/// Most threads and greenlets of one process.
const MAX_LANES: usize = 16_384;
/// How long somebody may be at work on a request that cannot be answered any more.
const DOUBT_NS: u64 = 600_000_000_000;

/// A thread or greenlet: what stands for it among contexts, and its thread.
pub(super) type Hand = (u64, u32);

/// Where a thread or greenlet is.
#[derive(Debug, Clone, Copy)]
struct Lane {
    connection: u64,
    since_ns: u64,
}

/// Those of one process.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Open requests that were read ahead, by the thread that read them.
    ahead: FxHashMap<u32, usize>,
    /// Kept while there are such requests.
    lanes: FxHashMap<Hand, Lane>,
    /// Another one has answered than the one that had read.
    handed_over: bool,
    /// One was left without an answer since anything was done.
    left: bool,
    /// When a connection was last lost on which an answer was due.
    left_ns: u64,
    doubtful_until_ns: u64,
}

impl Turns {
    pub(super) fn begin(&mut self, tid: u32) {
        *self.ahead.entry(tid).or_default() += 1;
    }

    pub(super) fn end(&mut self, tid: u32, is_answered: bool) {
        self.left |= !is_answered;
        if let Some(count) = self.ahead.get_mut(&tid) {
            *count -= 1;
            if *count == 0 {
                self.ahead.remove(&tid);
            }
        }
        if self.ahead.is_empty() {
            self.lanes = FxHashMap::default();
        }
    }

    /// Requests are left without an answer: known at once, though they are open for a moment longer.
    pub(super) fn leave(&mut self, at_ns: u64) {
        self.left |= !self.ahead.is_empty();
        self.left_ns = at_ns;
    }

    /// Whether a request that is open may be one that was left: whoever read it may be at work on what another has read.
    pub(super) fn may_be_left(&self, at_ns: u64) -> bool {
        let is_due = !self.ahead.is_empty() || self.left || at_ns < self.doubtful_until_ns;
        is_due && at_ns.saturating_sub(self.left_ns) <= HOLD_NS
    }

    /// Whether such requests are open.
    pub(super) fn any_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Whether a thread has read requests ahead.
    pub(super) fn are_read_by(&self, tid: u32) -> bool {
        self.ahead.contains_key(&tid)
    }

    /// What was learned for good must not be forgotten.
    pub(super) fn is_empty(&self) -> bool {
        self.ahead.is_empty() && !self.handed_over && !self.left && self.doubtful_until_ns == 0
    }

    /// Something was done at a server's connection.
    pub(super) fn touch(&mut self, hand: Hand, connection: u64, at_ns: u64) {
        if std::mem::take(&mut self.left) {
            self.doubtful_until_ns = at_ns.saturating_add(DOUBT_NS);
        }
        if self.ahead.is_empty() || (self.lanes.len() >= MAX_LANES && !self.lanes.contains_key(&hand)) {
            return;
        }
        let lane = self.lanes.entry(hand).or_insert(Lane { connection, since_ns: at_ns });
        if lane.connection != connection {
            *lane = Lane { connection, since_ns: at_ns };
        }
    }

    /// Whether it may be at work on a request that was read ahead.
    pub(super) fn may_have(&self, hand: Hand) -> bool {
        !self.handed_over && self.lanes.contains_key(&hand)
    }

    /// A request is answered by somebody who was just told of. Whether they have worked for it since `from_ns`.
    pub(super) fn answer(&mut self, reader: Option<Hand>, answerer: Hand, from_ns: u64) -> bool {
        if self.ahead.is_empty() {
            return false;
        }
        self.handed_over |= reader != Some(answerer);
        let since = self.lanes.get(&answerer).map(|lane| lane.since_ns);
        !self.handed_over
            && from_ns >= self.doubtful_until_ns
            && since.is_some_and(|since_ns| since_ns <= from_ns)
    }
}

/// Whether it reads a request ahead of its turn.
pub(super) fn reads_ahead(reader: Thread) -> bool {
    reader.identity == Identity::Unknown(Blur::ReadAhead)
}

/// A thread of Python that does one thing at a time, or a greenlet.
pub(super) fn hand(thread: Thread) -> Option<Hand> {
    match thread.identity {
        // No address is as small as the number of a thread.
        Identity::Base(_) => Some((u64::from(thread.tid), thread.tid)),
        Identity::Greenlet(greenlet) => Some((greenlet, thread.tid)),
        Identity::Thread | Identity::Task(_) | Identity::Unknown(_) => None,
    }
}
