//! Code objects: the file, the function, and the line of each instruction.
//!
//! Invariant: what is remembered of a code object is used only while the object at its address is still the same.

pub mod lines;

use std::collections::HashMap;
use std::sync::Arc;

use crate::object::Objects;
use crate::text;

/// Longer file names and function names are cut.
const NAME_CHARS_MAX: usize = 512;
/// Longer tables are not read: their code has no lines then.
const TABLE_BYTES_MAX: usize = 1 << 17;
/// Beyond so many code objects all are forgotten, and read again when they are met.
const KNOWN_MAX: usize = 8192;

/// What is known of a code object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// `co_filename`.
    pub file: Arc<str>,
    /// `co_name`.
    pub function: Arc<str>,
    /// `co_firstlineno`.
    pub first_line: i32,
    table: Vec<u8>,
}

/// One line of a traceback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The file, as the code object names it.
    pub file: Arc<str>,
    /// The line that was running; `None`: the instruction has none.
    pub line: Option<u32>,
    /// The function.
    pub function: Arc<str>,
}

/// The code objects of one process that were met so far.
#[derive(Debug, Default)]
pub struct Codes {
    known: HashMap<u64, (Mark, Arc<Code>)>,
}

/// Tells a code object from another that came to stand at its address: where its parts are, and its first line.
type Mark = [u64; 4];

impl Codes {
    /// The frame of code at `address`, `offset` bytes into its instructions. `None`: there is no code object.
    pub fn frame(&mut self, objects: &Objects<'_>, address: u64, offset: u32) -> Option<Frame> {
        let code = self.code(objects, address)?;
        // Code that no interpreter runs (Cython's) has a line, and no table.
        let line = if code.table.is_empty() {
            u32::try_from(code.first_line).ok()
        } else {
            lines::line(objects.layout.code.lines, &code.table, code.first_line, offset)
        };
        Some(Frame { file: code.file.clone(), line, function: code.function.clone() })
    }

    fn code(&mut self, objects: &Objects<'_>, address: u64) -> Option<Arc<Code>> {
        let mark = mark(objects, address)?;
        if let Some((known, code)) = self.known.get(&address)
            && *known == mark
        {
            return Some(code.clone());
        }
        let code = Arc::new(read(objects, address, mark)?);
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(address, (mark, code.clone()));
        Some(code)
    }
}

fn mark(objects: &Objects<'_>, address: u64) -> Option<Mark> {
    let layout = &objects.layout.code;
    let first_line = objects.memory.read_u32(address.checked_add(layout.firstlineno.into())?)?;
    Some([
        objects.pointer(address, layout.filename)?,
        objects.pointer(address, layout.name)?,
        objects.pointer(address, layout.lines.offset())?,
        first_line.into(),
    ])
}

fn read(objects: &Objects<'_>, address: u64, [file, function, table, first_line]: Mark) -> Option<Code> {
    let kind = objects.type_name(objects.type_of(address)?)?;
    if kind.qualname != "code" {
        return None;
    }
    let name =
        |address| Some(text::read(objects.memory, objects.layout, address, NAME_CHARS_MAX)?.text.into());
    Some(Code {
        file: name(file)?,
        function: name(function)?,
        first_line: (first_line as u32).cast_signed(),
        table: objects.bytes(table, TABLE_BYTES_MAX)?,
    })
}
