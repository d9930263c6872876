//! Whose calls are whose, on the servers and with the clients that Python has: no call gets a wrong parent.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rstest::rstest;
use tests::lineage::{Fan, Load, Tally, drive};
use tests::server::Server;
use tests::venv::apps_folder;
use tests::watch::can_run;

fn start(kind: &str) -> Server {
    let uvicorn = |arguments: &[&str]| {
        Server::uvicorn_in(&apps_folder(), "lineage_app:asgi", &[arguments, &["--no-access-log"]].concat())
    };
    match kind {
        "uvicorn_h11" => uvicorn(&["--http", "h11", "--loop", "asyncio"]),
        "uvicorn_httptools" => uvicorn(&["--http", "httptools", "--loop", "asyncio"]),
        "uvicorn_uvloop" => uvicorn(&["--http", "httptools", "--loop", "uvloop"]),
        "hypercorn" => Server::hypercorn("lineage_app:asgi"),
        "gthread" => Server::gunicorn("lineage_app:wsgi", &["--threads", "32"]),
        "gevent" => Server::gunicorn("lineage_app:wsgi", &["--worker-class", "gevent"]),
        other => Server::script("lineage_app.py", &[other]),
    }
    .unwrap()
}

fn tally(kind: &str, (client, style): (&str, &str), load: Load, clients: usize) -> Tally {
    let tally = drive(&start(kind), Fan { client, style }, load, clients).unwrap();
    let Tally { calls, requests, known, wrong, unknown } = &tally;
    println!(
        "{kind} {client} {style} {load:?}: {known} of {calls} calls of {requests} requests known, {} wrong, {unknown:?}",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{} wrong, the first: {}", wrong.len(), wrong[0]);
    // A request that its client has given up is none any more, while its task may still call.
    assert!(load == Load::Cancelled || !unknown.contains_key("none told"), "{unknown:?}");
    tally
}

/// What each server and each way of calling is chosen for: the least of calls that must be known, in a hundred.
#[rstest]
#[case::bodies("uvicorn_h11", ("httpx", "in_turn"), Load::Bodies, 100)]
#[case::pipelined("uvicorn_httptools", ("aiohttp", "in_turn"), Load::Pipelined, 100)]
#[case::uvloop("uvicorn_uvloop", ("httpx", "in_turn"), Load::Kept, 100)]
#[case::streamed("uvicorn_h11", ("httpx", "stream"), Load::Once, 0)]
#[case::cancelled("hypercorn", ("aiohttp", "in_turn"), Load::Cancelled, 40)]
#[case::tasks("aiohttp", ("aiohttp", "group"), Load::Kept, 0)]
#[case::pool("tornado", ("urllib3", "gather"), Load::Once, 0)]
#[case::threads("gthread", ("requests", "in_turn"), Load::Pipelined, 30)]
#[case::greenlets("gevent", ("urllib3", "in_turn"), Load::Kept, 60)]
fn no_call_gets_a_wrong_parent(
    #[case] kind: &str,
    #[case] fan: (&str, &str),
    #[case] load: Load,
    #[case] known_percent: usize,
) {
    if !can_run() {
        return;
    }
    let Tally { calls, known, .. } = tally(kind, fan, load, 60);
    assert!(known * 100 >= calls * known_percent, "{known} of {calls} known");
}

#[rstest]
#[ignore = "half an hour: all of the servers, clients and loads"]
fn matrix(
    #[values("uvicorn_h11", "uvicorn_httptools", "uvicorn_uvloop", "hypercorn", "aiohttp", "tornado")]
    kind: &str,
    #[values(("httpx", "in_turn"), ("aiohttp", "in_turn"), ("httpx", "stream"), ("httpx", "gather"), ("aiohttp", "group"), ("urllib3", "gather"))]
    fan: (&str, &str),
    #[values(Load::Once, Load::Kept, Load::Pipelined, Load::Cancelled, Load::Bodies)] load: Load,
) {
    if !can_run() {
        return;
    }
    tally(kind, fan, load, 200);
}

#[rstest]
#[ignore = "half an hour: all of the servers, clients and loads"]
fn matrix_of_threads(
    #[values("gthread", "gevent")] kind: &str,
    #[values(("requests", "in_turn"), ("urllib3", "in_turn"), ("urllib3", "threads"), ("urllib3", "spawn"))]
    fan: (&str, &str),
    #[values(Load::Once, Load::Kept, Load::Pipelined, Load::Cancelled, Load::Bodies)] load: Load,
) {
    if !can_run() || (kind == "gthread" && fan.1 == "spawn") {
        return;
    }
    tally(kind, fan, load, 200);
}
