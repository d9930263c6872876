//! A process's memory and what is mapped into it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::Proc;
use super::files::read_text;

/// Processes with hundreds of thousands of mappings exist; what is beyond is not looked at.
const MAX_MAPS_BYTES: u64 = 16 << 20;

/// One line of `/proc/PID/maps` that has a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// Whether it is code.
    pub executable: bool,
    /// The file's path as the process knows it; ` (deleted)` is taken off.
    pub path: String,
}

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

    /// What files are mapped, in the order of addresses.
    pub fn mappings(&self, pid: u32) -> io::Result<Vec<Mapping>> {
        Ok(read_text(&self.of(pid).join("maps"), MAX_MAPS_BYTES)?.lines().filter_map(parse).collect())
    }

    /// Opens the file behind a mapping, even if its name now stands for another one.
    pub fn mapped_file(&self, pid: u32, mapping: &Mapping) -> io::Result<File> {
        let Mapping { start, end, path, .. } = mapping;
        let by_address = self.of(pid).join("map_files").join(format!("{start:x}-{end:x}"));
        File::open(by_address).or_else(|_| File::open(self.seen_by(pid, path)))
    }

    /// A path of the process, as it is reached from here.
    fn seen_by(&self, pid: u32, path: &str) -> PathBuf {
        self.of(pid).join("root").join(path.trim_start_matches('/'))
    }
}

impl python::Memory for ProcessMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.file.read_exact_at(into, address).is_ok()
    }
}

/// `7f00-7f10 r-xp 00001000 fe:00 1234   /usr/bin/python3.11`
fn parse(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
    let path = fields.nth(2)?.trim_start();
    path.starts_with('/').then_some(())?;
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        offset,
        executable: permissions.contains('x'),
        path: path.strip_suffix(" (deleted)").unwrap_or(path).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use python::Memory as _;

    use super::*;

    #[test]
    fn lines_with_a_file_are_mappings() {
        let line =
            "55d0a000-55d0b000 r-xp 00001000 fe:00 12345                 /opt/my app/python3 (deleted)";
        let mapping = parse(line).unwrap();
        assert_eq!((mapping.start, mapping.end, mapping.offset), (0x55d0_a000, 0x55d0_b000, 0x1000));
        assert_eq!((mapping.executable, mapping.path.as_str()), (true, "/opt/my app/python3"));
        for none in [
            "7ffd1000-7ffd2000 rw-p 00000000 00:00 0                          [stack]",
            "7ffd1000-7ffd2000 rw-p 00000000 00:00 0 ",
            "nonsense",
            "",
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn own_memory_reads_back() {
        let value = 0x1234_5678_u32;
        let memory = Proc::default().memory(std::process::id()).unwrap();
        assert_eq!(memory.read_u32(std::ptr::from_ref(&value) as u64), Some(value));
        assert_eq!(memory.read_u32(0), None);
    }
}
