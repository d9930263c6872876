//! Where an end of a connection is.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One end of a stream connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// TCP. An IPv4 address mapped into IPv6 (`::ffff:a.b.c.d`) is stored as IPv4.
    Ip(SocketAddr),
    /// A unix stream socket: the path it listens on (an abstract name starts with `@`), if it has one.
    Unix(Option<Arc<str>>),
    /// The kernel could not tell.
    Unknown,
}

impl Address {
    /// From the 16 address bytes of an IPv6 socket.
    pub fn from_ipv6(octets: [u8; 16], port: u16) -> Self {
        let v6 = Ipv6Addr::from(octets);
        let ip = v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4);
        Self::Ip(SocketAddr::new(ip, port))
    }

    /// The IP address, if this is TCP.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix(_) | Self::Unknown => None,
        }
    }

    /// The port, if this is TCP.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Ip(address) => Some(address.port()),
            Self::Unix(_) | Self::Unknown => None,
        }
    }
}

/// `127.0.0.1:80`, `[::1]:80`, `unix:/run/app.sock`, `unix:` or `unknown`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.as_deref().unwrap_or("")),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_ipv4() {
        let mut octets = [0_u8; 16];
        octets[10] = 0xff;
        octets[11] = 0xff;
        octets[12..].copy_from_slice(&[127, 0, 0, 1]);
        assert_eq!(Address::from_ipv6(octets, 80).to_string(), "127.0.0.1:80");
        assert_eq!(Address::from_ipv6(Ipv6Addr::LOCALHOST.octets(), 80).to_string(), "[::1]:80");
        assert_eq!(Address::Unix(Some("/run/a.sock".into())).to_string(), "unix:/run/a.sock");
    }
}
