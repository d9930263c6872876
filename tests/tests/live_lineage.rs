//! Whose calls are whose, on the servers and with the clients that Python has: no call gets a wrong parent.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::lineage::{Fan, Load, Sight, Tally, drive};
use tests::probe::{Probe, SpanLine};
use tests::server::Server;
use tests::venv::{Venv, interpreters};
use tests::watch::can_run;

const LIMIT: Duration = Duration::from_secs(10);
const THREAD_OVER: &str = "unknown: the request that its thread was started for was over";
const GOES_ON: &str =
    "unknown: its thread went on after the request that has started it, and may work for others";

fn tally(kind: &str, sight: Sight, fan: (&str, &str), load: Load, clients: usize) -> Tally {
    tally_in(&Venv::open().unwrap(), kind, sight, fan, load, clients)
}

fn tally_in(
    venv: &Venv,
    kind: &str,
    sight: Sight,
    (client, style): (&str, &str),
    load: Load,
    clients: usize,
) -> Tally {
    let server = Server::asking(venv, kind).unwrap();
    let tally = drive(&server, sight, Fan { client, style }, load, clients).unwrap();
    let Tally { calls, requests, known, wrong, unknown, of_answered, known_of_answered, log } = &tally;
    println!(
        "{} {kind} {client} {style} {load:?} {sight:?}: {known} of {calls} calls of {requests} requests known, \
         {known_of_answered} of {of_answered} of those answered, {} wrong, {unknown:?}",
        venv.folder().display(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{} wrong, the first: {}\n{log}", wrong.len(), wrong[0]);
    // A request that its client has given up is none any more, while its task may still call.
    assert!(load == Load::Cancelled || !unknown.contains_key("none told"), "{unknown:?}");
    tally
}

/// All calls but one in a thousand: of requests that were answered, if some were given up.
fn assert_known(tally: &Tally, load: Load) {
    let (known, calls) = match load {
        Load::Cancelled => (tally.known_of_answered, tally.of_answered),
        _ => (tally.known, tally.calls),
    };
    let Tally { unknown, log, .. } = tally;
    assert!(calls > 0 && known * 1000 >= calls * 999, "{known} of {calls} known: {unknown:?}\n{log}");
}

/// While it is not seen which task starts which, and where none does. The least of calls that must be known, in a hundred.
#[rstest]
#[case::pool("gthread", ("requests", "in_turn"), Load::Pipelined, 30)]
#[case::pool_that_is_read_for("waitress", ("requests", "in_turn"), Load::Pipelined, 0)]
#[case::thread_of_a_connection("threads", ("urllib3", "in_turn"), Load::Pipelined, 100)]
#[case::greenlets_in_turn("gevent", ("requests", "in_turn"), Load::Pipelined, 100)]
#[case::greenlets("gevent", ("urllib3", "in_turn"), Load::Kept, 100)]
#[case::greenlets_of_requests("gevent", ("urllib3", "spawn"), Load::Kept, 0)]
fn no_call_gets_a_wrong_parent(
    #[case] kind: &str,
    #[case] fan: (&str, &str),
    #[case] load: Load,
    #[case] known_percent: usize,
) {
    if !can_run() {
        return;
    }
    let Tally { calls, known, .. } = tally(kind, Sight::Off, fan, load, 60);
    assert!(known * 100 >= calls * known_percent, "{known} of {calls} known");
}

/// Their addresses are used again at once, also by what answers.
#[rstest]
#[case::of_the_cancelled("hypercorn", ("aiohttp", "in_turn"), Load::Cancelled)]
#[case::of_a_connection("aiohttp", ("aiohttp", "group"), Load::Kept)]
#[case::that_answer("uvicorn_h11", ("httpx", "in_turn"), Load::Kept)]
#[case::that_are_made_to_answer("uvicorn_handed_over", ("httpx", "gather"), Load::Kept)]
#[case::that_answer_later("daphne", ("httpx", "gather"), Load::Kept)]
fn tasks_tell_nothing_while_it_is_not_seen_which_starts_which(
    #[case] kind: &str,
    #[case] fan: (&str, &str),
    #[case] load: Load,
) {
    if can_run() {
        let Tally { calls, known, unknown, .. } = tally(kind, Sight::Off, fan, load, 60);
        assert_eq!(known, 0, "of {calls}: {unknown:?}");
        assert!(unknown.contains_key("unknown: it was not seen yet which task starts which"), "{unknown:?}");
    }
}

#[rstest]
#[case::bodies("uvicorn_h11", Sight::Auto, ("httpx", "in_turn"), Load::Bodies)]
#[case::pipelined("uvicorn_httptools", Sight::Auto, ("streams", "in_turn"), Load::Pipelined)]
#[case::uvloop_in_turn("uvicorn_uvloop", Sight::Auto, ("httpx", "in_turn"), Load::Kept)]
#[case::cancelled("hypercorn", Sight::Auto, ("aiohttp", "in_turn"), Load::Cancelled)]
#[case::tasks_that_are_made_to_answer("uvicorn_handed_over", Sight::Auto, ("httpx", "gather"), Load::Kept)]
#[case::daphne("daphne", Sight::Auto, ("httpx", "gather"), Load::Kept)]
#[case::gather("uvicorn_h11", Sight::Auto, ("httpx", "gather"), Load::Kept)]
#[case::group("uvicorn_httptools", Sight::Always, ("aiohttp", "group"), Load::Pipelined)]
#[case::to_thread("uvicorn_h11", Sight::Always, ("urllib3", "gather"), Load::Cancelled)]
#[case::pool("uvicorn_h11", Sight::Auto, ("urllib3", "sync"), Load::Kept)]
#[case::copy("uvicorn_httptools", Sight::Always, ("requests", "copy"), Load::Once)]
#[case::uvloop("uvicorn_uvloop", Sight::Auto, ("httpx", "gather"), Load::Bodies)]
#[case::uvloop_that_sends_later("uvicorn_old_uvloop", Sight::Auto, ("httpx", "gather"), Load::Kept)]
#[case::uvloop_that_sends_later_in_turn("uvicorn_old_uvloop", Sight::Always, ("aiohttp", "in_turn"), Load::Pipelined)]
#[case::pool_beside_it("uvicorn_old_uvloop", Sight::Auto, ("urllib3", "sync"), Load::Kept)]
#[case::layers("uvicorn_layered", Sight::Always, ("streams", "gather"), Load::Kept)]
#[case::streamed("uvicorn_h11", Sight::Always, ("httpx", "stream"), Load::Once)]
#[case::django("django", Sight::Auto, ("aiohttp", "gather"), Load::Kept)]
#[case::django_sync("django", Sight::Always, ("urllib3", "sync"), Load::Cancelled)]
#[case::hypercorn("hypercorn", Sight::Always, ("aiohttp", "group"), Load::Kept)]
#[case::streams("hypercorn", Sight::Auto, ("httpx", "gather"), Load::Streams)]
#[case::streams_of_threads("hypercorn", Sight::Always, ("urllib3", "gather"), Load::Streams)]
#[case::aiohttp("aiohttp", Sight::Auto, ("aiohttp", "gather"), Load::Cancelled)]
#[case::tornado("tornado", Sight::Always, ("urllib3", "gather"), Load::Pipelined)]
#[case::threads("gthread", Sight::Off, ("urllib3", "threads"), Load::Kept)]
#[case::threads_that_are_joined("threads", Sight::Off, ("requests", "joined"), Load::Once)]
#[case::threads_of_the_cancelled("gthread", Sight::Off, ("requests", "joined"), Load::Cancelled)]
#[case::threads_of_threads("gthread", Sight::Off, ("urllib3", "through"), Load::Bodies)]
#[case::loops_of_threads("gthread", Sight::Off, ("streams", "loop"), Load::Kept)]
#[case::threads_of_a_task_of_uvloop("uvicorn_uvloop", Sight::Auto, ("urllib3", "joined"), Load::Kept)]
#[case::threads_of_a_task("uvicorn_h11", Sight::Auto, ("requests", "joined"), Load::Kept)]
#[case::greenlets("gevent", Sight::Auto, ("urllib3", "spawn"), Load::Kept)]
#[case::greenlets_in_turn("gevent", Sight::Always, ("urllib3", "spawn"), Load::Pipelined)]
#[case::greenlets_of_the_cancelled("gevent", Sight::Always, ("requests", "spawn"), Load::Cancelled)]
fn what_a_request_starts_is_its_own(
    #[case] kind: &str,
    #[case] sight: Sight,
    #[case] fan: (&str, &str),
    #[case] load: Load,
) {
    if can_run() {
        assert_known(&tally(kind, sight, fan, load, 60), load);
    }
}

/// A server whose loop sends an answer later goes on to the next request before.
#[test]
fn what_waits_behind_gets_no_parent_of_the_one_before() {
    if can_run() {
        let Tally { calls, .. } = tally("daphne", Sight::Auto, ("aiohttp", "in_turn"), Load::Pipelined, 60);
        assert!(calls >= 540, "{calls}");
    }
}

#[rstest]
fn what_goes_on_after_the_answer_gets_no_parent(#[values("uvicorn_h11", "aiohttp")] kind: &str) {
    if !can_run() {
        return;
    }
    let Tally { calls, known, unknown, .. } = tally(kind, Sight::Always, ("httpx", "forget"), Load::Kept, 60);
    assert!(known * 3 >= calls, "{known} of {calls}: {unknown:?}");
    let over = unknown.get("unknown: the request that its task was started for was over");
    assert!(over.is_some_and(|over| over * 4 >= calls), "{unknown:?}");
}

#[rstest]
#[case::that_all_share("shared", GOES_ON)]
#[case::that_is_left("left", THREAD_OVER)]
fn what_a_thread_that_goes_on_calls_gets_no_wrong_parent(#[case] style: &str, #[case] reason: &str) {
    if !can_run() {
        return;
    }
    let Tally { calls, unknown, .. } = tally("gthread", Sight::Off, ("requests", style), Load::Kept, 60);
    assert!(unknown.contains_key(reason), "of {calls}: {unknown:?}");
}

#[test]
fn what_a_reactor_does_for_nobody_gets_no_parent() {
    if !can_run() {
        return;
    }
    let server = Server::asking(&Venv::open().unwrap(), "twisted").unwrap();
    let probe = Probe::attach(&[server.pid()], &["--log-level", "debug"]).unwrap();
    probe.wait_until_followed(&[server.pid()], LIMIT).unwrap();
    let mut connection = Connection::open(&server.endpoint).unwrap();
    for _ in 0..10 {
        assert_eq!(connection.exchange(Request::get("/slow")).unwrap().status, Some(200));
    }
    let spans = probe.stop().unwrap();
    let of = |kind: &str, name: &str| -> Vec<SpanLine> {
        spans.iter().filter(|span| span.kind == kind && span.name == name).cloned().collect()
    };
    assert_eq!(of("server", "GET /slow").len(), 10);
    let calls = of("client", "GET /own");
    assert!(calls.len() >= 30, "{} calls", calls.len());
    let wrong: Vec<_> = calls.iter().filter(|call| call.parent_id.is_some()).collect();
    assert!(wrong.is_empty(), "{} of {}, the first: {:?}", wrong.len(), calls.len(), wrong[0]);
}

/// Servers, and a way in which each starts its calls under every version of Python.
const SERVERS: [(&str, (&str, &str)); 10] = [
    ("uvicorn_httptools", ("httpx", "gather")),
    ("gevent", ("urllib3", "spawn")),
    ("tornado", ("aiohttp", "gather")),
    ("hypercorn", ("httpx", "gather")),
    ("uvicorn_uvloop", ("aiohttp", "gather")),
    ("aiohttp", ("aiohttp", "gather")),
    ("gthread", ("requests", "in_turn")),
    ("uvicorn_h11", ("urllib3", "sync")),
    ("uvicorn_layered", ("requests", "copy")),
    ("django", ("httpx", "gather")),
];

#[test]
fn under_every_interpreter_at_hand() {
    if !can_run() {
        return;
    }
    let interpreters = interpreters();
    assert!(!interpreters.is_empty(), "no Python 3.8 to 3.14 on this machine");
    for venv in Venv::of_each(&interpreters).unwrap() {
        let fan = ("streams", "at_once");
        assert_known(&tally_in(&venv, "uvicorn_alone", Sight::Always, fan, Load::Kept, 20), Load::Kept);
    }
}

#[rstest]
#[ignore = "minutes for each interpreter, which `PROBE_TEST_VENV` chooses"]
fn matrix_of_interpreters(
    #[values(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)] server: usize,
    #[values(Load::Kept, Load::Once, Load::Pipelined, Load::Cancelled, Load::Bodies)] load: Load,
) {
    let (kind, fan) = SERVERS[server];
    // A pool's thread need not serve what it has read ahead, and the view of threads takes no bodies.
    let can_do = match load {
        Load::Pipelined => kind != "gthread",
        Load::Bodies => fan.1 != "sync",
        _ => true,
    };
    if can_run() && can_do {
        assert_known(&tally(kind, Sight::Always, fan, load, 200), load);
    }
}

#[rstest]
#[ignore = "half an hour: all of the servers, clients and loads"]
fn matrix(
    #[values(
        "uvicorn_h11",
        "uvicorn_httptools",
        "uvicorn_uvloop",
        "uvicorn_handed_over",
        "hypercorn",
        "aiohttp",
        "tornado",
        "daphne"
    )]
    kind: &str,
    #[values(("httpx", "in_turn"), ("aiohttp", "in_turn"), ("streams", "in_turn"), ("httpx", "stream"), ("httpx", "gather"), ("aiohttp", "group"), ("urllib3", "gather"))]
    fan: (&str, &str),
    #[values(Load::Once, Load::Kept, Load::Pipelined, Load::Cancelled, Load::Bodies)] load: Load,
) {
    if can_run() {
        let tally = tally(kind, Sight::Auto, fan, load, 200);
        // While an answer waits to be sent, its task may go on to the next request.
        if load != Load::Pipelined || !matches!(kind, "daphne" | "uvicorn_handed_over") {
            assert_known(&tally, load);
        }
    }
}

#[rstest]
#[ignore = "half an hour: all of the servers, clients and loads"]
fn matrix_of_copies(
    #[values(
        "uvicorn_h11",
        "uvicorn_httptools",
        "uvicorn_uvloop",
        "uvicorn_old_uvloop",
        "uvicorn_layered",
        "django",
        "hypercorn",
        "aiohttp",
        "tornado"
    )]
    kind: &str,
    #[values(("httpx", "in_turn"), ("httpx", "gather"), ("aiohttp", "group"), ("urllib3", "gather"), ("requests", "copy"), ("urllib3", "sync"))]
    fan: (&str, &str),
    #[values(Load::Once, Load::Kept, Load::Pipelined, Load::Cancelled, Load::Bodies)] load: Load,
) {
    let has_sync = matches!(
        kind,
        "uvicorn_h11" | "uvicorn_httptools" | "uvicorn_uvloop" | "uvicorn_old_uvloop" | "django"
    );
    if can_run() && (fan.1 != "sync" || (has_sync && load != Load::Bodies)) {
        assert_known(&tally(kind, Sight::Always, fan, load, 200), load);
    }
}

#[rstest]
#[ignore = "half an hour: all of the servers, clients and loads"]
fn matrix_of_threads(
    #[values("gthread", "gevent")] kind: &str,
    #[values(("requests", "in_turn"), ("urllib3", "in_turn"), ("urllib3", "threads"), ("requests", "through"), ("streams", "loop"), ("urllib3", "spawn"))]
    fan: (&str, &str),
    #[values(Load::Once, Load::Kept, Load::Pipelined, Load::Cancelled, Load::Bodies)] load: Load,
    #[values(Sight::Off, Sight::Always)] sight: Sight,
) {
    if !can_run() || (kind == "gthread" && fan.1 == "spawn") {
        return;
    }
    let tally = tally(kind, sight, fan, load, 200);
    // What a pool's thread has read ahead is not always its own.
    if kind == "gthread" && load != Load::Pipelined {
        assert_known(&tally, load);
    }
}
