//! What the Stardust server asks for, and what it does to the probe: limits, excludes, approval, failure.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use tests::client::Request;
use tests::reported::{APP, LIMIT, Reported, prepare, samples, star, totals};
use tests::server::Server;
use tests::stardust::journal::Skip;
use tests::stardust::{Mode, StarServer};
use tests::watch::can_run;

#[test]
fn limits_and_excludes_are_obeyed() {
    if !can_run() {
        return;
    }
    let star = star().unwrap();
    star.edit_tracer(APP, |tracer| {
        (tracer.period_s, tracer.max_samples, tracer.max_errors) = (1, 2, 3);
        tracer.excludes = vec!["/item*".to_owned()];
    });
    let mut reported = Reported::start(&["--server", &star.url()], "").unwrap();
    reported.ask(1).unwrap();
    // The first answer brings the parameters; what it excludes is left out there, later on here.
    let answered = |star: &StarServer| star.reports().iter().any(|report| !report.taken.is_empty());
    assert!(star.wait_until(LIMIT, answered), "{}", reported.watch.probe.log());
    let came = |rounds| move |star: &StarServer| totals(&[star]).get("/boom") == Some(&(rounds, rounds));
    reported.ask(30).unwrap();
    assert!(star.wait_until(LIMIT, came(31)), "{:?}", totals(&[&star]));
    let settled = star.reports().len();
    reported.ask(30).unwrap();
    assert!(star.wait_until(LIMIT, came(61)), "{:?}", totals(&[&star]));
    reported.watch.finish(0).unwrap();
    let found = totals(&[&star]);
    assert_eq!((found["/fast"], found.get("/items/{id}")), ((61, 0), None));
    let reports = star.reports();
    let late = reports.iter().skip(settled).flat_map(|report| &report.skipped);
    let late: Vec<_> = late.filter(|(_, skip)| *skip == Skip::Excluded).collect();
    assert!(late.is_empty(), "the server has said so long before: {late:?}");
    // Flagged traces are kept past the limit, up to ten times as many a period.
    let kept = samples(&star);
    let most = |name: &str, each: usize| {
        let with = reports.iter().filter(|report| report.taken.iter().any(|taken| taken.0 == name)).count();
        assert!((1..=with * each).contains(&kept[name].len()), "{name}: {} in {with}", kept[name].len());
    };
    most("/fast", 20);
    most("/boom", 30);
}

#[test]
fn a_call_and_its_request_are_one_chain_of_samples() {
    if !can_run() {
        return;
    }
    let star = star().unwrap();
    star.edit_tracer(APP, |tracer| tracer.max_samples = 3);
    let other = Server::plain().unwrap();
    let mut reported = Reported::start(&["--server", &star.url()], "").unwrap();
    for n in 0..12 {
        let target = format!("/call?n={n}&url={}/items/{n}", other.endpoint.url());
        reported.ask_aside(Request::get(&target)).unwrap();
    }
    let call_name = |name: &str| name.starts_with("http://") || name.contains("/items/");
    let both = |star: &StarServer| {
        let all = totals(&[star]);
        let calls: i64 = all.iter().filter(|(name, _)| call_name(name)).map(|(_, total)| total.0).sum();
        all.get("/call").is_some_and(|served| served.0 == 12) && calls == 12
    };
    assert!(star.wait_until(LIMIT, both), "{:?}", totals(&[&star]));
    reported.watch.finish(12).unwrap();
    let kept = samples(&star);
    let served = &kept["/call"];
    let calls: Vec<_> = kept.iter().filter(|(name, _)| call_name(name)).flat_map(|(_, list)| list).collect();
    assert!(!served.is_empty());
    for parent in served {
        assert_eq!(parent.trace_flag, 1, "a sample is of a flagged trace: {parent:?}");
        let child = calls.iter().find(|call| call.parent_id == parent.id);
        let child = child.unwrap_or_else(|| panic!("no child of {parent:?} in {calls:#?}"));
        assert_eq!((&child.trace_id, child.trace_flag), (&parent.trace_id, 1));
        assert!(child.start_ms >= parent.start_ms && child.end_ms <= parent.end_ms);
    }
}

#[test]
fn an_app_that_waits_for_approval_sends_nothing_and_says_so() {
    if !can_run() {
        return;
    }
    let star = StarServer::start().unwrap();
    star.edit_settings(|settings| settings.auto_register = false);
    let mut reported = Reported::start(&["--server", &star.url()], "").unwrap();
    reported.ask(5).unwrap();
    let waits = |star: &StarServer| star.logins().iter().any(|login| !login.token_given);
    assert!(star.wait_until(LIMIT, waits), "{}", reported.watch.probe.log());
    assert!(star.reports().iter().all(|report| report.taken.is_empty()), "nothing is taken without approval");
    let log = wait_for_log(&reported, "waits for approval");
    assert!(log.contains("waits for approval"), "{log}");
    reported.watch.finish(0).unwrap();
}

#[test]
fn an_app_that_is_let_in_later_reports_everything_since() {
    if !can_run() {
        return;
    }
    let star = StarServer::start().unwrap();
    star.edit_settings(|settings| settings.auto_register = false);
    let mut reported = Reported::start(&["--server", &star.url()], "login_retry_s = 1\n").unwrap();
    reported.ask(5).unwrap();
    let log = wait_for_log(&reported, "waits for approval");
    assert!(log.contains("waits for approval"), "{log}");
    // A person lets it in.
    prepare(&star);
    star.edit_app(APP, |app| app.enabled = true);
    reported.ask(5).unwrap();
    reported.wait_for_totals(&[&star]).unwrap();
    reported.finish(&[&star]).unwrap();
}

#[test]
fn a_disabled_app_is_told_once_and_spans_still_come_on_stdout() {
    if !can_run() {
        return;
    }
    let star = star().unwrap();
    star.edit_app(APP, |app| app.enabled = false);
    let mut reported = Reported::start(&["--server", &star.url()], "").unwrap();
    reported.ask(5).unwrap();
    let refused = |star: &StarServer| star.refusals().iter().any(|(path, ..)| path == "/app/login");
    assert!(star.wait_until(LIMIT, refused));
    assert!(reported.watch.probe.wait_for_spans(15, LIMIT));
    let log = reported.watch.probe.log();
    assert_eq!(log.matches("禁止登录").count(), 1, "{log}");
    reported.watch.finish(0).unwrap();
}

#[test]
fn every_way_of_being_away_keeps_the_counts() {
    if !can_run() {
        return;
    }
    let star = star().unwrap();
    let mut reported = Reported::start(&["--server", &star.url()], "").unwrap();
    reported.ask(3).unwrap();
    reported.wait_for_totals(&[&star]).unwrap();
    for mode in [Mode::Failing, Mode::Hanging, Mode::Refusing] {
        let calls = star.calls("/trace/reportraw").len();
        star.set_mode(mode);
        reported.ask(3).unwrap();
        if mode == Mode::Failing {
            // It has tried, in vain.
            star.wait_until(Duration::from_secs(2), |star| star.calls("/trace/reportraw").len() > calls);
        }
        star.set_mode(Mode::Serving);
        reported.wait_for_totals(&[&star]).unwrap();
    }
    reported.finish(&[&star]).unwrap();
}

#[test]
fn another_server_takes_over() {
    if !can_run() {
        return;
    }
    let (first, second) = (star().unwrap(), star().unwrap());
    let mut reported = Reported::start(&["--server", &first.url(), "--server", &second.url()], "").unwrap();
    reported.ask(3).unwrap();
    reported.wait_for_totals(&[&second, &first]).unwrap();
    assert!(totals(&[&second]).is_empty(), "the first is well");
    first.set_mode(Mode::Refusing);
    reported.ask(3).unwrap();
    reported.wait_for_totals(&[&first, &second]).unwrap();
    assert!(!totals(&[&second]).is_empty());
    reported.finish(&[&first, &second]).unwrap();
}

#[test]
fn https_needs_a_known_authority() {
    if !can_run() {
        return;
    }
    let star = StarServer::start_at(([127, 0, 0, 1], 0).into(), true).unwrap();
    prepare(&star);
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, star.ca_pem().unwrap()).unwrap();
    let mut reported =
        Reported::start(&["--server", &star.url(), "--ca-file", authority.to_str().unwrap()], "").unwrap();
    reported.ask(3).unwrap();
    reported.wait_for_totals(&[&star]).unwrap();
    reported.finish(&[&star]).unwrap();
    let before = totals(&[&star]);
    let mut stranger = Reported::start(&["--server", &star.url()], "").unwrap();
    stranger.ask(1).unwrap();
    assert!(stranger.watch.probe.wait_for_spans(3, LIMIT));
    let log = wait_for_log(&stranger, "certificate");
    assert!(log.to_lowercase().contains("certificate"), "{log}");
    stranger.watch.finish(0).unwrap();
    assert_eq!(totals(&[&star]), before);
}

#[test]
fn a_server_that_is_not_stardust_is_named() {
    if !can_run() {
        return;
    }
    let other = Server::plain().unwrap();
    let url = other.endpoint.url();
    let mut reported = Reported::start(&["--server", &url], "").unwrap();
    reported.ask(2).unwrap();
    let log = wait_for_log(&reported, &url);
    assert!(log.lines().any(|line| line.contains("WARN") || line.contains("ERROR")), "{log}");
    let (_, spans) = reported.watch.finish(0).unwrap();
    assert_eq!(spans.len(), 6, "spans come on stdout all the same");
}

/// The log, once `text` is in it or the time is up.
fn wait_for_log(reported: &Reported, text: &str) -> String {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let log = reported.watch.probe.log();
        if log.to_lowercase().contains(text) || std::time::Instant::now() > deadline {
            return log;
        }
        std::thread::sleep(tests::process::POLL);
    }
}
