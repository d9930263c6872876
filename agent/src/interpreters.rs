//! Looks for the interpreters of watched processes, and tells the kernel side where they keep what they run.
//!
//! Invariants: the kernel side is told only what was seen to hold; looking is spread out, so that a crowd of new
//! processes costs no more than one look in [`BETWEEN_LOOKS_NS`]. What threads run is read only where it tells something.

use ebpf::{Kernel, abi};
use rustc_hash::FxHashMap;

use crate::discover::Proc;
use crate::discover::interpreter::{Interpreter, Sends, Switching};
use crate::pipeline::News;

/// When a process is looked at, after it showed up: an interpreter comes up, and loads libraries, in its own time.
const LOOKS_NS: [u64; 6] = [0, 100_000_000, 500_000_000, 2_000_000_000, 8_000_000_000, 30_000_000_000];
/// How often after that.
const LATER_NS: u64 = 60_000_000_000;
const BETWEEN_LOOKS_NS: u64 = 20_000_000;

/// The processes and what the kernel side knows of their interpreters.
#[derive(Debug, Default)]
pub struct Interpreters {
    processes: FxHashMap<u32, Watched>,
    /// When the next look is due, at the earliest.
    next_ns: u64,
}

#[derive(Debug)]
struct Watched {
    since_ns: u64,
    looks: usize,
    due_ns: u64,
    told: Option<abi::Interpreter>,
    /// What was found last.
    found: Option<Interpreter>,
    /// It is seen which of its tasks starts which.
    sees_tasks: bool,
}

impl Interpreters {
    /// These processes are new, or run another program now.
    pub fn expect(&mut self, pids: impl IntoIterator<Item = u32>, now_ns: u64) {
        for pid in pids {
            let watched = Watched {
                since_ns: now_ns,
                looks: 0,
                due_ns: now_ns,
                told: None,
                found: None,
                sees_tasks: false,
            };
            self.processes.insert(pid, watched);
            self.next_ns = self.next_ns.min(now_ns);
        }
    }

    /// Takes note of what happened to processes: what serves has loaded what it serves with.
    pub fn hear(&mut self, news: &[News], now_ns: u64) {
        for new in news {
            if let News::Served(pid) = new
                && let Some(watched) = self.processes.get_mut(pid)
            {
                watched.due_ns = now_ns;
                self.next_ns = self.next_ns.min(now_ns);
            }
        }
    }

    /// Looks at the process that has waited longest, if one is due. Gives its interpreter if that is followed from now
    /// on.
    pub fn look(&mut self, kernel: &mut Kernel, now_ns: u64) -> Option<(u32, Interpreter)> {
        if now_ns < self.next_ns {
            return None;
        }
        let Some((pid, watched)) = self.processes.iter_mut().min_by_key(|(_, watched)| watched.due_ns) else {
            self.next_ns = u64::MAX;
            return None;
        };
        if now_ns < watched.due_ns {
            self.next_ns = watched.due_ns;
            return None;
        }
        self.next_ns = now_ns + BETWEEN_LOOKS_NS;
        let (pid, proc) = (*pid, Proc::default());
        if proc.watchable(pid).is_err() {
            self.processes.remove(&pid);
            return None;
        }
        let found = match &watched.found {
            // Nothing but another program, which is expected anew, changes what its file says.
            Some(known) if watched.told.is_some() => proc.interpreter_again(pid, known),
            _ => proc.interpreter(pid),
        };
        watched.found = found;
        let is_news = watched.tell_news(kernel, pid);
        watched.looks += 1;
        watched.due_ns = match LOOKS_NS.get(watched.looks) {
            Some(after_ns) => now_ns.max(watched.since_ns + after_ns),
            None => now_ns + LATER_NS,
        };
        let followed = watched.found.as_ref().filter(|_| is_news && watched.told.is_some())?;
        Some((pid, followed.clone()))
    }

    /// It is seen which task starts which in a process, or not any more.
    pub fn see_tasks(&mut self, kernel: &mut Kernel, pid: u32, are_seen: bool) {
        let Some(watched) = self.processes.get_mut(&pid) else { return };
        watched.sees_tasks = are_seen;
        // What is not followed is told of when it is looked at.
        if watched.told.is_some() {
            watched.tell_news(kernel, pid);
        }
    }
}

impl Watched {
    /// Tells the kernel side what was found, if that is other than what it knows. Gives whether it was.
    fn tell_news(&mut self, kernel: &mut Kernel, pid: u32) -> bool {
        let follow = self.found.as_ref().and_then(|found| for_kernel(found, self.sees_tasks));
        let is_news = follow != self.told || self.looks == 0;
        if is_news {
            let is_told = tell(kernel, pid, self.found.as_ref(), follow.as_ref());
            self.told = follow.filter(|_| is_told);
        }
        is_news
    }
}

/// Whether the process is followed now.
fn tell(
    kernel: &mut Kernel,
    pid: u32,
    found: Option<&Interpreter>,
    follow: Option<&abi::Interpreter>,
) -> bool {
    let Some(follow) = follow else {
        kernel.unfollow(pid);
        if let Some(found) = found {
            let reason = found.refusal().unwrap_or_default();
            tracing::debug!("{pid}: {found}: its calls are told apart by thread only: {reason}");
        }
        return false;
    };
    let outcome = kernel.follow(pid, follow);
    if let Err(error) = &outcome {
        tracing::debug!("{pid}: its calls are told apart by thread only: {error}");
    }
    outcome.is_ok()
}

/// What the kernel side needs; `None` if the interpreter cannot be followed. `sees_tasks`: see [`Interpreters::see_tasks`].
fn for_kernel(interpreter: &Interpreter, sees_tasks: bool) -> Option<abi::Interpreter> {
    let (Ok(build), Ok(slot)) = (&interpreter.build, interpreter.slot) else { return None };
    let (outside, unread) = match interpreter.switching {
        // No thread says outside of contexts for whom it works, and contexts say nothing as long as they are not told apart.
        Switching { uvloop: Some(_), .. } | Switching { reactor: true, .. } if !sees_tasks => {
            (abi::IDENTITY_UNSEEN, true)
        }
        Switching { uvloop: Some(Sends::Later { .. }), .. } => (abi::IDENTITY_DEFERRED, false),
        // It reads outside of tasks; greenlets would not be told apart there.
        Switching { uvloop: Some(Sends::AtOnce), .. } | Switching { reactor: true, .. } => {
            (abi::IDENTITY_LOOP, false)
        }
        Switching { greenlets: true, .. } => (abi::IDENTITY_GREENLET, false),
        Switching { event_loop: true, .. } => (abi::IDENTITY_BASE, false),
        // Whatever context a thread has entered, it does one thing at a time. Should a loop come up, its calls still are no thread's.
        _ => (abi::IDENTITY_BASE, true),
    };
    let (thread, context) = (build.layout.thread.thread_id, build.layout.thread.context);
    let window_bytes = context.checked_sub(thread)? + 8;
    if window_bytes > abi::STATE_WINDOW_BYTES || window_bytes % 8 != 0 {
        return None;
    }
    let greenlets = interpreter.greenlets.as_ref().filter(|_| outside == abi::IDENTITY_GREENLET);
    Some(abi::Interpreter {
        slot: slot.offset,
        context: u16::try_from(context).ok()?,
        entered: u16::try_from(build.layout.context.entered).ok()?,
        outside: outside.into(),
        unread: unread.into(),
        thread: thread as u16,
        previous: u16::try_from(build.layout.context.prev).ok()?,
        greenlet_module: greenlets.map_or(0, |greenlets| greenlets.module),
        greenlet_place: greenlets.map_or(0, |greenlets| greenlets.place),
    })
}
