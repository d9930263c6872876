//! Takes secrets out of targets, headers and prose. Invariant: what leaves here holds no value whose name looks
//! secret; when in doubt the value goes.
//!
//! A name is secret if one of its words (split at anything but letters and digits, and at `aB`) is one of
//! [`SECRET_WORDS`], if all of it is one of [`SECRET_NAMES`], or if it ends with one of [`SECRET_ENDINGS`]
//! when written together. `code` is secret where `state` stands beside it: together they are an OAuth
//! redirect (RFC 6749 section 4.1.2).

mod prose;

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::pattern::Pattern;
use crate::text::percent_decode;

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

const SECRET_WORDS: &[&str] = &[
    "apikey",
    "auth",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "credentials",
    "csrf",
    "jwt",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "secret",
    "session",
    "sessionid",
    "sig",
    "signature",
    "token",
    "xsrf",
];
const SECRET_NAMES: &[&str] = &["key", "otp", "pass", "sid"];
const SECRET_ENDINGS: &[&str] = &[
    "accesskey",
    "accesskeyid",
    "apikey",
    "authkey",
    "credential",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "secretkey",
    "sessid",
    "sessionid",
    "signature",
    "token",
];
/// Parts of header names (written together) that make the value secret.
const SECRET_HEADER_PARTS: &[&str] = &[
    "authorization",
    "cookie",
    "apikey",
    "token",
    "secret",
    "password",
    "session",
    "credential",
    "signature",
];

/// Knows which names are secret.
#[derive(Debug, Default)]
pub(crate) struct Redactor {
    /// More headers than the built-in ones.
    pub(crate) headers: Vec<Pattern>,
    /// More query keys than the built-in ones.
    pub(crate) query: Vec<Pattern>,
}

impl Redactor {
    /// The value of a header as it may be shown.
    pub(crate) fn header<'a>(&self, name: &str, value: &'a str) -> &'a str {
        let together = together(name);
        let secret = SECRET_HEADER_PARTS.iter().any(|part| together.contains(part))
            || self.headers.iter().any(|pattern| pattern.matches(name));
        if secret { HIDDEN } else { value }
    }

    /// A target as it may be shown: secret values in the query, and in `;key=value` of the path, replaced.
    pub(crate) fn target<'a>(&self, target: &'a str) -> Cow<'a, str> {
        if !target.contains(['?', '#', ';']) {
            return Cow::Borrowed(target);
        }
        let (path, query) = match target.find(['?', '#']) {
            Some(at) => target.split_at(at),
            None => (target, ""),
        };
        let mut shown = String::with_capacity(target.len());
        if path.contains(';') {
            self.write_pairs(path, false, &mut shown);
        } else {
            shown.push_str(path);
        }
        let redirect = has_key(query, "code") && has_key(query, "state");
        self.write_pairs(query, redirect, &mut shown);
        Cow::Owned(shown)
    }

    /// `key=value;key=value` as it may be shown.
    pub(crate) fn pairs(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        self.write_pairs(text, false, &mut shown);
        shown
    }

    /// Writes `text` with the secret values of its pairs replaced. `redirect`: `code` is secret too.
    fn write_pairs(&self, text: &str, redirect: bool, shown: &mut String) {
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(is_separator).unwrap_or(rest.len());
            let (pair, behind) = rest.split_at(end);
            match pair.split_once('=') {
                Some((key, value)) if !value.is_empty() && self.is_secret_pair(key, value, redirect) => {
                    // Writing into a String cannot fail.
                    let _ = write!(shown, "{key}={HIDDEN}");
                }
                _ => shown.push_str(pair),
            }
            let separator = behind.chars().next().map_or(0, char::len_utf8);
            shown.push_str(&behind[..separator]);
            rest = &behind[separator..];
        }
    }

    fn is_secret_pair(&self, key: &str, value: &str, redirect: bool) -> bool {
        let key = percent_decode(key);
        if redirect && key.eq_ignore_ascii_case("code") || self.is_secret_key(&key) {
            return true;
        }
        // A whole address may be the value of a pair: `next=%2Flogin%3Ftoken%3Dx`.
        let value = percent_decode(value);
        value.contains('=')
            && value
                .split(is_separator)
                .filter_map(|pair| pair.split_once('='))
                .any(|(key, value)| !value.is_empty() && self.is_secret_key(&percent_decode(key)))
    }

    fn is_secret_key(&self, key: &str) -> bool {
        let together = together(key);
        SECRET_NAMES.contains(&together.as_str())
            || SECRET_ENDINGS.iter().any(|ending| together.ends_with(ending))
            || has_secret_word(key)
            || self.query.iter().any(|pattern| pattern.matches(key))
    }
}

fn is_separator(c: char) -> bool {
    matches!(c, '?' | '&' | ';' | '#')
}

fn has_key(query: &str, wanted: &str) -> bool {
    query
        .split(is_separator)
        .filter_map(|pair| pair.split_once('='))
        .any(|(key, _)| percent_decode(key).eq_ignore_ascii_case(wanted))
}

/// Lower case, letters and digits only.
fn together(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn has_secret_word(name: &str) -> bool {
    let is_word = |word: &str| SECRET_WORDS.iter().any(|secret| word.eq_ignore_ascii_case(secret));
    let mut start = 0;
    let mut before = ' ';
    for (at, c) in name.char_indices() {
        let hump = before.is_ascii_lowercase() && c.is_ascii_uppercase();
        if hump || !c.is_ascii_alphanumeric() {
            if is_word(&name[start..at]) {
                return true;
            }
            start = if hump { at } else { at + c.len_utf8() };
        }
        before = c;
    }
    is_word(&name[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        let patterns = |texts: &[&str]| texts.iter().filter_map(|text| Pattern::parse(text)).collect();
        Redactor { headers: patterns(&["x-internal-*"]), query: patterns(&["ssn"]) }
    }

    #[test]
    fn hides_secret_query_values() {
        for (target, want) in [
            ("/", "/"),
            ("/a?", "/a?"),
            ("/a?q=1&page=2", "/a?q=1&page=2"),
            ("/a?token=abc", "/a?token=***"),
            ("/a?q=1&Password=x&z=2", "/a?q=1&Password=***&z=2"),
            ("/a?password=", "/a?password="),
            ("/a?api_key=1;secret=2", "/a?api_key=***;secret=***"),
            ("/a?x-api-key=1&apiKey=2&APIKEY=3&key=4", "/a?x-api-key=***&apiKey=***&APIKEY=***&key=***"),
            ("/a?X-Amz-Signature=ab&X-Amz-Date=1", "/a?X-Amz-Signature=***&X-Amz-Date=1"),
            (
                "/a?client_secret=1&clientSecret=2&clientsecret=3",
                "/a?client_secret=***&clientSecret=***&clientsecret=***",
            ),
            (
                "/a?access_token=1&id_token=2&refreshToken=3",
                "/a?access_token=***&id_token=***&refreshToken=***",
            ),
            ("/a?user%5Bpassword%5D=x", "/a?user%5Bpassword%5D=***"),
            ("/a?p%61ssword=x", "/a?p%61ssword=***"),
            ("/a?ssn=1", "/a?ssn=***"),
            (
                "/a?sort_key=name&monkey=1&author=me&passage=3&signal=4",
                "/a?sort_key=name&monkey=1&author=me&passage=3&signal=4",
            ),
            ("/a?max_tokens=5", "/a?max_tokens=5"),
            ("/a?code=US", "/a?code=US"),
            ("/cb?code=abc&state=xyz", "/cb?code=***&state=xyz"),
            ("/a?next=%2Flogin%3Ftoken%3Dx&y=1", "/a?next=***&y=1"),
            ("/a?next=/b?token=x", "/a?next=/b?token=***"),
            ("/a;jsessionid=12/b?x=1", "/a;jsessionid=***?x=1"),
            ("/a#access_token=1", "/a#access_token=***"),
            ("/a?tok\u{e9}n=1&\u{e9}Token=2", "/a?tok\u{e9}n=1&\u{e9}Token=***"),
        ] {
            assert_eq!(redactor().target(target), want, "{target}");
        }
    }

    #[test]
    fn hides_secret_headers() {
        for (name, hidden) in [
            ("Authorization", true),
            ("proxy-authorization", true),
            ("Cookie", true),
            ("Set-Cookie", true),
            ("X-Api-Key", true),
            ("X-Auth-Token", true),
            ("X-Client-Secret", true),
            ("X-Session-Id", true),
            ("X-Internal-User", true),
            ("Content-Type", false),
            ("X-Request-Id", false),
            ("Accept", false),
        ] {
            assert_eq!(redactor().header(name, "v") == HIDDEN, hidden, "{name}");
        }
    }
}
