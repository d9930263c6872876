//! The forms of a request's target (RFC 9112 section 3.2).

/// A target, taken apart. Nothing here is redacted yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// The authority it names, without user information.
    pub(crate) authority: Option<&'a str>,
    /// What of it is shown: path and query, `*`, or CONNECT's authority.
    pub(crate) shown: &'a str,
    /// The path, if there is one.
    pub(crate) path: Option<&'a str>,
}

impl<'a> Target<'a> {
    pub(crate) fn parse(method: &str, target: &'a str) -> Self {
        if method == "CONNECT" {
            let authority = without_user(target);
            return Self { authority: Some(authority), shown: authority, path: None };
        }
        let Some((_, rest)) = target.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
            let path = target.starts_with('/').then(|| path_of(target));
            return Self { authority: None, shown: target, path };
        };
        let (authority, shown) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let shown = if shown.is_empty() { "/" } else { shown };
        Self { authority: Some(without_user(authority)), shown, path: Some(path_of(shown)) }
    }
}

/// An authority without what stands before the `@`.
pub(crate) fn without_user(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

fn path_of(shown: &str) -> &str {
    shown.split(['?', '#']).next().unwrap_or(shown)
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (method, target, authority, shown, path) in [
            ("GET", "/a?b=c", None, "/a?b=c", Some("/a")),
            ("GET", "/a?u=http://x/y", None, "/a?u=http://x/y", Some("/a")),
            ("GET", "http://h:1/a?b", Some("h:1"), "/a?b", Some("/a")),
            ("GET", "http://me:pw@h/a", Some("h"), "/a", Some("/a")),
            ("GET", "http://h", Some("h"), "/", Some("/")),
            ("GET", "http://h?q=1", Some("h"), "?q=1", Some("")),
            ("OPTIONS", "*", None, "*", None),
            ("CONNECT", "h:443", Some("h:443"), "h:443", None),
            ("CONNECT", "me:pw@h:443", Some("h:443"), "h:443", None),
            ("GET", "odd", None, "odd", None),
        ] {
            assert_eq!(Target::parse(method, target), Target { authority, shown, path }, "{method} {target}");
        }
    }
}
