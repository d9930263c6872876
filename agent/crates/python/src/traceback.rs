//! Tracebacks: the frames that an exception has left, from the chain of `PyTracebackObject`s.
//!
//! Invariant: bounded. Of a long chain both ends are kept, and it is said how much of the middle is not.

use std::collections::VecDeque;

use crate::code::{Codes, Frame};
use crate::layout;
use crate::object::Objects;

/// How many frames are kept of each end.
pub const END_FRAMES_MAX: usize = 32;
/// No chain is followed further.
const CHAIN_MAX: u32 = 1 << 16;

/// The frames that an exception has left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traceback {
    /// The outermost frames, the outermost first.
    pub outer: Vec<Frame>,
    /// How many frames stood between these and the inner ones.
    pub left_out: u32,
    /// The innermost frames, the innermost last; none where `outer` holds all.
    pub inner: Vec<Frame>,
}

impl Traceback {
    /// Every frame that is kept, the innermost last.
    pub fn frames(&self) -> impl DoubleEndedIterator<Item = &Frame> {
        self.outer.iter().chain(&self.inner)
    }

    /// Whether it has no frame.
    pub fn is_empty(&self) -> bool {
        self.outer.is_empty()
    }
}

/// Follows the chain that begins with the traceback object at `address`.
pub fn read(objects: &Objects<'_>, codes: &mut Codes, address: Option<u64>) -> Traceback {
    let mut found = Traceback::default();
    let mut inner = VecDeque::new();
    let mut next = address;
    for index in 0..CHAIN_MAX {
        let Some(address) = next else { break };
        next = objects.pointer(address, objects.layout.traceback.next);
        if (index as usize) < END_FRAMES_MAX {
            // What cannot be read is left out; the innermost frames may still be whole.
            found.outer.extend(frame(objects, codes, address));
        } else {
            if inner.len() == END_FRAMES_MAX {
                inner.pop_front();
                found.left_out += 1;
            }
            inner.push_back(address);
        }
    }
    found.inner.extend(inner.into_iter().filter_map(|address| frame(objects, codes, address)));
    found
}

fn frame(objects: &Objects<'_>, codes: &mut Codes, address: u64) -> Option<Frame> {
    let layout = objects.layout;
    let frame = objects.pointer(address, layout.traceback.frame)?;
    let code = match layout.frame {
        layout::Frame::Object { code, .. } => objects.pointer(frame, code)?,
        layout::Frame::Interpreter { of_frame_object, code, .. } => {
            // Since 3.14 the lowest bits are tags.
            objects.pointer(objects.pointer(frame, of_frame_object)?, code)? & !3
        }
    };
    let at = |offset: u32| objects.memory.read_u32(address.checked_add(offset.into())?);
    let mut found = codes.frame(objects, code, at(layout.traceback.last_instruction)?)?;
    // Frames that no interpreter ran (Cython's) have their line here, and no table.
    let told = at(layout.traceback.line)?.cast_signed();
    if told > 0 {
        found.line = Some(told.cast_unsigned());
    }
    Some(found)
}
