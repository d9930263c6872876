//! The probes that see contexts of Python being copied: put where calls of tasks are without a request that could have
//! one, and taken off where they are of no use or too dear.
//!
//! Invariant: the pipeline takes copies to be seen only while every probe is in place: it hears of them after they were put,
//! and before they are taken off.

mod sites;

use ebpf::{ContextSite, Kernel, UserProbe};
use rustc_hash::FxHashMap;
use trace::CopyCounts;

use crate::clock;
use crate::config::When;
use crate::discover::interpreter::Interpreter;
use crate::file_sites::FileSites;
use crate::frame::Frame;
use crate::pipeline::{News, Pipeline};
use crate::policy::{Policy, Step, Terms};
pub use sites::{CopySite, places};

/// The processes whose calls may need it.
pub struct Lineage {
    terms: Terms,
    followed: FxHashMap<u32, Followed>,
    sites: FileSites<Vec<CopySite>>,
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
        Self { terms, followed: FxHashMap::default(), sites: FileSites::new(sites::of) }
    }

    /// Takes note of what happened to processes.
    pub fn hear(&mut self, news: &[News], pipeline: &mut Pipeline) {
        for new in news {
            if let News::Started(pid) | News::Gone(pid) = new
                && let Some(mut followed) = self.followed.remove(pid)
            {
                take_off(&mut followed, *pid, pipeline);
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
    pub fn look(&mut self, kernel: &Kernel, pipeline: &mut Pipeline, now_ns: u64) {
        let mut followed = std::mem::take(&mut self.followed);
        for (pid, process) in &mut followed {
            let copies = process.copies;
            let Some(step) = process.policy.look(now_ns, || copies) else { continue };
            if step == Step::Attach {
                self.put(kernel, *pid, process, pipeline);
                continue;
            }
            take_off(process, *pid, pipeline);
            match step {
                Step::Dear { hits_per_s } => tracing::warn!(
                    "{pid}: {hits_per_s} contexts are copied a second; too dear to look at, so it is not seen which \
                     task starts which (python.lineage_max_copies_per_s)"
                ),
                Step::Attach | Step::Quiet => {
                    if !process.was_of_use {
                        process.policy.rest(now_ns);
                    }
                    tracing::info!(
                        "{pid}: no call needed it for a while, it is no longer looked at which task starts which"
                    );
                }
            }
        }
        self.followed = followed;
    }

    fn put(&mut self, kernel: &Kernel, pid: u32, process: &mut Followed, pipeline: &mut Pipeline) {
        match self.attach(kernel, pid, &process.path) {
            Ok(probe) => {
                process.probe = Some(probe);
                process.was_of_use = false;
                pipeline.feed(&Frame::CopiesSeen { pid, since_ns: clock::monotonic_ns().ok() });
                tracing::info!("{pid}: looking at which task starts which");
            }
            Err(why) => {
                tracing::warn!("{pid}: it is not seen which task starts which: {why}");
                process.policy.refused();
            }
        }
    }

    fn attach(&mut self, kernel: &Kernel, pid: u32, path: &str) -> anyhow::Result<UserProbe> {
        let (file, sites) = self.sites.of(pid, path)?;
        let places: Vec<ContextSite> = sites.iter().map(CopySite::place).collect();
        Ok(kernel.probe_contexts(pid, &file.path, &places)?)
    }
}

/// The pipeline hears of it first: what is copied afterwards is not seen.
fn take_off(process: &mut Followed, pid: u32, pipeline: &mut Pipeline) {
    if let Some(probe) = process.probe.take() {
        pipeline.feed(&Frame::CopiesSeen { pid, since_ns: None });
        drop(probe);
    }
}
