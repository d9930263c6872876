//! Loads the programs, attaches them, and talks to their maps.
//!
//! Invariant: everything hangs on file descriptors of this process, so that its end, however it comes, leaves
//! nothing in the kernel.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use libbpf_rs::query::ProgInfoIter;
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{
    Link, MapCore, MapFlags, OpenObject, OpenProgramMut, PrintLevel, Program, ProgramAttachType, ProgramImpl,
};
use thiserror::Error;

use crate::abi;
use crate::capability::{UserProbes, Way};
use crate::ring::{self, Meeting, Ring};
use crate::skeleton::{OpenProbeSkel, ProbeSkel, ProbeSkelBuilder};

/// The programs that see exceptions unwind or be reported.
const EXCEPTIONS: [&str; 3] = ["exception_left_frame", "exception_left_another", "exception_asked_for"];
/// Others that go into one process, where they are told to.
const PLACED: [&str; 6] = [
    "context_given",
    "context_passed",
    "greenlet_made",
    "stream_written",
    "collection_begins",
    "collection_ends",
];

/// Those of the ways other than system calls that see pages go to sockets, where that passes by the others.
const PAGES: [&str; 2] = ["pages_sendfile", "pages_splice"];

/// The program that hears of the end of sockets.
const FREES_CONNECTIONS: &str = "tcp_destroyed";

/// How to load.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The way in.
    pub way: Way,
    /// See [`Capabilities::sends_pages`](crate::Capabilities::sends_pages).
    pub sends_pages: bool,
    /// How user code is probed.
    pub user_probes: UserProbes,
    /// Keep connection state on the socket; else in a table.
    pub socket_storage: bool,
    /// The ring's size: a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Bytes copied of each call, at most [`abi::HEAD_BYTES_MAX`].
    pub head_bytes: u32,
    /// Bytes copied of each call where calls are copied whole, at most [`abi::WHOLE_BYTES_MAX`].
    pub whole_bytes: u32,
    /// How long one of the kernel's ticks lasts, in microseconds; 0: not known.
    pub tick_us: u32,
    /// Most processes watched at once.
    pub max_processes: u32,
    /// Keep exceptions of Python.
    pub exceptions: bool,
    /// Most connections in the table (where socket storage is not used).
    pub max_connections: u32,
}

/// The kernel said no.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The object cannot be opened or a map not be sized.
    #[error("cannot prepare the kernel programs: {0}")]
    Open(libbpf_rs::Error),
    /// The verifier or a permission refused.
    #[error("the kernel refused the programs: {0}")]
    Load(libbpf_rs::Error),
    /// A program's place is missing or taken.
    #[error("cannot attach {program}: {source}")]
    Attach {
        /// The program.
        program: String,
        /// libbpf's words.
        source: libbpf_rs::Error,
    },
    /// The kernel cannot tell one probe of user code from another.
    #[error("this kernel has no cookies for probes of user code (they came with Linux 5.15)")]
    NoUserProbes,
    /// libbpf gives no access to the programs' variables.
    #[error("the kernel does not share the programs' variables")]
    NoShared,
    /// More builds of interpreters than the programs can know.
    #[error("too many different interpreters run here (at most {})", abi::INTERPRETERS - 1)]
    Interpreters,
    /// More builds of TLS libraries than the programs can know.
    #[error("too many different TLS libraries run here (at most {})", abi::TLS_LIBRARIES - 1)]
    TlsLibraries,
    /// A map does not answer.
    #[error("cannot use the map {map}: {source}")]
    Map {
        /// The map.
        map: &'static str,
        /// libbpf's words.
        source: libbpf_rs::Error,
    },
}

/// One loaded program, as the kernel sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramStatus {
    /// Its name.
    pub name: String,
    /// Runs that did not happen because the program was already running on that CPU.
    pub missed: u64,
}

/// The programs, loaded.
pub struct Kernel {
    // Before the skeleton: detached first.
    links: Vec<Link>,
    pub(crate) skeleton: ProbeSkel<'static>,
    pub(crate) user_probes: UserProbes,
    /// Those that the programs know, by their place less one.
    pub(crate) interpreters: Vec<abi::Interpreter>,
    /// The same of TLS libraries.
    pub(crate) tls_libraries: Vec<abi::TlsLibrary>,
    ring_bytes: u32,
    ring_secret: u64,
}

impl Kernel {
    /// Loads the programs of one way in; nothing runs yet.
    pub fn load(options: &Options) -> Result<Self, LoadError> {
        libbpf_rs::set_print(Some((PrintLevel::Debug, |_, text| tracing::debug!("{}", text.trim_end()))));
        // libbpf's object must outlive its skeleton, which borrows it; a probe loads once or twice in its life.
        let object: &'static mut MaybeUninit<OpenObject> = Box::leak(Box::new(MaybeUninit::uninit()));
        let mut open = ProbeSkelBuilder::default().open(object).map_err(LoadError::Open)?;
        let ring_secret = ring::secret();
        configure(&mut open, options, ring_secret)?;
        for mut program in open.open_object_mut().progs_mut() {
            select(&mut program, options);
        }
        let skeleton = open.load().map_err(LoadError::Load)?;
        Ok(Self {
            links: Vec::new(),
            skeleton,
            user_probes: options.user_probes,
            interpreters: Vec::new(),
            tls_libraries: Vec::new(),
            ring_bytes: ring_bytes(options),
            ring_secret,
        })
    }

    /// Attaches the loaded programs but those for user code, which go where they are told to. On an error those already attached are detached again.
    pub fn attach(&mut self) -> Result<(), LoadError> {
        let mut programs: Vec<_> = self
            .skeleton
            .object_mut()
            .progs_mut()
            .filter(|program| program.autoload())
            .map(|program| (program.name().to_string_lossy().into_owned(), program))
            .filter(|(name, _)| {
                user_probes_of(name).is_none()
                    && !EXCEPTIONS.contains(&name.as_str())
                    && !PLACED.contains(&name.as_str())
            })
            .collect();
        // What is kept of a connection must not outlive its socket: who frees it is there first, and goes last.
        programs.sort_by_key(|(name, _)| name != FREES_CONNECTIONS);
        for (name, program) in programs {
            match program.attach() {
                Ok(link) => self.links.push(link),
                Err(source) => {
                    self.links.clear();
                    return Err(LoadError::Attach { program: name, source });
                }
            }
        }
        Ok(())
    }

    /// Takes the programs off their places. Records already in the ring stay there.
    pub fn detach(&mut self) {
        while self.links.pop().is_some() {}
    }

    /// The ring's end for the agent, of which there is one. It may be read while this side is loaded.
    pub fn ring(&mut self) -> Result<Ring, LoadError> {
        let maps = &mut self.skeleton.maps;
        let bss = maps.bss_data.as_deref_mut().ok_or(LoadError::NoShared)?;
        let meeting = Meeting {
            given: std::ptr::from_ref(shared_u64(&mut bss.at_hand.ring_given)),
            read: std::ptr::from_ref(shared_u64(&mut bss.at_hand.ring_reader.read)),
            lap: std::ptr::from_ref(shared_u64(&mut bss.at_hand.ring_reader.lap)),
            copies_lost: std::ptr::from_ref(shared(&mut bss.copies_lost)),
            ring_bytes: self.ring_bytes.into(),
            secret: self.ring_secret,
        };
        Ring::new(&maps.ring_memory, &maps.wakeups, meeting)
    }

    /// Has the next record wake the reader. One may have come just before, and be seen only some microseconds after: look
    /// once more some time later, before sleeping.
    pub fn wake_on_next_record(&mut self) {
        if let Some(bss) = self.skeleton.maps.bss_data.as_deref_mut() {
            shared(&mut bss.at_hand.ring_reader.sleeps).store(1, Ordering::SeqCst);
        }
    }

    /// Whether the next record still will wake the reader: none has since that was asked for.
    pub fn wakes_on_next_record(&mut self) -> bool {
        let bss = self.skeleton.maps.bss_data.as_deref_mut();
        bss.is_some_and(|bss| shared(&mut bss.at_hand.ring_reader.sleeps).load(Ordering::SeqCst) == 1)
    }

    /// Whether a record has come since the last call that is to be read at once, not with those that come after it.
    pub fn hurries(&mut self) -> bool {
        let bss = self.skeleton.maps.bss_data.as_deref_mut();
        bss.is_some_and(|bss| shared(&mut bss.at_hand.ring_reader.hurries).swap(0, Ordering::SeqCst) == 1)
    }

    /// The kernel side's counts, summed over the CPUs, by name; zero counts left out.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let mut counters = BTreeMap::new();
        for index in 0..abi::COUNTERS {
            let Some(name) = counter_name(index) else { continue };
            let Ok(Some(values)) =
                self.skeleton.maps.counters.lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY)
            else {
                continue;
            };
            let sum: u64 =
                values.iter().filter_map(|v| v.as_slice().try_into().ok()).map(u64::from_ne_bytes).sum();
            if sum > 0 {
                counters.insert(name, sum);
            }
        }
        counters
    }

    /// The loaded programs.
    pub fn programs(&self) -> Vec<ProgramStatus> {
        let ids: BTreeMap<u32, String> = self
            .skeleton
            .object()
            .progs()
            .filter(ProgramImpl::autoload)
            .filter_map(|program| {
                let id = Program::id_from_fd(program.as_fd()).ok()?;
                Some((id, program.name().to_string_lossy().into_owned()))
            })
            .collect();
        ProgInfoIter::default()
            .filter_map(|info| {
                let name = ids.get(&info.id)?.clone();
                Some(ProgramStatus { name, missed: info.recursion_misses })
            })
            .collect()
    }
}

/// A variable that the kernel programs read and write at the same time.
pub(crate) fn shared(variable: &mut u32) -> &AtomicU32 {
    // SAFETY: the reference is unique, aligned and lives as long as the result; the other side is the kernel, whose
    // accesses to an aligned u32 are whole.
    unsafe { AtomicU32::from_ptr(variable) }
}

/// As [`shared`].
pub(crate) fn shared_u64(variable: &mut u64) -> &AtomicU64 {
    // SAFETY: as in `shared`, for an aligned u64.
    unsafe { AtomicU64::from_ptr(variable) }
}

/// Before 5.19 no value of a map may be larger than 4 MiB (`array_map_alloc_check` in kernel/bpf/arraymap.c). The socket
/// tracepoints came later.
fn ring_bytes(options: &Options) -> u32 {
    const OLD_KERNELS_BYTES: u32 = 2 * 1024 * 1024;
    if options.way == Way::TpBtf { options.ring_bytes } else { options.ring_bytes.min(OLD_KERNELS_BYTES) }
}

fn configure(open: &mut OpenProbeSkel<'_>, options: &Options, ring_secret: u64) -> Result<(), LoadError> {
    let maps = &mut open.maps;
    let ring_bytes = ring_bytes(options);
    maps.ring_memory.set_value_size(ring_bytes + abi::RING_BEYOND_BYTES).map_err(LoadError::Open)?;
    maps.watched.set_max_entries(options.max_processes).map_err(LoadError::Open)?;
    maps.interpreter_indices.set_max_entries(options.max_processes).map_err(LoadError::Open)?;
    // The programs take a slot with an atomic operation that came with 5.12; the tracepoints came later.
    let use_slots = options.socket_storage && options.way == Way::TpBtf;
    if !use_slots {
        maps.connection_slots.set_max_entries(1).map_err(LoadError::Open)?;
    }
    // Here each program has one of the first two places; they are large.
    if options.way == Way::TpBtf && !options.sends_pages {
        maps.scratches.set_max_entries(2).map_err(LoadError::Open)?;
    }
    // An LRU table that is not asked for shrinks to almost nothing.
    let table = if options.socket_storage { 1 } else { options.max_connections };
    maps.connections_by_address.set_max_entries(table).map_err(LoadError::Open)?;
    if !options.exceptions {
        maps.raised.set_max_entries(1).map_err(LoadError::Open)?;
        maps.given_answers.set_max_entries(1).map_err(LoadError::Open)?;
        maps.exception_layouts.set_max_entries(1).map_err(LoadError::Open)?;
    }
    if let Some(rodata) = maps.rodata_data.as_deref_mut() {
        rodata.config.own_tgid = std::process::id();
        rodata.config.head_bytes = options.head_bytes.min(abi::HEAD_BYTES_MAX);
        rodata.config.whole_bytes = options.whole_bytes.min(abi::WHOLE_BYTES_MAX);
        rodata.config.wake_bytes = ring_bytes / 4;
        rodata.config.ring_bytes = ring_bytes;
        rodata.config.ring_secret = ring_secret;
        rodata.config.use_socket_storage = u32::from(options.socket_storage);
        rodata.config.use_slots = u32::from(use_slots);
        rodata.config.exceptions = u32::from(options.exceptions);
        rodata.config.tick_us = options.tick_us;
    }
    Ok(())
}

/// Programs of the other ways are not loaded at all.
fn select(program: &mut OpenProgramMut<'_>, options: &Options) {
    let name = program.name().to_string_lossy().into_owned();
    if let Some(of) = user_probes_of(&name) {
        let is_multi = of == UserProbes::Multi;
        program.set_autoload(
            options.user_probes != UserProbes::None && is_multi == options.user_probes.is_multi(),
        );
        if is_multi {
            program.set_attach_type(ProgramAttachType::TraceUprobeMulti);
        }
        return;
    }
    let of_exceptions = EXCEPTIONS.contains(&name.as_str());
    if of_exceptions || PLACED.contains(&name.as_str()) {
        program.set_autoload(options.exceptions || !of_exceptions);
        if options.user_probes == UserProbes::Multi {
            program.set_attach_type(ProgramAttachType::TraceUprobeMulti);
        }
        return;
    }
    if PAGES.contains(&name.as_str()) {
        program.set_autoload(options.sends_pages && options.way != Way::Syscalls);
        return;
    }
    let of = if name.starts_with("tp_") {
        Some(Way::TpBtf)
    } else if name.starts_with("fexit_") {
        Some(Way::Fexit)
    } else if name.starts_with("exit_") {
        Some(Way::Syscalls)
    } else {
        None
    };
    program.set_autoload(of.is_none_or(|of| of == options.way));
}

/// `None`: not a program for user code.
fn user_probes_of(name: &str) -> Option<UserProbes> {
    let name = name.strip_prefix("user_")?;
    Some(if name.ends_with("_multi") { UserProbes::Multi } else { UserProbes::Single })
}

fn counter_name(index: u32) -> Option<String> {
    if let Some(call) = index.checked_sub(abi::COUNTER_WITHOUT_CONTENT) {
        return abi::CALL_NAMES.get(call as usize).map(|call| format!("without_content_{call}"));
    }
    abi::COUNTER_NAMES.get(index as usize).map(|name| (*name).to_owned())
}
