//! Writes frames, feeds them to the parser in calls, and writes its parts as short lines.

use model::Origin;
use protocol::Chunk;
use protocol::http2::{Content, Head, Parser, Part, Sender};

/// How many last bytes the kernel copies of a call that it does not copy whole.
pub const TAIL_BYTES: usize = 16;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Settings without a setting, from either side.
pub const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

/// `:method: GET`, `:scheme: http`, `:path: /` (RFC 7541 appendix A).
pub const GET: &[u8] = b"\x82\x86\x84";
/// `:status: 200`
pub const OK: &[u8] = b"\x88";

pub mod flag {
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

pub fn headers(stream: u32, end_stream: bool, block: &[u8]) -> Vec<u8> {
    frame(1, flag::END_HEADERS | u8::from(end_stream), stream, block)
}

pub fn data(stream: u32, end_stream: bool, content: &[u8]) -> Vec<u8> {
    frame(0, u8::from(end_stream), stream, content)
}

/// A literal field that goes into the table, or does not.
pub fn literal(indexed: bool, name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![if indexed { 0x40 } else { 0 }];
    for text in [name, value] {
        assert!(text.len() < 127, "a length of one byte");
        bytes.push(text.len() as u8);
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// One thing that happens. Calls are timed 1, 2, 3...
#[derive(Debug, Clone)]
pub enum Step {
    /// A call, of which at most so many first bytes are copied, and the tail.
    Call(Sender, Vec<u8>, usize),
    /// A call that was lost on the way.
    Lost(Sender, u64),
}

pub fn client(bytes: impl AsRef<[u8]>) -> Step {
    Step::Call(Sender::Client, bytes.as_ref().to_vec(), usize::MAX)
}

pub fn server(bytes: impl AsRef<[u8]>) -> Step {
    Step::Call(Sender::Server, bytes.as_ref().to_vec(), usize::MAX)
}

/// Runs the steps. Data in a row of one stream is one line.
pub fn play(origin: Origin, steps: &[Step]) -> Vec<String> {
    let mut parser = Parser::new(origin, origin);
    let mut lines = Lines::default();
    let mut positions = [0_u64; 2];
    for (at_ns, step) in (1..).zip(steps) {
        let (Step::Call(sender, ..) | Step::Lost(sender, _)) = step;
        let position = &mut positions[usize::from(*sender == Sender::Server)];
        match step {
            Step::Lost(_, len) => *position += len,
            Step::Call(_, bytes, limit) => {
                let (head, rest) = bytes.split_at(bytes.len().min(*limit));
                let tail = &rest[rest.len() - rest.len().min(TAIL_BYTES)..];
                let len = bytes.len() as u64;
                let chunk = Chunk { at_ns, position: *position, len, head, tail };
                parser.push(*sender, &chunk, &mut |sender, part| lines.add(sender, &part));
                *position += len;
            }
        }
    }
    lines.finish()
}

/// Data that goes on.
struct Run {
    sender: Sender,
    stream: u32,
    bytes: u64,
    content: Option<u64>,
    end: &'static str,
    at_ns: u64,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    runs: Vec<Run>,
}

impl Lines {
    fn add(&mut self, sender: Sender, part: &Part<'_>) {
        if let Part::Data { stream, at_ns, bytes, content, end_stream } = part {
            let content = match content {
                Content::Seen(bytes) => Some(bytes.len() as u64),
                Content::Missed(len) => Some(*len),
                Content::Unknown => None,
            };
            let end = if *end_stream { " end" } else { "" };
            match self.runs.iter_mut().find(|run| run.sender == sender) {
                Some(run) if run.stream == *stream && run.end.is_empty() => {
                    run.bytes += bytes;
                    run.content = run.content.zip(content).map(|(one, more)| one + more);
                    (run.end, run.at_ns) = (end, *at_ns);
                    return;
                }
                _ => self.flush(sender),
            }
            self.runs.push(Run { sender, stream: *stream, bytes: *bytes, content, end, at_ns: *at_ns });
            return;
        }
        self.flush(sender);
        self.lines.push(format!("{} {}", name(sender), line(part)));
    }

    fn flush(&mut self, sender: Sender) {
        if let Some(at) = self.runs.iter().position(|run| run.sender == sender) {
            let Run { stream, bytes, content, end, at_ns, .. } = self.runs.remove(at);
            let content = content.map_or("?".to_owned(), |len| len.to_string());
            self.lines.push(format!("{} {stream} data {bytes} of {content}{end} @{at_ns}", name(sender)));
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.flush(Sender::Client);
        self.flush(Sender::Server);
        self.lines
    }
}

fn name(sender: Sender) -> &'static str {
    match sender {
        Sender::Client => "client",
        Sender::Server => "server",
    }
}

fn line(part: &Part<'_>) -> String {
    match part {
        Part::Head { stream, head, start_ns, end_ns, position, bytes, cut, end_stream } => {
            let end = if *end_stream { " end" } else { "" };
            let more = if *cut { "+" } else { "" };
            format!("{stream} {} +{bytes}{more} @{position}{end} {start_ns}..{end_ns}", fields(head))
        }
        Part::Reset { stream, code, .. } => format!("{stream} reset {code:?}"),
        Part::GoAway { last_stream, code, .. } => format!("goaway {last_stream} {code}"),
        Part::Lost => "lost".to_owned(),
        Part::NotHttp => "not http".to_owned(),
        Part::Data { .. } => unreachable!("data is put together first"),
    }
}

/// `GET http /path x=1 ?2 cut`: what is known, how many are not, and whether it goes on.
pub fn fields(head: &Head) -> String {
    let status = head.status.map(|status| status.to_string());
    let pseudo = [&head.method, &head.scheme, &head.authority, &head.path, &head.protocol, &status];
    let mut words: Vec<String> = pseudo.into_iter().flatten().cloned().collect();
    words.extend(head.headers.iter().map(|(name, value)| format!("{name}={value}")));
    words.extend((head.unknown > 0).then(|| format!("?{}", head.unknown)));
    words.extend(head.truncated.then(|| "cut".to_owned()));
    words.join(" ")
}
