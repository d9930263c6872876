//! The probes in place. Invariant: a file is probed once, for all processes that have it or will have it.

use std::collections::{BTreeMap, BTreeSet};

use ebpf::{Kernel, UserProbe, UserProgram, UserSite};
use rustc_hash::FxHashMap;

use super::{Plan, Planner};
use crate::discover::{Origin, Proc};

/// A process is looked at again at most so often: it may have loaded a library since.
const LOOK_INTERVAL_NS: u64 = 1_000_000_000;
/// Most processes of which that is remembered.
const MAX_PROCESSES: usize = 16384;

/// What is probed, and when each process was looked at last.
#[derive(Debug, Default)]
pub struct Probes {
    planner: Planner,
    /// `None`: the file cannot be probed.
    files: BTreeMap<Origin, Option<UserProbe>>,
    looked_ns: FxHashMap<u32, u64>,
    /// Processes whose turn has not come again yet.
    due: BTreeSet<u32>,
}

impl Probes {
    /// Probes the libraries that a process has loaded by now, or in a while if it was looked at just now.
    pub fn look_at(&mut self, kernel: &mut Kernel, pid: u32, now_ns: u64) {
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
            self.files.entry(plan.file.origin()).or_insert_with(|| probe(kernel, &plan));
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

fn probe(kernel: &mut Kernel, plan: &Plan) -> Option<UserProbe> {
    let name = plan.file.shown.display();
    for reason in &plan.refused {
        tracing::warn!("{name}: {reason}; what passes there is not seen");
    }
    let library = match kernel.know_tls_library(&plan.fields.library()) {
        Ok(library) => library,
        Err(error) => {
            tracing::warn!("{name}: TLS is not seen: {error}");
            return None;
        }
    };
    // Behind two calls there may be one instruction.
    let sites: BTreeMap<u64, u64> =
        plan.sites.iter().map(|placed| (placed.site.offset, placed.kind.cookie(library))).collect();
    let sites: Vec<_> = sites.into_iter().map(|(offset, cookie)| UserSite { offset, cookie }).collect();
    if sites.is_empty() {
        return None;
    }
    match kernel.probe_user(UserProgram::Tls, &plan.file.path, &sites) {
        Ok(probe) => {
            tracing::info!("{name}: TLS is seen at {} instructions", sites.len());
            Some(probe)
        }
        Err(error) => {
            tracing::warn!("{name}: TLS is not seen: {error}");
            None
        }
    }
}
