//! Feeds steps to a parser and writes its parts as short lines, so that a table can say what is expected.

use model::Origin;
use protocol::Chunk;
use protocol::http1::{Asked, Part, RequestHead, RequestParser, ResponseHead, ResponseParser};

/// How many last bytes the kernel copies of a call that it does not copy whole.
pub const TAIL_BYTES: usize = 16;

/// One thing that happens in a direction. Calls are timed 1, 2, 3...
#[derive(Debug, Clone)]
pub enum Step {
    /// A call, copied whole.
    Call(Vec<u8>),
    /// A call of which only so many first bytes are copied, and the tail.
    Short(Vec<u8>, usize),
    /// A call of which nothing is copied.
    Hidden(u64),
    /// A call that was lost on the way.
    Lost(u64),
    /// So many bytes come again in the next call.
    Back(u64),
    /// A request has been seen on the other side.
    Expect(Asked),
    /// The response side has switched.
    Switch,
    /// The stream has ended.
    Close,
}

pub fn call(bytes: impl AsRef<[u8]>) -> Step {
    Step::Call(bytes.as_ref().to_vec())
}

pub fn short(bytes: impl AsRef<[u8]>, limit: usize) -> Step {
    Step::Short(bytes.as_ref().to_vec(), limit)
}

/// A name, what happens, and the lines that come of it.
pub type Case<'a> = (&'a str, Vec<Step>, &'a [&'a str]);

/// Either parser, behind lines.
pub trait Parser {
    fn new(origin: Origin) -> Self;
    fn push(&mut self, chunk: &Chunk<'_>, lines: &mut Vec<String>);
    fn close(&mut self, lines: &mut Vec<String>);
    fn expect(&mut self, asked: Asked);
    fn switch(&mut self, at_ns: u64, lines: &mut Vec<String>);
}

impl Parser for RequestParser {
    fn new(origin: Origin) -> Self {
        Self::new(origin)
    }

    fn push(&mut self, chunk: &Chunk<'_>, lines: &mut Vec<String>) {
        self.push(chunk, &mut |part| lines.push(line(&part, request)));
    }

    fn close(&mut self, lines: &mut Vec<String>) {
        self.close(&mut |part| lines.push(line(&part, request)));
    }

    fn expect(&mut self, _: Asked) {}

    fn switch(&mut self, at_ns: u64, lines: &mut Vec<String>) {
        self.switch(at_ns, &mut |part| lines.push(line(&part, request)));
    }
}

impl Parser for ResponseParser {
    fn new(origin: Origin) -> Self {
        Self::new(origin)
    }

    fn push(&mut self, chunk: &Chunk<'_>, lines: &mut Vec<String>) {
        self.push(chunk, &mut |part| lines.push(line(&part, response)));
    }

    fn close(&mut self, lines: &mut Vec<String>) {
        self.close(&mut |part| lines.push(line(&part, response)));
    }

    fn expect(&mut self, asked: Asked) {
        self.expect(asked);
    }

    fn switch(&mut self, _: u64, _: &mut Vec<String>) {}
}

/// Runs the steps. A head is `GET /x 1.1 @position start..head_end`, with `cut` behind it if truncated; an end
/// `end bytes by @time`.
pub fn play<P: Parser>(origin: Origin, steps: &[Step]) -> Vec<String> {
    let mut parser = P::new(origin);
    let mut lines = Vec::new();
    let (mut position, mut at_ns) = (0, 0);
    for step in steps {
        match step {
            Step::Call(bytes) => {
                at_ns += 1;
                let len = bytes.len() as u64;
                parser.push(&Chunk { at_ns, position, len, head: bytes, tail: &[] }, &mut lines);
                position += len;
            }
            Step::Short(bytes, limit) => {
                at_ns += 1;
                let (head, tail) = cut(bytes, *limit);
                let len = bytes.len() as u64;
                parser.push(&Chunk { at_ns, position, len, head, tail }, &mut lines);
                position += len;
            }
            Step::Hidden(len) => {
                at_ns += 1;
                parser.push(&Chunk { at_ns, position, len: *len, head: &[], tail: &[] }, &mut lines);
                position += len;
            }
            Step::Lost(len) => {
                at_ns += 1;
                position += len;
            }
            Step::Back(len) => position -= len,
            Step::Expect(asked) => parser.expect(*asked),
            Step::Switch => parser.switch(at_ns, &mut lines),
            Step::Close => parser.close(&mut lines),
        }
    }
    lines
}

pub fn requests(steps: &[Step]) -> Vec<String> {
    play::<RequestParser>(Origin::Start, steps)
}

/// Responses to as many requests as could be answered, all of them `Asked::Other`.
pub fn responses(steps: &[Step]) -> Vec<String> {
    let mut all = vec![Step::Expect(Asked::Other); 16];
    all.extend_from_slice(steps);
    play::<ResponseParser>(Origin::Start, &all)
}

/// What the kernel copies of a call: the first bytes up to the limit, and the tail of the rest.
pub fn cut(bytes: &[u8], limit: usize) -> (&[u8], &[u8]) {
    let (head, rest) = bytes.split_at(limit.min(bytes.len()));
    (head, &rest[rest.len() - rest.len().min(TAIL_BYTES)..])
}

fn line<H>(part: &Part<H>, head_line: impl Fn(&H) -> String) -> String {
    match part {
        Part::Head { head, start_ns, head_end_ns, position } => {
            format!("{} @{position} {start_ns}..{head_end_ns}", head_line(head))
        }
        Part::End { end_ns, bytes, by, .. } => format!("end {bytes} {by:?} @{end_ns}"),
        Part::Upgraded => "upgraded".to_owned(),
        Part::Lost => "lost".to_owned(),
        Part::NotHttp => "not http".to_owned(),
    }
}

fn request(head: &RequestHead) -> String {
    let cut = if head.truncated { " cut" } else { "" };
    format!("{} {} {}{cut}", head.method, head.target, version(head.version))
}

fn response(head: &ResponseHead) -> String {
    let cut = if head.truncated { " cut" } else { "" };
    format!("{} {}{cut}", head.status, version(head.version))
}

fn version(version: Option<model::HttpVersion>) -> &'static str {
    version.map_or("?", model::HttpVersion::as_str)
}
