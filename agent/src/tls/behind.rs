//! A site behind a call that stands for the whole call: its arguments can still be found there.
//!
//! Invariant: the site's cookie holds all of it.

use std::fmt;

use ebpf::abi;

use crate::probe_site::{Kept, Operand};

/// What a call moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// The result is the length, and is where results are.
    Result,
    /// The result is the length. Only calls get there that gave something; it is kept here.
    Kept(Operand),
    /// The address of the length is here.
    At(Operand),
    /// So it is, and only calls get there that gave something.
    GivenAt(Operand),
}

/// Where the kernel program finds a call's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    writes: bool,
    object: Operand,
    buffer: Operand,
    moved: Moved,
}

impl Behind {
    /// For a call of a function that reads or writes.
    pub fn new(writes: bool, (object, buffer): (Operand, Operand), moved: Moved) -> Self {
        Self { writes, object, buffer, moved }
    }

    /// As the kernel program knows it: `enum tls_behind` in `abi.h`; `library`: the number of the library called.
    pub fn cookie(self, library: u8) -> u64 {
        let (site, is_address, moved) = match self.moved {
            Moved::Result => (abi::TLS_SITE_BEHIND, false, 0),
            Moved::At(operand) => (abi::TLS_SITE_BEHIND, true, bits(operand)),
            Moved::Kept(operand) => (abi::TLS_SITE_GIVEN, false, bits(operand)),
            Moved::GivenAt(operand) => (abi::TLS_SITE_GIVEN, true, bits(operand)),
        };
        site | u64::from(self.writes) << abi::TLS_BEHIND_WRITES
            | u64::from(is_address) << abi::TLS_BEHIND_EX
            | u64::from(library) << abi::TLS_LIBRARY
            | bits(self.object) << abi::TLS_BEHIND_OBJECT
            | bits(self.buffer) << abi::TLS_BEHIND_BUFFER
            | moved << abi::TLS_BEHIND_MOVED
    }
}

fn bits(operand: Operand) -> u64 {
    let register = match operand.register {
        Kept::Rbx => abi::KEPT_RBX,
        Kept::Rbp => abi::KEPT_RBP,
        Kept::R12 => abi::KEPT_R12,
        Kept::R13 => abi::KEPT_R13,
        Kept::R14 => abi::KEPT_R14,
        Kept::R15 => abi::KEPT_R15,
        Kept::Rsp => abi::KEPT_RSP,
    };
    let added = u64::from(operand.added.cast_unsigned()) & ((1 << abi::OPERAND_ADDED_BITS) - 1);
    register | u64::from(operand.in_memory) << abi::OPERAND_IN_MEMORY | added << abi::OPERAND_ADDED
}

/// Where the arguments are.
impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arguments in {}, {}", self.object, self.buffer)?;
        match self.moved {
            Moved::Result => Ok(()),
            Moved::Kept(moved) => write!(f, ", length in {moved}"),
            Moved::At(moved) | Moved::GivenAt(moved) => write!(f, ", {moved}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_holds_all_of_it() {
        let operand = |register, added, in_memory| Operand { register, added, in_memory };
        let (object, buffer) = (operand(Kept::Rbx, 0x18, true), operand(Kept::R12, 0, false));
        let moved = operand(Kept::Rsp, -8, true);
        let behind = Behind::new(true, (object, buffer), Moved::At(moved));
        assert_eq!(behind.to_string(), "arguments in 0x18(%rbx), %r12, -0x8(%rsp)");
        let expected = 8
            | 1 << 4
            | 1 << 5
            | 127 << 6
            | (1 << 3 | 0x18 << 4) << 13
            | 2 << 30
            | (6 | 1 << 3 | 0x1ff8 << 4) << 47;
        assert_eq!(behind.cookie(127), expected, "{:#x}", behind.cookie(127));
        let given = |moved| Behind::new(false, (object, buffer), moved).cookie(2);
        let place = expected & !(0x1fff);
        assert_eq!(given(Moved::GivenAt(moved)), 9 | 1 << 5 | 2 << 6 | place);
        assert_eq!(given(Moved::Kept(moved)), 9 | 2 << 6 | place);
    }
}
