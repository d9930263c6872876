//! The hello messages (RFC 8446 sections 4.1.2 and 4.1.3, RFC 5246 section 7.4.1). Invariant: total; a message
//! that is cut short gives what stands before the cut.

use super::CipherSuite;

/// Extension numbers (RFC 6066, RFC 7301, RFC 8446 section 4.2).
const SERVER_NAME: u16 = 0;
const APPLICATION_PROTOCOLS: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
/// Most protocols kept of a client's offer, and longest name of anything.
const MAX_PROTOCOLS: usize = 8;
const MAX_NAME_BYTES: usize = 255;

/// A protocol version as the wire numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16);

impl Version {
    /// TLS 1.3, where most of the handshake is encrypted.
    pub const TLS_1_3: Self = Self(0x0304);

    /// `1.3`, as the attribute `tls.protocol.version` has it; `None` for a version that is none.
    pub const fn as_str(self) -> Option<&'static str> {
        Some(match self.0 {
            0x0300 => "3",
            0x0301 => "1.0",
            0x0302 => "1.1",
            0x0303 => "1.2",
            0x0304 => "1.3",
            _ => return None,
        })
    }

    /// The name of the protocol, as the attribute `tls.protocol.name` has it.
    pub const fn protocol(self) -> &'static str {
        if self.0 == 0x0300 { "ssl" } else { "tls" }
    }
}

/// What a client offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host it asks for.
    pub server_name: Option<String>,
    /// The application protocols it speaks, its favourite first (`h2`, `http/1.1`).
    pub protocols: Vec<String>,
}

/// What a server chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHello {
    /// The version.
    pub version: Version,
    /// The cipher suite.
    pub cipher: CipherSuite,
    /// The application protocol, if it is told in the clear (TLS 1.3 encrypts it).
    pub protocol: Option<String>,
}

impl ClientHello {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut hello = Self::default();
        let mut reader = Bytes(bytes);
        reader.take(2 + 32)?;
        reader.vector(1)?;
        reader.vector(2)?;
        reader.vector(1)?;
        for (kind, mut content) in extensions(&mut reader) {
            match kind {
                SERVER_NAME => hello.server_name = host_name(&mut content),
                APPLICATION_PROTOCOLS => {
                    let mut list = Bytes(content.vector(2).unwrap_or_default());
                    let names = std::iter::from_fn(|| list.vector(1)).take(MAX_PROTOCOLS);
                    hello.protocols = names.map(text).collect();
                }
                _ => {}
            }
        }
        Some(hello)
    }
}

impl ServerHello {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        let version = Version(reader.number(2)?);
        reader.take(32)?;
        reader.vector(1)?;
        let cipher = CipherSuite(reader.number(2)?);
        reader.take(1)?;
        let mut hello = Self { version, cipher, protocol: None };
        for (kind, mut content) in extensions(&mut reader) {
            match kind {
                SUPPORTED_VERSIONS => {
                    if let Some(version) = content.number(2) {
                        hello.version = Version(version);
                    }
                }
                APPLICATION_PROTOCOLS => {
                    let mut list = Bytes(content.vector(2).unwrap_or_default());
                    hello.protocol = list.vector(1).map(text);
                }
                _ => {}
            }
        }
        Some(hello)
    }
}

fn extensions<'a>(reader: &mut Bytes<'a>) -> impl Iterator<Item = (u16, Bytes<'a>)> {
    let mut list = Bytes(reader.vector(2).unwrap_or_default());
    std::iter::from_fn(move || Some((list.number(2)?, Bytes(list.vector(2)?))))
}

/// The first name of type `host_name` (RFC 6066 section 3).
fn host_name(content: &mut Bytes<'_>) -> Option<String> {
    let mut list = Bytes(content.vector(2)?);
    let kind = list.take(1)?;
    (kind == [0]).then(|| list.vector(2)).flatten().map(text)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_NAME_BYTES)]).into_owned()
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of at most two bytes.
    fn number(&mut self, bytes: usize) -> Option<u16> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u16::from(*byte)))
    }

    /// Content behind its length, which takes so many bytes.
    fn vector(&mut self, length_bytes: usize) -> Option<&'a [u8]> {
        let length = self.number(length_bytes)?;
        self.take(length.into())
    }
}
