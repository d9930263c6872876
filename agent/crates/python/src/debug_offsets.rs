//! `_Py_DebugOffsets`: what an interpreter since 3.13 says of its own layout, at the start of `_PyRuntime`
//! (`Include/internal/pycore_runtime.h`, since 3.14 `pycore_debug_offsets.h`). It holds no offset of the context, of the
//! exception or of the thread state's key, so it checks the table and does not replace it.

use thiserror::Error;

use crate::layout::{Frame, Top};
use crate::{Layout, Version};

const COOKIE: &[u8; 8] = b"xdebugpy";

/// The fields that are compared: which word after the cookie, the version and the flag.
const FIELDS_3_13: &[(usize, &str)] = &[
    (2, "runtime.interpreters_head"),
    (5, "interpreter.next"),
    (6, "interpreter.threads_head"),
    (8, "interpreter.modules"),
    (11, "interpreter.gil"),
    (18, "thread.next"),
    (19, "thread.interp"),
    (20, "thread.top"),
    (21, "thread.thread_id"),
    (22, "thread.native_thread_id"),
    (26, "frame.previous"),
    (27, "frame.code"),
    (28, "frame.instruction"),
    (30, "frame.owner"),
    (32, "code.filename"),
    (33, "code.name"),
    (34, "code.qualname"),
    (35, "code.lines"),
    (36, "code.firstlineno"),
    (40, "code.first_instruction"),
    (42, "object.kind"),
    (44, "object.type_name"),
    (46, "object.type_flags"),
    (48, "object.tuple_items"),
    (49, "object.size"),
    (51, "object.list_items"),
    (52, "object.size"),
    (54, "object.dict_keys"),
    (55, "object.dict_values"),
    (62, "object.size"),
    (63, "object.bytes"),
    (65, "object.str_state"),
    (66, "object.str_length"),
    (67, "object.str_ascii"),
];
const FIELDS_3_14: &[(usize, &str)] = &[
    (2, "runtime.interpreters_head"),
    (5, "interpreter.next"),
    (6, "interpreter.threads_head"),
    (9, "interpreter.modules"),
    (12, "interpreter.gil"),
    (21, "thread.next"),
    (22, "thread.interp"),
    (23, "thread.top"),
    (24, "thread.thread_id"),
    (25, "thread.native_thread_id"),
    (29, "frame.previous"),
    (30, "frame.code"),
    (31, "frame.instruction"),
    (33, "frame.owner"),
    (37, "code.filename"),
    (38, "code.name"),
    (39, "code.qualname"),
    (40, "code.lines"),
    (41, "code.firstlineno"),
    (45, "code.first_instruction"),
    (48, "object.kind"),
    (50, "object.type_name"),
    (52, "object.type_flags"),
    (54, "object.tuple_items"),
    (55, "object.size"),
    (57, "object.list_items"),
    (58, "object.size"),
    (64, "object.dict_keys"),
    (65, "object.dict_values"),
    (72, "object.size"),
    (73, "object.bytes"),
    (75, "object.str_state"),
    (76, "object.str_length"),
    (77, "object.str_ascii"),
];

/// Words that are looked at: enough for every known version.
const WORDS: usize = 78;

/// What an interpreter says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebugOffsets {
    /// Its version.
    pub version: Version,
    /// It was built without a GIL (PEP 703): its objects are laid out otherwise.
    pub free_threaded: bool,
    values: Vec<u64>,
}

/// The interpreter says otherwise than the table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} is at {told}, not at {known}")]
pub struct Mismatch {
    /// The field.
    pub field: &'static str,
    /// The interpreter's own word.
    pub told: u64,
    /// The table's.
    pub known: u64,
}

impl DebugOffsets {
    /// How many bytes of `_PyRuntime` [`Self::parse`] looks at.
    pub const BYTES: usize = 24 + 8 * WORDS;

    /// From the first bytes of `_PyRuntime`. `None`: they are not there (before 3.13), or cut short.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(COOKIE)?;
        let mut words = bytes.chunks_exact(8).filter_map(|word| word.try_into().ok().map(u64::from_ne_bytes));
        let version = Version::from_hex(words.next()?)?;
        let free_threaded = words.next()? != 0;
        Some(Self { version, free_threaded, values: words.collect() })
    }

    /// Compares the table's row with what the interpreter says, field by field.
    pub fn check(&self, layout: &Layout) -> Result<(), Mismatch> {
        let fields = match self.version.minor {
            13 => FIELDS_3_13,
            14 => FIELDS_3_14,
            _ => &[],
        };
        for (word, field) in fields {
            // A field that was cut off is at no place that could be right.
            let told = self.values.get(*word).copied().unwrap_or(u64::MAX);
            if let Some(known) = known(layout, field)
                && known != told
            {
                return Err(Mismatch { field, told, known });
            }
        }
        Ok(())
    }
}

fn known(layout: &Layout, field: &str) -> Option<u64> {
    let Layout { runtime, interpreter, thread, code, object, frame, .. } = layout;
    let Frame::Interpreter { previous, code: frame_code, instruction, owner, .. } = *frame else {
        return None;
    };
    let offset = match field {
        "runtime.interpreters_head" => runtime.interpreters_head,
        "interpreter.next" => interpreter.next,
        "interpreter.threads_head" => interpreter.threads_head,
        "interpreter.modules" => interpreter.modules,
        "interpreter.gil" => interpreter.gil?,
        "thread.next" => thread.next,
        "thread.interp" => thread.interp,
        "thread.top" => match thread.top {
            Top::Current(offset) => offset,
            Top::FrameObject(_) | Top::CFrame { .. } => return None,
        },
        "thread.thread_id" => thread.thread_id,
        "thread.native_thread_id" => thread.native_thread_id?,
        "frame.previous" => previous,
        "frame.code" => frame_code,
        "frame.instruction" => instruction,
        "frame.owner" => owner,
        "code.filename" => code.filename,
        "code.name" => code.name,
        "code.qualname" => code.qualname?,
        "code.lines" => code.lines.offset(),
        "code.firstlineno" => code.firstlineno,
        "code.first_instruction" => code.first_instruction?,
        "object.kind" => object.kind,
        "object.size" => object.size,
        "object.type_name" => object.type_name,
        "object.type_flags" => object.type_flags,
        "object.tuple_items" => object.tuple_items,
        "object.list_items" => object.list_items,
        "object.dict_keys" => object.dict_keys,
        "object.dict_values" => object.dict_values,
        "object.bytes" => object.bytes,
        "object.str_state" => object.str_state,
        "object.str_length" => object.str_length,
        "object.str_ascii" => object.str_ascii,
        _ => return None,
    };
    Some(offset.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an interpreter with just the table's layout would say.
    fn told(minor: u8, fields: &[(usize, &str)]) -> Vec<u8> {
        let layout = Layout::of(Version::release(3, minor)).unwrap();
        let mut words = [1_u64; WORDS + 2];
        words[0] = 0x0300_00f0 | u64::from(minor) << 16;
        words[1] = 0;
        for (word, field) in fields {
            words[word + 2] = known(layout, field).unwrap();
        }
        COOKIE.iter().copied().chain(words.into_iter().flat_map(u64::to_ne_bytes)).collect()
    }

    #[test]
    fn every_field_is_compared() {
        for (minor, fields) in [(13, FIELDS_3_13), (14, FIELDS_3_14)] {
            let bytes = told(minor, fields);
            let layout = Layout::of(Version::release(3, minor)).unwrap();
            assert_eq!(bytes.len(), DebugOffsets::BYTES);
            assert_eq!(DebugOffsets::parse(&bytes).unwrap().check(layout), Ok(()));
            for (word, field) in fields {
                let mut wrong = bytes.clone();
                wrong[24 + 8 * word] ^= 0x80;
                let checked = DebugOffsets::parse(&wrong).unwrap().check(layout);
                assert_eq!(checked.unwrap_err().field, *field);
            }
        }
    }

    #[test]
    fn what_is_cut_short_does_not_pass() {
        let layout = Layout::of(Version::release(3, 14)).unwrap();
        let bytes = told(14, FIELDS_3_14);
        let (last, _) = FIELDS_3_14.last().unwrap();
        for end in 0..24 + 8 * (last + 1) {
            let checked = DebugOffsets::parse(&bytes[..end]).map(|offsets| offsets.check(layout));
            assert!(checked.is_none_or(|checked| checked.is_err()), "{end}");
        }
        assert_eq!(DebugOffsets::parse(b"not an interpreter at all"), None);
    }
}
