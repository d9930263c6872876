//! From frames to spans to exporters: the one way for data, whatever the source.
//!
//! Invariant: no clock is read and no IO is done here but by the exporters' own threads, the recorder and the
//! look at a new process; with the same frames the same spans come out.

mod news;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ebpf::abi;
use ebpf::record::{self, Record};
use model::{
    Address, AttributeValue, Body, ConnectionId, End, Event, Exceptions, Identity, Process, SocketState,
    Span, SpanKind, TcpState, WallClock,
};
use report::Exporter;
use rustc_hash::{FxHashMap, FxHashSet};
use trace::{SettingsError, Tracer};

use crate::decode::decode;
use crate::frame::{Frame, Recorder};
pub use news::{Failure, News};

/// Finds out what a process is; `None` if it is gone.
pub type Identify = Box<dyn Fn(u32, Option<&Process>) -> Option<Process> + Send>;

/// Puts into words what a record says of a process's exceptions; `None` if there is nothing to say.
pub type Words = Box<dyn FnMut(u32, &abi::Exceptions, &[u8]) -> Option<Exceptions> + Send>;

/// What happened to the input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Intake {
    /// Records taken.
    pub records: u64,
    /// Those of them that tell of copied contexts, and of what was written in them: event loops make some when nothing else
    /// goes on.
    pub copies: u64,
    /// Those that tell of processes that begin, change or end.
    pub lives: u64,
    /// Records that were none.
    pub malformed: u64,
    /// Events that broke an invariant of the tracer: a fault of the probe.
    pub faults: u64,
    /// Spans made.
    pub spans: u64,
}

/// The pipeline and what it feeds.
pub struct Pipeline {
    tracer: Tracer,
    settings: trace::Settings,
    exporters: Vec<Arc<dyn Exporter>>,
    processes: FxHashMap<u32, Arc<Process>>,
    /// Those that nobody has asked for yet.
    newcomers: Vec<u32>,
    identify: Option<Identify>,
    words: Option<Words>,
    /// Kept only where someone asks for it.
    news: Option<Vec<News>>,
    /// The processes that have served requests.
    served: FxHashSet<u32>,
    /// The processes of which every copied context has a record.
    sees_copies: BTreeSet<u32>,
    recorder: Option<Recorder>,
    recording_failed: Option<std::io::Error>,
    clock: WallClock,
    spans: Vec<Span>,
    /// Exporters were given spans since the last flush.
    is_unflushed: bool,
    intake: Intake,
}

impl Pipeline {
    /// A pipeline that ends in `exporters`. `settings` are checked.
    pub fn new(settings: trace::Settings, exporters: Vec<Arc<dyn Exporter>>) -> Result<Self, SettingsError> {
        Ok(Self {
            tracer: Tracer::new(&settings, 0)?,
            settings,
            exporters,
            processes: FxHashMap::default(),
            newcomers: Vec::new(),
            identify: None,
            words: None,
            news: None,
            served: FxHashSet::default(),
            sees_copies: BTreeSet::new(),
            recorder: None,
            recording_failed: None,
            clock: WallClock::default(),
            spans: Vec::new(),
            is_unflushed: false,
            intake: Intake::default(),
        })
    }

    /// Looks at processes that show up or change their program.
    #[must_use]
    pub fn identify_with(mut self, identify: Identify) -> Self {
        self.identify = Some(identify);
        self
    }

    /// Puts exceptions into words.
    #[must_use]
    pub fn tell_exceptions_with(mut self, words: Words) -> Self {
        self.words = Some(words);
        self
    }

    /// Keeps the news of processes, for [`Pipeline::news`].
    #[must_use]
    pub fn keep_news(mut self) -> Self {
        self.news = Some(Vec::new());
        self
    }

    /// Keeps every frame.
    #[must_use]
    pub fn record_to(mut self, recorder: Recorder) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// Records of copied contexts were lost, all of them before this time.
    pub fn lose_copies(&mut self, now_ns: u64) {
        for pid in self.sees_copies.clone() {
            self.feed(&Frame::CopiesSeen { pid, since_ns: Some(now_ns) });
        }
    }

    /// Takes the next frame.
    pub fn feed(&mut self, frame: &Frame<'_>) {
        if let Frame::Record(bytes) = frame {
            self.feed_record(bytes);
            return;
        }
        self.keep(frame);
        match frame {
            Frame::Seed(seed) => {
                // The settings were checked when the pipeline was made.
                if let Ok(tracer) = Tracer::new(&self.settings, *seed) {
                    self.tracer = tracer;
                }
            }
            Frame::Clock { offset_ns } => {
                self.clock = WallClock::new(*offset_ns);
                self.tracer.set_clock(self.clock);
            }
            Frame::Process(process) => self.know(process.clone()),
            Frame::Closed { connection, pid, now_ns } => self.observe(&closed(*connection, *pid, *now_ns)),
            Frame::Routes { now_ns, pid, routes } => {
                let body = Body::Routes(routes.clone());
                self.observe(&Event { at_ns: *now_ns, pid: *pid, tid: 0, body });
            }
            Frame::Tick { now_ns } => {
                self.tracer.tick(*now_ns, &mut self.spans);
                self.tell_loads(*now_ns, false);
            }
            Frame::Stop { now_ns } => {
                self.tell_loads(*now_ns, true);
                self.tracer.drain(*now_ns, &mut self.spans);
            }
            Frame::CopiesSeen { pid, since_ns } => self.see_copies(*pid, *since_ns),
            Frame::CollectionsSeen { pid, since_ns } => {
                let body = Body::CollectionsSeen(*since_ns);
                self.observe(&Event { at_ns: 0, pid: *pid, tid: 0, body });
            }
            Frame::Exceptions { at_ns, pid, exceptions } => {
                let body = Body::Exceptions(exceptions.clone());
                self.observe(&Event { at_ns: *at_ns, pid: *pid, tid: 0, body });
            }
            Frame::Record(_) => {}
        }
        self.report();
    }

    fn feed_record(&mut self, bytes: &[u8]) {
        self.intake.records += 1;
        let Ok(record) = record::decode(bytes) else {
            self.intake.malformed += 1;
            self.keep(&Frame::Record(bytes));
            return;
        };
        if let Record::Exceptions { of, raised } = record {
            self.feed_exceptions(&of, raised);
            return;
        }
        let Some(event) = decode(&record) else { return };
        match event.body {
            // What the process is must be known before its events, in a recording too.
            Body::Exec => self.look_at(event.pid),
            Body::Exit { .. } | Body::Collected(_) | Body::ThreadEnded => {}
            Body::ContextCopied(_) | Body::Written(_) => self.intake.copies += 1,
            _ if !self.processes.contains_key(&event.pid) => self.look_at(event.pid),
            _ => {}
        }
        if matches!(event.body, Body::Fork { .. } | Body::Exec | Body::Exit { .. }) {
            self.intake.lives += 1;
        }
        self.keep(&Frame::Record(bytes));
        if let Body::Fork { child } = event.body {
            self.inherit(event.pid, child, event.at_ns);
        }
        self.observe(&event);
        self.report();
        if matches!(event.body, Body::Exit { .. }) && self.processes.remove(&event.pid).is_some() {
            self.exporters.iter().for_each(|exporter| exporter.process_exited(event.pid));
            self.served.remove(&event.pid);
            self.hear(News::Gone(event.pid));
        }
    }

    fn see_copies(&mut self, pid: u32, since_ns: Option<u64>) {
        if since_ns.is_some() {
            self.sees_copies.insert(pid);
        } else {
            self.sees_copies.remove(&pid);
        }
        self.observe(&Event { at_ns: 0, pid, tid: 0, body: Body::CopiesSeen(since_ns) });
    }

    /// The words are part of the input: the process's memory is gone when a recording is replayed.
    fn feed_exceptions(&mut self, of: &abi::Exceptions, raised: &[u8]) {
        let (at_ns, pid) = (of.header.at_ns, of.header.tgid);
        if let Some(exceptions) = self.words.as_mut().and_then(|words| words(pid, of, raised)) {
            self.feed(&Frame::Exceptions { at_ns, pid, exceptions });
        }
    }

    fn hear(&mut self, news: News) {
        if let Some(all) = &mut self.news {
            all.push(news);
        }
    }

    /// What happened to processes since the last call.
    pub fn news(&mut self) -> Vec<News> {
        self.news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// A forked child is what its parent is until it runs another program.
    fn inherit(&mut self, parent: u32, child: u32, at_ns: u64) {
        if let Some(known) = self.processes.get(&parent) {
            let start_unix_ms = (self.clock.unix_ns(at_ns) / 1_000_000).cast_signed();
            let process = Process { pid: child, parent_pid: parent, start_unix_ms, ..known.as_ref().clone() };
            self.know(Arc::new(process));
        }
    }

    fn look_at(&mut self, pid: u32) {
        let Some(identify) = &self.identify else { return };
        let known = self.processes.get(&pid).map(Arc::as_ref);
        if let Some(process) = identify(pid, known) {
            self.feed(&Frame::Process(Arc::new(process)));
        }
    }

    fn know(&mut self, process: Arc<Process>) {
        self.observe(&Event { at_ns: 0, pid: process.pid, tid: 0, body: Body::Process(process.clone()) });
        self.exporters.iter().for_each(|exporter| exporter.process_started(&process));
        if self.identify.is_some() {
            self.newcomers.push(process.pid);
        }
        self.served.remove(&process.pid);
        self.hear(News::Started(process.pid));
        self.processes.insert(process.pid, process);
    }

    /// A broken invariant in there costs one event, not the probe.
    fn observe(&mut self, event: &Event<'_>) {
        let (tracer, spans) = (&mut self.tracer, &mut self.spans);
        if catch_unwind(AssertUnwindSafe(|| tracer.observe(event, spans))).is_err() {
            self.intake.faults += 1;
        }
    }

    /// What was lost since the probe began.
    pub fn tell_losses(&self, losses: &str) {
        self.exporters.iter().for_each(|exporter| exporter.losses(losses));
    }

    fn tell_loads(&mut self, now_ns: u64, is_last: bool) {
        for load in self.tracer.loads(now_ns, is_last) {
            if let Some(process) = self.processes.get(&load.pid) {
                self.exporters.iter().for_each(|exporter| exporter.process_load(process, &load));
            }
        }
    }

    fn report(&mut self) {
        self.intake.spans += self.spans.len() as u64;
        self.is_unflushed |= !self.spans.is_empty();
        for span in self.spans.drain(..).map(Arc::new) {
            let pid = span.process.pid;
            if let Some(news) = &mut self.news
                && span.kind == SpanKind::Server
            {
                if self.served.insert(pid) {
                    news.push(News::Served(pid));
                }
                if has_failed_here(&span) {
                    let told = span.attribute("exception.type").is_some();
                    let failure = Failure { name: span.name.clone(), status: span.status };
                    news.push(News::Failed { pid, told, failure, since_ns: span.start_ns });
                }
            }
            self.exporters.iter().for_each(|exporter| exporter.record(&span));
        }
    }

    /// Lets the exporters send what they were given: nothing more comes for some milliseconds.
    pub fn flush(&mut self) {
        if std::mem::take(&mut self.is_unflushed) {
            self.exporters.iter().for_each(|exporter| exporter.flush());
        }
    }

    fn keep(&mut self, frame: &Frame<'_>) {
        let Some(recorder) = &mut self.recorder else { return };
        if let Err(error) = recorder.write(frame) {
            self.recording_failed = Some(error);
            self.recorder = None;
        }
    }

    /// The tracer, for what the agent asks of it between frames.
    pub fn tracer(&mut self) -> &mut Tracer {
        &mut self.tracer
    }

    /// The processes that were new, or ran another program, since the last call.
    pub fn newcomers(&mut self) -> std::vec::Drain<'_, u32> {
        self.newcomers.drain(..)
    }

    /// The processes known now.
    pub fn processes(&self) -> &FxHashMap<u32, Arc<Process>> {
        &self.processes
    }

    /// What happened to the input so far.
    pub fn intake(&self) -> Intake {
        self.intake
    }

    /// Ends the recording; an error says that it is not whole.
    pub fn finish_recording(&mut self) -> std::io::Result<()> {
        if let Some(error) = self.recording_failed.take() {
            return Err(error);
        }
        self.recorder.take().map_or(Ok(()), Recorder::finish)
    }

    /// Whether the recording failed: a full disk, most likely.
    pub fn recording_failed(&self) -> bool {
        self.recording_failed.is_some()
    }
}

/// A request failed in the process that served it. A reset is the client's, and a stream of HTTP/2 is refused without a
/// look at it, or given up as the client wishes: that is everyday life, and no exception's doing. What an exception ends
/// there, servers end as an internal error or, as hypercorn does, without naming one.
fn has_failed_here(span: &Span) -> bool {
    let code = || span.attribute("error.type").and_then(AttributeValue::as_text);
    span.kind == SpanKind::Server
        && match span.end {
            End::Complete => span.status.is_some_and(|status| status >= 500),
            End::ServerClosed => matches!(code(), None | Some("NO_ERROR" | "INTERNAL_ERROR")),
            _ => false,
        }
}

fn closed(connection: u64, pid: u32, now_ns: u64) -> Event<'static> {
    let state = SocketState {
        connection: ConnectionId(connection),
        local: Address::Unknown,
        peer: Address::Unknown,
        netns: 0,
        old: TcpState::Established,
        new: TcpState::Close,
        errno: 0,
        identity: Identity::Thread,
        sent: 0,
    };
    Event { at_ns: now_ns, pid, tid: 0, body: Body::SocketState(state) }
}

#[cfg(test)]
mod tests;
