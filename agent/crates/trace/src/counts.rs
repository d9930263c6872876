//! What the tracer saw and what it could not use: plain numbers, each only ever growing.

use serde::Serialize;

/// Counts since the tracer began. `exchanges == spans + excluded + disabled + left_to_sdk` plus what is still open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Connections that passed bytes.
    pub connections: u64,
    /// Connections let go because they speak no protocol that is known.
    pub not_http: u64,
    /// Bytes of such connections, until the source stopped telling of them.
    pub not_http_bytes: u64,
    /// Connections that went on in another protocol: followed if it is known, else let go.
    pub upgraded: u64,
    /// Connections to databases let go because they went on compressed.
    pub compressed_databases: u64,
    /// Connections to databases let go because their dialect is recognised and not read: memcached's binary
    /// protocol, replication.
    pub unsupported_databases: u64,
    /// Connections forgotten to make room for others.
    pub evicted_connections: u64,
    /// Connections forgotten because nothing was heard of them for too long.
    pub aged_connections: u64,
    /// Connections let go because too many requests waited for a response on them.
    pub overrun_connections: u64,
    /// Requests not followed because too many were open on their connection.
    pub overrun_requests: u64,
    /// Encrypted connections of which no clear text was seen: no library of the process could be probed.
    pub tls_unbound_connections: u64,
    /// Encrypted bytes of such connections, until the source stopped telling of them.
    pub tls_unbound_bytes: u64,
    /// Clear text that was given up because its connection did not become known.
    pub tls_unknown_peer_bytes: u64,
    /// Signs that clear text belongs to one connection and to another, or that it is not of the size that was sent.
    /// Nothing is lost by them: what stays unknown is in `tls_unknown_peer_bytes`.
    pub tls_contradictions: u64,
    /// TLS handshakes that ended with an alert.
    pub tls_failed_handshakes: u64,
    /// Places where bytes are missing.
    pub gaps: u64,
    /// Bytes missing in them.
    pub gap_bytes: u64,
    /// Times that the parser lost the framing.
    pub lost_framings: u64,
    /// Exchanges whose request had passed before the probe looked.
    pub joined_late: u64,
    /// Requests that failed in the process that served them, without an exception, while of those that were raised there since
    /// they began some had to give way to others.
    pub missed_exceptions: u64,
    /// Responses without a request.
    pub unpaired_responses: u64,
    /// Failed connects not reported, because another address was tried in their place.
    pub superseded_connects: u64,
    /// Headers that should name a trace but are damaged.
    pub bad_context_headers: u64,
    /// Requests of which both ends were seen, the server's span made the child of the client's.
    pub joined_ends: u64,
    /// Exchanges that share one name because the app has too many.
    pub names_over_ceiling: u64,
    /// Exchanges (failed connects, and parts of exchanges that go on, among them) seen.
    pub exchanges: u64,
    /// Spans given out.
    pub spans: u64,
    /// Spans not given out because of an exclude.
    pub excluded: u64,
    /// Spans not given out because the app's configuration switches the probe off.
    pub disabled: u64,
    /// Spans not given out because a tracing SDK in the process makes its own.
    pub left_to_sdk: u64,
}
