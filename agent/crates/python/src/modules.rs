//! The modules that a process has imported: `sys.modules` (`PyInterpreterState.imports.modules` in
//! `Include/internal/pycore_interp.h`; up to 3.11 `modules`).

use crate::object::Objects;
use crate::{Layout, Memory, state};

/// More modules than any program has.
const MODULES_MAX: usize = 65_536;

/// What an interpreter has: keys and modules.
pub(crate) fn entries(objects: &Objects<'_>, interpreter: u64) -> Option<Vec<(u64, u64)>> {
    objects.entries(objects.pointer(interpreter, objects.layout.interpreter.modules)?)
}

/// The same with names, of the first `most`.
pub(crate) fn named<'a>(
    objects: &'a Objects<'_>,
    interpreter: u64,
    most: usize,
) -> Option<impl Iterator<Item = (String, u64)> + 'a> {
    let named = |(key, module)| Some((objects.text(key)?, module));
    Some(entries(objects, interpreter)?.into_iter().take(most).filter_map(named))
}

/// Whether each of these is among them. `runtime`: the address of `_PyRuntime`. `None`: they cannot be read, or there are several
/// interpreters.
pub fn are_imported<const COUNT: usize>(
    memory: &impl Memory,
    runtime: u64,
    layout: &Layout,
    names: [&str; COUNT],
) -> Option<[bool; COUNT]> {
    let objects = Objects { memory, layout };
    let [interpreter] = state::interpreters(memory, runtime, layout)[..] else { return None };
    let mut found = [false; COUNT];
    for (imported, _) in named(&objects, interpreter, MODULES_MAX)? {
        for (name, found) in names.iter().zip(&mut found) {
            *found |= *name == imported;
        }
    }
    Some(found)
}
