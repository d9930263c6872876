//! Python objects of another process: their types, their names, and what the basic ones hold.
//!
//! Invariant: total and bounded. No pointer is believed: whatever it leads to is read as a value or as `None`.

mod contents;
mod kind;
mod number;
mod repr;

pub use kind::{Kind, Says, TypeName};
pub(crate) use repr::{TEXT_CHARS_MAX, quote};

use crate::{Layout, Memory, text};

/// `Py_TPFLAGS_*_SUBCLASS` (Include/object.h), and the flag of types made by Python code.
const HEAP_TYPE: u64 = 1 << 9;
const IS_INT: u64 = 1 << 24;
const IS_LIST: u64 = 1 << 25;
const IS_TUPLE: u64 = 1 << 26;
const IS_BYTES: u64 = 1 << 27;
const IS_STR: u64 = 1 << 28;
const IS_EXCEPTION: u64 = 1 << 30;
const IS_TYPE: u64 = 1 << 31;

/// No tuple of a message or a group is followed further.
pub(crate) const ITEMS_MAX: usize = 16;
/// No reference count of an exception is larger; the address that a freed block holds there is.
const REFERENCES_MAX: u64 = 1 << 30;

/// The objects of one process.
#[derive(Clone, Copy)]
pub struct Objects<'a> {
    /// Its memory.
    pub memory: &'a dyn Memory,
    /// Where its interpreter keeps things.
    pub layout: &'a Layout,
}

impl Objects<'_> {
    pub(crate) fn pointer(&self, address: u64, offset: u32) -> Option<u64> {
        self.memory.read_pointer(address.checked_add(offset.into())?)
    }

    pub(crate) fn word(&self, address: u64, offset: u32) -> Option<u64> {
        self.memory.read_u64(address.checked_add(offset.into())?)
    }

    /// The address of an object's type.
    pub fn type_of(&self, address: u64) -> Option<u64> {
        self.pointer(address, self.layout.object.kind)
    }

    fn flags_of_type(&self, kind: u64) -> Option<u64> {
        self.word(kind, self.layout.object.type_flags)
    }

    pub(crate) fn flags(&self, address: u64) -> Option<u64> {
        self.flags_of_type(self.type_of(address)?)
    }

    /// Whether the object is an exception, and has not been freed.
    pub fn is_exception(&self, address: u64) -> bool {
        let is_alive = || self.word(address, 0).is_some_and(|count| (1..REFERENCES_MAX).contains(&count));
        is_alive() && self.flags(address).is_some_and(|flags| flags & IS_EXCEPTION != 0)
    }

    /// Whether the exception at an address is still the one that had this type and these arguments.
    pub fn is_still(&self, address: u64, kind: u64, args: u64) -> bool {
        self.is_exception(address)
            && self.type_of(address) == Some(kind)
            && self.pointer(address, self.layout.exception.args) == Some(args)
    }

    /// The text of an object that says of itself that it is a `str`.
    pub(crate) fn str(&self, address: u64, max_chars: usize) -> Option<text::Text> {
        (self.flags(address)? & IS_STR != 0)
            .then(|| text::read(self.memory, self.layout, address, max_chars))?
    }

    /// The items of a tuple, at most [`ITEMS_MAX`], and how many there are.
    pub(crate) fn tuple(&self, address: u64) -> Option<(Vec<u64>, u64)> {
        if self.flags(address)? & IS_TUPLE == 0 {
            return None;
        }
        let size = self.word(address, self.layout.object.size)?;
        Some((self.pointers(address.checked_add(self.layout.object.tuple_items.into())?, size)?, size))
    }

    /// The first items of a list.
    pub(crate) fn list(&self, address: u64) -> Option<Vec<u64>> {
        if self.flags(address)? & IS_LIST == 0 {
            return None;
        }
        match self.word(address, self.layout.object.size)? {
            0 => Some(Vec::new()),
            size => self.pointers(self.pointer(address, self.layout.object.list_items)?, size),
        }
    }

    fn pointers(&self, address: u64, count: u64) -> Option<Vec<u64>> {
        let mut bytes = vec![0; 8 * usize::try_from(count).ok()?.min(ITEMS_MAX)];
        if !self.memory.read(address, &mut bytes) {
            return None;
        }
        let words = bytes.chunks_exact(8).filter_map(|word| word.try_into().ok());
        Some(words.map(u64::from_ne_bytes).collect())
    }

    /// The first bytes of a `bytes` object.
    pub(crate) fn bytes(&self, address: u64, max_bytes: usize) -> Option<Vec<u8>> {
        if self.flags(address)? & IS_BYTES == 0 {
            return None;
        }
        let size = self.word(address, self.layout.object.size)?;
        let mut bytes = vec![0; usize::try_from(size).ok()?.min(max_bytes)];
        let content = address.checked_add(self.layout.object.bytes.into())?;
        self.memory.read(content, &mut bytes).then_some(bytes)
    }

    /// The text of a C string of at most 255 bytes.
    pub(crate) fn c_string(&self, address: u64) -> Option<String> {
        let mut bytes = Vec::new();
        let mut word = [0; 8];
        while bytes.len() < 256 {
            if !self.memory.read(address.checked_add(bytes.len() as u64)?, &mut word) {
                return None;
            }
            if let Some(end) = word.iter().position(|byte| *byte == 0) {
                bytes.extend_from_slice(&word[..end]);
                return String::from_utf8(bytes).ok();
            }
            bytes.extend_from_slice(&word);
        }
        None
    }
}
