//! Apps that stand in no variable of a module, as what an application factory has made.
//!
//! Invariant: bounded. The lists that are followed change meanwhile: what is found on them is an app only if its type says
//! so.

use super::{App, Kinds, Module, find};
use crate::object::Objects;

/// Most objects that are looked at.
const OBJECTS_MAX: usize = 1_000_000;
/// `PyGC_Head`, before each object that the collector knows: the next one of its generation, and the one before
/// (`Include/internal/pycore_gc.h`).
const HEAD_BYTES: u64 = 16;
/// Whether it may be unreachable stands in the lowest bits of the first.
const NEXT_MASK: u64 = !3;
/// The head, the count of references, and the type.
const WORDS: usize = 4;
/// A generation's list begins and ends in the interpreter's state, until 3.8 in the runtime's; there the generations lie
/// one behind the other (`struct gc_generation`), three of them.
const STATE_BYTES: u64 = 1 << 19;
const GENERATION_BYTES: i64 = 24;
/// Most lists, and what might be one.
const BEGINS_MAX: usize = 16;
/// The classes of apps, with the modules that define them.
const CLASSES: [(&str, &str); 2] = [("flask.app", "Flask"), ("starlette.applications", "Starlette")];

/// Follows the lists in which the collector keeps objects, from the classes of apps on. `states`: the interpreter's, and
/// the runtime's.
pub(super) fn apps(
    objects: &Objects<'_>,
    modules: &[Module],
    states: [u64; 2],
    kinds: &mut Kinds,
) -> Vec<App> {
    let class =
        |(module, class)| objects.named(&find(modules, module)?.entries, class)?.checked_sub(HEAD_BYTES);
    let is_state = |address: u64| states.iter().any(|state| address.wrapping_sub(*state) < STATE_BYTES);
    let mut begins: Vec<u64> = CLASSES.into_iter().filter_map(class).collect();
    let (mut found, mut index, mut looked_at) = (Vec::new(), 0, 0);
    while let Some(begin) = begins.get(index).copied() {
        index += 1;
        let mut next = begin;
        while looked_at < OBJECTS_MAX {
            looked_at += 1;
            let mut bytes = [0; 8 * WORDS];
            if !objects.memory.read(next, &mut bytes) {
                break;
            }
            let word = |at: usize| bytes[8 * at..].first_chunk().map_or(0, |word| u64::from_ne_bytes(*word));
            if !is_state(next) {
                found.extend(kinds.app(objects, next.wrapping_add(HEAD_BYTES), word(WORDS - 1)));
            } else if !is_state(begin) {
                // What is beside it and no list leads nowhere.
                for generations in [-2, -1, 1, 2] {
                    let other = next.wrapping_add_signed(generations * GENERATION_BYTES);
                    if begins.len() < BEGINS_MAX && !begins.contains(&other) {
                        begins.push(other);
                    }
                }
            }
            next = word(0) & NEXT_MASK;
            if next == begin {
                break;
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}
