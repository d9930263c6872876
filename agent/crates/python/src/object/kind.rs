//! Types: what they are called, and how an exception of the type turns into text.

use super::{HEAP_TYPE, IS_STR, Objects};

/// `PyTypeObject.tp_mro` (Include/cpython/object.h), a tuple; at this place from 3.8 to 3.14.
const TYPE_MRO: u32 = 344;

/// No chain of bases is followed further.
const BASES_MAX: usize = 64;
const NAME_CHARS_MAX: usize = 256;

/// A type's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TypeName {
    /// `__module__`; `None`: not known.
    pub module: Option<String>,
    /// `__qualname__`.
    pub qualname: String,
}

/// How `str()` makes text of an exception, as far as that can be known without running code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// `BaseException.__str__`: the only argument, or all of them as a tuple.
    Arguments,
    /// `KeyError.__str__`: the only argument's `repr`.
    Key,
    /// `OSError.__str__`: the error number, its text and the files.
    OsError,
    /// `ImportError.__str__`: its own message.
    Import,
    /// `SyntaxError.__str__`: its own message, the file and the line.
    Syntax,
    /// `UnicodeDecodeError.__str__`.
    Decode,
    /// `UnicodeEncodeError.__str__`.
    Encode,
    /// `BaseExceptionGroup.__str__`: its own message and how many it holds.
    Group,
    /// Code of its own, which is not run: the arguments have to do.
    OwnCode,
}

/// A type of exceptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// What it is called.
    pub name: TypeName,
    /// How its instances turn into text.
    pub says: Says,
    /// They are exception groups (PEP 654).
    pub is_group: bool,
}

impl TypeName {
    /// `module.QualName`; the module is left out for the built-in ones, as OpenTelemetry's SDK for Python does.
    pub fn full(&self) -> String {
        self.with_module(&["builtins"])
    }

    /// As Python's tracebacks show it: the module `__main__` is left out too.
    pub fn in_traceback(&self) -> String {
        self.with_module(&["builtins", "__main__"])
    }

    fn with_module(&self, left_out: &[&str]) -> String {
        match self.module.as_deref() {
            Some(module) if !left_out.contains(&module) => format!("{module}.{}", self.qualname),
            Some(_) => self.qualname.clone(),
            // As Python itself does where a type has no module.
            None => format!("<unknown>.{}", self.qualname),
        }
    }

    /// `__name__`: the last part.
    pub(crate) fn last(&self) -> &str {
        self.qualname.rsplit('.').next().unwrap_or(&self.qualname)
    }
}

impl Objects<'_> {
    /// What a type at this address is. `None`: it is none, or cannot be read.
    pub fn kind(&self, address: u64) -> Option<Kind> {
        let (says, is_group) = self.says(address);
        Some(Kind { name: self.type_name(address)?, says, is_group })
    }

    /// A type's module and name.
    pub fn type_name(&self, address: u64) -> Option<TypeName> {
        let object = &self.layout.object;
        if self.flags_of_type(address)? & HEAP_TYPE == 0 {
            let name = self.c_string(self.pointer(address, object.type_name)?)?;
            return Some(match name.rsplit_once('.') {
                Some((module, qualname)) => {
                    TypeName { module: Some(module.into()), qualname: qualname.into() }
                }
                None => TypeName { module: Some("builtins".into()), qualname: name },
            });
        }
        let qualname = self.str(self.pointer(address, object.type_qualname)?, NAME_CHARS_MAX)?.text;
        let module =
            self.own_attribute(address, "__module__").and_then(|module| self.str(module, NAME_CHARS_MAX));
        Some(TypeName { module: module.map(|module| module.text), qualname })
    }

    /// Follows the type's bases in the order of method resolution to the first that says how to make text.
    fn says(&self, address: u64) -> (Says, bool) {
        let mut says = None;
        let mut is_group = false;
        for base in self.bases(address) {
            let Some(flags) = self.flags_of_type(base) else { break };
            if flags & HEAP_TYPE != 0 {
                if says.is_none() && self.own_attribute(base, "__str__").is_some() {
                    says = Some(Says::OwnCode);
                }
                continue;
            }
            let name = self.pointer(base, self.layout.object.type_name).and_then(|name| self.c_string(name));
            let found = match name.as_deref() {
                Some("KeyError") => Says::Key,
                Some("OSError") => Says::OsError,
                Some("ImportError") => Says::Import,
                Some("SyntaxError") => Says::Syntax,
                Some("UnicodeDecodeError") => Says::Decode,
                Some("UnicodeEncodeError") => Says::Encode,
                Some("BaseExceptionGroup") => {
                    is_group = true;
                    Says::Group
                }
                Some("BaseException") => Says::Arguments,
                _ => continue,
            };
            says.get_or_insert(found);
        }
        (says.unwrap_or(Says::OwnCode), is_group)
    }

    pub(super) fn bases(&self, address: u64) -> Vec<u64> {
        let object = &self.layout.object;
        let found = self.pointer(address, TYPE_MRO).and_then(|mro| {
            let size = self.word(mro, object.size)?.min(BASES_MAX as u64);
            (0..size).map(|index| self.word(mro, object.tuple_items + 8 * index as u32)).collect()
        });
        found.unwrap_or_default()
    }

    /// What a type's own dict holds under `name`.
    fn own_attribute(&self, kind: u64, name: &str) -> Option<u64> {
        self.of_dict(self.pointer(kind, self.layout.object.type_dict)?, name)
    }

    /// What a dict holds under `name`.
    pub(crate) fn of_dict(&self, dict: u64, name: &str) -> Option<u64> {
        self.named(&self.entries(dict)?, name)
    }

    pub(super) fn is_str(&self, address: u64, text: &str) -> bool {
        // Most keys differ in their length: told by one read.
        self.word(address, self.layout.object.str_length) == Some(text.len() as u64)
            && self.flags(address).is_some_and(|flags| flags & IS_STR != 0)
            && self.str(address, NAME_CHARS_MAX).is_some_and(|found| found.text == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_their_readers_expect() {
        let name = |module: Option<&str>, qualname: &str| TypeName {
            module: module.map(str::to_owned),
            qualname: qualname.to_owned(),
        };
        for (name, full, in_traceback, last) in [
            (name(Some("builtins"), "ValueError"), "ValueError", "ValueError", "ValueError"),
            (name(Some("__main__"), "A.B"), "__main__.A.B", "A.B", "B"),
            (name(Some("shop.errors"), "NoStock"), "shop.errors.NoStock", "shop.errors.NoStock", "NoStock"),
            (name(None, "X"), "<unknown>.X", "<unknown>.X", "X"),
        ] {
            assert_eq!(
                (name.full(), name.in_traceback(), name.last()),
                (full.into(), in_traceback.into(), last)
            );
        }
    }
}
