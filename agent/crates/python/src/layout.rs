//! Where CPython's structures keep their fields, by version. All values are bytes, of 64-bit builds with a GIL.
//!
//! Invariant: a row stands in the table only if it was compared with interpreters of that version.

mod table;

use crate::Version;

/// The layouts of one minor version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The minor version of Python 3.
    pub minor: u8,
    /// Where the values are from.
    pub source: &'static str,
    /// `_PyRuntimeState` (`Include/internal/pycore_runtime.h`).
    pub runtime: Runtime,
    /// `PyInterpreterState` (`Include/internal/pycore_interp.h`).
    pub interpreter: Interpreter,
    /// `PyThreadState` (`Include/cpython/pystate.h`).
    pub thread: Thread,
    /// `PyContext` (`Include/internal/pycore_context.h`).
    pub context: Context,
    /// The frames of Python code.
    pub frame: Frame,
    /// `PyCodeObject` (`Include/cpython/code.h`).
    pub code: Code,
    /// `PyBaseExceptionObject` (`Include/cpython/pyerrors.h`).
    pub exception: Exception,
    /// `PyTracebackObject` (`Include/cpython/traceback.h`).
    pub traceback: Traceback,
    /// The basic objects.
    pub object: Object,
}

/// `_PyRuntimeState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime {
    /// The interpreter that was made last: `interpreters.head`.
    pub interpreters_head: u32,
    /// The first interpreter: `interpreters.main`.
    pub interpreters_main: u32,
    /// `Py_tss_t` of the key under which each thread keeps its `PyThreadState`: an int that tells whether the key
    /// was made, then the key (`Include/cpython/pythread.h`).
    pub auto_tss_key: u32,
}

/// `PyInterpreterState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interpreter {
    /// The interpreter made before it.
    pub next: u32,
    /// Its newest thread state.
    pub threads_head: u32,
    /// The dict `sys.modules`.
    pub modules: u32,
    /// The lock that threads take in turn; `None`: it is part of the runtime before 3.12.
    pub gil: Option<u32>,
}

/// `PyThreadState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thread {
    /// The thread state made before it.
    pub next: u32,
    /// Its interpreter.
    pub interp: u32,
    /// `pthread_self()` of its thread: with glibc and musl on `x86_64`, the thread pointer.
    pub thread_id: u32,
    /// `gettid()` in the process's own pid namespace. Since 3.11.
    pub native_thread_id: Option<u32>,
    /// The current `contextvars.Context`.
    pub context: u32,
    /// The stack of exceptions that are being handled: a pointer to [`Exception::handled_value`]'s struct.
    pub exc_info: u32,
    /// The exception that is being raised.
    pub raised: Raised,
    /// How the innermost frame is found.
    pub top: Top,
    /// `_PyThreadStateImpl.asyncio_running_task`. Since 3.14.
    pub asyncio_running_task: Option<u32>,
}

/// Where the exception that is being raised stands in a thread state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// Until 3.11, in three parts; the value may be missing or not made yet.
    Parts {
        /// `curexc_type`.
        kind: u32,
        /// `curexc_value`.
        value: u32,
        /// `curexc_traceback`.
        traceback: u32,
    },
    /// Since 3.12: `current_exception`.
    Object(u32),
}

/// How a thread state leads to its innermost frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Top {
    /// Until 3.10: a `PyFrameObject` at this offset.
    FrameObject(u32),
    /// 3.11 and 3.12: a `_PyCFrame` at `cframe`, in it an `_PyInterpreterFrame` at `current_frame`.
    CFrame {
        /// In the thread state.
        cframe: u32,
        /// In the `_PyCFrame`.
        current_frame: u32,
    },
    /// Since 3.13: an `_PyInterpreterFrame` at this offset.
    Current(u32),
}

/// `PyContext`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The context to return to.
    pub prev: u32,
    /// An int: whether it was entered by `Context.run`. The context that a thread makes for itself is not.
    pub entered: u32,
}

/// Frames. Until 3.10 the frame object itself, later `_PyInterpreterFrame`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// `PyFrameObject`, until 3.10.
    Object {
        /// The frame that called.
        back: u32,
        /// The code object.
        code: u32,
        /// An int: bytes (3.8, 3.9) or units of two bytes (3.10) into the code.
        last_instruction: u32,
        /// Bytes of code that one step of `last_instruction` stands for.
        instruction_bytes: u32,
    },
    /// `_PyInterpreterFrame`, since 3.11.
    Interpreter {
        /// In a `PyFrameObject`: the pointer to the interpreter's frame.
        of_frame_object: u32,
        /// The frame that called.
        previous: u32,
        /// The code object; since 3.14 the two lowest bits are tags.
        code: u32,
        /// Pointer to the instruction last begun (until 3.12 to the one before the next).
        instruction: u32,
        /// A byte: who owns the frame (`enum _frameowner`).
        owner: u32,
        /// From this value of `owner` on, the frame is the interpreter's own and to be passed over. Since 3.12.
        first_own: Option<u8>,
    },
}

/// `PyCodeObject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// `str`.
    pub filename: u32,
    /// `str`.
    pub name: u32,
    /// `str`, since 3.11.
    pub qualname: Option<u32>,
    /// An int.
    pub firstlineno: u32,
    /// `bytes`: `co_lnotab` until 3.9, then `co_linetable`.
    pub lines: Lines,
    /// The first instruction stands in the code object itself. Since 3.11.
    pub first_instruction: Option<u32>,
}

/// The table that leads from instructions to lines, and its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// Until 3.9 (`Objects/lnotab_notes.txt`).
    Lnotab(u32),
    /// 3.10 (PEP 626; `Objects/lnotab_notes.txt`).
    Pep626(u32),
    /// Since 3.11 (PEP 657; `Objects/locations.md`, later `InternalDocs/code_objects.md`).
    Pep657(u32),
}

impl Lines {
    /// Where the table stands in the code object.
    pub const fn offset(self) -> u32 {
        let (Self::Lnotab(offset) | Self::Pep626(offset) | Self::Pep657(offset)) = self;
        offset
    }
}

/// `PyBaseExceptionObject`, and `_PyErr_StackItem`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception {
    /// A tuple.
    pub args: u32,
    /// A traceback object or null.
    pub traceback: u32,
    /// `__context__` or null.
    pub context: u32,
    /// `__cause__` or null.
    pub cause: u32,
    /// A byte.
    pub suppress_context: u32,
    /// `_PyErr_StackItem.exc_value`.
    pub handled_value: u32,
    /// `_PyErr_StackItem.previous_item`.
    pub handled_previous: u32,
}

/// `PyTracebackObject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceback {
    /// The next inner one.
    pub next: u32,
    /// A `PyFrameObject`.
    pub frame: u32,
    /// An int, in bytes.
    pub last_instruction: u32,
    /// An int; -1 where it is to be found by `last_instruction` (since 3.11).
    pub line: u32,
}

/// `PyObject`, `PyTypeObject`, `str`, `bytes`, `tuple`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    /// The object's type.
    pub kind: u32,
    /// `ob_size` of objects of variable size.
    pub size: u32,
    /// `tp_name`: a C string.
    pub type_name: u32,
    /// `tp_flags`.
    pub type_flags: u32,
    /// `tp_base`.
    pub type_base: u32,
    /// `tp_dict`.
    pub type_dict: u32,
    /// `tp_basicsize`.
    pub type_basic_size: u32,
    /// `tp_dictoffset`.
    pub type_dict_offset: u32,
    /// `PyHeapTypeObject.ht_qualname`: `str`.
    pub type_qualname: u32,
    /// `PyHeapTypeObject.ht_cached_keys`.
    pub type_cached_keys: u32,
    /// Characters of a `str`.
    pub str_length: u32,
    /// Flags of a `str`: kind, compact, ascii (`Include/cpython/unicodeobject.h`).
    pub str_state: u32,
    /// The text of a compact ASCII `str`.
    pub str_ascii: u32,
    /// The text of a compact `str` that is not all ASCII.
    pub str_wide: u32,
    /// The content of `bytes`.
    pub bytes: u32,
    /// The first item of a tuple.
    pub tuple_items: u32,
    /// Pointer to a list's items.
    pub list_items: u32,
    /// `PyDictObject.ma_keys`.
    pub dict_keys: u32,
    /// `PyDictObject.ma_values`.
    pub dict_values: u32,
}

impl Layout {
    /// The layouts of a version. `None`: it is not known, or not a release.
    pub fn of(version: Version) -> Option<&'static Self> {
        if version.major != 3 || version.prerelease {
            return None;
        }
        table::ROWS.iter().find(|row| row.minor == version.minor)
    }

    /// Every known layout, oldest first.
    pub fn all() -> &'static [Self] {
        &table::ROWS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_their_row_or_none() {
        for minor in 8..=14 {
            assert_eq!(Layout::of(Version::release(3, minor)).unwrap().minor, minor);
        }
        for version in [Version::release(3, 7), Version::release(3, 16), Version::release(2, 8)] {
            assert_eq!(Layout::of(version), None);
        }
        let beta = Version { prerelease: true, ..Version::release(3, 14) };
        assert_eq!(Layout::of(beta), None);
    }

    #[test]
    fn rows_are_in_order_and_say_where_they_are_from() {
        assert!(Layout::all().windows(2).all(|pair| pair[0].minor < pair[1].minor));
        assert!(Layout::all().iter().all(|row| row.source.contains(&format!("3.{}.", row.minor))));
    }
}
