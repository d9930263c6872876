//! Spans of connections that did not come about. Invariant: each is begun and finished here, and counted once.

use model::{End, Protocol, Span, SpanKind};

use super::Assembler;
use crate::lineage::Call;
use crate::place::{Place, Thread};

impl Assembler {
    /// A span of a connect that came to nothing, as far as it is known when the connect begins, and what waits
    /// to know its parent.
    pub(crate) fn open_connect(
        &mut self,
        place: &Place,
        thread: Thread,
        start_ns: u64,
    ) -> (Span, Option<Call>) {
        let process = self.processes.get(thread.pid);
        let lineage = self.lineage((thread.pid, SpanKind::Client), (Some(thread), start_ns), None, None);
        let waits = lineage.waits;
        let span = self.blank((Protocol::Unknown, place), thread, process, start_ns, lineage);
        (Span { host: place.asked(), ..span }, waits)
    }

    /// The connect has failed, or has been given up: its time has been spent.
    pub(crate) fn count_connect(&mut self, span: &Span, waits: Option<Call>) {
        // One that waits is counted once it is told.
        if waits.is_none() {
            self.budgets.past_call(span, false);
        }
    }

    /// The connect, or the handshake after it, has failed for good; the span's fault and duration say how and when.
    pub(crate) fn finish_connect(
        &mut self,
        (mut span, waits): (Span, Option<Call>),
        name: &str,
        out: &mut Vec<Span>,
    ) {
        span.end = End::NotConnected;
        span.name = name.into();
        let app = self.apps.find(&span.process.app_id);
        span.head_sampled |= self.apps.get_mut(app).flags.start(span.kind, &span.name, span.start_ns);
        self.counts.exchanges += 1;
        // Most connects come about: only now it is a span.
        if let Some(parent) = &span.parent {
            self.sdks.child_of(&parent.span_id);
            span.trace_id = self.sdks.moved_to(&span.trace_id).unwrap_or(&span.trace_id).clone();
        }
        let end_ns = span.start_ns.saturating_add(span.duration_ns);
        let pid = span.process.pid;
        self.budgets.past_call(&span, waits.is_some());
        self.conclude(span, (pid, app), (waits.map(|call| (call, end_ns)), None), out);
    }
}
