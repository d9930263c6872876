//! A process's own figures at this moment.

use report::Vitals;

use super::Proc;

impl Proc {
    /// CPU time, memory, threads, descriptors and connections; `None` if the process is gone.
    pub fn vitals(&self, pid: u32) -> Option<Vitals> {
        let stat = self.stat(pid).ok()?;
        let status = self.status(pid).ok()?;
        let descriptors = self.descriptors(pid);
        Some(Vitals {
            cpu_ms: stat.cpu_ms,
            working_set_bytes: status.resident_bytes,
            threads: status.threads,
            handles: descriptors.open,
            connections: descriptors.connections,
        })
    }
}
