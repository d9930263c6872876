//! A kind of probe that is put into some processes and taken off again, and the pipeline that is told since when what it
//! sees is seen.
//!
//! Invariant: the pipeline takes it to be seen only while every probe is in place: it hears of it after they were put, and
//! before they are taken off.

use std::path::Path;

use ebpf::{Kernel, LoadError, UserProbe};
use rustc_hash::FxHashMap;

use crate::clock;
use crate::file_sites::FileSites;
use crate::frame::Frame;
use crate::pipeline::{News, Pipeline};
use crate::policy::{Policy, Step};
use crate::probe_site::NoSite;

/// A kind of probe: where it goes in a file, how it is put there in one process, and what the pipeline is told.
pub struct Kind<S> {
    /// Looks through a file for its places.
    pub find: fn(&Path) -> Result<S, NoSite>,
    /// Puts it there.
    pub put: fn(&Kernel, u32, &Path, &S) -> Result<UserProbe, LoadError>,
    /// Of a process what is seen is seen since then; None: no longer.
    pub seen: fn(u32, Option<u64>) -> Frame<'static>,
    /// What is seen, in words: `which task starts which`.
    pub what: &'static str,
}

/// The probes of one kind.
pub struct FollowedProbe<S> {
    kind: Kind<S>,
    sites: FileSites<S>,
    processes: FxHashMap<u32, Process>,
}

/// A process that may get one.
struct Process {
    policy: Policy,
    /// The file, as the process knows it.
    path: String,
    /// Others, where the probe goes too if they have places.
    beside: Vec<String>,
    /// Those of them that were not known when the probe was put in place.
    new_beside: Vec<String>,
    /// In each of them.
    probes: Vec<UserProbe>,
}

impl<S> FollowedProbe<S> {
    /// For no process yet.
    pub fn new(kind: Kind<S>) -> Self {
        let sites = FileSites::new(kind.find);
        Self { kind, sites, processes: FxHashMap::default() }
    }

    /// Takes note of what happened to processes.
    pub fn hear(&mut self, news: &[News], pipeline: &mut Pipeline) {
        for new in news {
            if let News::Started(pid) | News::Gone(pid) = new
                && let Some(mut process) = self.processes.remove(pid)
            {
                process.take_off(*pid, &self.kind, pipeline);
            }
        }
    }

    /// A process may need the probe, in the file that it knows by this path, and in others if those have places.
    /// `policy`: when, if it is not followed already.
    pub fn follow(&mut self, pid: u32, (path, beside): (&str, &[&str]), policy: impl FnOnce() -> Policy) {
        let fresh = || Process {
            policy: policy(),
            path: path.to_owned(),
            beside: Vec::new(),
            new_beside: Vec::new(),
            probes: Vec::new(),
        };
        let process = self.processes.entry(pid).or_insert_with(fresh);
        for beside in beside {
            if !process.beside.iter().any(|known| known == beside) {
                process.beside.push((*beside).to_owned());
                process.new_beside.push((*beside).to_owned());
            }
        }
    }

    /// Whether a process has it now.
    pub fn is_in(&self, pid: u32) -> bool {
        self.processes.get(&pid).is_some_and(|process| !process.probes.is_empty())
    }

    /// When the probe is in a process that is followed.
    pub fn policy(&mut self, pid: u32) -> Option<&mut Policy> {
        Some(&mut self.processes.get_mut(&pid)?.policy)
    }

    /// Puts the probes where they are to be, and takes them off where not. `hits`: of the probe in a process so far. Gives
    /// what was done.
    pub fn look(
        &mut self,
        kernel: &Kernel,
        pipeline: &mut Pipeline,
        now_ns: u64,
        hits: impl Fn(u32) -> u64,
    ) -> Vec<(u32, Step)> {
        let mut done = Vec::new();
        for (pid, process) in &mut self.processes {
            let new_beside = std::mem::take(&mut process.new_beside);
            if !new_beside.is_empty() && !process.probes.is_empty() {
                process.put_beside(*pid, &new_beside, (&self.kind, &mut self.sites), kernel, pipeline);
            }
            let Some(step) = process.policy.look(now_ns, || hits(*pid)) else { continue };
            if step == Step::Attach {
                process.put(*pid, (&self.kind, &mut self.sites), kernel, pipeline);
            } else {
                process.take_off(*pid, &self.kind, pipeline);
            }
            done.push((*pid, step));
        }
        done
    }
}

impl<S> Kind<S> {
    fn put_into(
        &self,
        (pid, path): (u32, &str),
        sites: &mut FileSites<S>,
        kernel: &Kernel,
    ) -> anyhow::Result<UserProbe> {
        let (file, sites) = sites.of(pid, path)?;
        Ok((self.put)(kernel, pid, &file.path, sites)?)
    }
}

impl Process {
    fn put<S>(
        &mut self,
        pid: u32,
        (kind, sites): (&Kind<S>, &mut FileSites<S>),
        kernel: &Kernel,
        pipeline: &mut Pipeline,
    ) {
        match kind.put_into((pid, &self.path), sites, kernel) {
            Ok(probe) => {
                self.probes.push(probe);
                self.put_beside(pid, &self.beside.clone(), (kind, sites), kernel, pipeline);
                tracing::info!("{pid}: looking at {}", kind.what);
            }
            Err(why) => {
                tracing::warn!("{pid}: it is not seen {}: {why}", kind.what);
                self.policy.refused();
            }
        }
    }

    /// From here on it is seen in these files too.
    fn put_beside<S>(
        &mut self,
        pid: u32,
        beside: &[String],
        (kind, sites): (&Kind<S>, &mut FileSites<S>),
        kernel: &Kernel,
        pipeline: &mut Pipeline,
    ) {
        for path in beside {
            match kind.put_into((pid, path), sites, kernel) {
                Ok(probe) => self.probes.push(probe),
                Err(why) => tracing::debug!("{pid}: it is not seen there {}: {why}", kind.what),
            }
        }
        pipeline.feed(&(kind.seen)(pid, clock::monotonic_ns().ok()));
    }

    /// The pipeline hears of it first: what happens afterwards is not seen.
    fn take_off<S>(&mut self, pid: u32, kind: &Kind<S>, pipeline: &mut Pipeline) {
        if !self.probes.is_empty() {
            pipeline.feed(&(kind.seen)(pid, None));
            self.probes.clear();
        }
    }
}
