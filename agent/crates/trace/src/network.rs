//! Which peers are believed when they say who asked. Invariant: an unknown peer is never trusted.

use std::net::IpAddr;

use model::Address;

/// A set of networks, and perhaps unix sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    ranges: Vec<(IpAddr, u8)>,
    unix: bool,
}

impl Networks {
    /// From `10.0.0.0/8`, `::1`, or the word `unix`. The first text that is none of these is the error.
    pub fn parse(texts: &[String]) -> Result<Self, &str> {
        let mut networks = Self::default();
        for text in texts {
            if text.trim().eq_ignore_ascii_case("unix") {
                networks.unix = true;
            } else {
                networks.ranges.push(parse_range(text.trim()).ok_or(text.as_str())?);
            }
        }
        Ok(networks)
    }

    /// Whether an IP address lies in one of the networks.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.ranges.iter().any(|(network, bits)| match (network, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(*bits);
                network.to_bits().checked_shr(shift) == ip.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(*bits);
                network.to_bits().checked_shr(shift) == ip.to_bits().checked_shr(shift)
            }
            _ => false,
        })
    }

    /// Whether the other end of a connection is trusted.
    pub fn trusts(&self, peer: &Address) -> bool {
        match peer {
            Address::Ip(address) => self.contains(address.ip()),
            Address::Unix(_) => self.unix,
            Address::Unknown => false,
        }
    }
}

fn parse_range(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = match text.split_once('/') {
        Some((ip, bits)) => (ip.parse::<IpAddr>().ok()?, Some(bits.parse::<u8>().ok()?)),
        None => (text.parse::<IpAddr>().ok()?, None),
    };
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(most);
    (bits <= most).then_some((ip, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_by_prefix() {
        let texts = ["10.0.0.0/8", "::1/128", "192.168.1.7", "2001:db8::/32"].map(str::to_owned);
        let networks = Networks::parse(&texts).unwrap();
        for (ip, want) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("::1", true),
            ("::2", false),
            ("192.168.1.7", true),
            ("192.168.1.8", false),
            ("2001:db8:1::1", true),
            ("::ffff:10.1.1.1", true),
        ] {
            assert_eq!(networks.contains(ip.parse().unwrap()), want, "{ip}");
        }
        assert!(!networks.trusts(&Address::Unix(None)));
        assert!(!networks.trusts(&Address::Unknown));
    }

    #[test]
    fn everything_and_unix() {
        let all = Networks::parse(&["0.0.0.0/0".to_owned(), "unix".to_owned()]).unwrap();
        assert!(all.contains("8.8.8.8".parse().unwrap()));
        assert!(!all.contains("::1".parse().unwrap()));
        assert!(all.trusts(&Address::Unix(None)));
    }

    #[test]
    fn names_the_broken_one() {
        for broken in ["10.0.0.0/33", "ten", "", "::/129", "1.2.3.4/x"] {
            assert_eq!(Networks::parse(&["unix".to_owned(), broken.to_owned()]), Err(broken));
        }
    }
}
