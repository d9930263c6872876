//! The salted form of a secret.
//!
//! Invariant: what leaves here does not contain the secret.

use std::fmt::Write as _;

use md5::{Digest, Md5};

/// `$md5$<seconds>$<H>`, H = MD5(MD5(secret) + seconds), upper-case hex (`NewLife.Core`'s `SaltPasswordProvider`).
/// The server accepts it within ten minutes of `unix_s`.
pub(super) fn salted(secret: &str, unix_s: i64) -> String {
    let hash = md5_hex(&format!("{}{unix_s}", md5_hex(secret)));
    format!("$md5${unix_s}${hash}")
}

/// Upper-case hex.
pub(super) fn md5_hex(text: &str) -> String {
    let mut hex = String::with_capacity(32);
    for byte in Md5::digest(text.as_bytes()) {
        // Writing to a `String` cannot fail.
        let _ = write!(hex, "{byte:02X}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_server_s_vectors() {
        assert_eq!(md5_hex("New#life"), "C93ACA7AE24ECC5BC3A713B350220223");
        for (secret, unix_s, expected) in [
            ("New#life", 1_700_000_000, "$md5$1700000000$B8BCD179C93E540D8F26811E6C7D8842"),
            ("MySecret", 1_754_100_000, "$md5$1754100000$CE9905D4A65B5CFD7095693AD20EFBC7"),
        ] {
            assert_eq!(salted(secret, unix_s), expected);
        }
    }
}
