//! gRPC's messages within the content of a stream: five bytes in front of each say its length
//! (gRPC over HTTP/2, "Length-Prefixed-Message").

use crate::http2::Content;

/// Flag and length in front of a message.
const PREFIX_BYTES: usize = 5;

/// Counts the messages of one direction of a stream.
#[derive(Debug, Clone)]
pub struct Messages {
    whole: u64,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// In the bytes in front of a message.
    Prefix { bytes: [u8; PREFIX_BYTES], have: usize },
    /// So much of a message is left.
    Message(u64),
    /// It is not known where messages begin.
    Unknown,
}

const BETWEEN: State = State::Prefix { bytes: [0; PREFIX_BYTES], have: 0 };

impl Messages {
    /// `from_start`: the content will be given from its first byte.
    pub fn new(from_start: bool) -> Self {
        Self { whole: 0, state: if from_start { BETWEEN } else { State::Unknown } }
    }

    /// Takes the next content.
    pub fn push(&mut self, content: Content<'_>) {
        match content {
            Content::Seen(bytes) => self.see(bytes),
            Content::Missed(bytes) => self.miss(bytes),
            Content::Unknown => self.state = State::Unknown,
        }
    }

    /// Whether what passes next belongs to a message that has begun, or may do so.
    pub fn is_inside(&self) -> bool {
        !matches!(self.state, State::Prefix { have: 0, .. } | State::Unknown)
    }

    /// Content may have been missed.
    pub fn lose(&mut self) {
        self.state = State::Unknown;
    }

    /// Messages whose last byte has passed. `None`: not known for certain.
    pub fn count(&self) -> Option<u64> {
        (!matches!(self.state, State::Unknown)).then_some(self.whole)
    }

    fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Unknown => return,
                State::Message(left) => {
                    let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    bytes = &bytes[taken..];
                    self.advance(taken as u64);
                }
                State::Prefix { bytes: prefix, have } => {
                    let (first, rest) = bytes.split_at(bytes.len().min(PREFIX_BYTES - *have));
                    prefix[*have..*have + first.len()].copy_from_slice(first);
                    *have += first.len();
                    bytes = rest;
                    if *have == PREFIX_BYTES {
                        let [flag, length @ ..] = *prefix;
                        // 0 or 1: whether it is compressed. Anything else is not gRPC.
                        self.state = match flag {
                            0 | 1 => State::Message(u64::from(u32::from_be_bytes(length))),
                            _ => State::Unknown,
                        };
                        self.advance(0);
                    }
                }
            }
        }
    }

    /// Content that was not copied is counted off a message that it lies within.
    fn miss(&mut self, bytes: u64) {
        match self.state {
            State::Message(left) if bytes <= left => self.advance(bytes),
            _ if bytes == 0 => {}
            _ => self.state = State::Unknown,
        }
    }

    fn advance(&mut self, bytes: u64) {
        if let State::Message(left) = &mut self.state {
            *left -= bytes;
            if *left == 0 {
                self.whole += 1;
                self.state = BETWEEN;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_what_is_certain() {
        use Content::{Missed, Seen, Unknown};
        let cases: &[(&str, &[Content<'_>], Option<u64>)] = &[
            ("nothing", &[], Some(0)),
            ("an empty one", &[Seen(b"\0\0\0\0\0")], Some(1)),
            ("one and a half", &[Seen(b"\0\0\0\0\x02ab\x01\0\0\0\x02c")], Some(1)),
            ("in pieces", &[Seen(b"\0\0"), Seen(b"\0\0\x02a"), Seen(b"b\0\0\0\0\x01c")], Some(2)),
            (
                "a middle missed",
                &[Seen(b"\0\0\0\x01\0"), Missed(200), Missed(56), Seen(b"\0\0\0\0\0")],
                Some(2),
            ),
            ("a beginning missed", &[Seen(b"\0\0\0\0\x02"), Missed(3)], None),
            ("not known how much", &[Seen(b"\0\0\0\0\0"), Unknown], None),
            ("something else", &[Seen(b"{\"a\": 1}")], None),
        ];
        for (name, contents, want) in cases {
            let mut messages = Messages::new(true);
            contents.iter().for_each(|content| messages.push(*content));
            assert_eq!(messages.count(), *want, "{name}");
        }
        assert_eq!(Messages::new(false).count(), None);
    }

    proptest! {
        /// However the bytes are cut, and whichever of them are missed: the count is right, or there is none.
        #[test]
        fn counts_do_not_depend_on_the_cutting(
            lengths in vec(0..300_usize, 0..10),
            cuts in vec((any::<prop::sample::Index>(), prop::bool::weighted(0.2)), 0..10),
        ) {
            let message = |length: &usize| [&[0], &(*length as u32).to_be_bytes()[..], &vec![7; *length]].concat();
            let bytes: Vec<u8> = lengths.iter().flat_map(message).collect();
            let mut ends: Vec<_> = cuts.iter().map(|(cut, missed)| (cut.index(bytes.len() + 1), *missed)).collect();
            ends.sort_unstable();
            ends.push((bytes.len(), false));
            let (mut messages, mut at, mut is_whole) = (Messages::new(true), 0, true);
            for (end, missed) in ends {
                let piece = &bytes[at..end];
                messages.push(if missed { Content::Missed(piece.len() as u64) } else { Content::Seen(piece) });
                is_whole &= !missed || piece.is_empty();
                at = end;
            }
            prop_assert!(messages.count().is_none_or(|count| count == lengths.len() as u64));
            prop_assert!(!is_whole || messages.count().is_some());
        }
    }
}
