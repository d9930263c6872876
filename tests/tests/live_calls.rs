//! Calls with several messages: which bytes belong to which cannot be told, so they are counted, and nothing is made
//! up of them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use tests::client::{Connection, Request};
use tests::ledger::assert_agree;
use tests::probe::counts;
use tests::server::Server;
use tests::watch::{Watch, can_run};

/// Attaches to the server, sends these targets on one connection, and gives the spans and the counts at the end.
fn drive(targets: &[&str]) -> (Vec<tests::ledger::Entry>, Vec<tests::probe::SpanLine>, Value) {
    let server = Server::script("mmsg_app.py", &[]).unwrap();
    let watch = Watch::with(server, &["--log-level", "debug"]).unwrap();
    let mut connection = Connection::open(&watch.server.endpoint).unwrap();
    let mut entries = Vec::new();
    for target in targets {
        let entry = connection.exchange(Request::get(target)).unwrap();
        assert_eq!((entry.status, entry.body.as_slice()), (Some(200), b"body".as_slice()));
        entries.push(entry);
    }
    drop(connection);
    watch.probe.wait_for_spans(targets.len(), std::time::Duration::from_secs(2));
    let (spans, log) = watch.probe.stop_with_log().unwrap();
    (entries, spans, counts(&log))
}

#[test]
fn one_message_is_read_like_any_other() {
    if !can_run() {
        return;
    }
    let (entries, spans, counts) = drive(&["/one?n=1", "/one?n=2", "/plain?n=3"]);
    assert_agree(&entries, &spans);
    assert_eq!(counts["kernel"].get("without_content_sendmmsg"), None, "{counts}");
}

#[test]
fn responses_in_several_messages_are_counted_and_the_next_is_whole() {
    if !can_run() {
        return;
    }
    let (entries, spans, counts) = drive(&["/plain?n=1", "/two?n=2", "/plain?n=3", "/plain?n=4"]);
    assert_eq!(counts["kernel"]["without_content_sendmmsg"], 2, "{counts}");
    assert_eq!(spans.len(), 4, "{spans:#?}");
    let two = spans.iter().position(|span| span.target.as_deref() == Some("/two?n=2")).unwrap();
    let mut spans = spans;
    let two = spans.remove(two);
    assert_eq!((two.status, two.end.as_str(), two.error.as_deref()), (None, "probe_lost", None), "{two:?}");
    let read: Vec<_> = entries.into_iter().filter(|entry| !entry.target.starts_with("/two")).collect();
    assert_agree(&read, &spans);
}

#[test]
fn a_request_in_a_call_for_several_is_counted_and_the_next_is_whole() {
    if !can_run() {
        return;
    }
    let targets = ["/plain?n=1", "/plain?n=2&next=several", "/plain?n=3", "/plain?n=4"];
    let (entries, spans, counts) = drive(&targets);
    assert!(counts["kernel"]["without_content_recvmmsg"].as_u64() >= Some(1), "{counts}");
    assert_eq!(counts["trace"]["unpaired_responses"], 1, "{counts}");
    let read: Vec<_> = entries.into_iter().filter(|entry| entry.target != "/plain?n=3").collect();
    assert_agree(&read, &spans);
}
