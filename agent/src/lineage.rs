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
use crate::policy::{Policy, SECOND_NS, Step, Terms};
pub use sites::{CopySite, places};

/// Where so few were copied on average in a quiet time, that has cost nothing that could be measured: a microsecond each. Without
/// the probe the calls of the next request would be unknown.
const CHEAP_COPIES_PER_S: u64 = 100;

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
    /// Those before it was last of use.
    copies_used: u64,
    /// It has told of some call whose it is, since it was last put in place.
    was_of_use: bool,
    /// How often in a row it was not.
    in_vain: u32,
}

impl Uses {
    /// Whether those since it was last of use are few, for a quiet time.
    fn are_cheap(&self, quiet_ns: u64) -> bool {
        self.copies - self.copies_used < (quiet_ns / SECOND_NS).saturating_mul(CHEAP_COPIES_PER_S)
    }

    /// More was seen. Gives whether a call needs the probe.
    fn add(&mut self, counts: CopyCounts) -> bool {
        self.copies += counts.copies;
        if counts.found > 0 {
            self.was_of_use = true;
            self.copies_used = self.copies;
        }
        counts.unclaimed > 0
    }
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
    pub fn note(&mut self, pid: u32, counts: CopyCounts) {
        let Some(policy) = self.probe.policy(pid) else { return };
        if self.uses.entry(pid).or_default().add(counts) {
            policy.need();
        }
    }

    /// Puts the probes where they are to be, and takes them off where not. Gives the processes of which either was done, and whether
    /// they have them now.
    pub fn look(&mut self, kernel: &Kernel, pipeline: &mut Pipeline, now_ns: u64) -> Vec<(u32, bool)> {
        for (pid, uses) in &self.uses {
            if uses.are_cheap(self.terms.quiet_ns)
                && let Some(policy) = self.probe.policy(*pid)
            {
                policy.use_at(now_ns);
            }
        }
        let copies = |pid| self.uses.get(&pid).map_or(0, |uses| uses.copies);
        let mut changed = Vec::new();
        for (pid, step) in self.probe.look(kernel, pipeline, now_ns, copies) {
            changed.push((pid, self.probe.is_in(pid)));
            let uses = self.uses.entry(pid).or_default();
            match step {
                Step::Attach => {
                    uses.was_of_use = false;
                    uses.copies_used = uses.copies;
                }
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
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_nothing_may_stay() {
        let mut uses = Uses::default();
        let quiet_ns = 600 * SECOND_NS;
        let more = |copies, found, unclaimed| CopyCounts { copies, found, unclaimed };
        assert!(uses.are_cheap(quiet_ns));
        assert!(!uses.add(more(59_999, 0, 0)));
        assert!(uses.are_cheap(quiet_ns) && !uses.are_cheap(quiet_ns / 2));
        assert!(uses.add(more(1, 0, 1)));
        assert!(!uses.are_cheap(quiet_ns) && !uses.was_of_use);
        assert!(!uses.add(more(9, 1, 0)));
        assert!(uses.are_cheap(quiet_ns) && uses.was_of_use);
    }
}
