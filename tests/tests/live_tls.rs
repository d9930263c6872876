//! HTTPS seen from outside: servers that speak TLS themselves, clients of such servers, versions 1.2 and 1.3, many
//! connections on one thread. The spans are those of plain HTTP, with what is known of the encryption.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rstest::rstest;
use serde_json::Value;
use tests::client::{Connection, Request};
use tests::curl;
use tests::encryption::{assert_agreed, assert_encrypted};
use tests::ledger::{Entry, assert_agree};
use tests::probe::{Probe, SpanLine};
use tests::server::{Endpoint, Server};
use tests::told_client::ToldClient;
use tests::venv::Venv;
use tests::watch::{Watch, can_run};

const SPAN_LIMIT: Duration = Duration::from_secs(5);

fn start(kind: &str) -> Server {
    let server = match kind {
        "uvicorn" => Server::uvicorn_tls("fastapi_app:app", "asyncio"),
        "uvloop" => Server::uvicorn_tls("fastapi_app:app", "uvloop"),
        "hypercorn" => Server::hypercorn_tls("fastapi_app:app"),
        "sync" => Server::gunicorn_tls("flask_app:app", &["--workers", "2"]),
        "gthread" => Server::gunicorn_tls("flask_app:app", &["--workers", "2", "--threads", "4"]),
        _ => Server::gunicorn_tls("flask_app:app", &["--worker-class", "gevent"]),
    };
    server.unwrap()
}

fn client(kind: &str, server: &Server, count: usize) -> ToldClient {
    let mut command = Venv::open().unwrap().script("tls_clients.py");
    command.args([kind, &server.endpoint.url()]).arg(server.certificate_file()).arg(count.to_string());
    ToldClient::start(command).unwrap()
}

/// A program that has the library itself, without Python's module, so that all who have it pass probes inside it.
struct Bystander(Child);

impl Bystander {
    fn start() -> Self {
        let code = "import ctypes.util, sys; ctypes.CDLL(ctypes.util.find_library('ssl')); \
                    print(1, flush=True); sys.stdin.read()";
        let mut command = Command::new("python3");
        command.args(["-c", code]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Self(child)
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

#[rstest]
#[case::memory("uvicorn")]
#[case::blocking("gthread")]
fn what_passes_two_probes_counts_once(#[case] kind: &str) {
    if !can_run() {
        return;
    }
    let (server, bystander) = (start(kind), Bystander::start());
    let probe = Probe::attach(&[server.pid(), bystander.0.id()], &[]).unwrap();
    let named = |entry: Entry| entry.named("GET /items/{id}");
    let entries: Vec<_> = (0..20)
        .map(|n| {
            let mut connection = Connection::open(&server.endpoint).unwrap();
            named(connection.exchange(Request::get(&format!("/items/{n}"))).unwrap())
        })
        .collect();
    assert!(probe.wait_for_spans(entries.len(), SPAN_LIMIT), "{}", probe.log());
    assert!(probe.log().contains("libssl"), "the library is not probed: {}", probe.log());
    assert_agree(&entries, &probe.stop().unwrap());
}

#[rstest]
#[case::uvicorn("uvicorn")]
#[case::uvicorn_on_uvloop("uvloop")]
#[case::hypercorn("hypercorn")]
#[case::gunicorn_sync("sync")]
#[case::gunicorn_gthread("gthread")]
#[case::gunicorn_gevent("gevent")]
fn a_server_that_speaks_tls_itself(#[case] kind: &str) {
    if !can_run() {
        return;
    }
    let mut watch = Watch::on(start(kind)).unwrap();
    for n in 0..15 {
        watch.get(&format!("/items/{n}"), 200, "GET /items/{id}").unwrap();
        watch.get(&format!("/missing?n={n}"), 404, "GET /missing").unwrap();
        watch.get(&format!("/big?bytes=300000&n={n}"), 200, "GET /big").unwrap();
        // A loop's timers count from the start of its round, which is before the request is read.
        watch.get(&format!("/slow?ms=20&n={n}"), 200, "GET /slow").unwrap().least_us = 15_000;
        watch.get(&format!("/stream?chunks=4&size=100&ms=5&n={n}"), 200, "GET /stream").unwrap();
        "POST /echo"
            .clone_into(&mut watch.ask(Request::post(&format!("/echo?n={n}"), 100_000)).unwrap().name);
        if n % 5 == 4 {
            watch.hang_up();
        }
    }
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    assert_encrypted(&spans, "1.3");
    // The client has offered nothing.
    assert_agreed(&spans, None);
}

/// As on Linux before 6.6, which cannot put a program on several instructions at once.
#[test]
fn each_site_with_a_link_of_its_own() {
    if !can_run() {
        return;
    }
    let environment = [("STARDUST_PROBE_KERNEL_UPROBES", "single")];
    let mut watch = Watch::within(start("uvicorn"), &[], &environment).unwrap();
    let links = Command::new("bpftool").args(["-j", "link", "list"]).output().unwrap();
    let links: Vec<Value> = serde_json::from_slice(&links.stdout).unwrap();
    let has = |kind: &str| links.iter().any(|link| link["type"] == kind);
    assert!(has("perf_event") && !has("uprobe_multi"), "{links:?}");
    for n in 0..10 {
        watch.get(&format!("/items/{n}"), 200, "GET /items/{id}").unwrap();
        watch.get(&format!("/big?bytes=300000&n={n}"), 200, "GET /big").unwrap();
        "POST /echo"
            .clone_into(&mut watch.ask(Request::post(&format!("/echo?n={n}"), 100_000)).unwrap().name);
        watch.hang_up();
    }
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    assert_encrypted(&spans, "1.3");
}

#[rstest]
#[case::requests("requests", "TLSv1.3", Some("http/1.1"))]
#[case::requests_12("requests", "TLSv1.2", Some("http/1.1"))]
#[case::urllib3("urllib3", "TLSv1.3", Some("http/1.1"))]
#[case::urllib3_12("urllib3", "TLSv1.2", Some("http/1.1"))]
#[case::httpx("httpx", "TLSv1.3", Some("http/1.1"))]
#[case::httpx_12("httpx", "TLSv1.2", Some("http/1.1"))]
#[case::aiohttp("aiohttp", "TLSv1.3", None)]
#[case::aiohttp_12("aiohttp", "TLSv1.2", None)]
fn a_client_of_nginx(#[case] kind: &str, #[case] version: &str, #[case] agreed: Option<&str>) {
    if !can_run() {
        return;
    }
    let app = Server::gunicorn("flask_app:app", &["--threads", "8"]).unwrap();
    let nginx = Server::nginx_tls(&app.endpoint, version).unwrap();
    let mut client = client(kind, &nginx, 60);
    let probe = Probe::attach(&[client.pid()], &[]).unwrap();
    let entries = client.run().unwrap();
    probe.wait_for_spans(entries.len(), SPAN_LIMIT);
    let spans = probe.stop().unwrap();
    assert_agree(&entries, &spans);
    assert_encrypted(&spans, version.trim_start_matches("TLSv"));
    assert_agreed(&spans, agreed);
    let Endpoint::Tls(address) = nginx.endpoint else { panic!("nginx listens with TLS") };
    for span in &spans {
        assert_eq!((span.kind.as_str(), span.peer.as_deref()), ("client", Some(&*address.to_string())));
    }
}

/// Fifty connections take turns on one thread; every request must be told of its own connection.
#[rstest]
#[case::client(true)]
#[case::server(false)]
fn many_connections_on_one_thread_are_not_mixed(#[case] watch_client: bool) {
    if !can_run() {
        return;
    }
    let server = start("uvicorn");
    let mut client = client("streams", &server, 20);
    let watched = if watch_client { client.pid() } else { server.pid() };
    let probe = Probe::attach(&[watched], &[]).unwrap();
    let entries = client.run().unwrap();
    assert_eq!(entries.len(), 1000);
    probe.wait_for_spans(entries.len(), SPAN_LIMIT);
    let spans = probe.stop().unwrap();
    assert_agree(&entries, &spans);
    assert_encrypted(&spans, "1.3");
    assert_owners(&entries, &spans, |span| if watch_client { &span.local } else { &span.peer });
}

/// Every request is told of the connection that it was sent on.
fn assert_owners(entries: &[Entry], spans: &[SpanLine], end: impl Fn(&SpanLine) -> &Option<String>) {
    let owners: HashMap<&str, String> =
        entries.iter().map(|entry| (entry.target.as_str(), entry.local.unwrap().to_string())).collect();
    for span in spans {
        assert_eq!(end(span).as_ref(), owners.get(span.target.as_deref().unwrap()), "{span:?}");
    }
}

/// Fifty connections that were open before, on one thread, which reads each record's first half in vain.
#[rstest]
#[case::uvicorn("uvicorn")]
#[case::uvicorn_on_uvloop("uvloop")]
fn records_in_pieces_on_open_connections_are_not_mixed(#[case] kind: &str) {
    if !can_run() {
        return;
    }
    let server = start(kind);
    let mut client = client("pieces", &server, 20);
    let probe = Probe::attach(&[server.pid()], &[]).unwrap();
    let entries = client.run().unwrap();
    assert_eq!(entries.len(), 1000);
    assert!(probe.wait_for_spans(entries.len(), SPAN_LIMIT), "{}", probe.log());
    let spans = probe.stop().unwrap();
    assert_agree(&entries, &spans);
    assert_owners(&entries, &spans, |span| &span.peer);
}

/// curl reads its list of requests from a pipe, and has its library loaded by then. It counts bytes and times itself.
#[rstest]
#[case::gunicorn_12("gunicorn", "1.2")]
#[case::gunicorn_13("gunicorn", "1.3")]
#[case::nginx_12("nginx", "1.2")]
#[case::nginx_13("nginx", "1.3")]
fn curl_with_the_library_itself(#[case] of: &str, #[case] version: &str) {
    if !can_run() {
        return;
    }
    let app = Server::gunicorn("flask_app:app", &["--threads", "8"]).unwrap();
    let server = match of {
        "nginx" => Server::nginx_tls(&app.endpoint, &format!("TLSv{version}")).unwrap(),
        _ => start("gthread"),
    };
    let told = "%{url_effective} %{size_request} %{size_header} %{size_download} %{time_total}\\n";
    let mut curl = curl::start(&server, &["--http1.1", "--tls-max", version, "-w", told]).unwrap();
    let probe = Probe::attach(&[curl.id()], &[]).unwrap();
    let mut entries = curl::ask(&mut curl, &server).unwrap();
    let mut report = String::new();
    curl.stdout.take().unwrap().read_to_string(&mut report).unwrap();
    for (entry, line) in entries.iter_mut().zip(report.lines()) {
        let words: Vec<&str> = line.split(' ').collect();
        let [url, request, header, download, seconds] = words[..] else { panic!("{line}") };
        assert!(url.ends_with(&entry.target), "{line}");
        let number = |text: &str| text.parse::<u64>().unwrap();
        entry.request_bytes = number(request);
        entry.response_bytes = number(header) + number(download);
        entry.last_ns = (seconds.parse::<f64>().unwrap() * 1e9) as u64;
    }
    assert!(entries.iter().all(|entry| entry.last_ns > 0), "{report}");
    probe.wait_for_spans(entries.len(), SPAN_LIMIT);
    let spans = probe.stop().unwrap();
    assert_agree(&entries, &spans);
    assert_encrypted(&spans, version);
    // gunicorn says nothing.
    assert_agreed(&spans, (of == "nginx").then_some("http/1.1"));
}

/// What a handshake of TLS 1.3 has agreed on is told at both ends: in Python's module, in the library itself.
#[rstest]
#[case::http1("--http1.1", Some("http/1.1"))]
#[case::http2("--http2", Some("h2"))]
#[case::nothing("--no-alpn", None)]
fn both_ends_tell_what_they_agree_on(#[case] offer: &str, #[case] agreed: Option<&str>) {
    if !can_run() {
        return;
    }
    let server = start("hypercorn");
    let mut curl = curl::start(&server, &[offer]).unwrap();
    let probe = Probe::attach(&[curl.id(), server.pid()], &[]).unwrap();
    let entries = curl::ask(&mut curl, &server).unwrap();
    assert!(probe.wait_for_spans(2 * entries.len(), SPAN_LIMIT), "{}", probe.log());
    let (calls, served): (Vec<_>, Vec<_>) =
        probe.stop().unwrap().into_iter().partition(|span| span.kind == "client");
    for spans in [calls, served] {
        assert_agree(&entries, &spans);
        assert_encrypted(&spans, "1.3");
        assert_agreed(&spans, agreed);
    }
}

/// HTTP/2 inside TLS, agreed on in the handshake (RFC 9113 section 3.2), seen from either end.
#[rstest]
#[case::curl("curl", "hypercorn", true)]
#[case::hypercorn_asked_by_curl("curl", "hypercorn", false)]
#[case::curl_of_nginx("curl", "nginx", true)]
#[case::httpx("httpx", "nginx", true)]
#[case::nginx_asked_by_httpx("httpx", "nginx", false)]
#[case::hypercorn_asked_by_httpx("httpx", "hypercorn", false)]
fn http2_inside_tls(#[case] kind: &str, #[case] of: &str, #[case] watch_client: bool) {
    if !can_run() {
        return;
    }
    let app = Server::gunicorn("flask_app:app", &["--threads", "8"]).unwrap();
    let server = match of {
        "nginx" => Server::nginx_tls_http2(&app.endpoint).unwrap(),
        _ => start(of),
    };
    let watched = |pid| Probe::attach(&[if watch_client { pid } else { server.pid() }], &[]).unwrap();
    let (entries, probe) = if kind == "curl" {
        let mut curl = curl::start(&server, &["--http2", "--parallel"]).unwrap();
        let probe = watched(curl.id());
        (curl::ask(&mut curl, &server).unwrap(), probe)
    } else {
        let mut client = client("http2", &server, 60);
        let probe = watched(client.pid());
        (client.run().unwrap(), probe)
    };
    // nginx asks the app as well.
    let asks = of == "nginx" && !watch_client;
    probe.wait_for_spans(entries.len() * (1 + usize::from(asks)), SPAN_LIMIT);
    let mut spans = probe.stop().unwrap();
    spans.retain(|span| !asks || span.kind == "server");
    assert_agree(&entries, &spans);
    assert_encrypted(&spans, "1.3");
    assert_agreed(&spans, Some("h2"));
    for span in &spans {
        assert_eq!((span.protocol.as_str(), span.http_version.as_deref()), ("http2", Some("2")), "{span:?}");
    }
}

#[test]
fn nginx_itself_is_a_tls_server_and_a_plain_client() {
    if !can_run() {
        return;
    }
    let app = Server::plain().unwrap();
    let mut watch = Watch::on(Server::nginx_tls(&app.endpoint, "TLSv1.3").unwrap()).unwrap();
    for n in 0..20 {
        watch.get(&format!("/items/{n}"), 200, "GET /items/{id}").unwrap();
    }
    let (entries, spans) = watch.finish(20).unwrap();
    let (calls, served): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.kind == "client");
    assert_agree(&entries, &served);
    assert_encrypted(&served, "1.3");
    assert_eq!(calls.iter().filter(|call| call.scheme == "http").count(), 20);
}

/// The probe comes to a connection that is open already: its next request is told, and told right.
#[rstest]
#[case::memory("uvicorn")]
#[case::blocking("gthread")]
fn a_connection_that_is_open_already(#[case] kind: &str) {
    if !can_run() {
        return;
    }
    let server = start(kind);
    let mut connection = Connection::open(&server.endpoint).unwrap();
    assert_eq!(connection.exchange(Request::get("/items/1")).unwrap().status, Some(200));
    let mut watch = Watch::on(server).unwrap();
    for n in 2..12 {
        let entry = connection.exchange(Request::get(&format!("/items/{n}"))).unwrap();
        watch.entries.push(entry.named("GET /items/{id}"));
    }
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    assert!(spans.iter().all(|span| span.scheme == "https"), "{spans:?}");
}

#[test]
fn a_certificate_that_is_refused_is_an_error_of_the_client() {
    if !can_run() {
        return;
    }
    let server = start("gthread");
    let mut command = Command::new(Venv::open().unwrap().program("python"));
    command.args([
        "-c",
        "import ssl, sys, urllib.request\nprint('ready', flush=True)\nsys.stdin.readline()\n\
        try:\n    urllib.request.urlopen(sys.argv[1], timeout=10)\nexcept OSError:\n    pass\n\
        print('done', flush=True)\nsys.stdin.readline()",
    ]);
    command.arg(format!("{}/fast", server.endpoint.url()));
    command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
    let mut client = ToldClient::start(command).unwrap();
    let probe = Probe::attach(&[client.pid()], &[]).unwrap();
    assert!(client.run().unwrap().is_empty());
    probe.wait_for_spans(1, SPAN_LIMIT);
    let spans = probe.stop().unwrap();
    let [span] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(
        (span.kind.as_str(), span.name.as_str(), span.end.as_str()),
        ("client", "TLS handshake", "not_connected")
    );
    assert_eq!(span.error.as_deref(), Some("TLS handshake failed: unknown_ca"));
    assert_eq!(span.peer, Some(server.endpoint.to_string()));
    assert_eq!(span.scheme, "https");
}
