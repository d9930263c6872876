//! Two apps that are both watched, one calling the other: the spans of both are one tree.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::lineage::SEES;
use tests::probe::{Probe, SpanLine};
use tests::server::Server;
use tests::watch::can_run;

const REQUESTS: usize = 40;
/// What is served is told so long after its end, whether or not its caller is known by then; less what clocks and threads add.
const TOLD_AFTER_US: f64 = 40_000.0;
const LATE: &str = "unknown: it was not known in time which request its caller belongs to";

/// The span of this kind with this target.
fn find<'a>(spans: &'a [SpanLine], kind: &str, target: &str) -> &'a SpanLine {
    let found = spans.iter().find(|span| span.kind == kind && span.target.as_deref() == Some(target));
    found.unwrap_or_else(|| panic!("no {kind} span of {target} in {spans:#?}"))
}

fn assert_child(child: &SpanLine, parent: &SpanLine) {
    assert_eq!(
        (child.parent_id.as_deref(), child.trace_id.as_str()),
        (Some(parent.span_id.as_str()), parent.trace_id.as_str()),
        "{child:#?} of {parent:#?}"
    );
}

/// Whether the caller's own request was known only after what it called was told: then the span names the caller, and no parent.
fn is_late(served: &SpanLine, called: &SpanLine) -> bool {
    let said = |name: &str| served.attributes.get(name).and_then(|value| value.as_str());
    let end_us = |span: &SpanLine| span.start_unix_ns as f64 / 1000.0 + span.duration_us;
    served.parent_id.is_none()
        && said("stardust_probe.parent") == Some(LATE)
        && said("stardust_probe.caller_span_id") == Some(&called.span_id)
        && end_us(called) - end_us(served) > TOLD_AFTER_US
}

fn caller(kind: &str) -> Server {
    match kind {
        "sync" => Server::gunicorn("flask_app:app", &[]),
        "threads" => Server::gunicorn("pool_app:app", &["--threads", "8"]),
        _ => Server::uvicorn("pool_app:asgi", "h11"),
    }
    .unwrap()
}

/// Each request of the first app calls the second, over connections that are kept where the client keeps them.
#[rstest]
#[case::new_connections("sync", "/call?n={n}&url={url}")]
#[case::kept_connections("threads", "/call?n={n}&url={url}")]
#[case::a_task("asyncio", "/call?n={n}&url={url}")]
fn what_is_served_is_the_child_of_what_is_called(#[case] kind: &str, #[case] form: &str) {
    if !can_run() {
        return;
    }
    let inner = Server::gunicorn("flask_app:app", &["--threads", "8"]).unwrap();
    let outer = caller(kind);
    let workers = [&inner, &outer].map(|server| server.workers().unwrap()).concat();
    let limit = Duration::from_secs(10);
    // Calls of tasks are known from then on.
    let seen = [("STARDUST_PROBE_PYTHON_LINEAGE", "always")];
    let probe = Probe::attach_in(&[inner.pid(), outer.pid()], &["--log-level", "debug"], &seen).unwrap();
    probe.wait_until_followed(&workers, limit).unwrap();
    if kind == "asyncio" {
        assert!(probe.wait_for_log(SEES, limit), "{}", probe.log());
    }
    let mut connections: Vec<Connection> =
        (0..4).map(|_| Connection::open(&outer.endpoint).unwrap()).collect();
    let mut targets = Vec::new();
    for round in 0..REQUESTS / connections.len() {
        let sent: Vec<_> = connections
            .iter_mut()
            .enumerate()
            .map(|(lane, connection)| {
                let target = format!("/slow?ms=5&n={round}-{lane}");
                let url = format!("{}{}", inner.endpoint.url(), target.replace('&', "%26"));
                let outer_target = form.replace("{n}", &format!("{round}-{lane}")).replace("{url}", &url);
                targets.push((outer_target.clone(), target));
                connection.send(Request::get(&outer_target)).unwrap()
            })
            .collect();
        for (connection, sent) in connections.iter_mut().zip(sent) {
            let entry = connection.receive(sent).unwrap();
            assert_eq!(entry.status, Some(200));
            if !entry.keeps_alive {
                *connection = Connection::open(&outer.endpoint).unwrap();
            }
        }
    }
    assert!(probe.wait_for_spans(3 * REQUESTS, Duration::from_secs(5)));
    let spans = probe.stop().unwrap();
    assert_eq!(spans.len(), 3 * REQUESTS);
    let mut late = 0;
    for (outer_target, target) in &targets {
        let served = find(&spans, "server", target);
        let called = find(&spans, "client", target);
        assert_child(called, find(&spans, "server", outer_target));
        if is_late(served, called) {
            late += 1;
            continue;
        }
        assert_child(served, called);
        assert_eq!(served.parent_kind.as_deref(), Some("connection"));
    }
    // A machine that stops for a moment does so for all that are at it.
    assert!(late <= REQUESTS / 4, "{late} were told without a parent");
}
