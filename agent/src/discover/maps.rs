//! What files a process has mapped, each under a name that this process can open.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::{fs, io};

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

/// One line of `/proc/PID/maps` that has a file (`Documentation/filesystems/proc.rst`, section 1.1).
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
    /// Which file.
    pub id: FileId,
    /// The file's path as the process knows it.
    pub path: String,
    /// The file has lost that name.
    pub deleted: bool,
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
    /// What files are mapped, in the order of addresses.
    pub fn mappings(&self, pid: u32) -> io::Result<Vec<Mapping>> {
        Ok(read_text(&self.of(pid).join("maps"), MAX_LIST_BYTES)?
            .lines()
            .filter_map(Mapping::parse)
            .collect())
    }

    /// Every file with executable mappings, once. Empty where the process may not be looked into.
    pub fn mapped_files(&self, pid: u32) -> Vec<MappedFile> {
        self.files_of(pid, &self.mappings(pid).unwrap_or_default())
    }

    /// Every file that one of a process's executable mappings is of, once.
    pub fn files_of(&self, pid: u32, mappings: &[Mapping]) -> Vec<MappedFile> {
        let mut known = HashSet::new();
        let first = mappings.iter().filter(|mapping| mapping.executable && known.insert(mapping.id));
        first
            .map(|mapping| MappedFile {
                id: mapping.id,
                shown: mapping.shown(),
                path: self.reachable(pid, mapping),
            })
            .collect()
    }

    /// One of the files that a process executes code from, by its path as the process knows it.
    pub fn mapped_file(&self, pid: u32, path: &str) -> io::Result<MappedFile> {
        let file = self.mapped_files(pid).into_iter().find(|file| file.shown.as_os_str() == path);
        file.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{path} is not mapped any more")))
    }

    /// Where the file behind a mapping can be opened, even if its name now stands for another one.
    pub fn reachable(&self, pid: u32, mapping: &Mapping) -> PathBuf {
        let through_root = self.through_root(pid, &mapping.path);
        // Another file may have taken the name since.
        let same = fs::metadata(&through_root).is_ok_and(|metadata| metadata.ino() == mapping.id.inode);
        if same { through_root } else { self.of(pid).join("map_files").join(mapping.range()) }
    }

    /// Where a path of a process's own leads, as seen from here.
    pub(super) fn through_root(&self, pid: u32, path: &str) -> PathBuf {
        self.of(pid).join("root").join(path.trim_start_matches('/'))
    }
}

impl Mapping {
    /// `7f00-7f10 r-xp 00001000 fe:00 1234   /usr/bin/python3.11`. `None`: there is no file.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut rest = line;
        let mut field = || {
            let (field, behind) = rest.split_once(' ')?;
            rest = behind.trim_start();
            Some(field)
        };
        let (range, permissions, offset, device, inode) = (field()?, field()?, field()?, field()?, field()?);
        let hex = |digits| u64::from_str_radix(digits, 16).ok();
        let (start, end) = range.split_once('-')?;
        let (major, minor) = device.split_once(':')?;
        let id = FileId { major: hex(major)?, minor: hex(minor)?, inode: inode.parse().ok()? };
        let name = rest.strip_suffix(" (deleted)");
        rest.starts_with('/').then_some(())?;
        Some(Self {
            start: hex(start)?,
            end: hex(end)?,
            offset: hex(offset)?,
            executable: permissions.contains('x'),
            id,
            path: name.unwrap_or(rest).to_owned(),
            deleted: name.is_some(),
        })
    }

    fn range(&self) -> String {
        format!("{:x}-{:x}", self.start, self.end)
    }

    fn shown(&self) -> PathBuf {
        PathBuf::from(if self.deleted { format!("{} (deleted)", self.path) } else { self.path.clone() })
    }
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
            let got = Mapping::parse(line)
                .filter(|mapping| mapping.executable)
                .map(|mapping| (mapping.range(), mapping.id.inode, mapping.shown()));
            let want = want.map(|(range, inode, shown)| (range.to_owned(), inode, PathBuf::from(shown)));
            assert_eq!(got, want, "{line}");
        }
    }

    #[test]
    fn lines_with_a_file_are_mappings() {
        let line =
            "55d0a000-55d0b000 r-xp 00001000 fe:00 12345                 /opt/my app/python3 (deleted)";
        let mapping = Mapping::parse(line).unwrap();
        assert_eq!((mapping.start, mapping.end, mapping.offset), (0x55d0_a000, 0x55d0_b000, 0x1000));
        assert_eq!((mapping.executable, mapping.path.as_str()), (true, "/opt/my app/python3"));
        for none in [
            "7ffd1000-7ffd2000 rw-p 00000000 00:00 0                          [stack]",
            "7ffd1000-7ffd2000 rw-p 00000000 00:00 0 ",
            "nonsense",
            "",
        ] {
            assert_eq!(Mapping::parse(none), None, "{none}");
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
