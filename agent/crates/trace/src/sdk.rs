//! Tracing SDKs inside of watched processes, known by the contexts that they write into the requests they make.
//!
//! Invariants: a context is an SDK's own only if the process did not receive it; a request takes an SDK's trace for its
//! own only while nothing else is in its trace. What is remembered is bounded.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use model::{Span, SpanId, TraceId};
use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use crate::context::{Context, Incoming};
use crate::settings::WithSdk;

/// Most contexts that are remembered as received.
const MAX_RECEIVED: usize = 65_536;
/// Most requests that are followed, and processes of which it is known that their SDK traces what they serve.
const MAX_SERVED: usize = 65_536;
const MAX_TRACING: usize = 65_536;
/// Most requests that have moved to an SDK's trace, for calls that end after them.
const MAX_MOVED: usize = 65_536;

/// The attributes that name the trace and the span that an SDK makes, and say how many of a request's calls have one.
const TRACE_ID: &str = "stardust_probe.sdk.trace_id";
const SPAN_ID: &str = "stardust_probe.sdk.span_id";
const CALLS: &str = "stardust_probe.sdk.calls";

/// The span that an SDK makes of a call: what it wrote into the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SdkSpan {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: Arc<str>,
    /// The SDK keeps it.
    pub(crate) recorded: bool,
}

/// Where the trace of a request is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TraceOf {
    /// Its headers.
    Headers,
    /// Perhaps its headers, which were not seen whole.
    Unseen,
    /// The watched call that sent it.
    Caller,
    /// Nobody: it is new.
    Nobody,
    /// The SDK that serves it.
    Sdk,
}

/// What became of a request that made a call of which an SDK makes a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// It names the SDK's span; it may have moved to the SDK's trace.
    Made,
    /// Nothing: the context may be one that it brought.
    Doubtful,
}

/// What is known of SDKs.
#[derive(Debug)]
pub(crate) struct Sdks {
    with: WithSdk,
    received: FxHashSet<u64>,
    /// The same, the oldest first.
    order: VecDeque<u64>,
    served: FxHashMap<SpanId, Served>,
    /// Open requests by process and trace.
    by_trace: FxHashMap<(u32, TraceId), Vec<SpanId>>,
    /// Processes whose SDK goes on with the traces of the requests that they serve.
    tracing: FxHashSet<u32>,
    /// Traces that requests had before an SDK told theirs, and the oldest first.
    moved: FxHashMap<TraceId, TraceId>,
    moves: VecDeque<TraceId>,
}

/// A request that is being served.
#[derive(Debug)]
struct Served {
    pid: u32,
    trace_id: TraceId,
    of: TraceOf,
    /// Another span is in its trace.
    has_children: bool,
    /// A child of it has been given out.
    is_named: bool,
    /// The first call of an SDK, and how many there were.
    first: Option<SdkSpan>,
    calls: u64,
    /// The SDK makes a span of the request itself.
    is_traced: bool,
}

impl TraceOf {
    /// By what its headers say, and whether they were not seen whole.
    pub(crate) fn told(by_headers: bool, is_cut: bool) -> Self {
        match (by_headers, is_cut) {
            (true, _) => Self::Headers,
            (false, true) => Self::Unseen,
            (false, false) => Self::Nobody,
        }
    }

    /// It has a parent: the caller's, if it is not that of its headers.
    pub(crate) fn or_caller(self) -> Self {
        if self == Self::Nobody { Self::Caller } else { self }
    }
}

impl Sdks {
    pub(crate) fn new(with: WithSdk) -> Self {
        Self {
            with,
            received: FxHashSet::default(),
            order: VecDeque::new(),
            served: FxHashMap::default(),
            by_trace: FxHashMap::default(),
            tracing: FxHashSet::default(),
            moved: FxHashMap::default(),
            moves: VecDeque::new(),
        }
    }

    /// A process has read a request with these headers: what they name, it may hand on.
    pub(crate) fn receive(&mut self, pid: u32, context: &Context<'_>) {
        for Incoming { trace_id, parent, .. } in context.named() {
            let mark = mark(pid, &trace_id, parent.as_deref());
            if self.received.insert(mark) {
                self.order.push_back(mark);
            }
        }
        while self.order.len() > MAX_RECEIVED {
            let oldest = self.order.pop_front();
            oldest.map(|mark| self.received.remove(&mark));
        }
    }

    /// What an SDK in a process has written into a request that the process makes. `None`: no SDK has, it is handed on.
    pub(crate) fn wrote(&self, pid: u32, context: Option<&Incoming>) -> Option<SdkSpan> {
        let Incoming { trace_id, parent, flagged, .. } = context?;
        let span_id = parent.clone()?;
        let is_own = !self.received.contains(&mark(pid, trace_id, Some(&span_id)));
        is_own.then(|| SdkSpan { trace_id: trace_id.clone(), span_id, recorded: *flagged })
    }

    /// A request is served from now on.
    pub(crate) fn begin(&mut self, pid: u32, span: &Span, of: TraceOf) {
        if self.served.len() >= MAX_SERVED {
            return;
        }
        if of == TraceOf::Headers {
            self.by_trace.entry((pid, span.trace_id.clone())).or_default().push(span.span_id);
        }
        let trace_id = span.trace_id.clone();
        let served = Served {
            pid,
            trace_id,
            of,
            has_children: false,
            is_named: false,
            first: None,
            calls: 0,
            is_traced: false,
        };
        self.served.insert(span.span_id, served);
    }

    /// Whether a request may still be put into its caller's trace: not after it went into an SDK's.
    pub(crate) fn join(&mut self, span_id: SpanId) -> bool {
        let Some(served) = self.served.get_mut(&span_id) else { return true };
        if served.of == TraceOf::Nobody {
            served.of = TraceOf::Caller;
        }
        served.of != TraceOf::Sdk
    }

    /// Another span is in the trace of this request.
    pub(crate) fn child(&mut self, span_id: SpanId) {
        if let Some(served) = self.served.get_mut(&span_id) {
            served.has_children = true;
        }
    }

    /// The same, of a request by its span's id as it is written.
    pub(crate) fn child_of(&mut self, parent: &str) {
        if let Some(span_id) = written(parent) {
            self.child(span_id);
        }
    }

    /// The trace that the requests of this one have moved to.
    pub(crate) fn moved_to(&self, trace_id: &TraceId) -> Option<&TraceId> {
        self.moved.get(trace_id)
    }

    /// The only request that a process serves in a trace.
    pub(crate) fn only_in(&self, pid: u32, trace_id: &TraceId) -> Option<SpanId> {
        match self.by_trace.get(&(pid, trace_id.clone()))?.as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    }

    /// The trace of a request, if an SDK has told it.
    pub(crate) fn trace_of(&self, span_id: SpanId) -> Option<&TraceId> {
        self.served.get(&span_id).filter(|served| served.of == TraceOf::Sdk).map(|served| &served.trace_id)
    }

    /// A request has made a call of which an SDK makes a span.
    pub(crate) fn link(&mut self, span_id: SpanId, wrote: &SdkSpan) -> Link {
        // What is over has no more to learn.
        let Some(served) = self.served.get_mut(&span_id) else { return Link::Made };
        if served.of == TraceOf::Unseen {
            return Link::Doubtful;
        }
        let is_new = served.of == TraceOf::Nobody && !served.has_children;
        if is_new {
            let before = std::mem::replace(&mut served.trace_id, wrote.trace_id.clone());
            served.of = TraceOf::Sdk;
            self.moves.push_back(before.clone());
            self.moved.insert(before, wrote.trace_id.clone());
            if self.moves.len() > MAX_MOVED {
                let oldest = self.moves.pop_front();
                oldest.map(|oldest| self.moved.remove(&oldest));
            }
            self.by_trace.entry((served.pid, wrote.trace_id.clone())).or_default().push(span_id);
        }
        if wrote.recorded {
            served.calls += 1;
            let is_same = served.trace_id == wrote.trace_id;
            let goes_on = match served.of {
                TraceOf::Headers => is_same && self.tracing.len() < MAX_TRACING,
                // Two calls in one new trace have something above them in it.
                TraceOf::Sdk => is_same && served.first.as_ref().is_some_and(|first| first != wrote),
                _ => false,
            };
            if goes_on {
                self.tracing.insert(served.pid);
            }
            served.is_traced |= goes_on || served.of == TraceOf::Sdk && self.tracing.contains(&served.pid);
            served.first.get_or_insert_with(|| wrote.clone());
        }
        Link::Made
    }

    /// Whether the span of a call is left to the SDK. `parent`: it is known whose call it is.
    pub(crate) fn leaves_out(&self, wrote: Option<&SdkSpan>, parent: bool) -> bool {
        wrote.is_some_and(|wrote| wrote.recorded) && (parent || self.with == WithSdk::Skip)
    }

    /// Whether the span of a request's child, which no SDK traces, is left out with the request's own. If not, the
    /// request's span is not left out either.
    pub(crate) fn leaves_out_child(&mut self, parent: &str) -> bool {
        if self.with != WithSdk::Skip || self.served.is_empty() {
            return false;
        }
        let Some(served) = written(parent).and_then(|span_id| self.served.get_mut(&span_id)) else {
            return false;
        };
        let left_out = served.is_traced && !served.is_named;
        served.is_named |= !left_out;
        left_out
    }

    /// A request is over: its span says what is known. True if it is left to the SDK.
    pub(crate) fn end(&mut self, span: &mut Span) -> bool {
        let Some(served) = self.served.remove(&span.span_id) else { return false };
        let Served { pid, trace_id, of, is_named, first, calls, is_traced, .. } = served;
        if matches!(of, TraceOf::Headers | TraceOf::Sdk) {
            let key = (pid, trace_id);
            if let Some(open) = self.by_trace.get_mut(&key) {
                open.retain(|other| *other != span.span_id);
                if open.is_empty() {
                    self.by_trace.remove(&key);
                }
            }
            span.trace_id = key.1;
        }
        if let Some(first) = first {
            describe(span, &first);
            span.set(CALLS, calls);
        }
        is_traced && !is_named && self.with == WithSdk::Skip
    }

    /// The process is gone.
    pub(crate) fn exit(&mut self, pid: u32) {
        self.tracing.remove(&pid);
    }
}

/// Says which span an SDK makes.
pub(crate) fn describe(span: &mut Span, wrote: &SdkSpan) {
    span.set(TRACE_ID, wrote.trace_id.0.clone());
    span.set(SPAN_ID, wrote.span_id.clone());
}

fn written(span_id: &str) -> Option<SpanId> {
    u64::from_str_radix(span_id, 16).ok().map(SpanId)
}

fn mark(pid: u32, trace_id: &TraceId, span_id: Option<&str>) -> u64 {
    let mut hasher = FxHasher::default();
    (pid, &*trace_id.0, span_id).hash(&mut hasher);
    hasher.finish()
}
