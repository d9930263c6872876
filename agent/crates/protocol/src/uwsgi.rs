//! Requests in the uwsgi protocol, from the direction that carries them: a packet of variables, then the body as it is
//! (uWSGI documentation, "The uwsgi Protocol": one byte `modifier1`, 0 for WSGI; two bytes of size, little endian; one
//! byte `modifier2`; then names and values, each behind two bytes of its size). The response is plain HTTP/1.
//!
//! Invariants: as of [`crate::http1`]; a packet is kept up to its own size, 64 KiB.

use model::Origin;

use crate::Chunk;
use crate::call::Call;
use crate::gateway::{Request, Variables};
use crate::http1::{EndBy, Flow, Looks, Part};

const HEADER_BYTES: usize = 4;
/// Longest name looked for when first bytes are judged.
const MAX_NAME_BYTES: usize = 128;
/// How many bytes of the first name make sure.
const SURE_NAME_BYTES: usize = 3;

/// Judges first bytes: a packet for a Python application (`modifier1` is 0) whose first variable has a name.
pub fn detect(bytes: &[u8]) -> Looks {
    let is_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    if bytes.first().is_some_and(|modifier| *modifier != 0)
        || bytes.get(3).is_some_and(|modifier| *modifier != 0)
    {
        return Looks::Neither;
    }
    let (Some(size), Some(name)) = (size_at(bytes, 1), size_at(bytes, HEADER_BYTES)) else {
        return Looks::TooShort;
    };
    let shown = &bytes[HEADER_BYTES + 2..];
    let shown = &shown[..shown.len().min(name)];
    if !(1..=MAX_NAME_BYTES).contains(&name) || name + 4 > size || !shown.iter().all(is_name) {
        Looks::Neither
    } else if shown.len() >= name.min(SURE_NAME_BYTES) {
        Looks::Request
    } else {
        Looks::TooShort
    }
}

/// Two bytes, little endian.
fn size_at(bytes: &[u8], at: usize) -> Option<usize> {
    let pair = bytes.get(at..at + 2)?;
    Some(usize::from(u16::from_le_bytes([pair[0], pair[1]])))
}

/// Reads requests. Feed chunks in order.
#[derive(Debug)]
pub struct RequestParser {
    /// The position of the next byte.
    at: u64,
    /// `at` is known.
    anchored: bool,
    last_ns: u64,
    /// A request has been seen.
    proven: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The next byte is a packet's first.
    Boundary,
    /// In a packet.
    Packet(Box<Packet>),
    /// So many bytes of the request that begins at `position` are still to come.
    Rest { left: u64, position: u64 },
    /// In a request whose end cannot be counted.
    Endless { position: u64 },
    /// Looking for a call that begins with a packet.
    Searching,
    /// Not uwsgi.
    Done,
}

#[derive(Debug)]
struct Packet {
    start_ns: u64,
    position: u64,
    bytes: Vec<u8>,
}

type Sink<'a> = dyn FnMut(Part<Request>) + 'a;

impl RequestParser {
    /// `origin`: whether the first chunk holds the connection's first byte.
    pub fn new(origin: Origin) -> Self {
        let state = if origin == Origin::Start { State::Boundary } else { State::Searching };
        Self { at: 0, anchored: origin == Origin::Start, last_ns: 0, proven: false, state }
    }

    /// Takes the next chunk and gives the parts it completes, in order.
    pub fn push(&mut self, chunk: &Chunk<'_>, sink: &mut Sink<'_>) {
        if !std::mem::replace(&mut self.anchored, true) {
            self.at = chunk.position;
        }
        let Some(call) = Call::after(self.at, chunk) else { return };
        self.miss(call.position - self.at, self.last_ns, sink);
        if call.begins && detect(call.head) == Looks::Request {
            self.begin_anew(sink);
        }
        self.run(call.head, call.at_ns, sink);
        self.miss(call.hole, call.at_ns, sink);
        self.run(call.tail, call.at_ns, sink);
        self.last_ns = call.at_ns;
    }

    /// A call begins with a packet: where nothing else is known, a request does.
    fn begin_anew(&mut self, sink: &mut Sink<'_>) {
        match self.state {
            State::Endless { position } => {
                sink(Part::End {
                    end_ns: self.last_ns,
                    bytes: self.at - position,
                    by: EndBy::Lost,
                    flow: Flow::default(),
                });
                self.state = State::Boundary;
            }
            State::Searching => self.state = State::Boundary,
            _ => {}
        }
    }

    /// Bytes that are known.
    fn run(&mut self, mut bytes: &[u8], at_ns: u64, sink: &mut Sink<'_>) {
        while !bytes.is_empty() {
            if matches!(self.state, State::Boundary) {
                let packet = Packet { start_ns: at_ns, position: self.at, bytes: Vec::new() };
                self.state = State::Packet(Box::new(packet));
            }
            let taken = match &mut self.state {
                State::Packet(packet) => bytes.len().min(packet.wants()),
                State::Rest { left, .. } => {
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()))
                }
                _ => bytes.len(),
            };
            let (now, later) = bytes.split_at(taken);
            bytes = later;
            self.at += taken as u64;
            match &mut self.state {
                State::Packet(packet) => {
                    packet.bytes.extend_from_slice(now);
                    if packet.wants() == 0 {
                        self.open(false, at_ns, sink);
                    }
                }
                State::Rest { left, .. } => {
                    *left -= taken as u64;
                    self.end_if_over(at_ns, sink);
                }
                _ => {}
            }
        }
    }

    /// Bytes that nobody has seen.
    fn miss(&mut self, len: u64, at_ns: u64, sink: &mut Sink<'_>) {
        if len == 0 {
            return;
        }
        if matches!(self.state, State::Packet(_)) {
            self.open(true, at_ns, sink);
        }
        let begin = self.at;
        self.at = self.at.saturating_add(len);
        match &mut self.state {
            State::Rest { left, .. } if len <= *left => {
                *left -= len;
                self.end_if_over(at_ns, sink);
            }
            State::Rest { position, .. } => {
                sink(Part::End {
                    end_ns: self.last_ns,
                    bytes: begin - *position,
                    by: EndBy::Lost,
                    flow: Flow::default(),
                });
                self.lose(sink);
            }
            State::Boundary => self.lose(sink),
            _ => {}
        }
    }

    /// The packet is over, or as much of it as was seen.
    fn open(&mut self, truncated: bool, at_ns: u64, sink: &mut Sink<'_>) {
        let State::Packet(packet) = std::mem::replace(&mut self.state, State::Searching) else { return };
        let variables = packet.variables();
        let body = variables.body_bytes(truncated);
        let missing = packet.wants() as u64;
        let known_size = packet.bytes.len() >= HEADER_BYTES;
        let Some(request) = variables.request(truncated).filter(|_| known_size && packet.bytes[0] == 0)
        else {
            return self.lose(sink);
        };
        self.proven = true;
        let (start_ns, position) = (packet.start_ns, packet.position);
        sink(Part::Head { head: request, start_ns, head_end_ns: at_ns, position });
        self.state = match body {
            Some(body) => State::Rest { left: missing.saturating_add(body), position },
            None => State::Endless { position },
        };
        self.end_if_over(at_ns, sink);
    }

    fn end_if_over(&mut self, end_ns: u64, sink: &mut Sink<'_>) {
        if let State::Rest { left: 0, position } = self.state {
            sink(Part::End { end_ns, bytes: self.at - position, by: EndBy::Framing, flow: Flow::default() });
            self.state = State::Boundary;
        }
    }

    fn lose(&mut self, sink: &mut Sink<'_>) {
        sink(if self.proven { Part::Lost } else { Part::NotHttp });
        self.state = if self.proven { State::Searching } else { State::Done };
    }
}

impl Packet {
    /// How many bytes are still to come, as far as the ones so far tell.
    fn wants(&self) -> usize {
        let size = size_at(&self.bytes, 1).filter(|_| self.bytes.len() >= HEADER_BYTES);
        HEADER_BYTES + size.unwrap_or(0) - self.bytes.len()
    }

    /// The variables that are whole.
    fn variables(&self) -> Variables {
        let mut variables = Variables::default();
        let mut at = HEADER_BYTES;
        let mut next = || {
            let size = size_at(&self.bytes, at)?;
            let text = self.bytes.get(at + 2..at + 2 + size)?;
            at += 2 + size;
            Some(text)
        };
        while let (Some(name), Some(value)) = (next(), next()) {
            variables.take(name, value);
        }
        variables
    }
}
