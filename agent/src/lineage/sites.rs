//! Where a new context can be seen in an interpreter.
//!
//! Invariant: each new context that is a copy, or that is empty, is seen at exactly one of the places: its address may have
//! been another's.

use std::fmt;
use std::path::Path;

use ebpf::ContextSite;

use crate::discover::Proc;
use crate::discover::interpreter::Interpreter;
use crate::probe_site::{Image, NoSite, Site, Step};

/// Makes a copy of the thread's context; exported by every build (Python/context.c).
const COPY: &str = "PyContext_CopyCurrent";
/// Makes an empty one, as `contextvars.Context()` does, in which uvicorn starts the task of a request (0.39 and 0.54);
/// exported by every build (Python/context.c).
const EMPTY: &str = "PyContext_New";
/// Gives a new object (Modules/gcmodule.c, since 3.13 Python/gc.c).
const NEW: &str = "_PyObject_GC_New";
/// Is given what is taken from a list of free ones (Objects/object.c); until 3.8 part of its callers.
const REUSED: &str = "_Py_NewReference";

/// `greenlet::UserGreenlet::UserGreenlet(PyGreenlet* p, BorrowedGreenlet the_parent)` (greenlet's TUserGreenlet.cpp, 2.0 and
/// later): makes every greenlet but the first one of a thread.
const MAKE: &str = "_ZN8greenlet12UserGreenletC1EP9_greenletNS_4refs17_BorrowedGreenletIS1_XadL_ZNS3_15GreenletCheckerEPvEEEE";

/// `UVStream._buffer_write(self, data)` of uvloop's handles/stream.pyx, as Cython names it; its wheels have the names of local
/// functions. What is written passes it, to be sent at the end of the loop's turn.
const WRITE: &str = "__pyx_f_6uvloop_4loop_8UVStream__buffer_write";

/// A place at which a new context is seen, or what is done in one for later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySite {
    /// Behind the call that gives it.
    Given(Site),
    /// The call that is given it first.
    Passed(Site),
    /// The return from the function that copies.
    Returned(Site),
    /// The call of what makes a greenlet.
    Greenlet(Site),
    /// Where a stream is given what it sends later.
    Written(Site),
}

impl CopySite {
    /// As the kernel side takes it.
    pub fn place(&self) -> ContextSite {
        match self {
            Self::Given(site) => ContextSite::Given(site.offset),
            Self::Passed(site) => ContextSite::Passed(site.offset),
            Self::Returned(site) => ContextSite::Returned(site.offset),
            Self::Greenlet(site) => ContextSite::Greenlet(site.offset),
            Self::Written(site) => ContextSite::Written(site.offset),
        }
    }
}

/// `new context, _PyObject_GC_New: 0x26ae41 ...`
impl fmt::Display for CopySite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(site) => write!(f, "new context, {NEW}: {site}"),
            Self::Passed(site) => write!(f, "new context, {REUSED}: {site}"),
            Self::Returned(site) => write!(f, "new context, returned: {site}"),
            Self::Greenlet(site) => write!(f, "greenlet: {site}"),
            Self::Written(site) => write!(f, "write that uvloop sends later: {site}"),
        }
    }
}

/// Where the probes would be in a process, in words; the error says why copies are not seen there.
pub fn places(proc: &Proc, pid: u32, interpreter: &Interpreter) -> Result<Vec<String>, String> {
    if let Some(reason) = interpreter.refusal() {
        return Err(reason);
    }
    let file = proc.mapped_file(pid, &interpreter.path).map_err(|error| error.to_string())?;
    let mut sites = of(&file.path).map_err(|error| error.to_string())?;
    for beside in interpreter.beside() {
        if let Ok(file) = proc.mapped_file(pid, beside) {
            sites.extend(of(&file.path).unwrap_or_default());
        }
    }
    Ok(sites.iter().map(ToString::to_string).collect())
}

/// The places in a file: inside the function if the kernel emulates the instructions there and both ways to a new
/// context pass one, else its return.
pub(super) fn of(file: &Path) -> Result<Vec<CopySite>, NoSite> {
    let image = Image::load(file, &[COPY, EMPTY, NEW, REUSED, MAKE, WRITE])?;
    // By what is in it: the path that leads to it may be the process's list of mappings.
    if image.defines(MAKE) {
        return greenlets(&image);
    }
    if image.defines(WRITE) {
        return Ok(vec![CopySite::Written(image.entry(WRITE, 1)?)]);
    }
    let mut sites = Vec::new();
    for maker in [COPY, EMPTY] {
        for site in made_by(&image, maker)? {
            // Both may share the part that gives it.
            if !sites.contains(&site) {
                sites.push(site);
            }
        }
    }
    Ok(sites)
}

fn made_by(image: &Image, maker: &'static str) -> Result<Vec<CopySite>, NoSite> {
    let given = image.calls_within(maker, NEW)?;
    let passed = image.calls_within(maker, REUSED)?;
    let is_emulated = given.iter().all(|site| site.after.step == Step::Emulated);
    if given.is_empty() || passed.is_empty() || !is_emulated {
        return Ok(vec![CopySite::Returned(image.returns(maker)?)]);
    }
    let given = given.into_iter().map(|site| CopySite::Given(site.after));
    Ok(given.chain(passed.into_iter().map(|site| CopySite::Passed(site.call))).collect())
}

/// The calls of what makes a greenlet: the new one and the one that runs are its arguments.
fn greenlets(image: &Image) -> Result<Vec<CopySite>, NoSite> {
    Ok(image.call_sites(MAKE)?.into_iter().map(|site| CopySite::Greenlet(site.call)).collect())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::probe_site::installed;

    /// As a file is named in a process's list of mappings, where those of some containers are found.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_library_of_greenlets_is_told_by_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let (source, library) = (folder.path().join("source.c"), folder.path().join("7f00-7f10"));
        let make = format!("void {MAKE}(void *self, void *parent)");
        let body = "{ __asm__ volatile(\"\" :: \"r\"(self), \"r\"(parent)); }";
        let caller = format!("void *begin(void *self, void *now) {{ {MAKE}(self, now); return self; }}");
        let local = "__attribute__((noinline, visibility(\"hidden\")))";
        std::fs::write(&source, format!("{local} {make} {body}\n{caller}\n")).unwrap();
        let mut compiler = std::process::Command::new("clang");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]);
        assert!(compiler.status().unwrap().success());
        let sites = of(&library).unwrap();
        assert!(matches!(&sites[..], [CopySite::Greenlet(site)] if site.step == Step::Emulated), "{sites:?}");
    }

    #[test]
    fn every_interpreter_has_places_that_the_kernel_emulates() {
        let libraries = installed::interpreters();
        assert!(!libraries.is_empty(), "no interpreter is installed");
        let has_contexts = |library: &&PathBuf| {
            let name = library.to_string_lossy();
            !["python2.", "python3.6", "python3.7"].iter().any(|old| name.contains(old))
        };
        for library in libraries.iter().filter(has_contexts) {
            let sites = of(library).unwrap();
            let image = Image::load(library, &[COPY, EMPTY, NEW, REUSED]).unwrap();
            for maker in [COPY, EMPTY] {
                let made = made_by(&image, maker).unwrap();
                assert!(made.iter().all(|site| sites.contains(site)), "{}: {maker}", library.display());
            }
            for site in &sites {
                let (CopySite::Given(place)
                | CopySite::Passed(place)
                | CopySite::Returned(place)
                | CopySite::Greenlet(place)
                | CopySite::Written(place)) = site;
                assert_eq!(place.step, Step::Emulated, "{}: {site}", library.display());
            }
            let returned = sites.iter().any(|site| matches!(site, CopySite::Returned(_)));
            // Until 3.8 what takes an object from the list calls nothing.
            let is_old = library.to_string_lossy().contains("python3.8.");
            assert_eq!(returned, is_old, "{}: {sites:?}", library.display());
        }
    }
}
