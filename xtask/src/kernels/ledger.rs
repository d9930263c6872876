//! What the guest's client has asked for and got, held against what the probe told of both ends.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::Value;

const FIELDS: [&str; 6] = ["scheme", "method", "target", "status", "request_bytes", "response_bytes"];

/// Whether a span is of a request that `https.py` has made.
pub fn is_asked(span: &Value) -> bool {
    span["target"].as_str().is_some_and(|target| target.contains('?'))
}

/// An error where not each request is told exactly once at each end, or where the kernel had nothing to do with it.
pub fn check(asked: &[Value], spans: &[Value], encrypted: &BTreeMap<String, u64>) -> Result<()> {
    for direction in ["Tx", "Rx"] {
        let count = encrypted.get(direction).copied().unwrap_or(0);
        ensure!(count > 0, "the kernel has encrypted nothing (TLS{direction}): {encrypted:?}");
    }
    let ends = |kind: &'static str| asked.iter().map(move |one| line(kind, "complete", one));
    let mut expected: Vec<_> = ends("client").chain(ends("server")).collect();
    let told = spans.iter().filter(|span| is_asked(span));
    let text = |span: &Value, field: &str| span[field].as_str().unwrap_or_default().to_owned();
    let mut told: Vec<_> = told.map(|span| line(&text(span, "kind"), &text(span, "end"), span)).collect();
    expected.sort_unstable();
    told.sort_unstable();
    let missing: Vec<_> = expected.iter().filter(|one| !told.contains(one)).collect();
    let other: Vec<_> = told.iter().filter(|one| !expected.contains(one)).collect();
    ensure!(
        !asked.is_empty() && told == expected,
        "{} of {} ends told; missing: {missing:#?}; told otherwise: {other:#?}",
        told.len(),
        expected.len()
    );
    Ok(())
}

fn line(kind: &str, end: &str, of: &Value) -> String {
    let fields = FIELDS.map(|field| of[field].to_string());
    format!("{kind} {} {end}", fields.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked() -> Value {
        json!({"scheme": "https", "method": "GET", "target": "/?old", "status": 200, "request_bytes": 7, "response_bytes": 8})
    }

    fn span(kind: &str, change: (&str, Value)) -> Value {
        let mut span = asked();
        span["kind"] = kind.into();
        span["end"] = "complete".into();
        span[change.0] = change.1;
        span
    }

    #[test]
    fn each_request_is_told_once_at_each_end_or_it_is_an_error() {
        let as_asked = ("scheme", json!("https"));
        let both = [span("client", as_asked.clone()), span("server", as_asked.clone())];
        let used = BTreeMap::from([("Tx".to_owned(), 2), ("Rx".to_owned(), 1)]);
        let stranger = json!({"kind": "server", "scheme": "http", "target": "/"});
        assert!(check(&[asked()], &[&both[..], &[stranger]].concat(), &used).is_ok());
        for told in [
            both[..1].to_vec(),
            [&both[..], &both[..1]].concat(),
            vec![both[0].clone(), span("server", ("scheme", json!("http")))],
            vec![both[0].clone(), span("server", ("status", Value::Null))],
            vec![both[0].clone(), span("server", ("end", json!("server_closed")))],
        ] {
            assert!(check(&[asked()], &told, &used).is_err(), "{told:?}");
        }
        assert!(check(&[], &[], &used).is_err());
        let unused = BTreeMap::from([("Tx".to_owned(), 2), ("Rx".to_owned(), 0)]);
        assert!(
            check(&[asked()], &both, &unused).is_err() && check(&[asked()], &both, &BTreeMap::new()).is_err()
        );
    }
}
