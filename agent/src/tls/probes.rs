//! The probes in place. Invariant: a file is probed once, for all processes that have it or will have it.

use std::collections::{BTreeMap, BTreeSet};

use ebpf::{Kernel, LoadError, UserProbe, UserProgram, UserSite};
use rustc_hash::FxHashMap;

use super::{Kind, Plan, Planner};
use crate::discover::{Origin, Proc};

/// A process is looked at again at most so often: it may have loaded a library since.
const LOOK_INTERVAL_NS: u64 = 1_000_000_000;
/// A file.
#[derive(Debug)]
struct Probed {
    /// `None`: it cannot be.
    #[expect(dead_code, reason = "it is there as long as this is")]
    probe: Option<UserProbe>,
    /// The library that its sites say they call.
    library: u8,
}

/// Most processes of which that is remembered.
const MAX_PROCESSES: usize = 16384;

/// What is probed, and when each process was looked at last.
#[derive(Debug)]
pub struct Probes {
    /// False: nothing is ever probed.
    wanted: bool,
    planner: Planner,
    files: BTreeMap<Origin, Probed>,
    looked_ns: FxHashMap<u32, u64>,
    /// Processes whose turn has not come again yet.
    due: BTreeSet<u32>,
}

impl Probes {
    /// None yet. `wanted`: false for no probe ever.
    pub fn new(wanted: bool) -> Self {
        let (planner, files, looked_ns, due) = Default::default();
        Self { wanted, planner, files, looked_ns, due }
    }

    /// Probes the libraries that a process has loaded by now, or in a while if it was looked at just now.
    pub fn look_at(&mut self, kernel: &mut Kernel, pid: u32, now_ns: u64) {
        if !self.wanted {
            return;
        }
        let looked = self.looked_ns.get(&pid);
        if looked.is_some_and(|looked_ns| now_ns.saturating_sub(*looked_ns) < LOOK_INTERVAL_NS) {
            if self.due.len() < MAX_PROCESSES {
                self.due.insert(pid);
            }
            return;
        }
        if self.looked_ns.len() >= MAX_PROCESSES {
            self.looked_ns.clear();
        }
        self.looked_ns.insert(pid, now_ns);
        for plan in self.planner.plan(&Proc::default(), pid) {
            self.see(kernel, pid, &plan);
        }
    }

    /// What is seen at one file of a process.
    fn see(&mut self, kernel: &mut Kernel, pid: u32, plan: &Plan) {
        let name = plan.file.shown.display();
        let known = kernel.know_tls_library(&plan.fields.library());
        let library = *known.as_ref().unwrap_or(&0);
        let probed = self.files.entry(plan.file.origin()).or_insert_with(|| {
            let probe = known.and_then(|library| probe(kernel, plan, library));
            let probe = probe.inspect_err(|error| tracing::warn!("{name}: TLS is not seen: {error}"));
            Probed { probe: probe.ok().flatten(), library }
        });
        if !plan.is_module {
            return;
        }
        if let Err(error) = kernel.tell_tls_library(pid, library) {
            tracing::warn!("{pid}: {name}: TLS may not be seen: {error}");
        }
        if probed.library != library && kernel.tls_library_differs(probed.library) {
            tracing::info!("{name}: which build of TLS it calls differs by process");
        }
    }

    /// Looks at the processes whose turn has come.
    pub fn look(&mut self, kernel: &mut Kernel, now_ns: u64) {
        for pid in std::mem::take(&mut self.due) {
            self.look_at(kernel, pid, now_ns);
        }
    }

    /// Whether processes wait for their turn.
    pub fn is_due(&self) -> bool {
        !self.due.is_empty()
    }
}

/// `None`: there is nothing to probe.
fn probe(kernel: &mut Kernel, plan: &Plan, library: u8) -> Result<Option<UserProbe>, LoadError> {
    let name = plan.file.shown.display();
    for reason in &plan.refused {
        tracing::warn!("{name}: {reason}; what passes there is not seen");
    }
    // Behind two calls there may be one instruction.
    let cookie = |kind: Kind| kind.cookie(library, plan.is_module);
    let sites: BTreeMap<u64, u64> =
        plan.sites.iter().map(|placed| (placed.site.offset, cookie(placed.kind))).collect();
    let sites: Vec<_> = sites.into_iter().map(|(offset, cookie)| UserSite { offset, cookie }).collect();
    if sites.is_empty() {
        return Ok(None);
    }
    let probe = kernel.probe_user(UserProgram::Tls, &plan.file.path, &sites)?;
    tracing::info!("{name}: TLS is seen at {} instructions", sites.len());
    Ok(Some(probe))
}
