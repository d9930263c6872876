//! How the command ends: exit codes, and the one line a person reads when something went wrong.
//!
//! Invariant: a failure is one line, whatever text went into it.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::{ExitCode, Termination};

/// Exit codes, numbered as in BSD's `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// The command line, the environment or the configuration is wrong (`EX_USAGE`).
    Usage = 64,
    /// No such process or file (`EX_NOINPUT`).
    NoInput = 66,
    /// The kernel cannot do what is needed (`EX_UNAVAILABLE`).
    Kernel = 69,
    /// A fault of the probe itself (`EX_SOFTWARE`).
    Internal = 70,
    /// Reading or writing failed (`EX_IOERR`).
    Io = 74,
    /// Not allowed: a privilege is missing (`EX_NOPERM`).
    NotAllowed = 77,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

/// Why the command gives up: what failed, why, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code the process exits with.
    pub exit: Exit,
    what: String,
    why: Option<String>,
    next: Option<String>,
}

impl Failure {
    /// Says what failed: `cannot read /etc/probe.toml`.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), why: None, next: None }
    }

    /// A fault in flags, environment or configuration.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// A failed file operation; the code follows from the kind of error.
    pub fn io(what: impl Into<String>, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NoInput,
            io::ErrorKind::PermissionDenied => Exit::NotAllowed,
            _ => Exit::Io,
        };
        Self::new(exit, what).because(error)
    }

    /// Adds the reason.
    #[must_use]
    pub fn because(mut self, why: impl fmt::Display) -> Self {
        self.why = Some(why.to_string());
        self
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

/// `what: why; next`, on one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        one_line(&self.what, f)?;
        if let Some(why) = &self.why {
            f.write_str(": ")?;
            one_line(why, f)?;
        }
        if let Some(next) = &self.next {
            f.write_str("; ")?;
            one_line(next, f)?;
        }
        Ok(())
    }
}

impl Error for Failure {}

fn one_line(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, word) in text.split_whitespace().enumerate() {
        if index > 0 {
            f.write_str(" ")?;
        }
        f.write_str(word)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_sysexits() {
        let codes =
            [Exit::Ok, Exit::Usage, Exit::NoInput, Exit::Kernel, Exit::Internal, Exit::Io, Exit::NotAllowed]
                .map(Exit::code);
        assert_eq!(codes, [0, 64, 66, 69, 70, 74, 77]);
    }

    #[test]
    fn a_failure_is_one_line() {
        let failure =
            Failure::new(Exit::Kernel, "cannot load\nthe programs").because("no\tBTF").hint("use 5.8+");
        assert_eq!(failure.to_string(), "cannot load the programs: no BTF; use 5.8+");
    }

    #[test]
    fn an_io_error_chooses_its_code() {
        for (kind, exit) in [
            (io::ErrorKind::NotFound, Exit::NoInput),
            (io::ErrorKind::PermissionDenied, Exit::NotAllowed),
            (io::ErrorKind::Other, Exit::Io),
        ] {
            assert_eq!(Failure::io("cannot open x", &kind.into()).exit, exit);
        }
    }
}
