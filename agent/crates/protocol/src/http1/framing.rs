//! What follows a head (RFC 9112 section 6.3). Decides from the fields alone; the sides add what method and
//! status say.

use super::Headers;

const CONTENT_LENGTH: &str = "content-length";
const TRANSFER_ENCODING: &str = "transfer-encoding";

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing: the message ends with its head.
    None,
    /// So many bytes; more than 0.
    Counted(u64),
    /// Chunks, up to the last one and its trailers.
    Chunked,
    /// All that comes until the stream ends.
    UntilClose,
    /// The head was cut off before a field that could tell.
    Unknown,
    /// Nobody can tell: the fields contradict each other.
    Unframeable,
    /// Another protocol.
    Switched,
}

/// How the fields frame the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// They say nothing.
    Unsaid,
    /// Content-Length.
    Counted(u64),
    /// Transfer-Encoding with `chunked` last; wins over Content-Length.
    Chunked,
    /// Transfer-Encoding with another coding last.
    OtherCoding,
    /// Content-Length that is no number, or several that differ.
    Invalid,
}

/// Reads Transfer-Encoding and Content-Length. `identity` alone (RFC 2616) counts as no coding.
pub(super) fn length(headers: &Headers) -> Length {
    // Most heads say it once, or not at all.
    let mut framing = headers.iter().filter(|(name, _)| is_framing(name.as_bytes()));
    match (framing.next(), framing.next()) {
        (None, _) => Length::Unsaid,
        (Some((name, value)), None) if name.len() == CONTENT_LENGTH.len() => counted([value].into_iter()),
        _ => of_all(headers),
    }
}

/// Whether a field of this name frames the message.
pub(super) fn is_framing(name: &[u8]) -> bool {
    [CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn of_all(headers: &Headers) -> Length {
    let coding = headers.all(TRANSFER_ENCODING).flat_map(|value| value.split(',')).map(str::trim);
    match coding.filter(|coding| !coding.is_empty()).last() {
        Some(last) if last.eq_ignore_ascii_case("chunked") => Length::Chunked,
        Some(last) if !last.eq_ignore_ascii_case("identity") => Length::OtherCoding,
        _ => counted(headers.all(CONTENT_LENGTH)),
    }
}

/// By every Content-Length.
fn counted<'a>(values: impl Iterator<Item = &'a str>) -> Length {
    let mut length = Length::Unsaid;
    for value in values.flat_map(|value| value.split(',')).map(str::trim) {
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let Some(bytes) = value.parse().ok().filter(|_| digits) else { return Length::Invalid };
        if !matches!(length, Length::Unsaid) && length != Length::Counted(bytes) {
            return Length::Invalid;
        }
        length = Length::Counted(bytes);
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_framing_fields() {
        let cases: &[(&[(&str, &str)], Length)] = &[
            (&[], Length::Unsaid),
            (&[("Content-Length", "0")], Length::Counted(0)),
            (&[("content-length", "18446744073709551615")], Length::Counted(u64::MAX)),
            (&[("content-length", "18446744073709551616")], Length::Invalid),
            (&[("Content-Length", "5, 5"), ("content-length", "5")], Length::Counted(5)),
            (&[("Content-Length", "5"), ("Content-Length", "6")], Length::Invalid),
            (&[("Content-Length", "+5")], Length::Invalid),
            (&[("Content-Length", "")], Length::Invalid),
            (&[("Content-Length", "5,")], Length::Invalid),
            (&[("Content-Length", "0x10")], Length::Invalid),
            (&[("Transfer-Encoding", "chunked")], Length::Chunked),
            (&[("Content-Length", "5"), ("transfer-encoding", "Gzip, CHUNKED")], Length::Chunked),
            (&[("Transfer-Encoding", "gzip"), ("Transfer-Encoding", "chunked")], Length::Chunked),
            (&[("Transfer-Encoding", "chunked, gzip")], Length::OtherCoding),
            (&[("Transfer-Encoding", "xchunked")], Length::OtherCoding),
            (&[("Transfer-Encoding", "identity"), ("Content-Length", "3")], Length::Counted(3)),
            (&[("Transfer-Encoding", "")], Length::Unsaid),
        ];
        for (fields, expected) in cases {
            assert_eq!(length(&fields.iter().copied().collect()), *expected, "{fields:?}");
        }
    }
}
