//! What the kernel program is told of an interpreter.

use ebpf::abi::{DISPATCH_CODES, ExceptionLayout};
use python::Layout;
use python::layout::{Frame, Raised};
use python::state::Slot;

/// `PyLongObject` (Include/cpython/longintrepr.h, until 3.11 Include/longintrepr.h): the size or, since 3.12, the
/// tag, and the digits; what stands in the first for a positive number of one digit.
const INT_TAG: u32 = 16;
const INT_DIGITS: u32 = 24;
const ONE_DIGIT_UNTIL_3_11: u32 = 1;
const ONE_DIGIT: u32 = 1 << 3;
/// `PyOSErrorObject.filename` behind the end of `PyBaseExceptionObject` (Include/cpython/pyerrors.h).
const FILENAME: u32 = 16;

/// The layout of one process.
pub(super) fn of(layout: &Layout, slot: Slot) -> ExceptionLayout {
    let (raised, raised_in_parts) = match layout.thread.raised {
        // The value and the traceback follow the type.
        Raised::Parts { kind, .. } => (kind, 1),
        Raised::Object(raised) => (raised, 0),
    };
    let (frame_inner, frame_code, frame_instruction, instruction_bytes) = match layout.frame {
        Frame::Object { code, last_instruction, instruction_bytes, .. } => {
            (0, code, last_instruction, instruction_bytes)
        }
        Frame::Interpreter { of_frame_object, code, instruction, .. } => {
            (of_frame_object, code, instruction, 0)
        }
    };
    let (exception, traceback, object) = (&layout.exception, &layout.traceback, &layout.object);
    ExceptionLayout {
        hits: 0,
        asked: 0,
        dispatch: [0; DISPATCH_CODES],
        slot: slot.offset,
        context: layout.thread.context,
        raised,
        raised_in_parts,
        handled: layout.thread.exc_info,
        handled_value: exception.handled_value,
        handled_previous: exception.handled_previous,
        frame_inner,
        frame_code,
        frame_instruction,
        instruction_bytes,
        first_instruction: layout.code.first_instruction.unwrap_or(0),
        exception_args: exception.args,
        exception_traceback: exception.traceback,
        exception_context: exception.context,
        exception_cause: exception.cause,
        exception_suppress_context: exception.suppress_context,
        exception_filename: exception.suppress_context + 8 + FILENAME,
        traceback_next: traceback.next,
        traceback_frame: traceback.frame,
        traceback_last_instruction: traceback.last_instruction,
        object_kind: object.kind,
        object_size: object.size,
        type_flags: object.type_flags,
        tuple_items: object.tuple_items,
        str_length: object.str_length,
        str_state: object.str_state,
        str_ascii: object.str_ascii,
        str_wide: object.str_wide,
        int_tag: INT_TAG,
        int_digits: INT_DIGITS,
        int_one_digit: if layout.minor <= 11 { ONE_DIGIT_UNTIL_3_11 } else { ONE_DIGIT },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_what_is_raised_follow_each_other() {
        for layout in Layout::all() {
            if let Raised::Parts { kind, value, traceback } = layout.thread.raised {
                assert_eq!((value, traceback), (kind + 8, kind + 16), "3.{}", layout.minor);
            }
            let told = of(layout, Slot { offset: 0x318 });
            assert_eq!(told.frame_inner == 0, layout.minor <= 10);
            assert_eq!(told.first_instruction == 0, told.instruction_bytes != 0);
        }
    }

    #[test]
    fn what_the_program_reads_at_once_lies_together() {
        // `struct traceback_link`, and the `*_HEAD_BYTES` of ebpf/bpf/lib/exception.h.
        for layout in Layout::all() {
            let told = of(layout, Slot { offset: 0x318 });
            let next = told.traceback_next;
            assert_eq!((told.traceback_frame, told.traceback_last_instruction), (next + 8, next + 16));
            assert!(told.str_state + 4 <= 40 && told.str_length + 8 <= 40 && told.int_digits + 8 <= 40);
            assert!(told.object_size + 8 <= 40 && told.tuple_items + 8 <= 40);
            let parts = [told.exception_args, told.exception_context, told.exception_cause];
            assert!(parts.iter().all(|part| part + 8 <= 72) && told.exception_suppress_context < 72);
        }
    }
}
