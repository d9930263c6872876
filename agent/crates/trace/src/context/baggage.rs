//! `baggage` (<https://www.w3.org/TR/baggage/>): what a caller hands down, named but without meaning to the probe.

/// Most entries and bytes (section 3.3.2).
const MAX_ENTRIES: usize = 64;
const MAX_BYTES: usize = 8192;

/// The entries of one or several headers, with their properties. `None`: damaged, or more than anyone has to hand on.
pub(super) fn entries<'a>(values: impl Iterator<Item = &'a str>) -> Option<Vec<&'a str>> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    for entry in values.flat_map(|value| value.split(',')) {
        let entry = entry.trim_matches([' ', '\t']);
        bytes += entry.len() + 1;
        if !is_entry(entry) || entries.len() >= MAX_ENTRIES || bytes > MAX_BYTES + 1 {
            return None;
        }
        entries.push(entry);
    }
    Some(entries)
}

/// `key = value`, then `; key = value` or `; key` any number of times (section 3.3.1).
fn is_entry(entry: &str) -> bool {
    let mut parts = entry.split(';').map(|part| part.trim_matches([' ', '\t']));
    let is_pair = |part: &str| {
        part.split_once('=').is_some_and(|(key, value)| {
            is_token(key.trim_end_matches([' ', '\t'])) && is_value(value.trim_start_matches([' ', '\t']))
        })
    };
    parts.next().is_some_and(is_pair) && parts.all(|property| is_pair(property) || is_token(property))
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Printable, but no space, quote, comma, semicolon or backslash.
fn is_value(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<String> {
        entries(values.iter().copied()).map(|entries| entries.join("|"))
    }

    #[test]
    fn values() {
        for (value, want) in [
            (
                "key1=value1,key2 = value2; property1; p2 = v2",
                "key1=value1|key2 = value2; property1; p2 = v2",
            ),
            ("userId=Am%C3%A9lie, isProduction=false", "userId=Am%C3%A9lie|isProduction=false"),
            ("empty=", "empty="),
            ("a=b=c", "a=b=c"),
        ] {
            assert_eq!(read(&[value]).as_deref(), Some(want));
        }
        assert_eq!(read(&["a=1", "b=2"]).as_deref(), Some("a=1|b=2"));
        for damaged in
            ["", "a", "=1", "a=1,", "a=\"b\"", "a=b c", "a b=c", "a=1;", "a=1;=2", "a=\u{e9}", "a=\\"]
        {
            assert_eq!(read(&[damaged]), None, "{damaged}");
        }
    }

    #[test]
    fn there_is_a_limit() {
        let many = ["a=1"; 65].join(",");
        assert_eq!(read(&[&many[4..]]).map(|text| text.len()), Some(64 * 4 - 1));
        assert_eq!(read(&[&many]), None);
        let long = format!("a={}", "v".repeat(8190));
        assert_eq!(read(&[&long]), Some(long.clone()));
        assert_eq!(read(&[&(long + "v")]), None);
    }
}
