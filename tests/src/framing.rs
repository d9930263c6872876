//! Where a response ends, found from its bytes alone.
//!
//! Invariant: independent of the probe's own parser, so that the two can be held against each other.

use anyhow::{Context as _, bail, ensure};

/// The head of a response, and how its body is framed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// Bytes of the head, the empty line included.
    pub len: usize,
    /// How the body ends.
    pub body: Body,
    /// Whether the server keeps the connection.
    pub keeps_alive: bool,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// After this many bytes.
    Length(usize),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// Reads a head, if it is all there. `method` is the request's.
pub fn head(bytes: &[u8], method: &str) -> anyhow::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(len) = response.parse(bytes).context("parse the response's head")? else {
        return Ok(None);
    };
    let find = |name: &str| {
        let mut found = response.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        found.next().map(|header| String::from_utf8_lossy(header.value).to_ascii_lowercase())
    };
    let status = response.code.context("a response has a status")?;
    let length =
        find("content-length").map(|length| length.parse()).transpose().context("read Content-Length")?;
    // RFC 9112, section 6.3.
    let body = if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
        Body::Length(0)
    } else if find("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked")) {
        Body::Chunked
    } else {
        length.map_or(Body::Close, Body::Length)
    };
    let says = find("connection").unwrap_or_default();
    let by_default = response.version == Some(1);
    let keeps_alive =
        body != Body::Close && !says.contains("close") && (by_default || says.contains("keep-alive"));
    Ok(Some(Head { status, len, body, keeps_alive }))
}

/// Where the chunked body that begins at the start of `bytes` ends, if that has come.
pub fn chunked_end(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let mut at = 0;
    loop {
        let Some(line) = line_end(bytes, at) else { return Ok(None) };
        let size = String::from_utf8_lossy(&bytes[at..line - 2]);
        let digits = size.split(';').next().unwrap_or_default().trim();
        let size =
            usize::from_str_radix(digits, 16).with_context(|| format!("read the chunk size {digits:?}"))?;
        at = line;
        if size == 0 {
            return Ok(trailers_end(bytes, at));
        }
        ensure!(size < 1 << 30, "a chunk of {size} bytes is no chunk of ours");
        if bytes.len() < at + size + 2 {
            return Ok(None);
        }
        at += size;
        if &bytes[at..at + 2] != b"\r\n" {
            bail!("a chunk does not end where it says");
        }
        at += 2;
    }
}

fn trailers_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let line = line_end(bytes, at)?;
        if line == at + 2 {
            return Some(line);
        }
        at = line;
    }
}

/// The position after the next CR LF.
fn line_end(bytes: &[u8], from: usize) -> Option<usize> {
    bytes[from..].windows(2).position(|pair| pair == b"\r\n").map(|position| from + position + 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "GET", Body::Length(5), true)]
    #[case("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", Body::Length(0), true)]
    #[case("HTTP/1.1 204 No Content\r\n\r\n", "GET", Body::Length(0), true)]
    #[case("HTTP/1.1 100 Continue\r\n\r\n", "POST", Body::Length(0), true)]
    #[case("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", "GET", Body::Chunked, true)]
    #[case("HTTP/1.1 200 OK\r\n\r\n", "GET", Body::Close, false)]
    #[case(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "GET",
        Body::Length(0),
        false
    )]
    #[case("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", Body::Length(0), false)]
    #[case(
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
        "GET",
        Body::Length(0),
        true
    )]
    fn heads(#[case] text: &str, #[case] method: &str, #[case] body: Body, #[case] keeps_alive: bool) {
        let found = head(text.as_bytes(), method).unwrap().unwrap();
        assert_eq!((found.body, found.keeps_alive), (body, keeps_alive));
        let end = text.find("\r\n\r\n").unwrap() + 4;
        assert_eq!(found.len, end);
        assert_eq!(head(&text.as_bytes()[..end - 1], method).unwrap(), None);
    }

    #[rstest]
    #[case("0\r\n\r\n", Some(5))]
    #[case("5\r\nhello\r\n0\r\n\r\nrest", Some(15))]
    #[case("5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\n", Some(25))]
    #[case("5\r\nhello\r\n0\r\n", None)]
    #[case("5\r\nhel", None)]
    #[case("", None)]
    fn chunked_bodies(#[case] text: &str, #[case] end: Option<usize>) {
        assert_eq!(chunked_end(text.as_bytes()).unwrap(), end);
    }

    #[test]
    fn broken_chunks_are_told() {
        assert!(chunked_end(b"x\r\n").is_err());
        assert!(chunked_end(b"1\r\nabc\r\n").is_err());
    }
}
