//! Which CPython it is.

use std::fmt;

/// A version of CPython. Layouts depend on major and minor; the rest is told to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// 3.
    pub major: u8,
    /// 8 and later are known.
    pub minor: u8,
    /// Where it is known.
    pub micro: Option<u8>,
    /// An alpha, beta or candidate: its layouts may be those of no release.
    pub prerelease: bool,
}

impl Version {
    /// A release of which only major and minor are known.
    pub const fn release(major: u8, minor: u8) -> Self {
        Self { major, minor, micro: None, prerelease: false }
    }

    /// From `PY_VERSION_HEX` (`Include/patchlevel.h`): the value of `Py_Version` (exported since 3.11) and of
    /// `_Py_DebugOffsets.version` (since 3.13). `None` if it cannot be one of Python 3.
    pub fn from_hex(hex: u64) -> Option<Self> {
        let [major, minor, micro, level] = u32::try_from(hex).ok()?.to_be_bytes();
        // PY_RELEASE_LEVEL_ALPHA 0xA, BETA 0xB, GAMMA 0xC, FINAL 0xF
        let prerelease = match level >> 4 {
            0xA..=0xC => true,
            0xF => false,
            _ => return None,
        };
        (major == 3).then_some(Self { major, minor, micro: Some(micro), prerelease })
    }

    /// From the name of an interpreter or its library: `python3.11`, `libpython3.8.so.1.0`, `python3.13t`.
    /// `None` if the name does not tell.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("lib").unwrap_or(name).strip_prefix("python3.")?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (minor, rest) = rest.split_at(digits);
        // `t`: free-threaded, `d`: debug, `m`: pymalloc (before 3.8).
        let rest = rest.trim_start_matches(['t', 'd', 'm']);
        let ends = rest.is_empty() || rest.starts_with(".so");
        ends.then(|| minor.parse().ok()).flatten().map(|minor| Self::release(3, minor))
    }
}

/// `3.11`, `3.11.2`, `3.15.2 (prerelease)`.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if let Some(micro) = self.micro {
            write!(f, ".{micro}")?;
        }
        f.write_str(if self.prerelease { " (prerelease)" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_versions() {
        for (hex, want) in [
            (0x030b_02f0, Some("3.11.2")),
            (0x030e_0af0, Some("3.14.10")),
            (0x030f_00b3, Some("3.15.0 (prerelease)")),
            (0x030b_0210, None),
            (0x020c_12f0, None),
            (0, None),
            (0x1_030b_02f0, None),
        ] {
            assert_eq!(Version::from_hex(hex).map(|v| v.to_string()).as_deref(), want, "{hex:x}");
        }
    }

    #[test]
    fn file_names() {
        for (name, want) in [
            ("python3.11", Some("3.11")),
            ("python3.13t", Some("3.13")),
            ("libpython3.8.so.1.0", Some("3.8")),
            ("libpython3.13td.so.1.0", Some("3.13")),
            ("libpython3.10.so", Some("3.10")),
            ("libpython3.so", None),
            ("python3", None),
            ("python", None),
            ("python3.11-config", None),
            ("python3.999", None),
            ("uwsgi", None),
            ("libpython2.7.so.1.0", None),
        ] {
            assert_eq!(Version::from_file_name(name).map(|v| v.to_string()).as_deref(), want, "{name}");
        }
    }
}
