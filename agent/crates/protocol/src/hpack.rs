//! Header blocks of HTTP/2 to fields (RFC 7541), as somebody who listens in and may have come late.
//!
//! What refers to an entry of the dynamic table that was not seen is unknown, never something else: entries are
//! counted from the newest, so those that were seen are found exactly, and the table heals as entries are added.
//! Invariants: total; memory and output are bounded by the block and by 64 KiB of table.

mod huffman;
mod integer;
mod static_table;
mod table;

use std::borrow::Cow;

use integer::{Reader, Unread};
use table::{Entry, Found, Table, Text};

/// One field of a block. `None`: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// In lower case, as HTTP/2 has it.
    pub name: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
}

/// How far a block could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// To its end.
    Whole,
    /// To where the bytes that were seen end.
    Cut,
    /// To something that no encoder writes.
    Broken,
}

/// The decoder's state: one for each direction of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    /// `from_start`: every block will be given, none has passed before.
    pub fn new(from_start: bool) -> Self {
        Self { table: Table::new(from_start), name: Vec::new(), value: Vec::new() }
    }

    /// Reads the next block and tells its fields in order. Not `whole`: the bytes are only its beginning; what
    /// stood in the table before is not known any more then.
    pub fn decode(&mut self, block: &[u8], whole: bool, sink: &mut dyn FnMut(Field<'_>)) -> Extent {
        let mut reader = Reader(block);
        let mut extent = if whole { Extent::Whole } else { Extent::Cut };
        while let Some(first) = reader.peek() {
            match self.field(first, &mut reader, sink) {
                Ok(()) => {}
                Err(Unread::Cut) if !whole => break,
                Err(_) => {
                    extent = Extent::Broken;
                    break;
                }
            }
        }
        if extent != Extent::Whole {
            self.lose();
        }
        for buffer in [&mut self.name, &mut self.value] {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES);
        }
        extent
    }

    /// Blocks may have been missed: the entries so far are unknown, those that are added will be known.
    pub fn lose(&mut self) {
        self.table.lose();
    }

    /// The other end's SETTINGS let the encoder use a table of so many bytes.
    pub fn allow(&mut self, table_bytes: u32) {
        self.table.allow(u64::from(table_bytes));
    }

    /// One representation (section 6).
    fn field(
        &mut self,
        first: u8,
        reader: &mut Reader<'_>,
        sink: &mut dyn FnMut(Field<'_>),
    ) -> Result<(), Unread> {
        match first {
            0x80.. => {
                let entry = self.entry(reader.integer(7)?)?;
                sink(Field { name: entry.name.as_deref(), value: entry.value.as_deref() });
            }
            0x40.. => {
                let name = self.literal(6, reader, sink)?;
                let value = Some(Cow::Owned(self.value.clone()));
                self.table.add(Entry { name, value });
            }
            0x20.. => self.table.resize(reader.integer(5)?),
            _ => {
                self.literal(4, reader, sink)?;
            }
        }
        Ok(())
    }

    /// Name by index or as a string, then the value. Gives the name back.
    fn literal(
        &mut self,
        bits: u32,
        reader: &mut Reader<'_>,
        sink: &mut dyn FnMut(Field<'_>),
    ) -> Result<Text, Unread> {
        let name: Text = match reader.integer(bits)? {
            0 => {
                reader.string(&mut self.name)?;
                Some(Cow::Owned(self.name.clone()))
            }
            index => self.entry(index)?.name,
        };
        let read = reader.string(&mut self.value);
        let value = read.is_ok().then_some(&self.value[..]);
        sink(Field { name: name.as_deref(), value });
        read.map(|()| name)
    }

    fn entry(&self, index: u64) -> Result<Entry, Unread> {
        if let Some((name, value)) = static_table::get(index) {
            return Ok(Entry { name: Some(Cow::Borrowed(name)), value: Some(Cow::Borrowed(value)) });
        }
        // Index 0 stands for nothing (section 6.1).
        let index = index.checked_sub(static_table::LEN + 1).ok_or(Unread::Broken)?;
        match self.table.get(index) {
            Found::Entry(entry) => Ok(entry.clone()),
            Found::Unknown => Ok(Entry { name: None, value: None }),
            Found::Nothing => Err(Unread::Broken),
        }
    }
}

/// Room that an idle decoder keeps.
const KEPT_BYTES: usize = 256;
