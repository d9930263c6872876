//! Small rules of the server: wildcards, versions, times.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Whether `name` matches `pattern` as a whole, ignoring case: `*` is any run, `?` any one character.
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let (mut at_pattern, mut at_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at_name < name.len() {
        match pattern.get(at_pattern) {
            Some('*') => {
                star = Some((at_pattern, at_name));
                at_pattern += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == name[at_name] => {
                at_pattern += 1;
                at_name += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at_pattern = star_at + 1;
                at_name = taken + 1;
            }
        }
    }
    pattern[at_pattern..].iter().all(|&rest| rest == '*')
}

/// A version as .NET's `System.Version` reads it: 2 to 4 numbers from 0 to 2^31-1, compared in order
/// (an absent part is below 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([i64; 4]);

impl Version {
    /// The version, or .NET's message why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('.').collect();
        if !(2..=4).contains(&parts.len()) {
            return Err("Version string portion was too short or too long. (Parameter 'input')".to_owned());
        }
        let mut numbers = [-1; 4];
        for (number, part) in numbers.iter_mut().zip(parts) {
            let value: i32 = part
                .trim()
                .parse()
                .map_err(|_| format!("The input string '{part}' was not in a correct format."))?;
            if value < 0 {
                return Err("Version's parameters must be greater than or equal to zero.".to_owned());
            }
            *number = value.into();
        }
        Ok(Self(numbers))
    }
}

/// Unix milliseconds now.
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// `yyyy-MM-dd HH:mm:ss` in the server's own time zone.
pub fn local_text(unix_ms: i64) -> String {
    zoned(unix_ms, TimeZone::system(), "%Y-%m-%d %H:%M:%S")
}

/// `yyyy-MM-ddTHH:mm:ssZ`.
pub fn utc_text(unix_ms: i64) -> String {
    zoned(unix_ms, TimeZone::UTC, "%Y-%m-%dT%H:%M:%SZ")
}

fn zoned(unix_ms: i64, zone: TimeZone, format: &str) -> String {
    let at = Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    at.to_zoned(zone).strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/health", "/health", true)]
    #[case("/health", "/Health", true)]
    #[case("/health", "/healthz", false)]
    #[case("/health", "/a/health", false)]
    #[case("/health*", "/healthz", true)]
    #[case("*health*", "/a/health/b", true)]
    #[case("*/b", "/a/b/b", true)]
    #[case("/a?", "/ab", true)]
    #[case("/a?", "/a", false)]
    #[case("*", "", true)]
    #[case("**a", "bba", true)]
    #[case("", "a", false)]
    fn wildcards_match_whole_names(#[case] pattern: &str, #[case] name: &str, #[case] expected: bool) {
        assert_eq!(matches(pattern, name), expected);
    }

    #[rstest]
    #[case("1.2", true)]
    #[case("1.2.3.4", true)]
    #[case("1.0.0-beta", false)]
    #[case("v1", false)]
    #[case("1", false)]
    #[case("1.2.3.4.5", false)]
    #[case("1.-2", false)]
    #[case("1.99999999999", false)]
    #[case("", false)]
    fn versions_parse(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(Version::parse(text).is_ok(), expected);
    }

    #[test]
    fn versions_compare() {
        assert!(Version::parse("1.10") > Version::parse("1.9.9"));
        assert!(Version::parse("1.2.0") > Version::parse("1.2"));
    }

    #[test]
    fn times_are_written_as_the_server_writes_them() {
        assert_eq!(utc_text(1_754_100_000_000), "2025-08-02T02:00:00Z");
        assert_eq!(local_text(1_754_100_000_000).len(), "2025-08-02 02:00:00".len());
    }
}
