//! Bounds, order and waits of the outbox.

use model::SpanKind;

use super::super::aggregate::{Aggregate, Measure};
use super::super::limits::Limits;
use super::super::sample::Sample;
use super::super::test_span::span;
use super::*;

fn batch(taken_ms: i64, names: &[&str]) -> Batch {
    let mut aggregate = Aggregate::new(0, 100_000);
    let measure = Measure { start_ms: 0, end_ms: 1, value: 0, error: true, force: false, sampled: true };
    let limits = Limits::default();
    let mut long = span(SpanKind::Server, "/a");
    long.target = Some(format!("/{}", "x".repeat(900)));
    for name in names {
        aggregate.record(name, &measure, &limits, || Sample::new(&long, &limits));
    }
    Batch { taken_ms, builders: aggregate.take(taken_ms) }
}

fn outbox(max_batches: usize, room: &Room) -> Outbox {
    Outbox::new(&Settings { queue_batches: max_batches, ..Settings::default() }, room.clone())
}

#[test]
fn what_waits_is_bounded_and_has_no_samples() {
    let room = Room::new(5);
    let (mut one, mut two) = (outbox(2, &room), outbox(2, &room));
    assert_eq!(one.push(batch(1, &["/a", "/b"])), Ok(()));
    assert_eq!(one.push(batch(2, &["/a"])), Ok(()));
    assert_eq!(one.push(batch(3, &["/a", "/a", "/b"])), Err(3), "two batches at most");
    assert_eq!(two.push(batch(4, &["/a", "/b", "/c"])), Err(3), "five names at most");
    assert_eq!(two.push(batch(4, &["/a", "/b"])), Ok(()));
    assert_eq!(two.push(batch(5, &[])), Ok(()), "nothing takes no room");
    let first = one.pop().expect("a batch");
    assert_eq!((first.taken_ms, first.spans()), (1, 2));
    let json = serde_json::to_value(&first.builders).expect("JSON");
    assert_eq!(json[0]["ErrorSamples"], serde_json::json!([]));
    assert_eq!(one.put_back(first), Ok(()));
    assert_eq!(one.pop().map(|batch| batch.taken_ms), Some(1));
    drop(one);
    assert_eq!(two.push(batch(6, &["/a", "/b", "/c"])), Ok(()), "the dropped box gave its room back");
}

#[test]
fn what_is_too_old_goes() {
    let mut outbox = outbox(10, &Room::new(100));
    for (taken_ms, names) in [(1000, &["/a", "/a"][..]), (2000, &["/b"]), (9000, &["/c"])] {
        assert_eq!(outbox.push(batch(taken_ms, names)), Ok(()));
    }
    assert_eq!(outbox.expire(KEPT_MS + 1000), 0);
    assert_eq!(outbox.expire(KEPT_MS + 2001), 3);
    assert_eq!(outbox.pop().map(|batch| batch.taken_ms), Some(9000));
    assert!(outbox.is_empty());
}

#[test]
fn waits_grow_to_a_limit() {
    let mut outbox = outbox(10, &Room::new(100));
    let now = Instant::now();
    for seconds in [5, 10, 20, 40, 60, 60] {
        outbox.back_off(now);
        assert_eq!(outbox.retry_at(), Some(now + Duration::from_secs(seconds)));
    }
    outbox.recovered();
    assert_eq!(outbox.retry_at(), None);
    outbox.back_off(now);
    assert_eq!(outbox.retry_at(), Some(now + Duration::from_secs(5)));
}

#[test]
fn a_large_period_is_several_batches() {
    let names: Vec<String> = (0..10_000).map(|i| format!("/{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let batches = Batch::split(batch(1, &names).builders, 7);
    assert!(batches.len() > 1, "{}", batches.len());
    assert_eq!(batches.iter().map(Batch::spans).sum::<u64>(), 10_000);
    for batch in &batches {
        let bytes: usize = batch.builders.iter().map(Builder::size_bytes).sum();
        assert!(bytes <= BATCH_BYTES && batch.taken_ms == 7);
    }
    assert_eq!(Batch::split(Vec::new(), 7).len(), 1);
}

#[test]
fn excluded_names_are_taken_out_whole() {
    let mut batch = batch(1, &["/api/a", "/api/a", "/api/b", "/x/api/a"]);
    assert_eq!(batch.exclude(&[]), 0);
    assert_eq!(batch.exclude(&["/API/a".to_owned(), "nothing*".to_owned()]), 2);
    assert_eq!(batch.exclude(&["/api/*".to_owned()]), 1);
    assert_eq!(batch.builders.len(), 1);
}
