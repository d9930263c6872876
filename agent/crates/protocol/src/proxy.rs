//! The PROXY protocol's header, versions 1 and 2 (`HAProxy`, `doc/proxy-protocol.txt` of 2020-03-05): what a proxy
//! writes ahead of everything else to say who asked.
//!
//! Invariant: a longer piece of the same bytes never contradicts a shorter one; it only ends a `More`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Section 2.2: the twelve bytes that begin version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Section 2.1: the longest header of version 1, with its line end.
const MAX_LINE_BYTES: usize = 107;
const PREFIX: &[u8] = b"PROXY ";

/// What the first bytes of a connection say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preface {
    /// A header.
    Header {
        /// How long it is; what follows is the connection's own protocol. May reach past the bytes given.
        len: u64,
        /// Who asked. `None`: the proxy itself (a health check), or a family without addresses.
        source: Option<SocketAddr>,
    },
    /// The beginning of a header, so far.
    More,
    /// No header.
    None,
}

impl Preface {
    /// Reads the first bytes of what a server receives.
    pub fn read(bytes: &[u8]) -> Self {
        if starts(bytes, SIGNATURE) {
            read_binary(bytes)
        } else if starts(bytes, PREFIX) {
            read_line(bytes)
        } else {
            Self::None
        }
    }
}

/// Whether `bytes` begin with `start`, as far as they reach.
fn starts(bytes: &[u8], start: &[u8]) -> bool {
    let reach = bytes.len().min(start.len());
    bytes[..reach] == start[..reach]
}

/// Section 2.1: `PROXY TCP4 SOURCE DESTINATION PORT PORT`.
fn read_line(bytes: &[u8]) -> Preface {
    let line = &bytes[..bytes.len().min(MAX_LINE_BYTES)];
    let Some(end) = memchr::memchr(b'\n', line) else {
        return if bytes.len() < MAX_LINE_BYTES { Preface::More } else { Preface::None };
    };
    let Some(text) = line[..end].strip_suffix(b"\r").and_then(|text| str::from_utf8(text).ok()) else {
        return Preface::None;
    };
    let len = end as u64 + 1;
    let mut words = text.split(' ').skip(1);
    let source = match words.next() {
        // What follows is to be ignored.
        Some("UNKNOWN") => return Preface::Header { len, source: None },
        Some(family @ ("TCP4" | "TCP6")) => source_of(family == "TCP4", &mut words),
        _ => None,
    };
    source.map_or(Preface::None, |source| Preface::Header { len, source: Some(source) })
}

fn source_of<'a>(v4: bool, words: &mut impl Iterator<Item = &'a str>) -> Option<SocketAddr> {
    let mut ip = || words.next()?.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == v4);
    let (source, _destination) = (ip()?, ip()?);
    let mut port = || words.next()?.parse::<u16>().ok();
    let (port, _) = (port()?, port()?);
    words.next().is_none().then(|| SocketAddr::new(source, port))
}

/// Section 2.2: signature, version and command, family, length, addresses, and what else there may be.
fn read_binary(bytes: &[u8]) -> Preface {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else {
        // A version that cannot be is refused at once.
        return if bytes.get(12).is_some_and(|byte| byte >> 4 != 2) { Preface::None } else { Preface::More };
    };
    let (command, family) = (head[12], head[13]);
    let body = u16::from_be_bytes([head[14], head[15]]);
    let len = 16 + u64::from(body);
    let address_bytes = match (command, family >> 4) {
        (0x21, 1) => 12,
        (0x21, 2) => 36,
        // LOCAL, whose addresses are to be ignored; unspecified, unix sockets.
        (0x20 | 0x21, _) => 0,
        _ => return Preface::None,
    };
    if usize::from(body) < address_bytes {
        return Preface::None;
    }
    let Some(addresses) = rest.get(..address_bytes) else { return Preface::More };
    let source = match *addresses {
        [a, b, c, d, _, _, _, _, high, low, _, _] => {
            Some((IpAddr::V4(Ipv4Addr::new(a, b, c, d)), u16::from_be_bytes([high, low])))
        }
        ref long if long.len() == 36 => long
            .first_chunk::<16>()
            .map(|octets| (Ipv6Addr::from(*octets).to_canonical(), u16::from_be_bytes([long[32], long[33]]))),
        _ => None,
    };
    Preface::Header { len, source: source.map(SocketAddr::from) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn header(len: u64, source: &str) -> Preface {
        Preface::Header { len, source: source.parse().ok() }
    }

    #[test]
    fn lines() {
        for (line, want) in [
            ("PROXY TCP4 1.2.3.4 5.6.7.8 4711 80\r\nGET", header(36, "1.2.3.4:4711")),
            ("PROXY TCP6 2001:db8::1 ::1 4711 80\r\n", header(36, "[2001:db8::1]:4711")),
            ("PROXY UNKNOWN\r\n", header(15, "")),
            ("PROXY UNKNOWN what ever\r\n", header(25, "")),
            ("P", Preface::More),
            ("PROXY TCP4 1.2.3.4", Preface::More),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 4711 80\r", Preface::More),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 4711 80\n", Preface::None),
            ("PROXY TCP4 ::1 5.6.7.8 4711 80\r\n", Preface::None),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 4711\r\n", Preface::None),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 4711 99999\r\n", Preface::None),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 4711 80 \r\n", Preface::None),
            ("PROXY / HTTP/1.1\r\n", Preface::None),
            ("PUT / HTTP/1.1\r\n", Preface::None),
            ("", Preface::More),
        ] {
            assert_eq!(Preface::read(line.as_bytes()), want, "{line:?}");
        }
        let endless = [b"PROXY ".as_slice(), &[b'x'; 101]].concat();
        assert_eq!(Preface::read(&endless[..106]), Preface::More);
        assert_eq!(Preface::read(&endless), Preface::None);
    }

    #[test]
    fn binaries() {
        let v4 = [1, 2, 3, 4, 5, 6, 7, 8, 0x12, 0x67, 0, 80];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        v6[32..34].copy_from_slice(&4711_u16.to_be_bytes());
        let more = [v4.as_slice(), b"\x03\0\x04crc."].concat();
        for (bytes, want) in [
            (binary(0x21, 0x11, &v4), header(28, "1.2.3.4:4711")),
            (binary(0x21, 0x11, &more), header(35, "1.2.3.4:4711")),
            (binary(0x21, 0x21, &v6), header(52, "[::1]:4711")),
            (binary(0x20, 0x00, b""), header(16, "")),
            (binary(0x20, 0x11, &v4), header(28, "")),
            (binary(0x21, 0x31, &[0; 216]), header(232, "")),
            (binary(0x21, 0x11, &v4[..11]), Preface::None),
            (binary(0x22, 0x11, &v4), Preface::None),
            (binary(0x11, 0x11, &v4), Preface::None),
        ] {
            assert_eq!(Preface::read(&bytes), want, "{}", bytes.escape_ascii());
        }
        // The addresses are enough, wherever the rest of the header is.
        let mut long = binary(0x21, 0x11, &v4);
        long[14..16].copy_from_slice(&60_000_u16.to_be_bytes());
        assert_eq!(Preface::read(&long), header(60_016, "1.2.3.4:4711"));
        assert_eq!(Preface::read(b"\r\n\r\n\0\r\nQUIT\n\x31"), Preface::None);
        assert_eq!(Preface::read(b"\r\nGET / HTTP/1.1"), Preface::None);
    }

    fn any_header() -> impl Strategy<Value = Vec<u8>> {
        let line = "(PROXY (TCP[46]|UNKNOWN)( [0-9.:a-f]{1,20}){0,5}\r?\n?)";
        let binary = (0x1f_u8..0x23, any::<u8>(), prop::collection::vec(any::<u8>(), 0..300));
        prop_oneof![
            line.prop_map(String::into_bytes),
            binary.prop_map(|(command, family, body)| super::tests::binary(command, family, &body)),
            prop::collection::vec(any::<u8>(), 0..200),
        ]
    }

    proptest! {
        /// However much of it is there: first `More`, then one answer that stays.
        #[test]
        fn cuts_change_nothing(bytes in any_header()) {
            let mut settled = None;
            for end in 0..=bytes.len() {
                let read = Preface::read(&bytes[..end]);
                match settled {
                    Some(before) => prop_assert_eq!(read, before),
                    None if read != Preface::More => settled = Some(read),
                    None => {}
                }
            }
        }
    }
}
