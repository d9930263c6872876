//! A site behind a call that stands for the whole call: its arguments can still be found there.
//!
//! Invariant: what does not fit into a site's cookie is no such site.

use std::fmt;

use ebpf::abi;

use crate::probe_site::{Kept, Operand};

const WORD_BYTES: u64 = 8;

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

/// Where the kernel program finds a call's arguments, and who moves the encrypted bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    writes: bool,
    object: Operand,
    buffer: Operand,
    moved: Moved,
    /// Where in the connection's object its BIO for reading is, in words.
    bio: u64,
}

impl Behind {
    /// For a call of a function that reads or writes; `bio_bytes`: how far behind an object's address the BIO is that
    /// it reads from. `None`: too far.
    pub fn new(
        writes: bool,
        (object, buffer): (Operand, Operand),
        moved: Moved,
        bio_bytes: u64,
    ) -> Option<Self> {
        let bio = bio_bytes / WORD_BYTES;
        let fits = bio_bytes.is_multiple_of(WORD_BYTES) && bio < 1 << abi::TLS_BEHIND_BIO_BITS;
        fits.then_some(Self { writes, object, buffer, moved, bio })
    }

    /// As the kernel program knows it: `enum tls_behind` in `abi.h`.
    pub fn cookie(self) -> u64 {
        let (site, is_address, moved) = match self.moved {
            Moved::Result => (abi::TLS_SITE_BEHIND, false, 0),
            Moved::At(operand) => (abi::TLS_SITE_BEHIND, true, bits(operand)),
            Moved::Kept(operand) => (abi::TLS_SITE_GIVEN, false, bits(operand)),
            Moved::GivenAt(operand) => (abi::TLS_SITE_GIVEN, true, bits(operand)),
        };
        site | u64::from(self.writes) << abi::TLS_BEHIND_WRITES
            | u64::from(is_address) << abi::TLS_BEHIND_EX
            | self.bio << abi::TLS_BEHIND_BIO
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
        let behind = Behind::new(true, (object, buffer), Moved::At(moved), 0x10).unwrap();
        assert_eq!(behind.to_string(), "arguments in 0x18(%rbx), %r12, -0x8(%rsp)");
        let expected = 8
            | 1 << 4
            | 1 << 5
            | 2 << 6
            | (1 << 3 | 0x18 << 4) << 12
            | 2 << 29
            | (6 | 1 << 3 | 0x1ff8 << 4) << 46;
        assert_eq!(behind.cookie(), expected, "{:#x}", behind.cookie());
        let given = |moved| Behind::new(false, (object, buffer), moved, 0x10).unwrap().cookie();
        let place = expected & !(0xfff);
        assert_eq!(given(Moved::GivenAt(moved)), 9 | 1 << 5 | 2 << 6 | place);
        assert_eq!(given(Moved::Kept(moved)), 9 | 2 << 6 | place);
        assert_eq!(Behind::new(false, (object, buffer), Moved::Result, 512), None);
        assert_eq!(Behind::new(false, (object, buffer), Moved::Result, 12), None);
    }
}
