//! Bytes in a row of which either all were seen or none.

/// Bytes of a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Seen(&'a [u8]),
    Missed(u64),
}

impl Piece<'_> {
    pub fn len(self) -> u64 {
        match self {
            Self::Seen(bytes) => bytes.len() as u64,
            Self::Missed(len) => len,
        }
    }

    /// The first `len` bytes, or all there are, and the rest.
    pub fn split(self, len: u64) -> (Self, Self) {
        match self {
            Self::Seen(bytes) => {
                let at = usize::try_from(len).map_or(bytes.len(), |len| len.min(bytes.len()));
                let (first, rest) = bytes.split_at(at);
                (Self::Seen(first), Self::Seen(rest))
            }
            Self::Missed(all) => (Self::Missed(len.min(all)), Self::Missed(all - len.min(all))),
        }
    }
}

/// Content of a message, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// These bytes.
    Seen(&'a [u8]),
    /// So many bytes that were not copied.
    Missed(u64),
    /// It is not known how many: what tells content from padding was not copied.
    Unknown,
}
