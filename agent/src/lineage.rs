//! The probes that see contexts of Python being copied: put where calls of tasks are without a request that could have
//! one, and taken off where they are of no use or too dear.

mod sites;

use ebpf::{ContextSite, Kernel};
use rustc_hash::FxHashMap;
use trace::CopyCounts;

use crate::config::When;
use crate::discover::interpreter::Interpreter;
use crate::followed_probe::{FollowedProbe, Kind};
use crate::frame::Frame;
use crate::pipeline::{News, Pipeline};
use crate::policy::{Policy, Step, Terms};
pub use sites::{CopySite, places};

const KIND: Kind<Vec<CopySite>> = Kind {
    find: sites::of,
    put: |kernel, pid, file, sites| {
        let places: Vec<ContextSite> = sites.iter().map(CopySite::place).collect();
        kernel.probe_contexts(pid, file, &places)
    },
    seen: |pid, since_ns| Frame::CopiesSeen { pid, since_ns },
    what: "which task starts which",
};

/// The processes whose calls may need it.
pub struct Lineage {
    terms: Terms,
    probe: FollowedProbe<Vec<CopySite>>,
    uses: FxHashMap<u32, Uses>,
}

/// What the probe was good for in a process.
#[derive(Default)]
struct Uses {
    copies: u64,
    /// It has told of some call whose it is, since it was last put in place.
    was_of_use: bool,
    /// How often in a row it was not.
    in_vain: u32,
}

impl Lineage {
    /// For no process yet.
    pub fn new(terms: Terms) -> Self {
        Self { terms, probe: FollowedProbe::new(KIND), uses: FxHashMap::default() }
    }

    /// Takes note of what happened to processes.
    pub fn hear(&mut self, news: &[News], pipeline: &mut Pipeline) {
        for new in news {
            if let News::Started(pid) | News::Gone(pid) = new {
                self.uses.remove(pid);
            }
        }
        self.probe.hear(news, pipeline);
    }

    /// An interpreter is running in a process.
    pub fn found(&mut self, pid: u32, interpreter: &Interpreter) {
        if self.terms.when == When::Off || interpreter.refusal().is_some() {
            return;
        }
        // A process runs an event loop, or is to say by its calls first that it does.
        let begin = if interpreter.switching.event_loop { Policy::new } else { Policy::later };
        self.probe.follow(pid, (&interpreter.path, &interpreter.beside()), || begin(self.terms));
    }

    /// What copies were good for since the last time, in a process.
    pub fn note(&mut self, pid: u32, counts: CopyCounts, now_ns: u64) {
        let Some(policy) = self.probe.policy(pid) else { return };
        let uses = self.uses.entry(pid).or_default();
        uses.copies += counts.copies;
        if counts.unclaimed > 0 {
            policy.need();
        }
        if counts.found > 0 {
            uses.was_of_use = true;
            policy.use_at(now_ns);
        }
    }

    /// Puts the probes where they are to be, and takes them off where not.
    pub fn look(&mut self, kernel: &Kernel, pipeline: &mut Pipeline, now_ns: u64) {
        let copies = |pid| self.uses.get(&pid).map_or(0, |uses| uses.copies);
        for (pid, step) in self.probe.look(kernel, pipeline, now_ns, copies) {
            let uses = self.uses.entry(pid).or_default();
            match step {
                Step::Attach => uses.was_of_use = false,
                Step::Dear { hits_per_s } => tracing::warn!(
                    "{pid}: {hits_per_s} contexts are copied a second; too dear to look at, so it is not seen which \
                     task starts which (python.lineage_max_copies_per_s)"
                ),
                Step::Quiet => {
                    uses.in_vain = if uses.was_of_use { 0 } else { uses.in_vain.saturating_add(1) };
                    if uses.in_vain > 0
                        && let Some(policy) = self.probe.policy(pid)
                    {
                        policy.rest(now_ns, uses.in_vain);
                    }
                    tracing::info!(
                        "{pid}: no call needed it for a while, it is no longer looked at which task starts which"
                    );
                }
            }
        }
    }
}
