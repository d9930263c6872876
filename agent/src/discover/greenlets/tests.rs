//! On a library and a memory made like those of a process with greenlet 3.5, right, and wrong in one way each.

#![cfg(target_arch = "x86_64")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use python::Version;

use super::super::fake::{FakeProc, FakeProcess};
use super::*;

const PID: u32 = 7;
/// Where the library is mapped, and the address that the file itself gives its beginning.
const START: u64 = 0x7f00_0000_0000;
const BASE: u64 = 0x1000;
/// Where the file has the number of the library put.
const TOLD_AT: u64 = 0x21_de0;
const MODULE: u64 = 4;
/// Behind a byte of the compiler's.
const PLACE: u64 = 8;

const THREAD: u64 = 0x7f11_0000_0000;
const OTHER_THREAD: u64 = 0x7f12_0000_0000;
const TABLE_AT: u64 = 0x5000;
const KEPT: u64 = 0x6000;
const STATE_AT: u64 = 0x7000;
const MAIN_GREENLET: u64 = 0x8000;
const CURRENT_GREENLET: u64 = 0x9000;
/// gevent's, `greenlet.greenlet` below it.
const DERIVED: u64 = 0xa000;
const TYPE: u64 = 0xb000;
const NAME: u64 = 0xc000;

/// What of the library's file matters here.
#[derive(Clone, Copy)]
struct Library {
    symbol: &'static str,
    /// `STT_TLS` is 6.
    symbol_type: u8,
    /// `R_X86_64_DTPMOD64` is 16.
    relocation_type: u32,
}

const LIBRARY: Library =
    Library { symbol: "_ZL21g_thread_state_global", symbol_type: 6, relocation_type: 16 };

impl Library {
    /// An ELF file: its head, one segment, the tables of symbols and of relocations, and their heads.
    fn bytes(self) -> Vec<u8> {
        const HEAD: usize = 64;
        const SEGMENT: usize = 56;
        const SECTION: usize = 64;
        let names = [b"\0other\0", self.symbol.as_bytes(), b"\0"].concat();
        let symbol = |name: u32, kind: u8, section: u16, value: u64| {
            let sections = section.to_le_bytes();
            [&name.to_le_bytes()[..], &[kind, 0], &sections, &value.to_le_bytes(), &8_u64.to_le_bytes()]
                .concat()
        };
        let symbols =
            [symbol(0, 0, 0, 0), symbol(1, 6, 1, 0), symbol(7, self.symbol_type, 1, PLACE)].concat();
        let relocation = |at: u64, kind: u32| {
            [at.to_le_bytes(), u64::from(kind).to_le_bytes(), 0_u64.to_le_bytes()].concat()
        };
        // R_X86_64_RELATIVE, as most are.
        let relocations = [relocation(TOLD_AT - 8, 8), relocation(TOLD_AT, self.relocation_type)].concat();
        let dynamic = symbol(0, 0, 0, 0);
        let parts: [(&[u8], u32, u32, u64); 4] =
            [(&names, 3, 0, 0), (&symbols, 2, 1, 24), (&dynamic, 11, 1, 24), (&relocations, 4, 3, 24)];
        let (mut content, mut heads) = (Vec::new(), vec![0; SECTION]);
        for (part, kind, link, entry_bytes) in parts {
            let offset = (HEAD + SEGMENT + content.len()) as u64;
            content.extend_from_slice(part);
            let numbers = [0, 0, offset, part.len() as u64];
            heads.extend([0_u32.to_le_bytes(), kind.to_le_bytes()].concat());
            heads.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            heads.extend([link.to_le_bytes(), 1_u32.to_le_bytes()].concat());
            heads.extend([8, entry_bytes].iter().flat_map(|number: &u64| number.to_le_bytes()));
        }
        let heads_at = (HEAD + SEGMENT + content.len()) as u64;
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        // A shared object for x86-64.
        file.extend([3_u16.to_le_bytes(), 62_u16.to_le_bytes()].concat());
        file.extend(1_u32.to_le_bytes());
        file.extend([0, HEAD as u64, heads_at].iter().flat_map(|number| number.to_le_bytes()));
        file.extend(0_u32.to_le_bytes());
        let sizes = [HEAD, SEGMENT, 1, SECTION, parts.len() + 1, 1];
        file.extend(sizes.iter().flat_map(|size| (*size as u16).to_le_bytes()));
        // The segment that begins with the file is loaded at its base.
        file.extend([1_u32.to_le_bytes(), 4_u32.to_le_bytes()].concat());
        let segment = [0, BASE, BASE, heads_at, heads_at, 0x1000];
        file.extend(segment.iter().flat_map(|number: &u64| number.to_le_bytes()));
        [file, content, heads].concat()
    }
}

/// Words by their addresses.
#[derive(Clone)]
struct Words(BTreeMap<u64, u64>);

impl Memory for Words {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        into.iter_mut().zip(address..).all(|(byte, at)| {
            let word = self.0.get(&(at & !7)).map(|word| word.to_ne_bytes());
            word.map(|word| *byte = word[(at & 7) as usize]).is_some()
        })
    }
}

fn layout() -> &'static Layout {
    Layout::of(Version::release(3, 11)).unwrap()
}

/// One thread that runs a greenlet of gevent's. The other one has none yet.
fn memory() -> Words {
    let object = layout().object;
    let (kind, type_name) = (u64::from(object.kind), u64::from(object.type_name));
    let mut words = BTreeMap::from([
        (START + TOLD_AT - BASE, MODULE),
        (THREAD + TABLE, TABLE_AT),
        (TABLE_AT + MODULE * ENTRY_BYTES, KEPT),
        (KEPT + PLACE, STATE_AT),
        (STATE_AT + MAIN, MAIN_GREENLET),
        (STATE_AT + CURRENT, CURRENT_GREENLET),
        (MAIN_GREENLET + kind, TYPE),
        (CURRENT_GREENLET + kind, DERIVED),
        (DERIVED + type_name, NAME + 0x100),
        (DERIVED + TYPE_BASE, TYPE),
        (TYPE + type_name, NAME),
        (TYPE + TYPE_BASE, 0),
        (OTHER_THREAD + TABLE, 0),
    ]);
    for (at, text) in [(NAME, "greenlet.greenlet"), (NAME + 0x100, "gevent._gevent_cgreenlet.Greenlet")] {
        let bytes = [text.as_bytes(), &[0; 16]].concat();
        for (number, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
            words.insert(at + 8 * number as u64, u64::from_ne_bytes(*word));
        }
    }
    Words(words)
}

/// What is found of a library of this name, in this memory, on these threads.
fn find(library: Library, name: &str, memory: &Words, threads: &[u64]) -> Option<Greenlets> {
    let fake = FakeProc::new();
    fake.add(&FakeProcess { pid: PID, ..FakeProcess::default() });
    let file = fake.path(PID).join("root").join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, library.bytes()).unwrap();
    let inode = fs::metadata(&file).unwrap().ino();
    let line = format!("{START:x}-{:x} r--p 00000000 fe:00 {inode} /{name}\n", START + 0x9000);
    fs::write(fake.path(PID).join("maps"), line).unwrap();
    let mappings = fake.proc.mappings(PID).unwrap();
    let threads: Vec<ThreadState> =
        threads.iter().map(|thread| ThreadState { address: 1, thread_id: *thread, context: 0 }).collect();
    greenlets(&fake.proc, PID, (&mappings, memory), (&threads, layout()))
}

const PATH: &str = "venv/greenlet/_greenlet.cpython-311-x86_64-linux-gnu.so";

#[test]
fn a_thread_with_greenlets_shows_where_they_are() {
    let want = Greenlets { path: format!("/{PATH}"), module: 4, place: 8 };
    for threads in [&[THREAD][..], &[OTHER_THREAD, THREAD], &[THREAD, OTHER_THREAD]] {
        assert_eq!(find(LIBRARY, PATH, &memory(), threads).as_ref(), Some(&want), "{threads:x?}");
    }
    for threads in [&[][..], &[OTHER_THREAD]] {
        assert_eq!(find(LIBRARY, PATH, &memory(), threads), None, "{threads:x?}");
    }
}

#[test]
fn a_library_that_does_not_tell_is_none() {
    for (what, library) in [
        ("no symbols", Library { symbol: "", ..LIBRARY }),
        ("greenlet 1", Library { symbol: "ts_current", ..LIBRARY }),
        ("no variable of threads", Library { symbol_type: 1, ..LIBRARY }),
        // R_X86_64_TPOFF64: the variable is in the first block, whose number nobody needs.
        ("no number", Library { relocation_type: 18, ..LIBRARY }),
    ] {
        assert_eq!(find(library, PATH, &memory(), &[THREAD]), None, "{what}");
    }
    assert_eq!(find(LIBRARY, "venv/other/_greenlet.so", &memory(), &[THREAD]), None);
}

#[test]
fn what_does_not_hold_in_memory_is_none() {
    let object = layout().object;
    let kind = u64::from(object.kind);
    let lacks = |at: u64| {
        let mut memory = memory();
        assert!(memory.0.remove(&at).is_some());
        memory
    };
    let has = |at: u64, word: u64| {
        let mut memory = memory();
        assert!(memory.0.insert(at, word).is_some_and(|before| before != word));
        memory
    };
    for (what, memory) in [
        ("the number cannot be read", lacks(START + TOLD_AT - BASE)),
        ("the number is none", has(START + TOLD_AT - BASE, 1 << 40)),
        ("the number is another's", has(START + TOLD_AT - BASE, MODULE + 1)),
        ("nothing is kept of the thread yet", has(TABLE_AT + MODULE * ENTRY_BYTES, 0)),
        ("glibc has given no room yet", has(TABLE_AT + MODULE * ENTRY_BYTES, u64::MAX)),
        ("the thread has no state", has(KEPT + PLACE, 0)),
        ("no main greenlet", has(STATE_AT + MAIN, 0)),
        ("no current greenlet", has(STATE_AT + CURRENT, 0)),
        ("the current one is something else", has(CURRENT_GREENLET + kind, NAME)),
        ("its type has no name", lacks(TYPE + u64::from(object.type_name))),
        ("its type has another base", has(DERIVED + TYPE_BASE, 0)),
        ("its bases have no end", has(DERIVED + TYPE_BASE, DERIVED)),
        ("the type has another name", has(NAME, u64::from_ne_bytes(*b"greenlot"))),
        ("the name goes on", has(NAME + 16, u64::from_ne_bytes(*b"ts\0\0\0\0\0\0"))),
    ] {
        assert_eq!(find(LIBRARY, PATH, &memory, &[THREAD]), None, "{what}");
    }
}
