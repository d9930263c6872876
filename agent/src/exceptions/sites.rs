//! Where frames that exceptions leave can be seen in an interpreter.
//!
//! Invariant: an exception that leaves two frames or more is seen at each of them but perhaps the first, once.

use std::path::Path;

use ebpf::ExceptionSite;

use crate::probe_site::{Image, NoSite, Site, Step};

/// Runs once for each Python frame that an exception leaves; exported by every build (Python/traceback.c).
const FUNCTION: &str = "PyTraceBack_Here";
/// Gives it the exception, until 3.11: the traceback through its third argument (Python/errors.c).
const FETCH: &str = "PyErr_Fetch";

/// The places in one file.
#[derive(Debug)]
pub(super) struct Sites {
    sites: Vec<Site>,
    /// They are where the function gives up its reference to the traceback that there was before: only an exception that
    /// has left another frame already passes there. That is where most do not: they are caught where they were raised.
    only_further: bool,
}

impl Sites {
    /// As the kernel side takes them.
    pub(super) fn places(&self) -> Vec<ExceptionSite> {
        let place = if self.only_further { ExceptionSite::Further } else { ExceptionSite::Frame };
        self.sites.iter().map(|site| place(site.offset)).collect()
    }

    /// In words.
    pub(super) fn words(&self) -> Vec<String> {
        self.sites.iter().map(|site| format!("{FUNCTION} {site}")).collect()
    }
}

/// The places in a file: where only exceptions pass that leave a second frame or a later one; else the function, if an
/// instruction there is emulated; else its calls.
pub(super) fn of(file: &Path) -> Result<Sites, NoSite> {
    let image = Image::load(file, &[FUNCTION, FETCH])?;
    let further = image.released(FUNCTION, FETCH);
    if !further.is_empty() {
        return Ok(Sites { sites: further, only_further: true });
    }
    let entry = image.entry(FUNCTION, 1)?;
    if entry.step == Step::Emulated {
        return Ok(Sites { sites: vec![entry], only_further: false });
    }
    let sites = match image.call_sites(FUNCTION) {
        Ok(calls) if !calls.is_empty() => calls.into_iter().map(|site| site.call).collect(),
        _ => vec![entry],
    };
    Ok(Sites { sites, only_further: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe_site::installed;

    #[test]
    fn until_3_11_only_further_frames_pass_and_every_place_is_emulated() {
        let libraries = installed::interpreters();
        assert!(!libraries.is_empty(), "no interpreter is installed");
        for library in libraries.iter().filter(|library| !library.to_string_lossy().contains("python2.")) {
            let Sites { sites, only_further } = of(library).unwrap();
            let name = library.display();
            assert_eq!(sites.len(), 1, "{name}: {sites:?}");
            assert_eq!(sites[0].step, Step::Emulated, "{name}: {sites:?}");
            // 3.12 keeps the traceback in the exception.
            let keeps_apart = !["python3.12", "python3.13"].iter().any(|new| name.to_string().contains(new));
            assert_eq!(only_further, keeps_apart, "{name}: {sites:?}");
        }
    }
}
