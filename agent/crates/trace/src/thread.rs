//! Which requests each thread is serving. Invariant: a parent is given only if there is exactly one.

use model::{SpanId, TraceId};
use rustc_hash::FxHashMap;

/// A request that is being served.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) span_id: SpanId,
    pub(crate) trace_id: TraceId,
    pub(crate) head_sampled: bool,
    pub(crate) start_ns: u64,
}

/// The requests being served, by (pid, tid) of the thread that read their first byte.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    serving: FxHashMap<(u32, u32), Vec<Serving>>,
}

impl Threads {
    /// A request has begun.
    pub(crate) fn begin(&mut self, thread: (u32, u32), serving: Serving) {
        self.serving.entry(thread).or_default().push(serving);
    }

    /// Its response has ended, one way or another.
    pub(crate) fn end(&mut self, thread: (u32, u32), span_id: SpanId) {
        if let Some(open) = self.serving.get_mut(&thread) {
            open.retain(|serving| serving.span_id != span_id);
            if open.is_empty() {
                self.serving.remove(&thread);
            }
        }
    }

    /// Whether the process serves no more than one request.
    pub(crate) fn is_alone(&self, pid: u32) -> bool {
        let of_process = self.serving.iter().filter(|((of, _), _)| *of == pid);
        of_process.map(|(_, open)| open.len()).take(2).sum::<usize>() <= 1
    }

    /// The request that a thread was serving when something began there.
    pub(crate) fn parent(&self, thread: (u32, u32), start_ns: u64) -> Option<&Serving> {
        match self.serving.get(&thread)?.as_slice() {
            [only] if only.start_ns <= start_ns => Some(only),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_a_parent() {
        let mut threads = Threads::default();
        let serving = |id: u64| Serving {
            span_id: SpanId(id),
            trace_id: TraceId::from_u128(1),
            head_sampled: false,
            start_ns: 10,
        };
        let parent =
            |threads: &Threads, at_ns| threads.parent((1, 2), at_ns).map(|serving| serving.span_id.0);
        assert_eq!(parent(&threads, 11), None);
        threads.begin((1, 2), serving(5));
        assert_eq!(parent(&threads, 11), Some(5));
        assert!(threads.is_alone(1));
        threads.begin((1, 3), serving(7));
        assert!(!threads.is_alone(1) && threads.is_alone(2));
        threads.end((1, 3), SpanId(7));
        assert_eq!(parent(&threads, 9), None);
        threads.begin((1, 2), serving(6));
        assert_eq!(parent(&threads, 11), None);
        threads.end((1, 2), SpanId(5));
        assert_eq!(parent(&threads, 11), Some(6));
        threads.end((1, 2), SpanId(6));
        assert!(threads.serving.is_empty());
    }
}
