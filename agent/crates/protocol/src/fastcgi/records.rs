//! Cuts a direction into records, by their lengths alone; across what was not copied too, as far as lengths reach.

use model::Origin;

use crate::Chunk;
use crate::call::Call;

pub(super) const BEGIN_REQUEST: u8 = 1;
pub(super) const ABORT_REQUEST: u8 = 2;
pub(super) const END_REQUEST: u8 = 3;
pub(super) const PARAMS: u8 = 4;
pub(super) const STDIN: u8 = 5;
pub(super) const STDOUT: u8 = 6;
pub(super) const STDERR: u8 = 7;
/// The last kind the specification knows: `FCGI_UNKNOWN_TYPE`.
const MAX_KIND: u8 = 11;

pub(super) const HEADER_BYTES: usize = 8;

/// A record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub kind: u8,
    pub id: u16,
    pub content: u16,
    pub padding: u8,
}

impl Header {
    /// `None`: no record begins so.
    pub fn read(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        let [version, kind, id1, id0, content1, content0, padding, _] = bytes;
        let (id, content) = (u16::from_be_bytes([id1, id0]), u16::from_be_bytes([content1, content0]));
        (version == 1 && (1..=MAX_KIND).contains(&kind)).then_some(Self { kind, id, content, padding })
    }

    /// Bytes of the whole record.
    pub fn bytes(self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.content) + u64::from(self.padding)
    }
}

/// What is made of the records.
pub(super) trait Reader {
    /// A record has begun, with its first byte at `position`, passed at `start_ns`.
    fn begin(&mut self, header: Header, start_ns: u64, position: u64);
    /// The next bytes of its content.
    fn content(&mut self, header: Header, bytes: &[u8]);
    /// So many bytes of its content were not seen.
    fn missing(&mut self, header: Header);
    /// Its last byte has passed.
    fn end(&mut self, header: Header, end_ns: u64);
    /// So many bytes passed of which nobody knows the records.
    fn adrift(&mut self, len: u64);
    /// A call is over whose last record nobody knows; `last`: the known bytes that end it.
    fn end_adrift(&mut self, last: &[u8], at_ns: u64);
    /// Records can no longer be told apart. False: nothing has been seen that makes them worth looking for.
    fn lose(&mut self) -> bool;
    /// Whether a call that begins so begins with a record.
    fn resumes(&self, call: &[u8]) -> bool;
}

/// One direction.
#[derive(Debug)]
pub(super) struct Records {
    at: u64,
    anchored: bool,
    last_ns: u64,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Header { bytes: [u8; HEADER_BYTES], len: usize, start_ns: u64, position: u64 },
    Content { header: Header, left: u64 },
    Padding { header: Header, left: u64 },
    Searching,
    Done,
}

const BOUNDARY: State = State::Header { bytes: [0; HEADER_BYTES], len: 0, start_ns: 0, position: 0 };

impl Records {
    pub fn new(origin: Origin) -> Self {
        let (anchored, state) = match origin {
            Origin::Start => (true, BOUNDARY),
            Origin::Midway => (false, State::Searching),
        };
        Self { at: 0, anchored, last_ns: 0, state }
    }

    /// Whether it is not known where records begin.
    pub fn is_lost(&self) -> bool {
        matches!(self.state, State::Searching | State::Done)
    }

    pub fn push(&mut self, chunk: &Chunk<'_>, reader: &mut dyn Reader) {
        if !std::mem::replace(&mut self.anchored, true) {
            self.at = chunk.position;
        }
        let Some(call) = Call::after(self.at, chunk) else { return };
        self.miss(call.position - self.at, self.last_ns, reader);
        if matches!(self.state, State::Searching) && call.begins && reader.resumes(call.head) {
            self.state = BOUNDARY;
        }
        self.run(call.head, call.at_ns, reader);
        self.miss(call.hole, call.at_ns, reader);
        self.run(call.tail, call.at_ns, reader);
        if matches!(self.state, State::Searching) {
            reader.end_adrift(call.ending().0, call.at_ns);
        }
        self.last_ns = call.at_ns;
    }

    fn run(&mut self, mut bytes: &[u8], at_ns: u64, reader: &mut dyn Reader) {
        while !bytes.is_empty() {
            let wanted = match &mut self.state {
                State::Header { len, start_ns, position, .. } => {
                    if *len == 0 {
                        (*start_ns, *position) = (at_ns, self.at);
                    }
                    HEADER_BYTES - *len
                }
                State::Content { left, .. } | State::Padding { left, .. } => {
                    usize::try_from(*left).unwrap_or(usize::MAX)
                }
                State::Searching | State::Done => bytes.len(),
            };
            let (now, later) = bytes.split_at(wanted.min(bytes.len()));
            bytes = later;
            self.at += now.len() as u64;
            match &mut self.state {
                State::Header { bytes, len, .. } => {
                    bytes[*len..*len + now.len()].copy_from_slice(now);
                    *len += now.len();
                }
                State::Content { header, left } => {
                    reader.content(*header, now);
                    *left -= now.len() as u64;
                }
                State::Padding { left, .. } => *left -= now.len() as u64,
                State::Searching => reader.adrift(now.len() as u64),
                State::Done => {}
            }
            self.advance(at_ns, reader);
        }
    }

    /// Goes on to the next part of the record, as long as parts are over.
    fn advance(&mut self, at_ns: u64, reader: &mut dyn Reader) {
        loop {
            self.state = match self.state {
                State::Header { bytes, len: HEADER_BYTES, start_ns, position } => match Header::read(bytes) {
                    Some(header) => {
                        reader.begin(header, start_ns, position);
                        State::Content { header, left: header.content.into() }
                    }
                    None => return self.lose(reader),
                },
                State::Content { header, left: 0 } => State::Padding { header, left: header.padding.into() },
                State::Padding { header, left: 0 } => {
                    reader.end(header, at_ns);
                    BOUNDARY
                }
                _ => return,
            };
        }
    }

    /// Bytes that nobody has seen.
    fn miss(&mut self, mut len: u64, at_ns: u64, reader: &mut dyn Reader) {
        while len > 0 {
            let taken = match &mut self.state {
                State::Content { header, left } => {
                    reader.missing(*header);
                    let taken = len.min(*left);
                    *left -= taken;
                    taken
                }
                State::Padding { left, .. } => {
                    let taken = len.min(*left);
                    *left -= taken;
                    taken
                }
                State::Header { len, .. } => {
                    reader.adrift(*len as u64);
                    self.lose(reader);
                    continue;
                }
                State::Searching => {
                    reader.adrift(len);
                    len
                }
                State::Done => len,
            };
            len -= taken;
            self.at = self.at.saturating_add(taken);
            self.advance(at_ns, reader);
        }
    }

    fn lose(&mut self, reader: &mut dyn Reader) {
        self.state = if reader.lose() { State::Searching } else { State::Done };
    }
}
