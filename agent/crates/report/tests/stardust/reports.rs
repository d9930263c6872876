//! What is reported, when, and what becomes of it if it cannot be.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use model::{DropReason, Load, Span};
use report::stardust::Settings;
use report::{Exporter as _, HeadLimits, Remote};
use serde_json::{Value, json};

use crate::rig::{Rig, failed, process, settings, span, until};
use crate::stand::{Answer, Stand, no, ok};

const REPORT: &str = "/Trace/ReportRaw";
const LOGOUT: &str = "/App/Logout";

fn limits() -> Value {
    json!({"period": 1, "maxSamples": 1, "maxErrors": 10, "timeout": 5000, "maxTagLength": 1024,
        "requestTagLength": 1024, "enableMeter": true, "excludes": null})
}

fn samples(builder: &Value) -> (usize, usize) {
    let len = |name: &str| builder[name].as_array().map_or(usize::MAX, Vec::len);
    (len("Samples"), len("ErrorSamples"))
}

#[tokio::test]
async fn a_period_s_figures_are_one_report() {
    let stand = Stand::start(|_, _| None).await;
    let rig = Rig::start(&stand);
    let shop = process(11);
    for _ in 0..20 {
        rig.hit(&shop);
    }
    for _ in 0..3 {
        rig.stardust.record(&failed(&shop, "/b/c/d").into());
    }
    rig.stardust.record(&Span { sampled: false, ..span(&shop, "/quiet") }.into());
    let report = stand.wait_nth(REPORT, 1).await;
    assert_eq!(report.header("content-type"), "application/x-gzip");
    assert_eq!(report.header("accept-encoding"), "gzip");
    assert_eq!(report.body["Version"], "1.4.2");
    let good = report.builder("/a").expect("good calls");
    assert_eq!((&good["Total"], &good["Errors"], &good["Value"]), (&json!(20), &json!(0), &json!(600)));
    assert_eq!((&good["Cost"], &good["MinCost"], &good["MaxCost"]), (&json!(100), &json!(5), &json!(5)));
    assert_eq!(samples(good), (1, 0));
    assert_eq!(good["Samples"][0]["Tag"], "127.0.0.1 GET http://h/a\r\n<=\r\nUser-Agent: curl/8");
    let bad = report.builder("/b/c").expect("failed calls");
    assert_eq!((samples(bad), &bad["ErrorSamples"][0]["Error"]), ((0, 3), &json!("HTTP 500")));
    let quiet = report.builder("/quiet").expect("counted all the same");
    assert_eq!((report.total("/quiet"), samples(quiet)), (1, (0, 0)));

    let told =
        Remote::HeadLimits { app_id: "shop".to_owned(), limits: HeadLimits { period_s: 1, max_samples: 1 } };
    until("told of limits", || *rig.remotes.lock().expect("no panic") == std::slice::from_ref(&told)).await;
    let books = rig.stop().await;
    assert_eq!((books.seen, books.reported, books.in_flight()), (24, 24, 0));
}

#[tokio::test]
async fn a_small_report_goes_as_it_is() {
    let stand = Stand::start(|_, _| None).await;
    let rig = Rig::start(&stand);
    rig.hit(&process(11));
    let report = stand.wait_nth(REPORT, 1).await;
    assert_eq!(report.header("content-type"), "application/octet-stream");
    assert_eq!(report.total("/a"), 1);
    rig.stop().await;
}

#[tokio::test]
async fn a_report_without_an_answer_s_data_was_rejected() {
    for (answer, dropped) in
        [(ok(&Value::Null), 1), (no(500), 1), (Answer::Says(413, json!("")), 1), (ok(&limits()), 0)]
    {
        let shown = format!("{answer:?}");
        let stand = Stand::start(move |call, _| call.is(REPORT).then(|| answer.clone())).await;
        let rig = Rig::start(&stand);
        rig.hit(&process(11));
        until("settled", || rig.stardust.books().in_flight() == 0).await;
        let books = rig.stop().await;
        assert_eq!(books.dropped.get(&DropReason::Rejected).copied().unwrap_or(0), dropped, "{shown}");
        assert_eq!(books.reported, 1 - dropped, "{shown}");
        assert_eq!(stand.calls_of(REPORT).len(), 1, "{shown}: never sent twice");
    }
}

#[tokio::test]
async fn counts_wait_for_a_server_that_is_away() {
    let back = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&back);
    let stand = Stand::start(move |call, _| {
        let down = call.is(REPORT) && !up.load(Ordering::Relaxed);
        down.then(|| Answer::Says(503, json!("down")))
    })
    .await;
    let rig = Rig::with(Settings {
        timing: report::stardust::Timing { shield: Duration::ZERO, ..settings(&[]).timing },
        ..settings(&[&stand.url])
    });
    for _ in 0..7 {
        rig.stardust.record(&failed(&process(11), "/a").into());
    }
    let first = stand.wait_nth(REPORT, 1).await;
    assert_eq!(samples(first.builder("/a").expect("figures")), (0, 7));
    let second = stand.wait_nth(REPORT, 2).await;
    assert_eq!(samples(second.builder("/a").expect("figures")), (0, 0));
    assert_eq!(second.total("/a"), 7);
    back.store(true, Ordering::Relaxed);
    until("reported", || rig.stardust.books().reported == 7).await;
    let books = rig.stop().await;
    assert_eq!((books.seen, books.in_flight()), (7, 0));
}

#[tokio::test]
async fn a_full_queue_is_counted() {
    let stand = Stand::start(|call, _| call.is(REPORT).then(|| Answer::Says(503, json!("")))).await;
    let rig = Rig::with(Settings { queue_batches: 0, ..settings(&[&stand.url]) });
    rig.hit(&process(11));
    until("dropped", || rig.dropped() == 1).await;
    assert_eq!(rig.stop().await.dropped[&DropReason::QueueFull], 1);
}

#[tokio::test]
async fn excluded_names_are_not_sent_until_they_are_cleared() {
    let stand = Stand::start(|call, before| {
        let mut answer = limits();
        answer["excludes"] = if before == 0 { json!(["/A*", "nothing"]) } else { json!(null) };
        call.is(REPORT).then(|| ok(&answer))
    })
    .await;
    let rig = Rig::start(&stand);
    let shop = process(11);
    rig.hit(&shop);
    stand.wait_nth(REPORT, 1).await;
    until("reported", || rig.stardust.books().reported == 1).await;
    rig.hit(&shop);
    rig.stardust.record(&span(&shop, "/b").into());
    let second = stand.wait_nth(REPORT, 2).await;
    assert_eq!((second.total("/a"), second.total("/b")), (0, 1));
    until("reported", || rig.stardust.books().reported == 2).await;
    rig.hit(&shop);
    assert_eq!(stand.wait_nth(REPORT, 3).await.total("/a"), 1);
    let books = rig.stop().await;
    assert_eq!((books.reported, books.dropped[&DropReason::Excluded], books.in_flight()), (3, 1, 0));
}

#[tokio::test]
async fn another_server_steps_in() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dead = format!("http://{}", gone.local_addr().expect("an address"));
    drop(gone);
    let stand = Stand::start(|_, _| None).await;
    let rig = Rig::with(settings(&[&dead, &stand.url]));
    rig.hit(&process(11));
    stand.wait_nth(REPORT, 1).await;
    assert_eq!(rig.stop().await.reported, 1);
}

#[tokio::test]
async fn a_process_that_is_gone_reports_and_logs_out() {
    let stand = Stand::start(|_, _| None).await;
    let rig = Rig::start(&stand);
    let (shop, other) = (process(11), process(22));
    rig.hit(&shop);
    stand.wait_nth(REPORT, 1).await;
    rig.hit(&shop);
    rig.stardust.process_exited(11);
    rig.hit(&shop);
    let logout = stand.wait_nth(LOGOUT, 1).await;
    assert_eq!(
        (logout.query.as_str(), logout.header("authorization")),
        ("reason=ProcessExited", "Bearer token-1")
    );
    let reported: i64 = stand.calls_of(REPORT).iter().map(|report| report.total("/a")).sum();
    assert_eq!(reported, 3);
    rig.hit(&other);
    stand.wait_nth("/App/Login", 2).await;
    let books = rig.stop().await;
    assert_eq!((books.reported, books.in_flight()), (4, 0));
    let reasons: Vec<String> = stand.calls_of(LOGOUT).into_iter().map(|call| call.query).collect();
    assert_eq!(reasons, ["reason=ProcessExited", "reason=Dispose"]);
}

#[tokio::test]
async fn spans_that_come_after_the_end_do_not_hold_a_session() {
    let stand = Stand::start(|_, _| None).await;
    let rig = Rig::start(&stand);
    rig.hit(&process(99));
    assert_eq!(stand.wait_nth(LOGOUT, 1).await.query, "reason=ProcessExited");
    assert_eq!(rig.stop().await.reported, 1);
}

#[tokio::test]
async fn a_stop_reports_what_there_is() {
    let stand = Stand::start(|_, _| None).await;
    let rig = Rig::start(&stand);
    rig.hit(&process(11));
    let books = rig.stop().await;
    assert_eq!((books.seen, books.reported), (1, 1));
    let paths: Vec<String> = stand.calls().into_iter().map(|call| call.path).collect();
    assert_eq!(paths.iter().rev().take(2).collect::<Vec<_>>(), [LOGOUT, REPORT]);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_server_that_hangs() {
    let stand = Stand::start(|call, _| call.is(REPORT).then_some(Answer::Hangs)).await;
    let rig = Rig::start(&stand);
    rig.hit(&process(11));
    stand.wait_nth(REPORT, 1).await;
    let began = Instant::now();
    let books = rig.stop().await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!((books.reported, books.dropped[&DropReason::Expired], books.in_flight()), (0, 1, 0));
}

#[tokio::test]
async fn a_ping_says_how_busy_the_workers_were() {
    let stand = Stand::start(|_, _| None).await;
    let rig = Rig::start(&stand);
    let of = process(11);
    rig.hit(&of);
    let load = Load {
        pid: 11,
        workers: 8,
        busy_ns: 6_000,
        known_ns: 8_000,
        loop_lag_ns: Some(210_000_000),
        open_requests: 3,
        requests: 40,
    };
    rig.stardust.process_load(&of, &load);
    rig.stardust.process_load(&of, &load);
    let ping = stand.wait_nth("/App/Ping", 1).await.body;
    let figures = ["WorkerThreads", "AvailableThreads", "PendingItems", "CompletedItems"];
    assert_eq!(figures.map(|name| ping[name].as_i64()), [Some(8), Some(2), Some(3), Some(80)]);
    let report = stand.wait_nth(REPORT, 1).await;
    let lag = report.builder("loop:lag").expect("the loop's lag");
    assert_eq!((&lag["Total"], &lag["MaxCost"], &lag["Cost"]), (&json!(2), &json!(210), &json!(420)));
    // It is no span.
    let books = rig.stop().await;
    assert_eq!((books.seen, books.reported), (1, 1));
}

#[tokio::test]
async fn losses_are_events_of_each_app_and_told_once() {
    const EVENTS: &str = "/App/PostEvents";
    // The first time the server is not well.
    let stand = Stand::start(|call, before| (call.is(EVENTS) && before == 0).then(|| no(500))).await;
    let rig = Rig::start(&stand);
    for pid in 11..14 {
        rig.hit(&process(pid));
    }
    rig.stardust.losses("ring_full 1");
    let said = |body: &Value| {
        let event = &body[0];
        assert_eq!(
            (&event["Type"], &event["Name"]),
            (&json!("alert"), &json!("stardust-probe missed something"))
        );
        assert!(event["Time"].as_i64().is_some_and(|ms| ms > 1_754_100_000_000), "{event}");
        event["Remark"].as_str().expect("a remark").to_owned()
    };
    let second = stand.wait_nth(EVENTS, 2).await.body;
    assert_eq!(said(&second), "since it began, in all that it watches: ring_full 1");
    rig.stardust.losses("ring_full 2, gaps 1");
    let third = stand.wait_nth(EVENTS, 3).await.body;
    assert_eq!(said(&third), "since it began, in all that it watches: ring_full 2, gaps 1");
    // What comes last is told before the sessions end.
    rig.stardust.losses("ring_full 3, gaps 1");
    let calls = {
        rig.stop().await;
        stand.calls_of(EVENTS)
    };
    assert_eq!(calls.len(), 4, "three sessions, one app");
    assert_eq!(said(&calls[3].body), "since it began, in all that it watches: ring_full 3, gaps 1");
}

#[tokio::test]
async fn a_ping_has_the_process_s_figures_if_they_are_wanted() {
    let stand = Stand::start(|call, _| {
        let mut answer = limits();
        answer["enableMeter"] = json!(false);
        call.is(REPORT).then(|| ok(&answer))
    })
    .await;
    let rig = Rig::start(&stand);
    rig.hit(&process(11));
    let ping = stand.wait_nth("/App/Ping", 1).await.body;
    for (name, value) in [
        ("Id", json!(11)),
        ("Name", json!("gunicorn")),
        ("Version", json!("1.4.2")),
        ("CommandLine", json!("gunicorn shop.wsgi:app")),
        ("UserName", json!("www")),
        ("ProcessorTime", json!(1500)),
        ("CpuUsage", json!(0.0)),
        ("WorkingSet", json!(4096)),
        ("Threads", json!(3)),
        ("Handles", json!(7)),
        ("Connections", json!(2)),
    ] {
        assert_eq!(ping[name], value, "{name}");
    }
    assert!(ping["Time"].as_i64().is_some_and(|ms| ms > 1_754_100_000_000));
    stand.wait_nth(REPORT, 1).await;
    let ping = stand.wait_nth("/App/Ping", 2).await.body;
    assert!(ping.get("CpuUsage").is_none() && ping["Id"] == 11, "{ping}");
    rig.stop().await;
}
