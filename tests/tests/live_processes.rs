//! Processes that come and go: uvicorn's workers and reloads, programs that an app runs.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;
use tests::ledger::assert_agree;
use tests::process::children_of;
use tests::server::Server;
use tests::venv::apps_folder;
use tests::watch::{Watch, can_run};

const LIMIT: Duration = Duration::from_secs(30);

/// The children of `pid` that run an app: others only keep books for multiprocessing.
fn workers(pid: u32) -> Vec<u32> {
    let works = |child: &u32| {
        let command = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
        command.contains("spawn_main")
    };
    children_of(pid).into_iter().filter(works).collect()
}

/// So many requests, each on a connection of its own, so that every worker gets some.
fn ask(watch: &mut Watch, first: usize, count: usize) {
    for n in first..first + count {
        watch.get(&format!("/fast?n={n}"), 200, "GET /fast").unwrap();
        watch.hang_up();
    }
}

#[test]
fn workers_of_uvicorn_and_the_one_that_takes_a_dead_ones_place() {
    if !can_run() {
        return;
    }
    let server = Server::uvicorn_in(&apps_folder(), "fastapi_app:app", &["--workers", "2"]).unwrap();
    // Attached while the workers are being born.
    let mut watch = Watch::on(server).unwrap();
    ask(&mut watch, 0, 40);
    let pid = watch.server.pid();
    watch.server.processes.wait_until(LIMIT, || workers(pid).len() == 2).unwrap();
    let before = workers(pid);
    kill(Pid::from_raw(before[0] as i32), Signal::SIGKILL).unwrap();
    let renewed = || workers(pid).iter().any(|worker| !before.contains(worker));
    watch.server.processes.wait_until(LIMIT, renewed).unwrap();
    ask(&mut watch, 40, 40);
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    assert!(spans.iter().all(|span| span.app == "fastapi_app" && span.pid != pid));
}

#[test]
fn a_reload_of_uvicorn() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = folder.path().join("billing.py");
    fs::copy(apps_folder().join("fastapi_app.py"), &app).unwrap();
    let server = Server::uvicorn_in(folder.path(), "billing:app", &["--reload"]).unwrap();
    let mut watch = Watch::on(server).unwrap();
    ask(&mut watch, 0, 10);
    let pid = watch.server.pid();
    let before = workers(pid);
    assert_eq!(before.len(), 1, "{before:?}");
    let text = fs::read_to_string(&app).unwrap();
    fs::write(&app, text + "\n").unwrap();
    let renewed = || workers(pid).iter().any(|worker| !before.contains(worker));
    watch.server.processes.wait_until(LIMIT, renewed).unwrap();
    ask(&mut watch, 10, 10);
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    let pids: HashSet<u32> = spans.iter().map(|span| span.pid).collect();
    assert_eq!(pids.len(), 2, "{pids:?}");
    assert!(spans.iter().all(|span| span.app == "billing"));
}

#[rstest]
#[case("python")]
#[case("curl")]
fn a_program_that_a_view_runs(#[case] program: &str) {
    if !can_run() {
        return;
    }
    let other = Server::plain().unwrap();
    let mut watch = Watch::on(Server::gunicorn("flask_app:app", &["--workers", "2"]).unwrap()).unwrap();
    let workers = watch.server.processes.children();
    for n in 0..4 {
        let target = format!("/spawn?n={n}&program={program}&url={}/items/{n}", other.endpoint.url());
        let entry = watch.get(&target, 200, "GET /spawn").unwrap();
        assert_eq!(entry.body, b"0", "{program} has ended well");
    }
    let (entries, spans) = watch.finish(4).unwrap();
    let (calls, served): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.kind == "client");
    assert_agree(&entries, &served);
    assert_eq!(calls.len(), 4, "{calls:#?}");
    for call in &calls {
        assert_eq!((call.app.as_str(), call.name.as_str()), ("flask_app", "GET /items/{id}"), "{call:?}");
        assert_eq!((call.status, call.end.as_str()), (Some(200), "complete"), "{call:?}");
        assert!(!workers.contains(&call.pid), "it is the program's own call: {call:?}");
        let agent = call.user_agent.as_deref().unwrap_or_default().to_lowercase();
        assert!(agent.contains(program), "{call:?}");
        assert!(call.parent_id.is_none(), "which request had it run is not known: {call:?}");
    }
}
