//! A process's memory, read by the page: what is of interest lies in few pages, in many small parts.
//!
//! Invariant: no more is kept than [`PAGES_KEPT`], for one look only, and no more is read than [`PAGES_MAX`]. As long as that
//! much is enough, a page is as it was when it was first asked for.

use std::cell::{Cell, RefCell};

use python::Memory;
use rustc_hash::FxHashMap;

const PAGE_BYTES: usize = 4096;
/// 2 MiB; who needs more reads some of it again.
const PAGES_KEPT: usize = 512;
/// What is beyond cannot be read: 128 MiB.
const PAGES_MAX: usize = 32_768;

type Page = Box<[u8; PAGE_BYTES]>;

/// Pages read so far; `None`: there is none.
#[derive(Debug)]
pub(crate) struct Pages<'a, M> {
    memory: &'a M,
    kept: RefCell<FxHashMap<u64, Option<Page>>>,
    read: Cell<usize>,
}

impl<'a, M: Memory> Pages<'a, M> {
    /// Of this memory, from now on.
    pub(crate) fn of(memory: &'a M) -> Self {
        Self { memory, kept: RefCell::default(), read: Cell::default() }
    }
}

impl<M: Memory> Memory for Pages<'_, M> {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        let offset = address as usize % PAGE_BYTES;
        // Longer ones, and those across a border, are few.
        if offset + into.len() > PAGE_BYTES {
            return self.memory.read(address, into);
        }
        let mut pages = self.kept.borrow_mut();
        let number = address - offset as u64;
        if pages.len() >= PAGES_KEPT && !pages.contains_key(&number) {
            pages.clear();
        }
        let page = pages.entry(number).or_insert_with(|| {
            if self.read.get() >= PAGES_MAX {
                return None;
            }
            self.read.set(self.read.get() + 1);
            let mut page = Box::new([0; PAGE_BYTES]);
            self.memory.read(number, &mut page[..]).then_some(page)
        });
        let Some(page) = page else { return false };
        into.copy_from_slice(&page[offset..offset + into.len()]);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes from an address on, that counts how often it is read.
    struct Held {
        from: u64,
        bytes: Vec<u8>,
        reads: Cell<u32>,
    }

    impl Memory for Held {
        fn read(&self, address: u64, into: &mut [u8]) -> bool {
            self.reads.set(self.reads.get() + 1);
            let bytes = address.checked_sub(self.from).and_then(|from| self.bytes.get(from as usize..));
            let Some(bytes) = bytes.and_then(|bytes| bytes.get(..into.len())) else { return false };
            into.copy_from_slice(bytes);
            true
        }
    }

    #[test]
    fn what_is_kept_and_what_is_read_is_bounded() {
        let memory = Held { from: 0, bytes: vec![7; 600 * PAGE_BYTES], reads: Cell::new(0) };
        let pages = Pages::of(&memory);
        let reads = |page: usize| pages.read((page * PAGE_BYTES) as u64, &mut [0; 8]);
        assert!((0..600).all(reads) && pages.kept.borrow().len() <= PAGES_KEPT);
        assert!((0..600).all(reads) && memory.reads.get() <= 1200);
        while pages.read.get() < PAGES_MAX {
            assert!((0..600).all(reads) || pages.read.get() == PAGES_MAX);
        }
        assert!(!(0..600).all(reads), "no more than so much");
    }

    #[test]
    fn each_page_is_read_once() {
        let bytes: Vec<u8> = (0..3 * PAGE_BYTES).map(|byte| byte as u8).collect();
        let memory = Held { from: 0x10000, bytes, reads: Cell::new(0) };
        let pages = Pages::of(&memory);
        let word = |address| {
            let mut bytes = [0; 8];
            pages.read(address, &mut bytes).then_some(bytes)
        };
        assert_eq!(word(0x10005), Some([5, 6, 7, 8, 9, 10, 11, 12]));
        assert_eq!(word(0x10ff8), Some([0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff]));
        assert_eq!(memory.reads.get(), 1);
        assert_eq!(word(0x10ffc), Some([0xfc, 0xfd, 0xfe, 0xff, 0, 1, 2, 3]), "across a border");
        assert_eq!(word(0x13000), None);
        assert_eq!(word(0x13008), None);
        assert_eq!(memory.reads.get(), 3);
    }
}
