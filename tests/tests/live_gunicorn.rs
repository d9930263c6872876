//! Flask and Django under gunicorn, sync and threaded: every request one span, and the span is right.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use nix::sys::signal::Signal;
use rstest::rstest;
use tests::client::Request;
use tests::ledger::assert_agree;
use tests::probe::SpanLine;
use tests::server::Server;
use tests::watch::{Watch, can_run};

const USER: &str = "123e4567-e89b-12d3-a456-426614174000";

/// All kinds of routes, `rounds` times.
fn drive(watch: &mut Watch, rounds: usize) -> anyhow::Result<()> {
    for n in 0..rounds {
        watch.get(&format!("/?n={n}"), 200, "GET /")?;
        watch.get(&format!("/fast?n={n}"), 200, "GET /fast")?;
        watch.get(&format!("/items/{n}"), 200, "GET /items/{id}")?;
        watch.get(&format!("/users/{USER}/orders/{n}"), 200, "GET /users/{uuid}/orders/{id}")?;
        watch.get(&format!("/missing?n={n}"), 404, "GET /missing")?;
        watch.get(&format!("/boom?n={n}"), 500, "GET /boom")?;
        watch.get(&format!("/big?bytes=300000&n={n}"), 200, "GET /big")?;
        watch.get(&format!("/nocontent?n={n}"), 204, "GET /nocontent")?;
        watch.get(&format!("/slow?ms=30&n={n}"), 200, "GET /slow")?.least_us = 30_000;
        watch.get(&format!("/stream?chunks=4&size=100&ms=10&n={n}"), 200, "GET /stream")?.least_us = 40_000;
        "POST /echo".clone_into(&mut watch.ask(Request::post(&format!("/echo?n={n}"), 100_000))?.name);
    }
    Ok(())
}

#[rstest]
#[case::sync("flask_app", &["--workers", "2"])]
#[case::threads("flask_app", &["--workers", "2", "--threads", "4"])]
#[case::django("django_app", &["--workers", "2"])]
fn every_request_is_one_span(#[case] app: &str, #[case] arguments: &[&str]) {
    if !can_run() {
        return;
    }
    let server = Server::gunicorn(&format!("{app}:app"), arguments).unwrap();
    let mut watch = Watch::on(server).unwrap();
    drive(&mut watch, 20).unwrap();
    let workers = watch.server.processes.children();
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    for span in &spans {
        assert_eq!((span.kind.as_str(), span.app.as_str(), span.scheme.as_str()), ("server", app, "http"));
        assert!(workers.contains(&span.pid), "{span:?}");
        assert_eq!(span.host.as_deref(), Some("app.test"));
        assert_eq!(
            (span.client_addr.as_deref(), span.http_version.as_deref()),
            (Some("127.0.0.1"), Some("1.1"))
        );
        assert_eq!((span.trace_id.len(), span.span_id.len(), &span.parent_id), (32, 16, &None));
        // The exception is known from a process's second failure on.
        match span.error.as_deref() {
            None => assert_ne!(span.status, Some(500), "{span:?}"),
            Some("HTTP 500" | "HTTP 500: RuntimeError: boom") => assert_eq!(span.status, Some(500)),
            Some(other) => panic!("{other}: {span:?}"),
        }
        assert!(span.ttfb_us.is_some_and(|first_us| first_us <= span.duration_us), "{span:?}");
    }
    let ids: std::collections::HashSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "span ids are unique");
}

#[rstest]
#[case::requests("flask_app")]
#[case::urllib("django_app")]
fn an_outgoing_call_is_the_child_of_its_request(#[case] app: &str) {
    if !can_run() {
        return;
    }
    let other = Server::plain().unwrap();
    let mut watch = Watch::on(Server::gunicorn(&format!("{app}:app"), &[]).unwrap()).unwrap();
    for n in 0..5 {
        let url = format!("{}/items/{n}", other.endpoint.url());
        watch.get(&format!("/call?n={n}&url={url}"), 200, "GET /call").unwrap();
    }
    let failing = format!("/call?n=9&url={}/missing", other.endpoint.url());
    watch.get(&failing, 200, "GET /call").unwrap();
    let (entries, spans) = watch.finish(6).unwrap();
    let (calls, served): (Vec<SpanLine>, Vec<SpanLine>) =
        spans.into_iter().partition(|span| span.kind == "client");
    assert_agree(&entries, &served);
    assert_eq!(calls.len(), 6, "{calls:#?}");
    for call in &calls {
        let target = call.target.as_deref().unwrap();
        let parent = served.iter().find(|span| span.target.as_deref().unwrap().ends_with(target)).unwrap();
        assert_eq!(call.parent_id.as_deref(), Some(parent.span_id.as_str()));
        assert_eq!(
            (call.trace_id.as_str(), call.parent_kind.as_deref()),
            (parent.trace_id.as_str(), Some("thread"))
        );
        assert_eq!((call.pid, call.tid), (parent.pid, parent.tid));
        assert_eq!(call.peer.as_deref().map(|peer| format!("http://{peer}")), Some(other.endpoint.url()));
        assert!(call.duration_us <= parent.duration_us && call.start_unix_ns >= parent.start_unix_ns);
        let missing = target == "/missing";
        assert_eq!(call.status, Some(if missing { 404 } else { 200 }));
        assert_eq!(call.error.is_some(), missing);
        assert_eq!(call.name, if missing { "GET /missing" } else { "GET /items/{id}" });
    }
}

#[rstest]
#[case::w3c("4bf92f3577b34da6a3ce929d0e0e4736")]
#[case::stardust("ac15452e1649035594650011be21ec")]
fn a_trace_that_comes_in_goes_on(#[case] trace_id: &str) {
    if !can_run() {
        return;
    }
    let mut watch = Watch::on(Server::gunicorn("flask_app:app", &[]).unwrap()).unwrap();
    let header = format!("TraceParent: 00-{trace_id}-00f067aa0ba902b7-01\r\n");
    watch.ask(Request::new("GET", "/fast?n=1", &header, b"")).unwrap();
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    assert_eq!(
        (spans[0].trace_id.as_str(), spans[0].parent_id.as_deref()),
        (trace_id, Some("00f067aa0ba902b7"))
    );
    assert_eq!(spans[0].parent_kind.as_deref(), Some("remote"));
}

#[test]
fn workers_that_come_later_are_watched_from_their_first_request() {
    if !can_run() {
        return;
    }
    let server = Server::gunicorn("flask_app:app", &["--workers", "2", "--max-requests", "7"]).unwrap();
    let before = server.processes.children();
    let mut watch = Watch::on(server).unwrap();
    for n in 0..60 {
        watch.get(&format!("/fast?n={n}"), 200, "GET /fast").unwrap();
    }
    watch.server.processes.signal(Signal::SIGHUP).unwrap();
    let pid = watch.server.pid();
    let renewed = || {
        let now = tests::process::children_of(pid);
        now.len() == 2 && now.iter().all(|worker| !before.contains(worker))
    };
    watch.server.processes.wait_until(Duration::from_secs(20), renewed).unwrap();
    for n in 60..80 {
        watch.get(&format!("/fast?n={n}"), 200, "GET /fast").unwrap();
    }
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    let pids: std::collections::HashSet<u32> = spans.iter().map(|span| span.pid).collect();
    assert!(pids.len() > 2, "{pids:?}");
    assert!(spans.iter().all(|span| span.app == "flask_app"));
}

#[test]
fn a_killed_worker_leaves_a_span_that_says_so() {
    if !can_run() {
        return;
    }
    let mut watch = Watch::on(Server::gunicorn("flask_app:app", &[]).unwrap()).unwrap();
    let mut connection = tests::client::Connection::open(&watch.server.endpoint).unwrap();
    let sent = connection.send(Request::get("/hang?n=1")).unwrap();
    let worker = watch.server.processes.children()[0];
    let sleeps =
        || std::fs::read_to_string(format!("/proc/{worker}/wchan")).is_ok_and(|at| at.contains("nanosleep"));
    watch.server.processes.wait_until(Duration::from_secs(5), sleeps).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(worker as i32), Signal::SIGKILL).unwrap();
    let mut entry = connection.receive(sent).unwrap();
    assert_eq!(entry.status, None);
    entry.name = "GET /hang".to_owned();
    watch.entries.push(entry);
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    assert_eq!(spans[0].end, "process_exited");
    assert!(spans[0].error.as_deref().is_some_and(|error| error.contains("process exited")));
}
