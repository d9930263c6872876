//! The live source: reads the kernel's ring, looks into `/proc` where the kernel cannot tell, and feeds the pipeline.
//!
//! Invariant: one thread owns the pipeline; it sleeps until the drain interval is over or the ring
//! fills up; when little goes on, until an interval after the next record has come.

mod activity;
mod losses;
mod reader;
mod tally;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ebpf::{Kernel, ProgramStatus, abi};
use model::{Bearer, ConnectionId, Direction, Process};
use report::Remote;
use tokio::sync::oneshot;
use trace::FrameBegin;
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
use crate::tls::Probes;
use activity::Activity;
use losses::Losses;
pub use losses::said;
use reader::Reader;
pub use tally::Tally;

/// How often the wall clock's offset is taken anew, and it is looked whether something was lost.
const CLOCK_INTERVAL_NS: u64 = 10_000_000_000;
/// How often connections that only a look can tell closed are looked at.
const LOOK_INTERVAL_NS: u64 = 20_000_000;

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

/// Runs until told to stop. On the way out the programs are detached, the ring is emptied, and what is open ends.
pub fn run(
    kernel: &mut Kernel,
    mut inside: Inside,
    mut pipeline: Pipeline,
    drain_interval: Duration,
    wishes: &Receiver<Wish>,
    stop: &Arc<AtomicBool>,
) -> (Ended, Tally, Pipeline) {
    let mut losses = Losses::default();
    let ended = match drain(kernel, &mut inside, &mut pipeline, &mut losses, drain_interval, wishes, stop) {
        Ok(ended) => ended,
        Err(error) => {
            tracing::error!("the probe cannot go on: {error:#}");
            Ended::Fault
        }
    };
    let tally = tally(kernel, &inside, &mut pipeline);
    if let Some(news) = losses.news(&tally.losses(), 0, true) {
        pipeline.tell_losses(&news);
    }
    (ended, tally, pipeline)
}

fn drain(
    kernel: &mut Kernel,
    inside: &mut Inside,
    pipeline: &mut Pipeline,
    losses: &mut Losses,
    interval: Duration,
    wishes: &Receiver<Wish>,
    stop: &AtomicBool,
) -> anyhow::Result<Ended> {
    let mut reader = Reader::new(kernel.ring()?);
    let mut next_clock_ns = 0;
    let mut next_look_ns = 0;
    let mut interpreters = Interpreters::default();
    let mut active = Activity::default();
    let ended = loop {
        active.sleep(kernel, &mut reader, pipeline, interval);
        reader.feed(pipeline);
        // At once: where a frame begins is of use only as long as nothing more has passed.
        kernel.copy_whole(pipeline.tracer().whole().map(|connection| connection.0))?;
        kernel.copy_whole_tls(pipeline.tracer().whole_tls().map(|session| session.0))?;
        kernel.tell_frames(pipeline.tracer().frame_begins().map(told))?;
        active.expect_record(kernel);
        let now_ns = clock::monotonic_ns()?;
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
            if let Some(news) = losses.news(&tally(kernel, inside, pipeline).losses(), now_ns, false) {
                tracing::warn!("missed since the probe began: {news}");
                pipeline.tell_losses(&news);
            }
        }
        pipeline.feed(&Frame::Tick { now_ns });
        interpreters.expect(pipeline.newcomers(), now_ns);
        let followed = interpreters.look(kernel, now_ns);
        if let Some((pid, interpreter)) = &followed {
            inside.routes.found(*pid, interpreter, now_ns);
        }
        read_routes(&mut inside.routes, pipeline, now_ns);
        kernel.ignore(pipeline.tracer().let_go().map(|connection| connection.0))?;
        let news = pipeline.news();
        interpreters.hear(&news, now_ns);
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
            inside.lineage.note(pid, counts);
        }
        for (pid, are_seen) in inside.lineage.look(kernel, pipeline, now_ns) {
            interpreters.see_tasks(kernel, pid, are_seen);
        }
        inside.collections.look(kernel, pipeline, now_ns);
        // Now all that is known of it is in use.
        if let Some((pid, interpreter)) = followed {
            tracing::debug!("{pid}: followed: {interpreter}");
        }
        kernel.ignore_data(pipeline.tracer().settled().map(|connection| connection.0))?;
        kernel.ignore_tls(pipeline.tracer().let_go_tls().map(|session| session.0))?;
        for pid in pipeline.tracer().encrypted_processes() {
            inside.libraries.look_at(kernel, pid, now_ns);
        }
        inside.libraries.look(kernel, now_ns);
        pipeline.flush();
        let waits = pipeline.tracer().unclosed().next().is_some() || pipeline.tracer().holds_back();
        let has_to_do = waits || inside.routes.is_reading() || inside.libraries.is_due();
        active.note(kernel, pipeline.intake(), has_to_do, now_ns);
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
    inside.libraries = Probes::new(false);
    kernel.detach();
    reader.feed(pipeline);
    pipeline.feed(&Frame::Stop { now_ns: clock::monotonic_ns()? });
    Ok(ended)
}

/// In the kernel's words.
fn told(FrameBegin { on, direction, position }: FrameBegin) -> ebpf::FrameBegin {
    let on = match on {
        Bearer::Connection(connection) => connection.0,
        Bearer::TlsSession(session) => session.0 | abi::TLS_OBJECT,
    };
    let direction = match direction {
        Direction::Received => abi::DIRECTION_RECEIVED,
        Direction::Sent => abi::DIRECTION_SENT,
    };
    ebpf::FrameBegin { on, direction, position }
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

fn tally(kernel: &Kernel, inside: &Inside, pipeline: &mut Pipeline) -> Tally {
    let missed = |status: ProgramStatus| (status.missed > 0).then_some((status.name, status.missed));
    let Intake { records, malformed, faults, .. } = pipeline.intake();
    Tally {
        kernel: kernel.counters(),
        missed: kernel.programs().into_iter().filter_map(missed).collect(),
        records,
        malformed,
        faults,
        late_exceptions: inside.exceptions.lock().map_or(0, |exceptions| exceptions.late()),
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
