//! The live source: reads the kernel's ring, looks into `/proc` where the kernel cannot tell, and feeds the pipeline.
//!
//! Invariant: one thread owns the pipeline; it sleeps until the drain interval is over or the ring
//! fills up; when nothing goes on, until the next record comes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ebpf::{Kernel, ProgramStatus, Ring};
use model::{ConnectionId, Process};
use report::Remote;
use serde::Serialize;
use tokio::sync::oneshot;
use trace::Counts;
use trace::sample::Rules;

use crate::clock;
use crate::collections::Collections;
use crate::discover::Proc;
use crate::exceptions::Exceptions;
use crate::frame::Frame;
use crate::interpreters::Interpreters;
use crate::lineage::Lineage;
use crate::pipeline::{Intake, Pipeline};
use crate::routes::RouteReader;
use crate::sys;
use crate::tls::Probes;

/// How often the wall clock's offset is taken anew.
const CLOCK_INTERVAL_NS: u64 = 10_000_000_000;
/// How often connections that only a look can tell closed are looked at.
const LOOK_INTERVAL_NS: u64 = 20_000_000;

/// After this long without a record the thread sleeps until the next one.
const IDLE_AFTER_NS: u64 = 200_000_000;
/// How long it sleeps at most: for wishes, and to notice that it is told to stop.
const IDLE_INTERVAL: Duration = Duration::from_millis(250);

/// What a back end asks for, and where to say what became of it.
#[derive(Debug)]
pub struct Wish {
    /// What it is.
    pub remote: Remote,
    /// Told once it is in force, or why it is not.
    pub outcome: oneshot::Sender<Result<(), String>>,
}

/// What is looked at inside of watched processes, and put there for it.
pub struct Inside {
    /// TLS libraries.
    pub libraries: Probes,
    /// Exceptions, which the pipeline puts into words.
    pub exceptions: Arc<Mutex<Exceptions>>,
    /// Which task starts which.
    pub lineage: Lineage,
    /// When garbage is collected.
    pub collections: Collections,
    /// Routes of apps.
    pub routes: RouteReader,
}

/// Why the source ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Told,
    /// Every watched process is gone.
    TargetsGone,
    /// The recording cannot be written any more.
    RecordingFailed,
    /// The ring or the clock failed: a fault of the probe.
    Fault,
}

/// What the whole way from the kernel to the spans counted.
#[derive(Debug, Clone, Serialize)]
pub struct Tally {
    /// The kernel side, by reason.
    pub kernel: BTreeMap<String, u64>,
    /// Program runs that did not happen, by program.
    pub missed: BTreeMap<String, u64>,
    /// Records taken from the ring.
    pub records: u64,
    /// Records that were none.
    pub malformed: u64,
    /// Broken invariants.
    pub faults: u64,
    /// Records of exceptions that were reached too late to be put into words.
    pub late_exceptions: u64,
    /// The tracer.
    pub trace: Counts,
}

impl Tally {
    /// What was not seen, or not whole, with how often: `ring_full 12`.
    pub fn losses(&self) -> Vec<String> {
        let named = [
            ("malformed_records", self.malformed),
            ("faults", self.faults),
            ("late_exceptions", self.late_exceptions),
        ];
        let traced = [
            ("gaps", self.trace.gaps),
            ("gap_bytes", self.trace.gap_bytes),
            ("lost_framings", self.trace.lost_framings),
            ("unpaired_responses", self.trace.unpaired_responses),
            ("tls_unbound_connections", self.trace.tls_unbound_connections),
            ("tls_unbound_bytes", self.trace.tls_unbound_bytes),
            ("tls_unknown_peer_bytes", self.trace.tls_unknown_peer_bytes),
            ("evicted_connections", self.trace.evicted_connections),
            ("overrun_connections", self.trace.overrun_connections),
            ("overrun_requests", self.trace.overrun_requests),
            ("compressed_databases", self.trace.compressed_databases),
            ("unsupported_databases", self.trace.unsupported_databases),
        ];
        let kernel = self.kernel.iter().map(|(name, count)| (name.as_str(), *count));
        let programs = self.missed.iter().map(|(name, count)| (name.as_str(), *count));
        let all = kernel.chain(programs).chain(named).chain(traced);
        // Not HTTP, and so let go on purpose.
        let losses = all.filter(|(name, count)| *count > 0 && *name != "ignored_calls");
        losses.map(|(name, count)| format!("{name} {count}")).collect()
    }
}

/// Runs until told to stop. On the way out the programs are detached, the ring is emptied, and what is open ends.
pub fn run(
    kernel: &mut Kernel,
    mut inside: Inside,
    mut pipeline: Pipeline,
    drain_interval: Duration,
    wishes: &Receiver<Wish>,
    stop: &Arc<AtomicBool>,
) -> (Ended, Tally, Pipeline) {
    let ended = match drain(kernel, &mut inside, &mut pipeline, drain_interval, wishes, stop) {
        Ok(ended) => ended,
        Err(error) => {
            tracing::error!("the probe cannot go on: {error:#}");
            Ended::Fault
        }
    };
    let mut tally = tally(kernel, &mut pipeline);
    tally.late_exceptions = inside.exceptions.lock().map_or(0, |exceptions| exceptions.late());
    (ended, tally, pipeline)
}

fn drain(
    kernel: &mut Kernel,
    inside: &mut Inside,
    pipeline: &mut Pipeline,
    interval: Duration,
    wishes: &Receiver<Wish>,
    stop: &AtomicBool,
) -> anyhow::Result<Ended> {
    let mut reader = Reader { ring: kernel.ring()?, copies_lost: 0 };
    let mut next_clock_ns = 0;
    let mut next_look_ns = 0;
    let mut interpreters = Interpreters::default();
    let mut active = Activity::default();
    let ended = loop {
        let wait = if active.is_idle() {
            if active.falls_idle() {
                sys::trim_memory();
            }
            let is_sure = kernel.wake_on_next_record();
            reader.feed(pipeline);
            match active.has_news(pipeline) {
                true => Duration::ZERO,
                false if is_sure => IDLE_INTERVAL,
                false => interval,
            }
        } else {
            interval
        };
        reader.ring.wait(wait);
        reader.feed(pipeline);
        let now_ns = clock::monotonic_ns()?;
        active.note(pipeline, now_ns);
        if now_ns >= next_look_ns {
            next_look_ns = now_ns + LOOK_INTERVAL_NS;
            let closed = look(pipeline);
            if !closed.is_empty() {
                // What passed before the close is in the ring by now, and comes first.
                reader.feed(pipeline);
                let now_ns = clock::monotonic_ns()?;
                for (connection, pid) in closed {
                    pipeline.feed(&Frame::Closed { connection: connection.0, pid, now_ns });
                }
            }
        }
        if now_ns >= next_clock_ns {
            next_clock_ns = now_ns + CLOCK_INTERVAL_NS;
            pipeline.feed(&Frame::Clock { offset_ns: clock::wall_clock()?.offset_ns() });
        }
        pipeline.feed(&Frame::Tick { now_ns });
        interpreters.expect(pipeline.newcomers(), now_ns);
        let followed = interpreters.look(kernel, now_ns);
        if let Some((pid, interpreter)) = &followed {
            inside.routes.found(*pid, interpreter, now_ns);
        }
        read_routes(&mut inside.routes, pipeline, now_ns);
        kernel.ignore(pipeline.tracer().let_go().map(|connection| connection.0))?;
        kernel.copy_whole(pipeline.tracer().whole().map(|connection| connection.0))?;
        let news = pipeline.news();
        if let Ok(mut exceptions) = inside.exceptions.lock() {
            exceptions.hear(kernel, &news, now_ns);
            if let Some((pid, interpreter)) = &followed {
                exceptions.found(kernel, *pid, interpreter);
            }
            exceptions.look(kernel, now_ns);
        }
        inside.lineage.hear(&news, pipeline);
        inside.collections.hear(&news, pipeline);
        if let Some((pid, interpreter)) = &followed {
            inside.lineage.found(*pid, interpreter);
            inside.collections.found(*pid, interpreter);
        }
        for (pid, counts) in pipeline.tracer().copy_counts() {
            inside.lineage.note(pid, counts, now_ns);
        }
        inside.lineage.look(kernel, pipeline, now_ns);
        inside.collections.look(kernel, pipeline, now_ns);
        // Now all that is known of it is in use.
        if let Some((pid, interpreter)) = followed {
            tracing::debug!("{pid}: followed: {interpreter}");
        }
        kernel.ignore_data(pipeline.tracer().settled().map(|connection| connection.0))?;
        kernel.copy_whole_tls(pipeline.tracer().whole_tls().map(|session| session.0))?;
        kernel.ignore_tls(pipeline.tracer().let_go_tls().map(|session| session.0))?;
        for pid in pipeline.tracer().encrypted_processes() {
            inside.libraries.look_at(kernel, pid, now_ns);
        }
        for wish in wishes.try_iter() {
            // Who asked may have stopped waiting.
            let _ = wish.outcome.send(apply(pipeline, wish.remote));
        }
        if stop.load(Ordering::Relaxed) {
            break Ended::Told;
        }
        if pipeline.processes().is_empty() {
            break Ended::TargetsGone;
        }
        if pipeline.recording_failed() {
            break Ended::RecordingFailed;
        }
    };
    inside.libraries = Probes::default();
    kernel.detach();
    reader.feed(pipeline);
    pipeline.feed(&Frame::Stop { now_ns: clock::monotonic_ns()? });
    Ok(ended)
}

/// Who takes records out of the ring.
struct Reader {
    ring: Ring,
    copies_lost: u32,
}

impl Reader {
    /// All that is there.
    fn feed(&mut self, pipeline: &mut Pipeline) {
        let known_lost = &mut self.copies_lost;
        self.ring.consume(|record, copies_lost| {
            if copies_lost != *known_lost {
                *known_lost = copies_lost;
                // Without a clock no later one is trusted either.
                pipeline.lose_copies(clock::monotonic_ns().unwrap_or(u64::MAX));
            }
            pipeline.feed(&Frame::Record(record));
        });
    }
}

/// Hands on what was read of routes, and asks for more where it is missed.
fn read_routes(reader: &mut RouteReader, pipeline: &mut Pipeline, now_ns: u64) {
    for pid in pipeline.tracer().strangers() {
        reader.missed(pid);
    }
    let is_watched = |pid| pipeline.processes().contains_key(&pid);
    for (pid, routes) in reader.look(is_watched, now_ns) {
        pipeline.feed(&Frame::Routes { now_ns, pid, routes });
    }
}

/// Whether anything is going on.
#[derive(Default)]
struct Activity {
    records: u64,
    last_ns: u64,
    now_ns: u64,
    is_waiting: bool,
    was_idle: bool,
}

impl Activity {
    fn has_news(&self, pipeline: &Pipeline) -> bool {
        self.records != records_that_stir(pipeline)
    }

    fn note(&mut self, pipeline: &mut Pipeline, now_ns: u64) {
        if self.has_news(pipeline) || self.last_ns == 0 {
            self.last_ns = now_ns;
            self.was_idle = false;
        }
        self.records = records_that_stir(pipeline);
        self.now_ns = now_ns;
        self.is_waiting = pipeline.tracer().unclosed().next().is_some();
    }

    /// Nothing came for a while, and nothing has to be looked after.
    fn is_idle(&self) -> bool {
        !self.is_waiting && self.now_ns - self.last_ns > IDLE_AFTER_NS
    }

    /// Whether this is the first time since the last record.
    fn falls_idle(&mut self) -> bool {
        !std::mem::replace(&mut self.was_idle, true)
    }
}

/// Copies of contexts are of no interest by themselves.
fn records_that_stir(pipeline: &Pipeline) -> u64 {
    let Intake { records, copies, .. } = pipeline.intake();
    records - copies
}

/// The kernel has no event for the end of a unix connection: `/proc` tells whether the process still holds it.
fn look(pipeline: &mut Pipeline) -> Vec<(ConnectionId, u32)> {
    let proc = Proc::default();
    pipeline
        .tracer()
        .unclosed()
        .filter(|(_, pid, fd, inode)| !proc.socket_is_open(*pid, *fd, *inode))
        .map(|(connection, pid, ..)| (connection, pid))
        .collect()
}

fn apply(pipeline: &mut Pipeline, remote: Remote) -> Result<(), String> {
    match remote {
        Remote::Config { app_id, values } => match Rules::parse(&values) {
            Ok(rules) => {
                tracing::info!("{app_id}: sampling rules of the config center are in force");
                pipeline.tracer().apply_rules(&app_id, rules);
                Ok(())
            }
            Err(error) => {
                tracing::error!(
                    "{app_id}: the config center's rules are refused, the old ones stay: {error}"
                );
                Err(error.to_string())
            }
        },
        Remote::HeadLimits { app_id, limits } => {
            pipeline.tracer().set_head_limits(&app_id, limits.period_s, limits.max_samples);
            Ok(())
        }
    }
}

fn tally(kernel: &Kernel, pipeline: &mut Pipeline) -> Tally {
    let missed = |status: ProgramStatus| (status.missed > 0).then_some((status.name, status.missed));
    let Intake { records, malformed, faults, .. } = pipeline.intake();
    Tally {
        kernel: kernel.counters(),
        missed: kernel.programs().into_iter().filter_map(missed).collect(),
        records,
        malformed,
        faults,
        late_exceptions: 0,
        trace: pipeline.tracer().counts().clone(),
    }
}

/// Looks at a process that showed up: its app is that of the family it was born into, else the first target's.
pub fn identify(pid: u32, known: Option<&Process>, default_app: &str) -> Option<Process> {
    let app = known.map_or(default_app, |process| &process.app_id);
    let found = Proc::default().identify(pid, Some(app)).ok()?;
    Some(match known {
        Some(known) => {
            Process { app_id_source: known.app_id_source, version: known.version.clone(), ..found }
        }
        None => found,
    })
}
