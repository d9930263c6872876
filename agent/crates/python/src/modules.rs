//! Which modules a process has imported.

use crate::object::Objects;
use crate::{Layout, Memory, state};

/// More modules than any program has.
const MODULES_MAX: usize = 65_536;

/// Whether each of these is in `sys.modules` (`PyInterpreterState.imports.modules` in `Include/internal/pycore_interp.h`; up to 3.11
/// `modules`). `runtime`: the address of `_PyRuntime`. `None`: they cannot be read, or there are several interpreters.
pub fn are_imported<const COUNT: usize>(
    memory: &impl Memory,
    runtime: u64,
    layout: &Layout,
    names: [&str; COUNT],
) -> Option<[bool; COUNT]> {
    let objects = Objects { memory, layout };
    let [interpreter] = state::interpreters(memory, runtime, layout)[..] else { return None };
    let modules = objects.entries(objects.pointer(interpreter, layout.interpreter.modules)?)?;
    let mut found = [false; COUNT];
    for (key, _) in modules.into_iter().take(MODULES_MAX) {
        let Some(text) = objects.text(key) else { continue };
        for (name, found) in names.iter().zip(&mut found) {
            *found |= *name == text;
        }
    }
    Some(found)
}
