//! What spans say of their connection's encryption.
//!
//! Invariant: what is asserted is asserted of every span.

use std::collections::HashMap;

use serde_json::Value;

use crate::probe::SpanLine;

fn attribute<'a>(span: &'a SpanLine, name: &str) -> Option<&'a str> {
    span.attributes.get(name).and_then(Value::as_str)
}

/// Spans of a TLS connection say so; the first of each says how long the handshake took. Panics if one does not.
pub fn assert_encrypted(spans: &[SpanLine], version: &str) {
    let mut handshakes: HashMap<(Option<&str>, Option<&str>), usize> = HashMap::new();
    for span in spans {
        assert_eq!(
            (span.scheme.as_str(), attribute(span, "tls.protocol.version")),
            ("https", Some(version)),
            "{span:?}"
        );
        assert!(attribute(span, "tls.cipher").is_some_and(|cipher| cipher.starts_with("TLS_")), "{span:?}");
        let ends = (span.local.as_deref(), span.peer.as_deref());
        assert!(ends.0.is_some() && ends.1.is_some(), "{span:?}");
        let told = span.attributes.get("tls.handshake.duration_ns").and_then(Value::as_u64);
        assert!(told.is_none_or(|duration_ns| (1..10_000_000_000).contains(&duration_ns)), "{span:?}");
        *handshakes.entry(ends).or_default() += usize::from(told.is_some());
    }
    assert!(handshakes.values().all(|count| *count == 1), "{handshakes:?}");
}

/// What the handshakes have agreed on, if anything. Panics if a span says something else, or there is none.
pub fn assert_agreed(spans: &[SpanLine], protocol: Option<&str>) {
    assert!(!spans.is_empty());
    assert!(spans.iter().all(|span| attribute(span, "tls.next_protocol") == protocol), "{spans:?}");
}
