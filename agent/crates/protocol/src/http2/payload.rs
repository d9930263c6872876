//! Where in a frame's payload the next byte stands: fields in front, content, padding (RFC 9113 section 6).
//! Invariant: every byte of the payload is passed once.

use super::frame::{FrameHeader, HEADER_BYTES};
use super::piece::Piece;

/// The fields in front, and one setting, fit.
const KEPT_BYTES: usize = 9;
const SETTING_BYTES: usize = 6;

/// A frame whose header has been read.
#[derive(Debug)]
pub(super) struct Payload {
    pub frame: FrameHeader,
    /// Bytes of it that have passed and were not told yet.
    pub untold: u64,
    passed: u32,
    fields: [u8; KEPT_BYTES],
    fields_seen: bool,
    /// Where the content ends. `None`: the padding's length was not seen.
    content_end: Option<u32>,
}

/// What bytes of a payload are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In front of the content, or behind it.
    Beside,
    Content,
    /// Content or padding.
    Unsure,
}

impl Payload {
    /// A payload whose frame header has just passed.
    pub fn new(frame: FrameHeader) -> Self {
        Self {
            frame,
            untold: HEADER_BYTES as u64,
            passed: 0,
            fields: [0; KEPT_BYTES],
            fields_seen: true,
            content_end: Some(frame.length),
        }
    }

    pub fn is_over(&self) -> bool {
        self.passed >= self.frame.length
    }

    /// Bytes of it that are still to pass.
    pub fn left(&self) -> u32 {
        self.frame.length.saturating_sub(self.passed)
    }

    /// The bytes of the fields in front, if all have been seen.
    pub fn fields(&self) -> Option<&[u8]> {
        let bytes = self.frame.fields_bytes();
        (self.fields_seen && self.passed >= bytes).then_some(&self.fields[..bytes as usize])
    }

    /// Passes as much of the bytes as is of one kind: that, its kind, and the rest.
    pub fn pass<'a>(&mut self, piece: Piece<'a>) -> (Piece<'a>, Place, Piece<'a>) {
        let fields_end = self.frame.fields_bytes();
        let (end, place) = if self.passed < fields_end {
            (fields_end, Place::Beside)
        } else {
            match self.content_end {
                None => (self.frame.length, Place::Unsure),
                Some(end) if self.passed < end => (end, Place::Content),
                Some(_) => (self.frame.length, Place::Beside),
            }
        };
        let (taken, rest) = piece.split(u64::from(end - self.passed));
        if self.passed < fields_end {
            self.keep(taken);
        }
        self.passed += taken.len() as u32;
        self.untold += taken.len();
        if self.passed == fields_end && place == Place::Beside && self.frame.is_padded() {
            let padding = self.fields_seen.then_some(u32::from(self.fields[0]));
            self.content_end = padding.map(|bytes| self.frame.length.saturating_sub(bytes).max(fields_end));
        }
        (taken, place, rest)
    }

    /// The settings that the bytes just passed complete: number and value.
    pub fn each_setting(&mut self, piece: Piece<'_>, mut told: impl FnMut(u16, u32)) {
        let Piece::Seen(bytes) = piece else {
            self.fields_seen = false;
            return;
        };
        let first = self.passed as usize - bytes.len();
        for (at, &byte) in (first..).zip(bytes) {
            let at = at % SETTING_BYTES;
            self.fields_seen |= at == 0;
            self.fields[at] = byte;
            if at + 1 == SETTING_BYTES && self.fields_seen {
                let [a, b, value @ ..] = self.fields;
                let value = value.first_chunk().map_or(0, |value| u32::from_be_bytes(*value));
                told(u16::from_be_bytes([a, b]), value);
            }
        }
    }

    fn keep(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Seen(bytes) => {
                let at = self.passed as usize;
                self.fields[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Piece::Missed(len) => self.fields_seen &= len == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(kind: u8, flags: u8, length: u8) -> Payload {
        Payload::new(FrameHeader::read(&[0, 0, length, kind, flags, 0, 0, 0, 1]))
    }

    #[test]
    fn tells_content_from_what_is_beside_it() {
        // HEADERS with padding of 2 and a priority.
        let mut headers = payload(1, 0x28, 10);
        let bytes = [2, 0, 0, 0, 0, 9, b'a', b'b', 0, 0, b'+'];
        let (fields, place, rest) = headers.pass(Piece::Seen(&bytes));
        assert_eq!((fields, place), (Piece::Seen(&bytes[..6]), Place::Beside));
        let (content, place, rest) = headers.pass(rest);
        assert_eq!((content, place), (Piece::Seen(b"ab"), Place::Content));
        let (_, place, rest) = headers.pass(rest);
        assert_eq!((place, rest, headers.is_over()), (Place::Beside, Piece::Seen(b"+"), true));
        assert_eq!(headers.untold, 19);
    }

    #[test]
    fn settings_in_pieces() {
        let mut settings = payload(4, 0, 18);
        let mut found = Vec::new();
        let pieces = [
            Piece::Seen(&[0, 1, 0, 0][..]),
            Piece::Seen(&[0x10, 0, 0, 3]),
            Piece::Missed(4),
            Piece::Seen(&[0, 6, 0, 0, 0, 7]),
        ];
        for piece in pieces {
            let (taken, ..) = settings.pass(piece);
            settings.each_setting(taken, |id, value| found.push((id, value)));
        }
        assert_eq!(found, [(1, 0x1000), (6, 7)]);
    }

    #[test]
    fn padding_of_unknown_length() {
        let mut data = payload(0, 0x08, 10);
        let (taken, place, rest) = data.pass(Piece::Missed(12));
        assert_eq!((taken, place), (Piece::Missed(1), Place::Beside));
        let (taken, place, rest) = data.pass(rest);
        assert_eq!((taken, place, rest), (Piece::Missed(9), Place::Unsure, Piece::Missed(2)));
        assert!(data.is_over() && data.fields().is_none());
    }

    #[test]
    fn more_padding_than_there_is_room() {
        let mut data = payload(0, 0x08, 3);
        let (_, _, rest) = data.pass(Piece::Seen(&[200, 1, 2]));
        let (taken, place, _) = data.pass(rest);
        assert_eq!((taken.len(), place, data.is_over()), (2, Place::Beside, true));
    }
}
