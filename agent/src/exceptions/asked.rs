//! Where a process asks its interpreter what it is handling: whoever reports a failure does, before it is over.
//!
//! Flask, Django and `logging.exception` call `sys.exc_info` while they handle what ended a request, `traceback.print_exc` of
//! 3.13 `sys.exception`. These are written in C and no symbol names them in a stripped build; the objects of these names lead
//! there. Invariant: a place is an emulated instruction that each call passes.

use std::path::PathBuf;

use python::{Layout, Memory, builtin};

use crate::discover::Proc;
use crate::discover::pages::Pages;
use crate::probe_site::Site;

/// Functions of the module `sys`; the second came with 3.11.
const FUNCTIONS: [&str; 2] = ["exc_info", "exception"];
/// The function is shorter, or what is passed comes within these.
const CODE_BYTES: u64 = 64;

/// Places in a file.
pub(super) struct Places {
    pub(super) file: PathBuf,
    pub(super) sites: Vec<Site>,
}

/// Finds them. `runtime`: the address of `_PyRuntime`. `None`: they cannot be found, or not cheaply probed.
pub(super) fn find(
    proc: &Proc,
    pid: u32,
    memory: &impl Memory,
    (runtime, layout): (u64, &Layout),
) -> Option<Places> {
    let memory = Pages::of(memory);
    let mappings = proc.mappings(pid).ok()?;
    let mut file = None;
    let mut sites = Vec::new();
    for name in FUNCTIONS {
        let Some(address) = builtin::of_sys(&memory, runtime, layout, name) else { continue };
        let mapping = mappings
            .iter()
            .filter(|mapping| mapping.executable)
            .find(|mapping| mapping.start <= address && address + CODE_BYTES <= mapping.end)?;
        let mut code = [0; CODE_BYTES as usize];
        memory.read(address, &mut code).then_some(())?;
        sites.push(Site::passed(&code, address, address - mapping.start + mapping.offset)?);
        file = Some(proc.reachable(pid, mapping));
    }
    Some(Places { file: file?, sites })
}
