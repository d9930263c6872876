//! The direction of responses: a CGI head (RFC 3875 section 6), the body, and the end that is said in so many words.

use model::Origin;

use super::records::{END_REQUEST, HEADER_BYTES, Header, Reader, Records, STDERR, STDOUT};
use super::{MAX_KEPT_BYTES, MAX_OPEN, ResponsePart};
use crate::Chunk;
use crate::http1::{EmptyLine, Headers, ResponseHead, read_fields};

/// Bytes of a whole `FCGI_END_REQUEST` record without padding.
const END_BYTES: usize = 16;

/// How the application ended a request (`protocolStatus`, section 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is complete.
    Complete,
    /// It was refused: this connection takes one request at a time, the application is overloaded, or it does not
    /// know the role.
    Refused,
}

/// Reads responses. Feed chunks in order, and say of each request that it is expected before its response can come.
#[derive(Debug)]
pub struct ResponseParser {
    records: Records,
    responses: Responses,
}

#[derive(Debug, Default)]
struct Responses {
    open: Vec<Open>,
    parts: Vec<ResponsePart>,
}

/// A request that waits for its response, or for the end of it.
#[derive(Debug)]
struct Open {
    id: u16,
    bytes: u64,
    /// When and where its first record began.
    start: Option<(u64, u64)>,
    head: Vec<u8>,
    line: EmptyLine,
    told: bool,
    /// The content of an end that is passing.
    end: Vec<u8>,
}

impl ResponseParser {
    /// `origin`: whether the first chunk holds the connection's first byte.
    pub fn new(origin: Origin) -> Self {
        Self { records: Records::new(origin), responses: Responses::default() }
    }

    /// A request of this number has begun. One that still waits under the number is forgotten.
    pub fn expect(&mut self, id: u16) {
        let open = &mut self.responses.open;
        open.retain(|open| open.id != id);
        if open.len() >= MAX_OPEN {
            open.remove(0);
        }
        let (head, line, end) = (Vec::new(), EmptyLine::Begin, Vec::new());
        open.push(Open { id, bytes: 0, start: None, head, line, told: false, end });
    }

    /// Takes the next chunk and gives the parts it completes, in order.
    pub fn push(&mut self, chunk: &Chunk<'_>, sink: &mut dyn FnMut(ResponsePart)) {
        self.records.push(chunk, &mut self.responses);
        self.responses.parts.drain(..).for_each(sink);
    }

    /// Whether it is not known where records begin.
    pub fn is_lost(&self) -> bool {
        self.records.is_lost()
    }

    /// Bytes of the response to a request so far.
    pub fn bytes(&self, id: u16) -> u64 {
        self.responses.open.iter().find(|open| open.id == id).map_or(0, |open| open.bytes)
    }
}

impl Responses {
    fn find(&mut self, id: u16) -> Option<&mut Open> {
        self.open.iter_mut().find(|open| open.id == id)
    }

    /// The head of one is known, or as much of it as ever will be.
    fn tell(&mut self, id: u16, truncated: bool) {
        let Some(open) = self.find(id).filter(|open| !open.told) else { return };
        // Nothing of it has come yet.
        let Some((start_ns, position)) = open.start else { return };
        open.told = true;
        let head = read_head(&std::mem::take(&mut open.head), truncated);
        if let Some(head) = head {
            self.parts.push(ResponsePart::Head { id, head, start_ns, position });
        }
    }

    fn finish(&mut self, id: u16, end_ns: u64, protocol_status: u8) {
        self.tell(id, true);
        if let Some(at) = self.open.iter().position(|open| open.id == id) {
            let bytes = self.open.remove(at).bytes;
            let end = if protocol_status == 0 { End::Complete } else { End::Refused };
            self.parts.push(ResponsePart::End { id, end_ns, bytes, end });
        }
    }
}

impl Reader for Responses {
    fn begin(&mut self, header: Header, start_ns: u64, position: u64) {
        if let Some(open) = self.find(header.id) {
            open.start.get_or_insert((start_ns, position));
            open.bytes += header.bytes();
        }
    }

    fn content(&mut self, header: Header, bytes: &[u8]) {
        let Some(open) = self.find(header.id) else { return };
        match header.kind {
            STDOUT if !open.told => {
                let end = open.line.find(bytes);
                let room = MAX_KEPT_BYTES - open.head.len();
                let of_head = end.unwrap_or(bytes.len());
                open.head.extend_from_slice(&bytes[..of_head.min(room)]);
                if end.is_some() || of_head > room {
                    self.tell(header.id, of_head > room);
                }
            }
            END_REQUEST => open.end.extend_from_slice(bytes),
            _ => {}
        }
    }

    fn missing(&mut self, header: Header) {
        if header.kind == STDOUT {
            self.tell(header.id, true);
        }
    }

    fn end(&mut self, header: Header, end_ns: u64) {
        if header.kind == END_REQUEST
            && let Some(open) = self.find(header.id)
        {
            let status = open.end.get(4).copied().unwrap_or(0);
            self.finish(header.id, end_ns, status);
        }
    }

    fn adrift(&mut self, len: u64) {
        if let [only] = &mut self.open[..] {
            only.bytes += len;
        }
    }

    /// An end that stands at the end of a call can be told without the records before it: 16 bytes of which the number
    /// is one that waits and 9 others are fixed.
    fn end_adrift(&mut self, last: &[u8], at_ns: u64) {
        let Some(last) = last.last_chunk::<END_BYTES>() else { return };
        let Some((header, content)) = last.split_first_chunk::<HEADER_BYTES>() else { return };
        let is_end =
            |header: &Header| header.kind == END_REQUEST && header.content == 8 && header.padding == 0;
        if let Some(header) = Header::read(*header).filter(is_end)
            && last[7] == 0
            && content[4] <= 3
            && content[5..] == [0; 3]
        {
            self.finish(header.id, at_ns, content[4]);
        }
    }

    fn lose(&mut self) -> bool {
        for id in self.open.iter().map(|open| open.id).collect::<Vec<_>>() {
            self.tell(id, true);
        }
        self.parts.push(ResponsePart::Lost);
        true
    }

    fn resumes(&self, call: &[u8]) -> bool {
        let header = call.first_chunk().and_then(|bytes| Header::read(*bytes).filter(|_| bytes[7] == 0));
        header.is_some_and(|header| {
            matches!(header.kind, STDOUT | STDERR | END_REQUEST)
                && self.open.iter().any(|open| open.id == header.id)
        })
    }
}

/// A CGI head: fields, of which `Status` gives the status; without it 302 where `Location` stands, else 200 (RFC 3875
/// sections 6.2.3 and 6.3.3).
fn read_head(bytes: &[u8], truncated: bool) -> Option<ResponseHead> {
    let (headers, all) = read_fields(bytes);
    let status = match headers.get("status") {
        Some(status) => status_of(status)?,
        // Where it may be among what was not seen, nobody knows.
        None if truncated => return None,
        None if headers.get("location").is_some() => 302,
        None => 200,
    };
    let headers: Headers = headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("status")).collect();
    Some(ResponseHead { status, version: None, headers, sized: false, truncated: truncated || !all })
}

fn status_of(text: &str) -> Option<u16> {
    let digits = text.get(..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|status| (100..1000).contains(status))
}
