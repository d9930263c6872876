//! The threads that read requests, and how busy they are.
//!
//! Invariants: between two tellings every moment is told once, and only as far as it is known; at most so many threads
//! are kept.

use model::{Blur, Identity, Load};
use rustc_hash::FxHashMap;

use super::Moment;
use crate::place::Thread;

/// Most threads that are kept.
const MAX_READERS: usize = 16_384;
/// How often it is told how busy they were.
const PERIOD_NS: u64 = 10_000_000_000;
/// A thread that has read no request for so long is none that serves.
const RETIRED_NS: u64 = 600_000_000_000;

/// All of them, by process and thread.
#[derive(Debug, Default)]
pub(super) struct Readers {
    known: FxHashMap<(u32, u32), Reader>,
    told_ns: u64,
}

/// A thread that has read a request.
#[derive(Debug)]
struct Reader {
    /// Requests that it has read and that are not over.
    open: u32,
    begun: u64,
    told_begun: u64,
    last_begun_ns: u64,
    /// It does other things while a request is open: how busy it is shows by its CPU time only.
    is_loop: bool,
    /// Until when it has been told what it did, and what since: time with a request open.
    told_ns: u64,
    busy_from_ns: u64,
    busy_ns: u64,
    /// The same of a loop: the first and the last call since.
    first: Moment,
    last: Moment,
    /// The longest that a request has waited for a loop to read it.
    lag_ns: Option<u64>,
}

impl Readers {
    /// A request has begun. Gives its number among those of its thread; 0: another one is open, or too many threads
    /// are known.
    pub(super) fn begin(&mut self, thread: Thread, begin: Moment) -> u64 {
        let key = (thread.pid, thread.tid);
        if self.known.len() >= MAX_READERS && !self.known.contains_key(&key) {
            return 0;
        }
        let reader = self.known.entry(key).or_insert_with(|| Reader::new(begin));
        reader.begun += 1;
        reader.open += 1;
        reader.last_begun_ns = begin.at_ns;
        if is_loop(thread.identity) {
            reader.is_loop = true;
            let waited_ns = thread.timing.waited.map_or(0, |waited| waited.for_ns);
            reader.lag_ns = reader.lag_ns.max(Some(waited_ns));
        }
        if reader.open > 1 {
            return 0;
        }
        reader.busy_from_ns = begin.at_ns;
        reader.begun
    }

    /// A request is over. True if it was the only one of its thread all the time.
    pub(super) fn end(&mut self, key: (u32, u32), number: u64, at_ns: u64) -> bool {
        let Some(reader) = self.known.get_mut(&key).filter(|reader| reader.open > 0) else { return false };
        reader.open -= 1;
        if reader.open == 0 {
            reader.busy_ns += at_ns.saturating_sub(reader.busy_from_ns);
        }
        number == reader.begun
    }

    /// A thread has moved bytes.
    pub(super) fn moves(&mut self, thread: Thread, now: Moment) {
        if let Some(reader) = self.known.get_mut(&(thread.pid, thread.tid)) {
            reader.last = now;
        }
    }

    /// A process is gone.
    pub(super) fn exit(&mut self, pid: u32) {
        self.known.retain(|(of, _), _| *of != pid);
    }

    /// How busy the threads of each process were since the last time. Empty as long as the period is not over, unless
    /// it is `now` or never.
    pub(super) fn loads(&mut self, now_ns: u64, is_last: bool) -> Vec<Load> {
        if now_ns.saturating_sub(self.told_ns) < PERIOD_NS && !is_last {
            return Vec::new();
        }
        self.told_ns = now_ns;
        self.known
            .retain(|_, reader| reader.open > 0 || now_ns.saturating_sub(reader.last_begun_ns) < RETIRED_NS);
        let mut loads: FxHashMap<u32, Load> = FxHashMap::default();
        for ((pid, _), reader) in &mut self.known {
            reader.tell(now_ns, loads.entry(*pid).or_insert(Load { pid: *pid, ..Load::default() }));
        }
        let mut loads: Vec<Load> = loads.into_values().collect();
        loads.sort_unstable_by_key(|load| load.pid);
        loads
    }
}

impl Reader {
    fn new(begin: Moment) -> Self {
        Self {
            open: 0,
            begun: 0,
            told_begun: 0,
            last_begun_ns: begin.at_ns,
            is_loop: false,
            told_ns: begin.at_ns,
            busy_from_ns: begin.at_ns,
            busy_ns: 0,
            first: begin,
            last: begin,
            lag_ns: None,
        }
    }

    fn tell(&mut self, now_ns: u64, load: &mut Load) {
        if self.open > 0 {
            self.busy_ns += now_ns.saturating_sub(self.busy_from_ns);
            self.busy_from_ns = self.busy_from_ns.max(now_ns);
        }
        if self.is_loop {
            if let Some(ran_ns) = self.first.ran_until(self.last) {
                load.busy_ns += ran_ns;
                load.known_ns += self.last.at_ns.saturating_sub(self.first.at_ns);
            }
        } else {
            let known_ns = now_ns.saturating_sub(self.told_ns);
            load.busy_ns += self.busy_ns.min(known_ns);
            load.known_ns += known_ns;
        }
        load.workers += 1;
        load.open_requests += self.open;
        load.requests += self.begun - self.told_begun;
        load.loop_lag_ns = load.loop_lag_ns.max(self.lag_ns.take());
        (self.told_ns, self.busy_ns, self.told_begun) = (self.told_ns.max(now_ns), 0, self.begun);
        self.first = self.last;
    }
}

/// Whether what runs so shares its thread with others.
fn is_loop(identity: Identity) -> bool {
    match identity {
        Identity::Greenlet(_) | Identity::Task(_) => true,
        Identity::Unknown(blur) => {
            matches!(blur, Blur::Loop | Blur::Unseen | Blur::Deferred | Blur::Greenlet)
        }
        Identity::Thread | Identity::Base(_) => false,
    }
}
