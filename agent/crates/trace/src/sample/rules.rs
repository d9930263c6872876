//! The sampling rules as they are written. Invariant: a set of rules is taken whole or refused whole.
//!
//! Keys (case does not matter, `:` may stand for `.`): `probe.enabled` (true or false),
//! `probe.sampling.rate` (0 to 1), `probe.excludes` (patterns) and `probe.headers` (names), both separated
//! by commas or lines or written as a JSON array, and `probe.sampling.rules`, a JSON array of objects with
//! the fields `name` (pattern of the span's name or route), `method`, `status` (`503` or `"5xx"`),
//! `min_duration_ms`, and either `ratio` (0 to 1) or `per_second` (a budget). A field left out matches all.
//! Keys that do not begin with `probe.` belong to the app; an unknown key that does is left alone too, since
//! other versions of the probe may know it. An empty value is as good as none.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::pattern::Pattern;
use crate::settings::parse_header_name;

/// Most rules, excludes or headers in one set.
const MAX_ITEMS: usize = 200;

/// Why a set of rules is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct RuleError {
    /// The key whose value is broken.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What an app's remote configuration asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    pub(crate) enabled: bool,
    pub(crate) rate: f64,
    pub(super) list: Vec<Rule>,
    pub(crate) excludes: Vec<Pattern>,
    /// In lower case.
    pub(crate) headers: Vec<String>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) name: Option<Pattern>,
    pub(super) method: Option<String>,
    pub(super) status: Option<Status>,
    pub(super) min_duration_ns: u64,
    pub(super) keep: Keep,
}

/// What becomes of the spans that match.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Keep {
    Ratio(f64),
    PerSecond(f64),
}

/// Statuses from `first` to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    first: u16,
    last: u16,
}

impl Status {
    pub(super) fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

/// Everything is kept.
impl Default for Rules {
    fn default() -> Self {
        Self { enabled: true, rate: 1.0, list: Vec::new(), excludes: Vec::new(), headers: Vec::new() }
    }
}

impl Rules {
    /// Reads the `probe.` keys among `values`. The first broken value is the error.
    pub fn parse(values: &BTreeMap<String, String>) -> Result<Self, RuleError> {
        let mut parsed = Self::default();
        for (key, value) in values {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            let result = match key.trim().to_ascii_lowercase().replace(':', ".").as_str() {
                "probe.enabled" => parse_bool(value).map(|enabled| parsed.enabled = enabled),
                "probe.sampling.rate" => parse_rate(value).map(|rate| parsed.rate = rate),
                "probe.sampling.rules" => parse_rules(value).map(|rules| parsed.list = rules),
                "probe.excludes" => parse_excludes(value).map(|excludes| parsed.excludes = excludes),
                "probe.headers" => parse_headers(value).map(|headers| parsed.headers = headers),
                _ => Ok(()),
            };
            result.map_err(|reason| RuleError { key: key.clone(), reason })?;
        }
        Ok(parsed)
    }
}

/// A rule as JSON has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: Option<String>,
    method: Option<String>,
    status: Option<RawStatus>,
    min_duration_ms: Option<u64>,
    ratio: Option<f64>,
    per_second: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawStatus {
    Number(u16),
    Text(String),
}

fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    check_ratio(rate)
}

fn check_ratio(ratio: f64) -> Result<f64, String> {
    if (0.0..=1.0).contains(&ratio) { Ok(ratio) } else { Err(format!("{ratio} is not between 0 and 1")) }
}

fn parse_rules(text: &str) -> Result<Vec<Rule>, String> {
    let raw: Vec<RawRule> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    check_count(raw.len())?;
    let numbered = raw.into_iter().enumerate();
    numbered.map(|(at, rule)| rule.check().map_err(|reason| format!("rule {}: {reason}", at + 1))).collect()
}

impl RawRule {
    fn check(self) -> Result<Rule, String> {
        let keep = match (self.ratio, self.per_second) {
            (Some(ratio), None) => {
                Keep::Ratio(check_ratio(ratio).map_err(|reason| format!("ratio: {reason}"))?)
            }
            (None, Some(rate)) if rate >= 0.0 && rate.is_finite() => Keep::PerSecond(rate),
            (None, Some(rate)) => return Err(format!("per_second: {rate} is not a rate")),
            _ => return Err("needs either `ratio` or `per_second`".to_owned()),
        };
        let method = self.method.filter(|method| method != "*");
        if let Some(method) = &method
            && parse_header_name(method).is_none()
        {
            return Err(format!("method: `{method}` is not a method"));
        }
        Ok(Rule {
            name: self
                .name
                .as_deref()
                .map(parse_pattern)
                .transpose()
                .map_err(|reason| format!("name: {reason}"))?,
            method,
            status: self.status.map(RawStatus::check).transpose()?,
            min_duration_ns: self.min_duration_ms.unwrap_or(0).saturating_mul(1_000_000),
            keep,
        })
    }
}

impl RawStatus {
    fn check(self) -> Result<Status, String> {
        let text = match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        };
        let class = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX"));
        let range = match class.map(str::parse) {
            Some(Ok(class @ 1..=9_u16)) => Some((class * 100, class * 100 + 99)),
            Some(_) => None,
            None => {
                text.parse().ok().filter(|status| (100..=999).contains(status)).map(|status| (status, status))
            }
        };
        let (first, last) =
            range.ok_or_else(|| format!("status: `{text}` is neither like 503 nor like 5xx"))?;
        Ok(Status { first, last })
    }
}

fn parse_pattern(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text).ok_or_else(|| format!("`{text}` is not a pattern of 1 to 256 characters"))
}

fn parse_excludes(text: &str) -> Result<Vec<Pattern>, String> {
    parse_list(text)?.iter().map(|item| parse_pattern(item)).collect()
}

fn parse_headers(text: &str) -> Result<Vec<String>, String> {
    let parse =
        |item: &String| parse_header_name(item).ok_or_else(|| format!("`{item}` is not a header's name"));
    parse_list(text)?.iter().map(parse).collect()
}

fn parse_list(text: &str) -> Result<Vec<String>, String> {
    let items: Vec<String> = if text.starts_with('[') {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        text.split([',', '\n']).map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
    };
    check_count(items.len())?;
    Ok(items)
}

fn check_count(count: usize) -> Result<(), String> {
    if count <= MAX_ITEMS { Ok(()) } else { Err(format!("{count} items, at most {MAX_ITEMS} are allowed")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(key: &str, value: &str) -> Result<Rules, RuleError> {
        Rules::parse(&BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn good_values() {
        assert_eq!(Rules::parse(&BTreeMap::new()), Ok(Rules::default()));
        assert_eq!(parse("Other:Key", "x"), Ok(Rules::default()));
        assert_eq!(parse("probe.sampling.rate", ""), Ok(Rules::default()));
        assert!(!parse("Probe:Enabled", "False").unwrap().enabled);
        assert!((parse("PROBE.Sampling:Rate", " 0.5 ").unwrap().rate - 0.5).abs() < f64::EPSILON);
        for value in ["/a*, /b", "/a*\n/b\n", r#"["/a*","/b"]"#] {
            assert_eq!(parse("probe.excludes", value).unwrap().excludes.len(), 2, "{value}");
        }
        assert_eq!(parse("probe.headers", "X-A,x-b").unwrap().headers, ["x-a", "x-b"]);
        let rules = r#"[{"name":"*","method":"*","status":"4xx","min_duration_ms":1,"per_second":0.5},
                        {"status":503,"ratio":1}]"#;
        let rules = parse("probe.sampling.rules", rules).unwrap().list;
        assert_eq!(rules[0].status, Some(Status { first: 400, last: 499 }));
        assert_eq!(rules[0].method, None);
        assert_eq!(rules[0].keep, Keep::PerSecond(0.5));
        assert_eq!(rules[1].status, Some(Status { first: 503, last: 503 }));
    }

    #[test]
    fn broken_values_are_refused_by_name() {
        let many = "x,".repeat(201);
        for (key, value, reason) in [
            ("probe.enabled", "maybe", "neither true nor false"),
            ("probe.sampling.rate", "1.1", "not between 0 and 1"),
            ("probe.sampling.rate", "-0.1", "not between 0 and 1"),
            ("probe.sampling.rate", "NaN", "not between 0 and 1"),
            ("probe.sampling.rate", "much", "not a number"),
            ("probe.sampling.rules", "{}", "expected a sequence"),
            ("probe.sampling.rules", "[{", "EOF"),
            ("probe.sampling.rules", r#"[{"ratio":1,"nmae":"x"}]"#, "unknown field `nmae`"),
            ("probe.sampling.rules", r#"[{"ratio":1},{"name":"x"}]"#, "rule 2: needs either"),
            ("probe.sampling.rules", r#"[{"ratio":1,"per_second":1}]"#, "needs either"),
            ("probe.sampling.rules", r#"[{"ratio":2}]"#, "ratio: 2 is not between"),
            ("probe.sampling.rules", r#"[{"per_second":-1}]"#, "per_second"),
            ("probe.sampling.rules", r#"[{"ratio":1,"status":"5x"}]"#, "status: `5x`"),
            ("probe.sampling.rules", r#"[{"ratio":1,"status":42}]"#, "status: `42`"),
            ("probe.sampling.rules", r#"[{"ratio":1,"status":"\u00fcxx"}]"#, "status"),
            ("probe.sampling.rules", r#"[{"ratio":1,"name":""}]"#, "name: ``"),
            ("probe.sampling.rules", r#"[{"ratio":1,"method":"G T"}]"#, "method: `G T`"),
            ("probe.excludes", "[1]", "expected a string"),
            ("probe.excludes", many.as_str(), "201 items"),
            ("probe.headers", "a b", "not a header's name"),
        ] {
            let error = parse(key, value).unwrap_err();
            assert_eq!(error.key, key);
            assert!(error.reason.contains(reason), "{value}: {error}");
        }
    }
}
