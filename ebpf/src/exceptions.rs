//! The probes that see exceptions unwind or be reported, and what their programs are told of each process.
//!
//! Invariant: a probe is in one process, at every site of it or at none; it goes when its handle goes.

use std::path::Path;
use std::sync::atomic::Ordering;

use libbpf_rs::{MapCore, MapFlags};
use zerocopy::{FromBytes, IntoBytes};

use crate::abi::ExceptionLayout;
use crate::kernel::{Kernel, LoadError, shared};
use crate::user_probe::{Placed, UserProbe};

/// How errors name it.
const PROBE: &str = "the exceptions' probe";

/// An instruction of a file at which exceptions are seen to leave frames, counted from the file's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExceptionSite {
    /// `PyTraceBack_Here`, its argument whole, or a call of it.
    Frame(u64),
    /// In it, behind all that it does, where only those pass that have left another frame before.
    Further(u64),
}

impl Kernel {
    /// Says where a process's interpreter keeps exceptions: from here on those that it handles are reported with its
    /// answers of 5xx.
    pub fn know_exceptions(&self, pid: u32, layout: &ExceptionLayout) -> Result<(), LoadError> {
        let map = &self.skeleton.maps.exception_layouts;
        map.update(&pid.to_ne_bytes(), layout.as_bytes(), MapFlags::ANY)
            .map_err(|source| LoadError::Map { map: "exception_layouts", source })
    }

    /// The process is gone, or runs something else.
    pub fn forget_exceptions(&self, pid: u32) {
        // Not there is as good as gone.
        let _ = self.skeleton.maps.exception_layouts.delete(&pid.to_ne_bytes());
    }

    /// Remembers code objects of what calls the service's code: exceptions that go through it are kept before others.
    /// Those for which there is no room are left out.
    pub fn remember_dispatch(&self, pid: u32, codes: &[u64]) -> Result<(), LoadError> {
        let Some(mut layout) = self.exception_layout(pid) else { return Ok(()) };
        for code in codes {
            if layout.dispatch.contains(code) {
                continue;
            }
            let Some(free) = layout.dispatch.iter_mut().find(|known| **known == 0) else { break };
            *free = *code;
        }
        // The hits that are counted meanwhile are lost: they only tell a rate.
        self.know_exceptions(pid, &layout)
    }

    /// How often the probe was hit in a process since its layout was told.
    pub fn exception_hits(&self, pid: u32) -> Option<u64> {
        self.exception_layout(pid).map(|layout| layout.hits)
    }

    /// How often a process asked what it was handling, since its layout was told, as far as that was seen.
    pub fn asked_for_exceptions(&self, pid: u32) -> Option<u64> {
        self.exception_layout(pid).map(|layout| layout.asked)
    }

    fn exception_layout(&self, pid: u32) -> Option<ExceptionLayout> {
        let value = self.skeleton.maps.exception_layouts.lookup(&pid.to_ne_bytes(), MapFlags::ANY).ok()??;
        ExceptionLayout::read_from_bytes(&value).ok()
    }

    /// Says whether the layout of any process is known, and whether the probe is in one: while not, socket calls do not
    /// pay for it. In which ones, `say_exceptions_kept` tells.
    pub fn say_exceptions(&mut self, known: bool, kept: bool) {
        if let Some(bss) = self.skeleton.maps.bss_data.as_deref_mut() {
            shared(&mut bss.at_hand.exceptions_are_known).store(known.into(), Ordering::Release);
            shared(&mut bss.at_hand.exceptions_are_kept).store(kept.into(), Ordering::Release);
        }
    }

    /// Puts the probe on these places of a file, in one process.
    pub fn probe_exceptions(
        &self,
        pid: u32,
        file: &Path,
        sites: &[ExceptionSite],
    ) -> Result<UserProbe, LoadError> {
        let programs = &self.skeleton.progs;
        let (mut frames, mut further) = (Vec::new(), Vec::new());
        for site in sites {
            match *site {
                ExceptionSite::Frame(offset) => frames.push(offset),
                ExceptionSite::Further(offset) => further.push(offset),
            }
        }
        let placed = [
            Placed::at(&programs.exception_left_frame, frames),
            Placed::at(&programs.exception_left_another, further),
        ];
        self.probe_process(PROBE, pid, file, &placed)
    }

    /// Puts the probe of `sys.exc_info` and `sys.exception` on these places of a file, counted from its start, in one process.
    pub fn probe_exc_info(&self, pid: u32, file: &Path, offsets: &[u64]) -> Result<UserProbe, LoadError> {
        let program = &self.skeleton.progs.exception_asked_for;
        self.probe_process(PROBE, pid, file, &[Placed::at(program, offsets.to_vec())])
    }
}
