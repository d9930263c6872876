//! Large bodies and messages over HTTP/2, as fast as they go: the content is not copied, so a small ring holds what is told
//! of it; sizes and counts are exact all the same.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rstest::rstest;
use serde::Deserialize;
use tests::caller::Caller;
use tests::ledger::{Entry, assert_agree};
use tests::probe::{Probe, SpanLine};
use tests::server::Server;
use tests::streams::{by_number, entry, spans_of};
use tests::venv::Venv;
use tests::watch::can_run;

const SPAN_LIMIT: Duration = Duration::from_secs(30);
const BODY_BYTES: usize = 16 << 20;
/// Half of them are sent a body, half send one.
const REQUESTS: usize = 8;
const CALLS: usize = 16;
/// Holds one body at most, and the drain comes by a hundred times a second.
const SMALL_RING: &str = "[kernel]\nring_bytes = 1048576\n[trace]\nheaders = ['x-number']\n";

/// What a line of `apps/grpc_app.py` says.
#[derive(Debug, Deserialize)]
struct CallLine {
    number: String,
    path: String,
    status: u64,
    requests: u64,
    responses: u64,
}

/// When the connections are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opened {
    /// The probe sees them from their first byte.
    Watched,
    /// Before the probe comes. A small request shows it where frames begin.
    Before,
}

/// Watches the caller with the server.
fn attach(server: &Server, caller: &Caller, way: &str) -> Probe {
    let config = server.folder().join("probe.toml");
    std::fs::write(&config, SMALL_RING).unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    let environment = [("STARDUST_PROBE_KERNEL_WAY", way)];
    Probe::attach_in(&[server.pid(), caller.pid()], &arguments, &environment).unwrap()
}

/// Lets the caller go, and gives what it told and the spans of both: the server's, the caller's. `early`: requests on
/// connections that are open before, ahead of the others.
fn watch(
    server: &Server,
    command: Command,
    way: &str,
    (early, count): (usize, usize),
) -> (Vec<String>, Vec<SpanLine>, Vec<SpanLine>) {
    let mut caller = Caller::start(command).unwrap();
    let mut lines = Vec::new();
    if early > 0 {
        assert_eq!(caller.line().unwrap().trim_end(), "open");
    }
    let probe = attach(server, &caller, way);
    if early > 0 {
        lines.push(caller.ask("early").unwrap());
        lines.extend((1..early).map(|_| caller.line().unwrap()));
        assert!(probe.wait_for_spans(2 * early, SPAN_LIMIT), "{:#?}\n{}", probe.spans(), probe.log());
    }
    lines.extend(caller.call().unwrap());
    let (inbound, outbound) = spans_of(probe, 2 * (early + count), SPAN_LIMIT).unwrap();
    (lines, inbound, outbound)
}

fn bodies(server: &Server, certificate: Option<&Path>, way: &str, opened: Opened) {
    let mut command = Venv::open().unwrap().script("http2_bulk.py");
    let (word, early, count) = match opened {
        Opened::Watched => ("after", 0, REQUESTS + 1),
        Opened::Before => ("before", REQUESTS / 2 + 1, REQUESTS),
    };
    command.args([word, &server.endpoint.url(), &REQUESTS.to_string(), &BODY_BYTES.to_string()]);
    command.args(certificate);
    let (lines, inbound, outbound) = watch(server, command, way, (early, count));
    let entries: Vec<Entry> = lines.iter().map(|line| entry(line).unwrap()).collect();
    assert_eq!(entries.len(), early + count);
    for spans in [inbound, outbound] {
        assert_agree(&entries, &spans);
        let large =
            spans.iter().filter(|span| span.request_bytes.max(span.response_bytes) > BODY_BYTES as u64);
        assert_eq!(large.count(), REQUESTS);
        assert!(spans.iter().all(|span| span.protocol == "http2"));
    }
}

/// Four at once: streams of one connection that are sent them, and connections that send them.
#[rstest]
#[case::by_tp_btf("auto", Opened::Watched)]
#[case::by_syscalls("syscalls", Opened::Watched)]
#[case::by_tp_btf_from_before("auto", Opened::Before)]
#[case::by_syscalls_from_before("syscalls", Opened::Before)]
fn bodies_without_a_pause(#[case] way: &str, #[case] opened: Opened) {
    if !can_run() {
        return;
    }
    bodies(&Server::hypercorn("fastapi_app:app").unwrap(), None, way, opened);
}

#[rstest]
#[case::watched(Opened::Watched)]
#[case::from_before(Opened::Before)]
fn bodies_inside_tls(#[case] opened: Opened) {
    if !can_run() {
        return;
    }
    let server = Server::hypercorn_tls("fastapi_app:app").unwrap();
    bodies(&server, Some(&server.certificate_file()), "auto", opened);
}

/// Streams of messages of four megabytes with small ones between them, and of many small ones, several at once.
#[rstest]
#[case("grpcio", Opened::Watched)]
#[case("grpclib", Opened::Watched)]
#[case("grpcio", Opened::Before)]
#[case("grpclib", Opened::Before)]
fn grpc_messages(#[case] library: &str, #[case] opened: Opened) {
    if !can_run() {
        return;
    }
    let server = Server::grpc(library).unwrap();
    let mut command = Venv::open().unwrap().script("grpc_app.py");
    let url = server.endpoint.url();
    let (_, port) = url.rsplit_once(':').unwrap();
    let (what, early) = if opened == Opened::Before { ("held", 1) } else { ("bulk", 0) };
    command.args([library, what, port, &CALLS.to_string()]);
    let (lines, inbound, outbound) = watch(&server, command, "auto", (early, CALLS));
    let books: Vec<CallLine> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let all = early + CALLS;
    assert_eq!((books.len(), inbound.len(), outbound.len()), (all, all, all));
    let (inbound, outbound) = (by_number(inbound).unwrap(), by_number(outbound).unwrap());
    for call in &books {
        let (read, written) = (&inbound[&call.number], &outbound[&call.number]);
        for span in [read, written] {
            let number = |name: &str| span.attributes.get(name).and_then(serde_json::Value::as_u64);
            let counts = [number("rpc.requests_per_rpc"), number("rpc.responses_per_rpc")];
            assert_eq!(counts, [call.requests, call.responses].map(Some), "{span:?}");
            assert_eq!(number("rpc.grpc.status_code"), Some(call.status));
            assert_eq!((span.target.as_deref(), span.end.as_str()), (Some(&*call.path), "complete"));
        }
        assert_eq!(
            (read.request_bytes, read.response_bytes),
            (written.request_bytes, written.response_bytes),
            "what one wrote the other read"
        );
    }
}
