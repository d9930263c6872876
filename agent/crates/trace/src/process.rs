//! Who the pids are. Invariant: every pid gives a process; what nobody told of is `unknown`.

use std::sync::Arc;

use model::{AppIdSource, Process};
use rustc_hash::FxHashMap;

/// Most processes known at once: what is beyond stays `unknown`.
const MAX_PROCESSES: usize = 65536;

/// The watched processes.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    known: FxHashMap<u32, Arc<Process>>,
}

impl Processes {
    /// The agent found out what a process is.
    pub(crate) fn learn(&mut self, process: Arc<Process>) {
        if self.known.len() < MAX_PROCESSES || self.known.contains_key(&process.pid) {
            self.known.insert(process.pid, process);
        }
    }

    /// A child is what its parent is, until the agent knows better.
    pub(crate) fn fork(&mut self, parent: u32, child: u32) {
        if let Some(process) = self.known.get(&parent) {
            let process = Process { pid: child, parent_pid: parent, ..Process::clone(process) };
            self.learn(Arc::new(process));
        }
    }

    /// The process is gone.
    pub(crate) fn exit(&mut self, pid: u32) {
        self.known.remove(&pid);
    }

    /// What a pid is.
    pub(crate) fn get(&self, pid: u32) -> Arc<Process> {
        self.known.get(&pid).cloned().unwrap_or_else(|| {
            Arc::new(Process {
                pid,
                parent_pid: 0,
                app_id: "unknown".to_owned(),
                app_id_source: AppIdSource::CommandLine,
                version: None,
                name: String::new(),
                command_line: String::new(),
                user: String::new(),
                start_unix_ms: 0,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_what_their_parent_is() {
        let mut processes = Processes::default();
        assert_eq!(processes.get(7).app_id, "unknown");
        processes.learn(crate::fixture::process(7, "shop"));
        processes.fork(7, 8);
        processes.fork(9, 10);
        assert_eq!((processes.get(8).app_id.as_str(), processes.get(8).parent_pid), ("shop", 7));
        assert_eq!(processes.get(10).app_id, "unknown");
        processes.exit(7);
        assert_eq!(processes.get(7).app_id, "unknown");
    }
}
