//! Where a collection of garbage can be seen to begin and to end in an interpreter.
//!
//! Invariant: each collection passes one place where it begins and one where it ends, both at emulated instructions.

use std::path::Path;

use crate::discover::Proc;
use crate::discover::interpreter::Interpreter;
use crate::probe_site::{Image, NoSite, Site, guards};

/// Collects one generation (Modules/gcmodule.c, since 3.13 Python/gc.c); only named where the build keeps all symbols.
/// Until 3.9 it was `collect`.
const COLLECT: [&str; 2] = ["gc_collect_main", "collect"];
/// Has it collect when an interpreter ends, and serves nobody any more.
const AT_THE_END: &str = "_PyGC_CollectNoFail";
/// Its own marks for tracers, behind a look at whether one listens (Include/pydtrace.d).
const PROVIDER: &str = "python";
const START: &str = "gc__start";
const DONE: &str = "gc__done";

/// The places in a file.
pub(super) struct Sites {
    pub(super) begin: Vec<Site>,
    pub(super) end: Vec<Site>,
}

/// Where the probes would be in a process, in words; the error says why collections are not seen there.
pub fn places(proc: &Proc, pid: u32, interpreter: &Interpreter) -> Result<Vec<String>, String> {
    if let Some(reason) = interpreter.refusal() {
        return Err(reason);
    }
    let file = proc.mapped_file(pid, &interpreter.path).map_err(|error| error.to_string())?;
    let Sites { begin, end } = of(&file.path).map_err(|error| error.to_string())?;
    let begin = begin.iter().map(|site| format!("begins {site}"));
    Ok(begin.chain(end.iter().map(|site| format!("ends {site}"))).collect())
}

/// The places in a file: where it looks whether a tracer listens to its own marks, else around the calls of the function
/// that collects. Nobody is told to listen, as that would be written into the process.
pub(super) fn of(file: &Path) -> Result<Sites, NoSite> {
    let [begin, end] = guards(file, PROVIDER, [START, DONE])?;
    if !begin.is_empty() && !end.is_empty() {
        return Ok(Sites { begin, end });
    }
    let image = Image::load(file, &[COLLECT[0], COLLECT[1], AT_THE_END])?;
    let name = COLLECT.into_iter().find(|name| image.defines(name)).unwrap_or(COLLECT[0]);
    let (begin, end): (Vec<_>, Vec<_>) = image.brackets(name, AT_THE_END).into_iter().unzip();
    // What is jumped to returns to nowhere that is known.
    if begin.is_empty() || !image.is_only_called(name) {
        return Err(NoSite::Call(name.to_owned()));
    }
    Ok(Sites { begin, end })
}
