//! A `/proc` made of files, for tests.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::Proc;

/// A process in it.
pub(super) struct FakeProcess<'a> {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) command: &'a [&'a str],
    pub(super) environment: &'a [&'a str],
    pub(super) directory: &'a str,
    /// What the descriptors lead to, from 0.
    pub(super) descriptors: &'a [&'a str],
    /// Pids in `task/PID/children`; `None`: the kernel has no such file.
    pub(super) children: Option<&'a str>,
}

impl Default for FakeProcess<'_> {
    fn default() -> Self {
        Self {
            pid: 1,
            parent: 0,
            command: &[],
            environment: &[],
            directory: "/",
            descriptors: &[],
            children: None,
        }
    }
}

/// The directory is removed when this is dropped.
pub(super) struct FakeProc {
    directory: tempfile::TempDir,
    pub(super) proc: Proc,
}

impl FakeProc {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("stat"), "cpu 1 2\nintr 5 0 0\nbtime 1000\nprocesses 9\n").unwrap();
        fs::write(directory.path().join("passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:1000:1000:::\n")
            .unwrap();
        let proc = Proc::at(directory.path(), directory.path().join("passwd"));
        Self { directory, proc }
    }

    pub(super) fn path(&self, pid: u32) -> PathBuf {
        self.directory.path().join(pid.to_string())
    }

    pub(super) fn add(&self, process: &FakeProcess<'_>) {
        let (pid, path) = (process.pid, self.path(process.pid));
        let lines = |parts: &[&str]| {
            parts.iter().flat_map(|part| [part.as_bytes(), b"\0"].concat()).collect::<Vec<_>>()
        };
        for directory in ["fd", "ns", "net", &format!("task/{pid}")] {
            fs::create_dir_all(path.join(directory)).unwrap();
        }
        let stat =
            format!("{pid} (x) S {} 1 1 0 -1 0 1 0 0 0 11 22 0 0 20 0 2 0 500 1 1 0\n", process.parent);
        fs::write(path.join("stat"), stat).unwrap();
        fs::write(path.join("status"), "Name:\tx\nUid:\t1000\t1000\nVmRSS:\t8 kB\nThreads:\t2\n").unwrap();
        fs::write(path.join("cmdline"), lines(process.command)).unwrap();
        fs::write(path.join("environ"), lines(process.environment)).unwrap();
        symlink(process.directory, path.join("cwd")).unwrap();
        symlink("net:[4026531840]", path.join("ns/net")).unwrap();
        for (fd, leads_to) in process.descriptors.iter().enumerate() {
            symlink(leads_to, path.join("fd").join(fd.to_string())).unwrap();
        }
        if let Some(children) = process.children {
            fs::write(path.join(format!("task/{pid}/children")), children).unwrap();
        }
    }
}
