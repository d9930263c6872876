//! The probes that see when Python collects garbage, where they are asked for (`python.gc_pauses`).

mod sites;

use ebpf::Kernel;

use crate::config::When;
use crate::discover::interpreter::Interpreter;
use crate::followed_probe::{FollowedProbe, Kind};
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

const KIND: Kind<Sites> = Kind {
    find: sites::of,
    put: |kernel, pid, file, sites| {
        let offsets = |sites: &[Site]| -> Vec<u64> { sites.iter().map(|site| site.offset).collect() };
        let (begin, end) = (offsets(&sites.begin), offsets(&sites.end));
        kernel.probe_collections(pid, file, (&begin, &end))
    },
    seen: |pid, since_ns| Frame::CollectionsSeen { pid, since_ns },
    what: "when garbage is collected",
};

/// The processes whose collections are seen.
pub struct Collections {
    terms: Terms,
    probe: FollowedProbe<Sites>,
}

impl Collections {
    /// For no process yet.
    pub fn new(wanted: bool) -> Self {
        let when = if wanted { When::Always } else { When::Off };
        let terms = Terms { when, quiet_ns: REST_NS, max_hits_per_s: MAX_PER_S };
        Self { terms, probe: FollowedProbe::new(KIND) }
    }

    /// Takes note of what happened to processes.
    pub fn hear(&mut self, news: &[News], pipeline: &mut Pipeline) {
        self.probe.hear(news, pipeline);
    }

    /// An interpreter is running in a process.
    pub fn found(&mut self, pid: u32, interpreter: &Interpreter) {
        if self.terms.when != When::Off && interpreter.refusal().is_none() {
            self.probe.follow(pid, (&interpreter.path, &[]), || Policy::new(self.terms));
        }
    }

    /// Puts the probes where they are to be, and takes them off where not.
    pub fn look(&mut self, kernel: &Kernel, pipeline: &mut Pipeline, now_ns: u64) {
        let hits = |pid| kernel.collections(pid).unwrap_or(0);
        for (pid, step) in self.probe.look(kernel, pipeline, now_ns, hits) {
            if let Step::Dear { hits_per_s } = step {
                tracing::warn!(
                    "{pid}: garbage is collected {hits_per_s} times a second; too dear to look at"
                );
            }
        }
    }
}
