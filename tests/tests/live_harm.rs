//! What a probe does to those it watches: nothing. Servers are under a mixed load while probes come and go.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstest::rstest;
use tests::client::{Connection, Request};
use tests::command::{Running, probe};
use tests::process::resident_kib;
use tests::server::{Endpoint, Server};
use tests::venv::apps_folder;
use tests::watch::can_run;

const ATTACH_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// What a request may take while a probe attaches on a busy machine. One that hangs takes longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const CLIENTS: usize = 2;
/// Requests on one connection.
const KEPT: u64 = 50;
/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(2);
/// Before what a process has is written down: pools are filled, caches are warm.
const WARM_UP: Duration = Duration::from_secs(5);
/// An interpreter's memory comes in arenas of 1 MiB, and the C library's heap is of several.
const GROWTH_BYTES: u64 = 16 << 20;

/// A request that is answered alike whenever it is sent.
struct Asked {
    request: Request,
    status: Option<u16>,
    body: Vec<u8>,
}

/// What a process has.
#[derive(Debug, Clone, Copy)]
struct Held {
    memory_bytes: u64,
    threads: usize,
    files: usize,
}

impl Held {
    fn by(pid: u32) -> Self {
        let count = |folder: &str| fs::read_dir(format!("/proc/{pid}/{folder}")).unwrap().count();
        Self { memory_bytes: resident_kib(pid).unwrap() * 1024, threads: count("task"), files: count("fd") }
    }
}

fn uvicorn(loop_: &str) -> Server {
    let arguments = ["--http", "httptools", "--loop", loop_, "--no-access-log"];
    Server::uvicorn_in(&apps_folder(), "fastapi_app:app", &arguments).unwrap()
}

fn gunicorn(class: &str) -> Server {
    let arguments = ["--workers", "1", "--worker-class", class, "--threads", "8", "--keep-alive", "60"];
    Server::gunicorn("flask_app:app", &arguments).unwrap()
}

/// Each server's own process, and its workers.
fn processes(servers: &[Server]) -> Vec<u32> {
    servers.iter().flat_map(|server| [vec![server.pid()], server.processes.children()].concat()).collect()
}

/// Every kind of answer, a failed one and a call to another server among them.
fn questions(endpoint: &Endpoint, other: &Endpoint) -> Vec<Asked> {
    let targets = ["/", "/items/7", "/missing", "/boom", "/stream?chunks=3&size=10", "/big?bytes=100000"];
    let call = format!("/call?url={}/fast", other.url());
    let gets = targets.into_iter().chain([call.as_str()]).map(Request::get);
    let requests = gets.chain([Request::post("/echo", 5000)]);
    let ask = |request: Request| {
        let entry = Connection::open(endpoint).unwrap().exchange(request.clone()).unwrap();
        Asked { request, status: entry.status, body: entry.body }
    };
    requests.map(ask).collect()
}

/// Asks over and over until told to stop. Gives what was not as it should be.
fn drive(endpoint: &Endpoint, asked: &[Asked], stop: &AtomicBool, count: &AtomicU64) -> Option<String> {
    let mut connection = None;
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Asked { request, status, body } = &asked[number as usize % asked.len()];
        let mut open = match connection.take().filter(|_| number % KEPT != 0) {
            Some(kept) => kept,
            None => Connection::open(endpoint).unwrap(),
        };
        let begin = Instant::now();
        let entry = match open.exchange(request.clone()) {
            Ok(entry) => entry,
            Err(error) => return Some(format!("{}: {error:#}", request.target)),
        };
        let took = begin.elapsed();
        if (entry.status, &entry.body) != (*status, body) || took > ANSWER_LIMIT {
            let bytes = entry.body.len();
            return Some(format!("{}: {:?}, {bytes} bytes after {took:?}", request.target, entry.status));
        }
        // uvicorn closes after a failure without saying so.
        connection = (entry.keeps_alive && *status < Some(500)).then_some(open);
        count.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(PAUSE);
    }
    None
}

/// A probe comes, stays for a while, and goes: told to, or killed.
fn come_and_go(servers: &[Server], number: u32) {
    let signal = [Signal::SIGINT, Signal::SIGKILL, Signal::SIGTERM][number as usize % 3];
    let mut command = probe(&["--format", "json"]).unwrap();
    for server in servers {
        command.args(["--pid", &server.pid().to_string()]);
    }
    // Every second one with all that can be switched on.
    if number.is_multiple_of(2) {
        command.env("STARDUST_PROBE_PYTHON_ERRORS", "always");
    }
    let mut running = Running::start(command).unwrap();
    running.wait_for_line("attached", ATTACH_LIMIT).unwrap();
    std::thread::sleep(Duration::from_millis(u64::from(number * 700 % 4000)));
    running.signal(signal).unwrap();
    let status = running.wait(STOP_LIMIT).unwrap();
    let code = (signal != Signal::SIGKILL).then_some(0);
    assert_eq!(status.code(), code, "probe {number}, {signal}: {:#?}", running.lines);
}

#[rstest]
#[case::a_moment(Duration::from_secs(20))]
#[ignore = "takes half an hour"]
#[case::half_an_hour(Duration::from_mins(30))]
fn the_watched_are_not_harmed(#[case] duration: Duration) {
    if !can_run() {
        return;
    }
    let servers = [
        gunicorn("gthread"),
        gunicorn("gevent"),
        uvicorn("uvloop"),
        Server::uvicorn_tls("fastapi_app:app", "asyncio").unwrap(),
    ];
    let pids = processes(&servers);
    let (stop, counts) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 4]);
    let asked: Vec<_> =
        servers.iter().map(|server| questions(&server.endpoint, &servers[0].endpoint)).collect();
    let mut probes = 0;
    let harm: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..servers.len() * CLIENTS)
            .map(|index| index % servers.len())
            .map(|of| {
                let (server, asked, stop, count) = (&servers[of], &asked[of], &stop, &counts[of]);
                let name = server.endpoint.url();
                scope.spawn(move || Some(format!("{name}{}", drive(&server.endpoint, asked, stop, count)?)))
            })
            .collect();
        std::thread::sleep(WARM_UP);
        let before: Vec<Held> = pids.iter().map(|pid| Held::by(*pid)).collect();
        let begin = Instant::now();
        while begin.elapsed() < duration && clients.iter().all(|client| !client.is_finished()) {
            come_and_go(&servers, probes);
            probes += 1;
        }
        let mut harm: Vec<String> = Vec::new();
        for (pid, before) in pids.iter().zip(before) {
            let after = Held::by(*pid);
            if after.memory_bytes > before.memory_bytes + GROWTH_BYTES
                || after.threads > before.threads + 8
                || after.files > before.files + 64
            {
                harm.push(format!("{pid} had {before:?}, has {after:?}"));
            }
        }
        stop.store(true, Ordering::Relaxed);
        harm.extend(clients.into_iter().filter_map(|client| client.join().unwrap()));
        harm
    });
    assert_eq!(harm, Vec::<String>::new(), "{probes} probes");
    let counts = counts.map(AtomicU64::into_inner);
    println!("{counts:?} requests, {probes} probes");
    assert!(probes >= 3 && counts.iter().all(|count| *count > 100), "{counts:?} requests, {probes} probes");
    assert_eq!(processes(&servers), pids, "no worker was replaced");
}
