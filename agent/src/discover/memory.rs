//! A process's memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::Proc;

/// Reads `/proc/PID/mem`.
#[derive(Debug)]
pub struct ProcessMemory {
    file: File,
}

impl Proc {
    /// The process's memory. Needs the right to trace it.
    pub fn memory(&self, pid: u32) -> io::Result<ProcessMemory> {
        Ok(ProcessMemory { file: File::open(self.of(pid).join("mem"))? })
    }
}

impl python::Memory for ProcessMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.file.read_exact_at(into, address).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use python::Memory as _;

    use super::*;

    #[test]
    fn own_memory_reads_back() {
        let value = 0x1234_5678_u32;
        let memory = Proc::default().memory(std::process::id()).unwrap();
        assert_eq!(memory.read_u32(std::ptr::from_ref(&value) as u64), Some(value));
        assert_eq!(memory.read_u32(0), None);
    }
}
