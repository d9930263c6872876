//! Exceptions: type, message, traceback, and the exceptions before and inside them.
//!
//! Invariants: bounded in depth, number and text, whatever chain or circle they form; no code of the process is run,
//! so that a `__str__` written in Python is not heard: the arguments stand in its place.

pub mod parts;

use crate::code::Codes;
use crate::object::{ITEMS_MAX, Kind, Objects, Says, TEXT_CHARS_MAX, TypeName};
use crate::text;
use crate::traceback::{self, Traceback};

/// Exceptions of one chain or one group, and all that hang together.
const CHAIN_MAX: usize = 8;
const ALL_MAX: usize = 24;
const NOTES_MAX: usize = 8;

/// Where the fields of the subclasses in C begin to count from: the end of `PyBaseExceptionObject`
/// (Include/cpython/pyerrors.h). The order of each one's fields has not changed since 3.8.
const ERRNO: u32 = 0;
const STRERROR: u32 = 8;
const FILENAME: u32 = 16;
const FILENAME2: u32 = 24;
const MESSAGE: u32 = 0;
const SYNTAX_FILENAME: u32 = 8;
const SYNTAX_LINE: u32 = 16;
const ENCODING: u32 = 0;
const OBJECT: u32 = 8;
const START: u32 = 16;
const END: u32 = 24;
const REASON: u32 = 32;
const GROUP_EXCEPTIONS: u32 = 8;
/// `PyBaseExceptionObject.dict`: the instance's attributes.
const DICT: u32 = 16;

/// How an exception came after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `raise ... from`: `__cause__`.
    Cause,
    /// It was raised while the other was handled: `__context__`.
    Context,
}

/// An exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Its type.
    pub name: TypeName,
    /// What `str()` would give; where only code could tell, its arguments. `None`: not known.
    pub message: Option<String>,
    /// `__notes__` (PEP 678).
    pub notes: Vec<String>,
    /// The frames it has left.
    pub traceback: Traceback,
    /// The one before it.
    pub earlier: Option<(Relation, Box<Exception>)>,
    /// The ones inside a group. `None`: it is no group.
    pub group: Option<Vec<Exception>>,
}

/// Reads the exception at `address` and what hangs on it. `None`: there is none (any more).
pub fn read(objects: &Objects<'_>, codes: &mut Codes, address: u64) -> Option<Exception> {
    let mut seen = Vec::new();
    Reader { objects, codes, seen: &mut seen }.read(address, CHAIN_MAX)
}

struct Reader<'a, 'b> {
    objects: &'a Objects<'a>,
    codes: &'b mut Codes,
    seen: &'b mut Vec<u64>,
}

impl Reader<'_, '_> {
    fn read(&mut self, address: u64, depth: usize) -> Option<Exception> {
        let objects = self.objects;
        if depth == 0 || self.seen.len() >= ALL_MAX || self.seen.contains(&address) {
            return None;
        }
        self.seen.push(address);
        if !objects.is_exception(address) {
            return None;
        }
        let layout = &objects.layout.exception;
        let kind = objects.kind(objects.type_of(address)?)?;
        let traceback = traceback::read(objects, self.codes, objects.pointer(address, layout.traceback));
        Some(Exception {
            message: message(objects, address, &kind),
            notes: notes(objects, address),
            traceback,
            earlier: self.earlier(address, depth),
            group: kind.is_group.then(|| self.group(address, depth)),
            name: kind.name,
        })
    }

    /// The cause goes before the context, as in Python's own tracebacks.
    fn earlier(&mut self, address: u64, depth: usize) -> Option<(Relation, Box<Exception>)> {
        let layout = &self.objects.layout.exception;
        let pointer = |offset| self.objects.pointer(address, offset);
        if let Some(cause) = pointer(layout.cause) {
            return Some((Relation::Cause, Box::new(self.read(cause, depth - 1)?)));
        }
        let suppressed = self.objects.word(address, layout.suppress_context)? & 0xff != 0;
        let context = pointer(layout.context).filter(|_| !suppressed)?;
        Some((Relation::Context, Box::new(self.read(context, depth - 1)?)))
    }

    fn group(&mut self, address: u64, depth: usize) -> Vec<Exception> {
        let members =
            own(self.objects, address, GROUP_EXCEPTIONS).and_then(|members| self.objects.tuple(members));
        let (members, _) = members.unwrap_or_default();
        members.into_iter().filter_map(|member| self.read(member, depth - 1)).collect()
    }
}

/// A field of a subclass in C.
fn own(objects: &Objects<'_>, address: u64, field: u32) -> Option<u64> {
    objects.pointer(address, objects.layout.exception.suppress_context + 8 + field)
}

fn number(objects: &Objects<'_>, address: u64, field: u32) -> Option<i64> {
    let value = objects.word(address, objects.layout.exception.suppress_context + 8 + field)?;
    Some(value.cast_signed())
}

/// What `str()` gives of an exception, or its arguments where its type has its own code for that.
pub fn message(objects: &Objects<'_>, address: u64, kind: &Kind) -> Option<String> {
    let (args, size) = objects.tuple(objects.pointer(address, objects.layout.exception.args)?)?;
    let text = |field| Some(objects.str_of(own(objects, address, field)?));
    let special = match kind.says {
        Says::Arguments | Says::OwnCode => None,
        Says::Key => match args.as_slice() {
            [key] if size == 1 => Some(objects.repr(*key)),
            _ => None,
        },
        Says::OsError => os_error(objects, address),
        Says::Import => text(MESSAGE).filter(|message| message != "None"),
        Says::Syntax => syntax_error(objects, address),
        Says::Decode => codec_error(objects, address, "decode"),
        Says::Encode => codec_error(objects, address, "encode"),
        Says::Group => text(MESSAGE).map(|message| {
            let members = own(objects, address, GROUP_EXCEPTIONS).and_then(|members| objects.tuple(members));
            let count = members.map_or(0, |(_, count)| count);
            format!("{message} ({count} sub-exception{})", if count > 1 { "s" } else { "" })
        }),
    };
    let plain = || match args.as_slice() {
        [] => String::new(),
        [only] if size == 1 => objects.str_of(*only),
        _ => objects.tuple_repr(&args, size),
    };
    Some(cut(special.unwrap_or_else(plain)))
}

fn os_error(objects: &Objects<'_>, address: u64) -> Option<String> {
    let field = |field| own(objects, address, field).map(|value| objects.str_of(value));
    let file = |field| own(objects, address, field).map(|value| objects.repr(value));
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "None".to_owned());
    let (errno, strerror) = (field(ERRNO), field(STRERROR));
    let Some(first) = file(FILENAME) else {
        return Some(format!("[Errno {}] {}", errno?, strerror?));
    };
    let head = format!("[Errno {}] {}: {first}", or_none(errno), or_none(strerror));
    Some(match file(FILENAME2) {
        Some(second) => format!("{head} -> {second}"),
        None => head,
    })
}

fn syntax_error(objects: &Objects<'_>, address: u64) -> Option<String> {
    let field = |field| own(objects, address, field).map(|value| objects.str_of(value));
    let known = |text: &String| text != "None";
    let message = field(MESSAGE)?;
    let file = field(SYNTAX_FILENAME).filter(known);
    let file = file.as_deref().map(|file| file.rsplit('/').next().unwrap_or(file));
    Some(match (file, field(SYNTAX_LINE).filter(known)) {
        (Some(file), Some(line)) => format!("{message} ({file}, line {line})"),
        (Some(file), None) => format!("{message} ({file})"),
        (None, Some(line)) => format!("{message} (line {line})"),
        (None, None) => message,
    })
}

/// `UnicodeDecodeError` and `UnicodeEncodeError` (Objects/exceptions.c).
fn codec_error(objects: &Objects<'_>, address: u64, verb: &str) -> Option<String> {
    let text = |field| Some(objects.str_of(own(objects, address, field)?));
    let (encoding, reason) = (text(ENCODING)?, text(REASON)?);
    let (start, end) = (number(objects, address, START)?, number(objects, address, END)?);
    let one = || -> Option<String> {
        let object = own(objects, address, OBJECT)?;
        let at = usize::try_from(start).ok().filter(|at| *at < 1 << 20)?;
        if verb == "decode" {
            return Some(format!("byte 0x{:02x}", objects.bytes(object, at + 1)?.get(at)?));
        }
        let code_point = text::code_point(objects.memory, objects.layout, object, at as u64)?;
        Some(match code_point {
            0..=0xff => format!("character '\\x{code_point:02x}'"),
            0x100..=0xffff => format!("character '\\u{code_point:04x}'"),
            _ => format!("character '\\U{code_point:08x}'"),
        })
    };
    let what = if let Some(one) = one().filter(|_| end == start.saturating_add(1)) {
        format!("{one} in position {start}")
    } else {
        let units = if verb == "decode" { "bytes" } else { "characters" };
        format!("{units} in position {start}-{}", end.saturating_sub(1))
    };
    Some(format!("'{encoding}' codec can't {verb} {what}: {reason}"))
}

fn notes(objects: &Objects<'_>, address: u64) -> Vec<String> {
    let notes = objects.pointer(address, DICT).and_then(|dict| objects.of_dict(dict, "__notes__"));
    let items = notes.and_then(|notes| objects.list(notes));
    let items = items.unwrap_or_default().into_iter().take(NOTES_MAX.min(ITEMS_MAX));
    items.map(|note| cut(objects.str_of(note))).collect()
}

/// At most [`TEXT_CHARS_MAX`] characters, and a sign that there were more.
pub(crate) fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARS_MAX)
        && !(text[end..].len() == '\u{2026}'.len_utf8() && text.ends_with('\u{2026}'))
    {
        text.truncate(end);
        text.push('\u{2026}');
    }
    text
}
