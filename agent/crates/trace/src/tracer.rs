//! Events in, spans out. Invariant: the outcome depends on the events, the settings and the seed alone.

mod encrypted;
mod questions;

use std::collections::BTreeSet;

use model::{
    Bearer, Blur, Body, ConnectionId, Direction, End, Event, Identity, Load, SocketCall, SocketState, Span,
    TcpState, Timing, TlsCall, TlsSessionId, WallClock,
};
use rustc_hash::FxHashSet;

use crate::assemble::Assembler;
use crate::binding::{Binding, Held, Joined};
use crate::connect::Connects;
use crate::connection::{Connection, Connections, Passage};
use crate::counts::Counts;
use crate::lineage::CopyCounts;
use crate::place::Thread;
use crate::resets::Resets;
use crate::sample::{Rules, Sampler};
use crate::settings::{Policy, Settings, SettingsError};
use crate::written::Writes;
pub use questions::FrameBegin;

/// How often forgotten connections are looked for.
const SWEEP_NS: u64 = 10_000_000_000;

/// Turns the events of watched processes into spans.
#[derive(Debug)]
pub struct Tracer {
    assembler: Assembler,
    connections: Connections,
    connects: Connects,
    resets: Resets,
    binding: Binding,
    writes: Writes,
    /// Processes with encrypted connections of which no clear text was seen yet, and connections whose encrypted
    /// bytes are of no more use: told once to whoever asks.
    encrypted: BTreeSet<u32>,
    settled: Vec<ConnectionId>,
    whole_tls: Vec<TlsSessionId>,
    let_go_tls: Vec<TlsSessionId>,
    let_go: Vec<ConnectionId>,
    /// Connections whose calls are to be copied whole.
    whole: Vec<ConnectionId>,
    /// Directions of which the source would know where a frame begins.
    asked: BTreeSet<(Bearer, Direction)>,
    /// Unix connections with an open exchange: the kernel does not tell when they are closed.
    unclosed: BTreeSet<ConnectionId>,
    /// Processes that have moved bytes or begun a connect: the exit of another ends nothing.
    talkers: FxHashSet<u32>,
    swept_ns: u64,
    /// When it was last looked for exchanges that go on.
    looked_ns: u64,
}

impl Tracer {
    /// `seed`: of the new ids. The same events, settings and seed give the same spans.
    pub fn new(settings: &Settings, seed: u64) -> Result<Self, SettingsError> {
        Ok(Self {
            assembler: Assembler::new(Policy::new(settings)?, seed),
            connections: Connections::default(),
            connects: Connects::default(),
            resets: Resets::default(),
            binding: Binding::default(),
            writes: Writes::default(),
            encrypted: BTreeSet::new(),
            settled: Vec::new(),
            whole_tls: Vec::new(),
            let_go_tls: Vec::new(),
            let_go: Vec::new(),
            whole: Vec::new(),
            asked: BTreeSet::new(),
            unclosed: BTreeSet::new(),
            talkers: FxHashSet::default(),
            swept_ns: 0,
            looked_ns: 0,
        })
    }

    /// The clock for spans finished from now on.
    pub fn set_clock(&mut self, clock: WallClock) {
        self.assembler.clock = clock;
    }

    /// Takes one event and pushes the spans that it finishes.
    pub fn observe(&mut self, event: &Event<'_>, out: &mut Vec<Span>) {
        self.release(event.at_ns, out);
        let (identity, timing) = match &event.body {
            Body::SocketCall(call) => (call.identity, call.timing),
            Body::TlsCall(call) => (call.identity, Timing::default()),
            Body::SocketState(state) => (state.identity, Timing::default()),
            _ => (Identity::Thread, Timing::default()),
        };
        let thread = Thread { pid: event.pid, tid: event.tid, identity, timing };
        match &event.body {
            Body::SocketCall(call) => {
                let thread = self.writer((event.at_ns, thread), call);
                self.call((event.at_ns, thread), call, out);
            }
            Body::TlsCall(call) => self.tls_call((event.at_ns, thread), call, out),
            Body::SocketState(state) => self.state((event.at_ns, thread), state, out),
            Body::Fork { child } => {
                self.assembler.processes.fork(event.pid, *child);
                self.assembler.frameworks.fork(event.pid, *child);
            }
            Body::ThreadStarted(thread_started) => {
                let starter = Thread { identity: thread_started.by, ..thread };
                self.assembler.start_thread(starter, event.at_ns, thread_started.child);
            }
            Body::ThreadEnded => self.assembler.end_thread(event.pid, event.tid),
            // What the process is now follows as `Process`.
            Body::Exec => self.assembler.frameworks.forget(event.pid),
            Body::Routes(routes) => self.assembler.frameworks.learn(event.pid, routes.clone()),
            Body::Exit { .. } => self.exit(event.pid, out),
            Body::Exceptions(raised) => self.raised(raised),
            Body::ContextCopied(copied) => {
                let maker = Thread { identity: copied.copied_in, ..thread };
                self.assembler.copied(maker, event.at_ns, copied.context);
            }
            Body::Collected(collected) => {
                self.assembler.budgets.collected(
                    event.pid,
                    (collected.begun_ns, event.at_ns),
                    collected.number,
                );
            }
            Body::CollectionsSeen(since_ns) => self.assembler.budgets.see_collections(event.pid, *since_ns),
            Body::Written(written) => {
                self.assembler.count_write(event.pid);
                self.writes.note(Thread { identity: written.by, ..thread }, event.at_ns, written.fd);
            }
            Body::CopiesSeen(since_ns) => {
                self.writes.forget(event.pid);
                self.assembler.see_copies(event.pid, *since_ns);
            }
            Body::Process(process) => self.assembler.processes.learn(process.clone()),
        }
        self.assembler.give_out_settled(out);
    }

    /// What has made a call: if an event loop sends what was left to it, who left it, as far as that is known.
    fn writer(&mut self, (at_ns, thread): (u64, Thread), call: &SocketCall<'_>) -> Thread {
        let fd = call.fd.filter(|_| call.direction == Direction::Sent);
        let written = fd.and_then(|fd| self.writes.take(thread, at_ns, fd));
        match (thread.identity, written) {
            (Identity::Unknown(Blur::Deferred), Some((by @ Identity::Task(context), time)))
                if self.assembler.was_there(thread.pid, context, time) =>
            {
                let timing = Timing { written_ns: Some(time.0), ..thread.timing };
                Thread { identity: by, timing, ..thread }
            }
            _ => thread,
        }
    }

    fn call(&mut self, (at_ns, thread): (u64, Thread), call: &SocketCall<'_>, out: &mut Vec<Span>) {
        let id = call.connection;
        if !self.connections.map.contains_key(&id) {
            // Nothing has passed: there is nothing to follow yet.
            if !matches!(call.outcome, model::Outcome::Bytes(_)) || self.connections.is_closed(id) {
                return;
            }
            self.connections.make_room(&mut self.assembler, out);
            self.assembler.counts.connections += 1;
            self.connects.answered(id, &mut self.assembler);
            self.connections.map.insert(id, Connection::new(call, thread));
            self.talkers.insert(thread.pid);
        }
        if call.kernel_tls && self.connections.map.get(&id).is_some_and(Connection::is_in_the_clear) {
            self.forget_clear_text(id, out);
        }
        let Some(connection) = self.connections.map.get_mut(&id) else { return };
        if connection.owner.pid != thread.pid {
            self.talkers.insert(thread.pid);
        }
        if let Some(passed) = connection.pass_encrypted((at_ns, thread), call) {
            self.encrypted((at_ns, thread), call, passed, out);
            return;
        }
        let before = out.len();
        let let_go = connection.call((at_ns, thread), call, &mut self.assembler, out);
        connection.describe(&mut out[before..]);
        // What came before the reset can still be read.
        let was_sent = call.direction == Direction::Sent;
        let may_go_on =
            connection.open_exchanges() > 0 && (was_sent || matches!(call.outcome, model::Outcome::Bytes(_)));
        let unclosed = connection.is_unix() && connection.open_exchanges() > 0;
        let becomes_whole = connection.asks_for_whole_calls();
        if call.asks_frame {
            self.note_question(Bearer::Connection(id), call.direction);
        }
        if becomes_whole && self.whole.len() < self.assembler.policy.max_connections {
            self.whole.push(id);
            self.expect_questions(Bearer::Connection(id));
        }
        if let_go {
            self.note_let_go(id);
        }
        self.mark_unclosed(id, unclosed);
        if !may_go_on && let Some((reset_ns, state)) = self.resets.of(id) {
            self.settle(reset_ns, &state, out);
        }
    }

    fn note_let_go(&mut self, id: ConnectionId) {
        if self.let_go.len() < self.assembler.policy.max_connections {
            self.let_go.push(id);
        }
    }

    fn state(&mut self, (at_ns, thread): (u64, Thread), state: &SocketState, out: &mut Vec<Span>) {
        if state.new == TcpState::SynSent {
            self.talkers.insert(thread.pid);
        }
        self.connects.state((at_ns, thread), state, &mut self.assembler, out);
        let connection = self.connections.map.get(&state.connection);
        let open = connection.map_or(0, Connection::open_exchanges);
        if let Some(connection) = connection.filter(|_| open > 0 && state.new == TcpState::Close) {
            self.assembler.leave(connection.owner.pid, at_ns);
        }
        if open == 0 || !self.resets.hold(at_ns, state) {
            self.settle(at_ns, state, out);
        }
    }

    /// A state that is not held back any more.
    fn settle(&mut self, at_ns: u64, state: &SocketState, out: &mut Vec<Span>) {
        let id = state.connection;
        let gone = state.new == TcpState::Close;
        let Some(connection) = self.connections.map.get_mut(&id) else { return };
        let before = out.len();
        connection.state(at_ns, state, &mut self.assembler, out);
        connection.describe(&mut out[before..]);
        if gone {
            connection.count_unbound(&mut self.assembler.counts);
            self.binding.close(id);
            self.connections.close(id);
            self.mark_unclosed(id, false);
        }
    }

    fn exit(&mut self, pid: u32, out: &mut Vec<Span>) {
        self.settle_resets(u64::MAX, out);
        if self.talkers.remove(&pid) {
            for id in self.connections.open(|connection| connection.owner.pid == pid) {
                self.abandon(id, End::ProcessExited, out);
            }
            self.connects.exit(pid);
            self.binding.exit(pid);
        }
        self.writes.forget(pid);
        self.assembler.exit_calls(pid);
        self.assembler.processes.exit(pid);
        self.assembler.frameworks.forget(pid);
    }

    /// Gives out what was held back until `now_ns`.
    fn release(&mut self, now_ns: u64, out: &mut Vec<Span>) {
        self.connects.release(now_ns, &mut self.assembler, out);
        self.settle_resets(now_ns, out);
        self.assembler.give_out_due(now_ns, out);
    }

    fn settle_resets(&mut self, now_ns: u64, out: &mut Vec<Span>) {
        while let Some((at_ns, state)) = self.resets.due(now_ns) {
            self.settle(at_ns, &state, out);
        }
    }

    /// Gives out what was held back until `now_ns`, and forgets what is too old.
    pub fn tick(&mut self, now_ns: u64, out: &mut Vec<Span>) {
        self.release(now_ns, out);
        self.progress(now_ns, out);
        if now_ns.saturating_sub(self.swept_ns) >= SWEEP_NS {
            self.swept_ns = now_ns;
            self.connections.age(now_ns, &mut self.assembler, out);
            self.connects.age(now_ns, self.assembler.policy.idle_timeout_ns);
            self.binding.age(now_ns, self.assembler.policy.idle_timeout_ns);
            self.count_binding();
            self.unclosed.retain(|id| self.connections.map.contains_key(id));
        }
        self.assembler.age_calls(now_ns);
        self.assembler.give_out_settled(out);
    }

    /// Whether something is held back for some milliseconds, so that [`Tracer::tick`] is to be called soon.
    pub fn holds_back(&self) -> bool {
        self.resets.hold_back() || self.connects.hold_back() || self.assembler.holds_back()
    }

    /// Reports exchanges that have gone on for a period. They are looked for six times in it.
    fn progress(&mut self, now_ns: u64, out: &mut Vec<Span>) {
        let Some(period_ns) = self.assembler.policy.progress_ns else { return };
        if now_ns.saturating_sub(self.looked_ns) < period_ns / 6 {
            return;
        }
        self.looked_ns = now_ns;
        for id in self.connections.open(|_| true) {
            let Some(connection) = self.connections.map.get_mut(&id) else { continue };
            let before = out.len();
            if let Some(conversation) = connection.conversation() {
                conversation.progress(now_ns, period_ns, &mut self.assembler, out);
            }
            connection.describe(&mut out[before..]);
        }
    }

    /// The probe stops: ends what is open, as of the last byte seen.
    pub fn drain(&mut self, now_ns: u64, out: &mut Vec<Span>) {
        self.tick(now_ns, out);
        self.settle_resets(u64::MAX, out);
        self.connects.drain(&mut self.assembler, out);
        for id in self.connections.open(|_| true) {
            self.abandon(id, End::ProbeStopped, out);
        }
        for connection in self.connections.map.values() {
            connection.count_unbound(&mut self.assembler.counts);
        }
        self.binding.age(u64::MAX, 0);
        self.count_binding();
        self.assembler.drain_calls();
        self.assembler.give_out_settled(out);
        self.assembler.drain_traces(out);
    }

    fn abandon(&mut self, id: ConnectionId, end: End, out: &mut Vec<Span>) {
        if let Some(connection) = self.connections.map.get_mut(&id) {
            let before = out.len();
            if let Some(conversation) = connection.conversation() {
                conversation.abandon(end, &mut self.assembler, out);
            }
            connection.describe(&mut out[before..]);
        }
        self.mark_unclosed(id, false);
    }

    fn mark_unclosed(&mut self, id: ConnectionId, unclosed: bool) {
        if unclosed {
            self.unclosed.insert(id);
        } else if !self.unclosed.is_empty() {
            self.unclosed.remove(&id);
        }
    }

    /// The rules of an app's remote configuration, in place of those before.
    pub fn apply_rules(&mut self, app_id: &str, rules: Rules) {
        let app = self.assembler.app(app_id);
        // The same rules again must not fill their budgets up.
        if app.sampler.rules != rules {
            app.sampler = Sampler::new(rules);
        }
    }

    /// How many requests of each name to flag in each period. A period of 0 changes nothing in it.
    pub fn set_head_limits(&mut self, app_id: &str, period_s: u32, max_samples: u32) {
        self.assembler.app(app_id).flags.set_limits(period_s, max_samples);
    }

    /// The connections let go since the last call: the source need not tell of them any more.
    pub fn let_go(&mut self) -> std::vec::Drain<'_, ConnectionId> {
        self.let_go.drain(..)
    }

    /// Processes that were asked for paths of which their frameworks' rules, as they were told, say nothing.
    pub fn strangers(&mut self) -> std::vec::Drain<'_, u32> {
        self.assembler.frameworks.strangers()
    }

    /// The connections found since the last call on which all of each call should be copied.
    pub fn whole(&mut self) -> std::vec::Drain<'_, ConnectionId> {
        self.whole.drain(..)
    }

    /// How busy each process was since this was told last, every 10 s. `is_last`: whatever there is to tell.
    pub fn loads(&mut self, now_ns: u64, is_last: bool) -> Vec<Load> {
        self.assembler.budgets.loads(now_ns, is_last)
    }

    /// Unix connections with an open exchange: connection, pid, fd and inode. Whoever finds that the fd is
    /// no longer that socket feeds a state `Close`.
    pub fn unclosed(&self) -> impl Iterator<Item = (ConnectionId, u32, i32, u64)> {
        self.unclosed.iter().filter_map(|id| {
            let connection = self.connections.map.get(id)?;
            Some((*id, connection.owner.pid, connection.fd?, connection.inode))
        })
    }

    /// What became of calls by way of copied contexts since the last call, by process.
    pub fn copy_counts(&mut self) -> impl Iterator<Item = (u32, CopyCounts)> {
        self.assembler.take_copy_counts()
    }

    /// What was seen, and what could not be used.
    pub fn counts(&self) -> &Counts {
        &self.assembler.counts
    }
}
