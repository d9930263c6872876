//! Knobs of the kernel side.

use serde::{Deserialize, Serialize};

/// How socket calls are seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The best the kernel offers.
    #[default]
    Auto,
    /// The socket tracepoints `sock_recv_length` and `sock_send_length` (Linux 6.3 and later).
    TpBtf,
    /// `fexit` of `sock_recvmsg`, `inet_sendmsg` and its like, and `unix_stream_sendmsg` (Linux 5.12 and later).
    Fexit,
    /// The tracepoints of the socket system calls: slower, the last resort.
    Syscalls,
}

/// How instructions of user code are probed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uprobes {
    /// The best the kernel offers.
    #[default]
    Auto,
    /// All of a file in one link (Linux 6.6 and later).
    Multi,
    /// Each by a link of its own.
    Single,
}

/// Kernel programs, maps and the ring between kernel and agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KernelConfig {
    /// How socket calls are seen.
    pub way: Way,
    /// How instructions of user code are probed.
    pub uprobes: Uprobes,
    /// The ring's size in bytes.
    pub ring_bytes: u32,
    /// How many bytes of a socket call are copied from its start.
    pub head_bytes: u32,
    /// How many bytes of a socket call are copied from its start on HTTP/2 connections.
    pub http2_bytes: u32,
    /// How many processes can be watched at a time.
    pub max_processes: u32,
    /// How many open connections are known at a time.
    pub max_connections: u32,
    /// How long an event may wait in the ring, in milliseconds.
    pub drain_ms: u32,
}

impl Default for KernelConfig {
    fn default() -> Self {
        Self {
            way: Way::Auto,
            uprobes: Uprobes::Auto,
            ring_bytes: 8 << 20,
            head_bytes: 2048,
            http2_bytes: 1 << 20,
            max_processes: 4096,
            max_connections: 65_536,
            drain_ms: 10,
        }
    }
}
