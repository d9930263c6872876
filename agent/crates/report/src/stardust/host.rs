//! The host the probe runs on.
//!
//! Invariant: read once; what cannot be read is left out.

use std::net::Ipv4Addr;

/// What the server is told about the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// IPv4 addresses of the host, comma separated, loopback and link-local ones left out. May be empty.
    pub ips: String,
    /// The first of them, else `127.0.0.1`.
    pub ip: String,
    /// The host's name.
    pub name: String,
}

impl Host {
    /// This host.
    pub(super) fn read() -> Self {
        let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
        let addresses = interfaces.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
        let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
        Self::of(addresses, name.trim())
    }

    fn of(addresses: impl Iterator<Item = Ipv4Addr>, name: &str) -> Self {
        let usable = |ip: &Ipv4Addr| !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified();
        let ips: Vec<String> = addresses.filter(usable).take(10).map(|ip| ip.to_string()).collect();
        let ip = ips.first().cloned().unwrap_or_else(|| Ipv4Addr::LOCALHOST.to_string());
        Self { ips: ips.join(","), ip, name: name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_that_others_know_counts() {
        let addresses =
            [[127, 0, 0, 1], [169, 254, 1, 1], [10, 0, 0, 5], [192, 168, 1, 2]].map(Ipv4Addr::from);
        let host = Host::of(addresses.into_iter(), "web1");
        assert_eq!((host.ip.as_str(), host.ips.as_str()), ("10.0.0.5", "10.0.0.5,192.168.1.2"));
        let alone = Host::of(addresses.into_iter().take(1), "");
        assert_eq!((alone.ip.as_str(), alone.ips.as_str()), ("127.0.0.1", ""));
    }

    #[test]
    fn this_host_has_an_address() {
        assert!(Host::read().ip.parse::<Ipv4Addr>().is_ok());
    }
}
