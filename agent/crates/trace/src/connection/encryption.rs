//! What a connection shows of its encryption: the hello messages, how long the handshake took, how it failed.
//!
//! Invariant: nothing here decides what passes on the connection; that is the clear text's affair, once there is
//! some.

use model::{Direction, SocketCall, Span};
use protocol::Chunk;
use protocol::tls::{Alert, CipherSuite, Part, Reader, Version, begins_record};

use super::Connection;

/// Socket calls after which a connection without clear text is let go.
const MAX_CALLS: u32 = 256;
/// Content types of records (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// An encrypted connection.
#[derive(Debug, Default)]
pub(crate) struct Encryption {
    received: Option<Reader>,
    sent: Option<Reader>,
    /// The side that asks, once its hello has been seen.
    client: Option<Direction>,
    server_name: Option<String>,
    version: Option<Version>,
    cipher: Option<CipherSuite>,
    protocol: Option<String>,
    begun_ns: Option<u64>,
    /// When each side went over to the new keys.
    changed_ns: [Option<u64>; 2],
    done_ns: Option<u64>,
    state: State,
    duration_told: bool,
    settled_told: bool,
    /// Encrypted bytes, both ways, while there is no clear text.
    pub(crate) bytes: u64,
    calls: u32,
}

/// What has become of an encrypted connection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There was no clear text yet.
    #[default]
    Opaque,
    /// There was.
    Clear,
    /// There will be none: the handshake has failed.
    Failed,
}

/// A handshake that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) begun_ns: u64,
    pub(crate) at_ns: u64,
    pub(crate) alert: Alert,
    /// The watched process asked.
    pub(crate) by_client: bool,
}

/// Whether the bytes of a call on a connection that has shown nothing else yet are encrypted.
pub(crate) fn looks_encrypted(call: &SocketCall<'_>, head: &[u8]) -> bool {
    // A stranger can look like a record in mid-stream, but not begin with a handshake.
    let begins = call.origin == model::Origin::Start && call.position == 0;
    begins_record(head) && (head[0] == HANDSHAKE || (!begins && head[0] == APPLICATION_DATA))
}

impl Encryption {
    /// Encrypted bytes have passed. Tells of a handshake that they end in failure.
    pub(crate) fn pass(&mut self, direction: Direction, chunk: &Chunk<'_>) -> Option<Failed> {
        self.calls = self.calls.saturating_add(1);
        if self.state == State::Clear && self.is_settled() {
            return None;
        }
        if self.state == State::Opaque {
            self.bytes = self.bytes.saturating_add(chunk.len);
        }
        let reader = match direction {
            Direction::Received => &mut self.received,
            Direction::Sent => &mut self.sent,
        };
        let mut parts = Vec::new();
        reader.get_or_insert_with(|| Reader::new(chunk.position)).push(chunk, &mut |part| parts.push(part));
        parts.into_iter().find_map(|part| self.take(direction, part))
    }

    fn take(&mut self, direction: Direction, part: Part) -> Option<Failed> {
        match part {
            Part::ClientHello { at_ns, hello } => {
                self.client = Some(direction);
                self.begun_ns = Some(at_ns);
                self.server_name = hello.server_name;
            }
            Part::ServerHello { hello, .. } => {
                self.version = Some(hello.version);
                self.cipher = Some(hello.cipher);
                self.protocol = hello.protocol;
            }
            Part::ChangeCipherSpec { at_ns } => {
                self.changed_ns[direction as usize] = Some(at_ns);
                if self.version.is_some_and(|version| version < Version::TLS_1_3)
                    && let [Some(one), Some(other)] = self.changed_ns
                {
                    self.done_ns.get_or_insert(one.max(other));
                }
            }
            // In TLS 1.3 the client's first such record ends its handshake; data before the server's hello is early.
            Part::ApplicationData { at_ns } => {
                if self.version == Some(Version::TLS_1_3) && self.client == Some(direction) {
                    self.done_ns.get_or_insert(at_ns);
                }
            }
            Part::Alert { at_ns, alert } => {
                let (client, begun_ns) = (self.client?, self.begun_ns?);
                if alert.fatal && self.done_ns.is_none() && self.state == State::Opaque {
                    self.state = State::Failed;
                    let by_client = client == Direction::Sent;
                    return Some(Failed { begun_ns, at_ns, alert, by_client });
                }
            }
            Part::Lost | Part::NotTls => {}
        }
        None
    }

    /// Nothing more can be learned of the handshake.
    fn is_settled(&self) -> bool {
        self.done_ns.is_some() || self.begun_ns.is_none()
    }

    /// Encrypted bytes are of no more use. True once.
    pub(crate) fn settles(&mut self) -> bool {
        self.state == State::Clear && self.is_settled() && !std::mem::replace(&mut self.settled_told, true)
    }

    /// It will hardly become clear any more.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.is_unbound() && self.calls >= MAX_CALLS
    }

    /// There was no clear text, and some may be to come.
    pub(crate) fn is_unbound(&self) -> bool {
        self.state == State::Opaque
    }

    /// There is clear text. True for the first.
    pub(crate) fn becomes_clear(&mut self) -> bool {
        std::mem::replace(&mut self.state, State::Clear) != State::Clear
    }

    /// The library has told which protocol was agreed on, which TLS 1.3 does not say in the clear.
    pub(crate) fn agreed_on(&mut self, protocol: &str) {
        self.protocol = Some(protocol.to_owned());
    }

    /// Writes what is known into a span of the connection; the handshake's duration into the first.
    pub(crate) fn describe(&mut self, span: &mut Span) {
        span.scheme = match span.scheme {
            "http" => "https",
            "ws" => "wss",
            other => other,
        };
        if let Some((version, number)) = self.version.and_then(|version| Some((version, version.as_str()?))) {
            span.set("tls.protocol.name", version.protocol());
            span.set("tls.protocol.version", number);
        }
        if let Some(cipher) = self.cipher.and_then(CipherSuite::name) {
            span.set("tls.cipher", cipher);
        }
        if let Some(protocol) = &self.protocol {
            span.set("tls.next_protocol", protocol.clone());
        }
        if let Some(name) = &self.server_name {
            span.set("tls.client.server_name", name.clone());
        }
        if let (Some(begun_ns), Some(done_ns), false) = (self.begun_ns, self.done_ns, self.duration_told) {
            self.duration_told = true;
            span.set("tls.handshake.duration_ns", done_ns.saturating_sub(begun_ns).cast_signed());
        }
    }
}

impl Connection {
    /// Nothing more can be learned from encrypted bytes of it. True once.
    pub(crate) fn settles(&mut self) -> bool {
        self.encryption.as_mut().is_some_and(|encryption| encryption.settles())
    }

    /// Whether encrypted bytes have passed.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.encryption.is_some()
    }

    /// The handshake has agreed on a protocol.
    pub(crate) fn agreed_on(&mut self, protocol: &str) {
        self.encryption.get_or_insert_default().agreed_on(protocol);
    }

    /// Writes into spans of it what is known of its encryption.
    pub(crate) fn describe(&mut self, spans: &mut [Span]) {
        let Some(encryption) = &mut self.encryption else { return };
        for span in spans {
            encryption.describe(span);
        }
    }
}
