//! When the probe of exceptions is in a process, what it says of itself, and that requests that are served at the same
//! time each have their own.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;
use std::time::{Duration, Instant};

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::command::{probe, run};
use tests::probe::counts;
use tests::process::POLL;
use tests::server::Server;
use tests::watch::{Watch, can_run};

/// The probe is in place, or what it needs to know of the process is known.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// Waits until the probe says this.
fn wait_for(watch: &Watch, text: &str) {
    assert!(watch.probe.wait_for_log(text, READY_LIMIT), "{text}: {}", watch.probe.log());
}

/// Flask answers when the exception is over, and asks for it before. Where what asks is not looked at, it takes the probe of
/// what unwinds, which comes with the first failure.
#[test]
fn auto_comes_with_the_first_failure_and_leaves_after_a_quiet_time() {
    if !can_run() {
        return;
    }
    let server = Server::gunicorn("failing_flask:app", &[]).unwrap();
    let variables = [("STARDUST_PROBE_LOG_LEVEL", "debug"), ("STARDUST_PROBE_PYTHON_ERRORS_QUIET_S", "1")];
    let watch = Watch::within(server, &[], &variables).unwrap();
    let worker = watch.server.processes.children()[0];
    let get = |path| Connection::open(&watch.server.endpoint).unwrap().exchange(Request::get(path)).unwrap();
    wait_for(&watch, &format!("{worker}: followed: "));
    wait_for(&watch, &format!("{worker}: looking at what is reported"));
    get("/fail/caught");
    get("/fail/nested");
    get("/fail/asks");
    wait_for(&watch, &format!("{worker}: it asks "));
    get("/fail/nested");
    wait_for(&watch, &format!("{worker}: looking at exceptions"));
    get("/fail/nested");
    assert!(watch.probe.wait_for_spans(5, READY_LIMIT));
    wait_for(&watch, &format!("{worker}: no failed request has needed it for a while"));
    let spans = watch.probe.stop().unwrap();
    let said: Vec<_> = spans.iter().map(|span| span.error.as_deref()).collect();
    let told = Some("HTTP 500: KeyError: 'missing'");
    assert_eq!(said, [None, told, None, Some("HTTP 500"), told]);
}

/// A service that answers 503 on purpose, all the time: no exception explains that, so the probe leaves, and stays away
/// from it. What fails in another way brings it again.
#[test]
fn failures_that_nothing_explains_do_not_keep_it() {
    if !can_run() {
        return;
    }
    let server = Server::gunicorn("failing_flask:app", &[]).unwrap();
    let variables = [("STARDUST_PROBE_LOG_LEVEL", "debug"), ("STARDUST_PROBE_PYTHON_ERRORS_QUIET_S", "4")];
    let watch = Watch::within(server, &[], &variables).unwrap();
    let worker = watch.server.processes.children()[0];
    let get = |path| Connection::open(&watch.server.endpoint).unwrap().exchange(Request::get(path)).unwrap();
    let begun = || watch.probe.log().matches(&format!("{worker}: looking at exceptions")).count();
    wait_for(&watch, &format!("{worker}: looking at what is reported"));
    assert_eq!(get("/fail/explicit").status, Some(503));
    wait_for(&watch, &format!("{worker}: looking at exceptions"));
    let deadline = Instant::now() + READY_LIMIT;
    let left = format!("{worker}: no failed request has needed it for a while");
    while !watch.probe.log().contains(&left) {
        assert!(Instant::now() < deadline, "{}", watch.probe.log());
        assert_eq!(get("/fail/explicit").status, Some(503));
    }
    let spans = watch.probe.spans().len();
    for _ in 0..8 {
        assert_eq!(get("/fail/explicit").status, Some(503));
    }
    assert!(watch.probe.wait_for_spans(spans + 8, READY_LIMIT));
    assert_eq!(begun(), 1, "{}", watch.probe.log());
    let _ = Connection::open(&watch.server.endpoint).unwrap().exchange(Request::get("/stream/plain"));
    assert!(watch.probe.wait_for_spans(spans + 9, READY_LIMIT));
    let deadline = Instant::now() + READY_LIMIT;
    while begun() < 2 {
        assert!(Instant::now() < deadline, "{}", watch.probe.log());
        std::thread::sleep(POLL);
    }
    watch.probe.stop().unwrap();
}

#[test]
fn the_guard_ends_what_is_too_dear() {
    if !can_run() {
        return;
    }
    let server = Server::gunicorn("failing_flask:app", &[]).unwrap();
    let variables =
        [("STARDUST_PROBE_PYTHON_ERRORS", "always"), ("STARDUST_PROBE_PYTHON_ERRORS_MAX_FRAMES_PER_S", "5")];
    let watch = Watch::within(server, &[], &variables).unwrap();
    let worker = watch.server.processes.children()[0];
    wait_for(&watch, &format!("{worker}: looking at exceptions"));
    let deadline = Instant::now() + READY_LIMIT;
    while !watch.probe.log().contains(&format!("{worker}: exceptions leave ")) {
        assert!(Instant::now() < deadline, "{}", watch.probe.log());
        let answer = Connection::open(&watch.server.endpoint).unwrap().exchange(Request::get("/fail/caught"));
        assert_eq!(answer.unwrap().status, Some(200));
    }
    assert!(watch.probe.log().contains("python.errors_max_frames_per_s"), "{}", watch.probe.log());
    watch.probe.stop().unwrap();
}

/// Each task keeps what it raised until all have. What has to give way is counted, and no loss.
#[rstest]
#[case::few(100, false)]
#[case::more_than_have_room(4096, true)]
fn what_is_displaced_is_counted(#[case] tasks: u32, #[case] some: bool) {
    if !can_run() {
        return;
    }
    let server = Server::uvicorn("failing_fastapi:app", "h11").unwrap();
    let variables = [
        ("STARDUST_PROBE_PYTHON_ERRORS", "always"),
        ("STARDUST_PROBE_PYTHON_ERRORS_MAX_FRAMES_PER_S", "1000000"),
        ("STARDUST_PROBE_LOG_LEVEL", "debug"),
    ];
    let watch = Watch::within(server, &[], &variables).unwrap();
    wait_for(&watch, &format!("{}: looking at exceptions", watch.server.pid()));
    let request = Request::get(&format!("/crowd/{tasks}"));
    assert_eq!(
        Connection::open(&watch.server.endpoint).unwrap().exchange(request).unwrap().status,
        Some(200)
    );
    assert!(watch.probe.wait_for_spans(1, READY_LIMIT));
    let (_, log) = watch.probe.stop_with_log().unwrap();
    let counts = counts(&log);
    let displaced = counts["kernel"]["exceptions_displaced"].as_u64().unwrap_or(0);
    assert_eq!(displaced >= 3000, some, "{counts}");
    assert_eq!(displaced > 0, some, "{counts}");
    // All of it was caught.
    assert_eq!(counts["trace"]["missed_exceptions"], 0, "{counts}");
    assert!(!log.contains("missed: "), "{log}");
}

/// Flask is done with an exception when it answers. What is raised in many contexts before that takes its room.
#[test]
fn what_is_missed_for_want_of_room_is_told() {
    if !can_run() {
        return;
    }
    let server = Server::gunicorn("failing_flask:app", &[]).unwrap();
    let variables = [
        ("STARDUST_PROBE_PYTHON_ERRORS", "always"),
        ("STARDUST_PROBE_PYTHON_ERRORS_MAX_FRAMES_PER_S", "1000000"),
    ];
    let watch = Watch::within(server, &[], &variables).unwrap();
    wait_for(&watch, &format!("{}: looking at exceptions", watch.server.processes.children()[0]));
    let get = |path| Connection::open(&watch.server.endpoint).unwrap().exchange(Request::get(path)).unwrap();
    get("/fail/nested?crowd=4096");
    get("/fail/caught?crowd=4096");
    get("/fail/nested");
    assert!(watch.probe.wait_for_spans(3, READY_LIMIT));
    let (spans, log) = watch.probe.stop_with_log().unwrap();
    let said: Vec<_> = spans.iter().map(|span| span.error.as_deref()).collect();
    assert_eq!(said, [Some("HTTP 500"), None, Some("HTTP 500: KeyError: 'missing'")]);
    let missed: Vec<_> = log.lines().filter_map(|line| line.split_once("missed: ")).collect();
    assert_eq!(missed.iter().map(|(_, what)| *what).collect::<Vec<_>>(), ["missed_exceptions 1"], "{log}");
}

/// On kept connections, many at a time: each request has what it raised itself.
#[rstest]
#[case::threads(false)]
#[case::tasks(true)]
fn concurrent_requests_keep_theirs(#[case] asgi: bool) {
    const EACH: usize = 12;
    if !can_run() {
        return;
    }
    let server = if asgi {
        Server::uvicorn("failing_fastapi:app", "httptools")
    } else {
        Server::gunicorn("failing_flask:app", &["--threads", "8"])
    };
    let variables = [("STARDUST_PROBE_PYTHON_ERRORS", "always")];
    let watch = Watch::within(server.unwrap(), &[], &variables).unwrap();
    let pids = [watch.server.processes.children(), vec![watch.server.pid()]].concat();
    for pid in pids {
        wait_for(&watch, &format!("{pid}: looking at exceptions"));
    }
    let kinds = [
        ("plain", Some("failures.NoStock")),
        ("explicit", None),
        ("nested", Some("KeyError")),
        ("caught", None),
        ("file", Some("FileNotFoundError")),
    ];
    std::thread::scope(|scope| {
        for first in 0..8 {
            let endpoint = &watch.server.endpoint;
            scope.spawn(move || {
                let mut connection = Connection::open(endpoint).unwrap();
                for number in 0..EACH {
                    let (path, _) = kinds[(first + number) % kinds.len()];
                    let answer = connection.exchange(Request::get(&format!("/fail/{path}"))).unwrap();
                    // The framework raises again once it has answered, and uvicorn closes then.
                    if !answer.keeps_alive || (asgi && answer.status == Some(500)) {
                        connection = Connection::open(endpoint).unwrap();
                    }
                }
            });
        }
    });
    assert!(watch.probe.wait_for_spans(8 * EACH, READY_LIMIT), "{}", watch.probe.log());
    let spans = watch.probe.stop().unwrap();
    assert_eq!(spans.len(), 8 * EACH);
    for span in spans {
        let target = span.target.as_deref().unwrap();
        let (_, want) = kinds.iter().find(|(path, _)| target.ends_with(path)).unwrap();
        let kind = span.attributes.get("exception.type").map(|kind| kind.as_str().unwrap());
        assert_eq!(kind, *want, "{span:?}");
    }
}

#[test]
fn check_says_where_they_are_seen_or_why_not() {
    if !can_run() {
        return;
    }
    let server = Server::script("failing_aiohttp.py", &[]).unwrap();
    let pid = server.pid().to_string();
    let said = run(probe(&["check", "--pid", &pid]).unwrap()).unwrap();
    let line = said.stdout.lines().find(|line| line.starts_with("exceptions ")).unwrap();
    assert!(line.contains("PyTraceBack_Here 0x") && line.contains(" emulated: "), "{line}");
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let said = run(probe(&["check", "--pid", &other.id().to_string()]).unwrap());
    other.kill().unwrap();
    other.wait().unwrap();
    let said = said.unwrap();
    assert!(said.stdout.contains("\nexceptions not told: no Python interpreter\n"), "{}", said.stdout);
}
