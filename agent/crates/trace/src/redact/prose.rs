//! Secrets in running text: messages of exceptions and the like.
//!
//! Invariant: linear in the text. A value goes that is written behind a secret name (`password=x`, `"token": "x"`),
//! behind the name of an authentication scheme, or between `://` and `@`.

use super::{HIDDEN, Redactor};

/// RFC 7235 schemes after which credentials stand.
const SCHEMES: [&str; 3] = ["basic", "bearer", "digest"];

impl Redactor {
    /// A text as it may be shown.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if !is_name(first) {
                let passed = if rest.starts_with("://") { "://" } else { &rest[..first.len_utf8()] };
                shown.push_str(passed);
                rest = &rest[passed.len()..];
                if passed == "://" {
                    rest = without_user(rest, &mut shown);
                }
                continue;
            }
            let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
            shown.push_str(name);
            rest = &rest[name.len()..];
            if SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(name)) && rest.starts_with(' ') {
                rest = hide(rest, " ", &mut shown);
            } else if let Some(sign) = assignment(rest)
                && self.is_secret_key(name)
                && !is_type(name, &shown)
            {
                rest = hide(rest, sign, &mut shown);
            }
        }
        shown
    }
}

/// The last line of a stack trace, `jwt.TokenError: expired`, begins with a type's name: what follows is its message.
/// `shown`: the text up to the name's end.
fn is_type(name: &str, shown: &str) -> bool {
    let before = shown[..shown.len() - name.len()].chars().next_back();
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && (before == Some('.') || ["Error", "Exception", "Warning"].iter().any(|end| name.ends_with(end)))
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

/// What stands between a name and its value: `=`, `: `, `': '`, `" => "` without the value's own quote.
fn assignment(rest: &str) -> Option<&str> {
    let behind = rest.trim_start_matches(['\'', '"', ']']);
    let behind = behind.trim_start_matches(' ');
    let sign = ["=>", "=", ":"].into_iter().find(|sign| behind.starts_with(sign))?;
    let value = behind[sign.len()..].trim_start_matches(' ');
    // Not the `::` or `://` of other things.
    let is_value = !value.is_empty() && !value.starts_with([':', '/', '\n']);
    is_value.then(|| &rest[..rest.len() - value.len()])
}

/// Copies `sign`, hides the value behind it, and gives what follows.
fn hide<'a>(rest: &'a str, sign: &str, shown: &mut String) -> &'a str {
    shown.push_str(sign);
    let mut value = &rest[sign.len()..];
    if let Some(quote) = value.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        shown.push(quote);
        shown.push_str(HIDDEN);
        let inside = &value[1..];
        return inside.find(quote).map_or("", |end| &inside[end..]);
    }
    // The scheme is no secret, and the secret stands behind it.
    let word = &value[..end_of_word(value)];
    if SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(word)) && value[word.len()..].starts_with(' ')
    {
        shown.push_str(word);
        shown.push(' ');
        value = &value[word.len() + 1..];
    }
    let end = end_of_word(value);
    shown.push_str(if end > 0 { HIDDEN } else { "" });
    &value[end..]
}

fn end_of_word(text: &str) -> usize {
    text.find(|c: char| c.is_whitespace() || "&;,)]}'\"<>".contains(c)).unwrap_or(text.len())
}

/// Hides `user:password` before an authority's `@`, and gives what follows.
fn without_user<'a>(rest: &'a str, shown: &mut String) -> &'a str {
    let authority =
        &rest[..rest.find(|c: char| c.is_whitespace() || "/?#'\"<>".contains(c)).unwrap_or(rest.len())];
    match authority.rfind('@') {
        Some(at) => {
            shown.push_str(HIDDEN);
            &rest[at..]
        }
        None => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_prose_are_hidden() {
        for (text, want) in [
            ("out of stock", "out of stock"),
            ("password=hunter2 is wrong", "password=*** is wrong"),
            ("login(user='a', password='hunter 2')", "login(user='a', password='***')"),
            ("{'token': 'abc', 'n': 1}", "{'token': '***', 'n': 1}"),
            ("{\"api_key\": \"abc\"}", "{\"api_key\": \"***\"}"),
            ("Authorization: Bearer abc.def-1", "Authorization: Bearer ***"),
            ("sent Bearer abc, refused", "sent Bearer ***, refused"),
            ("redis://:pa55@cache:6379/0 is down", "redis://***@cache:6379/0 is down"),
            ("http://u:p@h/a?token=1&x=2", "http://***@h/a?token=***&x=2"),
            ("http://h/a@b", "http://h/a@b"),
            ("secret=", "secret="),
            ("password='never closed", "password='***"),
            ("std::token::Stream", "std::token::Stream"),
            ("max_tokens=5, monkey=1", "max_tokens=5, monkey=1"),
            ("KeyError: 'name'", "KeyError: 'name'"),
            (
                "File \"/srv/token/a.py\", line 3, in password",
                "File \"/srv/token/a.py\", line 3, in password",
            ),
            ("\u{5bc6}\u{7801} token=\u{5bc6} x", "\u{5bc6}\u{7801} token=*** x"),
            ("password:\nnext", "password:\nnext"),
            ("jwt.ExpiredSignature: too late", "jwt.ExpiredSignature: too late"),
            ("SessionError: no token=1", "SessionError: no token=***"),
            ("Token: abc", "Token: ***"),
        ] {
            assert_eq!(Redactor::default().text(text), want, "{text}");
        }
    }
}
