//! Whether a process runs Python, which, and how what it is doing can be told.
//!
//! Invariant: an interpreter is said to be followed only if its layout is known and was seen to hold in its memory.

use std::fmt;
use std::fs::File;
use std::path::Path;

use object::read::elf::ElfFile64;
use object::{Object, ObjectKind, ObjectSegment, ObjectSymbol, ReadCache, ReadRef};
use python::state::{self, NoSlot, Slot};
use python::{Build, DebugOffsets, Memory, Unknown, modules};

use super::Proc;
use super::files::{base_name, read_text};
use super::greenlets::{Greenlets, greenlets};
use super::maps::Mapping;

/// Of what says a library's version.
const MAX_VERSION_BYTES: u64 = 4096;
/// Twisted's reactor, whichever, once it is installed, and the one that `asyncio` runs (twisted/internet/main.py and asyncioreactor.py).
const REACTORS: [&str; 2] = ["twisted.internet.reactor", "twisted.internet.asyncioreactor"];
/// `uvloop`'s one library, in a list of mappings.
const UVLOOP: &str = "/uvloop/loop.";
/// Since this version it sends what it is given while the task that writes it runs; of the ones before, since the other,
/// what they are given is seen.
const SENDS_AT_ONCE: (u32, u32) = (0, 23);
const SEEN_TO_WRITE: (u32, u32) = (0, 16);

/// The interpreter of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The file that holds it, as the process knows it.
    pub path: String,
    /// A library of its own; else part of the program.
    pub shared: bool,
    /// Only the symbols that it exports are there.
    pub stripped: bool,
    /// Where `_PyRuntime` is in the process.
    pub runtime: u64,
    /// Which build it is.
    pub build: Result<Build, Unknown>,
    /// Where threads keep their state.
    pub slot: Result<Slot, NoSlot>,
    /// What several tasks on one thread are switched by, beside contexts.
    pub switching: Switching,
    /// How the greenlet that a thread is running is found, where it has any.
    pub greenlets: Option<Greenlets>,
    /// The library of `uvloop`, as the process knows it, if that sends later and it is known how what it is given is seen.
    pub sends_later: Option<String>,
    /// The part of `asyncio` that is written in C is in the interpreter's own file, as in python-build-standalone (uv): it may be in
    /// use in any process.
    pub has_asyncio: bool,
}

/// Libraries that let one thread do several things without entering a context for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Switching {
    /// `greenlet`, which gevent and eventlet build on: each greenlet has a context, which is not entered.
    pub greenlets: bool,
    /// `uvloop`: reads happen outside any task.
    pub uvloop: Option<Sends>,
    /// Twisted's reactor, but the one that runs on `asyncio`: what it reads, and most of what it calls, is outside any context.
    pub reactor: bool,
    /// The part of `asyncio` that is written in C, or `uvloop`: it runs, or may run, an event loop.
    pub event_loop: bool,
}

/// When an event loop sends what its tasks write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sends {
    /// While the task that writes it runs.
    AtOnce,
    /// When the tasks have run, all of it in one context; or it is not known when.
    Later {
        /// It is known how what it is given is seen.
        is_seen: bool,
    },
}

impl Proc {
    /// Looks for an interpreter. `None`: there is none, or the process is gone or may not be looked into.
    pub fn interpreter(&self, pid: u32) -> Option<Interpreter> {
        let mappings = self.mappings(pid).ok()?;
        let executable = std::fs::read_link(self.of(pid).join("exe")).ok()?;
        let executable = executable.to_string_lossy();
        let executable = executable.trim_end_matches(" (deleted)");
        let is_program = |mapping: &&Mapping| mapping.path == executable;
        let is_library = |mapping: &&Mapping| base_name(&mapping.path).starts_with("libpython3");
        // The first mapping of each: where the file begins.
        let library = mappings.iter().find(is_library);
        let program = mappings.iter().find(is_program);
        library.into_iter().chain(program).find_map(|mapping| {
            let found = Found::read(self, pid, mapping)?;
            Some(self.look_into(pid, mapping, &found, &mappings, executable))
        })
    }

    /// Looks again at an interpreter that was found, without its file: what it has loaded, and whether its threads
    /// can still be told.
    pub fn interpreter_again(&self, pid: u32, known: &Interpreter) -> Option<Interpreter> {
        let mappings = self.mappings(pid).ok()?;
        let slot = match (self.memory(pid), &known.build) {
            (Ok(memory), Ok(build)) => slot_in(&memory, known.runtime, build),
            _ => Err(NoSlot::NotRunning),
        };
        let reactor = self.has_reactor(pid, known.runtime, &known.build);
        let switching = self.switching(pid, &mappings, known.has_asyncio, reactor);
        let greenlets = known.greenlets.clone().or_else(|| {
            let (memory, build) = (self.memory(pid).ok()?, known.build.as_ref().ok()?);
            self.greenlets(pid, &mappings, (&memory, known.runtime, build))
        });
        let sends_later = sends_later(&mappings, switching);
        Some(Interpreter { slot, switching, greenlets, sends_later, ..known.clone() })
    }

    fn look_into(
        &self,
        pid: u32,
        mapping: &Mapping,
        found: &Found,
        mappings: &[Mapping],
        executable: &str,
    ) -> Interpreter {
        let runtime = found.runtime.wrapping_add(found.bias);
        let memory = self.memory(pid);
        let mut bytes = [0; DebugOffsets::BYTES];
        let readable = memory.as_ref().is_ok_and(|memory| memory.read(runtime, &mut bytes));
        let build = Build::of(&python::File {
            name: base_name(&mapping.path),
            version_hex: found.version_hex,
            runtime: if readable { &bytes } else { &[] },
        });
        let slot = match (&memory, &build) {
            (Ok(memory), Ok(build)) => slot_in(memory, runtime, build),
            _ => Err(NoSlot::NotRunning),
        };
        let greenlets = match (&memory, &build, slot) {
            (Ok(memory), Ok(build), Ok(_)) => self.greenlets(pid, mappings, (memory, runtime, build)),
            _ => None,
        };
        let reactor = self.has_reactor(pid, runtime, &build);
        let switching = self.switching(pid, mappings, found.has_asyncio, reactor);
        Interpreter {
            path: mapping.path.clone(),
            shared: mapping.path != executable,
            stripped: found.stripped,
            runtime,
            build,
            slot,
            switching,
            greenlets,
            sends_later: sends_later(mappings, switching),
            has_asyncio: found.has_asyncio,
        }
    }

    fn switching(&self, pid: u32, mappings: &[Mapping], has_asyncio: bool, reactor: bool) -> Switching {
        let find = |part: &str| mappings.iter().find(|mapping| mapping.path.contains(part));
        let uvloop = find(UVLOOP);
        Switching {
            greenlets: find("/greenlet/_greenlet.").is_some(),
            uvloop: uvloop.map(|mapping| self.uvloop_sends(pid, &mapping.path)),
            reactor,
            event_loop: uvloop.is_some() || has_asyncio || find("/_asyncio.").is_some(),
        }
    }

    fn has_reactor(&self, pid: u32, runtime: u64, build: &Result<Build, Unknown>) -> bool {
        let (Ok(memory), Ok(build)) = (self.memory(pid), build) else { return false };
        modules::are_imported(&memory, runtime, build.layout, REACTORS) == Some([true, false])
    }

    /// Up to 0.22 it sends later (`UVStream._initiate_write` in its handles/stream.pyx).
    fn uvloop_sends(&self, pid: u32, library: &str) -> Sends {
        match self.uvloop_version(pid, library) {
            Some(version) if version >= SENDS_AT_ONCE => Sends::AtOnce,
            version => Sends::Later { is_seen: version.is_some_and(|version| version >= SEEN_TO_WRITE) },
        }
    }

    fn uvloop_version(&self, pid: u32, library: &str) -> Option<(u32, u32)> {
        let folder = library.rsplit_once('/').map_or("", |(folder, _)| folder);
        let said = format!("{folder}/_version.py");
        // A process with another root below ours has its paths told from ours.
        let text = read_text(&self.through_root(pid, &said), MAX_VERSION_BYTES)
            .or_else(|_| read_text(Path::new(&said), MAX_VERSION_BYTES));
        uvloop_version(&text.ok()?)
    }

    fn greenlets(
        &self,
        pid: u32,
        mappings: &[Mapping],
        (memory, runtime, build): (&impl Memory, u64, &Build),
    ) -> Option<Greenlets> {
        let interpreters = state::interpreters(memory, runtime, build.layout);
        let threads = interpreters.iter().flat_map(|one| state::thread_states(memory, *one, build.layout));
        greenlets(self, pid, (mappings, memory), (&threads.collect::<Vec<_>>(), build.layout))
    }
}

fn sends_later(mappings: &[Mapping], switching: Switching) -> Option<String> {
    let library = mappings.iter().find(|mapping| mapping.path.contains(UVLOOP))?;
    (switching.uvloop == Some(Sends::Later { is_seen: true })).then(|| library.path.clone())
}

fn slot_in(memory: &impl Memory, runtime: u64, build: &Build) -> Result<Slot, NoSlot> {
    if cfg!(target_arch = "x86_64") {
        state::slot(memory, runtime, build.layout)
    } else {
        Err(NoSlot::Library)
    }
}

/// `__version__ = '0.22.1'`, among other lines.
fn uvloop_version(text: &str) -> Option<(u32, u32)> {
    let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
    let mut numbers = line.trim_matches(['\'', '"', ' ']).split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// What the file says.
struct Found {
    /// `_PyRuntime`, in the file's own address space.
    runtime: u64,
    /// What has to be added to get an address of the process.
    bias: u64,
    version_hex: Option<u64>,
    stripped: bool,
    has_asyncio: bool,
}

impl Found {
    /// `None`: it is no ELF file of 64 bits, or does not export `_PyRuntime`.
    fn read(proc: &Proc, pid: u32, mapping: &Mapping) -> Option<Self> {
        let cache = ReadCache::new(File::open(proc.reachable(pid, mapping)).ok()?);
        let file = ElfFile64::<object::Endianness, _>::parse(&cache).ok()?;
        let symbol = |wanted: &str| file.dynamic_symbols().find(|symbol| symbol.name() == Ok(wanted));
        let runtime = symbol("_PyRuntime")?.address();
        let version_hex = symbol("Py_Version").and_then(|symbol| word_at(&file, symbol.address()));
        // The segment that holds the file's beginning is mapped first.
        let base = file.segments().find(|segment| segment.file_range().0 == 0)?.address();
        let bias = match file.kind() {
            ObjectKind::Executable => 0,
            _ => mapping.start.wrapping_sub(base),
        };
        Some(Self {
            runtime,
            bias,
            version_hex,
            stripped: file.section_by_name(".symtab").is_none(),
            has_asyncio: symbol("PyInit__asyncio").is_some(),
        })
    }
}

/// Eight bytes of the file's data at an address.
fn word_at<'data, R: ReadRef<'data>>(
    file: &ElfFile64<'data, object::Endianness, R>,
    address: u64,
) -> Option<u64> {
    let bytes = file.segments().find_map(|segment| segment.data_range(address, 8).ok().flatten())?;
    bytes.try_into().ok().map(u64::from_ne_bytes)
}

impl Interpreter {
    /// Other files of the process in which it is seen which task does what.
    pub fn beside(&self) -> Vec<&str> {
        let greenlets = self.greenlets.as_ref().map(|greenlets| greenlets.path.as_str());
        greenlets.into_iter().chain(self.sends_later.as_deref()).collect()
    }

    /// Why only the thread tells which request its calls belong to; `None` if the interpreter tells.
    pub fn refusal(&self) -> Option<String> {
        match (&self.build, self.slot) {
            (Err(unknown), _) => Some(unknown.to_string()),
            (_, Err(no_slot)) => Some(no_slot.to_string()),
            (Ok(_), Ok(_)) => None,
        }
    }
}

/// `CPython 3.11.2, part of the program, stripped (/usr/bin/python3.11)`
impl fmt::Display for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.build {
            Ok(build) => write!(f, "CPython {}", build.version)?,
            Err(unknown) => write!(f, "{unknown}")?,
        }
        f.write_str(if self.shared { ", a shared library" } else { ", part of the program" })?;
        f.write_str(if self.stripped { ", stripped" } else { "" })?;
        f.write_str(if self.greenlets.is_some() { ", greenlets told apart" } else { "" })?;
        f.write_str(if self.switching.reactor { ", with Twisted's reactor" } else { "" })?;
        write!(f, " ({})", self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::fake::{FakeProc, FakeProcess};
    use super::Sends;

    #[test]
    fn a_uvloop_sends_at_once_if_it_says_that_it_is_new_enough() {
        let fake = FakeProc::new();
        fake.add(&FakeProcess { pid: 7, ..FakeProcess::default() });
        let folder = fake.path(7).join("root/site/uvloop");
        fs::create_dir_all(&folder).unwrap();
        let sends = || fake.proc.uvloop_sends(7, "/site/uvloop/loop.cpython-311-x86_64-linux-gnu.so");
        let later = |is_seen| Sends::Later { is_seen };
        assert_eq!(sends(), later(false), "it does not say");
        for (text, want) in [
            ("# a comment\n\n__version__ = '0.22.1'\n", later(true)),
            ("__version__ = '0.16.0'\n", later(true)),
            ("__version__ = '0.15.3'\n", later(false)),
            ("__version__ = '0.9.0'\n", later(false)),
            ("__version__ = '0.23.0'\n", Sends::AtOnce),
            ("__version__ = \"1.0\"\n", Sends::AtOnce),
            ("__version__ = '0.23.0.dev1'\n", Sends::AtOnce),
            ("__version__ = None\n", later(false)),
            ("version = '0.23.0'\n", later(false)),
        ] {
            fs::write(folder.join("_version.py"), text).unwrap();
            assert_eq!(sends(), want, "{text}");
        }
    }
}
