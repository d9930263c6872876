//! Rules of the config center, pushed while the probe runs: what they choose, and what they leave exact.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use tests::client::Request;
use tests::reported::{APP, LIMIT, Reported, samples, star, totals};
use tests::stardust::StarServer;
use tests::watch::can_run;

/// Publishes these keys, and waits until the probe has said what it made of them.
fn push(star: &StarServer, reported: &Reported, values: &[(&str, &str)], says: &str) {
    assert!(star.wait_until(LIMIT, |star| !star.sockets().is_empty()), "{}", reported.watch.probe.log());
    let before = reported.watch.probe.log().matches(says).count();
    for (key, value) in values {
        star.set_config(APP, key, "", value);
    }
    star.publish(APP);
    let deadline = std::time::Instant::now() + LIMIT;
    while reported.watch.probe.log().matches(says).count() == before {
        assert!(std::time::Instant::now() < deadline, "no {says:?} in {}", reported.watch.probe.log());
        std::thread::sleep(tests::process::POLL);
    }
}

#[test]
fn a_rate_of_nothing_keeps_counts_and_errors_and_a_broken_one_changes_nothing() {
    if !can_run() {
        return;
    }
    let star = star().unwrap();
    let mut reported = Reported::start(&["--server", &star.url()], "").unwrap();
    // A process reports from its first request on.
    reported.ask(1).unwrap();
    reported.wait_for_totals(&[&star]).unwrap();
    push(&star, &reported, &[("probe.sampling.rate", "0")], "are in force");
    reported.ask(10).unwrap();
    reported.wait_for_totals(&[&star]).unwrap();
    let rules = [("probe.sampling.rate", "1"), ("probe.sampling.rules", "[{\"ratio\": 7}]")];
    push(&star, &reported, &rules, "are refused");
    reported.ask(10).unwrap();
    reported.wait_for_totals(&[&star]).unwrap();
    let kept = samples(&star);
    assert!(kept["/fast"].len() <= 1 && kept["/items/{id}"].len() <= 1, "{kept:#?}");
    assert!(kept["/boom"].len() > 1 && kept["/boom"].iter().all(|sample| sample.error.is_some()));
    // The requests that are sampled out are counted all the same.
    reported.watch.entries.retain(|entry| entry.name == "GET /boom");
    let expected = reported.expected();
    let (_, spans) = reported.watch.finish(0).unwrap();
    assert_eq!(totals(&[&star]), expected);
    assert!(spans.iter().skip(3).all(|span| span.name == "GET /boom"), "{spans:#?}");
    assert_eq!(spans.len(), 3 + 20);
}

#[test]
fn excludes_headers_and_the_switch_act_without_restart() {
    if !can_run() {
        return;
    }
    let star = star().unwrap();
    let config = "[trace]\nredact_headers = [\"x-inner\"]\n";
    let mut reported = Reported::start(&["--server", &star.url()], config).unwrap();
    reported.ask_aside(Request::get("/nocontent")).unwrap();
    let came = |star: &StarServer| totals(&[star]).contains_key("/nocontent");
    assert!(star.wait_until(LIMIT, came), "{}", reported.watch.probe.log());
    let wanted = "X-Shop, X-Inner, Authorization";
    let rules = [("probe.excludes", "*/items/*"), ("probe.headers", wanted)];
    push(&star, &reported, &rules, "are in force");
    let headers = "X-Shop: berlin\r\nX-Inner: hush1\r\nAuthorization: Bearer hush2\r\nCookie: c=hush3\r\n";
    reported.ask_aside(Request::new("GET", "/fast?token=hush4&n=x", headers, b"")).unwrap();
    reported.ask_aside(Request::get("/items/7")).unwrap();
    push(&star, &reported, &[("probe.enabled", "false")], "are in force");
    reported.ask_aside(Request::get("/slow?ms=1")).unwrap();
    push(&star, &reported, &[("probe.enabled", "true")], "are in force");
    reported.ask_aside(Request::get("/missing?n=9")).unwrap();
    let came = |star: &StarServer| totals(&[star]).contains_key("/missing");
    assert!(star.wait_until(LIMIT, came), "{:?}\n{}", totals(&[&star]), reported.watch.probe.log());
    let names: Vec<String> = totals(&[&star]).into_keys().collect();
    assert_eq!(names, ["/fast", "/missing", "/nocontent"]);
    let tag = samples(&star)["/fast"][0].tag.clone().unwrap_or_default();
    assert!(tag.contains("berlin") && tag.contains("n=x"), "{tag}");
    let said = format!("{:?}{}", reported.watch.probe.spans(), reported.watch.probe.log());
    let bodies =
        star.calls("/app/login").into_iter().map(|call| String::from_utf8_lossy(&call.body).into_owned());
    for text in [tag, said, format!("{:?}", star.totals(APP)), bodies.collect()] {
        assert!(!text.contains("hush"), "{text}");
    }
    reported.watch.entries.truncate(1);
    reported.watch.finish(2).unwrap();
}
