//! The types of a compiled BPF object.
//!
//! `aya-obj` parses the object, independently of libbpf, which loads it. It tells a type's id by its
//! name, but keeps the members to itself; so they are read here from what it writes out again, and a type
//! must have the same id in both readings. Layout: the kernel's `Documentation/bpf/btf.rst`.
//!
//! Invariant: broken bytes give an error, never a panic.

use std::path::Path;

use anyhow::{Context, Result, bail};
use aya_obj::Object;
use aya_obj::btf::{Btf, BtfKind};

/// Bytes of the parts that have a fixed size: `struct btf_header`, `btf_type`, `btf_member`, `btf_enum`.
const HEADER_BYTES: usize = 24;
const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;
const ENUM_BYTES: usize = 8;
const ENUM64_BYTES: usize = 12;
/// How deep typedefs, qualifiers and arrays may nest.
const DEPTH_MAX: usize = 32;

/// The types of one object. Type 0 is `void`.
pub struct Types {
    /// What `aya-obj` made of the same bytes.
    parsed: Btf,
    types: Vec<Type>,
}

struct Type {
    name: String,
    kind: u32,
    /// The size in bytes, or the id of the type that this one is made from.
    size_or_base: u32,
    /// Of a struct: name, type id, offset in bits. Of an enum: name, 0, value.
    members: Vec<(String, u32, u64)>,
    /// Of an array: its element's type and their number.
    array: (u32, u32),
}

/// A struct as C lays it out, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// The size of the whole.
    pub size_bytes: usize,
    /// Name, offset and size of every field, in order.
    pub fields: Vec<(String, usize, usize)>,
}

impl Types {
    /// Reads the types of a compiled object.
    pub fn read(path: &Path) -> Result<Self> {
        let file = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let object = Object::parse(&file).context("aya-obj cannot parse the object")?;
        let parsed = object.btf.context("the object has no BTF: compiled without -g?")?;
        let types = read_types(&parsed.to_bytes()).context("the object's BTF is cut short")?;
        Ok(Self { parsed, types })
    }

    /// The layout of `struct NAME`. None where the object has no such struct.
    pub fn layout(&self, name: &str) -> Result<Option<Layout>> {
        let Ok(id) = self.parsed.id_by_type_name_kind(name, BtfKind::Struct) else { return Ok(None) };
        let found =
            self.types.get(id as usize).filter(|found| found.name == name && found.kind == kind::STRUCT);
        let Some(found) = found else { bail!("type {id} is not `struct {name}` in both readings") };
        let mut fields = Vec::new();
        for (field, type_id, offset_bits) in &found.members {
            let offset_bytes = usize::try_from(offset_bits / 8)?;
            fields.push((field.clone(), offset_bytes, self.size_bytes(*type_id)?));
        }
        Ok(Some(Layout { size_bytes: found.size_or_base as usize, fields }))
    }

    /// The names of the structs that are fields of `struct NAME`.
    pub fn parts(&self, name: &str) -> Vec<&str> {
        let whole = self.types.iter().find(|found| found.kind == kind::STRUCT && found.name == name);
        let members = whole.map_or(&[][..], |found| &found.members);
        members
            .iter()
            .filter_map(|(_, type_id, _)| self.types.get(*type_id as usize))
            .filter(|part| part.kind == kind::STRUCT)
            .map(|part| part.name.as_str())
            .collect()
    }

    /// The value of an enum's constant.
    pub fn constant(&self, name: &str) -> Option<u64> {
        let enums = self.types.iter().filter(|found| matches!(found.kind, kind::ENUM | kind::ENUM64));
        enums.flat_map(|found| &found.members).find(|(constant, ..)| constant == name).map(|found| found.2)
    }

    fn size_bytes(&self, type_id: u32) -> Result<usize> {
        let (mut type_id, mut count) = (type_id, 1);
        for _ in 0..DEPTH_MAX {
            let found = self.types.get(type_id as usize).context("a type id points nowhere")?;
            match found.kind {
                kind::ARRAY => {
                    type_id = found.array.0;
                    count *= found.array.1 as usize;
                }
                kind::POINTER => return Ok(count * 8),
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    type_id = found.size_or_base;
                }
                _ => return Ok(count * found.size_or_base as usize),
            }
        }
        bail!("types nest more than {DEPTH_MAX} deep")
    }
}

/// `BTF_KIND_*` of the kernel's `include/uapi/linux/btf.h`.
mod kind {
    pub const INT: u32 = 1;
    pub const POINTER: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNCTION_PROTOTYPE: u32 = 13;
    pub const VARIABLE: u32 = 14;
    pub const DATA_SECTION: u32 = 15;
    pub const DECLARATION_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// None where the bytes end too early.
fn read_types(bytes: &[u8]) -> Option<Vec<Type>> {
    let types_at = HEADER_BYTES + word(bytes, 8)? as usize;
    let types = bytes.get(types_at..)?.get(..word(bytes, 12)? as usize)?;
    let strings = bytes.get(HEADER_BYTES + word(bytes, 16)? as usize..)?;
    let mut read =
        vec![Type { name: String::new(), kind: 0, size_or_base: 0, members: Vec::new(), array: (0, 0) }];
    let mut rest = types;
    while !rest.is_empty() {
        let info = word(rest, 4)?;
        let (kind, count, has_bitfields) = (info >> 24 & 0x1f, (info & 0xffff) as usize, info >> 31 == 1);
        let (name, size_or_base) = (string(strings, word(rest, 0)?)?, word(rest, 8)?);
        rest = rest.get(TYPE_BYTES..)?;
        let each_bytes = match kind {
            kind::STRUCT | kind::UNION | kind::DATA_SECTION => MEMBER_BYTES,
            kind::ENUM64 => ENUM64_BYTES,
            kind::ENUM | kind::FUNCTION_PROTOTYPE => ENUM_BYTES,
            _ => 0,
        };
        let extra_bytes = match kind {
            kind::INT | kind::VARIABLE | kind::DECLARATION_TAG => 4,
            kind::ARRAY => 12,
            _ => count * each_bytes,
        };
        let extra = rest.get(..extra_bytes)?;
        rest = &rest[extra_bytes..];
        let array = if kind == kind::ARRAY { (word(extra, 0)?, word(extra, 8)?) } else { (0, 0) };
        let mut members = Vec::new();
        if matches!(kind, kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64) {
            for member in extra.chunks_exact(each_bytes) {
                let name = string(strings, word(member, 0)?)?;
                let (second, third) = (word(member, 4)?, word(member, 8).unwrap_or(0));
                members.push(match kind {
                    kind::ENUM => (name, 0, u64::from(second)),
                    kind::ENUM64 => (name, 0, u64::from(third) << 32 | u64::from(second)),
                    _ if has_bitfields => (name, second, u64::from(third & 0x00ff_ffff)),
                    _ => (name, second, u64::from(third)),
                });
            }
        }
        read.push(Type { name, kind, size_or_base, members, array });
    }
    Some(read)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn string(strings: &[u8], at: u32) -> Option<String> {
    let rest = strings.get(at as usize..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use std::process::Command;

    use super::*;

    /// Compiled here, so that the compiler is the authority on the layout.
    const SOURCE: &str = "
        typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;
        enum limit { SMALL = 16, LARGE = 70000 };
        struct inner { u16 a; u8 b[6]; };
        struct outer { unsigned long long at_ns; u32 size; struct inner in[2]; volatile u32 v; void *next;
                       enum limit limit; u8 data[]; };
        struct contract { enum limit l; struct inner i; struct outer o; };
        const struct contract *contract;
    ";

    pub fn compile(name: &str) -> Types {
        let base = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        let (source, object) = (base.with_extension("c"), base.with_extension("o"));
        std::fs::write(&source, SOURCE).unwrap();
        let clang = Command::new("clang")
            .args(["-g", "-O2", "-target", "bpf", "-w", "-c"])
            .arg(&source)
            .arg("-o")
            .arg(&object)
            .status();
        std::fs::remove_file(&source).unwrap();
        assert!(clang.expect("clang is needed to build the probe").success());
        let types = Types::read(&object).unwrap();
        std::fs::remove_file(&object).unwrap();
        types
    }

    #[test]
    fn layouts_and_constants_are_those_of_the_compiler() {
        let types = compile("layouts");
        let layout = types.layout("outer").unwrap().unwrap();
        let fields: Vec<(&str, usize, usize)> =
            layout.fields.iter().map(|(name, offset, size)| (name.as_str(), *offset, *size)).collect();
        assert_eq!(
            fields,
            [
                ("at_ns", 0, 8),
                ("size", 8, 4),
                ("in", 12, 16),
                ("v", 28, 4),
                ("next", 32, 8),
                ("limit", 40, 4),
                ("data", 44, 0)
            ]
        );
        assert_eq!(layout.size_bytes, 48);
        assert_eq!(types.layout("missing").unwrap(), None);
        assert_eq!(types.parts("contract"), ["inner", "outer"]);
        assert_eq!(types.constant("LARGE"), Some(70000));
        assert_eq!(types.constant("MISSING"), None);
    }

    #[test]
    fn bytes_cut_anywhere_are_an_error_and_no_panic() {
        let whole = compile("cut").parsed.to_bytes();
        assert!(read_types(&whole).is_some());
        for length in 0..whole.len() - 1 {
            assert!(read_types(&whole[..length]).is_none(), "cut at {length}");
        }
    }
}
