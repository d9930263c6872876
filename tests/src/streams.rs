//! What clients of many streams tell, and the spans of both ends.
//!
//! Invariant: spans are taken only of a probe that has missed nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::ledger::Entry;
use crate::probe::{Probe, SpanLine};

/// What a line of `apps/http2_client.py` or `apps/http2_bulk.py` says.
#[derive(Deserialize)]
struct Line {
    method: String,
    target: String,
    status: u16,
    request_bytes: u64,
    response_bytes: u64,
    start_ns: u64,
    last_ns: u64,
}

/// The request that a line of theirs tells of.
pub fn entry(line: &str) -> anyhow::Result<Entry> {
    let line: Line = serde_json::from_str(line).with_context(|| format!("read {line:?}"))?;
    Ok(Entry {
        method: line.method,
        target: line.target,
        status: Some(line.status),
        request_bytes: line.request_bytes,
        response_bytes: line.response_bytes,
        start_ns: line.start_ns,
        last_ns: line.last_ns,
        complete: true,
        ..Entry::default()
    })
}

/// Servers' spans and clients', after the probe has seen so many or the time is over.
pub fn spans_of(
    probe: Probe,
    count: usize,
    limit: Duration,
) -> anyhow::Result<(Vec<SpanLine>, Vec<SpanLine>)> {
    probe.wait_for_spans(count, limit);
    let (spans, log) = probe.stop_with_log()?;
    ensure!(log.contains("nothing missed"), "{log}");
    Ok(spans.into_iter().partition(|span| span.kind == "server"))
}

/// By the header `x-number`, which each has and no two alike.
pub fn by_number(spans: Vec<SpanLine>) -> anyhow::Result<BTreeMap<String, SpanLine>> {
    let count = spans.len();
    let number = |span: &SpanLine| span.headers["request.x-number"].as_str().map(str::to_owned);
    let numbered: Option<BTreeMap<_, _>> =
        spans.into_iter().map(|span| Some((number(&span)?, span))).collect();
    let numbered = numbered.context("a span has no number")?;
    ensure!(numbered.len() == count, "a number came twice");
    Ok(numbered)
}
