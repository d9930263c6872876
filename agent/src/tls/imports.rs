//! Which file the functions are in that another one calls: the process's memory says where the dynamic linker has led its
//! calls.
//!
//! Invariant: a file is told only if all calls that lead anywhere lead there.

use python::Memory;

use crate::discover::{FileId, Mapping};
use crate::probe_site::Image;

/// Where a file has the addresses of functions that it calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imports {
    /// The address of its code in its own address space, less its place in the file. `None`: there is more than one.
    shift: Option<u64>,
    slots: Vec<u64>,
}

impl Imports {
    /// Of the functions whose names are wanted.
    pub fn new(image: &Image, is_wanted: impl Fn(&str) -> bool) -> Self {
        Self { shift: image.code_shift(), slots: image.slots(is_wanted) }
    }

    /// The file that all of a file's calls lead to. Python loads a module with all of them led (`RTLD_NOW`, the default of
    /// `sys.setdlopenflags`); where a file is loaded otherwise, a slot leads back to the file itself until its first call.
    pub fn lead_to(&self, id: FileId, mappings: &[Mapping], memory: &impl Memory) -> Option<FileId> {
        let shift = self.shift?;
        let code: Vec<_> = mappings.iter().filter(|mapping| mapping.executable).collect();
        let mut found = None;
        for own in code.iter().filter(|mapping| mapping.id == id) {
            let base = own.start.wrapping_sub(own.offset).wrapping_sub(shift);
            for slot in &self.slots {
                let address = memory.read_u64(base.wrapping_add(*slot))?;
                let leads = code.iter().find(|mapping| (mapping.start..mapping.end).contains(&address))?.id;
                if leads != id && found.replace(leads).is_some_and(|other| other != leads) {
                    return None;
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words by address.
    struct Words(Vec<(u64, u64)>);

    impl Memory for Words {
        fn read(&self, address: u64, into: &mut [u8]) -> bool {
            let found = self.0.iter().find(|(at, _)| *at == address);
            found.is_some_and(|(_, word)| {
                into.copy_from_slice(&word.to_ne_bytes());
                true
            })
        }
    }

    const MAPS: [&str; 5] = [
        "10000-14000 r--p 00000000 fe:00 1 /module.so",
        "14000-18000 r-xp 00004000 fe:00 1 /module.so",
        "30000-38000 r-xp 00001000 fe:00 2 /libssl.so.3",
        "40000-48000 r-xp 00001000 fe:00 3 /wheel/libssl.so.3",
        "48000-49000 rw-p 00008000 fe:00 3 /wheel/libssl.so.3",
    ];

    /// The module's code is at 0x5000 in its own address space, so its slots 0x8000 and 0x8008 are at 0x17000 and 0x17008.
    fn lead(maps: &[&str], words: &[(u64, u64)]) -> Option<String> {
        let mappings: Vec<_> = maps.iter().map(|line| Mapping::parse(line).unwrap()).collect();
        let imports = Imports { shift: Some(0x1000), slots: vec![0x8000, 0x8008] };
        let found = imports.lead_to(mappings[0].id, &mappings, &Words(words.to_vec()))?;
        Some(mappings.into_iter().find(|mapping| mapping.id == found)?.path)
    }

    #[test]
    fn calls_lead_to_one_file() {
        for (what, first, second, expected) in [
            ("the one", 0x30010, 0x37ff8, Some("/libssl.so.3")),
            ("the other", 0x40010, 0x40020, Some("/wheel/libssl.so.3")),
            ("not called yet", 0x14030, 0x40020, Some("/wheel/libssl.so.3")),
            ("nothing called yet", 0x14030, 0x14040, None),
            ("two files", 0x30010, 0x40020, None),
            ("not led yet", 0x4030, 0x4040, None),
            ("nowhere known", 0x30010, 0x9_0000, None),
            ("no code", 0x48010, 0x48020, None),
        ] {
            let found = lead(&MAPS, &[(0x17000, first), (0x17008, second)]);
            assert_eq!(found.as_deref(), expected, "{what}");
        }
        assert_eq!(lead(&MAPS, &[(0x17000, 0x30010)]), None, "unreadable");
    }

    #[test]
    fn a_file_that_is_there_twice_leads_to_one_if_both_do() {
        let maps = [&MAPS[..], &["64000-68000 r-xp 00004000 fe:00 1 /module.so"]].concat();
        let lead = |second| {
            let words = [(0x17000, 0x30010), (0x17008, 0x30020), (0x67000, second), (0x67008, second)];
            lead(&maps, &words)
        };
        assert_eq!(lead(0x30010).as_deref(), Some("/libssl.so.3"));
        assert_eq!(lead(0x40010), None);
    }
}
