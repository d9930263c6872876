//! Which spans are sent as samples. Invariants: counts never depend on it; all spans of a trace agree
//! wherever a rate decides; time comes from the spans.

mod rules;

use model::{Span, TraceId};
use rules::{Keep, Rule};
pub use rules::{RuleError, Rules};

use crate::settings::Policy;

/// A set of rules at work for one app.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    pub(crate) rules: Rules,
    /// One for each rule; used by those with a budget.
    buckets: Vec<Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled_ns: Option<u64>,
}

impl Sampler {
    pub(crate) fn new(rules: Rules) -> Self {
        let buckets = vec![Bucket { tokens: 0.0, filled_ns: None }; rules.list.len()];
        Self { rules, buckets }
    }

    /// Whether a finished span is to be sent: the first rule that matches decides; else errors and slow
    /// requests are kept, and of the rest the app's rate.
    pub(crate) fn keeps(&mut self, span: &Span, slow_ns: u64) -> bool {
        let rules = self.rules.list.iter().zip(&mut self.buckets);
        for (rule, bucket) in rules {
            if rule.matches(span) {
                return match rule.keep {
                    Keep::Ratio(ratio) => is_chosen(&span.trace_id, ratio),
                    Keep::PerSecond(rate) => {
                        bucket.take(rate, span.start_ns.saturating_add(span.duration_ns))
                    }
                };
            }
        }
        span.fault.is_some() || span.duration_ns >= slow_ns || is_chosen(&span.trace_id, self.rules.rate)
    }

    /// Whether the app's own excludes, or those of the settings, name this span.
    pub(crate) fn excludes(&self, span: &Span, policy: &Policy) -> bool {
        let path = span.target.as_deref().map(|target| target.split(['?', '#']).next().unwrap_or(target));
        self.rules.excludes.iter().chain(&policy.excludes).any(|pattern| {
            pattern.matches(&span.name)
                || span.route.as_deref().is_some_and(|route| pattern.matches(route))
                || path.is_some_and(|path| pattern.matches(path))
        })
    }
}

impl Rule {
    fn matches(&self, span: &Span) -> bool {
        let name = |name: &crate::pattern::Pattern| {
            name.matches(&span.name) || span.route.as_deref().is_some_and(|route| name.matches(route))
        };
        self.name.as_ref().is_none_or(name)
            && self.method.as_ref().is_none_or(|method| {
                span.method.as_deref().is_some_and(|sent| sent.eq_ignore_ascii_case(method))
            })
            && self.status.is_none_or(|status| span.status.is_some_and(|seen| status.contains(seen)))
            && span.duration_ns >= self.min_duration_ns
    }
}

impl Bucket {
    /// A bucket holds one second's budget, at least one token, and is full at first.
    fn take(&mut self, per_second: f64, at_ns: u64) -> bool {
        if per_second <= 0.0 {
            return false;
        }
        let most = per_second.max(1.0);
        let filled_ns = self.filled_ns.unwrap_or(0);
        let passed_s = at_ns.saturating_sub(filled_ns) as f64 / 1e9;
        self.tokens =
            if self.filled_ns.is_none() { most } else { (self.tokens + passed_s * per_second).min(most) };
        self.filled_ns = Some(at_ns.max(filled_ns));
        let taken = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(taken));
        taken
    }
}

/// The same answer for all spans of a trace, on every host: FNV-1a of the id, mixed (splitmix64's last
/// step, since FNV's high bits are weak), against the ratio.
fn is_chosen(trace_id: &TraceId, ratio: f64) -> bool {
    if ratio >= 1.0 {
        return true;
    }
    let mut hash = trace_id.0.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    (hash as f64) < ratio * (u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::Fault;

    use super::*;
    use crate::fixture::span;

    fn sampler(rules: &str, rate: &str) -> Sampler {
        let values: BTreeMap<String, String> =
            [("probe.sampling.rules", rules), ("probe.sampling.rate", rate)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
        Sampler::new(Rules::parse(&values).unwrap())
    }

    #[test]
    fn the_first_match_decides() {
        const SLOW_NS: u64 = 1_000_000_000;
        let none = r#"[{"name":"GET /a*","method":"get","status":"2xx","min_duration_ms":10,"ratio":0}]"#;
        let two = r#"[{"name":"/h","ratio":0},{"status":503,"ratio":0},{"ratio":1}]"#;
        for (rules, rate, name, status, ms, want) in [
            ("[]", "1", "GET /a", 200, 1, true),
            ("[]", "0", "GET /a", 200, 1, false),
            ("[]", "0", "GET /a", 500, 1, true),
            ("[]", "0", "GET /a", 200, 1000, true),
            (none, "1", "GET /a/b", 200, 10, false),
            (none, "1", "GET /a/b", 200, 9, true),
            (none, "1", "GET /b", 200, 10, true),
            (none, "1", "GET /a", 302, 10, true),
            (none, "1", "GET /a", 200, 5000, false),
            (two, "0", "GET /h", 500, 1, false),
            (two, "0", "GET /x", 503, 1, false),
            (two, "0", "GET /x", 200, 1, true),
        ] {
            let mut span = span(name, status, ms * 1_000_000);
            span.fault = (status >= 500).then_some(Fault::Status);
            let kept = sampler(rules, rate).keeps(&span, SLOW_NS);
            assert_eq!(kept, want, "{rules} {rate} {name} {status} {ms}");
        }
    }

    #[test]
    fn a_rate_holds_and_agrees() {
        let mut ids = crate::ids::Ids::new(3);
        let mut sampler = sampler("[]", "0.25");
        let mut kept = 0;
        for _ in 0..10_000 {
            let mut span = span("GET /", 200, 1);
            span.trace_id = ids.trace();
            let first = sampler.keeps(&span, u64::MAX);
            "GET /child".clone_into(&mut span.host);
            assert_eq!(sampler.keeps(&span, u64::MAX), first);
            kept += u32::from(first);
        }
        assert!((2300..2700).contains(&kept), "{kept}");
    }

    #[test]
    fn a_budget_refills() {
        let mut sampler = sampler(r#"[{"per_second":2}]"#, "0");
        let mut kept_at = |ms: u64| {
            let mut span = span("GET /", 200, 0);
            span.start_ns = ms * 1_000_000;
            sampler.keeps(&span, u64::MAX)
        };
        let kept: Vec<bool> = [0, 1, 2, 400, 600, 700, 9000, 9001, 9002].map(&mut kept_at).to_vec();
        assert_eq!(kept, [true, true, false, false, true, false, true, true, false]);
    }
}
