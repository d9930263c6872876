//! Counting and sampling vectors.

use model::SpanKind;
use serde_json::json;

use super::super::test_span::span;
use super::*;

const T0: i64 = 1_754_100_000_000;

fn sample() -> Sample {
    Sample::new(&span(SpanKind::Server, "/a"), &Limits::default())
}

fn ok(cost_ms: i64) -> Measure {
    let start_ms = T0 + 1000;
    Measure { start_ms, end_ms: start_ms + cost_ms, value: 10, error: false, force: false, sampled: true }
}

fn failed(cost_ms: i64) -> Measure {
    Measure { error: true, ..ok(cost_ms) }
}

fn only(aggregate: &mut Aggregate) -> Builder {
    let mut builders = aggregate.take(T0 + 60_000);
    assert_eq!(builders.len(), 1);
    builders.remove(0)
}

#[test]
fn follows_the_official_client_s_vector() {
    let limits = Limits { max_samples: 2, max_errors: 11, ..Limits::default() };
    let mut aggregate = Aggregate::new(T0, 100);
    for _ in 0..10 {
        assert!(aggregate.record("test", &ok(5), &limits, sample));
    }
    let first = &aggregate.builders["test"];
    assert_eq!((first.total, first.samples.len()), (10, 2));
    for _ in 0..20 {
        assert!(aggregate.record("test", &failed(5), &limits, sample));
    }
    let builder = only(&mut aggregate);
    assert_eq!((builder.total, builder.errors), (30, 20));
    assert_eq!((builder.samples.len(), builder.error_samples.len()), (2, 11));
}

#[test]
fn figures_add_up() {
    let mut aggregate = Aggregate::new(T0, 100);
    for cost in [7, 3, 0, 20] {
        aggregate.record("/a", &ok(cost), &Limits::default(), sample);
    }
    aggregate.record("/a", &failed(70), &Limits::default(), sample);
    let mut value = serde_json::to_value(only(&mut aggregate)).expect("JSON");
    for samples in ["Samples", "ErrorSamples"] {
        assert_eq!(value[samples].as_array().map(Vec::len), Some(1), "{samples}");
        value[samples] = json!([]);
    }
    assert_eq!(
        value,
        json!({"Name": "/a", "StartTime": T0 + 1000, "EndTime": T0 + 60_000, "Total": 5, "Errors": 1, "Cost": 100,
            "MaxCost": 70, "MinCost": 0, "Value": 50, "Samples": [], "ErrorSamples": []})
    );
    assert!(aggregate.take(T0 + 120_000).is_empty());
}

#[test]
fn flags_and_slowness_keep_ten_times_as_many() {
    let limits = Limits { max_samples: 1, max_errors: 2, timeout_ms: 100, ..Limits::default() };
    let force = |measure: Measure| Measure { force: true, ..measure };
    let hidden = |measure: Measure| Measure { sampled: false, ..measure };
    for (what, measure, samples, errors) in [
        ("plain", ok(5), 1, 0),
        ("flagged", force(ok(5)), 10, 0),
        ("as slow as the limit", ok(100), 1, 0),
        ("slow", ok(101), 10, 0),
        ("failed", failed(5), 0, 2),
        ("slow and failed", failed(101), 0, 2),
        ("flagged and failed", force(failed(5)), 0, 20),
        ("ruled out", hidden(force(ok(101))), 0, 0),
        ("failed and ruled out", hidden(force(failed(101))), 0, 0),
    ] {
        let mut aggregate = Aggregate::new(T0, 100);
        for _ in 0..50 {
            assert!(aggregate.record("/a", &measure, &limits, sample));
        }
        let builder = only(&mut aggregate);
        assert_eq!((builder.samples.len(), builder.error_samples.len()), (samples, errors), "{what}");
        assert_eq!(builder.total, 50, "{what}");
    }
}

#[test]
fn a_call_of_more_than_an_hour_is_left_out() {
    let mut aggregate = Aggregate::new(T0, 100);
    assert!(!aggregate.record("/a", &ok(3_600_001), &Limits::default(), sample));
    assert!(aggregate.take(T0).is_empty());
    assert!(aggregate.record("/a", &ok(3_600_000), &Limits::default(), sample));
    assert_eq!(only(&mut aggregate).max_cost, 3_600_000);
}

#[test]
fn time_never_runs_backwards() {
    let mut aggregate = Aggregate::new(T0 + 30_000, 100);
    let back = Measure { end_ms: T0, ..ok(0) };
    assert!(aggregate.record("/a", &back, &Limits::default(), sample));
    let builder = only(&mut aggregate);
    assert_eq!((builder.cost, builder.start_time, builder.end_time), (0, T0 + 30_000, T0 + 60_000));
}

#[test]
fn names_beyond_the_limit_are_counted_together() {
    let mut aggregate = Aggregate::new(T0, 2);
    for name in ["/a", "/b", "/c", "/d", "/a", "http://h/x", "socket:1.2.3.4:80"] {
        assert!(aggregate.record(name, &ok(1), &Limits::default(), sample));
    }
    let totals: Vec<(String, i32)> =
        aggregate.take(T0).into_iter().map(|builder| (builder.name.to_string(), builder.total)).collect();
    let expected = [("/a", 2), ("/b", 1), ("/{rest}", 2), ("http://{rest}", 1), ("{rest}", 1)];
    assert_eq!(totals, expected.map(|(name, total)| (name.to_owned(), total)));
}

#[test]
fn samples_are_bounded_in_bytes() {
    let limits = Limits { max_samples: 1000, ..Limits::default() };
    let mut aggregate = Aggregate::new(T0, 100_000);
    for i in 0..50_000 {
        aggregate.record(&format!("/{i}"), &ok(1), &limits, sample);
    }
    let builders = aggregate.take(T0 + 60_000);
    let kept: usize = builders.iter().map(|builder| builder.samples.len()).sum();
    let bytes: usize = builders.iter().flat_map(|builder| &builder.samples).map(Sample::size_bytes).sum();
    assert!(kept > 1000 && (KEPT_BYTES..KEPT_BYTES + 4096).contains(&bytes), "{kept} {bytes}");
    assert_eq!(builders.iter().map(|builder| i64::from(builder.total)).sum::<i64>(), 50_000);
}
