//! A request as a front server hands it on to an application: as variables (RFC 3875 section 4.1, and the ones that
//! nginx and Apache add to them).
//!
//! Invariant: what no variable tells stays unknown; names and values are taken as sent.

use std::net::{IpAddr, SocketAddr};

use model::HttpVersion;

use crate::http1::{Headers, RequestHead};

/// A request, and what the front server says of its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The request as the client made it: `REQUEST_METHOD`, `REQUEST_URI`, `HTTP_*`.
    pub head: RequestHead,
    /// `http` or `https`: how the client asked the front server.
    pub scheme: Option<&'static str>,
    /// The client, as the front server sees it: `REMOTE_ADDR` and `REMOTE_PORT` (0 if not told).
    pub client: Option<SocketAddr>,
}

impl From<RequestHead> for Request {
    fn from(head: RequestHead) -> Self {
        Self { head, scheme: None, client: None }
    }
}

/// The variables read so far.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    method: Option<String>,
    uri: Option<String>,
    script: String,
    path: String,
    query: String,
    version: Option<HttpVersion>,
    scheme: Option<&'static str>,
    address: Option<IpAddr>,
    port: u16,
    /// How long the body is; empty counts as 0.
    length: Option<u64>,
    headers: Headers,
}

impl Variables {
    /// Takes one more. Of two with one name the first counts.
    pub(crate) fn take(&mut self, name: &[u8], value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        match name {
            b"REQUEST_METHOD" => drop(self.method.get_or_insert_with(|| text.into_owned())),
            b"REQUEST_URI" => drop(self.uri.get_or_insert_with(|| text.into_owned())),
            b"SCRIPT_NAME" => self.script = text.into_owned(),
            b"PATH_INFO" => self.path = text.into_owned(),
            b"QUERY_STRING" => self.query = text.into_owned(),
            b"SERVER_PROTOCOL" => self.version = version(&text),
            b"REQUEST_SCHEME" | b"UWSGI_SCHEME" => self.scheme = scheme(&text).or(self.scheme),
            b"HTTPS" if matches!(&*text, "on" | "1" | "yes") => self.scheme = Some("https"),
            b"REMOTE_ADDR" => self.address = text.parse().ok(),
            b"REMOTE_PORT" => self.port = text.parse().unwrap_or(0),
            b"CONTENT_LENGTH" => {
                self.length = if text.is_empty() { Some(0) } else { text.trim().parse().ok() };
                self.header("content-length", value);
            }
            b"CONTENT_TYPE" => self.header("content-type", value),
            _ => {
                if let Some(field) = name.strip_prefix(b"HTTP_") {
                    let field: Vec<u8> = field.iter().map(|byte| header_byte(*byte)).collect();
                    self.headers.push(&String::from_utf8_lossy(&field), value);
                }
            }
        }
    }

    fn header(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            self.headers.push(name, value);
        }
    }

    /// How long the body is, if that is known. `truncated`: variables may be missing.
    pub(crate) fn body_bytes(&self, truncated: bool) -> Option<u64> {
        let bodiless = matches!(self.method.as_deref(), Some("GET" | "HEAD" | "DELETE" | "OPTIONS"));
        self.length.or_else(|| (!truncated || bodiless).then_some(0))
    }

    /// The request; `None` if they are not of one.
    pub(crate) fn request(self, truncated: bool) -> Option<Request> {
        let method = self.method.filter(|method| !method.is_empty())?;
        let target = self.uri.filter(|uri| !uri.is_empty()).unwrap_or_else(|| {
            let question = if self.query.is_empty() { "" } else { "?" };
            format!("{}{}{question}{}", self.script, self.path, self.query)
        });
        let head = RequestHead { method, target, version: self.version, headers: self.headers, truncated };
        let client = self.address.map(|ip| SocketAddr::new(ip, self.port));
        Some(Request { head, scheme: self.scheme, client })
    }
}

fn version(text: &str) -> Option<HttpVersion> {
    match text {
        "HTTP/1.0" => Some(HttpVersion::Http10),
        "HTTP/1.1" => Some(HttpVersion::Http11),
        "HTTP/2.0" | "HTTP/2" => Some(HttpVersion::Http2),
        "HTTP/3.0" | "HTTP/3" => Some(HttpVersion::Http3),
        _ => None,
    }
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|known| text.eq_ignore_ascii_case(known))
}

const fn header_byte(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Option<Request> {
        let mut variables = Variables::default();
        for (name, value) in pairs {
            variables.take(name.as_bytes(), value.as_bytes());
        }
        variables.request(false)
    }

    #[test]
    fn a_request_is_as_its_client_made_it() {
        let request = read(&[
            ("REQUEST_METHOD", "POST"),
            ("REQUEST_URI", "/a/b?c=d"),
            ("SCRIPT_NAME", "/elsewhere"),
            ("SERVER_PROTOCOL", "HTTP/2.0"),
            ("HTTPS", "on"),
            ("REMOTE_ADDR", "2001:db8::1"),
            ("REMOTE_PORT", "4711"),
            ("CONTENT_TYPE", "text/plain"),
            ("CONTENT_LENGTH", "5"),
            ("HTTP_HOST", "shop.example"),
            ("HTTP_USER_AGENT", "curl/8"),
        ]);
        let request = request.unwrap();
        assert_eq!((request.head.method.as_str(), request.head.target.as_str()), ("POST", "/a/b?c=d"));
        assert_eq!((request.head.version, request.scheme), (Some(HttpVersion::Http2), Some("https")));
        assert_eq!(request.client, Some("[2001:db8::1]:4711".parse().unwrap()));
        let headers: Vec<_> = request.head.headers.iter().collect();
        let expected = [
            ("content-type", "text/plain"),
            ("content-length", "5"),
            ("host", "shop.example"),
            ("user-agent", "curl/8"),
        ];
        assert_eq!(headers, expected);
    }

    #[test]
    fn what_is_not_told_is_not_made_up() {
        let request =
            read(&[("REQUEST_METHOD", "GET"), ("PATH_INFO", "/x"), ("QUERY_STRING", "q=1")]).unwrap();
        assert_eq!(request.head.target, "/x?q=1");
        assert_eq!((request.scheme, request.client, request.head.version), (None, None, None));
        let odd = [
            ("REQUEST_METHOD", "GET"),
            ("HTTPS", "off"),
            ("REMOTE_ADDR", "unix:"),
            ("REQUEST_SCHEME", "ftp"),
        ];
        let request = read(&odd).unwrap();
        assert_eq!((request.scheme, request.client), (None, None));
        assert_eq!(read(&[("HTTP_HOST", "a")]), None);
    }

    #[test]
    fn the_length_of_the_body() {
        for (pairs, truncated, want) in [
            (&[("CONTENT_LENGTH", "7")][..], false, Some(7)),
            (&[("CONTENT_LENGTH", "")], true, Some(0)),
            (&[("REQUEST_METHOD", "POST")], false, Some(0)),
            (&[("REQUEST_METHOD", "POST")], true, None),
            (&[("REQUEST_METHOD", "GET")], true, Some(0)),
            (&[("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", "x")], true, None),
        ] {
            let mut variables = Variables::default();
            for (name, value) in pairs {
                variables.take(name.as_bytes(), value.as_bytes());
            }
            assert_eq!(variables.body_bytes(truncated), want, "{pairs:?}");
        }
    }
}
