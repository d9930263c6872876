//! The files whose code a process has mapped, each under a name that this process can open.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::Proc;
use super::files::read_text;

/// About a hundred thousand mappings; a longer list is cut.
const MAX_LIST_BYTES: u64 = 16 << 20;

/// A file, whatever it is called and wherever it is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    major: u64,
    minor: u64,
    inode: u64,
}

/// A file whose code is mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedFile {
    /// Which file.
    pub id: FileId,
    /// Its path as the process sees it.
    pub shown: PathBuf,
    /// A path that leads to it from here: through the process's root, or its list of mappings.
    pub path: PathBuf,
}

impl Proc {
    /// Every file with executable mappings, once. Empty where the process may not be looked into.
    pub fn mapped_files(&self, pid: u32) -> Vec<MappedFile> {
        let text = read_text(&self.of(pid).join("maps"), MAX_LIST_BYTES).unwrap_or_default();
        let mut known = HashSet::new();
        let lines = text.lines().filter_map(parse).filter(|line| known.insert(line.id));
        lines.map(|line| self.reachable(pid, &line)).collect()
    }

    fn reachable(&self, pid: u32, line: &Line<'_>) -> MappedFile {
        let through_root = PathBuf::from(format!("{}{}", self.of(pid).join("root").display(), line.path));
        // Another file may have taken the name since.
        let same = fs::metadata(&through_root).is_ok_and(|metadata| metadata.ino() == line.id.inode);
        let path = if same { through_root } else { self.of(pid).join("map_files").join(line.range) };
        MappedFile { id: line.id, shown: line.path.into(), path }
    }
}

/// A line of `/proc/PID/maps` (`Documentation/filesystems/proc.rst`, section 1.1).
struct Line<'a> {
    range: &'a str,
    id: FileId,
    path: &'a str,
}

/// `None`: not executable, or no file.
fn parse(line: &str) -> Option<Line<'_>> {
    let mut rest = line;
    let mut field = || {
        let (field, behind) = rest.split_once(' ')?;
        rest = behind.trim_start();
        Some(field)
    };
    let (range, permissions, _offset, device, inode) = (field()?, field()?, field()?, field()?, field()?);
    let (major, minor) = device.split_once(':')?;
    let number = |hex| u64::from_str_radix(hex, 16).ok();
    let id = FileId { major: number(major)?, minor: number(minor)?, inode: inode.parse().ok()? };
    (permissions.contains('x') && id.inode != 0).then_some(Line { range, id, path: rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_files_are_told_and_nothing_else() {
        for (line, want) in [
            (
                "7f00-7f10 r-xp 00002000 fe:00 77 /usr/lib/a file.so",
                Some(("7f00-7f10", 77, "/usr/lib/a file.so")),
            ),
            (
                "7f00-7f10 r-xp 00002000 fe:00 77   /x.so (deleted)",
                Some(("7f00-7f10", 77, "/x.so (deleted)")),
            ),
            ("7f00-7f10 r--p 00002000 fe:00 77 /usr/lib/a.so", None),
            ("7f00-7f10 r-xp 00000000 00:00 0 [vdso]", None),
            ("7f00-7f10 rwxp 00000000 00:00 0 ", None),
            ("junk", None),
        ] {
            let got = parse(line).map(|line| (line.range, line.id.inode, line.path));
            assert_eq!(got, want, "{line}");
        }
    }

    #[test]
    fn every_path_leads_to_the_mapped_file() {
        let files = Proc::default().mapped_files(std::process::id());
        let itself = std::env::current_exe().unwrap();
        assert!(files.iter().any(|file| file.shown == itself), "{files:?}");
        for file in files {
            assert_eq!(fs::metadata(&file.path).unwrap().ino(), file.id.inode, "{}", file.path.display());
        }
    }
}
