//! Integers and strings as HPACK writes them (RFC 7541 section 5). Invariant: a reader never goes back, and says
//! whether what it could not read was cut off or cannot be.

use super::huffman;

/// Integers beyond this do not occur in a block that fits into memory.
const MAX: u64 = u32::MAX as u64;

/// Why a value could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// The bytes end in the middle of it.
    Cut,
    /// No encoder writes this.
    Broken,
}

/// What is left of a block.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub &'a [u8]);

impl Reader<'_> {
    /// The next byte, which stays.
    pub fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// An integer with a prefix of `bits` bits (section 5.1).
    pub fn integer(&mut self, bits: u32) -> Result<u64, Unread> {
        let most = ((1_u16 << bits) - 1) as u8;
        let mut value = u64::from(self.byte()? & most);
        if value < u64::from(most) {
            return Ok(value);
        }
        for shift in (0..=28).step_by(7) {
            let byte = self.byte()?;
            value += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if value <= MAX { Ok(value) } else { Err(Unread::Broken) };
            }
        }
        Err(Unread::Broken)
    }

    /// A string (section 5.2), put into `text`.
    pub fn string(&mut self, text: &mut Vec<u8>) -> Result<(), Unread> {
        text.clear();
        let coded = self.peek().ok_or(Unread::Cut)? & 0x80 != 0;
        let length = usize::try_from(self.integer(7)?).map_err(|_| Unread::Broken)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Unread::Cut)?;
        self.0 = rest;
        if !coded {
            text.extend_from_slice(bytes);
        } else if !huffman::decode(bytes, text) {
            return Err(Unread::Broken);
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Unread> {
        let (&first, rest) = self.0.split_first().ok_or(Unread::Cut)?;
        self.0 = rest;
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        let cases: &[(&[u8], u32, Result<u64, Unread>)] = &[
            // RFC 7541 sections C.1.1 to C.1.3.
            (&[0x0a], 5, Ok(10)),
            (&[0x1f, 0x9a, 0x0a], 5, Ok(1337)),
            (&[0x2a], 8, Ok(42)),
            (&[0xff, 0x00], 7, Ok(127)),
            (&[0xff, 0x80, 0xff, 0xff, 0xff, 0x0f], 7, Ok(0xffff_ffff)),
            (&[0xff, 0x81, 0xff, 0xff, 0xff, 0x0f], 7, Err(Unread::Broken)),
            (&[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], 7, Err(Unread::Broken)),
            (&[0x1f, 0x9a], 5, Err(Unread::Cut)),
            (&[], 5, Err(Unread::Cut)),
        ];
        for (bytes, bits, want) in cases {
            assert_eq!(Reader(bytes).integer(*bits), *want, "{bytes:x?}");
        }
    }

    #[test]
    fn strings() {
        let cases: &[(&[u8], Result<&str, Unread>)] = &[
            (b"\x03abcd", Ok("abc")),
            (b"\x00", Ok("")),
            (b"\x86\xa8\xeb\x10\x64\x9c\xbf", Ok("no-cache")),
            (b"\x86\xa8\xeb\x10\x64\x9c", Err(Unread::Cut)),
            (b"\x81\x00", Err(Unread::Broken)),
            (b"", Err(Unread::Cut)),
        ];
        let mut text = b"before".to_vec();
        for (bytes, want) in cases {
            let read = Reader(bytes).string(&mut text);
            assert_eq!(read.map(|()| str::from_utf8(&text).unwrap()), *want, "{bytes:x?}");
        }
    }
}
