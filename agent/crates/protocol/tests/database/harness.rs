//! Plays conversations and writes what the parser tells as short lines, so that a table can say what is expected.

use model::Origin;
use protocol::Chunk;
pub use protocol::database::Kind;
use protocol::database::{Options, Parser, Part, Sender};

/// How many last bytes the kernel copies of a call that it does not copy whole.
const TAIL_BYTES: usize = 16;

/// One call of one side.
#[derive(Debug, Clone)]
pub struct Turn {
    pub sender: Sender,
    pub bytes: Vec<u8>,
}

pub fn client(bytes: impl AsRef<[u8]>) -> Turn {
    Turn { sender: Sender::Client, bytes: bytes.as_ref().to_vec() }
}

pub fn server(bytes: impl AsRef<[u8]>) -> Turn {
    Turn { sender: Sender::Server, bytes: bytes.as_ref().to_vec() }
}

/// The turns as calls that are copied whole.
pub fn play(kind: Kind, turns: &[Turn]) -> Vec<String> {
    play_from(kind, Origin::Start, turns, usize::MAX, |_, bytes| vec![bytes.len()])
}

/// The turns as calls of which so many first bytes are copied.
pub fn play_short(kind: Kind, turns: &[Turn], limit: usize) -> Vec<String> {
    play_from(kind, Origin::Start, turns, limit, |_, bytes| vec![bytes.len()])
}

/// `cuts`: where the calls of a turn end.
pub fn play_from(
    kind: Kind,
    origin: Origin,
    turns: &[Turn],
    limit: usize,
    cuts: impl Fn(usize, &[u8]) -> Vec<usize>,
) -> Vec<String> {
    let mut parser = Parser::new(kind, origin, Options { statements: true });
    let mut lines = Vec::new();
    let (mut sent, mut received, mut at_ns) = (0, 0, 0);
    for (number, turn) in turns.iter().enumerate() {
        at_ns += 1;
        let mut begin = 0;
        for end in cuts(number, &turn.bytes) {
            let bytes = &turn.bytes[begin..end];
            begin = end;
            if bytes.is_empty() {
                continue;
            }
            let position = if turn.sender == Sender::Client { &mut sent } else { &mut received };
            let (head, rest) = bytes.split_at(limit.min(bytes.len()));
            let tail = &rest[rest.len() - rest.len().min(TAIL_BYTES)..];
            let chunk = Chunk { at_ns, position: *position, len: bytes.len() as u64, head, tail };
            *position += bytes.len() as u64;
            parser.push(turn.sender, &chunk, &mut |part| lines.push(line(&part)));
        }
    }
    lines
}

/// `SELECT users "SELECT users" in shop @1..2 #0` (`+` before what joins a batch), `answer @3`,
/// `end 10/20 @4 42P01 Framing`.
fn line(part: &Part) -> String {
    match part {
        Part::Command { command, joins, start_ns, position, end_ns } => {
            let joins = if *joins { "+" } else { "" };
            let operation = command.operation.as_deref().unwrap_or("?");
            let table = command.collection.as_ref().map(|table| format!(" {table}")).unwrap_or_default();
            let text = command.text.as_ref().map(|text| format!(" `{text}`")).unwrap_or_default();
            let namespace = command.namespace.as_ref().map(|name| format!(" in {name}")).unwrap_or_default();
            format!("{joins}{operation}{table}{text}{namespace} @{start_ns}..{end_ns} #{position}")
        }
        Part::AnswerBegins { at_ns } => format!("answer @{at_ns}"),
        Part::AnswerEnds { end_ns, request_bytes, response_bytes, error, by } => {
            let error = error.as_ref().map(|error| format!(" {error}")).unwrap_or_default();
            format!("end {request_bytes}/{response_bytes} @{end_ns}{error} {by:?}")
        }
        Part::Unpaired => "unpaired".to_owned(),
        Part::Lost => "lost".to_owned(),
        Part::LetGo(why) => format!("let go {why:?}"),
    }
}

/// Plays the turns whole, byte by byte, and halved; all must give the wanted lines.
pub fn check(name: &str, kind: Kind, turns: &[Turn], want: &[&str]) {
    assert_eq!(play(kind, turns), want, "{name}: whole");
    let single = play_from(kind, Origin::Start, turns, usize::MAX, |_, bytes| (1..=bytes.len()).collect());
    assert_eq!(single, want, "{name}: single bytes");
    let halves =
        play_from(kind, Origin::Start, turns, usize::MAX, |_, bytes| vec![bytes.len() / 2, bytes.len()]);
    assert_eq!(halves, want, "{name}: halves");
}
