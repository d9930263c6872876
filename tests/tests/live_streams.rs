//! Responses that come bit by bit: server-sent events of `FastAPI`, and bodies that last until the close.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rstest::rstest;
use tests::client::Request;
use tests::ledger::assert_agree;
use tests::probe::SpanLine;
use tests::server::{Endpoint, Server};
use tests::watch::{Watch, can_run};

const SPAN_LIMIT: Duration = Duration::from_secs(5);

fn number(span: &SpanLine, name: &str) -> u64 {
    let name = format!("http.response.stream.{name}");
    span.attributes.get(&name).unwrap_or_else(|| panic!("{name} in {span:?}")).as_u64().unwrap()
}

fn text<'a>(span: &'a SpanLine, name: &str) -> &'a str {
    span.attributes[&format!("http.response.stream.{name}")].as_str().unwrap()
}

fn open(server: &Server) -> TcpStream {
    let Endpoint::Tcp(address) = server.endpoint else { panic!("it listens on TCP") };
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

#[rstest]
#[case("h11")]
#[case("httptools")]
fn every_event_is_a_chunk(#[case] http: &str) {
    if !can_run() {
        return;
    }
    let mut watch = Watch::on(Server::uvicorn("fastapi_app:app", http).unwrap()).unwrap();
    for (n, count) in [1, 2, 7, 30].into_iter().enumerate() {
        let target = format!("/events?count={count}&ms=20&n={n}");
        watch.get(&target, 200, "GET /events").unwrap().least_us = count * 20_000;
        watch.get(&format!("/fast?n={n}"), 200, "GET /fast").unwrap();
    }
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    for (n, count) in [1, 2, 7, 30].into_iter().enumerate() {
        let target = format!("/events?count={count}&ms=20&n={n}");
        let span = spans.iter().find(|span| span.target.as_ref() == Some(&target)).unwrap();
        assert_eq!((text(span, "kind"), text(span, "ended_by")), ("events", "server"));
        assert_eq!(number(span, "chunks"), count);
        if count > 1 {
            assert!(number(span, "longest_gap_us") >= 19_000, "{span:?}");
            assert!(number(span, "longest_gap_us") as f64 <= span.duration_us, "{span:?}");
        }
        // The first byte does not wait for the rest.
        assert!(span.ttfb_us.unwrap() < span.duration_us, "{span:?}");
    }
    let fast: Vec<_> = spans.iter().filter(|span| span.name == "GET /fast").collect();
    assert!(fast.iter().all(|span| span.says_no_more_than_times()), "{fast:?}");
}

#[test]
fn a_client_that_leaves_has_ended_the_events() {
    if !can_run() {
        return;
    }
    let watch = Watch::on(Server::uvicorn("fastapi_app:app", "httptools").unwrap()).unwrap();
    let mut stream = open(&watch.server);
    stream.write_all(&Request::get("/events?count=1000&ms=50").bytes).unwrap();
    let mut got = Vec::new();
    let events = |got: &[u8]| got.windows(5).filter(|window| *window == b"data:").count() as u64;
    while events(&got) < 5 {
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0);
        got.extend_from_slice(&buffer[..length]);
    }
    drop(stream);
    watch.probe.wait_for_spans(1, SPAN_LIMIT);
    let (_, spans) = watch.finish(0).unwrap();
    let [span] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!((span.end.as_str(), span.error.as_deref(), span.status), ("client_closed", None, Some(200)));
    assert_eq!((text(span, "kind"), text(span, "ended_by")), ("events", "client"));
    // What the server wrote until it knew that the client had left is not known to that: two seconds of it at most.
    let read = events(&got);
    assert!((read..=read + 40).contains(&number(span, "chunks")), "{read} of {span:?}");
}

#[test]
fn a_slow_body_that_lasts_until_the_close() {
    if !can_run() {
        return;
    }
    let watch = Watch::on(Server::uvicorn("fastapi_app:app", "h11").unwrap()).unwrap();
    let mut stream = open(&watch.server);
    stream.write_all(b"GET /stream?chunks=6&size=500&ms=250 HTTP/1.0\r\nHost: app.test\r\n\r\n").unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    assert!(got.ends_with(&[b'x'; 3000]));
    watch.probe.wait_for_spans(1, SPAN_LIMIT);
    let (_, spans) = watch.finish(0).unwrap();
    let [span] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!((span.end.as_str(), span.response_bytes), ("complete", got.len() as u64));
    assert_eq!((text(span, "kind"), text(span, "ended_by"), number(span, "chunks")), ("chunks", "server", 6));
    assert!(number(span, "longest_gap_us") >= 240_000, "{span:?}");
}

#[test]
fn a_long_stream_reports_in_between() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("probe.toml");
    std::fs::write(&config, "[trace]\nprogress_s = 1\n").unwrap();
    let server = Server::uvicorn("fastapi_app:app", "httptools").unwrap();
    let mut watch = Watch::with(server, &["--config", config.to_str().unwrap()]).unwrap();
    watch.get("/events?count=40&ms=100", 200, "GET /events").unwrap().least_us = 4_000_000;
    let (entries, spans) = watch.finish(3).unwrap();
    let (parts, whole): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.end == "ongoing");
    assert_agree(&entries, &whole);
    let [span] = &whole[..] else { panic!("{whole:#?}") };
    assert_eq!(number(span, "chunks"), 40);
    // On a slow machine it lasts longer.
    let seconds = span.duration_us / 1e6;
    assert!((3..=seconds as usize).contains(&parts.len()), "{parts:#?}");
    let mut begins_ns = span.start_unix_ns;
    for part in &parts {
        assert_eq!(part.name, "GET /events (open)");
        assert_eq!(
            (part.parent_id.as_ref(), part.parent_kind.as_deref()),
            (Some(&span.span_id), Some("whole"))
        );
        // Durations are printed in whole microseconds.
        assert!(part.start_unix_ns.abs_diff(begins_ns) < 2000, "{part:?}");
        begins_ns = part.start_unix_ns + (part.duration_us * 1000.0) as u64;
    }
    let told: u64 = parts.iter().map(|part| number(part, "chunks")).sum();
    // An event goes out each tenth of a second, or later.
    let untold_us = span.duration_us - parts.iter().map(|part| part.duration_us).sum::<f64>();
    assert!(
        (39_u64.saturating_sub((untold_us / 1e5) as u64)..=40).contains(&told),
        "{told}: nothing twice, all but the end"
    );
    assert!(parts.iter().map(|part| part.response_bytes).sum::<u64>() <= span.response_bytes);
}
