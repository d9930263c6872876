//! Joins the two ends of a request that are both watched. Invariant: a context in the request's headers wins.

use model::{Parent, ParentKind, Protocol, Span, SpanKind};

use super::Assembler;
use crate::app::AppIndex;
use crate::crossing::{Call, Mark, Receipt, Wire};
use crate::exchange::Exchange;
use crate::head::Asking;
use crate::place::Place;

impl Assembler {
    /// Where a request stands that may have another end. `None` where it may not.
    pub(super) fn mark(
        (protocol, place): (Protocol, &Place),
        head: &Asking<'_>,
        begins: (u64, u64),
        has_context: bool,
    ) -> Option<Mark> {
        if has_context {
            return None;
        }
        Mark::of(place, protocol, begins, (head.method?, head.target?))
    }

    /// A request begins: a server's becomes its client's child, if that is there.
    pub(super) fn cross(&mut self, span: &mut Span, mark: Mark, waits: bool) {
        let Span { span_id, trace_id, head_sampled, .. } = &*span;
        if span.kind == SpanKind::Client {
            let call =
                Call { span_id: *span_id, trace_id: trace_id.clone(), head_sampled: *head_sampled, waits };
            if let Some(receipt) = self.crossings.send(mark, call.clone()) {
                self.join_late(&receipt, &call);
            }
            return;
        }
        let receipt = Receipt { span_id: *span_id, trace_id: trace_id.clone() };
        if let Some(call) = self.crossings.receive(mark, receipt) {
            let known = self.trace_of(&call).cloned();
            if known.is_none() && !self.traces.await_caller(&span.trace_id, call.span_id, span.span_id) {
                return;
            }
            span.trace_id = known.unwrap_or_else(|| span.trace_id.clone());
            span.head_sampled |= call.head_sampled;
            span.parent = Some(parent(&call));
            self.counts.joined_ends += 1;
        }
    }

    /// A server's request was told of before the call that sent it.
    fn join_late(&mut self, receipt: &Receipt, call: &Call) {
        if !self.sdks.join(receipt.span_id) {
            return;
        }
        let fits = match self.trace_of(call).cloned() {
            Some(trace_id) => {
                self.traces.rename(&receipt.trace_id, &trace_id, call.head_sampled, receipt.span_id)
            }
            None => self.traces.await_caller(&receipt.trace_id, call.span_id, receipt.span_id),
        };
        if fits {
            self.joined.insert(receipt.span_id, parent(call));
            self.counts.joined_ends += 1;
        }
    }

    fn trace_of<'a>(&'a self, call: &'a Call) -> Option<&'a model::TraceId> {
        if call.waits { None } else { self.traces.find(&call.trace_id) }
    }

    /// An exchange is over: its other end may still come, or not any more.
    pub(super) fn uncross(&mut self, exchange: &mut Exchange, is_answered: bool) {
        if let Some(parent) = self.joined.remove(&exchange.span.span_id) {
            exchange.span.parent = Some(parent);
        }
        let Some(wire) = exchange.wire else { return };
        let span = &exchange.span;
        match span.kind {
            SpanKind::Client => {
                let is_final = exchange.waits.is_none() && !self.traces.concern(span);
                self.crossings.sent_is_over(wire, span.span_id, is_answered, is_final);
            }
            SpanKind::Server => self.crossings.received_is_over(wire, span.span_id),
        }
    }

    /// A client's span is in a new trace.
    pub(super) fn retrace(&mut self, wire: Option<Wire>, span: &Span) {
        if let Some(wire) = wire {
            self.crossings.retrace(wire, span.span_id, &span.trace_id);
        }
    }

    /// Gives out a span, once its trace is known, and what waited for that.
    pub(super) fn give_out_traced(&mut self, span: Span, app: AppIndex, out: &mut Vec<Span>) {
        let mut ready = Vec::new();
        self.traces.admit((span, app), &mut ready);
        self.give_out_ready(ready, out);
    }

    /// Gives out spans whose trace is known; it may be what others wait for.
    pub(super) fn give_out_ready(&mut self, mut ready: Vec<(Span, AppIndex)>, out: &mut Vec<Span>) {
        let mut next = 0;
        while next < ready.len() {
            if ready[next].0.kind == SpanKind::Client && !self.traces.is_empty() {
                let call = ready[next].0.clone();
                self.traces.settle(&call, &mut ready);
            }
            next += 1;
        }
        for (span, app) in ready {
            self.give_out(span, app, out);
        }
    }
}

fn parent(call: &Call) -> Parent {
    Parent { span_id: call.span_id.to_string().into(), kind: ParentKind::Connection }
}
