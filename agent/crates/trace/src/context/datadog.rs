//! `x-datadog-*` (<https://docs.datadoghq.com/tracing/trace_collection/trace_context_propagation/>).

use model::TraceId;

use super::fields::{DATADOG_PARENT_ID, DATADOG_PRIORITY, DATADOG_TAGS, DATADOG_TRACE_ID, Field, Fields};
use super::{Incoming, Reading};

/// The tag that has the upper half of a trace's id, in 16 hexadecimal digits.
const UPPER_HALF: &str = "_dd.p.tid=";

/// The lower half of the trace's id and the span's in decimal digits. Without a priority above 0 it is not known that
/// the trace is kept.
pub(super) fn read(fields: &Fields<'_>) -> Reading {
    let parent = match fields.get(DATADOG_PARENT_ID) {
        Field::Absent => None,
        Field::One(value) => match number(value) {
            Some(parent) => Some(format!("{parent:016x}").into()),
            None => return Reading::Damaged,
        },
        Field::Differing => return Reading::Damaged,
    };
    Reading::of(fields.get(DATADOG_TRACE_ID), |value| {
        let lower = number(value)?;
        let upper = match fields.get(DATADOG_TAGS) {
            Field::One(tags) => upper_half(tags)?,
            Field::Absent | Field::Differing => 0,
        };
        let kept = matches!(fields.get(DATADOG_PRIORITY), Field::One("1" | "2"));
        Some(Incoming::new(TraceId::from_u128(u128::from(upper) << 64 | u128::from(lower)), parent, kept))
    })
}

fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten().filter(|number| *number != 0)
}

/// `None`: it is there, and damaged.
fn upper_half(tags: &str) -> Option<u64> {
    match tags.split(',').find_map(|tag| tag.trim().strip_prefix(UPPER_HALF)) {
        None => Some(0),
        Some(digits) if digits.len() == 16 => u64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::context::tests::read;

    #[test]
    fn values() {
        let (id, parent) = ("1234567890", "9876543210");
        let short = "000000000000000000000000499602d2/000000024cb016ea";
        let long = "640cfd8d0000000000000000499602d2/000000024cb016ea";
        for (fields, want) in [
            (vec![("x-datadog-sampling-priority", "1")], format!("{short}/1")),
            (vec![("X-Datadog-Sampling-Priority", "2")], format!("{short}/1")),
            (vec![("x-datadog-sampling-priority", "0")], format!("{short}/0")),
            (vec![("x-datadog-sampling-priority", "-1")], format!("{short}/0")),
            (vec![], format!("{short}/0")),
            (vec![("x-datadog-tags", "_dd.p.dm=-1,_dd.p.tid=640cfd8d00000000")], format!("{long}/0")),
            (vec![("x-datadog-tags", "_dd.p.dm=-1")], format!("{short}/0")),
        ] {
            let mut all = vec![("x-datadog-trace-id", id), ("x-datadog-parent-id", parent)];
            all.extend(fields);
            assert_eq!(read(&all), (want, 0), "{all:?}");
        }
        let alone = "000000000000000000000000499602d2/-/0".to_owned();
        assert_eq!(read(&[("x-datadog-trace-id", id)]), (alone, 0));
    }

    #[test]
    fn damaged_values() {
        for (id, parent, tags) in [
            ("", "1", ""),
            ("0", "1", ""),
            ("18446744073709551616", "1", ""),
            ("+1", "1", ""),
            ("1f", "1", ""),
            ("1", "0", ""),
            ("1", "x", ""),
            ("1", "1", "_dd.p.tid=640c"),
            ("1", "1", "_dd.p.tid=640cfd8d0000000g"),
        ] {
            let fields =
                [("x-datadog-trace-id", id), ("x-datadog-parent-id", parent), ("x-datadog-tags", tags)];
            assert_eq!(read(&fields), ("none".to_owned(), 1), "{fields:?}");
        }
    }
}
