//! Frame headers (RFC 9113 section 4.1) and what may stand in them.

/// Bytes of a frame header.
pub(super) const HEADER_BYTES: usize = 9;

/// What a client sends first (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY_FIELDS: u8 = 0x20;

/// RFC 9113 section 6, in the order of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// An extension's: to be passed over (section 4.1).
    Other,
}

const KINDS: [Kind; 10] = [
    Kind::Data,
    Kind::Headers,
    Kind::Priority,
    Kind::RstStream,
    Kind::Settings,
    Kind::PushPromise,
    Kind::Ping,
    Kind::GoAway,
    Kind::WindowUpdate,
    Kind::Continuation,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub length: u32,
    pub kind: Kind,
    pub flags: u8,
    pub stream: u32,
    /// The reserved bit, which is always 0.
    reserved: bool,
}

impl FrameHeader {
    pub fn read(bytes: &[u8; HEADER_BYTES]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = *bytes;
        let stream = u32::from_be_bytes(stream);
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind: KINDS.get(usize::from(kind)).copied().unwrap_or(Kind::Other),
            flags,
            stream: stream & 0x7fff_ffff,
            reserved: stream >> 31 != 0,
        }
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Padding stands at the end, its length in front.
    pub fn is_padded(&self) -> bool {
        matches!(self.kind, Kind::Data | Kind::Headers | Kind::PushPromise) && self.has(PADDED)
    }

    /// Bytes in front of the payload proper: the padding's length, the priority, the promised stream.
    pub fn fields_bytes(&self) -> u32 {
        let fields = match self.kind {
            Kind::Headers if self.has(PRIORITY_FIELDS) => 5,
            Kind::PushPromise | Kind::RstStream => 4,
            Kind::GoAway => 8,
            _ => 0,
        };
        (fields + u32::from(self.is_padded())).min(self.length)
    }

    /// A frame that the protocol allows. Not so: the framing is lost, or this is something else.
    pub fn is_valid(&self) -> bool {
        let on_stream = match self.kind {
            Kind::Data
            | Kind::Headers
            | Kind::Priority
            | Kind::RstStream
            | Kind::PushPromise
            | Kind::Continuation => self.stream != 0,
            Kind::Settings | Kind::Ping | Kind::GoAway => self.stream == 0,
            Kind::WindowUpdate | Kind::Other => true,
        };
        let fits = match self.kind {
            Kind::Priority => self.length == 5,
            Kind::RstStream | Kind::WindowUpdate => self.length == 4,
            Kind::Ping => self.length == 8,
            Kind::Settings => self.length.is_multiple_of(6) && (!self.has(ACK) || self.length == 0),
            Kind::GoAway => self.length >= 8,
            _ => true,
        };
        on_stream && fits
    }

    /// As strict as one may be with bytes of which nothing is known: what everybody sends, and nothing else.
    pub fn is_usual(&self) -> bool {
        let defined = match self.kind {
            Kind::Data => END_STREAM | PADDED,
            Kind::Headers => END_STREAM | END_HEADERS | PADDED | PRIORITY_FIELDS,
            Kind::Settings | Kind::Ping => ACK,
            Kind::PushPromise => END_HEADERS | PADDED,
            Kind::Continuation => END_HEADERS,
            Kind::Priority | Kind::RstStream | Kind::GoAway | Kind::WindowUpdate => 0,
            Kind::Other => return false,
        };
        self.is_valid() && !self.reserved && self.flags & !defined == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_judges() {
        let cases: &[(&[u8; 9], Kind, u32, bool, bool)] = &[
            (b"\0\0\x06\x04\0\0\0\0\0", Kind::Settings, 6, true, true),
            (b"\0\0\x06\x04\x01\0\0\0\0", Kind::Settings, 6, false, false),
            (b"\0\0\x05\x04\0\0\0\0\0", Kind::Settings, 5, false, false),
            (b"\0\0\0\x04\x01\0\0\0\0", Kind::Settings, 0, true, true),
            (b"\0\x40\0\0\x01\0\0\0\x01", Kind::Data, 16384, true, true),
            (b"\0\0\0\0\0\0\0\0\0", Kind::Data, 0, false, false),
            (b"\0\0\x01\x01\x05\0\0\0\x03", Kind::Headers, 1, true, true),
            (b"\0\0\x01\x01\x05\x80\0\0\x03", Kind::Headers, 1, true, false),
            (b"\0\0\x01\x01\x45\0\0\0\x03", Kind::Headers, 1, true, false),
            (b"\0\0\x04\x08\0\0\0\0\0", Kind::WindowUpdate, 4, true, true),
            (b"\0\0\x05\x08\0\0\0\0\0", Kind::WindowUpdate, 5, false, false),
            (b"\0\0\x05\x0b\0\0\0\0\0", Kind::Other, 5, true, false),
            (b"GET / HTT", Kind::Other, 0x47_4554, true, false),
        ];
        for (bytes, kind, length, valid, usual) in cases {
            let header = FrameHeader::read(bytes);
            let got = (header.kind, header.length, header.is_valid(), header.is_usual());
            assert_eq!(got, (*kind, *length, *valid, *usual), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn fields_in_front() {
        for (flags, kind, bytes) in
            [(0x28, 1, 6), (0x08, 0, 1), (0x08, 5, 5), (0, 7, 8), (0xff, 9, 0), (0, 3, 4)]
        {
            let header = FrameHeader::read(&[0, 0, 100, kind, flags, 0, 0, 0, 1]);
            assert_eq!(header.fields_bytes(), bytes, "kind {kind} flags {flags:x}");
        }
    }
}
