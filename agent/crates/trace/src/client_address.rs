//! Who really asked. Invariant: a header is believed only from a trusted peer, and what cannot be read
//! gives the peer, never a guess.

use std::net::{IpAddr, SocketAddr};

use model::Address;
use protocol::http1::Headers;

use crate::network::Networks;

/// Longest chain of proxies that is looked at.
const MAX_HOPS: usize = 64;

/// The client's address of a server's request: from `Forwarded` (RFC 7239), else `X-Forwarded-For`, else
/// `X-Real-IP`, when the peer is trusted; else the peer's. `None` if the peer has no IP address.
pub(crate) fn client_address(headers: &Headers, peer: &Address, trusted: &Networks) -> Option<IpAddr> {
    let direct = peer.ip().map(|ip| ip.to_canonical());
    if !trusted.trusts(peer) {
        return direct;
    }
    let forwarded = || {
        let hops: Vec<_> = headers.all("forwarded").flat_map(split_quoted(',')).map(forwarded_for).collect();
        (!hops.is_empty()).then(|| first_untrusted(&hops, trusted))
    };
    let x_forwarded_for = || {
        let hops: Vec<_> =
            headers.all("x-forwarded-for").flat_map(|value| value.split(',')).map(parse_node).collect();
        (!hops.is_empty()).then(|| first_untrusted(&hops, trusted))
    };
    let x_real_ip = || headers.get("x-real-ip").map(parse_node);
    forwarded().or_else(x_forwarded_for).or_else(x_real_ip).flatten().or(direct)
}

/// The last hop that is not trusted; if all are, the first. `None` if an unreadable hop comes before.
fn first_untrusted(hops: &[Option<IpAddr>], trusted: &Networks) -> Option<IpAddr> {
    let mut found = None;
    for hop in hops.iter().rev().take(MAX_HOPS) {
        let ip = (*hop)?;
        found = Some(ip);
        if !trusted.contains(ip) {
            break;
        }
    }
    found
}

/// The `for` parameter of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    split_quoted(';')(element)
        .find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim().eq_ignore_ascii_case("for").then_some(value)
        })
        .and_then(parse_node)
}

/// `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`, also quoted.
fn parse_node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"').trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .map(|ip| ip.to_canonical())
}

/// Splits outside of double quotes.
fn split_quoted(separator: char) -> impl Fn(&str) -> std::vec::IntoIter<&str> {
    move |text| {
        let mut quoted = false;
        let parts: Vec<&str> = text
            .split(|c| {
                quoted ^= c == '"';
                c == separator && !quoted
            })
            .collect();
        parts.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, fields: &[(&str, &str)]) -> String {
        let networks = ["127.0.0.0/8", "10.0.0.0/8", "::1", "unix"].map(str::to_owned);
        let peer = match peer {
            "unix" => Address::Unix(None),
            ip => Address::Ip(SocketAddr::new(ip.parse().unwrap(), 1)),
        };
        let headers = crate::fixture::headers(fields);
        client_address(&headers, &peer, &Networks::parse(&networks).unwrap())
            .map_or_else(|| "none".to_owned(), |ip| ip.to_string())
    }

    #[test]
    fn believes_only_the_trusted() {
        let xff = "X-Forwarded-For";
        for (peer, fields, want) in [
            ("127.0.0.1", vec![], "127.0.0.1"),
            ("unix", vec![], "none"),
            ("8.8.8.8", vec![(xff, "1.1.1.1")], "8.8.8.8"),
            ("127.0.0.1", vec![(xff, "1.1.1.1")], "1.1.1.1"),
            ("unix", vec![(xff, "1.1.1.1")], "1.1.1.1"),
            ("127.0.0.1", vec![(xff, "6.6.6.6, 1.1.1.1, 10.0.0.2")], "1.1.1.1"),
            ("127.0.0.1", vec![(xff, "6.6.6.6"), (xff, "1.1.1.1"), (xff, "10.0.0.1")], "1.1.1.1"),
            ("127.0.0.1", vec![(xff, "10.0.0.9, 10.0.0.2")], "10.0.0.9"),
            ("127.0.0.1", vec![(xff, "1.1.1.1:4711")], "1.1.1.1"),
            ("127.0.0.1", vec![(xff, "[2001:db8::1]:80")], "2001:db8::1"),
            ("127.0.0.1", vec![(xff, "1.1.1.1, junk")], "127.0.0.1"),
            ("127.0.0.1", vec![(xff, "junk, 1.1.1.1")], "1.1.1.1"),
            ("unix", vec![(xff, "unknown")], "none"),
            ("::1", vec![("X-Real-IP", "1.2.3.4")], "1.2.3.4"),
            ("::1", vec![("X-Real-IP", "1.2.3.4"), (xff, "1.1.1.1")], "1.1.1.1"),
            ("::1", vec![("X-Real-IP", "nobody")], "::1"),
        ] {
            assert_eq!(client(peer, &fields), want, "{peer} {fields:?}");
        }
    }

    #[test]
    fn reads_forwarded() {
        for (value, want) in [
            ("for=1.1.1.1;proto=https;by=10.0.0.1", "1.1.1.1"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=6.6.6.6, for=1.1.1.1, for=10.0.0.1;host=\"a,b;for=9.9.9.9\"", "1.1.1.1"),
            ("proto=https; for=1.1.1.1:99", "1.1.1.1"),
            ("for=unknown", "127.0.0.1"),
            ("for=_hidden", "127.0.0.1"),
            ("proto=http", "127.0.0.1"),
        ] {
            let fields = [("Forwarded", value), ("X-Forwarded-For", "7.7.7.7")];
            assert_eq!(client("127.0.0.1", &fields), want, "{value}");
        }
    }
}
