//! A service that is asked now and then: the probe sleeps in between.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::thread;
use std::time::{Duration, Instant};

use tests::ledger::assert_agree;
use tests::process::wake_ups;
use tests::server::Server;
use tests::watch::{Watch, can_run};

const REQUESTS: usize = 12;
/// Between requests: the drain interval passes many times in it.
const PAUSE: Duration = Duration::from_millis(200);
const PIPELINE: &str = "pipeline";

#[test]
fn a_quiet_service_wakes_the_probe_a_few_times_for_each_request() {
    if !can_run() {
        return;
    }
    let mut watch = Watch::on(Server::uvicorn("fastapi_app:app", "httptools").unwrap()).unwrap();
    let pid = watch.probe.pid();
    let deadline = Instant::now() + Duration::from_secs(30);
    // It has looked its processes over, and sleeps for as long as it does.
    loop {
        let before = wake_ups(pid, PIPELINE).unwrap();
        thread::sleep(PAUSE);
        if wake_ups(pid, PIPELINE).unwrap() - before <= 2 {
            break;
        }
        assert!(Instant::now() < deadline, "the probe does not come to rest");
    }
    let before = wake_ups(pid, PIPELINE).unwrap();
    for n in 0..REQUESTS {
        watch.get(&format!("/fast?n={n}"), 200, "GET /fast").unwrap();
        assert!(watch.probe.wait_for_spans(n + 1, Duration::from_secs(5)));
        thread::sleep(PAUSE);
    }
    let each = (wake_ups(pid, PIPELINE).unwrap() - before) / REQUESTS as u64;
    // By the request's first record, after an interval, and to see whether it is told to stop.
    assert!(each <= 5, "{each} wake-ups for each request");
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
}
