//! Text rules of the Stardust server: lengths, wildcards, versions, the date trap.
//!
//! Invariant: every cut is on a character boundary.

use std::borrow::Cow;

/// The first `max_chars` characters of `text`.
pub(super) fn cut(text: &str, max_chars: usize) -> &str {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// `text`, unless it begins like the server's JSON form of a date (`/Date(`), which the parser behind
/// `Trace/ReportRaw` would turn into one.
pub(super) fn not_a_date(text: Cow<'_, str>) -> Cow<'_, str> {
    match text.strip_prefix("/Date(") {
        Some(rest) => Cow::Owned(format!("/_Date({rest}")),
        None => text,
    }
}

/// Whether the whole of `text` matches `pattern` (`*` any characters, `?` one), letter case aside.
pub(super) fn matches_wildcard(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().flat_map(char::to_lowercase).collect();
    let text: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                // Back to the last star, which takes one character more.
                Some((star_p, star_t)) => {
                    star = Some((star_p, star_t + 1));
                    p = star_p + 1;
                    t = star_t + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// What of `version` .NET's `System.Version` can parse: two to four numbers. The server fails whole calls on anything
/// else once it compares versions.
pub(super) fn system_version(version: &str) -> Option<String> {
    let version = version.trim().trim_start_matches(['v', 'V']);
    let mut numbers: Vec<u32> = Vec::with_capacity(4);
    for part in version.split('.').take(4) {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        match part[..digits].parse::<u32>() {
            Ok(number) if i32::try_from(number).is_ok() => numbers.push(number),
            _ => break,
        }
        if digits < part.len() {
            // `1.2.3-rc1`, `1.2rc1`, `1+local`: the rest is no number. `3a1f` is a hash, not version 3.
            if numbers.len() == 1 && !part[digits..].starts_with(['-', '+', '_', ' ']) {
                numbers.pop();
            }
            break;
        }
    }
    if numbers.is_empty() {
        return None;
    }
    if numbers.len() == 1 {
        numbers.push(0);
    }
    Some(numbers.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_between_characters() {
        assert_eq!(cut("星尘探针", 2), "星尘");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abc", 0), "");
        assert_eq!(cut("", 5), "");
    }

    #[test]
    fn a_text_is_no_date() {
        assert_eq!(not_a_date("/Date(1)/".into()), "/_Date(1)/");
        assert_eq!(not_a_date("/Dates".into()), "/Dates");
    }

    #[test]
    fn wildcards_match_the_whole_name() {
        for (pattern, text, expected) in [
            ("/api/*", "/api/user", true),
            ("/api/*", "/x/api/user", false),
            ("*/user", "/api/User", true),
            ("/API/USER", "/api/user", true),
            ("/api", "/api/user", false),
            ("/a?c", "/abc", true),
            ("/a?c", "/ac", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c", "xxaxxbxxcxx", false),
            ("http://*", "http://h/x", true),
        ] {
            assert_eq!(matches_wildcard(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn versions_become_what_dotnet_parses() {
        for (version, expected) in [
            ("1.2.3.4", Some("1.2.3.4")),
            ("1.2", Some("1.2")),
            ("1.0.0-beta", Some("1.0.0")),
            ("v1.4.2", Some("1.4.2")),
            ("v1", Some("1.0")),
            ("1", Some("1.0")),
            ("1.2.3.4.5", Some("1.2.3.4")),
            ("2026.08.02", Some("2026.8.2")),
            ("1.2.3+git.abc", Some("1.2.3")),
            ("1.2rc1", Some("1.2")),
            ("1rc1", None),
            ("abc", None),
            ("", None),
            ("3a1f9c", None),
            ("99999999999.1", None),
            ("-1.2", None),
            ("1.2147483648", Some("1.0")),
        ] {
            assert_eq!(system_version(version).as_deref(), expected, "{version}");
        }
    }
}
