//! The routes of watched Python apps: when they are read from a process's memory, and what was read.
//!
//! Invariant: reading is done by a thread of its own, one process after the other, and keeps nothing else waiting.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use model::Routes;
use python::Layout;
use python::routes::{self, NoRoutes};
use rustc_hash::FxHashMap;

use crate::discover::Proc;
use crate::discover::interpreter::Interpreter;
use crate::discover::pages::Pages;

/// When a process without an app is looked at again: it may still be loading.
const LOOKS_NS: [u64; 5] = [0, 1_000_000_000, 3_000_000_000, 10_000_000_000, 60_000_000_000];
/// How long after a look a path that no known rule matches leads to another one, and how much longer each time: most such
/// paths are not the app's.
const AGAIN_NS: u64 = 10_000_000_000;
const AGAIN_MAX_NS: u64 = 1_800_000_000_000;
/// Most processes that wait to be looked at.
const MAX_WAITING: usize = 64;
/// How long those that are to be watched are read before that begins; what is left is read after.
const AHEAD_LIMIT: Duration = Duration::from_millis(500);
/// A process runs while it is read: what does not make sense may in a moment.
const TRIES: usize = 3;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// Where a process keeps its interpreter.
#[derive(Debug, Clone, Copy)]
struct Place {
    pid: u32,
    runtime: u64,
    layout: &'static Layout,
}

/// What a look has given.
type Look = (u32, Result<Routes, NoRoutes>);

/// The processes whose routes are read.
#[derive(Debug)]
pub struct RouteReader {
    processes: FxHashMap<u32, Watched>,
    /// `None`: routes are not read.
    thread: Option<(SyncSender<Place>, Receiver<Look>)>,
    /// How many looks the thread was asked for that it has not given yet.
    asked: usize,
    next_ns: u64,
}

#[derive(Debug)]
struct Watched {
    place: Place,
    looks: usize,
    due_ns: Option<u64>,
    /// Not before this time, and how long after that.
    not_before_ns: u64,
    again_ns: u64,
    known: Option<Arc<Routes>>,
    /// It was read before it was watched, and nothing was heard of it since.
    is_ahead: bool,
}

impl RouteReader {
    /// Starts the thread, if routes are to be read.
    pub fn start(wanted: bool) -> std::io::Result<Self> {
        let thread = wanted.then(spawn).transpose()?;
        Ok(Self { processes: FxHashMap::default(), thread, asked: 0, next_ns: u64::MAX })
    }

    /// Reads the routes of processes that are not watched yet, so that their first requests have them.
    pub fn read_ahead(&mut self, pids: &[u32], now_ns: u64) -> Vec<(u32, Arc<Routes>)> {
        let (began, proc) = (Instant::now(), Proc::default());
        let mut news = Vec::new();
        for pid in pids {
            if self.thread.is_none() || began.elapsed() > AHEAD_LIMIT {
                break;
            }
            let Some(interpreter) = proc.interpreter(*pid) else { continue };
            let Ok(build) = &interpreter.build else { continue };
            let place = Place { pid: *pid, runtime: interpreter.runtime, layout: build.layout };
            let mut watched = Watched::new(place, now_ns);
            news.extend(watched.take(read(place), now_ns).map(|routes| (*pid, routes)));
            watched.is_ahead = watched.known.is_some();
            watched.due_ns = None;
            self.processes.insert(*pid, watched);
        }
        news
    }

    /// An interpreter is running in a process.
    pub fn found(&mut self, pid: u32, interpreter: &Interpreter, now_ns: u64) {
        let (Ok(build), true) = (&interpreter.build, self.thread.is_some()) else { return };
        let place = Place { pid, runtime: interpreter.runtime, layout: build.layout };
        match self.processes.get_mut(&pid) {
            Some(known) if known.is_ahead && known.place.runtime == place.runtime => known.is_ahead = false,
            _ => {
                self.processes.insert(pid, Watched::new(place, now_ns));
                self.next_ns = now_ns;
            }
        }
    }

    /// A process was asked for a path of which its routes, as they are known, say nothing.
    pub fn missed(&mut self, pid: u32) {
        if let Some(watched) = self.processes.get_mut(&pid) {
            let due_ns =
                watched.due_ns.map_or(watched.not_before_ns, |due_ns| due_ns.min(watched.not_before_ns));
            watched.due_ns = Some(due_ns);
            self.next_ns = self.next_ns.min(due_ns);
        }
    }

    /// Whether the thread is at it.
    pub fn is_reading(&self) -> bool {
        self.asked > 0
    }

    /// Has the thread look at what is due, and takes what it has read: routes that are new.
    pub fn look(&mut self, is_watched: impl Fn(u32) -> bool, now_ns: u64) -> Vec<(u32, Arc<Routes>)> {
        let Some((places, looks)) = &self.thread else { return Vec::new() };
        let mut news = Vec::new();
        for (pid, read) in looks.try_iter() {
            self.asked -= 1;
            let Some(watched) = self.processes.get_mut(&pid) else { continue };
            news.extend(watched.take(read, now_ns).map(|routes| (pid, routes)));
            self.next_ns = self.next_ns.min(watched.due_ns.unwrap_or(u64::MAX));
        }
        if now_ns < self.next_ns {
            return news;
        }
        self.processes.retain(|pid, _| is_watched(*pid));
        self.next_ns = u64::MAX;
        for watched in self.processes.values_mut() {
            let Some(due_ns) = watched.due_ns else { continue };
            if due_ns <= now_ns {
                match places.try_send(watched.place) {
                    Ok(()) => {
                        self.asked += 1;
                        watched.due_ns = None;
                        watched.not_before_ns = now_ns + watched.again_ns;
                        continue;
                    }
                    // Those that wait come first.
                    Err(TrySendError::Full(_)) => {}
                    Err(TrySendError::Disconnected(_)) => continue,
                }
            }
            self.next_ns = self.next_ns.min(due_ns.max(now_ns + BETWEEN_TRIES.as_nanos() as u64));
        }
        news
    }
}

impl Watched {
    fn new(place: Place, now_ns: u64) -> Self {
        Self {
            place,
            looks: 0,
            due_ns: Some(now_ns),
            not_before_ns: now_ns,
            again_ns: AGAIN_NS,
            known: None,
            is_ahead: false,
        }
    }

    fn take(&mut self, read: Result<Routes, NoRoutes>, now_ns: u64) -> Option<Arc<Routes>> {
        let pid = self.place.pid;
        self.looks += 1;
        self.not_before_ns = now_ns + self.again_ns;
        self.again_ns = (2 * self.again_ns).min(AGAIN_MAX_NS);
        match read {
            Ok(routes) => {
                if self.known.as_deref() == Some(&routes) {
                    return None;
                }
                tracing::debug!("{pid}: {} routes of its app read", routes.rules.len());
                let routes = Arc::new(routes);
                self.known = Some(routes.clone());
                Some(routes)
            }
            Err(why) => {
                tracing::debug!("{pid}: its app's routes are not known: {why}");
                self.due_ns = LOOKS_NS.get(self.looks).map(|after_ns| now_ns + after_ns);
                None
            }
        }
    }
}

fn spawn() -> std::io::Result<(SyncSender<Place>, Receiver<Look>)> {
    let (place, places) = mpsc::sync_channel::<Place>(MAX_WAITING);
    let (look, looks) = mpsc::channel();
    // It ends when nobody can ask it any more.
    thread::Builder::new().name("routes".into()).spawn(move || {
        for place in places {
            if look.send((place.pid, read(place))).is_err() {
                break;
            }
        }
    })?;
    Ok((place, looks))
}

fn read(Place { pid, runtime, layout }: Place) -> Result<Routes, NoRoutes> {
    let memory = Proc::default().memory(pid).map_err(|_| NoRoutes::Unreadable)?;
    let mut found = Err(NoRoutes::Unreadable);
    for _ in 0..TRIES {
        found = routes::read(&Pages::of(&memory), runtime, layout);
        if !matches!(found, Err(NoRoutes::Unclear | NoRoutes::Unreadable)) {
            break;
        }
        thread::sleep(BETWEEN_TRIES);
    }
    found
}

#[cfg(test)]
mod tests {
    use model::{Order, Piece, Rule, Target};

    use super::*;

    const S: u64 = 1_000_000_000;

    /// A reader whose thread is the test.
    fn reader() -> (RouteReader, Receiver<Place>, mpsc::Sender<Look>) {
        let (place, places) = mpsc::sync_channel(1);
        let (look, looks) = mpsc::channel();
        let thread = Some((place, looks));
        let reader = RouteReader { processes: FxHashMap::default(), thread, asked: 0, next_ns: u64::MAX };
        (reader, places, look)
    }

    fn watch(reader: &mut RouteReader, pid: u32, now_ns: u64) {
        let place = Place { pid, runtime: 1, layout: &Layout::all()[0] };
        reader.processes.insert(pid, Watched::new(place, now_ns));
        reader.next_ns = now_ns;
    }

    fn routes(template: &str) -> Routes {
        let rule = Rule {
            template: template.to_owned(),
            pieces: vec![Piece::Literal(template.to_owned())],
            methods: None,
            target: Target::Endpoint,
        };
        Routes { order: Order::First, rules: vec![rule] }
    }

    #[test]
    fn an_app_that_is_still_loading_is_looked_at_again() {
        let (mut reader, places, look) = reader();
        watch(&mut reader, 1, 0);
        let asked = |reader: &mut RouteReader, now_ns| {
            let news = reader.look(|_| true, now_ns);
            (news.len(), places.try_recv().ok().map(|place| place.pid))
        };
        assert_eq!(asked(&mut reader, 0), (0, Some(1)));
        assert_eq!(asked(&mut reader, S), (0, None), "it is being read");
        assert!(reader.is_reading());
        look.send((1, Err(NoRoutes::NoApp))).unwrap();
        assert_eq!(asked(&mut reader, S), (0, None));
        assert_eq!(asked(&mut reader, 2 * S), (0, Some(1)));
        look.send((1, Ok(routes("/a")))).unwrap();
        assert_eq!(asked(&mut reader, 3 * S), (1, None));
        assert!(!reader.is_reading());
        // What is unknown leads to another look, but not at once, and later each time.
        reader.missed(1);
        assert_eq!(asked(&mut reader, 22 * S), (0, None));
        assert_eq!(asked(&mut reader, 23 * S), (0, Some(1)));
        look.send((1, Ok(routes("/a")))).unwrap();
        assert_eq!(asked(&mut reader, 24 * S), (0, None), "they are the same");
        reader.missed(1);
        assert_eq!(asked(&mut reader, 63 * S), (0, None));
        assert_eq!(asked(&mut reader, 64 * S), (0, Some(1)));
        look.send((1, Ok(routes("/b")))).unwrap();
        assert_eq!(asked(&mut reader, 64 * S), (1, None));
    }

    #[test]
    fn those_that_wait_are_few_and_none_is_forgotten() {
        let (mut reader, places, _look) = reader();
        for pid in [1, 2, 3] {
            watch(&mut reader, pid, 0);
        }
        let mut asked = Vec::new();
        for step in 0..4 {
            assert!(reader.look(|pid| pid != 3, step * S).is_empty());
            asked.extend(places.try_iter().map(|place| place.pid));
        }
        asked.sort_unstable();
        assert_eq!(asked, [1, 2], "one that has ended is not asked");
        reader.missed(3);
        assert_eq!(reader.next_ns, u64::MAX);
    }

    #[test]
    fn nothing_is_read_where_it_is_not_wanted() {
        let mut reader = RouteReader::start(false).unwrap();
        assert!(reader.read_ahead(&[std::process::id()], 0).is_empty());
        assert!(reader.look(|_| true, S).is_empty());
    }
}
