//! A command line that can be shown: arguments joined, secrets removed.
//!
//! Invariant: a value that follows a name that sounds secret is never shown. A harmless value may be lost.

const MASK: &str = "***";
/// A longer line is cut.
const MAX_CHARS: usize = 2048;
/// Parts of names whose values are secrets, without `-` and `_`.
const SECRET_WORDS: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "authkey",
    "privatekey",
    "credential",
    "authorization",
    "cookie",
];
/// Ends of names that hold a place, not a secret: `--ssl-key-password-file`.
const PLACE_WORDS: [&str; 5] = ["file", "path", "dir", "name", "url"];

/// Joins arguments by a space; secrets become `***`, control characters a space.
pub(super) fn redacted(arguments: &[String]) -> String {
    let mut line = words(arguments.iter().map(String::as_str));
    if let Some((end, _)) = line.char_indices().nth(MAX_CHARS) {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn words<'a>(arguments: impl Iterator<Item = &'a str>) -> String {
    let mut line = String::new();
    let mut secret_next = false;
    for argument in arguments {
        let argument = argument.trim();
        if argument.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        if secret_next && !argument.starts_with("--") {
            line.push_str(MASK);
            // `Authorization: Bearer TOKEN` in words: the scheme is not the secret yet.
            secret_next = ["bearer", "basic"].contains(&argument.to_ascii_lowercase().as_str());
            continue;
        }
        secret_next = push(argument, &mut line);
    }
    line
}

/// Appends one argument; whether the next one is its secret value.
fn push(argument: &str, line: &mut String) -> bool {
    if argument.contains(char::is_whitespace) {
        line.push_str(&words(argument.split_whitespace()));
        return false;
    }
    if let Some((name, value)) = argument.split_once(['=', ':'])
        && sounds_secret(name)
    {
        line.push_str(name);
        line.push_str(&argument[name.len()..=name.len()]);
        line.push_str(if value.is_empty() { "" } else { MASK });
        return value.is_empty();
    }
    let shown = without_query_secrets(&without_user_info(argument));
    line.extend(shown.chars().map(|c| if c.is_control() { ' ' } else { c }));
    argument.starts_with('-') && !argument.contains('=') && sounds_secret(argument)
}

fn sounds_secret(name: &str) -> bool {
    // A URL or path is no name.
    if name.contains(['/', '?', '&']) {
        return false;
    }
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    SECRET_WORDS.iter().any(|word| plain.contains(word))
        && !PLACE_WORDS.iter().any(|word| plain.ends_with(word))
}

/// `scheme://user:password@host` becomes `scheme://***@host`.
fn without_user_info(argument: &str) -> String {
    let mut shown = String::with_capacity(argument.len());
    let mut rest = argument;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let authority = &after[..after.find(['/', '?', '#', ',', '"', '\'']).unwrap_or(after.len())];
        rest = after;
        if let Some(end) = authority.rfind('@') {
            shown.push_str(MASK);
            rest = &after[end..];
        }
    }
    shown.push_str(rest);
    shown
}

/// `?token=x&a=b` becomes `?token=***&a=b`.
fn without_query_secrets(argument: &str) -> String {
    let Some((path, query)) = argument.split_once('?') else { return argument.to_owned() };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if sounds_secret(name) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    });
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_removed_and_the_rest_stays() {
        let cases: [(&[&str], &str); 20] = [
            (&["gunicorn", "-w", "4", "shop.wsgi:app"], "gunicorn -w 4 shop.wsgi:app"),
            (&["x", "--password", "hush", "y"], "x --password *** y"),
            (&["x", "--password", "-hush"], "x --password ***"),
            (&["x", "--password", "--verbose"], "x --password --verbose"),
            (&["x", "--password=hush"], "x --password=***"),
            (&["x", "--DB_PASSWORD=hush"], "x --DB_PASSWORD=***"),
            (&["env", "AWS_SECRET_ACCESS_KEY=hush", "x"], "env AWS_SECRET_ACCESS_KEY=*** x"),
            (&["x", "--api-key", "hush"], "x --api-key ***"),
            (&["x", "--token-file", "/run/token"], "x --token-file /run/token"),
            (&["x", "--keyfile", "/run/key.pem"], "x --keyfile /run/key.pem"),
            (&["x", "postgres://u:hu@sh@db:5432/shop"], "x postgres://***@db:5432/shop"),
            (&["x", "--db=redis://:hush@r/0,redis://:hush@s/0"], "x --db=redis://***@r/0,redis://***@s/0"),
            (&["x", "http://h/p?a=b&access_token=hush&c"], "x http://h/p?a=b&access_token=***&c"),
            (&["x", "http://h/a@b"], "x http://h/a@b"),
            (&["curl", "-H", "Authorization: Bearer hush"], "curl -H Authorization: *** ***"),
            (&["curl", "-H", "Cookie:sid=hush"], "curl -H Cookie:***"),
            (&["gunicorn: master [shop]"], "gunicorn: master [shop]"),
            (&["sh", "-c", "x --secret hush y"], "sh -c x --secret *** y"),
            (&["x", "a\u{1b}[31mb"], "x a [31mb"),
            (&[], ""),
        ];
        for (arguments, expected) in cases {
            let arguments: Vec<String> = arguments.iter().map(|&a| a.to_owned()).collect();
            assert_eq!(redacted(&arguments), expected);
        }
    }

    #[test]
    fn a_long_line_is_cut() {
        let line = redacted(&vec!["ä".to_owned(); 5000]);
        assert_eq!(line.chars().count(), MAX_CHARS + 1);
    }
}
