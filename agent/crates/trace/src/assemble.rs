//! Builds spans: from a request's head to the finished, named, redacted and sampled value.
//! Invariant: every exchange begun here is finished here exactly once, and counted both times.

mod connects;
mod contexts;
mod ends;
mod parents;

use std::sync::Arc;

use model::{End, Parent, ParentKind, Process, Protocol, Span, SpanId, SpanKind, Timing, Waited, WallClock};
use protocol::http1::Headers;
use rustc_hash::FxHashMap;

use crate::app::{App, AppIndex, Apps};
use crate::budget::{Budgets, Moment};
use crate::client_address::client_address;
use crate::counts::Counts;
use crate::crossing::Crossings;
use crate::exchange::{Exchange, fault};
use crate::framework::{Asked, Frameworks};
use crate::head::{Answering, Asking, Beginning};
use crate::ids::Ids;
use crate::lineage::{Requests, Serving, Settled};
use crate::naming::name;
use crate::place::{Lineage, Place, Thread};
use crate::process::Processes;
use crate::raised;
use crate::route::template;
use crate::sdk::{self, Sdks, TraceOf};
use crate::settings::Policy;
use crate::target::{Target, without_user};
use crate::text::cut;
use crate::traces::Traces;
use parents::Unsettled;

const MAX_TARGET_CHARS: usize = 2048;
const MAX_HOST_CHARS: usize = 256;
const MAX_USER_AGENT_CHARS: usize = 256;
const MAX_HEADER_CHARS: usize = 1024;
const MAX_METHOD_CHARS: usize = 32;
/// Most recorded headers of one span.
const MAX_HEADERS: usize = 64;

/// The name of an exchange whose request was not seen.
const JOINED_LATE: &str = "(joined late)";

/// How long the first bytes of a request were there before they were read, and how finely that is counted.
const READ_WAIT: &str = "stardust_probe.time.read_wait_us";
const READ_WAIT_STEP: &str = "stardust_probe.time.read_wait_step_us";

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Assembler {
    pub(crate) policy: Policy,
    pub(crate) clock: WallClock,
    pub(crate) counts: Counts,
    pub(crate) processes: Processes,
    ids: Ids,
    requests: Requests,
    pub(crate) budgets: Budgets,
    /// Calls that are over and among the spans that were just made, but do not know their parent.
    unsettled: Vec<Unsettled>,
    /// Calls of which became known whose they are, or that it will not.
    settled: Vec<Settled>,
    crossings: Crossings,
    traces: Traces,
    sdks: Sdks,
    pub(crate) frameworks: Frameworks,
    /// Servers' requests whose caller was told of after they had begun.
    joined: FxHashMap<SpanId, Parent>,
    apps: Apps,
    no_name: Arc<str>,
}

impl Assembler {
    pub(crate) fn new(policy: Policy, seed: u64) -> Self {
        Self {
            apps: Apps::new(policy.max_names, policy.max_path_children),
            sdks: Sdks::new(policy.with_sdk),
            frameworks: Frameworks::default(),
            policy,
            clock: WallClock::default(),
            counts: Counts::default(),
            processes: Processes::default(),
            ids: Ids::new(seed),
            requests: Requests::default(),
            budgets: Budgets::default(),
            unsettled: Vec::new(),
            settled: Vec::new(),
            crossings: Crossings::default(),
            traces: Traces::default(),
            joined: FxHashMap::default(),
            no_name: JOINED_LATE.into(),
        }
    }

    /// What is kept for an app.
    pub(crate) fn app(&mut self, app_id: &str) -> &mut App {
        let index = self.apps.find(app_id);
        self.apps.get_mut(index)
    }

    /// A request with a method, a target and headers has begun, whatever protocol carries it.
    pub(crate) fn open<'a>(
        &mut self,
        (protocol, place): (Protocol, &Place),
        thread: Thread,
        head: impl Into<Asking<'a>>,
        number: u64,
        (start_ns, position): (u64, u64),
    ) -> Exchange {
        let head = head.into();
        let process = self.processes.get(thread.pid);
        let app = self.apps.find(&process.app_id);
        let method = head.method.unwrap_or_default();
        let target = head.target.map(|target| Target::parse(method, target));
        let template = target.as_ref().and_then(|target| target.path).map(template);
        let route = match (place.kind, head.method, target.as_ref().and_then(|target| target.path)) {
            (SpanKind::Server, Some(method), Some(path)) => {
                let upgrade = head.headers.get("upgrade");
                let socket = upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"));
                self.frameworks.find(thread.pid, Asked { method, path, socket })
            }
            _ => None,
        };
        let caller = (!head.by_any_thread || self.requests.is_alone(thread.pid)).then_some(thread);
        let (mut context, said) = self.context((thread.pid, place.kind), head.headers);
        let trace_state = context.as_mut().and_then(|context| context.trace_state.take());
        let of = TraceOf::told(context.is_some(), head.is_cut);
        let mark = Self::mark((protocol, place), &head, (start_ns, position), context.is_some());
        let sdk = (place.kind == SpanKind::Client).then(|| self.sdks.wrote(thread.pid, context.as_ref()));
        let mut lineage = self.lineage((thread.pid, place.kind), (caller, start_ns), context, sdk.flatten());
        self.note_child(&lineage);
        let (waits, sdk) = (lineage.waits, lineage.sdk.take());
        let mut span = self.blank((protocol, place), thread, process, start_ns, lineage);
        span.trace_state = trace_state;
        span.attributes.extend(said);
        if let Some(sdk) = sdk.as_deref().filter(|sdk| sdk.recorded) {
            sdk::describe(&mut span, sdk);
        }
        let policy = &self.policy;
        let get_cut = |name, max_chars| head.headers.get(name).map(|value| cut(value, max_chars).to_owned());
        let authority = head.authority.or_else(|| head.headers.get("host")).map(without_user);
        let host = target.as_ref().and_then(|target| target.authority).or(authority);
        span.method = head.method.map(|method| cut(method, MAX_METHOD_CHARS).into());
        span.target = target
            .as_ref()
            .map(|target| cut(&policy.redactor.target(target.shown), MAX_TARGET_CHARS).to_owned());
        span.http_version = head.version;
        span.user_agent = get_cut("user-agent", MAX_USER_AGENT_CHARS);
        if place.kind == SpanKind::Server {
            span.client_addr = client_address(head.headers, place.asker(), &policy.trusted);
        }
        if let Some(host) = host.filter(|host| !host.is_empty()) {
            cut(host, MAX_HOST_CHARS).clone_into(&mut span.host);
        } else {
            span.host = place.asked();
        }
        self.record_headers(&mut span, app, "request.", head.headers);
        let App { names, flags, .. } = self.apps.get_mut(app);
        let name = names.peek(place.kind, method, route.as_deref(), template.as_deref());
        span.head_sampled |= flags.start(place.kind, name, start_ns);
        if let Some(mark) = mark {
            self.cross(&mut span, mark, waits.is_some());
        }
        if place.kind == SpanKind::Client {
            self.budgets.call(thread.pid, Moment::of(thread, start_ns), &span, waits.is_some());
        } else {
            if let Some(Waited { for_ns, step_ns }) = thread.timing.waited {
                span.set(READ_WAIT, for_ns / 1000);
                span.set(READ_WAIT_STEP, step_ns / 1000);
            }
            self.budgets.begin(thread, &span);
            self.sdks.begin(thread.pid, &span, if span.parent.is_some() { of.or_caller() } else { of });
            self.requests.begin(
                thread,
                Serving {
                    span_id: span.span_id,
                    trace_id: span.trace_id.clone(),
                    head_sampled: span.head_sampled,
                    start_ns,
                },
            );
        }
        self.counts.exchanges += 1;
        Exchange {
            template,
            route,
            request_position: Some(position),
            waits,
            wire: mark.map(|mark| mark.wire),
            sdk,
            ..Exchange::new(number, span, app, thread, start_ns)
        }
    }

    /// An exchange has begun that is no HTTP request: a query, a command, a session. Its name and attributes may
    /// still change until it is finished. Without a lineage, a client's is that of its thread.
    pub(crate) fn begin(
        &mut self,
        (protocol, place): (Protocol, &Place),
        thread: Thread,
        beginning: Beginning<'_>,
        lineage: Option<Lineage>,
    ) -> Exchange {
        let Beginning { name, number, start_ns, position } = beginning;
        let process = self.processes.get(thread.pid);
        let app = self.apps.find(&process.app_id);
        let lineage = lineage
            .unwrap_or_else(|| self.lineage((thread.pid, place.kind), (Some(thread), start_ns), None, None));
        self.note_child(&lineage);
        let waits = lineage.waits;
        let mut span = self.blank((protocol, place), thread, process, start_ns, lineage);
        span.name = name.into();
        span.host = place.asked();
        span.client_addr = (place.kind == SpanKind::Server).then(|| place.asker().ip()).flatten();
        span.head_sampled |= self.apps.get_mut(app).flags.start(place.kind, name, start_ns);
        if place.kind == SpanKind::Client {
            self.budgets.call(thread.pid, Moment::of(thread, start_ns), &span, waits.is_some());
        }
        self.counts.exchanges += 1;
        Exchange {
            request_position: Some(position),
            waits,
            ..Exchange::new(number, span, app, thread, start_ns)
        }
    }

    /// A response has begun whose request had passed before the probe looked.
    pub(crate) fn open_late(
        &mut self,
        (protocol, place): (Protocol, &Place),
        thread: Thread,
        number: u64,
        start_ns: u64,
    ) -> Exchange {
        let process = self.processes.get(thread.pid);
        let app = self.apps.find(&process.app_id);
        let lineage = Lineage::new(self.ids.trace());
        let mut span = self.blank((protocol, place), thread, process, start_ns, lineage);
        span.host = place.asked();
        span.client_addr = (place.kind == SpanKind::Server).then(|| place.asker().ip()).flatten();
        self.counts.exchanges += 1;
        self.counts.joined_late += 1;
        Exchange { request_done: true, ..Exchange::new(number, span, app, thread, start_ns) }
    }

    /// A part of an exchange that goes on, from this time on: a span of its own, child of the exchange's, to be
    /// finished as ongoing.
    pub(crate) fn part(&mut self, whole: &Exchange, start_ns: u64) -> Exchange {
        let parent = Parent { span_id: whole.span.span_id.to_string().into(), kind: ParentKind::Whole };
        self.sdks.child(whole.span.span_id);
        let span = Span {
            span_id: self.ids.span(),
            parent: Some(parent),
            start_ns,
            ttfb_ns: None,
            headers: Vec::new(),
            ..whole.span.clone()
        };
        self.counts.exchanges += 1;
        let (pid, tid, identity) = (whole.pid, span.tid, whole.identity);
        let thread = Thread { pid, tid, identity, timing: Timing::default() };
        Exchange {
            template: whole.template.clone(),
            route: whole.route.clone(),
            request_position: whole.request_position,
            request_done: true,
            // As long as it is not known whose call it is, its parts are shown.
            sdk: whole.sdk.clone().filter(|_| whole.span.parent.is_some()),
            ..Exchange::new(whole.number, span, whole.app, thread, start_ns)
        }
    }

    /// The final response of an exchange has begun.
    pub(crate) fn respond<'a>(
        &self,
        exchange: &mut Exchange,
        head: impl Into<Answering<'a>>,
        start_ns: u64,
        position: u64,
    ) {
        let head = head.into();
        let span = &mut exchange.span;
        span.status = head.status;
        span.http_version = span.http_version.or(head.version);
        if let Some(trace_id) = self.sdks.trace_of(span.span_id) {
            span.trace_id = trace_id.clone();
        }
        if exchange.request_position.is_some() {
            span.ttfb_ns = Some(start_ns.saturating_sub(span.start_ns));
        }
        exchange.response_position = Some(position);
        self.record_headers(span, exchange.app, "response.", head.headers);
    }

    /// An exchange is over; `end_ns` is when its last byte passed.
    pub(crate) fn finish(&mut self, mut exchange: Exchange, end: End, end_ns: u64, out: &mut Vec<Span>) {
        self.uncross(&mut exchange, end == End::Complete);
        let mut span = exchange.span;
        if span.kind == SpanKind::Server {
            self.budgets.end(&mut span, end_ns);
            let (pid, tid, identity) = (exchange.pid, span.tid, exchange.identity);
            let caller = Thread { pid, tid, identity, timing: Timing::default() };
            let is_answered = exchange.response_position.is_some();
            let settled = self.requests.end(caller, (span.start_ns, span.span_id), is_answered);
            self.note_settled(settled);
        } else {
            self.budgets.call_ends(exchange.pid, &span, end_ns);
        }
        let seen = exchange.request_position.is_some();
        span.end = if seen { end } else { End::ProbeJoinedLate };
        span.duration_ns = end_ns.saturating_sub(span.start_ns);
        span.fault = fault(&span, span.end, self.policy.error_status(span.kind));
        let misses = exchange.misses_exception && exchange.exception.is_none();
        let has_failed = raised::describe(&mut span, exchange.exception, &self.policy.redactor);
        self.counts.missed_exceptions += u64::from(has_failed && misses);
        let names = &mut self.apps.get_mut(exchange.app).names;
        let over_ceiling =
            name(&mut span, names, exchange.route.as_ref(), exchange.template.as_deref(), seen);
        self.counts.names_over_ceiling += u64::from(over_ceiling);
        if span.kind == SpanKind::Server && self.sdks.end(&mut span) {
            self.counts.left_to_sdk += 1;
            return;
        }
        let waits = exchange.waits.map(|call| (call, end_ns));
        self.conclude(span, (exchange.pid, exchange.app), (waits, exchange.sdk), out);
    }

    /// The last steps of every span: switched off, excluded, or out.
    fn give_out(&mut self, mut span: Span, app: AppIndex, out: &mut Vec<Span>) {
        span.start_unix_ns = self.clock.unix_ns(span.start_ns);
        let sampler = &mut self.apps.get_mut(app).sampler;
        if !sampler.rules.enabled {
            self.counts.disabled += 1;
        } else if sampler.excludes(&span, &self.policy) {
            self.counts.excluded += 1;
        } else {
            span.sampled = sampler.keeps(&span, self.policy.slow_ns);
            self.counts.spans += 1;
            out.push(span);
        }
    }

    /// A span of which nothing is known but where, when and by whom it was begun.
    fn blank(
        &mut self,
        (protocol, place): (Protocol, &Place),
        thread: Thread,
        process: Arc<Process>,
        start_ns: u64,
        lineage: Lineage,
    ) -> Span {
        let span = place.blank(protocol, thread, process, start_ns, lineage, self.ids.span());
        Span { name: self.no_name.clone(), ..span }
    }

    /// Keeps the headers that the settings or the app's rules ask for.
    fn record_headers(&self, span: &mut Span, app: AppIndex, prefix: &str, headers: &Headers) {
        let by_rule = self.apps.get(app).sampler.rules.headers.as_slice();
        if self.policy.headers.is_empty() && by_rule.is_empty() {
            return;
        }
        for (name, value) in headers.iter() {
            let name = name.to_ascii_lowercase();
            if span.headers.len() < MAX_HEADERS
                && (self.policy.headers.contains(&name) || by_rule.contains(&name))
            {
                let value = cut(self.policy.redactor.header(&name, value), MAX_HEADER_CHARS);
                span.headers.push((format!("{prefix}{name}"), value.to_owned()));
            }
        }
    }
}
