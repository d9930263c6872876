//! `sw8` and `sw6` (Apache `SkyWalking`, "Cross Process Propagation Headers Protocol" 3.0 and 2.0).
//!
//! Text stands in base64. A span is named by its segment and its number in that: `{segment}-{number}`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{Attribute, AttributeValue, TraceId};

use super::fields::{Fields, SW6, SW8};
use super::{Incoming, Reading, id};

/// Longest header (both versions), and longest text that is taken out of one.
const MAX_BYTES: usize = 2048;
const MAX_TEXT_CHARS: usize = 512;

const SERVICE: &str = "skywalking.parent.service";
const INSTANCE: &str = "skywalking.parent.service_instance";
const ENDPOINT: &str = "skywalking.parent.endpoint";
const ADDRESS: &str = "skywalking.network_address";

/// `{sample}-{trace}-{segment}-{span}-{service}-{instance}-{endpoint}-{address}`.
pub(super) fn sw8(fields: &Fields<'_>) -> Reading {
    Reading::of(fields.get(SW8), |value| {
        let parts = split(value)?;
        let &[sample, trace_id, segment, span, service, instance, endpoint, address] = parts.as_slice()
        else {
            return None;
        };
        let mut incoming = context(sample, trace_id, segment, span)?;
        for (name, part) in
            [(SERVICE, service), (INSTANCE, instance), (ENDPOINT, endpoint), (ADDRESS, address)]
        {
            incoming.caller.push(attribute(name, text(part)?));
        }
        Some(incoming)
    })
}

/// `{sample}-{trace}-{segment}-{span}-{instance}-{entry instance}-{address}`, then `-{entry endpoint}` and
/// `-{parent's endpoint}`. Instances are numbers that the back end has given out; so may the rest be, or `#` and a
/// name.
pub(super) fn sw6(fields: &Fields<'_>) -> Reading {
    Reading::of(fields.get(SW6), |value| {
        let parts = split(value)?;
        let (&[sample, trace_id, segment, span, instance, entry, address], more) =
            parts.split_first_chunk()?;
        if more.len() > 2 {
            return None;
        }
        let mut incoming = context(sample, trace_id, segment, span)?;
        number(entry)?;
        incoming.caller.push(attribute(INSTANCE, number(instance)?.to_string()));
        if let Some(address) = name_or_number(address)? {
            incoming.caller.push(attribute(ADDRESS, address));
        }
        let endpoints = more.iter().map(|part| name_or_number(part)).collect::<Option<Vec<_>>>()?;
        if let Some(Some(endpoint)) = endpoints.into_iter().nth(1) {
            incoming.caller.push(attribute(ENDPOINT, endpoint));
        }
        Some(incoming)
    })
}

fn split(value: &str) -> Option<Vec<&str>> {
    // Base64 has no hyphen.
    (value.len() <= MAX_BYTES).then(|| value.split('-').take(10).collect())
}

fn context(sample: &str, trace_id: &str, segment: &str, span: &str) -> Option<Incoming> {
    let flagged = match sample {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    let (trace_id, segment) = (text(trace_id)?, text(segment)?);
    let (trace_id, segment) = (id::dotted(&trace_id)?, id::dotted(&segment)?);
    let span = u32::try_from(number(span)?).ok()?;
    Some(Incoming::new(TraceId(trace_id.into()), Some(format!("{segment}-{span}").into()), flagged))
}

fn attribute(name: &'static str, text: String) -> Attribute {
    Attribute { name, value: AttributeValue::from(text) }
}

/// Base64 of something printable.
fn text(part: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(part).ok()?).ok()?;
    let fits = !text.is_empty() && text.chars().take(MAX_TEXT_CHARS + 1).count() <= MAX_TEXT_CHARS;
    (fits && !text.chars().any(char::is_control)).then_some(text)
}

/// `Some(None)`: a number.
#[expect(clippy::option_option, reason = "a number and a damaged part are different things here")]
fn name_or_number(part: &str) -> Option<Option<String>> {
    let text = text(part)?;
    match text.strip_prefix('#') {
        Some(name) => Some(Some(name.to_owned())),
        None => number(&text).map(|_| None),
    }
}

/// A decimal number of 32 bits.
fn number(part: &str) -> Option<i32> {
    (!part.starts_with('+')).then(|| part.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::context::tests::read;
    use crate::fixture::headers;

    /// The example of the protocol's document, version 3.
    const V3: &str = "1-TRACEID-SEGMENTID-3-U0VSVklDRQ==-SU5TVEFOQ0U=-RU5EUE9JTlQ=-QUREUkVTUw==";

    fn base64(text: &str) -> String {
        STANDARD.encode(text)
    }

    fn v3() -> String {
        let ids = [base64("a12ff60b-5807-463b-a1f8-fb1c8608219e"), base64("seg.1.16301234567890001")];
        V3.replace("TRACEID", &ids[0]).replace("SEGMENTID", &ids[1])
    }

    fn caller(name: &str, value: &str) -> Vec<(&'static str, String)> {
        let headers = headers(&[(name, value)]);
        let found = Context::of(&headers).incoming(&mut 0).unwrap();
        found.caller.into_iter().map(|attribute| (attribute.name, attribute.value.to_string())).collect()
    }

    #[test]
    fn version_3() {
        let want = "a12ff60b-5807-463b-a1f8-fb1c8608219e/seg.1.16301234567890001-3/1";
        assert_eq!(read(&[("sw8", &v3())]), (want.to_owned(), 0));
        let texts = ["SERVICE", "INSTANCE", "ENDPOINT", "ADDRESS"].map(str::to_owned);
        let names = [SERVICE, INSTANCE, ENDPOINT, ADDRESS];
        assert_eq!(caller("SW8", &v3()), names.into_iter().zip(texts).collect::<Vec<_>>());
        let zero = format!("0{}", &v3()[1..]);
        assert_eq!(read(&[("sw8", &zero)]).0, want.replace("/1", "/0"));
    }

    #[test]
    fn version_2() {
        let trace = base64("421.7.3");
        let value = format!(
            "1-{trace}-{}-1-42--7-{}-{}-{}",
            base64("421.7.4"),
            base64("#10.0.0.1:80"),
            base64("12"),
            base64("#/a"),
        );
        let want = ("421.7.3/421.7.4-1/1".to_owned(), 0);
        // A number of an instance may be missing, which is written as a negative one; the hyphen then stands twice.
        assert_eq!(read(&[("sw6", &value)]).1, 1);
        let value = value.replace("-42--7-", "-42-7-");
        assert_eq!(read(&[("sw6", &value)]), want);
        let of = |texts: [&str; 3]| [INSTANCE, ADDRESS, ENDPOINT].into_iter().zip(texts.map(str::to_owned));
        assert_eq!(caller("sw6", &value), of(["42", "10.0.0.1:80", "/a"]).collect::<Vec<_>>());
        let short: Vec<&str> = value.split('-').take(7).collect();
        assert_eq!(read(&[("sw6", &short.join("-"))]), want);
        assert_eq!(
            caller("sw6", &short.join("-")),
            of(["42", "10.0.0.1:80", ""]).take(2).collect::<Vec<_>>()
        );
        for damaged in [
            short[..6].join("-"),
            value.clone() + "-" + &trace,
            value.replace("-42-", "-x-"),
            value.replace("-7-", "-+7-"),
            value.replacen(&trace, "***", 1),
        ] {
            assert_eq!(read(&[("sw6", &damaged)]), ("none".to_owned(), 1), "{damaged}");
        }
    }

    #[test]
    fn damaged() {
        let good = v3();
        let mut values: Vec<String> = ["", "1", "-------", "1-1-1-1-1-1-1-1"].map(str::to_owned).to_vec();
        // Each part in turn is no longer what it should be.
        for place in 0..8 {
            let mut parts: Vec<&str> = good.split('-').collect();
            parts[place] = "?";
            values.push(parts.join("-"));
            parts[place] = "";
            values.push(parts.join("-"));
            parts.remove(place);
            values.push(parts.join("-"));
        }
        values.push(good.clone() + "-QQ==");
        values.push(good.replace("-3-", "--3-"));
        values.push(good.replace("-3-", "-3000000000-"));
        values.push(good.replace("QUREUkVTUw==", "QUREUkVTUw"));
        values.push(good.replace("QUREUkVTUw==", &base64("a\nb")));
        values.push(good.replace("QUREUkVTUw==", &STANDARD.encode([0xff, 0xfe])));
        values.push(good.replace("QUREUkVTUw==", &base64(&"a".repeat(513))));
        values.push(good.replace("QUREUkVTUw==", &base64(&"a".repeat(2000))));
        for value in values {
            assert_eq!(read(&[("sw8", &value)]), ("none".to_owned(), 1), "{value}");
        }
    }
}
