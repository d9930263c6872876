//! Functions of Python's modules that are written in C: where their code is.
//!
//! Invariant: an address is given only where the function's own name stands beside it.

use crate::object::Objects;
use crate::{Layout, Memory, modules, state};

/// `PyCFunctionObject.m_ml` (Include/cpython/methodobject.h; 3.8: Include/methodobject.h), and in what it points to
/// `PyMethodDef.ml_name` and `ml_meth` (Include/methodobject.h).
const DEFINITION: u32 = 16;
const NAME: u32 = 0;
const CODE: u32 = 8;

/// The code of a function of the module `sys`. `runtime`: the address of `_PyRuntime`.
pub fn of_sys(memory: &impl Memory, runtime: u64, layout: &Layout, name: &str) -> Option<u64> {
    let objects = Objects { memory, layout };
    let [interpreter] = state::interpreters(memory, runtime, layout)[..] else { return None };
    let sys = objects.named(&modules::entries(&objects, interpreter)?, "sys")?;
    let function = objects.named(&objects.module_entries(sys)?, name)?;
    let kind = objects.type_name(objects.type_of(function)?)?;
    let definition = objects.pointer(function, DEFINITION).filter(|_| kind.full() == BUILTIN)?;
    let named = objects.c_string(objects.pointer(definition, NAME)?)?;
    (named == name).then(|| objects.pointer(definition, CODE))?
}

const BUILTIN: &str = "builtin_function_or_method";
