//! One request as the watched process saw it: what the probe is for.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Address, Attribute, AttributeValue, Process, Protocol};

/// Room made for attributes with the first of them: a request that is served has five to eight.
const USUAL_ATTRIBUTES: usize = 8;

/// Which side of the request the watched process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// It read the request.
    Server,
    /// It wrote the request.
    Client,
}

/// The protocol version on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HttpVersion {
    /// HTTP/1.0
    #[serde(rename = "1.0")]
    Http10,
    /// HTTP/1.1
    #[serde(rename = "1.1")]
    Http11,
    /// HTTP/2
    #[serde(rename = "2")]
    Http2,
    /// HTTP/3
    #[serde(rename = "3")]
    Http3,
}

impl HttpVersion {
    /// `1.0`, `1.1`, `2` or `3`, as `network.protocol.version` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
            Self::Http3 => "3",
        }
    }
}

/// A trace's id: 32 hex digits where made here, else what came in, verbatim (Stardust's own have 30).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceId(pub Arc<str>);

impl TraceId {
    /// 32 lower-case hex digits.
    pub fn from_u128(id: u128) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits =
            id.to_be_bytes().map(|byte| [byte >> 4, byte & 15].map(|half| DIGITS[usize::from(half)]));
        Self(str::from_utf8(digits.as_flattened()).expect("digits are ASCII").into())
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A span's id: 16 hex digits. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub u64);

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How a parent became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParentKind {
    /// A header of the request named it.
    Remote,
    /// It is the only request open on the thread that made the call, or the one that has started that thread.
    Thread,
    /// It is the handshake that the session began with.
    Handshake,
    /// It is the exchange that this span is a part of.
    Whole,
    /// The Python context that the call was made in is the one that it was answered in.
    Context,
    /// It is the call that sent the request: both ends of the connection are watched.
    Connection,
}

/// A span's parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The parent's id: 16 hex digits where made here, else what came in, verbatim.
    pub span_id: Arc<str>,
    /// How it became known.
    pub kind: ParentKind,
}

/// Why a span is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The status is at or past the configured limit; the number is [`Span::status`].
    Status,
    /// The answer is an error by its own protocol's rules; the attribute `error.type` says which.
    Answer,
    /// The connection was reset while the exchange was open.
    Reset,
    /// Nothing listens at the peer's address.
    ConnectionRefused,
    /// The peer did not answer the connect in time.
    ConnectTimedOut,
    /// The connect failed in another way; the error number is beside it.
    ConnectFailed(i32),
    /// The TLS handshake failed; the attribute `error.type` has the alert.
    Handshake,
    /// The peer went silent and the kernel gave the connection up.
    TimedOut,
    /// The connection was closed before the response was complete.
    Incomplete,
    /// The process ended before the response was complete.
    ProcessExited,
}

/// How the exchange ended. Never made up: what was not seen is said not to have been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The last byte of the response has passed.
    Complete,
    /// The client closed before that.
    ClientClosed,
    /// The server closed before that.
    ServerClosed,
    /// The connection was reset before that.
    Reset,
    /// The kernel gave the silent connection up before that.
    TimedOut,
    /// No connection came about, so nothing was sent.
    NotConnected,
    /// The watched process ended before that.
    ProcessExited,
    /// The connection went on in another protocol (101, or 2xx to CONNECT).
    Upgraded,
    /// It goes on: the span is a part of it, up to a report in between.
    Ongoing,
    /// The request had passed before the probe looked: method, target and start are unknown.
    ProbeJoinedLate,
    /// The probe stopped before that.
    ProbeStopped,
    /// Bytes were lost on the way to the probe, and with them the end.
    ProbeLost,
}

impl End {
    /// The word that stands in the output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientClosed => "client_closed",
            Self::ServerClosed => "server_closed",
            Self::Reset => "reset",
            Self::TimedOut => "timed_out",
            Self::NotConnected => "not_connected",
            Self::ProcessExited => "process_exited",
            Self::Upgraded => "upgraded",
            Self::Ongoing => "ongoing",
            Self::ProbeJoinedLate => "probe_joined_late",
            Self::ProbeStopped => "probe_stopped",
            Self::ProbeLost => "probe_lost",
        }
    }
}

/// One request and its response. Redacted: what stands here may be shown and sent.
#[derive(Debug, Clone)]
pub struct Span {
    /// Server or client.
    pub kind: SpanKind,
    /// The watched process.
    pub process: Arc<Process>,
    /// The thread that read (server) or wrote (client) the first byte of the request.
    pub tid: u32,
    /// Low in cardinality: `GET /users/{id}`, `SELECT orders`.
    pub name: Arc<str>,
    /// The path's template without the method: `/users/{id}`. `None` where there is no path
    /// (CONNECT, no request seen) or the app's ceiling on names is reached.
    pub route: Option<Arc<str>>,
    /// The request's method. `None` if the request was not seen.
    pub method: Option<Arc<str>>,
    /// What passed on the connection.
    pub protocol: Protocol,
    /// Of a URL that names what was asked: `http`, `ws`, `postgresql`.
    pub scheme: &'static str,
    /// The authority the request names (absolute-form target, else `Host`), else the peer's address.
    pub host: String,
    /// Path and query (or `*`, or CONNECT's authority) as sent, secrets in the query replaced. `None` if not seen.
    pub target: Option<String>,
    /// The final response's status. `None` if none was seen.
    pub status: Option<u16>,
    /// The protocol version of the request, else of the response.
    pub http_version: Option<HttpVersion>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// Headers the configuration asks to record: name in lower case with `request.` or `response.` before it, value.
    pub headers: Vec<(String, String)>,
    /// What else is known, each name once. To be written with [`Span::set`].
    pub attributes: Vec<Attribute>,
    /// First byte of the request: wall time, Unix nanoseconds.
    pub start_unix_ns: u64,
    /// First byte of the request: monotonic clock.
    pub start_ns: u64,
    /// From the first byte of the request to the last byte of the response.
    pub duration_ns: u64,
    /// From the first byte of the request to the first byte of the final response. `None` if none was seen.
    pub ttfb_ns: Option<u64>,
    /// Message bytes on the wire, head and body.
    pub request_bytes: u64,
    /// Message bytes on the wire, head and body, interim responses not counted.
    pub response_bytes: u64,
    /// The watched process's end of the connection.
    pub local: Address,
    /// The other end.
    pub peer: Address,
    /// Server spans: who really asked, from forwarding headers of a trusted peer, else the peer.
    pub client_addr: Option<IpAddr>,
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// The parent, if it is known.
    pub parent: Option<Parent>,
    /// `tracestate` as it came in.
    pub trace_state: Option<String>,
    /// Head sampling: the trace is to be kept, whoever else takes part in it (`traceparent` flag 01).
    pub head_sampled: bool,
    /// The sampling rules let this span be sent as a sample. Counts do not depend on it.
    pub sampled: bool,
    /// Why it is an error, if it is one.
    pub fault: Option<Fault>,
    /// How it ended.
    pub end: End,
}

impl Span {
    /// One line that says why the span is an error: `HTTP 503`, `connection refused`.
    pub fn error(&self) -> Option<String> {
        let fault = self.fault?;
        Some(match fault {
            Fault::Status => {
                let status = self.status.map_or_else(String::new, |status| format!("HTTP {status}"));
                self.exception().map_or(status.clone(), |exception| format!("{status}: {exception}"))
            }
            Fault::Answer => match self.attribute("error.type") {
                Some(kind) => format!("{} error {kind}", self.protocol.as_str()),
                None => format!("{} error", self.protocol.as_str()),
            },
            Fault::Handshake => match self.attribute("error.type") {
                Some(alert) => format!("TLS handshake failed: {alert}"),
                None => "TLS handshake failed".to_owned(),
            },
            Fault::Reset => "connection reset".to_owned(),
            Fault::ConnectionRefused => "connection refused".to_owned(),
            Fault::ConnectTimedOut => "connect timed out".to_owned(),
            Fault::ConnectFailed(errno) => {
                format!("connect failed: {}", std::io::Error::from_raw_os_error(errno))
            }
            Fault::TimedOut => "connection timed out".to_owned(),
            Fault::Incomplete => match (self.end, self.protocol) {
                (End::ClientClosed, Protocol::WebSocket) => "client closed without a close frame",
                (_, Protocol::WebSocket) => "server closed without a close frame",
                (End::ClientClosed, _) => "client closed before the response was complete",
                _ => "server closed before the response was complete",
            }
            .to_owned(),
            Fault::ProcessExited => "process exited before the response was complete".to_owned(),
        })
    }

    /// The exception that the code of the service did not catch, if one is known: its type and what it says.
    pub fn exception(&self) -> Option<String> {
        let kind = self.attribute("exception.type")?;
        Some(match self.attribute("exception.message") {
            Some(message) => format!("{kind}: {message}"),
            None => kind.to_string(),
        })
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&AttributeValue> {
        self.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
    }

    /// Gives an attribute a value, in place of the one it had.
    pub fn set(&mut self, name: &'static str, value: impl Into<AttributeValue>) {
        let value = value.into();
        if let Some(attribute) = self.attributes.iter_mut().find(|attribute| attribute.name == name) {
            attribute.value = value;
            return;
        }
        if self.attributes.is_empty() {
            self.attributes.reserve(USUAL_ATTRIBUTES);
        }
        self.attributes.push(Attribute { name, value });
    }

    /// Last byte of the response: wall time, Unix nanoseconds.
    pub fn end_unix_ns(&self) -> u64 {
        self.start_unix_ns.saturating_add(self.duration_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_written_with_all_its_zeros() {
        for id in [1, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, u128::MAX] {
            assert_eq!(*TraceId::from_u128(id).0, format!("{id:032x}"));
        }
    }
}
