//! Collections of garbage, against how long the process itself says that it collected.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use tests::failures::interpreters;
use tests::server::Server;
use tests::watch::{Watch, can_run};

/// The probes are in place, or it is said why not.
const READY_LIMIT: Duration = Duration::from_secs(30);
const GC: &str = "stardust_probe.time.gc_us";

fn watch(server: Server, wanted: &str) -> Watch {
    let variables = [("STARDUST_PROBE_PYTHON_GC_PAUSES", wanted), ("STARDUST_PROBE_LOG_LEVEL", "debug")];
    let watch = Watch::within(server, &[], &variables).unwrap();
    let followed = format!("{}: followed: ", watch.server.pid());
    assert!(watch.probe.wait_for_log(&followed, READY_LIMIT), "{}", watch.probe.log());
    watch
}

#[test]
fn spans_say_how_long_was_collected() {
    if !can_run() {
        return;
    }
    let interpreters = interpreters();
    assert!(!interpreters.is_empty(), "no Python 3.8 to 3.14 on this machine");
    for interpreter in interpreters {
        let name = interpreter.display().to_string();
        let mut watch = watch(Server::script_of(&interpreter, "collecting_app.py").unwrap(), "true");
        let is_seen = watch.probe.log().contains(": looking at when garbage is collected");
        // Built without marks for tracers, their function is in parts, or is jumped to.
        let is_hidden =
            name.contains("/.pyenv/") && ["3.8", "3.13"].iter().any(|minor| name.ends_with(minor));
        assert_eq!(is_seen, !is_hidden, "{name}: {}", watch.probe.log());
        for target in ["/collect?ms=30", "/collect?ms=0", "/collect?ms=60"] {
            watch.get(target, 200, "GET /collect").unwrap();
        }
        let (_, spans) = watch.finish(0).unwrap();
        let told: Vec<_> = spans.iter().map(|span| span.attributes.get(GC)?.as_f64()).collect();
        if !is_seen {
            assert_eq!(told, [None, None, None], "{name}");
            continue;
        }
        for (span, least_ms) in spans.iter().zip([30.0, 0.0, 60.0]) {
            let gc_ms = span.attributes[GC].as_f64().unwrap() / 1e3;
            // The process takes the time a little outside of each piece; it may have waited for a CPU within.
            let is_right = if least_ms == 0.0 { gc_ms == 0.0 } else { gc_ms >= least_ms * 0.9 };
            assert!(is_right, "{name}: {gc_ms} of {span:?}");
            assert!(span.duration_us / 1e3 >= gc_ms + 20.0, "{name}: {span:?}");
        }
    }
}

#[test]
fn nothing_is_said_unless_asked_for() {
    if !can_run() {
        return;
    }
    let interpreter = interpreters().pop().unwrap();
    let mut watch = watch(Server::script_of(&interpreter, "collecting_app.py").unwrap(), "false");
    watch.get("/collect?ms=10", 200, "GET /collect").unwrap();
    let (_, spans) = watch.finish(0).unwrap();
    assert!(!spans[0].attributes.contains_key(GC), "{spans:?}");
}
