//! What a recording gives when its wall clock jumps, and what of it is a failure of the process that served.

use std::path::Path;

use model::{Books, Load};
use parking_lot::Mutex;

use super::*;
use crate::frame::Recording;

/// Keeps every span.
#[derive(Default)]
struct Keeper(Mutex<Vec<Arc<Span>>>);

impl Exporter for Keeper {
    fn name(&self) -> &'static str {
        "keeper"
    }

    fn record(&self, span: &Arc<Span>) {
        self.0.lock().push(Arc::clone(span));
    }

    fn process_started(&self, _: &Arc<Process>) {}

    fn process_load(&self, _: &Arc<Process>, _: &Load) {}
    fn process_exited(&self, _: u32) {}

    fn books(&self) -> Books {
        Books::default()
    }
}

/// The spans of a recording whose wall clock is off by `step_ns(n)` from its n-th record on.
fn replay(name: &str, step_ns: impl Fn(i64) -> i64) -> Vec<Arc<Span>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(name);
    let mut recording = Recording::open(&file).unwrap();
    let keeper = Arc::new(Keeper::default());
    let mut pipeline = Pipeline::new(trace::Settings::default(), vec![keeper.clone()]).unwrap();
    let (mut offset_ns, mut records) = (0, 0);
    while let Some(frame) = recording.next().unwrap() {
        match frame {
            Frame::Clock { offset_ns: told_ns } => offset_ns = told_ns,
            Frame::Record(_) => records += 1,
            _ => {}
        }
        pipeline.feed(&frame);
        pipeline.feed(&Frame::Clock { offset_ns: offset_ns + step_ns(records) });
    }
    drop(pipeline);
    std::mem::take(&mut *keeper.0.lock())
}

#[test]
fn a_wall_clock_that_jumps_with_every_record_changes_no_duration() {
    const HOUR_NS: i64 = 3_600_000_000_000;
    for name in ["gunicorn_gthread.events", "gunicorn_unix.events", "uvicorn_h11.events"] {
        let steady = replay(name, |_| 0);
        let jumping = replay(name, |record| (record % 7 - 3) * HOUR_NS);
        assert!(steady.len() >= 5);
        assert_eq!(steady.len(), jumping.len());
        let mut moved = 0;
        for (steady, jumping) in steady.iter().zip(&jumping) {
            assert_eq!(
                (steady.duration_ns, steady.ttfb_ns, steady.start_ns, steady.span_id),
                (jumping.duration_ns, jumping.ttfb_ns, jumping.start_ns, jumping.span_id)
            );
            let off_ns = jumping.start_unix_ns.cast_signed() - steady.start_unix_ns.cast_signed();
            assert_eq!(off_ns % HOUR_NS, 0, "the start is of one clock, not between two");
            moved += usize::from(off_ns != 0);
        }
        assert!(moved > steady.len() / 2, "{moved} of {}", steady.len());
    }
}

#[test]
fn what_has_failed_here() {
    let table = [
        (SpanKind::Server, End::Complete, Some(500), None, true),
        (SpanKind::Server, End::Complete, Some(499), None, false),
        (SpanKind::Client, End::Complete, Some(500), None, false),
        // The server gave up, before the answer or amid it.
        (SpanKind::Server, End::ServerClosed, None, None, true),
        (SpanKind::Server, End::ServerClosed, Some(200), None, true),
        (SpanKind::Client, End::ServerClosed, None, None, false),
        // The client, the network or the process did.
        (SpanKind::Server, End::ClientClosed, None, None, false),
        (SpanKind::Server, End::ClientClosed, Some(500), None, false),
        (SpanKind::Server, End::Reset, Some(200), None, false),
        (SpanKind::Server, End::TimedOut, None, None, false),
        (SpanKind::Server, End::ProcessExited, None, None, false),
        // Nobody has seen how it ended.
        (SpanKind::Server, End::ProbeLost, None, None, false),
        (SpanKind::Server, End::ProbeStopped, None, None, false),
        (SpanKind::Server, End::Ongoing, Some(200), None, false),
        (SpanKind::Server, End::Upgraded, Some(101), None, false),
        // Streams of HTTP/2.
        (SpanKind::Server, End::ServerClosed, Some(200), Some("NO_ERROR"), true),
        (SpanKind::Server, End::ServerClosed, None, Some("INTERNAL_ERROR"), true),
        (SpanKind::Server, End::ServerClosed, None, Some("GOAWAY"), false),
        (SpanKind::Server, End::ServerClosed, None, Some("REFUSED_STREAM"), false),
        (SpanKind::Server, End::ServerClosed, Some(200), Some("CANCEL"), false),
    ];
    let any = replay("gunicorn_gthread.events", |_| 0).remove(0);
    for (kind, end, status, code, want) in table {
        let mut span = Span { kind, end, status, ..Span::clone(&any) };
        if let Some(code) = code {
            span.set("error.type", code);
        }
        assert_eq!(has_failed_here(&span), want, "{kind:?} {end:?} {status:?} {code:?}");
    }
}
