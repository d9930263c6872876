//! `uber-trace-id` (<https://www.jaegertracing.io/docs/1.76/architecture/sdks/#propagation-format>).

use model::TraceId;

use super::fields::{Fields, UBER_TRACE_ID};
use super::id::{self, SPAN_DIGITS, TRACE_DIGITS};
use super::{Incoming, Reading};
use crate::text::percent_decode;

/// Bits of the flags.
const SAMPLED: u8 = 1;
const DEBUG: u8 = 2;

/// `{trace}:{span}:{parent}:{flags}`, in hexadecimal digits, of which leading zeros may be left out. Some clients
/// escape the colons.
pub(super) fn uber_trace_id(fields: &Fields<'_>) -> Reading {
    Reading::of(fields.get(UBER_TRACE_ID), |value| {
        let value = percent_decode(value);
        let mut parts = value.split(':');
        let (trace_id, span_id) = (parts.next()?, parts.next()?);
        let (parent, flags) = (parts.next()?, parts.next()?);
        let is_hex = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        // The parent's parent is out of use; 0 stands for none.
        (parts.next().is_none() && is_hex(parent, SPAN_DIGITS) && is_hex(flags, 2)).then_some(())?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        let trace_id = TraceId(id::padded_hex(trace_id, TRACE_DIGITS)?.into());
        let span_id = id::padded_hex(span_id, SPAN_DIGITS)?;
        Some(Incoming::new(trace_id, Some(span_id.into()), flags & (SAMPLED | DEBUG) != 0))
    })
}

#[cfg(test)]
mod tests {
    use crate::context::tests::read;

    #[test]
    fn values() {
        let short = "0000000000000000269daf90c4589ce1/5c44cd976d8f8cd9";
        for (value, want) in [
            ("269daf90c4589ce1:5c44cd976d8f8cd9:39e8e549de678267:1", format!("{short}/1")),
            ("269daf90c4589ce1:5c44cd976d8f8cd9:0:01", format!("{short}/1")),
            ("269daf90c4589ce1%3A5c44cd976d8f8cd9%3a0%3A0", format!("{short}/0")),
            ("269DAF90C4589CE1:5C44CD976D8F8CD9:0:3", format!("{short}/1")),
            ("269daf90c4589ce1:5c44cd976d8f8cd9:0:4", format!("{short}/0")),
            (
                "4bf92f3577b34da6a3ce929d0e0e4736:f067aa0ba902b7:0:2",
                "4bf92f3577b34da6a3ce929d0e0e4736/00f067aa0ba902b7/1".to_owned(),
            ),
        ] {
            assert_eq!(read(&[("Uber-Trace-Id", value)]), (want, 0), "{value}");
        }
        for value in [
            "",
            "1",
            "1:1",
            "1:1:0",
            "1:1:0:",
            "1:1::1",
            "0:1:0:1",
            "1:0:0:1",
            "1:1:0:100",
            "1:1:0:1:1",
            "x:1:0:1",
            "1:1:g:1",
            "1:1:0:0x1",
            "11111111111111111:22222222222222222:0:1",
            "4bf92f3577b34da6a3ce929d0e0e47361:1:0:1",
        ] {
            assert_eq!(read(&[("uber-trace-id", value)]), ("none".to_owned(), 1), "{value}");
        }
    }
}
