//! The probes that see when Python collects garbage, where they are asked for (`python.gc_pauses`).
//!
//! Invariant: the pipeline takes collections to be seen only while every probe is in place.

mod sites;

use ebpf::{Kernel, UserProbe};
use rustc_hash::FxHashMap;

use crate::clock;
use crate::config::When;
use crate::discover::interpreter::Interpreter;
use crate::file_sites::FileSites;
use crate::frame::Frame;
use crate::pipeline::{News, Pipeline};
use crate::policy::{Policy, Step, Terms};
use crate::probe_site::Site;
use sites::Sites;
pub use sites::places;

/// More collections in a second are too dear to look at.
const MAX_PER_S: u64 = 5_000;
/// How long they are then not looked at.
const REST_NS: u64 = 600_000_000_000;

/// The processes whose collections are seen.
pub struct Collections {
    terms: Terms,
    followed: FxHashMap<u32, Followed>,
    sites: FileSites<Sites>,
}

struct Followed {
    policy: Policy,
    /// The interpreter's file, as the process knows it.
    path: String,
    probe: Option<UserProbe>,
}

impl Collections {
    /// For no process yet.
    pub fn new(wanted: bool) -> Self {
        let when = if wanted { When::Always } else { When::Off };
        Self {
            terms: Terms { when, quiet_ns: REST_NS, max_hits_per_s: MAX_PER_S },
            followed: FxHashMap::default(),
            sites: FileSites::new(sites::of),
        }
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
        if self.terms.when != When::Off && interpreter.refusal().is_none() {
            let path = interpreter.path.clone();
            let fresh = || Followed { policy: Policy::new(self.terms), path, probe: None };
            self.followed.entry(pid).or_insert_with(fresh);
        }
    }

    /// Puts the probes where they are to be, and takes them off where not.
    pub fn look(&mut self, kernel: &Kernel, pipeline: &mut Pipeline, now_ns: u64) {
        let mut followed = std::mem::take(&mut self.followed);
        for (pid, process) in &mut followed {
            match process.policy.look(now_ns, || kernel.collections(*pid).unwrap_or(0)) {
                Some(Step::Attach) => self.put(kernel, *pid, process, pipeline),
                Some(Step::Dear { hits_per_s }) => {
                    tracing::warn!(
                        "{pid}: garbage is collected {hits_per_s} times a second; too dear to look at"
                    );
                    take_off(process, *pid, pipeline);
                }
                Some(Step::Quiet) | None => {}
            }
        }
        self.followed = followed;
    }

    fn put(&mut self, kernel: &Kernel, pid: u32, process: &mut Followed, pipeline: &mut Pipeline) {
        match self.attach(kernel, pid, &process.path) {
            Ok(probe) => {
                process.probe = Some(probe);
                pipeline.feed(&Frame::CollectionsSeen { pid, since_ns: clock::monotonic_ns().ok() });
                tracing::info!("{pid}: looking at when garbage is collected");
            }
            Err(why) => {
                tracing::warn!("{pid}: it is not seen when garbage is collected: {why}");
                process.policy.refused();
            }
        }
    }

    fn attach(&mut self, kernel: &Kernel, pid: u32, path: &str) -> anyhow::Result<UserProbe> {
        let (file, sites) = self.sites.of(pid, path)?;
        let offsets = |sites: &[Site]| -> Vec<u64> { sites.iter().map(|site| site.offset).collect() };
        let (begin, end) = (offsets(&sites.begin), offsets(&sites.end));
        Ok(kernel.probe_collections(pid, &file.path, (&begin, &end))?)
    }
}

/// The pipeline hears of it first: what is collected afterwards is not seen.
fn take_off(process: &mut Followed, pid: u32, pipeline: &mut Pipeline) {
    if let Some(probe) = process.probe.take() {
        pipeline.feed(&Frame::CollectionsSeen { pid, since_ns: None });
        drop(probe);
    }
}
