//! Exceptions of watched Python processes: the probe that sees them unwind is put where it is needed, until then one that
//! sees them reported; and what the kernel kept of them is put into words.
//!
//! Invariant: nothing is told of a process whose interpreter's layout is not known and was not seen to hold.

mod asked;
mod layout;
mod sites;
mod unexplained;
mod words;

use asked::Places;
use ebpf::{Kernel, UserProbe, abi, record};
use python::Layout;
use python::code::Codes;
use python::object::Objects;
use rustc_hash::FxHashMap;
use sites::Sites;
use unexplained::Unexplained;

use crate::clock;
use crate::config::When;
use crate::discover::Proc;
use crate::discover::interpreter::Interpreter;
use crate::discover::memory::ProcessMemory;
use crate::discover::pages::Pages;
use crate::file_sites::FileSites;
use crate::pipeline::{Failure, News};
use crate::policy::{Policy, Step, Terms};
use crate::probe_site::Site;

/// Older records are not put into words: it would make those behind them older still.
const LATE_NS: u64 = 500_000_000;

/// So long both probes are in a process: what one has not seen whole, as it was unwinding just then, is reported yet.
const OVERLAP_NS: u64 = 1_000_000_000;
/// More reports in a second are everyday life: `contextlib` asks what is being handled, too.
const REPORTS_MAX_PER_S: u64 = 100;

/// The processes whose exceptions are told.
pub struct Exceptions {
    terms: Terms,
    proc: Proc,
    followed: FxHashMap<u32, Followed>,
    sites: FileSites<Sites>,
    /// What the kernel side was told last: some process is followed, and the probe is in some process.
    said: (bool, bool),
    late: u64,
}

struct Followed {
    layout: &'static Layout,
    memory: ProcessMemory,
    codes: Codes,
    policy: Policy,
    /// The interpreter's file, as the process knows it.
    path: String,
    probe: Option<UserProbe>,
    /// When that was put in place last.
    attached_ns: u64,
    /// Since then it sees what unwinds.
    sees_since_ns: Option<u64>,
    unexplained: Unexplained,
    /// When a record of the process came too late to be put into words.
    late_ns: u64,
    /// Where `_PyRuntime` is.
    runtime: u64,
    /// As long as that probe is not there, and a little longer: when the one that sees what is reported is, and that probe.
    reports: Policy,
    reports_probe: Option<UserProbe>,
    /// Code objects of what calls the service's code.
    dispatch: Vec<u64>,
    /// How many of these the kernel side knows.
    remembered: usize,
}

impl Exceptions {
    /// For no process yet.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            proc: Proc::default(),
            followed: FxHashMap::default(),
            sites: FileSites::new(sites::of),
            said: (false, false),
            late: 0,
        }
    }

    /// The words for a record of the kernel. None where the reader is behind: what takes longest is left out first.
    pub fn words(&mut self, pid: u32, of: &abi::Exceptions, raised: &[u8]) -> Option<model::Exceptions> {
        let now_ns = clock::monotonic_ns().ok()?;
        if now_ns.saturating_sub(of.header.at_ns) > LATE_NS {
            self.late += 1;
            if let Some(followed) = self.followed.get_mut(&pid) {
                followed.late_ns = now_ns;
            }
            return None;
        }
        let Followed { layout, memory, codes, dispatch, .. } = self.followed.get_mut(&pid)?;
        let pages = Pages::of(memory);
        let objects = Objects { memory: &pages, layout };
        words::of(&objects, codes, of, record::exceptions(raised).collect(), dispatch)
    }

    /// How many records came too late to be put into words.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Takes note of what happened to processes.
    pub fn hear(&mut self, kernel: &Kernel, news: &[News], now_ns: u64) {
        for new in news {
            match new {
                News::Started(pid) | News::Gone(pid) => {
                    if self.followed.remove(pid).is_some() {
                        kernel.forget_exceptions(*pid);
                    }
                }
                News::Failed { pid, told, failure, since_ns } => {
                    if let Some(followed) = self.followed.get_mut(pid) {
                        followed.fail((failure, *told), *since_ns, now_ns);
                    }
                }
                News::Served(_) => {}
            }
        }
    }

    /// An interpreter is running in a process.
    pub fn found(&mut self, kernel: &Kernel, pid: u32, interpreter: &Interpreter) {
        if self.terms.when == When::Off || self.followed.contains_key(&pid) {
            return;
        }
        let (Ok(build), Ok(slot)) = (&interpreter.build, interpreter.slot) else { return };
        let known = kernel.know_exceptions(pid, &layout::of(build.layout, slot));
        let memory = known.map_err(anyhow::Error::from).and_then(|()| Ok(self.proc.memory(pid)?));
        match memory {
            Ok(memory) => {
                let followed = Followed {
                    layout: build.layout,
                    memory,
                    codes: Codes::default(),
                    policy: Policy::new(self.terms),
                    path: interpreter.path.clone(),
                    probe: None,
                    attached_ns: 0,
                    sees_since_ns: None,
                    unexplained: Unexplained::default(),
                    late_ns: 0,
                    runtime: interpreter.runtime,
                    reports: Policy::new(self.report_terms()),
                    reports_probe: None,
                    dispatch: Vec::new(),
                    remembered: 0,
                };
                self.followed.insert(pid, followed);
            }
            Err(error) => tracing::warn!("{pid}: exceptions are not seen: {error}"),
        }
    }

    /// Puts the probe where it is to be, and takes it off where not.
    pub fn look(&mut self, kernel: &mut Kernel, now_ns: u64) {
        let mut followed = std::mem::take(&mut self.followed);
        let mut begun = Vec::new();
        for (pid, process) in &mut followed {
            let hits = || kernel.exception_hits(*pid).unwrap_or(0);
            if let Some(step) = process.policy.look(now_ns, hits) {
                process.sees_since_ns = None;
                if step == Step::Quiet {
                    process.unexplained.rest(&self.terms, now_ns);
                }
                self.take(kernel, *pid, process, step);
                kernel.say_exceptions_kept(*pid, process.probe.is_some());
                if process.probe.is_some() {
                    process.attached_ns = now_ns;
                    begun.push(*pid);
                }
            }
            self.look_at_reports(kernel, *pid, process, now_ns);
            if process.remembered < process.dispatch.len() {
                process.remembered = process.dispatch.len();
                if let Err(error) = kernel.remember_dispatch(*pid, &process.dispatch) {
                    tracing::debug!("{pid}: {error}");
                }
            }
        }
        let kept = followed.values().any(|process| process.probe.is_some());
        let said = (!followed.is_empty(), kept);
        if self.said != said {
            self.said = said;
            kernel.say_exceptions(said.0, said.1);
        }
        // Only now what unwinds is told.
        for pid in begun {
            if let Some(process) = followed.get_mut(&pid) {
                process.sees_since_ns = clock::monotonic_ns().ok();
            }
            tracing::info!("{pid}: looking at exceptions");
        }
        self.followed = followed;
    }

    /// The first failure is to be told too, where it is reported; and failures where what unwinds is too dear to see.
    fn report_terms(&self) -> Terms {
        Terms { when: When::Always, max_hits_per_s: REPORTS_MAX_PER_S, ..self.terms }
    }

    /// Sees what is reported while what unwinds is not seen.
    fn look_at_reports(&self, kernel: &Kernel, pid: u32, process: &mut Followed, now_ns: u64) {
        if process.probe.is_some() {
            if now_ns.saturating_sub(process.attached_ns) >= OVERLAP_NS
                && process.reports_probe.take().is_some()
            {
                process.reports = Policy::new(self.report_terms());
            }
            return;
        }
        match process.reports.look(now_ns, || kernel.asked_for_exceptions(pid).unwrap_or(0)) {
            Some(Step::Attach) => match self.attach_to_reports(kernel, pid, process) {
                Ok((probe, sites)) => {
                    tracing::debug!("{pid}: looking at what is reported: {}", sites.join(", "));
                    process.reports_probe = Some(probe);
                }
                Err(why) => {
                    tracing::debug!("{pid}: what is reported is not seen: {why}");
                    process.reports.refused();
                }
            },
            Some(Step::Dear { hits_per_s }) => {
                tracing::debug!(
                    "{pid}: it asks {hits_per_s} times a second what it is handling: not looked at"
                );
                process.reports_probe = None;
            }
            Some(Step::Quiet) | None => {}
        }
    }

    fn attach_to_reports(
        &self,
        kernel: &Kernel,
        pid: u32,
        process: &Followed,
    ) -> anyhow::Result<(UserProbe, Vec<String>)> {
        let places = asked::find(&self.proc, pid, &process.memory, (process.runtime, process.layout));
        let Places { file, sites } = places.ok_or_else(|| anyhow::anyhow!("sys.exc_info was not found"))?;
        let offsets: Vec<u64> = sites.iter().map(|site| site.offset).collect();
        let probe = kernel.probe_exc_info(pid, &file, &offsets)?;
        Ok((probe, sites.iter().map(Site::to_string).collect()))
    }

    fn take(&mut self, kernel: &Kernel, pid: u32, process: &mut Followed, step: Step) {
        match step {
            Step::Attach => match self.attach(kernel, pid, &process.path) {
                Ok(probe) => process.probe = Some(probe),
                Err(why) => {
                    tracing::warn!("{pid}: exceptions are not seen: {why}");
                    process.policy.refused();
                }
            },
            Step::Quiet => {
                tracing::info!(
                    "{pid}: no failed request has needed it for a while, exceptions are no longer looked at"
                );
                process.probe = None;
            }
            Step::Dear { hits_per_s } => {
                tracing::warn!(
                    "{pid}: exceptions leave {hits_per_s} frames a second; too dear to look at, so only those are seen \
                     that are reported or handled while the answer is sent (python.errors_max_frames_per_s)"
                );
                process.probe = None;
            }
        }
    }

    fn attach(&mut self, kernel: &Kernel, pid: u32, path: &str) -> anyhow::Result<UserProbe> {
        let (file, sites) = self.sites.of(pid, path)?;
        Ok(kernel.probe_exceptions(pid, &file.path, &sites.places())?)
    }
}

impl Followed {
    /// A request has failed that began then; what was raised is known, or not.
    fn fail(&mut self, (failure, told): (&Failure, bool), since_ns: u64, now_ns: u64) {
        if told {
            self.unexplained.explained(failure);
            self.policy.use_at(now_ns);
            return;
        }
        let sees_all = self.sees_since_ns.is_some_and(|sees_ns| sees_ns <= since_ns);
        let looked = sees_all && self.late_ns < since_ns;
        if self.unexplained.calls(failure, looked, now_ns) {
            self.policy.need();
            self.policy.use_at(now_ns);
        }
    }
}

/// Where the probe would be in a process, in words; the error says why exceptions are not seen there.
pub fn places(proc: &Proc, pid: u32, interpreter: &Interpreter) -> Result<Vec<String>, String> {
    if let Some(reason) = interpreter.refusal() {
        return Err(reason);
    }
    let file = proc.mapped_file(pid, &interpreter.path).map_err(|error| error.to_string())?;
    Ok(sites::of(&file.path).map_err(|error| error.to_string())?.words())
}
