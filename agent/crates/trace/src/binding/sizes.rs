//! How large clear text is once encrypted. Invariant: what cannot be told fits everything.

/// Most clear text of one record (RFC 8446 section 5.1, RFC 5246 section 6.2.1).
const RECORD_BYTES: u64 = 1 << 14;
/// What a record adds at least: its header, the kind of its content, and the shortest tag (RFC 8446 section 5.2 with the
/// cipher `AES_128_CCM_8`).
const LEAST_ADDED: u64 = 5 + 1 + 8;
/// And at most: its header, an initialisation vector, the longest code and its padding (RFC 5246 section 6.2.3.2 with
/// `AES_256_CBC_SHA384`).
const MOST_ADDED: u64 = 5 + 16 + 48 + 16;

/// Bytes that have passed on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) bytes: u64,
    /// The kernel may have encrypted or decrypted them: then they are clear text.
    pub(crate) by_kernel: bool,
}

/// Bounds of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encrypted {
    clear: u64,
    least: u64,
    most: u64,
}

impl Passed {
    /// Nothing.
    pub(super) const NONE: Self = Self { bytes: 0, by_kernel: false };

    /// This and more.
    pub(super) fn and(self, more: Self) -> Self {
        let by_kernel = self.by_kernel || more.by_kernel;
        Self { bytes: self.bytes.saturating_add(more.bytes), by_kernel }
    }
}

impl Encrypted {
    /// Messages of a handshake, whose size nobody tells.
    pub(super) const UNKNOWN: Self = Self { clear: 0, least: 0, most: u64::MAX };

    /// So many bytes of clear text, encrypted.
    pub(super) fn of(clear: u64) -> Self {
        let records = clear.div_ceil(RECORD_BYTES);
        let with = |added: u64| clear.saturating_add(records.saturating_mul(added));
        Self { clear, least: with(LEAST_ADDED), most: with(MOST_ADDED) }
    }

    /// This and more of it.
    pub(super) fn and(self, more: Self) -> Self {
        Self {
            clear: self.clear.saturating_add(more.clear),
            least: self.least.saturating_add(more.least),
            most: self.most.saturating_add(more.most),
        }
    }

    /// Whether these bytes may be this and nothing else.
    pub(super) fn is_made_of(self, passed: Passed) -> bool {
        (self.least..=self.most).contains(&passed.bytes) || (passed.by_kernel && passed.bytes == self.clear)
    }

    /// Whether these bytes may hold this.
    pub(super) fn fits_into(self, passed: Passed) -> bool {
        passed.bytes >= if passed.by_kernel { self.clear } else { self.least }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_library(bytes: u64) -> Passed {
        Passed { bytes, by_kernel: false }
    }

    fn by_kernel(bytes: u64) -> Passed {
        Passed { bytes, by_kernel: true }
    }

    #[test]
    fn what_ciphers_make_of_it() {
        // AES-GCM in TLS 1.3 and 1.2, ChaCha20 in 1.2; a full record and one byte.
        for (clear, encrypted) in [(100, 122), (100, 129), (100, 121), (16_384, 16_406), (16_385, 16_429)] {
            assert!(Encrypted::of(clear).is_made_of(by_library(encrypted)), "{clear} {encrypted}");
            assert!(Encrypted::of(clear).is_made_of(by_kernel(encrypted)), "{clear} {encrypted}");
            assert!(Encrypted::of(clear).fits_into(by_library(encrypted + 1000)), "{clear} {encrypted}");
        }
        for (clear, encrypted) in [(100, 100), (100, 113), (100, 186), (16_385, 16_410), (100, 0)] {
            assert!(!Encrypted::of(clear).is_made_of(by_library(encrypted)), "{clear} {encrypted}");
        }
        assert!(!Encrypted::of(100).fits_into(by_library(113)));
        assert!(Encrypted::of(0).fits_into(by_library(0)));
    }

    #[test]
    fn what_the_kernel_encrypts_passes_as_it_is() {
        let two = Encrypted::of(100).and(Encrypted::of(50));
        assert!(Encrypted::of(100).is_made_of(by_kernel(100)) && two.is_made_of(by_kernel(150)));
        for bytes in [0, 99, 101, 113] {
            assert!(!Encrypted::of(100).is_made_of(by_kernel(bytes)), "{bytes}");
        }
        assert!(Encrypted::of(100).fits_into(by_kernel(100)) && !Encrypted::of(100).fits_into(by_kernel(99)));
        assert_eq!(by_library(7).and(by_kernel(8)), by_kernel(15));
    }

    #[test]
    fn sums() {
        let two = Encrypted::of(100).and(Encrypted::of(50));
        assert!(two.is_made_of(by_library(122 + 72)) && !two.is_made_of(by_library(122)));
        let unknown = Encrypted::UNKNOWN.and(Encrypted::of(9));
        assert!(Encrypted::UNKNOWN.is_made_of(by_library(7)) && unknown.is_made_of(by_library(5000)));
        assert!(!unknown.is_made_of(by_library(9)));
        assert!(Encrypted::of(u64::MAX).and(two).is_made_of(by_library(u64::MAX)));
    }
}
