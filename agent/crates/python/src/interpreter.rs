//! Which build of CPython a program file is, and whether its layout is known.

use thiserror::Error;

use crate::{DebugOffsets, Layout, Mismatch, Version};

/// What a file that holds `_PyRuntime` says.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Its name without folders: `python3.11`, `libpython3.8.so.1.0`, `uwsgi`.
    pub name: &'a str,
    /// The value of `Py_Version`, where it is exported (3.11 and later).
    pub version_hex: Option<u64>,
    /// The first bytes of `_PyRuntime`, at least [`DebugOffsets::BYTES`] if there are so many.
    pub runtime: &'a [u8],
}

/// A build whose layout is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// The version.
    pub version: Version,
    /// Where it keeps its fields.
    pub layout: &'static Layout,
}

/// Why a layout is not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unknown {
    /// Neither a symbol nor a name says which version it is.
    #[error("CPython of an unknown version")]
    Version,
    /// No row in the table.
    #[error("CPython {0}: its layout is not known")]
    Layout(Version),
    /// Built without a GIL: its objects are laid out otherwise.
    #[error("CPython {0}, free-threaded: its layout is not known")]
    FreeThreaded(Version),
    /// The interpreter says otherwise than the table.
    #[error("CPython {0}: its layout is not the known one: {1}")]
    Mismatch(Version, Mismatch),
}

impl Build {
    /// Recognises the build. What the interpreter says of itself comes before its name.
    pub fn of(file: &File<'_>) -> Result<Self, Unknown> {
        let offsets = DebugOffsets::parse(file.runtime);
        let version = offsets
            .as_ref()
            .map(|offsets| offsets.version)
            .or_else(|| Version::from_hex(file.version_hex?))
            .or_else(|| Version::from_file_name(file.name))
            .ok_or(Unknown::Version)?;
        let named = file.name.split(".so").next().is_some_and(|name| name.ends_with(['t']));
        let free_threaded =
            offsets.as_ref().is_some_and(|offsets| offsets.free_threaded) || (version.minor >= 13 && named);
        if free_threaded {
            return Err(Unknown::FreeThreaded(version));
        }
        let layout = Layout::of(version).ok_or(Unknown::Layout(version))?;
        match offsets.map(|offsets| offsets.check(layout)) {
            Some(Err(mismatch)) => Err(Unknown::Mismatch(version, mismatch)),
            // Since 3.13 every interpreter describes itself; one that does not is none that is known.
            None if version.minor >= 13 => Err(Unknown::Layout(version)),
            Some(Ok(())) | None => Ok(Self { version, layout }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, version_hex: Option<u64>, runtime: &[u8]) -> String {
        match Build::of(&File { name, version_hex, runtime }) {
            Ok(build) => format!("{} {}", build.version, build.layout.minor),
            Err(unknown) => unknown.to_string(),
        }
    }

    #[test]
    fn versions_by_symbol_then_by_name() {
        for (name, hex, want) in [
            ("libpython3.8.so.1.0", None, "3.8 8"),
            ("python3.9", None, "3.9 9"),
            ("uwsgi", Some(0x030b_02f0), "3.11.2 11"),
            ("python3.9", Some(0x030c_01f0), "3.12.1 12"),
            ("uwsgi", None, "CPython of an unknown version"),
            ("python3.7", None, "CPython 3.7: its layout is not known"),
            ("python3.11", Some(0x030b_00a1), "CPython 3.11.0 (prerelease): its layout is not known"),
            ("python3.13", Some(0x030d_00f0), "CPython 3.13.0: its layout is not known"),
            (
                "libpython3.13t.so.1.0",
                Some(0x030d_00f0),
                "CPython 3.13.0, free-threaded: its layout is not known",
            ),
        ] {
            assert_eq!(of(name, hex, b""), want);
        }
    }

    #[test]
    fn an_interpreter_is_believed_about_itself() {
        let told = |hex: u64, free_threaded: u64| {
            [*b"xdebugpy", hex.to_ne_bytes(), free_threaded.to_ne_bytes()].concat()
        };
        assert_eq!(
            of("python", None, &told(0x030e_0af0, 1)),
            "CPython 3.14.10, free-threaded: its layout is not known"
        );
        assert_eq!(of("python", None, &told(0x030f_02f0, 0)), "CPython 3.15.2: its layout is not known");
        let cut = of("python", None, &told(0x030e_0af0, 0));
        assert!(cut.starts_with("CPython 3.14.10: its layout is not the known one: runtime."), "{cut}");
    }
}
