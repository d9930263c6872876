//! A header block while its frames pass.

use super::piece::Piece;

/// Bytes kept of one block. What is longer is cut off.
const MAX_BYTES: usize = 64 * 1024;

/// Fragments of HEADERS or `PUSH_PROMISE` and of the CONTINUATIONs after them.
#[derive(Debug)]
pub(super) struct Block {
    pub stream: u32,
    /// It opens a stream that was promised, and belongs to no message of `stream`.
    pub promise: bool,
    pub end_stream: bool,
    pub start_ns: u64,
    /// When the last of its bytes passed.
    pub last_ns: u64,
    pub position: u64,
    /// Bytes of its frames.
    pub wire_bytes: u64,
    /// The fragments as far as they were seen without a hole.
    pub bytes: Vec<u8>,
    /// There is a hole, and whatever follows it is of no use.
    pub cut: bool,
}

impl Block {
    pub fn take(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Seen(bytes) if !self.cut && self.bytes.len() + bytes.len() <= MAX_BYTES => {
                self.bytes.extend_from_slice(bytes);
            }
            piece => self.cut |= piece.len() > 0,
        }
    }
}
