//! How the probe ends, and what it leaves behind: nothing.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;
use tests::caller::Caller;
use tests::client::{Connection, Request};
use tests::command::{Running, probe};
use tests::process::POLL;
use tests::server::Server;
use tests::stardust::{Mode, StarServer};
use tests::venv::Venv;
use tests::watch::{can_run, read};

const ATTACH_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// For the machine's own sluggishness.
const SLACK: Duration = Duration::from_millis(1500);
const PAGE_BYTES: usize = 4096;
/// Idle processes with the server's libraries.
const OTHERS: usize = 30;

/// What is in the kernel: how many programs, maps and links of each name.
fn kernel_objects() -> BTreeMap<String, usize> {
    let mut objects = BTreeMap::new();
    for kind in ["prog", "map", "link"] {
        let list: Vec<Value> =
            serde_json::from_str(&read(Command::new("bpftool").args(["-j", kind, "list"])).unwrap()).unwrap();
        for object in list {
            let name = object["name"].as_str().or(object["type"].as_str()).unwrap_or_default();
            *objects.entry(format!("{kind} {name}")).or_default() += 1;
        }
    }
    objects
}

fn attach(server: &Server, arguments: &[&str]) -> Running {
    let pid = server.pid().to_string();
    let mut command = probe(&["--pid", &pid, "--format", "json"]).unwrap();
    command.args(arguments);
    let mut running = Running::start(command).unwrap();
    running.wait_for_line("attached", ATTACH_LIMIT).unwrap();
    running
}

/// A server, and a probe on it that reports to a stand-in and keeps its state in the folder.
fn attach_reporting() -> (StarServer, Server, TempDir, Running) {
    let star = StarServer::start().unwrap();
    let server = Server::gunicorn("flask_app:app", &["--workers", "1"]).unwrap();
    let state = tempfile::tempdir().unwrap();
    let running = attach(&server, &["--server", &star.url(), "--state-dir", state.path().to_str().unwrap()]);
    (star, server, state, running)
}

/// What the target answers, less the time of day.
fn answers(server: &Server) -> Vec<(Option<u16>, Vec<u8>)> {
    ["/", "/items/7", "/missing", "/boom", "/stream?chunks=3&size=10", "/big?bytes=100000"]
        .map(|target| {
            let mut connection = Connection::open(&server.endpoint).unwrap();
            let entry = connection.exchange(Request::get(target)).unwrap();
            (entry.status, entry.body)
        })
        .to_vec()
}

#[rstest]
#[case::interrupted(Signal::SIGINT, Some(0))]
#[case::terminated(Signal::SIGTERM, Some(0))]
#[case::killed(Signal::SIGKILL, None)]
fn nothing_is_left_and_the_target_is_as_before(#[case] signal: Signal, #[case] code: Option<i32>) {
    if !can_run() {
        return;
    }
    let server = Server::gunicorn("flask_app:app", &["--workers", "1"]).unwrap();
    let (objects_before, answers_before) = (kernel_objects(), answers(&server));
    let worker = server.processes.children()[0];
    // Its own heap and arenas come and go; what has a name does not.
    let maps = |pid: u32| -> Vec<String> {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let has_name = |line: &&str| line.split_whitespace().nth(5).is_some_and(|name| name != "[heap]");
        maps.lines().filter(has_name).map(str::to_owned).collect()
    };
    let maps_before = maps(worker);
    let mut running = attach(&server, &[]);
    assert_ne!(kernel_objects(), objects_before, "the probe shows in the kernel while it runs");
    assert_eq!(answers(&server), answers_before);
    running.signal(signal).unwrap();
    let status = running.wait(STOP_LIMIT).unwrap();
    assert_eq!(status.code(), code, "{:#?}", running.lines);
    // The kernel frees programs and maps a little later (RCU).
    let deadline = Instant::now() + STOP_LIMIT;
    while kernel_objects() != objects_before && Instant::now() < deadline {
        std::thread::sleep(POLL);
    }
    assert_eq!(kernel_objects(), objects_before);
    assert_eq!(answers(&server), answers_before);
    assert_eq!(maps(worker), maps_before, "nothing was mapped into the target");
    assert_eq!(server.processes.children(), [worker]);
}

/// Where the code of a process is not that of its files, and what the file has there.
fn breakpoints(pid: u32) -> Vec<(u64, u8)> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = memory(pid);
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let differ = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[range, "r-xp", offset, _, _, path] = &words[..] else { return Vec::new() };
        let Ok(file) = std::fs::read(path) else { return Vec::new() };
        let (from, to) = range.split_once('-').map(|(from, to)| (number(from), number(to))).unwrap();
        let mut code = vec![0; (to - from) as usize];
        memory.read_exact_at(&mut code, from).unwrap();
        let pages = code.chunks(PAGE_BYTES).zip(file[number(offset) as usize..].chunks(PAGE_BYTES));
        let changed = (from..).step_by(PAGE_BYTES).zip(pages).filter(|(_, (byte, written))| byte != written);
        let bytes = changed.flat_map(|(at, (code, file))| (at..).zip(code.iter().zip(file)));
        bytes
            .filter(|(_, (byte, written))| byte != written)
            .map(|(at, (_, written))| (at, *written))
            .collect()
    };
    maps.lines().flat_map(differ).collect()
}

fn memory(pid: u32) -> File {
    File::open(format!("/proc/{pid}/mem")).unwrap()
}

/// Those of a library are in every process that has it, and would be hit for ever.
#[rstest]
#[case::terminated(Signal::SIGTERM)]
#[case::killed(Signal::SIGKILL)]
fn no_breakpoint_stays(#[case] signal: Signal) {
    if !can_run() {
        return;
    }
    let server = Server::uvicorn_tls("fastapi_app:app", "asyncio").unwrap();
    assert_eq!(breakpoints(server.pid()), []);
    for _ in 0..5 {
        let mut command = probe(&["--pid", &server.pid().to_string(), "--format", "json"]).unwrap();
        command.env("STARDUST_PROBE_PYTHON_ERRORS", "always");
        let mut running = Running::start(command).unwrap();
        running.wait_for_line("attached", ATTACH_LIMIT).unwrap();
        assert_ne!(breakpoints(server.pid()), []);
        running.signal(signal).unwrap();
        running.wait(STOP_LIMIT).unwrap();
        all_gone(server.pid());
    }
}

/// The kernel takes off what a killed probe had in place a moment later.
fn all_gone(pid: u32) {
    let deadline = Instant::now() + STOP_LIMIT;
    while !breakpoints(pid).is_empty() && Instant::now() < deadline {
        std::thread::sleep(POLL);
    }
    assert_eq!(breakpoints(pid), []);
}

/// That many processes have the library makes it last.
#[test]
fn no_breakpoint_stays_where_the_probe_is_killed_while_it_takes_them_off() {
    if !can_run() {
        return;
    }
    let server = Server::uvicorn_tls("fastapi_app:app", "asyncio").unwrap();
    let idle = |_| {
        let mut command = Command::new(Venv::open().unwrap().program("python"));
        command.args(["-c", "import ssl; print('ready', flush=True); input()"]);
        let mut idle = Caller::start(command).unwrap();
        assert_eq!(idle.line().unwrap().trim_end(), "ready");
        idle
    };
    let others: Vec<Caller> = (0..OTHERS).map(idle).collect();
    let memory = memory(server.pid());
    for _ in 0..5 {
        let mut running = attach(&server, &[]);
        let places = breakpoints(server.pid());
        assert_ne!(places, []);
        running.signal(Signal::SIGTERM).unwrap();
        let is_off = |(at, written): &(u64, u8)| {
            let mut byte = [0];
            memory.read_exact_at(&mut byte, *at).unwrap();
            byte == [*written]
        };
        let deadline = Instant::now() + STOP_LIMIT;
        while !places.iter().any(is_off) && Instant::now() < deadline {}
        running.signal(Signal::SIGKILL).unwrap();
        running.wait(STOP_LIMIT).unwrap();
        all_gone(server.pid());
        for other in &others {
            all_gone(other.pid());
        }
    }
}

#[test]
fn a_silent_server_does_not_hold_up_the_end() {
    if !can_run() {
        return;
    }
    let (star, server, _state, mut running) = attach_reporting();
    answers(&server);
    assert!(star.wait_until(ATTACH_LIMIT, |star| !star.logins().is_empty()));
    star.set_mode(Mode::Hanging);
    answers(&server);
    let begin = Instant::now();
    running.signal(Signal::SIGTERM).unwrap();
    let status = running.wait(STOP_LIMIT + SLACK).unwrap();
    assert_eq!(status.code(), Some(0), "{:#?}", running.lines);
    assert!(begin.elapsed() < STOP_LIMIT + SLACK, "{:?}", begin.elapsed());
}

#[test]
fn a_second_signal_stops_at_once() {
    if !can_run() {
        return;
    }
    let (star, server, _state, mut running) = attach_reporting();
    star.set_mode(Mode::Hanging);
    answers(&server);
    running.signal(Signal::SIGINT).unwrap();
    running.wait_for_line("stopping", STOP_LIMIT).unwrap();
    let begin = Instant::now();
    // Within a moment of the first it would count as the same signal.
    let mut ended = running.wait(Duration::from_millis(100));
    while ended.is_err() && begin.elapsed() < SLACK {
        running.signal(Signal::SIGINT).unwrap();
        ended = running.wait(Duration::from_millis(100));
    }
    assert_eq!(ended.unwrap().code(), Some(130));
    assert!(begin.elapsed() < SLACK, "{:?}", begin.elapsed());
}

#[test]
fn a_full_disk_is_an_error_and_a_reader_that_leaves_is_none() {
    if !can_run() {
        return;
    }
    let server = Server::gunicorn("flask_app:app", &["--workers", "1"]).unwrap();
    let pid = server.pid().to_string();
    for (shell, code) in
        [("exec \"$0\" \"$@\" >/dev/full", Some(74)), ("\"$0\" \"$@\" | head -n 1 >/dev/null", Some(0))]
    {
        let program = tests::probe::find_program().unwrap();
        let mut command = Command::new("bash");
        command.args(["-o", "pipefail", "-c", shell]).arg(program).args(["--pid", &pid, "--format", "json"]);
        let mut running = Running::start(command).unwrap();
        running.wait_for_line("attached", ATTACH_LIMIT).unwrap();
        let mut status = running.wait(Duration::from_millis(100));
        let begin = Instant::now();
        // A pipe tells only the one who writes that its reader is gone.
        while status.is_err() && begin.elapsed() < ATTACH_LIMIT {
            answers(&server);
            status = running.wait(Duration::from_millis(100));
        }
        assert_eq!(status.unwrap().code(), code, "{:#?}", running.lines);
        let says = running.lines.iter().any(|line| line.contains("cannot write spans to stdout"));
        assert_eq!(says, code == Some(74), "{:#?}", running.lines);
    }
}

#[test]
fn it_ends_with_its_target() {
    if !can_run() {
        return;
    }
    let server = Server::gunicorn("flask_app:app", &["--workers", "2"]).unwrap();
    let mut running = attach(&server, &[]);
    server.processes.signal(Signal::SIGTERM).unwrap();
    assert_eq!(running.wait(ATTACH_LIMIT).unwrap().code(), Some(0));
    assert!(
        running.lines.iter().any(|line| line.contains("every watched process has ended")),
        "{:#?}",
        running.lines
    );
}
