//! The dynamic table as far as it is known (RFC 7541 section 2.3.2 and 4).
//!
//! Indexes count from the newest entry, so an entry that was seen is found by exactly its index, whatever stood
//! in the table before. To keep an entry for longer than the encoder does is harmless: it does not refer to what
//! it has evicted. So sizes may be estimated low where a name is unknown, but an entry that the encoder may have
//! added must never be left out. Invariant: at most `MAX_BYTES` of text are kept.

use std::borrow::Cow;
use std::collections::VecDeque;

/// Most memory of a table, by HPACK's count. Entries beyond are known to exist, not what they hold.
const MAX_BYTES: u64 = 64 * 1024;
/// What an entry counts beside its text (section 4.1).
const OVERHEAD: u64 = 32;
/// What the encoder may use before anything is said (RFC 9113 section 6.5.2).
const DEFAULT_LIMIT: u64 = 4096;

/// An octet string, or the knowledge that it is not known.
pub(super) type Text = Option<Cow<'static, [u8]>>;

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub name: Text,
    pub value: Text,
}

impl Entry {
    /// At least so much it counts.
    fn size(&self) -> u64 {
        let length = |text: &Text| text.as_ref().map_or(0, |text| text.len() as u64);
        OVERHEAD + length(&self.name) + length(&self.value)
    }
}

#[derive(Debug)]
pub(super) struct Table {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: u64,
    limit: u64,
    /// Every entry that the encoder may refer to is here.
    complete: bool,
}

/// What an index stands for.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Entry(&'a Entry),
    /// An entry from before the probe looked.
    Unknown,
    /// No such entry: the block is broken.
    Nothing,
}

impl Table {
    pub fn new(from_start: bool) -> Self {
        let limit = if from_start { DEFAULT_LIMIT } else { MAX_BYTES };
        Self { entries: VecDeque::new(), size: 0, limit, complete: from_start }
    }

    /// The entry of an index that counts from 0.
    pub fn get(&self, index: u64) -> Found<'_> {
        match usize::try_from(index).ok().and_then(|index| self.entries.get(index)) {
            Some(entry) => Found::Entry(entry),
            None if self.complete => Found::Nothing,
            None => Found::Unknown,
        }
    }

    pub fn add(&mut self, mut entry: Entry) {
        if entry.size() > self.limit {
            // Section 4.4: it empties the table. If there is more room in truth than is kept here, it is in it.
            self.entries.clear();
            self.size = 0;
            if self.limit < MAX_BYTES {
                return;
            }
            entry = Entry { name: None, value: None };
            self.complete = false;
        }
        self.size += entry.size();
        self.entries.push_front(entry);
        self.evict();
    }

    /// The encoder says how much it uses from now on (section 6.3).
    pub fn resize(&mut self, limit: u64) {
        if limit > MAX_BYTES {
            self.complete = false;
        }
        self.limit = limit.min(MAX_BYTES);
        self.evict();
    }

    /// The decoder lets the encoder use so much. It will say if it uses less.
    pub fn allow(&mut self, limit: u64) {
        self.limit = self.limit.max(limit.min(MAX_BYTES));
    }

    /// Entries may have been added unseen.
    pub fn lose(&mut self) {
        *self = Self::new(false);
    }

    fn evict(&mut self) {
        while self.size > self.limit {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.size -= oldest.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, value: &str) -> Entry {
        let text = |text: &str| Some(Cow::Owned(text.as_bytes().to_vec()));
        Entry { name: text(name), value: text(value) }
    }

    fn value(table: &Table, index: u64) -> String {
        match table.get(index) {
            Found::Entry(Entry { value: Some(value), .. }) => String::from_utf8(value.to_vec()).unwrap(),
            Found::Entry(_) => "untold".to_owned(),
            Found::Unknown => "unknown".to_owned(),
            Found::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn the_newest_comes_first_and_the_oldest_goes() {
        let mut table = Table::new(true);
        for number in 0..200 {
            table.add(entry("name", &format!("{number:04}")));
        }
        // 4096 / (4 + 4 + 32)
        assert_eq!([0, 101, 102].map(|at| value(&table, at)), ["0199", "0098", "nothing"]);
        table.resize(80);
        assert_eq!([0, 1, 2].map(|at| value(&table, at)), ["0199", "0198", "nothing"]);
        table.add(entry("name", &"x".repeat(80)));
        assert_eq!(value(&table, 0), "nothing");
    }

    #[test]
    fn what_was_there_before_is_unknown() {
        let mut table = Table::new(false);
        assert_eq!(value(&table, 0), "unknown");
        table.add(entry("a", "1"));
        assert_eq!([0, 1].map(|at| value(&table, at)), ["1", "unknown"]);
        table.lose();
        table.add(entry("b", "2"));
        assert_eq!([0, 1].map(|at| value(&table, at)), ["2", "unknown"]);
    }

    #[test]
    fn an_entry_too_large_to_keep_keeps_its_place() {
        let mut table = Table::new(true);
        table.allow(1 << 30);
        table.resize(1 << 30);
        table.add(entry("a", "1"));
        table.add(entry("a", &"x".repeat(70_000)));
        table.add(entry("b", "2"));
        assert_eq!([0, 1, 2].map(|at| value(&table, at)), ["2", "untold", "unknown"]);
    }
}
