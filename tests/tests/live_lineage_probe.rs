//! When the probes of copied contexts are in a process, and what is said of them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::client::{Connection, Request};
use tests::command::{Running, probe, run};
use tests::lineage::SEES;
use tests::probe::SpanLine;
use tests::server::Server;
use tests::venv::{apps_folder, interpreters};
use tests::watch::{Watch, can_run};

/// The probe is in place, or what it needs to know of the process is known.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// A server, and one that it calls.
fn servers() -> (Server, Server) {
    let arguments = ["--http", "h11", "--loop", "asyncio", "--no-access-log"];
    (Server::uvicorn_in(&apps_folder(), "lineage_app:asgi", &arguments).unwrap(), Server::crowd().unwrap())
}

/// A request that makes three calls at once.
fn ask(server: &Server, leaf: &Server, number: usize) {
    let leaf = leaf.endpoint.url();
    let target = format!("/fan?n={number}&client=aiohttp&style=gather&size=2&leaf={leaf}");
    let answer = Connection::open(&server.endpoint).unwrap().exchange(Request::get(&target));
    assert_eq!(answer.unwrap().status, Some(200));
}

/// For each call, in order of numbers: the target of its parent up to the number, or nothing.
fn parents(spans: &[SpanLine]) -> Vec<(String, Option<String>)> {
    let number = |span: &SpanLine| {
        let target = span.target.as_deref().unwrap();
        target[target.find("n=").unwrap()..].split('&').next().unwrap().to_owned()
    };
    let by_id: HashMap<&str, &SpanLine> = spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
    let parent = |span: &SpanLine| span.parent_id.as_deref().map(|id| number(by_id[id]));
    let calls = spans.iter().filter(|span| span.kind == "client");
    let mut found: Vec<_> = calls.map(|span| (number(span), parent(span))).collect();
    found.sort();
    found
}

fn wait_for(watch: &Watch, text: &str, times: usize) {
    let deadline = Instant::now() + READY_LIMIT;
    while watch.probe.log().matches(text).count() < times {
        assert!(Instant::now() < deadline, "{text}: {}", watch.probe.log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Requests that call nobody, until the log says so.
fn ask_nothing_until(watch: &Watch, text: &str, times: usize) {
    let deadline = Instant::now() + READY_LIMIT;
    while watch.probe.log().matches(text).count() < times {
        assert!(Instant::now() < deadline, "{text}: {}", watch.probe.log());
        let answer = Connection::open(&watch.server.endpoint).unwrap().exchange(Request::get("/nothing"));
        assert_eq!(answer.unwrap().status, Some(404));
    }
}

#[test]
fn auto_comes_with_the_first_call_that_needs_it_and_leaves_after_a_quiet_time() {
    if !can_run() {
        return;
    }
    let (server, leaf) = servers();
    let variables = [("STARDUST_PROBE_LOG_LEVEL", "debug"), ("STARDUST_PROBE_PYTHON_LINEAGE_QUIET_S", "2")];
    let watch = Watch::within(server, &[], &variables).unwrap();
    wait_for(&watch, "followed: ", 1);
    for round in 1..=2 {
        ask(&watch.server, &leaf, 2 * round);
        wait_for(&watch, SEES, round);
        ask(&watch.server, &leaf, 2 * round + 1);
        ask_nothing_until(&watch, "no call needed it for a while", round);
    }
    assert!(watch.probe.wait_for_spans(16, READY_LIMIT), "{}", watch.probe.log());
    let spans = watch.probe.stop().unwrap();
    let want = (2..6).flat_map(|number: usize| {
        let text = format!("n={number}");
        // The first one of each round shows that it is needed.
        let parent = (number % 2 == 1).then(|| text.clone());
        std::iter::repeat_n((text, parent), 3)
    });
    assert_eq!(parents(&spans), want.collect::<Vec<_>>());
}

#[test]
fn the_guard_ends_what_is_too_dear() {
    if !can_run() {
        return;
    }
    let (server, leaf) = servers();
    let variables = [
        ("STARDUST_PROBE_PYTHON_LINEAGE", "always"),
        ("STARDUST_PROBE_PYTHON_LINEAGE_MAX_COPIES_PER_S", "20"),
    ];
    let watch = Watch::within(server, &[], &variables).unwrap();
    wait_for(&watch, SEES, 1);
    let deadline = Instant::now() + READY_LIMIT;
    while !watch.probe.log().contains("contexts are copied a second") {
        assert!(Instant::now() < deadline, "{}", watch.probe.log());
        ask(&watch.server, &leaf, 1);
    }
    assert!(watch.probe.log().contains("python.lineage_max_copies_per_s"), "{}", watch.probe.log());
    ask(&watch.server, &leaf, 2);
    let (spans, log) = watch.probe.stop_with_log().unwrap();
    let last = parents(&spans).split_off(spans.len() / 4 * 3 - 3);
    assert_eq!(last, vec![("n=2".to_owned(), None); 3]);
    assert_eq!(log.matches("contexts are copied a second").count(), 1);
}

#[test]
fn a_recording_holds_which_task_started_which() {
    if !can_run() {
        return;
    }
    let (server, leaf) = servers();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events");
    let file = file.to_str().unwrap();
    let mut command = probe(&["record", file, "--pid", &server.pid().to_string()]).unwrap();
    command.env("STARDUST_PROBE_PYTHON_LINEAGE", "always");
    let mut recording = Running::start(command).unwrap();
    recording.wait_for_line(SEES, READY_LIMIT).unwrap();
    ask(&server, &leaf, 1);
    ask(&server, &leaf, 2);
    recording.signal(Signal::SIGINT).unwrap();
    assert_eq!(recording.wait(READY_LIMIT).unwrap().code(), Some(0), "{:#?}", recording.lines);
    let replayed = run(probe(&["replay", file, "--format", "json"]).unwrap()).unwrap();
    let spans: Vec<SpanLine> =
        replayed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let own = |number: usize| (format!("n={number}"), Some(format!("n={number}")));
    assert_eq!(parents(&spans), [own(1), own(1), own(1), own(2), own(2), own(2)]);
}

/// A thread may have a state in each interpreter of its process. There its calls are told apart by thread, and that is said.
#[test]
fn requests_in_interpreters_of_their_own() {
    const REQUESTS: usize = 24;
    if !can_run() {
        return;
    }
    let all = interpreters();
    let (oldest, newest) = (all.first().unwrap(), all.last().unwrap());
    for interpreter in [oldest, newest] {
        let (server, leaf) =
            (Server::script_of(interpreter, "subinterpreter_app.py").unwrap(), Server::plain().unwrap());
        let reason = "by thread only: several interpreters run in the process";
        let ended = run(probe(&["check", "--pid", &server.pid().to_string()]).unwrap()).unwrap();
        assert!(ended.stdout.contains(&format!("calls      {reason}")), "{ended:?}");
        let watch = Watch::within(server, &[], &[("STARDUST_PROBE_LOG_LEVEL", "debug")]).unwrap();
        wait_for(&watch, reason, 1);
        std::thread::scope(|scope| {
            for number in 0..REQUESTS {
                let target = format!("/ask?url={}/items/{number}", leaf.endpoint.url());
                let endpoint = &watch.server.endpoint;
                scope.spawn(move || {
                    let answer = Connection::open(endpoint).unwrap().exchange(Request::get(&target)).unwrap();
                    assert_eq!(answer.status, Some(200), "{target}");
                });
            }
        });
        assert!(watch.probe.wait_for_spans(2 * REQUESTS, READY_LIMIT), "{}", watch.probe.log());
        let spans = watch.probe.stop().unwrap();
        let by_id: HashMap<&str, &SpanLine> =
            spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
        let calls: Vec<_> = spans.iter().filter(|span| span.kind == "client").collect();
        assert_eq!(calls.len(), REQUESTS);
        for call in calls {
            let asked = by_id[call.parent_id.as_deref().unwrap()].target.as_deref().unwrap();
            assert!(asked.ends_with(call.target.as_deref().unwrap()), "{asked}: {call:?}");
        }
    }
}

#[test]
fn check_says_where_copies_are_seen() {
    if !can_run() {
        return;
    }
    let (server, _) = servers();
    let said = run(probe(&["check", "--pid", &server.pid().to_string()]).unwrap()).unwrap();
    let line = said.stdout.lines().find(|line| line.starts_with("lineage ")).unwrap();
    assert!(line.contains("new context, ") && line.contains(" emulated: "), "{line}");
}
