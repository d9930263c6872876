//! Where a uprobe goes: the instruction that the kernel can emulate, found by decoding.
//!
//! Invariant: a site is an instruction's first byte, reached on every way through what it stands for, while the
//! values that are read there still hold.
//!
//! A uprobe's instruction is either emulated by the kernel (about 0.8 µs a hit in all) or executed aside under a
//! single-step trap (12 µs and more in virtual machines). Which ones are emulated:
//! `branch_setup_xol_ops` and `push_setup_xol_ops` in `arch/x86/kernel/uprobes.c` (since 3.15, 4.20 for `push`):
//! relative calls and jumps, conditional ones too, `nop`, and `push` of a whole register.

mod decode;
mod guard;
mod image;
mod kept;
mod released;
mod told_text;

use std::fmt;

use decode::Code64;
use thiserror::Error;

pub use guard::guards;
pub use image::{CHECK_SIGNALS, CallSite, GivenCall, Gives, Image, KeptCall};
pub use kept::{Kept, Operand};
pub use told_text::TextField;

/// A place for a uprobe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// From the start of the file, as the kernel takes it.
    pub offset: u64,
    /// In the file's own address space, as a disassembler shows it.
    pub address: u64,
    /// The instruction there, as the GNU assembler writes it.
    pub instruction: String,
    /// How the kernel gets past it.
    pub step: Step,
    /// Why this one.
    pub why: Why,
}

/// How the kernel executes the instruction under a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// By itself, without a second trap.
    Emulated,
    /// Aside, with a second trap: dear.
    Single,
    /// Not known for this processor.
    Unknown,
}

/// Why a site was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The first emulated instruction of the function; its arguments are whole.
    Entry,
    /// The function has none before its arguments are lost: its first instruction.
    NoEmulatedEntry,
    /// The call itself.
    Call,
    /// The first emulated instruction behind the call; the result is whole.
    AfterCall,
    /// The first emulated instruction that each call of the function passes.
    Passed,
    /// Behind the look at whether a tracer listens to a mark of the program's own.
    Guard,
    /// The first emulated instruction that calls which gave something pass, and no others.
    Given,
    /// Where the function lets go of what it took, if that was something.
    Released,
    /// There is none before the result is lost: the instruction behind the call.
    NoEmulatedAfterCall,
    /// The result is to be seen when the function returns.
    Return,
    /// Where the function returns, by an instruction of its own.
    End,
    /// Instructions of this processor are not decoded.
    NotDecided,
}

/// No site for what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoSite {
    /// The file cannot be read or is no ELF file of this host's kind.
    #[error("cannot read it: {0}")]
    File(String),
    /// The file does not define the symbol.
    #[error("no symbol {0}")]
    Symbol(String),
    /// No direct call of the symbol was found.
    #[error("no direct call of {0}")]
    Call(String),
    /// It is not certain where the symbol's function returns.
    #[error("no certain return of {0}")]
    End(String),
    /// Calls cannot be found on this processor.
    #[error("instructions of this processor are not decoded")]
    Processor,
}

impl Site {
    /// Where each call of a function passes that begins with this code, at this address and place in its file. `None`:
    /// nowhere at an emulated instruction, or it is not known for this processor.
    pub fn passed(code: &[u8], address: u64, offset: u64) -> Option<Self> {
        let code = Code64 { bytes: code, address };
        let found = code.first_passed().filter(|_| cfg!(target_arch = "x86_64"))?;
        Some(Self {
            offset: offset + (found.ip() - address),
            address: found.ip(),
            instruction: decode::text(&found),
            step: Step::Emulated,
            why: Why::Passed,
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Emulated => "emulated",
            Self::Single => "single-stepped",
            Self::Unknown => "not decided",
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Entry => "first emulated instruction, arguments whole",
            Self::NoEmulatedEntry => "no emulated instruction before the arguments are lost",
            Self::Call => "the call itself",
            Self::AfterCall => "first emulated instruction after the call, result whole",
            Self::Guard => "where it looks whether a tracer listens to its mark",
            Self::Passed => "first emulated instruction that each call passes",
            Self::Given => "first emulated instruction that only calls which gave something pass",
            Self::Released => "only passed where there was something to let go of",
            Self::NoEmulatedAfterCall => "no emulated instruction before the result is lost",
            Self::Return => "the return from the function: nothing emulated is passed where the result is",
            Self::End => "a return of the function, result whole",
            Self::NotDecided => "instructions of this processor are not decoded",
        })
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} `{}` {}: {}", self.address, self.instruction, self.step, self.why)
    }
}

#[cfg(test)]
pub(crate) mod installed;
#[cfg(test)]
mod tests;
