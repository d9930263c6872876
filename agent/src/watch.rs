//! Watches live processes until told to stop, until they are gone, or until the time is up.
//!
//! Invariant: whatever happens, the programs are detached, what is open is reported, and it takes no more than
//! [`STOP_LIMIT`]; a second signal ends it at once.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use model::{Books, Process};
use report::Exporter;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::attach::{self, Attached};
use crate::clock;
use crate::collections::Collections;
use crate::config::{Config, When};
use crate::discover::Proc;
use crate::exceptions::Exceptions;
use crate::exit::{Exit, Failure};
use crate::frame::{Frame, Recorder};
use crate::lineage::Lineage;
use crate::live::{self, Ended, Inside, Tally};
use crate::outputs::Outputs;
use crate::pipeline::Pipeline;
use crate::routes::RouteReader;
use crate::tls::Probes;

/// From the first signal to the end.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Some senders (`timeout`) signal both a process and its group: within this time it is one signal.
const SAME_SIGNAL: Duration = Duration::from_millis(50);
/// What a shell reports of a process that a second SIGINT ended.
const STOPPED_AT_ONCE: i32 = 130;

/// The routes of one process.
type ReadRoutes = (u32, Arc<model::Routes>);

/// What the pipeline's thread leaves behind.
struct Remains {
    ended: Ended,
    tally: Tally,
    recording: std::io::Result<()>,
}

/// Watches `pids` and their children; with `file`, keeps the raw events instead of showing spans.
pub fn watch(config: &Config, pids: &[u32], file: Option<&Path>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("cannot start", &error))?;
    let proc = Proc::default();
    for pid in pids {
        proc.watchable(*pid).map_err(|why| attach::unwatchable(*pid, why))?;
    }
    let recorder = file.map(create_recording).transpose()?;
    let (routes, read) = read_routes(config, pids)?;
    let mut attached = attach::attach(&config.kernel, config.python.errors != When::Off)?;
    let watched = attach::watch(&mut attached.kernel, pids)?;
    let processes = identify_all(config, pids, &watched)?;

    let (wish, wishes) = mpsc::channel();
    let mut outputs = Outputs::default();
    if file.is_none() {
        outputs.open_console(&config.output, !config.stardust.servers.is_empty())?;
        outputs.open_stardust(&runtime, &config.stardust, wish)?;
    }
    let pipeline = Pipeline::new(config.trace_settings(), outputs.exporters());
    let mut pipeline = pipeline.map_err(|error| Failure::usage("bad configuration").because(error))?;
    if let Some(recorder) = recorder {
        pipeline = pipeline.record_to(recorder);
    }
    let default_app = processes[0].app_id.clone();
    pipeline = pipeline.identify_with(Box::new(move |pid, known| live::identify(pid, known, &default_app)));
    let exceptions = Arc::new(Mutex::new(Exceptions::new(config.python.error_terms())));
    if config.python.errors != When::Off {
        let exceptions = Arc::clone(&exceptions);
        pipeline = pipeline.tell_exceptions_with(Box::new(move |pid, of, raised| {
            exceptions.lock().ok()?.words(pid, of, raised)
        }));
    }
    pipeline = pipeline.keep_news();
    begin(config, &mut pipeline, &processes)?;
    let now_ns = now_ns()?;
    for (pid, routes) in read {
        pipeline.feed(&Frame::Routes { now_ns, pid, routes });
    }
    let libraries = probe_libraries(config.trace.tls, &mut attached, &watched)?;
    let lineage = Lineage::new(config.python.lineage_terms());
    let collections = Collections::new(config.python.gc_pauses);
    let inside = Inside { libraries, exceptions, lineage, collections, routes };
    let signals = Signals::listen(&runtime)?;
    announce(&attached, &processes, pids);

    let stop = Arc::new(AtomicBool::new(false));
    let interval = Duration::from_millis(u64::from(config.kernel.drain_ms));
    let (tell, told) = oneshot::channel();
    let thread_stop = Arc::clone(&stop);
    let spawned = thread::Builder::new().name("pipeline".into()).spawn(move || {
        let (ended, tally, mut pipeline) =
            live::run(&mut attached.kernel, inside, pipeline, interval, &wishes, &thread_stop);
        let recording = pipeline.finish_recording();
        // The receiver is gone only if the probe is being stopped at once.
        let _ = tell.send(Remains { ended, tally, recording });
    });
    let thread = spawned.map_err(|error| Failure::io("cannot start the pipeline", &error))?;
    let remains = runtime.block_on(serve(config, &outputs, signals, &stop, told))?;
    // It has the last probes. What it had to say is known, a panic too.
    drop(thread.join());
    let (exporters, failure) = (outputs.exporters(), outputs.failure());
    runtime.block_on(outputs.close());
    summarise(&remains.tally, &exporters);
    conclude(remains, file).and(failure.map_or(Ok(()), Err))
}

/// What tells the probe to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on a signal does not kill any more.
    fn listen(runtime: &Runtime) -> Result<Self, Failure> {
        let _entered = runtime.enter();
        Self::new().map_err(|error| Failure::io("cannot listen for signals", &error))
    }

    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn recv(&mut self) {
        tokio::select! { _ = self.interrupt.recv() => {} _ = self.terminate.recv() => {} }
    }
}

/// Waits for the end; on a signal tells the pipeline to stop and waits for what it leaves.
async fn serve(
    config: &Config,
    outputs: &Outputs,
    mut signals: Signals,
    stop: &AtomicBool,
    mut told: oneshot::Receiver<Remains>,
) -> Result<Remains, Failure> {
    let duration = match config.target.duration_s {
        0 => Duration::MAX,
        seconds => Duration::from_secs(seconds.into()),
    };
    let fault = |_| Failure::new(Exit::Internal, "the pipeline ended without a word");
    tokio::select! {
        remains = &mut told => return remains.map_err(fault),
        () = signals.recv() => tracing::info!("stopping; once more to stop at once"),
        () = sleep(duration) => {}
        () = outputs.closed() => {}
    }
    stop.store(true, Ordering::Relaxed);
    tokio::spawn(async move {
        sleep(SAME_SIGNAL).await;
        // New listeners hear only what comes from here on.
        let Ok(mut signals) = Signals::new() else { return };
        signals.recv().await;
        // The kernel takes everything away that hangs on this process.
        std::process::exit(STOPPED_AT_ONCE);
    });
    let remains = timeout(STOP_LIMIT, told).await;
    remains.map_err(|_| Failure::new(Exit::Internal, "the pipeline does not stop"))?.map_err(fault)
}

fn create_recording(file: &Path) -> Result<Recorder, Failure> {
    Recorder::create(file).map_err(|error| {
        let failure = Failure::io(format!("cannot record to {}", file.display()), &error);
        failure.hint("name a new file in a directory that can be written")
    })
}

/// What each watched process is: those named by themselves, their descendants as members of the same app.
fn identify_all(config: &Config, roots: &[u32], watched: &[u32]) -> Result<Vec<Process>, Failure> {
    let proc = Proc::default();
    let chosen = (!config.target.app_id.is_empty()).then_some(config.target.app_id.as_str());
    let mut processes: Vec<Process> = Vec::new();
    for root in roots {
        processes.push(proc.identify(*root, chosen).map_err(|_| attach::gone(*root))?);
    }
    for pid in watched.iter().filter(|pid| !roots.contains(pid)) {
        let family = |process: &&Process| proc.descendants(process.pid).contains(pid);
        let Some(known) = processes.iter().take(roots.len()).find(family).cloned() else { continue };
        // One that has ended meanwhile has nothing to tell any more.
        processes.extend(live::identify(*pid, Some(&known), &known.app_id));
    }
    Ok(processes)
}

fn begin(config: &Config, pipeline: &mut Pipeline, processes: &[Process]) -> Result<(), Failure> {
    let clock = clock::wall_clock().map_err(|error| Failure::io("cannot read the clock", &error))?;
    pipeline.feed(&Frame::Seed(fastrand::u64(..)));
    pipeline.feed(&Frame::Clock { offset_ns: clock.offset_ns() });
    for process in processes {
        pipeline.feed(&Frame::Process(Arc::new(process.clone())));
    }
    let rules = config.sampling_rules();
    let rules = rules.map_err(|error| Failure::usage("bad configuration").because(error))?;
    for process in processes {
        pipeline.tracer().apply_rules(&process.app_id, rules.clone());
    }
    Ok(())
}

/// The routes of the apps that are to be watched, and who reads them later.
fn read_routes(config: &Config, roots: &[u32]) -> Result<(RouteReader, Vec<ReadRoutes>), Failure> {
    let reader = RouteReader::start(config.python.routes);
    let mut reader = reader.map_err(|error| Failure::io("cannot start the reader of routes", &error))?;
    let proc = Proc::default();
    let descendants = roots.iter().flat_map(|root| proc.descendants(*root));
    let pids: Vec<u32> = roots.iter().copied().chain(descendants).collect();
    let read = reader.read_ahead(&pids, now_ns()?);
    Ok((reader, read))
}

fn now_ns() -> Result<u64, Failure> {
    clock::monotonic_ns().map_err(|error| Failure::io("cannot read the clock", &error))
}

/// Probes what the processes have loaded by now, if that is wanted; later libraries show by their first encrypted bytes.
fn probe_libraries(wanted: bool, attached: &mut Attached, watched: &[u32]) -> Result<Probes, Failure> {
    let now_ns = now_ns()?;
    let mut probes = Probes::new(wanted);
    for pid in watched {
        probes.look_at(&mut attached.kernel, *pid, now_ns);
    }
    Ok(probes)
}

fn announce(attached: &Attached, processes: &[Process], roots: &[u32]) {
    for better in &attached.refused {
        tracing::warn!(
            "{} does not work here: {}",
            better.way,
            better.refused.as_deref().unwrap_or_default()
        );
    }
    for root in processes.iter().filter(|process| roots.contains(&process.pid)) {
        tracing::info!(
            "attached to {} ({}) as app {:?}, {}; {} processes watched by way of {}",
            root.pid,
            root.name,
            root.app_id,
            attach::source_of(root.app_id_source),
            processes.len(),
            attached.way,
        );
    }
}

/// What was missed, reason by reason; every other count for those who ask for it.
fn summarise(tally: &Tally, exporters: &[Arc<dyn Exporter>]) {
    let missed = tally.losses();
    if missed.is_empty() {
        tracing::info!("{} records, nothing missed", tally.records);
    } else {
        tracing::warn!("{} records; missed: {}", tally.records, live::said(&missed));
    }
    match serde_json::to_string(tally) {
        Ok(text) => tracing::debug!("counts: {text}"),
        Err(error) => tracing::error!("cannot write the counts: {error}"),
    }
    for exporter in exporters {
        let Books { seen, reported, sampled_out, dropped } = exporter.books();
        let dropped: u64 = dropped.values().sum();
        let name = exporter.name();
        tracing::info!(
            "{name}: {seen} spans, {reported} reported, {sampled_out} sampled out, {dropped} dropped"
        );
    }
}

fn conclude(remains: Remains, file: Option<&Path>) -> Result<(), Failure> {
    match remains.ended {
        Ended::TargetsGone => tracing::info!("every watched process has ended"),
        Ended::Told | Ended::RecordingFailed => {}
        Ended::Fault => return Err(Failure::new(Exit::Internal, "the probe failed; its log says where")),
    }
    let Some(file) = file else { return Ok(()) };
    remains.recording.map_err(|error| {
        let failure = Failure::io(format!("the recording {} is not whole", file.display()), &error);
        failure.hint("make room and record again")
    })?;
    tracing::info!("{} records kept in {}", remains.tally.records, file.display());
    Ok(())
}
