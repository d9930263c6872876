//! Traces that turn out to be others. Invariant: a span is given out in the trace that it stays in.
//!
//! A server's request may belong to a call whose own trace is not known yet: it waits until its task answers. Until
//! then spans of the request's trace are held; once the server's own span is there, no longer than [`HOLD_NS`].

use std::collections::VecDeque;

use model::{Parent, Span, SpanId, SpanKind, TraceId};
use rustc_hash::FxHashMap;

use crate::app::AppIndex;
use crate::place::unknown_parent;

/// How long a server's span waits for the trace of the call that it answers.
const HOLD_NS: u64 = 50_000_000;
/// How long a trace's other name is remembered after the request is over: for calls that it began and that go on.
const KEEP_NS: u64 = 60_000_000_000;
/// Most traces that are waited for or have another name, and most spans that are held.
const MAX_TRACES: usize = 16_384;
const MAX_HELD: usize = 16_384;

/// Said of requests whose caller is known, but not to which request that belongs.
const UNKNOWN_IN_TIME: &str = "it was not known in time which request its caller belongs to";

/// A span that is ready but for its trace.
pub(crate) type Ready = (Span, AppIndex);

/// What is known of traces that are not what they seem.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    known: FxHashMap<TraceId, Trace>,
    /// The trace of the request that each call has begun elsewhere.
    by_caller: FxHashMap<SpanId, TraceId>,
    /// Traces whose server's span is held, and until when, the first one first.
    due: VecDeque<(u64, TraceId)>,
    held: usize,
    swept_ns: u64,
}

/// A trace that was begun with a server's request.
#[derive(Debug)]
struct Trace {
    server: SpanId,
    is: Is,
    /// When it may be forgotten.
    until_ns: u64,
}

#[derive(Debug)]
enum Is {
    /// The caller's, once that is known.
    Pending { caller: SpanId, held: Vec<Ready> },
    /// Another one, which may be flagged.
    Other(TraceId, bool),
    /// Its own after all.
    Own,
}

impl Traces {
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a span's trace, or another's by it, is not what it seems.
    pub(crate) fn concern(&self, span: &Span) -> bool {
        !self.is_empty()
            && (self.known.contains_key(&span.trace_id) || self.by_caller.contains_key(&span.span_id))
    }

    /// What trace this one is, if that is known.
    pub(crate) fn find<'a>(&'a self, trace_id: &'a TraceId) -> Option<&'a TraceId> {
        match self.known.get(trace_id).map(|trace| &trace.is) {
            None | Some(Is::Own) => Some(trace_id),
            Some(Is::Other(other, _)) => Some(other),
            Some(Is::Pending { .. }) => None,
        }
    }

    /// A server's request has begun in a trace of its own: it is its caller's as soon as that is known. False if too
    /// many wait.
    pub(crate) fn await_caller(&mut self, trace_id: &TraceId, caller: SpanId, server: SpanId) -> bool {
        let is = Is::Pending { caller, held: Vec::new() };
        let fits = self.insert(trace_id, server, is);
        if fits {
            self.by_caller.insert(caller, trace_id.clone());
        }
        fits
    }

    /// A server's request that has begun in a trace of its own is in another. False if there are too many such.
    pub(crate) fn rename(&mut self, old: &TraceId, new: &TraceId, flagged: bool, server: SpanId) -> bool {
        self.insert(old, server, Is::Other(new.clone(), flagged))
    }

    fn insert(&mut self, trace_id: &TraceId, server: SpanId, is: Is) -> bool {
        let fits = self.known.len() < MAX_TRACES;
        if fits {
            self.known.insert(trace_id.clone(), Trace { server, is, until_ns: u64::MAX });
        }
        fits
    }

    /// A span is ready, or held until its trace is known. Pushes those that are ready now.
    pub(crate) fn admit(&mut self, (mut span, app): Ready, ready: &mut Vec<Ready>) {
        let Some(trace) = self.known.get_mut(&span.trace_id) else {
            ready.push((span, app));
            return;
        };
        let end_ns = span.start_ns.saturating_add(span.duration_ns);
        if span.span_id == trace.server {
            trace.until_ns = end_ns.saturating_add(KEEP_NS);
        }
        match &mut trace.is {
            Is::Pending { held, .. } => {
                let trace_id = span.trace_id.clone();
                if span.kind == SpanKind::Server {
                    self.due.push_back((end_ns.saturating_add(HOLD_NS), trace_id.clone()));
                }
                held.push((span, app));
                self.held += 1;
                if self.held > MAX_HELD {
                    self.give_up(&trace_id, ready);
                }
                return;
            }
            Is::Other(other, flagged) => {
                span.trace_id = other.clone();
                span.head_sampled |= *flagged;
            }
            Is::Own if span.span_id == trace.server => disown(&mut span),
            Is::Own => {}
        }
        ready.push((span, app));
    }

    /// The trace of a call is known: pushes the spans that waited for it.
    pub(crate) fn settle(&mut self, call: &Span, ready: &mut Vec<Ready>) {
        let Some(trace_id) = self.by_caller.remove(&call.span_id) else { return };
        let Some(trace) = self.known.get_mut(&trace_id) else { return };
        let is = Is::Other(call.trace_id.clone(), call.head_sampled);
        if let Is::Pending { held, .. } = std::mem::replace(&mut trace.is, is) {
            self.held -= held.len();
            ready.extend(held.into_iter().map(|(mut span, app)| {
                span.trace_id = call.trace_id.clone();
                span.head_sampled |= call.head_sampled;
                (span, app)
            }));
        }
    }

    /// Whether servers' spans wait, or did a short while ago.
    pub(crate) fn hold_back(&self) -> bool {
        !self.due.is_empty()
    }

    /// Pushes what has waited too long, and forgets what is old.
    pub(crate) fn age(&mut self, now_ns: u64, ready: &mut Vec<Ready>) {
        while let Some((_, trace_id)) = self.due.pop_front_if(|(due_ns, _)| *due_ns <= now_ns) {
            self.give_up(&trace_id, ready);
        }
        if !self.is_empty() && now_ns.saturating_sub(self.swept_ns) >= KEEP_NS / 16 {
            self.swept_ns = now_ns;
            self.known.retain(|_, trace| trace.until_ns > now_ns);
            self.known.shrink_to(2 * self.known.len());
        }
    }

    /// Nothing more becomes known.
    pub(crate) fn drain(&mut self, ready: &mut Vec<Ready>) {
        let pending = self.by_caller.values().cloned();
        let mut pending: Vec<TraceId> = pending.collect();
        pending.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for trace_id in pending {
            self.give_up(&trace_id, ready);
        }
    }

    /// The trace is its own, and its server's span has no parent that is known.
    fn give_up(&mut self, trace_id: &TraceId, ready: &mut Vec<Ready>) {
        let Some(trace) = self.known.get_mut(trace_id) else { return };
        if !matches!(trace.is, Is::Pending { .. }) {
            return;
        }
        if let Is::Pending { caller, held } = std::mem::replace(&mut trace.is, Is::Own) {
            self.by_caller.remove(&caller);
            self.held -= held.len();
            let server = trace.server;
            ready.extend(held.into_iter().map(|(mut span, app)| {
                if span.span_id == server {
                    disown(&mut span);
                }
                (span, app)
            }));
        }
    }
}

/// Its parent is in another trace, one that is not known.
fn disown(span: &mut Span) {
    if let Some(Parent { span_id, .. }) = span.parent.take() {
        span.attributes.push(unknown_parent(UNKNOWN_IN_TIME));
        span.set("stardust_probe.caller_span_id", &*span_id);
    }
}
