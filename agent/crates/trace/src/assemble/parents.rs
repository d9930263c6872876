//! Gives spans their traces and parents. Invariant: a span whose parent may become known later is given out once it is
//! known, or once it is known that it will not be.

use model::{Identity, Parent, ParentKind, Span, SpanId, SpanKind};

use super::Assembler;
use crate::app::AppIndex;
use crate::context::Incoming;
use crate::exchange::Exchange;
use crate::lineage::{Answer, Call, CopyCounts, Kin, Serving, Settled, Waiting};
use crate::place::{Lineage, Thread, unknown_parent};
use crate::sdk::{Link, SdkSpan};

/// What is said where a library has a thread of its own send what others ask for.
const ANY_THREAD: &str = "a thread of its library sent it, for whichever other";

/// A span that is to be held back until its parent, or its trace, is known.
#[derive(Debug)]
pub(super) struct Unsettled {
    span_id: SpanId,
    pid: u32,
    app: AppIndex,
    /// The call that waits to know its parent, and when it ended. `None`: it is known, but perhaps not its trace.
    waits: Option<(Call, u64)>,
    /// The span that an SDK in the process makes of it.
    sdk: Option<Box<SdkSpan>>,
}

impl Assembler {
    /// The trace of a new span: a client's by what makes the call, a server's by what its request says, else a new
    /// one. Without a caller it cannot be told who makes it.
    pub(super) fn lineage(
        &mut self,
        (pid, kind): (u32, SpanKind),
        (caller, start_ns): (Option<Thread>, u64),
        context: Option<Incoming>,
        sdk: Option<SdkSpan>,
    ) -> Lineage {
        if kind == SpanKind::Server {
            if let Some(Incoming { trace_id, parent, flagged, .. }) = context {
                let parent = parent.map(|span_id| Parent { span_id, kind: ParentKind::Remote });
                return Lineage { parent, flagged, ..Lineage::new(trace_id) };
            }
            return Lineage::new(self.ids.trace());
        }
        if let Some(sdk) = sdk.as_ref().filter(|sdk| sdk.recorded)
            && let Some(span_id) = self.sdks.only_in(pid, &sdk.trace_id)
        {
            // It will not be shown: the SDK, which says whose it is, has a span of it.
            self.sdks.link(span_id, sdk);
            let parent = Some(Parent { span_id: span_id.to_string().into(), kind: ParentKind::Context });
            return Lineage { parent, sdk: Some(sdk.clone().into()), ..Lineage::new(sdk.trace_id.clone()) };
        }
        let kin = caller.map_or(Kin::Unknown(ANY_THREAD), |caller| self.requests.kin(caller, start_ns));
        let (doubt, waits) = match kin {
            Kin::ByThread(serving) => return self.child(serving, ParentKind::Thread, sdk),
            Kin::ByContext(serving) => return self.child(serving, ParentKind::Context, sdk),
            Kin::Root => (None, None),
            Kin::Unknown(reason) => (Some(reason), None),
            Kin::Later(call) => (None, Some(call)),
        };
        // Written by the process itself: the id in it is that of a span we do not see, which is the same call as
        // ours and so not its parent.
        let flagged = context.as_ref().is_some_and(|written| written.flagged);
        let trace_id = context.map_or_else(|| self.ids.trace(), |written| written.trace_id);
        Lineage { flagged, doubt, waits, sdk: sdk.map(Box::new), ..Lineage::new(trace_id) }
    }

    /// The trace of a call that a request makes.
    fn child(&mut self, mut serving: Serving, kind: ParentKind, sdk: Option<SdkSpan>) -> Lineage {
        let link = sdk.as_ref().map_or(Link::Doubtful, |sdk| self.sdks.link(serving.span_id, sdk));
        self.move_on(&mut serving);
        let sdk = sdk.filter(|_| link == Link::Made).map(Box::new);
        Lineage { sdk, ..child_of(serving, kind) }
    }

    /// What was kept of a request does not know that it has moved to an SDK's trace.
    fn move_on(&self, serving: &mut Serving) {
        let Serving { span_id, trace_id, .. } = &*serving;
        if let Some(moved) = self.sdks.trace_of(*span_id).or_else(|| self.sdks.moved_to(trace_id)) {
            serving.trace_id = moved.clone();
        }
    }

    /// A call has begun of which no SDK has a span: its request's trace stays what it is.
    pub(super) fn note_child(&mut self, lineage: &Lineage) {
        if let (Some(parent), None) = (&lineage.parent, &lineage.sdk)
            && matches!(parent.kind, ParentKind::Thread | ParentKind::Context)
        {
            self.sdks.child_of(&parent.span_id);
        }
    }

    /// Takes back the parent that a call got from its thread: it turned out not to be certain.
    pub(crate) fn disown(&mut self, exchange: &mut Exchange) {
        if exchange.sdk.as_ref().is_some_and(|sdk| self.sdks.only_in(exchange.pid, &sdk.trace_id).is_some()) {
            // Its own SDK has said whose it is.
            return;
        }
        let waited = exchange.waits.take();
        if exchange.span.parent.is_none() && waited.is_none() {
            return;
        }
        if let Some(call) = waited {
            self.requests.drop_call(exchange.pid, call);
        }
        self.budgets.disown(exchange.pid, &exchange.span);
        if exchange.span.parent.take().is_some() {
            exchange.span.trace_id = self.ids.trace();
        }
        self.retrace(exchange.wire, &exchange.span);
        exchange.span.attributes.push(unknown_parent("several requests went out in one call"));
    }

    /// A response has begun to come: if in another context than the call was made in, that one reads for the loop.
    pub(crate) fn hear(&mut self, exchange: &Exchange, reader: Thread) {
        if exchange.span.kind == SpanKind::Client && exchange.pid == reader.pid {
            self.requests.reads(reader, exchange.identity);
        }
    }

    /// Whether it matters who is at which server connection.
    pub(crate) fn asks_who_is_where(&self) -> bool {
        self.requests.are_read_ahead()
    }

    /// Something was done at a server connection.
    pub(crate) fn touch(&mut self, thread: Thread, connection: u64, at_ns: u64) {
        self.requests.touch(thread, connection, at_ns);
    }

    /// A response has begun to be sent by `caller`: calls made in the same context belong to its request.
    pub(crate) fn answer(&mut self, exchange: &mut Exchange, caller: Thread, at_ns: u64) {
        if exchange.span.kind != SpanKind::Server
            || exchange.request_position.is_none()
            || exchange.pid != caller.pid
        {
            return;
        }
        let at_ns = caller.timing.written_ns.unwrap_or(at_ns);
        let in_turn = !matches!(caller.identity, Identity::Task(_));
        let Some(context) = self.answers_in(exchange, caller) else { return };
        exchange.answered = Some((context, at_ns));
        let Span { span_id, head_sampled, start_ns, .. } = exchange.span;
        if let Some(trace_id) = self.sdks.trace_of(span_id) {
            exchange.span.trace_id = trace_id.clone();
        }
        let serving = Serving { span_id, trace_id: exchange.span.trace_id.clone(), head_sampled, start_ns };
        let answer = Answer { serving, tid: caller.tid, in_turn, begun_ns: exchange.begun_ns, at_ns };
        let settled = self.requests.answer(caller.pid, context, answer);
        self.note_settled(settled);
    }

    /// A connection of a process is gone, whoever is at work on what came over it.
    pub(crate) fn leave(&mut self, pid: u32, at_ns: u64) {
        self.requests.leave(pid, at_ns);
    }

    /// The context that a response is sent in; of a thread or greenlet what stands for it, if it takes requests in turn.
    fn answers_in(&mut self, exchange: &Exchange, caller: Thread) -> Option<u64> {
        if let Identity::Task(context) = caller.identity {
            return Some(context);
        }
        let reader = Thread { tid: exchange.span.tid, identity: exchange.read_by, ..caller };
        self.requests.in_turn(reader, caller, exchange.begun_ns)
    }

    /// It has become known of calls whose they are, or that it will not: their time is that request's. Those that an SDK
    /// has a span of tell the trace of their request, and come first.
    pub(super) fn note_settled(&mut self, settled: impl IntoIterator<Item = Settled>) {
        let mut settled: Vec<Settled> = settled.into_iter().collect();
        for Settled { waiting, parent, .. } in &mut settled {
            if let (Some(sdk), Ok(serving)) = (&waiting.sdk, parent)
                && self.sdks.link(serving.span_id, sdk) == Link::Doubtful
            {
                waiting.sdk = None;
            }
        }
        for mut settled in settled {
            if let Ok(serving) = &mut settled.parent {
                self.move_on(serving);
                if settled.waiting.sdk.is_none() {
                    self.sdks.child(serving.span_id);
                }
            }
            let request = settled.parent.as_ref().ok().map(|serving| serving.span_id);
            self.budgets.settle(&settled.waiting.span, request);
            self.settled.push(settled);
        }
    }

    /// More of the response is sent.
    pub(crate) fn go_on(&mut self, exchange: &mut Exchange, caller: Thread, at_ns: u64) {
        let Some((answered, from_ns)) = exchange.answered else { return };
        let context = match caller.identity {
            Identity::Task(context) => Some(context),
            _ => self.requests.in_turn(caller, caller, from_ns),
        };
        if context == Some(answered) && exchange.pid == caller.pid {
            let context = answered;
            exchange.answered = Some((context, at_ns));
            let span_id = exchange.span.span_id;
            let settled = self.requests.go_on(caller.pid, context, span_id, at_ns);
            self.note_settled(settled);
        }
    }

    /// A span is over; it is given out at once if all is known of it.
    pub(super) fn conclude(
        &mut self,
        span: Span,
        (pid, app): (u32, AppIndex),
        (waits, sdk): (Option<(Call, u64)>, Option<Box<SdkSpan>>),
        out: &mut Vec<Span>,
    ) {
        if self.is_left_to_sdk(&span, sdk.as_deref()) {
            self.counts.left_to_sdk += 1;
            self.drop_call(pid, waits.map(|(call, _)| call));
            return;
        }
        if waits.is_some() || self.traces.concern(&span) {
            self.unsettled.push(Unsettled { span_id: span.span_id, pid, app, waits, sdk });
            out.push(span);
        } else {
            self.give_out(span, app, out);
        }
    }

    /// Whether the span of a call is not given out, because an SDK in the process has one.
    fn is_left_to_sdk(&mut self, span: &Span, sdk: Option<&SdkSpan>) -> bool {
        if self.sdks.leaves_out(sdk, span.parent.is_some()) {
            return true;
        }
        let ours = span.parent.as_ref().filter(|parent| parent.kind != ParentKind::Remote);
        ours.is_some_and(|parent| self.sdks.leaves_out_child(&parent.span_id))
    }

    /// Holds back what does not know its parent of the spans that were just made, all else being said of them; gives
    /// out the calls of which it has become known whose they are, or that it will not.
    pub(crate) fn give_out_settled(&mut self, out: &mut Vec<Span>) {
        for Unsettled { span_id, pid, app, waits, sdk } in std::mem::take(&mut self.unsettled) {
            let Some(index) = out.iter().rposition(|span| span.span_id == span_id) else { continue };
            let span = out.remove(index);
            match waits {
                Some((call, end_ns)) => {
                    let waiting = Waiting { span, app, call, end_ns, sdk };
                    let settled = self.requests.settle(pid, waiting);
                    self.note_settled(settled);
                }
                None => self.give_out_traced(span, app, out),
            }
        }
        for Settled { waiting, parent, kind } in std::mem::take(&mut self.settled) {
            let Waiting { mut span, app, sdk, .. } = waiting;
            match parent {
                Ok(serving) => {
                    let Lineage { trace_id, parent, flagged, .. } = child_of(serving, kind);
                    (span.trace_id, span.parent) = (trace_id, parent);
                    span.head_sampled |= flagged;
                    if self.is_left_to_sdk(&span, sdk.as_deref()) {
                        self.counts.left_to_sdk += 1;
                        continue;
                    }
                }
                Err(reason) => {
                    self.requests.miss(span.process.pid, reason);
                    span.attributes.push(unknown_parent(reason));
                }
            }
            self.give_out_traced(span, app, out);
        }
    }

    /// Gives out what has waited too long for its trace.
    pub(crate) fn give_out_due(&mut self, now_ns: u64, out: &mut Vec<Span>) {
        if !self.traces.is_empty() {
            let mut ready = Vec::new();
            self.traces.age(now_ns, &mut ready);
            self.give_out_ready(ready, out);
        }
    }

    /// Whether spans wait for their trace or parent, for a short time.
    pub(crate) fn holds_back(&self) -> bool {
        self.traces.hold_back() || self.requests.wait_for_threads()
    }

    /// Gives out what still waits for its trace.
    pub(crate) fn drain_traces(&mut self, out: &mut Vec<Span>) {
        let mut ready = Vec::new();
        self.traces.drain(&mut ready);
        self.give_out_ready(ready, out);
    }

    /// Gives up on calls that have waited too long.
    pub(crate) fn age_calls(&mut self, now_ns: u64) {
        let settled = self.requests.age(now_ns);
        self.note_settled(settled);
        self.crossings.age(now_ns);
    }

    /// A call is not followed any more, of which the parent was to be known later.
    pub(crate) fn drop_call(&mut self, pid: u32, waits: Option<Call>) {
        if let Some(call) = waits {
            self.requests.drop_call(pid, call);
        }
    }

    /// A thread has started another one.
    pub(crate) fn start_thread(&mut self, starter: Thread, at_ns: u64, child: u32) {
        self.requests.start_thread(starter, at_ns, child);
    }

    /// A thread is gone.
    pub(crate) fn end_thread(&mut self, pid: u32, tid: u32) {
        let settled = self.requests.end_thread(pid, tid);
        self.note_settled(settled);
    }

    /// A context was copied.
    pub(crate) fn copied(&mut self, maker: Thread, at_ns: u64, context: u64) {
        self.requests.copied(maker, at_ns, context);
    }

    /// Bytes were written for an event loop to send.
    pub(crate) fn count_write(&mut self, pid: u32) {
        self.requests.count_write(pid);
    }

    /// Whether one context was at an address from one time to another, its end included.
    pub(crate) fn was_there(&mut self, pid: u32, context: u64, time: (u64, u64)) -> bool {
        self.requests.was_there(pid, context, time)
    }

    /// Copies of a process's contexts are told from some time on, or not any more.
    pub(crate) fn see_copies(&mut self, pid: u32, since_ns: Option<u64>) {
        self.requests.see_copies(pid, since_ns);
    }

    /// What copies of contexts were good for since the last call, by process.
    pub(crate) fn take_copy_counts(&mut self) -> impl Iterator<Item = (u32, CopyCounts)> {
        self.requests.take_counts()
    }

    /// The process is gone.
    pub(crate) fn exit_calls(&mut self, pid: u32) {
        let settled = self.requests.exit(pid);
        self.note_settled(settled);
        self.budgets.exit(pid);
        self.sdks.exit(pid);
    }

    /// The probe stops.
    pub(crate) fn drain_calls(&mut self) {
        let settled = self.requests.drain();
        self.note_settled(settled);
    }
}

fn child_of(serving: Serving, kind: ParentKind) -> Lineage {
    Lineage {
        parent: Some(Parent { span_id: serving.span_id.to_string().into(), kind }),
        flagged: serving.head_sampled,
        ..Lineage::new(serving.trace_id)
    }
}
