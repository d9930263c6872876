//! Real clients: requests with a session, a urllib3 pool, httpx, curl.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

use rstest::rstest;
use tests::ledger::{Entry, assert_agree};
use tests::server::Server;
use tests::watch::{Watch, can_run, python_client, read};

#[rstest]
#[case::requests("requests", "gthread")]
#[case::urllib3("urllib3", "gthread")]
#[case::httpx("httpx", "gthread")]
#[case::httpx_uvicorn("httpx", "h11")]
#[case::requests_sync("requests", "sync")]
fn python_clients(#[case] client: &str, #[case] server: &str) {
    if !can_run() {
        return;
    }
    let server = match server {
        "gthread" => Server::gunicorn("flask_app:app", &["--workers", "2", "--threads", "4"]),
        "sync" => Server::gunicorn("flask_app:app", &["--workers", "2"]),
        _ => Server::uvicorn("fastapi_app:app", "h11"),
    };
    let mut watch = Watch::on(server.unwrap()).unwrap();
    watch.entries = python_client(client, &watch.server.endpoint.url(), 180).unwrap();
    assert_eq!(watch.entries.len(), 180);
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
}

#[test]
fn a_python_client_that_is_watched() {
    if !can_run() {
        return;
    }
    let other = Server::plain().unwrap();
    let app = Server::uvicorn("fastapi_app:app", "httptools").unwrap();
    let mut watch = Watch::on(app).unwrap();
    for n in 0..10 {
        let target = format!("/call?n={n}&url={}/items/{n}", other.endpoint.url());
        watch.get(&target, 200, "GET /call").unwrap();
    }
    let (entries, spans) = watch.finish(10).unwrap();
    let (calls, served): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.kind == "client");
    assert_agree(&entries, &served);
    let mut targets: Vec<String> = calls.into_iter().filter_map(|call| call.target).collect();
    targets.sort();
    assert_eq!(targets, (0..10).map(|n| format!("/items/{n}")).collect::<Vec<_>>());
}

/// curl counts the bytes itself.
#[test]
fn curl() {
    if !can_run() {
        return;
    }
    let mut watch = Watch::on(Server::plain().unwrap()).unwrap();
    let url = watch.server.endpoint.url();
    let mut command = Command::new("curl");
    command.args(["-sS", "--http1.1"]);
    for n in 0..10 {
        for (path, options) in [
            ("/fast", &[][..]),
            ("/big", &[]),
            ("/echo", &["--data", "hello=world"]),
            ("/missing", &["--head"]),
        ] {
            let tail = format!(
                " {path}?n={n} %{{method}} %{{http_code}} %{{size_request}} %{{size_header}} %{{size_download}}\\n"
            );
            command
                .args(options)
                .args(["-o", "/dev/null", "-w", &tail])
                .arg(format!("{url}{path}?n={n}"))
                .arg("--next");
            command.args(["-sS", "--http1.1"]);
        }
    }
    command.args(["-o", "/dev/null", &format!("{url}/fast?n=last")]);
    let report = read(&mut command).unwrap();
    for line in report.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [target, method, status, request, header, download] = words[..] else { panic!("{line}") };
        let number = |text: &str| text.parse::<u64>().unwrap();
        watch.entries.push(Entry {
            method: method.to_owned(),
            target: target.to_owned(),
            status: Some(status.parse().unwrap()),
            // The body is in it.
            request_bytes: number(request),
            response_bytes: number(header) + number(download),
            complete: true,
            ..Entry::default()
        });
    }
    assert_eq!(watch.entries.len(), 40);
    watch.entries.push(Entry {
        method: "GET".to_owned(),
        target: "/fast?n=last".to_owned(),
        status: Some(200),
        complete: true,
        ..Entry::default()
    });
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
}
