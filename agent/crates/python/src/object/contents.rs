//! What containers hold and which attributes objects have, in every layout of dicts and instances.
//!
//! Invariant: total and bounded, as all reading of objects.

use super::{IS_LIST, IS_STR, IS_TUPLE, Objects};

/// `PyModuleObject.md_dict` (Objects/moduleobject.c, since 3.13 `Include/internal/pycore_moduleobject.h`).
const MODULE_DICT: u32 = 16;
/// `PySetObject` (Include/cpython/setobject.h): the mask of the table, the table, and an entry: the key and its hash.
const SET_MASK: u32 = 32;
const SET_TABLE: u32 = 40;
const SET_ENTRY_BYTES: usize = 16;

/// `Py_TPFLAGS_INLINE_VALUES` (3.13), `Py_TPFLAGS_MANAGED_DICT` (3.11), `Py_TPFLAGS_DICT_SUBCLASS` (Include/object.h).
const INLINE_VALUES: u64 = 1 << 2;
const MANAGED_DICT: u64 = 1 << 4;
const IS_DICT: u64 = 1 << 29;
/// Where a managed dict's pointer stands before the object (`Include/internal/pycore_object.h`: `MANAGED_DICT_OFFSET`; 3.11:
/// `_PyObject_ManagedDictPointer` and, one word before it, `_PyObject_ValuesPointer`).
const MANAGED_DICT_BEFORE: u64 = 24;
const VALUES_BEFORE_3_11: u64 = 32;
/// Where the values begin in `PyDictValues`: since 3.13 behind four bytes and what fills them up
/// (`Include/internal/pycore_dict.h`); the fourth says whether they count.
const VALUES_HEAD_SINCE_3_13: u64 = 8;
const VALUES_VALID_3_13: u64 = 3;

/// `PyDictKeysObject` (Objects/dict-common.h, since 3.11 `Include/internal/pycore_dict.h`).
const KEYS_SIZE_UNTIL_3_10: u32 = 8;
const KEYS_ENTRIES_UNTIL_3_10: u32 = 32;
const KEYS_INDICES_UNTIL_3_10: u64 = 40;
const KEYS_LOG2_INDEX_BYTES: u64 = 9;
const KEYS_ENTRIES: u32 = 24;
const KEYS_INDICES: u64 = 32;

/// Most entries of a container, and characters of a text.
pub(crate) const CONTENTS_MAX: u64 = 16_384;
const TEXT_CHARS_MAX: usize = 1024;

/// Where the keys of a dict stand.
struct Keys {
    count: u64,
    entries: u64,
    entry_bytes: usize,
    key_at: usize,
}

impl Objects<'_> {
    /// The text of a `str` that is not too long.
    pub(crate) fn text(&self, address: u64) -> Option<String> {
        self.str(address, TEXT_CHARS_MAX).filter(|text| !text.is_cut).map(|text| text.text)
    }

    /// The items of a list or a tuple, all of them.
    pub(crate) fn items(&self, address: u64) -> Option<Vec<u64>> {
        let flags = self.flags(address)?;
        let object = &self.layout.object;
        let count = self.word(address, object.size)?;
        let items = if flags & IS_LIST != 0 {
            if count == 0 {
                return Some(Vec::new());
            }
            self.pointer(address, object.list_items)?
        } else if flags & IS_TUPLE != 0 {
            address.checked_add(object.tuple_items.into())?
        } else {
            return None;
        };
        self.words(items, count)
    }

    /// The members of a `set` or `frozenset`, if they are texts.
    pub(crate) fn set_of_texts(&self, address: u64) -> Option<Vec<String>> {
        let name = self.type_name(self.type_of(address)?)?.full();
        if name != "set" && name != "frozenset" {
            return None;
        }
        let slots = self.word(address, SET_MASK)?.checked_add(1).filter(|slots| *slots <= CONTENTS_MAX)?;
        let mut bytes = vec![0; slots as usize * SET_ENTRY_BYTES];
        if !self.memory.read(self.pointer(address, SET_TABLE)?, &mut bytes) {
            return None;
        }
        let keys = bytes.chunks_exact(SET_ENTRY_BYTES).map(|entry| word(entry, 0));
        // What was taken out leaves an object behind that is no text (`dummy`).
        let texts = keys.filter(|key| *key != 0 && self.flags(*key).is_some_and(|flags| flags & IS_STR != 0));
        texts.map(|key| self.text(key)).collect()
    }

    /// What a dict holds, in its order. `None`: it is none, or cannot be read.
    pub(crate) fn entries(&self, dict: u64) -> Option<Vec<(u64, u64)>> {
        if self.flags(dict)? & IS_DICT == 0 {
            return None;
        }
        let object = &self.layout.object;
        let keys = self.keys(self.pointer(dict, object.dict_keys)?)?;
        match self.word(dict, object.dict_values)? {
            0 => self.combined(&keys),
            values => self.split(&keys, values.checked_add(self.values_head())?),
        }
    }

    /// The dict of a module.
    pub(crate) fn module_entries(&self, module: u64) -> Option<Vec<(u64, u64)>> {
        self.entries(self.pointer(module, MODULE_DICT)?)
    }

    /// The value that stands under a name.
    pub(crate) fn named(&self, entries: &[(u64, u64)], name: &str) -> Option<u64> {
        entries.iter().find(|(key, _)| self.is_str(*key, name)).map(|(_, value)| *value)
    }

    /// The attributes that an object has itself.
    pub(crate) fn attributes(&self, address: u64) -> Option<Vec<(u64, u64)>> {
        let kind = self.type_of(address)?;
        let flags = self.flags_of_type(kind)?;
        let object = &self.layout.object;
        let before = |bytes: u64| self.memory.read_u64(address.checked_sub(bytes)?);
        if self.layout.minor <= 10 || flags & MANAGED_DICT == 0 {
            let offset = self.word(kind, object.type_dict_offset)?;
            // Types of variable size, which count from the end, are not for what has attributes of interest.
            let offset = u32::try_from(offset).ok().filter(|offset| *offset != 0)?;
            return self.entries(self.pointer(address, offset)?);
        }
        let own_keys = || self.keys(self.pointer(kind, object.type_cached_keys)?);
        let dict = before(MANAGED_DICT_BEFORE)?;
        match self.layout.minor {
            11 => match before(VALUES_BEFORE_3_11)? {
                0 => self.entries(dict),
                values => self.split(&own_keys()?, values),
            },
            12 if dict & 1 == 1 => self.split(&own_keys()?, dict + 1),
            13.. if dict == 0 && flags & INLINE_VALUES != 0 => {
                let values = address.checked_add(self.word(kind, object.type_basic_size)?)?;
                let mut valid = [0];
                let is_valid = self.memory.read(values.checked_add(VALUES_VALID_3_13)?, &mut valid);
                (is_valid && valid[0] != 0).then_some(())?;
                self.split(&own_keys()?, values.checked_add(self.values_head())?)
            }
            _ => self.entries(dict),
        }
    }

    /// An attribute that an object has itself.
    pub(crate) fn attribute(&self, address: u64, name: &str) -> Option<u64> {
        self.named(&self.attributes(address)?, name)
    }

    /// A text under an attribute.
    pub(crate) fn text_attribute(&self, address: u64, name: &str) -> Option<String> {
        self.text(self.attribute(address, name)?)
    }

    /// Whether an object is of a type of this name, or of one that is made from it.
    pub(crate) fn is_a(&self, kind: u64, module: &str, qualname: &str) -> bool {
        self.bases(kind).into_iter().any(|base| {
            let name = self.type_name(base);
            name.is_some_and(|name| name.qualname == qualname && name.module.as_deref() == Some(module))
        })
    }

    fn values_head(&self) -> u64 {
        if self.layout.minor >= 13 { VALUES_HEAD_SINCE_3_13 } else { 0 }
    }

    fn keys(&self, keys: u64) -> Option<Keys> {
        let (count, entries, entry_bytes, key_at) = if self.layout.minor <= 10 {
            let index_bytes = match self.word(keys, KEYS_SIZE_UNTIL_3_10)? {
                size @ 0..=0xff => size,
                size @ 0x100..=0xffff => 2 * size,
                size @ 0x1_0000..=0xff_ffff => 4 * size,
                _ => return None,
            };
            let count = self.word(keys, KEYS_ENTRIES_UNTIL_3_10)?;
            (count, keys.checked_add(KEYS_INDICES_UNTIL_3_10 + index_bytes)?, 24, 8)
        } else {
            let mut sizes = [0; 2];
            // The size of the indices, then the kind of the entries: 0 with a hash before the key.
            if !self.memory.read(keys.checked_add(KEYS_LOG2_INDEX_BYTES)?, &mut sizes) || sizes[0] > 24 {
                return None;
            }
            let entries = keys.checked_add(KEYS_INDICES + (1 << sizes[0]))?;
            let (entry_bytes, key_at) = if sizes[1] == 0 { (24, 8) } else { (16, 0) };
            (self.word(keys, KEYS_ENTRIES)?, entries, entry_bytes, key_at)
        };
        (count <= CONTENTS_MAX).then_some(Keys { count, entries, entry_bytes, key_at })
    }

    fn combined(&self, keys: &Keys) -> Option<Vec<(u64, u64)>> {
        let bytes = self.raw_entries(keys)?;
        let pair = |entry: &[u8]| (word(entry, keys.key_at), word(entry, keys.key_at + 8));
        let pairs = bytes.chunks_exact(keys.entry_bytes).map(pair);
        Some(pairs.filter(|(key, value)| *key != 0 && *value != 0).collect())
    }

    /// The values stand by themselves, in the order of the keys.
    fn split(&self, keys: &Keys, values: u64) -> Option<Vec<(u64, u64)>> {
        let bytes = self.raw_entries(keys)?;
        let values = self.words(values, keys.count)?;
        let keys = bytes.chunks_exact(keys.entry_bytes).map(|entry| word(entry, keys.key_at));
        Some(keys.zip(values).filter(|(key, value)| *key != 0 && *value != 0).collect())
    }

    fn raw_entries(&self, keys: &Keys) -> Option<Vec<u8>> {
        let mut bytes = vec![0; keys.entry_bytes * keys.count as usize];
        self.memory.read(keys.entries, &mut bytes).then_some(bytes)
    }

    fn words(&self, address: u64, count: u64) -> Option<Vec<u64>> {
        let count = usize::try_from(count).ok().filter(|count| *count as u64 <= CONTENTS_MAX)?;
        let mut bytes = vec![0; 8 * count];
        self.memory
            .read(address, &mut bytes)
            .then(|| bytes.chunks_exact(8).map(|each| word(each, 0)).collect())
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|word| word.try_into().ok()).map_or(0, u64::from_ne_bytes)
}
