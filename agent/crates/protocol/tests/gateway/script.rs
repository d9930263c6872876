//! Any bytes, read as calls of a connection, keep the invariants of the parsers: every request that is told begins
//! before it ends, and no count exceeds what has passed.

use model::Origin;
use protocol::Chunk;
use protocol::fastcgi::{self, RequestPart, ResponsePart};
use protocol::http1::Part;
use protocol::uwsgi;

/// Each call: a byte of its first bytes' number, a byte of what is not copied after them, a byte that says whether
/// bytes are lost before, then the bytes.
pub fn run(script: &[u8]) {
    let (Some(first), mut rest) = (script.first(), script.get(1..).unwrap_or_default()) else { return };
    let origin = if first & 1 == 0 { Origin::Start } else { Origin::Midway };
    let mut plain = uwsgi::RequestParser::new(origin);
    let mut requests = fastcgi::RequestParser::new(origin);
    let mut responses = fastcgi::ResponseParser::new(origin);
    (1..4).for_each(|id| responses.expect(id));
    let (mut position, mut at_ns, mut open) = (0, 0, false);
    while let [len, hole, lost, after @ ..] = rest {
        let (head, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        at_ns += 1;
        position += if lost & 7 == 7 { u64::from(*lost) } else { 0 };
        let tail = &head[head.len().saturating_sub(usize::from(hole & 15))..];
        let len = (head.len() + tail.len()) as u64 + u64::from(*hole) * 64;
        let chunk = Chunk { at_ns, position, len, head, tail };
        position += len;
        plain.push(&chunk, &mut |part| match part {
            Part::Head { position: begin, start_ns, head_end_ns, .. } => {
                assert!(!std::mem::replace(&mut open, true), "the one before has ended");
                assert!(begin < position && start_ns <= head_end_ns && head_end_ns <= at_ns);
            }
            Part::End { end_ns, bytes, .. } => {
                assert!(std::mem::replace(&mut open, false), "it had begun");
                assert!(bytes <= position && end_ns <= at_ns);
            }
            _ => {}
        });
        requests.push(&chunk, &mut |part| match part {
            RequestPart::Head { position: begin, start_ns, .. } => {
                assert!(begin < position && start_ns <= at_ns);
            }
            RequestPart::End { end_ns, bytes, .. } => assert!(end_ns <= at_ns && bytes > 0),
            _ => {}
        });
        responses.push(&chunk, &mut |part| match part {
            ResponsePart::Head { head, start_ns, .. } => {
                assert!((100..1000).contains(&head.status) && start_ns <= at_ns);
            }
            ResponsePart::End { end_ns, .. } => assert!(end_ns <= at_ns),
            ResponsePart::Lost => {}
        });
    }
}
