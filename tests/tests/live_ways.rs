//! Every way in gives the same spans; `check` says which there are.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use tests::client::Request;
use tests::command::{probe, run};
use tests::ledger::assert_agree;
use tests::server::Server;
use tests::watch::{Watch, can_run};

/// The ways that work here, from `check`.
fn working_ways() -> Vec<String> {
    let ended = run(probe(&["check", "--format", "json"]).unwrap()).unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let ways = report["ways"].as_array().unwrap();
    assert_eq!(ways.len(), 3, "{report}");
    let working = ways.iter().filter(|way| way["refused"].is_null());
    let working: Vec<_> = working.map(|way| way["way"].as_str().unwrap().to_owned()).collect();
    assert_eq!(report["chosen"].as_str(), working.first().map(String::as_str), "the best is chosen");
    working
}

#[test]
fn every_way_sees_every_request() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let ways = working_ways();
    assert!(ways.iter().any(|way| way == "syscalls"), "the last resort works everywhere: {ways:?}");
    for way in ways {
        let config = folder.path().join(&way);
        std::fs::write(&config, format!("[kernel]\nway = \"{way}\"\n")).unwrap();
        for unix in [false, true] {
            let start = if unix { Server::gunicorn_unix } else { Server::gunicorn };
            let server = start("flask_app:app", &["--workers", "2", "--threads", "2"]).unwrap();
            let mut watch = Watch::with(server, &["--config", config.to_str().unwrap()]).unwrap();
            assert!(watch.probe.log().contains(&format!("by way of {way}")), "{}", watch.probe.log());
            for n in 0..20 {
                watch.get(&format!("/items/{n}"), 200, "GET /items/{id}").unwrap();
                watch.get(&format!("/big?bytes=200000&n={n}"), 200, "GET /big").unwrap();
                watch.get(&format!("/stream?chunks=3&size=50&n={n}"), 200, "GET /stream").unwrap();
                watch.ask(Request::post(&format!("/echo?n={n}"), 50_000)).unwrap();
            }
            let (entries, spans) = watch.finish(0).unwrap();
            assert_agree(&entries, &spans);
        }
    }
}

#[test]
fn a_way_that_is_asked_for_and_does_not_work_is_refused() {
    if !can_run() || working_ways().iter().any(|way| way == "fexit") {
        return;
    }
    let server = Server::plain().unwrap();
    let pid = server.pid().to_string();
    let mut command = probe(&["--pid", &pid]).unwrap();
    command.env("STARDUST_PROBE_KERNEL_WAY", "fexit");
    let ended = run(command).unwrap();
    assert_eq!(ended.code, Some(69), "{ended:?}");
    assert!(ended.stderr.contains("fexit") && ended.stderr.contains("stardust-probe check"), "{ended:?}");
}
