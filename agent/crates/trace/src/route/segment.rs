//! A path's parts that are values, not places, become placeholders. Invariant: the template of any path is
//! at most [`MAX_SEGMENTS`] parts of at most [`MAX_CHARS`] characters.
//!
//! `{id}` digits only; `{uuid}` 8-4-4-4-12 hex digits; `{hash}` 16 and more hex digits with a decimal one
//! among them; `{date}` `2024-05-01`, with or without a time; `{email}`; `{token}` what was made by a
//! machine: a JSON web token, base64 with padding, 24 and more letters and digits with two digits, 16 and
//! more if both cases are mixed, anything longer than 64 characters, and what is not readable text.

use crate::text::percent_decode;

/// Deeper paths end in one `{*}`.
const MAX_SEGMENTS: usize = 12;
/// A longer segment is no word.
const MAX_CHARS: usize = 64;

/// The template of a path (without query). Empty segments go, but the last: `/users/` is not `/users`.
pub(crate) fn template(path: &str) -> String {
    let mut template = String::with_capacity(path.len());
    let mut count = 0;
    let mut segments = path.split('/').skip(usize::from(path.starts_with('/'))).peekable();
    while let Some(segment) = segments.next() {
        // `;jsessionid=...` and its like belong to one client.
        let segment = segment.split(';').next().unwrap_or("");
        if segment.is_empty() && segments.peek().is_some() {
            continue;
        }
        template.push('/');
        if count == MAX_SEGMENTS {
            template.push_str("{*}");
            break;
        }
        template.push_str(placeholder(&percent_decode(segment)).unwrap_or(segment));
        count += 1;
    }
    template
}

/// What stands in the place of a decoded segment that is a value.
fn placeholder(text: &str) -> Option<&'static str> {
    let len = text.len();
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if digits == len && len > 0 {
        return Some("{id}");
    }
    if len > MAX_CHARS || text.contains(|c: char| c.is_control() || matches!(c, '{' | '}' | '/' | '\u{fffd}'))
    {
        return Some("{token}");
    }
    if is_uuid(text) {
        Some("{uuid}")
    } else if digits > 0 && len >= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Some("{hash}")
    } else if is_date(text) {
        Some("{date}")
    } else if is_email(text) {
        Some("{email}")
    } else if is_token(text, digits) {
        Some("{token}")
    } else {
        None
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((date, time)) = bytes.split_at_checked(10) else { return false };
    date.iter().enumerate().all(|(at, byte)| match at {
        4 | 7 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    }) && time.iter().all(|byte| byte.is_ascii_digit() || b"Tt:.+-Zz ".contains(byte))
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(user, domain)| {
        !user.is_empty()
            && !domain.contains('@')
            && domain.split_once('.').is_some_and(|(name, rest)| !name.is_empty() && !rest.is_empty())
    })
}

fn is_token(text: &str, digits: usize) -> bool {
    let len = text.len();
    let machine_made = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+=.~:".contains(&byte);
    if !text.bytes().all(machine_made) {
        return false;
    }
    let upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
    let lower = text.bytes().any(|byte| byte.is_ascii_lowercase());
    let web_token = text.starts_with("eyJ") && text.split('.').count() == 3;
    web_token
        || len >= 8 && text.ends_with('=') && !text.trim_end_matches('=').contains('=')
        || len >= 24 && (upper || lower) && digits >= 2
        || len >= 16 && upper && lower && digits >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        for (path, want) in [
            ("/", "/"),
            ("", "/"),
            ("/users", "/users"),
            ("/users/", "/users/"),
            ("//users///7", "/users/{id}"),
            ("/api/v1/users/42/orders/7", "/api/v1/users/{id}/orders/{id}"),
            ("/oauth2/api2/index.html", "/oauth2/api2/index.html"),
            ("/o/123e4567-e89b-12d3-a456-426614174000", "/o/{uuid}"),
            ("/o/123E4567-E89B-12D3-A456-426614174000/x", "/o/{uuid}/x"),
            ("/b/507f1f77bcf86cd799439011", "/b/{hash}"),
            ("/b/da39a3ee5e6b4b0d3255bfef95601890afd80709", "/b/{hash}"),
            ("/b/deadbeef", "/b/deadbeef"),
            ("/d/2024-05-01", "/d/{date}"),
            ("/d/2024-05-01T10:20:30Z", "/d/{date}"),
            ("/d/2024/05", "/d/{id}/{id}"),
            ("/m/jane.doe%40example.org", "/m/{email}"),
            ("/m/jane@example.org/edit", "/m/{email}/edit"),
            ("/@jane", "/@jane"),
            ("/t/V1StGXR8_Z5jdHi6B-myT", "/t/{token}"),
            ("/t/eyJhbGciOi.eyJzdWIi.c2ln", "/t/{token}"),
            ("/t/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/t/{token}"),
            ("/t/aGVsbG8gd29ybGQ=", "/t/{token}"),
            ("/t/a%00b", "/t/{token}"),
            ("/t/%ff", "/t/{token}"),
            ("/t/{id}", "/t/{token}"),
            ("/how-to-write-a-good-blog-post", "/how-to-write-a-good-blog-post"),
            ("/wiki/%E4%B8%AD", "/wiki/%E4%B8%AD"),
            ("/cart;jsessionid=AB12/view", "/cart/view"),
            ("/1/2/3/4/5/6/7/8/9/a/b/c/d/e", "/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/a/b/c/{*}"),
        ] {
            assert_eq!(template(path), want, "{path}");
        }
        assert_eq!(template(&format!("/{}", "x".repeat(65))), "/{token}");
    }
}
