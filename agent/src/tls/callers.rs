//! Who calls the libraries of a process.
//!
//! Invariant: what is not certain is not told: then a file may call any of them.

use std::collections::BTreeMap;

use crate::discover::FileId;

/// The libraries by file, with what is known of each (`L`), and the files that call one.
#[derive(Debug)]
pub struct Callers<L> {
    pub libraries: BTreeMap<FileId, L>,
    pub files: BTreeMap<FileId, Caller>,
}

/// A file that calls the functions of a library.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// What it reads and writes is seen at its calls.
    pub is_seen: bool,
    /// The file whose functions it calls, if that is certain.
    pub calls: Option<FileId>,
}

impl<L> Default for Callers<L> {
    fn default() -> Self {
        Self { libraries: BTreeMap::new(), files: BTreeMap::new() }
    }
}

impl<L: Copy> Callers<L> {
    /// What is known of the library that a file calls: where that is not certain, it is the only one.
    pub fn library_of(&self, caller: FileId) -> Option<L> {
        match self.files.get(&caller)?.calls {
            Some(library) => self.libraries.get(&library).copied(),
            None => self.libraries.values().next().copied().filter(|_| self.libraries.len() == 1),
        }
    }

    /// Whether a library may be called, and all who may call it are seen at their calls. One that no file calls by name is
    /// called by who has looked its functions up.
    pub fn are_all_seen(&self, library: FileId) -> bool {
        let mut may_call = self
            .files
            .values()
            .filter(|caller| caller.calls.is_none_or(|called| called == library))
            .peekable();
        may_call.peek().is_some() && may_call.all(|caller| caller.is_seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::Mapping;

    fn id(inode: u32) -> FileId {
        Mapping::parse(&format!("1000-2000 r-xp 00000000 fe:00 {inode} /file")).unwrap().id
    }

    /// Files 1 and 2 are libraries; 11 and 12 are seen at their calls, 21 is not.
    fn callers(libraries: &[u32], files: &[(u32, Option<u32>)]) -> Callers<u32> {
        let caller = |calls: Option<u32>, inode| Caller { is_seen: inode < 20, calls: calls.map(id) };
        Callers {
            libraries: libraries.iter().map(|inode| (id(*inode), *inode)).collect(),
            files: files.iter().map(|(inode, calls)| (id(*inode), caller(*calls, *inode))).collect(),
        }
    }

    #[test]
    fn a_library_is_that_of_who_calls_it() {
        for (what, libraries, calls, expected) in [
            ("the one", &[1][..], Some(1), Some(1)),
            ("the only one", &[1], None, Some(1)),
            ("another than the only one", &[1], Some(3), None),
            ("the first of two", &[1, 2], Some(1), Some(1)),
            ("the second of two", &[1, 2], Some(2), Some(2)),
            ("one of two", &[1, 2], None, None),
            ("none", &[], None, None),
        ] {
            assert_eq!(callers(libraries, &[(11, calls)]).library_of(id(11)), expected, "{what}");
        }
        assert_eq!(callers(&[1], &[]).library_of(id(11)), None, "it calls nothing");
    }

    #[test]
    fn a_library_is_passed_over_if_all_who_may_call_it_are_seen() {
        for (what, files, of_first, of_second) in [
            ("nobody calls by name", &[][..], false, false),
            ("each has its own", &[(11, Some(1)), (21, Some(2))], true, false),
            ("and the other way round", &[(11, Some(2)), (21, Some(1))], false, true),
            ("one library, two callers", &[(11, Some(1)), (21, Some(1))], false, false),
            ("both are seen", &[(11, Some(1)), (12, Some(2))], true, true),
            ("nobody calls the second by name", &[(11, Some(1))], true, false),
            ("who is not seen may call either", &[(11, Some(1)), (21, None)], false, false),
            ("who is seen may call either", &[(11, None), (21, Some(2))], true, false),
            ("none is certain", &[(11, None), (21, None)], false, false),
            ("the only caller, not certain", &[(11, None)], true, true),
        ] {
            let callers = callers(&[1, 2], files);
            let told = (callers.are_all_seen(id(1)), callers.are_all_seen(id(2)));
            assert_eq!(told, (of_first, of_second), "{what}");
        }
    }
}
