//! Whatever memory says, reading it ends, in bounds, with a value.

use std::cell::Cell;

use proptest::prelude::*;
use python::code::Codes;
use python::object::Objects;
use python::{Layout, Memory, exception, routes, stacktrace};

/// Memory in which every address can be read and a good part of the words look like pointers, flags and sizes.
struct Dream {
    seed: u64,
    small: u8,
    flags: u64,
}

impl Memory for Dream {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        for (index, byte) in into.iter_mut().enumerate() {
            let at = address.wrapping_add(index as u64);
            let word = self.word(at / 8);
            *byte = word.to_ne_bytes()[at as usize % 8];
        }
        // Not everything is mapped.
        !address.is_multiple_of(97)
    }
}

/// The same, until so much of it was read.
struct Waking(Dream, Cell<u32>);

impl Memory for Waking {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.1.set(self.1.get().saturating_sub(1));
        self.1.get() > 0 && self.0.read(address, into)
    }
}

impl Dream {
    fn word(&self, index: u64) -> u64 {
        let mut mixed = index.wrapping_add(self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^= mixed >> 29;
        match mixed % 8 {
            0 => 0,
            1 => mixed >> 32 & u64::from(self.small),
            2 => u64::MAX - (mixed >> 40),
            3 => self.flags,
            // Close together, so that circles come about.
            _ => 0x7f00_0000 + (mixed >> 52) * 8,
        }
    }
}

proptest! {
    #[test]
    fn any_memory_gives_a_bounded_value(seed: u64, small: u8, bits in 0_u32..8, minor in 0_usize..7) {
        let flags = 1 << 30 | 1 << 9 | u64::from(bits) << 25 | 1;
        let memory = Dream { seed, small, flags };
        let objects = Objects { memory: &memory, layout: &Layout::all()[minor] };
        let mut codes = Codes::default();
        for address in [0x7f00_0000, 0x7f00_0008, 0x7f00_0800, u64::MAX - 7] {
            if let Some(found) = exception::read(&objects, &mut codes, address) {
                prop_assert!(stacktrace::write(&found).len() <= 64 * 1024);
            }
        }
    }

    #[test]
    fn any_memory_gives_routes_or_a_reason(seed: u64, small: u8, bits in 0_u32..8, minor in 0_usize..7) {
        let flags = 0b1111 << 26 | u64::from(bits) << 2 | 1 << 9;
        let memory = Waking(Dream { seed, small, flags }, Cell::new(20_000));
        for runtime in [0x7f00_0000, 0x7f00_0800, u64::MAX - 7] {
            if let Ok(found) = routes::read(&memory, runtime, &Layout::all()[minor]) {
                prop_assert!(found.rules.len() <= 4096);
            }
        }
    }
}
