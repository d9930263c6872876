//! The probes that see contexts of Python being copied: put where calls of tasks are without a request that could have
//! one, and taken off where they are of no use or too dear.
//!
//! Invariant: the pipeline hears of every time from which on copies are not seen, after all records from before it.

mod sites;

use ebpf::{ContextSite, Kernel, UserProbe};
use rustc_hash::{FxHashMap, FxHashSet};
use trace::CopyCounts;

use crate::config::When;
use crate::discover::interpreter::Interpreter;
use crate::discover::{FileId, Proc};
use crate::pipeline::News;
use crate::policy::{Policy, Step, Terms};
use crate::probe_site::NoSite;
pub use sites::{CopySite, places};

/// The processes whose calls may need it.
pub struct Lineage {
    terms: Terms,
    proc: Proc,
    followed: FxHashMap<u32, Followed>,
    /// By the file that holds the interpreter.
    sites: FxHashMap<FileId, Result<Vec<CopySite>, NoSite>>,
    /// Processes whose copies are not seen any more, of which the pipeline has not heard.
    unseen: FxHashSet<u32>,
}

struct Followed {
    policy: Policy,
    /// The interpreter's file, as the process knows it.
    path: String,
    probe: Option<UserProbe>,
    copies: u64,
    /// It has told of some call whose it is, since it was last put in place.
    was_of_use: bool,
}

impl Lineage {
    /// For no process yet.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            proc: Proc::default(),
            followed: FxHashMap::default(),
            sites: FxHashMap::default(),
            unseen: FxHashSet::default(),
        }
    }

    /// Takes note of what happened to processes.
    pub fn hear(&mut self, news: &[News]) {
        for new in news {
            if let News::Started(pid) | News::Gone(pid) = new
                && self.followed.remove(pid).is_some_and(|followed| followed.probe.is_some())
            {
                self.unseen.insert(*pid);
            }
        }
    }

    /// An interpreter is running in a process.
    pub fn found(&mut self, pid: u32, interpreter: &Interpreter) {
        if self.terms.when == When::Off || self.followed.contains_key(&pid) || interpreter.refusal().is_some()
        {
            return;
        }
        let followed = Followed {
            policy: if interpreter.switching.event_loop {
                Policy::new(self.terms)
            } else {
                // Until its calls say that it runs one.
                Policy::later(self.terms)
            },
            path: interpreter.path.clone(),
            probe: None,
            copies: 0,
            was_of_use: false,
        };
        self.followed.insert(pid, followed);
    }

    /// What copies were good for since the last time, in a process.
    pub fn note(&mut self, pid: u32, counts: CopyCounts, now_ns: u64) {
        let Some(followed) = self.followed.get_mut(&pid) else { return };
        followed.copies += counts.copies;
        if counts.unclaimed > 0 {
            followed.policy.need();
        }
        if counts.found > 0 {
            followed.was_of_use = true;
            followed.policy.use_at(now_ns);
        }
    }

    /// Puts the probes where they are to be, and takes them off where not.
    pub fn look(&mut self, kernel: &Kernel, now_ns: u64) {
        let mut followed = std::mem::take(&mut self.followed);
        for (pid, process) in &mut followed {
            let copies = process.copies;
            if let Some(step) = process.policy.look(now_ns, || copies) {
                self.take(kernel, (*pid, now_ns), process, step);
            }
        }
        self.followed = followed;
    }

    /// Processes whose copies are not seen any more, since the last call. What came before is in the ring.
    pub fn unseen(&mut self) -> Vec<u32> {
        let mut unseen: Vec<u32> = self.unseen.drain().collect();
        unseen.sort_unstable();
        unseen
    }

    fn take(&mut self, kernel: &Kernel, (pid, now_ns): (u32, u64), process: &mut Followed, step: Step) {
        match step {
            Step::Attach => match self.attach(kernel, pid, &process.path) {
                Ok(probe) => {
                    tracing::info!("{pid}: looking at which task starts which");
                    process.probe = Some(probe);
                    process.was_of_use = false;
                    return;
                }
                Err(why) => {
                    tracing::warn!("{pid}: it is not seen which task starts which: {why}");
                    process.policy.refused();
                }
            },
            Step::Quiet => {
                if !process.was_of_use {
                    process.policy.rest(now_ns);
                }
                tracing::info!(
                    "{pid}: no call needed it for a while, it is no longer looked at which task starts which"
                );
            }
            Step::Dear { hits_per_s } => tracing::warn!(
                "{pid}: {hits_per_s} contexts are copied a second; too dear to look at, so it is not seen which task \
                 starts which (python.lineage_max_copies_per_s)"
            ),
        }
        if process.probe.take().is_some() {
            self.unseen.insert(pid);
        }
    }

    fn attach(&mut self, kernel: &Kernel, pid: u32, path: &str) -> anyhow::Result<UserProbe> {
        let file = self.proc.mapped_file(pid, path)?;
        let sites = self.sites.entry(file.id).or_insert_with(|| sites::of(&file.path));
        let sites = sites.as_ref().map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
        let places: Vec<ContextSite> = sites.iter().map(CopySite::place).collect();
        Ok(kernel.probe_contexts(pid, &file.path, &places)?)
    }
}
