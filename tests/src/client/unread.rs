//! Whether the other side has read what was sent, as the kernel tells in `/proc/net/tcp`.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::process::POLL;

const LIMIT: Duration = Duration::from_secs(10);

/// Waits until the server at `peer` has read all that came from `local`. IPv4 on one host only.
pub(super) fn wait_until_read(local: SocketAddr, peer: SocketAddr) -> anyhow::Result<()> {
    let ends = format!(" {} {} ", shown(peer)?, shown(local)?);
    let deadline = Instant::now() + LIMIT;
    loop {
        let table = fs::read_to_string("/proc/net/tcp").context("read /proc/net/tcp")?;
        let line = table.lines().find(|line| line.contains(&ends));
        // `tx_queue:rx_queue`, behind the addresses and the state.
        let queues = line.and_then(|line| line.split_whitespace().nth(4));
        if queues.is_none_or(|queues| queues.ends_with(":00000000")) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the server does not read: {line:?}");
        std::thread::sleep(POLL);
    }
}

/// An address as the table has it: `0100007F:1F90`, the address in the host's byte order.
fn shown(address: SocketAddr) -> anyhow::Result<String> {
    let IpAddr::V4(ip) = address.ip() else { anyhow::bail!("{address} is not IPv4") };
    Ok(format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port()))
}
