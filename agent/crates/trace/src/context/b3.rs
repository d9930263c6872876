//! B3, in one header and in several (<https://github.com/openzipkin/b3-propagation>). Zipkin's shorter trace ids are
//! written in full, as OpenTelemetry does (specification, "Propagators API").

use model::TraceId;

use super::fields::{B3, B3_FLAGS, B3_PARENT_SPAN_ID, B3_SAMPLED, B3_SPAN_ID, B3_TRACE_ID, Field, Fields};
use super::id::{self, SPAN_DIGITS, TRACE_DIGITS};
use super::{Incoming, Reading};

/// `{trace}-{span}`, then `-{state}` and `-{parent}`; or the state alone.
pub(super) fn single(fields: &Fields<'_>) -> Reading {
    match fields.get(B3) {
        Field::One("0" | "1" | "d") => Reading::Silent,
        field => Reading::of(field, |value| {
            let mut parts = value.split('-');
            let (trace_id, span_id) = (parts.next()?, parts.next()?);
            let flagged = match parts.next() {
                None | Some("0") => false,
                Some("1" | "d") => true,
                Some(_) => return None,
            };
            let parent_is_sound =
                parts.next().is_none_or(|parent| id::lower_hex(parent, SPAN_DIGITS).is_some());
            (parent_is_sound && parts.next().is_none()).then_some(())?;
            context(trace_id, span_id, flagged)
        }),
    }
}

/// `X-B3-TraceId` and `X-B3-SpanId`, with what belongs to them; or the decision to sample alone.
pub(super) fn multi(fields: &Fields<'_>) -> Reading {
    let all @ [trace_id, span_id, parent, sampled, flags] =
        [B3_TRACE_ID, B3_SPAN_ID, B3_PARENT_SPAN_ID, B3_SAMPLED, B3_FLAGS].map(|place| fields.get(place));
    if all.iter().all(|field| *field == Field::Absent) {
        return Reading::Absent;
    }
    let sampled = match sampled {
        Field::Absent | Field::One("0" | "false") => false,
        Field::One("1" | "true") => true,
        Field::One(_) | Field::Differing => return Reading::Damaged,
    };
    let parent_is_sound = match parent {
        Field::Absent => true,
        Field::One(parent) => id::lower_hex(parent, SPAN_DIGITS).is_some(),
        Field::Differing => false,
    };
    let found = match (trace_id, span_id) {
        (Field::Absent, Field::Absent) if parent == Field::Absent => return Reading::Silent,
        (Field::One(trace_id), Field::One(span_id)) if parent_is_sound => {
            // Debug; any other value means nothing.
            context(trace_id, span_id, sampled || flags == Field::One("1"))
        }
        _ => None,
    };
    found.map_or(Reading::Damaged, Reading::Named)
}

fn context(trace_id: &str, span_id: &str, flagged: bool) -> Option<Incoming> {
    let trace_id = id::lower_hex(trace_id, TRACE_DIGITS).or_else(|| id::lower_hex(trace_id, SPAN_DIGITS))?;
    let trace_id = TraceId(format!("{trace_id:0>TRACE_DIGITS$}").into());
    Some(Incoming::new(trace_id, Some(id::lower_hex(span_id, SPAN_DIGITS)?.into()), flagged))
}

#[cfg(test)]
mod tests {
    use crate::context::tests::read;

    const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";
    const PARENT: &str = "05e3ac9a4f6e3b90";

    #[test]
    fn one_header() {
        for (value, want, damaged) in [
            (format!("{TRACE}-{SPAN}-1-{PARENT}"), format!("{TRACE}/{SPAN}/1"), 0),
            (format!("{TRACE}-{SPAN}-d"), format!("{TRACE}/{SPAN}/1"), 0),
            (format!("{TRACE}-{SPAN}-0"), format!("{TRACE}/{SPAN}/0"), 0),
            (format!("{TRACE}-{SPAN}"), format!("{TRACE}/{SPAN}/0"), 0),
            (format!("{SPAN}-{SPAN}-1"), format!("0000000000000000{SPAN}/{SPAN}/1"), 0),
            ("0".to_owned(), "none".to_owned(), 0),
            ("1".to_owned(), "none".to_owned(), 0),
            ("d".to_owned(), "none".to_owned(), 0),
            ("2".to_owned(), "none".to_owned(), 1),
            (String::new(), "none".to_owned(), 1),
            (TRACE.to_owned(), "none".to_owned(), 1),
            (format!("{TRACE}-{SPAN}-"), "none".to_owned(), 1),
            (format!("{TRACE}-{SPAN}-x"), "none".to_owned(), 1),
            (format!("{TRACE}-{SPAN}-1-"), "none".to_owned(), 1),
            (format!("{TRACE}-{SPAN}-1-{PARENT}-"), "none".to_owned(), 1),
            (format!("{TRACE}-{SPAN}-{PARENT}"), "none".to_owned(), 1),
            (format!("{}-{SPAN}-1", &TRACE[1..]), "none".to_owned(), 1),
            (format!("{}-{SPAN}-1", TRACE.to_uppercase()), "none".to_owned(), 1),
            (format!("{TRACE}-0000000000000000-1"), "none".to_owned(), 1),
        ] {
            assert_eq!(read(&[("b3", &value)]), (want, damaged), "{value}");
        }
    }

    #[test]
    fn several_headers() {
        let both = [("X-B3-TraceId", TRACE), ("X-B3-SpanId", SPAN)];
        let trace = || format!("{TRACE}/{SPAN}");
        let none = || "none".to_owned();
        for (more, want, damaged) in [
            (&[][..], trace() + "/0", 0),
            (&[("X-B3-ParentSpanId", PARENT), ("X-B3-Sampled", "1")], trace() + "/1", 0),
            (&[("x-b3-sampled", "true")], trace() + "/1", 0),
            (&[("x-b3-sampled", "false")], trace() + "/0", 0),
            (&[("x-b3-flags", "1")], trace() + "/1", 0),
            (&[("x-b3-flags", "0")], trace() + "/0", 0),
            (&[("x-b3-sampled", "yes")], none(), 1),
            (&[("x-b3-parentspanid", "5e3")], none(), 1),
            (&[("x-b3-spanid", PARENT)], none(), 1),
        ] {
            assert_eq!(read(&[&both, more].concat()), (want, damaged), "{more:?}");
        }
        for (alone, damaged) in
            [(("x-b3-sampled", "0"), 0), (("x-b3-flags", "1"), 0), (both[0], 1), (both[1], 1)]
        {
            assert_eq!(read(&[alone]), (none(), damaged), "{alone:?}");
        }
    }
}
