//! Bodies past the limits of 32-bit numbers, written, read and sent by the kernel: sizes exact, times right.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::ledger::assert_agree;
use tests::server::Server;
use tests::venv::Venv;
use tests::watch::{Watch, can_run};

/// More than 2³¹ and more than 2³².
const LARGE: u64 = 2_200_000_000;
const LARGER: u64 = 4_400_000_000;
const LIMIT: Duration = Duration::from_secs(5);

#[rstest]
#[case::by_tp_btf("auto")]
#[case::by_syscalls("syscalls")]
fn bodies_of_gigabytes(#[case] way: &str) {
    if !can_run() {
        return;
    }
    let server = Server::script("bulk_app.py", &[]).unwrap();
    let mut watch = Watch::within(server, &[], &[("STARDUST_PROBE_KERNEL_WAY", way)]).unwrap();
    let mut connection = Connection::open(&watch.server.endpoint).unwrap();
    for target in [format!("/sent?bytes={LARGER}"), format!("/file?bytes={LARGE}")] {
        let entry = connection.exchange_bulk(Request::get(&target), 0).unwrap();
        // The bytes are in the span until the last: it cannot last less than their passing.
        let least_us = (entry.last_ns - entry.first_ns) / 1000 / 2;
        watch.entries.push(tests::ledger::Entry { least_us, ..entry });
    }
    let headers = format!("Content-Length: {LARGE}\r\n");
    let upload = Request::new("POST", "/taken?n=1", &headers, b"");
    let entry = connection.exchange_bulk(upload, LARGE).unwrap();
    let least_us = (entry.first_ns - entry.start_ns) / 1000 / 2;
    watch.entries.push(tests::ledger::Entry { least_us, ..entry });
    // And the next on the same connection.
    let entry = connection.exchange_bulk(Request::get("/sent?bytes=10"), 0).unwrap();
    watch.entries.push(entry);
    assert!(watch.probe.wait_for_spans(4, LIMIT), "{:?}", watch.probe.spans());
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
}

/// Python hands all of a body to its TLS library at once.
#[test]
fn a_body_of_gigabytes_in_one_call_inside_tls() {
    if !can_run() {
        return;
    }
    let python = Venv::open().unwrap().program("python");
    let mut watch = Watch::on(Server::script_tls_of(&python, "bulk_app.py").unwrap()).unwrap();
    let mut connection = Connection::open(&watch.server.endpoint).unwrap();
    for target in [format!("/once?bytes={LARGER}"), "/once?bytes=10".to_owned()] {
        watch.entries.push(connection.exchange_bulk(Request::get(&target), 0).unwrap());
    }
    assert!(watch.probe.wait_for_spans(2, LIMIT), "{:?}", watch.probe.spans());
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
}
