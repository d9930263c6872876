//! How large clear text is once encrypted. Invariant: what cannot be told fits everything.

/// Most clear text of one record (RFC 8446 section 5.1, RFC 5246 section 6.2.1).
const RECORD_BYTES: u64 = 1 << 14;
/// What a record adds at least: its header, the kind of its content, and the shortest tag (RFC 8446 section 5.2 with the
/// cipher `AES_128_CCM_8`).
const LEAST_ADDED: u64 = 5 + 1 + 8;
/// And at most: its header, an initialisation vector, the longest code and its padding (RFC 5246 section 6.2.3.2 with
/// `AES_256_CBC_SHA384`).
const MOST_ADDED: u64 = 5 + 16 + 48 + 16;

/// Bounds of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encrypted {
    least: u64,
    most: u64,
}

impl Encrypted {
    /// Messages of a handshake, whose size nobody tells.
    pub(super) const UNKNOWN: Self = Self { least: 0, most: u64::MAX };

    /// So many bytes of clear text, encrypted.
    pub(super) fn of(clear: u64) -> Self {
        let records = clear.div_ceil(RECORD_BYTES);
        let with = |added: u64| clear.saturating_add(records.saturating_mul(added));
        Self { least: with(LEAST_ADDED), most: with(MOST_ADDED) }
    }

    /// This and more of it.
    pub(super) fn and(self, more: Self) -> Self {
        Self { least: self.least.saturating_add(more.least), most: self.most.saturating_add(more.most) }
    }

    /// Whether so many encrypted bytes may be this and nothing else.
    pub(super) fn is_made_of(self, bytes: u64) -> bool {
        (self.least..=self.most).contains(&bytes)
    }

    /// Whether so many encrypted bytes may hold this.
    pub(super) fn fits_into(self, bytes: u64) -> bool {
        self.least <= bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ciphers_make_of_it() {
        // AES-GCM in TLS 1.3 and 1.2, ChaCha20 in 1.2; a full record and one byte.
        for (clear, encrypted) in [(100, 122), (100, 129), (100, 121), (16_384, 16_406), (16_385, 16_429)] {
            assert!(Encrypted::of(clear).is_made_of(encrypted), "{clear} {encrypted}");
            assert!(Encrypted::of(clear).fits_into(encrypted + 1000), "{clear} {encrypted}");
        }
        for (clear, encrypted) in [(100, 100), (100, 113), (100, 186), (16_385, 16_410), (100, 0)] {
            assert!(!Encrypted::of(clear).is_made_of(encrypted), "{clear} {encrypted}");
        }
        assert!(!Encrypted::of(100).fits_into(113));
        assert!(Encrypted::of(0).fits_into(0));
    }

    #[test]
    fn sums() {
        let two = Encrypted::of(100).and(Encrypted::of(50));
        assert!(two.is_made_of(122 + 72) && !two.is_made_of(122));
        assert!(
            Encrypted::UNKNOWN.is_made_of(7) && Encrypted::UNKNOWN.and(Encrypted::of(9)).is_made_of(5000)
        );
        assert!(!Encrypted::UNKNOWN.and(Encrypted::of(9)).is_made_of(9));
        assert!(Encrypted::of(u64::MAX).and(two).is_made_of(u64::MAX));
    }
}
