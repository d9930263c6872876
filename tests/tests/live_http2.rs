//! HTTP/2 and gRPC in clear text, with real servers and clients: one span for each stream, as the client's books say.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use rstest::rstest;
use serde::Deserialize;
use tests::caller::Caller;
use tests::ledger::{Entry, assert_agree};
use tests::probe::{Probe, SpanLine, counts};
use tests::server::Server;
use tests::streams::{by_number, entry, spans_of};
use tests::venv::Venv;
use tests::watch::{Watch, can_run, read};

const SPAN_LIMIT: Duration = Duration::from_secs(10);
/// What h2load asks; hypercorn closes a connection after a thousand.
const REQUESTS: usize = 900;
/// gRPC calls: twelve rounds of eight, the last of which lasts.
const CALLS: usize = 96;
const ROUND: usize = 8;
const SLOW_US: f64 = 30_000.0;

/// `apps/http2_client.py`, waiting for the word.
fn client(kind: &str, url: &str, count: usize) -> Caller {
    let mut command = Venv::open().unwrap().script("http2_client.py");
    command.args([kind, url, &count.to_string()]);
    Caller::start(command).unwrap()
}

/// Fifty streams at once on one connection; the bytes are those of the frames.
#[test]
fn a_server_of_streams() {
    if !can_run() {
        return;
    }
    let server = Server::hypercorn("fastapi_app:app").unwrap();
    let caller = client("h2", &server.endpoint.url(), 400);
    let probe = Probe::attach(&[server.pid()], &[]).unwrap();
    let entries: Vec<Entry> = caller.call().unwrap().iter().map(|line| entry(line).unwrap()).collect();
    assert_eq!(entries.len(), 400);
    let (spans, calls) = spans_of(probe, 400, SPAN_LIMIT).unwrap();
    assert_agree(&entries, &spans);
    assert!(calls.is_empty());
    for span in &spans {
        assert_eq!((span.protocol.as_str(), span.http_version.as_deref()), ("http2", Some("2")));
        assert!(span.says_no_more_than_times() && span.parent_id.is_none(), "{span:?}");
        assert!(span.ttfb_us.unwrap() <= span.duration_us);
    }
    let slow = spans.iter().filter(|span| span.name == "GET /slow");
    assert_eq!(slow.filter(|span| span.duration_us >= 20_000.0).count(), 50);
}

/// Client and server are both watched: what one wrote the other read.
#[test]
fn a_client_of_streams() {
    if !can_run() {
        return;
    }
    let server = Server::hypercorn("fastapi_app:app").unwrap();
    let caller = client("httpx", &server.endpoint.url(), 200);
    let probe = Probe::attach(&[server.pid(), caller.pid()], &[]).unwrap();
    let entries: Vec<Entry> = caller.call().unwrap().iter().map(|line| entry(line).unwrap()).collect();
    let (inbound, outbound) = spans_of(probe, 400, SPAN_LIMIT).unwrap();
    assert_agree(&entries, &inbound);
    assert_agree(&entries, &outbound);
    let by_target = |spans: &[SpanLine]| -> BTreeMap<String, (u64, u64)> {
        let row = |span: &SpanLine| (span.target.clone().unwrap(), (span.request_bytes, span.response_bytes));
        spans.iter().map(row).collect()
    };
    assert_eq!(by_target(&inbound), by_target(&outbound));
}

/// h2load with a hundred streams at once: each request once, and all bytes of them.
#[test]
fn a_hundred_streams_at_once() {
    if !can_run() {
        return;
    }
    let server = Server::hypercorn("fastapi_app:app").unwrap();
    let mut targets = String::new();
    for number in 0..REQUESTS {
        writeln!(targets, "{}/items/{number}", server.endpoint.url()).unwrap();
    }
    let list = server.folder().join("targets");
    std::fs::write(&list, targets).unwrap();
    let probe = Probe::attach(&[server.pid()], &[]).unwrap();
    let mut command = Command::new("h2load");
    command.args(["-n", &REQUESTS.to_string(), "-c", "1", "-m", "100", "-i"]).arg(&list);
    let ledger = server.folder().join("ledger");
    command.arg("--log-file").arg(&ledger);
    let report = read(&mut command).unwrap();
    assert!(report.contains("900 succeeded") && report.contains("900 2xx"), "{report}");
    let (spans, _) = spans_of(probe, REQUESTS, SPAN_LIMIT).unwrap();
    assert_no_longer(&spans, &std::fs::read_to_string(ledger).unwrap());
    let entries: Vec<Entry> = (0..REQUESTS)
        .map(|number| Entry {
            method: "GET".to_owned(),
            target: format!("/items/{number}"),
            status: Some(200),
            complete: true,
            name: "GET /items/{id}".to_owned(),
            ..Entry::default()
        })
        .collect();
    assert_agree(&entries, &spans);
    // `traffic: 35.46KB (36312) total, 4.43KB (4532) headers (space savings 95.19%), 8.79KB (9000) data`
    let traffic = report.lines().find(|line| line.starts_with("traffic:")).unwrap();
    let numbers: Vec<u64> =
        traffic.split('(').filter_map(|part| part.split_once(')')?.0.parse().ok()).collect();
    let [_, headers, data] = numbers[..] else { panic!("{traffic}") };
    // Each answer is a HEADERS frame, a DATA frame with the content, and one that ends the stream.
    let frames = 3 * 9 * REQUESTS as u64;
    assert_eq!(spans.iter().map(|span| span.response_bytes).sum::<u64>(), headers + data + frames);
}

/// Each request took the server no longer than its client, so the k-th longest did not either. A line of h2load's ledger
/// is when a request began, its status, and how long it took, in microseconds.
fn assert_no_longer(spans: &[SpanLine], ledger: &str) {
    let mut asked: Vec<f64> =
        ledger.lines().map(|line| line.rsplit_once('\t').unwrap().1.parse().unwrap()).collect();
    let mut served: Vec<f64> = spans.iter().map(|span| span.duration_us).collect();
    asked.sort_by(f64::total_cmp);
    served.sort_by(f64::total_cmp);
    assert_eq!((asked.len(), served.len()), (REQUESTS, REQUESTS));
    for (asked_us, served_us) in asked.iter().zip(&served) {
        assert!(*served_us <= asked_us + 1000.0, "{served_us} of {asked_us}");
    }
}

/// With the preface at once, and by an upgrade from HTTP/1.1.
#[rstest]
#[case("--http2-prior-knowledge")]
#[case("--http2")]
fn curl(#[case] how: &str) {
    if !can_run() {
        return;
    }
    let mut watch = Watch::on(Server::hypercorn("fastapi_app:app").unwrap()).unwrap();
    let url = watch.server.endpoint.url();
    for (number, (path, status)) in [("/fast", 200), ("/missing", 404), ("/big", 200)].into_iter().enumerate()
    {
        let target = format!("{path}?n={number}");
        let mut command = Command::new("curl");
        command.args(["-sS", how, "-o", "/dev/null", "-w", "%{http_version} %{http_code}"]);
        let told = read(command.arg(format!("{url}{target}"))).unwrap();
        assert_eq!(told, format!("2 {status}"));
        let name = format!("GET {path}");
        watch.entries.push(Entry {
            method: "GET".to_owned(),
            target,
            status: Some(status),
            complete: true,
            name,
            ..Entry::default()
        });
    }
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    assert!(spans.iter().all(|span| span.protocol == "http2" && span.http_version.as_deref() == Some("2")));
}

/// What was said before the probe came stays unknown; nothing is wrong.
#[test]
fn joined_midway() {
    if !can_run() {
        return;
    }
    let server = Server::hypercorn("fastapi_app:app").unwrap();
    let mut caller = client("warm", &server.endpoint.url(), 40);
    caller.line().unwrap();
    let probe = Probe::attach(&[server.pid()], &[]).unwrap();
    let mut entries: Vec<Entry> = caller.call().unwrap().iter().map(|line| entry(line).unwrap()).collect();
    let (mut spans, _) = spans_of(probe, entries.len(), SPAN_LIMIT).unwrap();
    spans.sort_by_key(|span| span.start_unix_ns);
    assert_eq!((entries.len(), spans.len()), (41, 41));
    // The first target was sent before, and is referred to now.
    let (again, asked) = (spans.remove(0), entries.remove(0));
    assert_eq!((again.target, again.route, again.method.as_deref()), (None, None, Some("GET")));
    assert_eq!((again.status, again.request_bytes), (asked.status, asked.request_bytes));
    assert!(again.attributes["http.request.unknown_fields"].as_u64().unwrap() > 0);
    assert_agree(&entries, &spans);
    // The agent's name was sent before too, the number is new each time.
    assert!(spans.iter().all(|span| span.attributes.contains_key("http.request.unknown_fields")));
}

/// What a line of `apps/grpc_app.py` says.
#[derive(Debug, Deserialize)]
struct CallLine {
    number: String,
    path: String,
    status: u64,
    requests: u64,
    responses: u64,
    start_ns: u64,
    last_ns: u64,
}

/// The span of a call says what the caller has written down.
fn assert_is(span: &SpanLine, call: &CallLine) {
    let number = |name: &str| span.attributes.get(name).and_then(serde_json::Value::as_u64);
    assert_eq!(span.target.as_deref(), Some(&*call.path), "{span:?}");
    assert_eq!(
        [number("rpc.grpc.status_code"), number("rpc.requests_per_rpc"), number("rpc.responses_per_rpc")],
        [call.status, call.requests, call.responses].map(Some),
        "{span:?}"
    );
    let most_us = (call.last_ns - call.start_ns) as f64 / 1000.0 + 2000.0;
    let is_slow = call.number.parse::<usize>().unwrap() % ROUND == ROUND - 1;
    let least_us = if is_slow { SLOW_US * 0.99 } else { 0.0 };
    assert!((least_us..=most_us).contains(&span.duration_us), "{least_us} to {most_us}: {span:?}");
    assert!(span.ttfb_us.is_none_or(|ttfb_us| ttfb_us <= span.duration_us), "{span:?}");
    assert_eq!((span.protocol.as_str(), span.status, span.end.as_str()), ("grpc", Some(200), "complete"));
    assert_eq!(Some(format!("/{}", span.name)), span.target);
    assert_eq!(span.attributes["rpc.system"], "grpc");
    assert_eq!(span.attributes["rpc.service"], "stardust.test.Numbers");
    // NOT_FOUND is the caller's fault, INTERNAL the server's.
    let error = match (call.status, span.kind.as_str()) {
        (13, _) => Some("grpc error INTERNAL"),
        (5, "client") => Some("grpc error NOT_FOUND"),
        _ => None,
    };
    assert_eq!(span.error.as_deref(), error);
}

/// Calls of all four kinds, many at once, some with errors; both ends are watched.
#[rstest]
#[case::grpcio("grpcio", false)]
#[case::grpclib("grpclib", false)]
#[case::grpclib_tls("grpclib", true)]
fn grpc(#[case] library: &str, #[case] encrypted: bool) {
    if !can_run() {
        return;
    }
    let server = if encrypted { Server::grpc_tls(library) } else { Server::grpc(library) }.unwrap();
    let mut command = Venv::open().unwrap().script("grpc_app.py");
    let url = server.endpoint.url();
    let (_, port) = url.rsplit_once(':').unwrap();
    command.args([library, "call", port, &CALLS.to_string()]);
    if encrypted {
        command.arg(server.certificate_file());
    }
    let caller = Caller::start(command).unwrap();
    let config = server.folder().join("probe.toml");
    std::fs::write(&config, "[trace]\nheaders = ['x-number']\n").unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    let probe = Probe::attach(&[server.pid(), caller.pid()], &arguments).unwrap();
    let lines = caller.call().unwrap();
    let books: Vec<CallLine> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(books.len(), CALLS);
    let (inbound, outbound) = spans_of(probe, 2 * CALLS, SPAN_LIMIT).unwrap();
    assert_eq!((inbound.len(), outbound.len()), (CALLS, CALLS), "each call once");
    let (inbound, outbound) = (by_number(inbound).unwrap(), by_number(outbound).unwrap());
    for call in &books {
        let (read, written) = (&inbound[&call.number], &outbound[&call.number]);
        assert_is(read, call);
        assert_is(written, call);
        assert_eq!(read.scheme == "https" && written.scheme == "https", encrypted, "{read:?}");
        // What one wrote the other read.
        assert_eq!(
            (read.request_bytes, read.response_bytes),
            (written.request_bytes, written.response_bytes)
        );
        assert_eq!(read.parent_id.as_ref(), Some(&written.span_id), "{read:?}");
    }
}

/// The C core has its own TLS inside, without symbols: what passes in it is counted, and nothing is told of it.
#[test]
fn grpc_inside_its_own_tls() {
    if !can_run() {
        return;
    }
    let server = Server::grpc_tls("grpcio").unwrap();
    let mut command = Venv::open().unwrap().script("grpc_app.py");
    let url = server.endpoint.url();
    let (_, port) = url.rsplit_once(':').unwrap();
    command.args(["grpcio", "call", port, "16"]).arg(server.certificate_file());
    let caller = Caller::start(command).unwrap();
    let probe = Probe::attach(&[server.pid(), caller.pid()], &["--log-level", "debug"]).unwrap();
    assert_eq!(caller.call().unwrap().len(), 16);
    // Both ends of the one connection are counted when it is closed.
    let (spans, log) = probe.stop_with_log().unwrap();
    assert!(spans.is_empty(), "{spans:#?}");
    let counts = counts(&log);
    assert_eq!(counts["trace"]["tls_unbound_connections"], 2, "{counts}");
    assert!(counts["trace"]["tls_unbound_bytes"].as_u64() > Some(100_000), "{counts}");
}
