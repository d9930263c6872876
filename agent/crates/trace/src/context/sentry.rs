//! `sentry-trace` (<https://develop.sentry.dev/sdk/foundations/trace-propagation/>).

use model::TraceId;

use super::fields::{Fields, SENTRY_TRACE};
use super::id::{self, SPAN_DIGITS, TRACE_DIGITS};
use super::{Incoming, Reading};

/// `{trace}-{span}`, then perhaps `-{1 or 0}`: whether the trace is kept.
pub(super) fn sentry_trace(fields: &Fields<'_>) -> Reading {
    Reading::of(fields.get(SENTRY_TRACE), |value| {
        let mut parts = value.split('-');
        let trace_id = id::lower_hex(parts.next()?, TRACE_DIGITS)?;
        let span_id = id::lower_hex(parts.next()?, SPAN_DIGITS)?;
        let kept = match parts.next() {
            None | Some("0") => false,
            Some("1") => true,
            Some(_) => return None,
        };
        parts.next().is_none().then_some(())?;
        Some(Incoming::new(TraceId(trace_id.into()), Some(span_id.into()), kept))
    })
}

#[cfg(test)]
mod tests {
    use crate::context::tests::read;

    #[test]
    fn values() {
        let ids = "771a43a4192642f0b136d5159a501700-7d5b6f3e1c2a4b89";
        let shown = ids.replace('-', "/");
        for (value, want) in [
            (ids.to_owned(), Some("0")),
            (format!("{ids}-1"), Some("1")),
            (format!("{ids}-0"), Some("0")),
            (format!("{ids}-2"), None),
            (format!("{ids}-1-1"), None),
            (ids.to_uppercase(), None),
            (ids[..40].to_owned(), None),
            (String::new(), None),
        ] {
            let want = want.map_or(("none".to_owned(), 1), |flag| (format!("{shown}/{flag}"), 0));
            assert_eq!(read(&[("Sentry-Trace", &value)]), want, "{value}");
        }
    }
}
