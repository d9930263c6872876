//! A call's bytes while a parser takes them one piece after the other. Invariant: every byte of the call, copied
//! or not, is taken exactly once.

use crate::Chunk;
use crate::call::Call;

/// What is left of a call.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(crate) at_ns: u64,
    /// Where the next byte stands in its direction.
    pub(crate) position: u64,
    /// It begins where the socket call began.
    pub(crate) begins: bool,
    head: &'a [u8],
    hole: u64,
    tail: &'a [u8],
    /// The last bytes of the call, as far as they were copied together.
    ending: &'a [u8],
}

/// The next piece of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Bytes(&'a [u8]),
    /// So many bytes were not copied.
    Missing(u64),
    End,
}

impl<'a> Input<'a> {
    /// What of the chunk lies past `known`; `None` if nothing does.
    pub(crate) fn after(known: u64, chunk: &Chunk<'a>) -> Option<Self> {
        let call = Call::after(known, chunk)?;
        let Call { at_ns, position, head, hole, tail, begins } = call;
        Some(Self { at_ns, position, begins, head, hole, tail, ending: call.ending().0 })
    }

    pub(crate) fn peek(&self) -> Piece<'a> {
        match (self.head, self.hole, self.tail) {
            ([], 0, []) => Piece::End,
            ([], 0, tail) => Piece::Bytes(tail),
            ([], hole, _) => Piece::Missing(hole),
            (head, ..) => Piece::Bytes(head),
        }
    }

    /// Takes so many bytes of the piece that [`Self::peek`] shows, no more than it has.
    pub(crate) fn take(&mut self, bytes: u64) {
        match self.peek() {
            Piece::Bytes(piece) => {
                let taken = usize::try_from(bytes).map_or(piece.len(), |bytes| bytes.min(piece.len()));
                let rest = &piece[taken..];
                if self.head.is_empty() {
                    self.tail = rest;
                } else {
                    self.head = rest;
                }
                self.position += taken as u64;
            }
            Piece::Missing(hole) => {
                let taken = bytes.min(hole);
                self.hole -= taken;
                self.position += taken;
            }
            Piece::End => {}
        }
    }

    /// Takes all that is left.
    pub(crate) fn skip_all(&mut self) {
        self.position += self.left();
        (self.head, self.hole, self.tail) = (&[], 0, &[]);
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> u64 {
        self.head.len() as u64 + self.hole + self.tail.len() as u64
    }

    /// The last bytes of the call.
    pub(crate) fn ending(&self) -> &'a [u8] {
        self.ending
    }

    /// The copied bytes that come next, and whether they are all that is left.
    pub(crate) fn ahead(&self) -> (&'a [u8], bool) {
        (self.head, self.hole == 0 && self.tail.is_empty())
    }
}
