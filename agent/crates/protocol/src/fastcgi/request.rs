//! The direction of requests: variables by their numbers.

use model::Origin;

use super::records::{ABORT_REQUEST, BEGIN_REQUEST, Header, PARAMS, Reader, Records, STDIN};
use super::{MAX_KEPT_BYTES, MAX_OPEN, RequestPart, detect};
use crate::Chunk;
use crate::gateway::Variables;
use crate::http1::Looks;

/// Reads requests. Feed chunks in order.
#[derive(Debug)]
pub struct RequestParser {
    records: Records,
    requests: Requests,
}

#[derive(Debug, Default)]
struct Requests {
    open: Vec<Open>,
    parts: Vec<RequestPart>,
    /// A request has been seen.
    proven: bool,
}

/// A request that is passing.
#[derive(Debug)]
struct Open {
    id: u16,
    start_ns: u64,
    position: u64,
    bytes: u64,
    params: Vec<u8>,
    /// The variables from here on are not known.
    truncated: bool,
    told: bool,
}

impl RequestParser {
    /// `origin`: whether the first chunk holds the connection's first byte.
    pub fn new(origin: Origin) -> Self {
        Self { records: Records::new(origin), requests: Requests::default() }
    }

    /// Takes the next chunk and gives the parts it completes, in order.
    pub fn push(&mut self, chunk: &Chunk<'_>, sink: &mut dyn FnMut(RequestPart)) {
        self.records.push(chunk, &mut self.requests);
        self.requests.parts.drain(..).for_each(sink);
    }

    /// Bytes of a request so far.
    pub fn bytes(&self, id: u16) -> u64 {
        self.requests.open.iter().find(|open| open.id == id).map_or(0, |open| open.bytes)
    }
}

impl Requests {
    fn find(&mut self, id: u16) -> Option<&mut Open> {
        self.open.iter_mut().find(|open| open.id == id)
    }

    /// The variables of one are known, or as much of them as ever will be.
    fn tell(&mut self, id: u16) {
        let Some(open) = self.find(id).filter(|open| !open.told) else { return };
        open.told = true;
        let truncated = open.truncated;
        let (start_ns, position) = (open.start_ns, open.position);
        let request = variables(&std::mem::take(&mut open.params)).request(truncated);
        if let Some(request) = request.map(Box::new) {
            self.parts.push(RequestPart::Head { id, request, start_ns, position });
        }
    }

    fn finish(&mut self, id: u16, end_ns: u64) {
        self.tell(id);
        if let Some(at) = self.open.iter().position(|open| open.id == id) {
            let bytes = self.open.remove(at).bytes;
            self.parts.push(RequestPart::End { id, end_ns, bytes });
        }
    }
}

impl Reader for Requests {
    fn begin(&mut self, header: Header, start_ns: u64, position: u64) {
        if header.kind == BEGIN_REQUEST && header.id != 0 {
            self.proven = true;
            self.open.retain(|open| open.id != header.id);
            if self.open.len() >= MAX_OPEN {
                self.open.remove(0);
            }
            let (params, truncated, told) = (Vec::new(), false, false);
            self.open.push(Open { id: header.id, start_ns, position, bytes: 0, params, truncated, told });
            self.parts.push(RequestPart::Begin { id: header.id });
        }
        if let Some(open) = self.find(header.id) {
            open.bytes += header.bytes();
        }
    }

    fn content(&mut self, header: Header, bytes: &[u8]) {
        if header.kind == PARAMS
            && let Some(open) = self.find(header.id).filter(|open| !open.truncated && !open.told)
        {
            open.truncated = open.params.len() + bytes.len() > MAX_KEPT_BYTES;
            let room = MAX_KEPT_BYTES - open.params.len();
            open.params.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    fn missing(&mut self, header: Header) {
        if header.kind == PARAMS
            && let Some(open) = self.find(header.id)
        {
            open.truncated = true;
        }
    }

    fn end(&mut self, header: Header, end_ns: u64) {
        match (header.kind, header.content) {
            (PARAMS, 0) => self.tell(header.id),
            (STDIN, 0) | (ABORT_REQUEST, _) => self.finish(header.id, end_ns),
            _ => {}
        }
    }

    fn adrift(&mut self, len: u64) {
        if let [only] = &mut self.open[..] {
            only.bytes += len;
        }
    }

    fn end_adrift(&mut self, _last: &[u8], _at_ns: u64) {}

    fn lose(&mut self) -> bool {
        for id in self.open.iter().map(|open| open.id).collect::<Vec<_>>() {
            if let Some(open) = self.find(id) {
                open.truncated = true;
            }
            self.tell(id);
        }
        self.parts.push(if self.proven { RequestPart::Lost } else { RequestPart::Stranger });
        self.proven
    }

    fn resumes(&self, call: &[u8]) -> bool {
        detect(call) == Looks::Request
    }
}

/// Names and values, each behind its size: one byte, or four of which the first bit is set (section 3.4).
fn variables(params: &[u8]) -> Variables {
    let mut variables = Variables::default();
    let mut rest = params;
    while let Some((name, value, after)) = pair(rest) {
        variables.take(name, value);
        rest = after;
    }
    variables
}

fn pair(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, rest) = size(bytes)?;
    let (value, rest) = size(rest)?;
    let (name, rest) = rest.split_at_checked(name)?;
    let (value, rest) = rest.split_at_checked(value)?;
    Some((name, value, rest))
}

fn size(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [short @ ..0x80, rest @ ..] => Some((usize::from(*short), rest)),
        [b3, b2, b1, b0, rest @ ..] => {
            let size = u32::from_be_bytes([b3 & 0x7f, *b2, *b1, *b0]);
            Some((usize::try_from(size).ok()?, rest))
        }
        _ => None,
    }
}
