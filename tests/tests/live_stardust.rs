//! The probe and a Stardust server: what arrives there is what the client did.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::time::Duration;

use tempfile::TempDir;
use tests::server::Server;
use tests::stardust::secret::Proof;
use tests::stardust::{Mode, StarServer};
use tests::watch::{Watch, can_run};

const LIMIT: Duration = Duration::from_mins(1);

/// A server that wants a report each second, and gunicorn with two workers reporting to it.
fn start() -> (StarServer, Watch, TempDir) {
    let star = StarServer::start().unwrap();
    star.edit_app("flask_app", |app| "MySecret".clone_into(&mut app.secret));
    star.edit_tracer("flask_app", |tracer| tracer.period_s = 1);
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "MySecret\n").unwrap();
    let server = Server::gunicorn("flask_app:app", &["--workers", "2"]).unwrap();
    let arguments = ["--server", &star.url(), "--secret-file", secret.to_str().unwrap()];
    let watch = Watch::with(server, &arguments).unwrap();
    (star, watch, folder)
}

fn ask(watch: &mut Watch, first: usize, rounds: usize) {
    for n in first..first + rounds {
        watch.get(&format!("/fast?n={n}"), 200, "GET /fast").unwrap();
        watch.get(&format!("/items/{n}"), 200, "GET /items/{id}").unwrap();
        watch.get(&format!("/boom?n={n}"), 500, "GET /boom").unwrap();
    }
}

/// Total and errors by name.
fn counts(star: &StarServer) -> BTreeMap<String, (i64, i64)> {
    let totals = star.totals("flask_app").into_iter();
    totals.map(|(name, totals)| (name, (totals.total, totals.errors))).collect()
}

fn expected(rounds: i64) -> BTreeMap<String, (i64, i64)> {
    let names = [("/boom", rounds), ("/fast", 0), ("/items/{id}", 0)];
    names.into_iter().map(|(name, errors)| (name.to_owned(), (rounds, errors))).collect()
}

#[track_caller]
fn wait_for_counts(star: &StarServer, watch: &Watch, rounds: i64) {
    let arrived = star.wait_until(LIMIT, |star| counts(star) == expected(rounds));
    assert!(arrived, "{:?}\nrefused: {:?}\n{}", counts(star), star.refusals(), watch.probe.log());
}

#[test]
fn counts_are_exact_and_the_server_refuses_nothing() {
    if !can_run() {
        return;
    }
    let (star, mut watch, _folder) = start();
    ask(&mut watch, 0, 40);
    wait_for_counts(&star, &watch, 40);
    assert!(star.wait_until(LIMIT, |star| !star.pings().is_empty()), "{}", watch.probe.log());
    let workers = watch.server.processes.children();
    watch.finish(0).unwrap();
    assert_eq!(counts(&star), expected(40), "nothing came twice at the end");
    assert_eq!((star.refusals(), star.takeovers()), (vec![], vec![]));
    assert!(star.logins().iter().all(|login| login.proof == Proof::Salted && login.app == "flask_app"));
    for report in star.reports() {
        assert_eq!(report.token_app.as_deref(), Some("flask_app"));
        assert_eq!(report.token_client_id.as_deref(), Some(report.client_id.as_str()));
        let pid = report.client_id.split('@').nth(1).and_then(|pid| pid.parse().ok());
        assert!(pid.is_some_and(|pid| workers.contains(&pid)), "{report:?}");
        assert!(report.skipped.is_empty(), "{report:?}");
    }
    let ping = &star.pings()[0];
    assert!(ping.info.working_set_bytes > 1 << 20 && ping.info.threads > 0, "{ping:?}");
    let boom = &star.totals("flask_app")["/boom"];
    assert!(!boom.error_samples.is_empty());
    assert!(boom.error_samples.iter().all(|sample| sample.error.is_some() && sample.trace_id.len() == 32));
    let mut left: Vec<String> = star.logouts().into_iter().map(|(_, client, _)| client).collect();
    left.sort();
    left.dedup();
    let came: Vec<String> = star.instances().into_keys().collect();
    assert_eq!(left, came, "every instance has logged out");
}

#[test]
fn what_happens_while_the_server_is_away_is_counted() {
    if !can_run() {
        return;
    }
    let (star, mut watch, _folder) = start();
    ask(&mut watch, 0, 5);
    wait_for_counts(&star, &watch, 5);
    star.set_mode(Mode::Refusing);
    ask(&mut watch, 5, 5);
    star.set_mode(Mode::Serving);
    wait_for_counts(&star, &watch, 10);
    star.expire_tokens();
    ask(&mut watch, 10, 5);
    wait_for_counts(&star, &watch, 15);
    assert!(star.refusals().iter().all(|(_, code, _)| *code == 401), "{:?}", star.refusals());
    watch.finish(0).unwrap();
    assert_eq!(counts(&star), expected(15));
}

#[test]
fn rules_of_the_configuration_center_come_by_push() {
    if !can_run() {
        return;
    }
    let (star, mut watch, _folder) = start();
    ask(&mut watch, 0, 2);
    wait_for_counts(&star, &watch, 2);
    // A worker that has served nothing yet has not logged in.
    let all_listen = |star: &StarServer| star.sockets().len() == star.instances().len();
    assert!(star.wait_until(LIMIT, all_listen), "{}", watch.probe.log());
    star.set_config("flask_app", "probe.enabled", "", "false");
    let id = star.publish("flask_app");
    let done = |star: &StarServer| star.replies().iter().any(|reply| reply.id == id && reply.status == 2);
    assert!(star.wait_until(LIMIT, done), "{}", watch.probe.log());
    // Once that is said, the rules are in force.
    for n in 0..5 {
        watch.get(&format!("/slow?ms=1&n={n}"), 200, "GET /slow").unwrap();
    }
    watch.entries.clear();
    let (_, spans) = watch.finish(0).unwrap();
    assert!(spans.iter().all(|span| span.name != "GET /slow"));
    assert!(!counts(&star).contains_key("/slow"), "nothing is reported while it is off");
}
