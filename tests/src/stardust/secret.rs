//! Whether a login's secret is the app's.
//!
//! Invariant: the order of the checks is the server's own: no secret stored, plain, salted, hashed.

use md5::{Digest, Md5};

/// What a login's secret was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The app was made by this very login.
    NewApp,
    /// The app has no secret: anything is taken.
    NotNeeded,
    /// The secret itself.
    Plain,
    /// `$md5$seconds$hash` within the window of time.
    Salted,
    /// The secret's MD5.
    Hashed,
    /// None of these, or nothing.
    Wrong,
}

/// The secret has `$` signs, but not three of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadFormat;

/// Compares the secret a login `given` with the app's `stored` one, at Unix second `now_s`.
///
/// The keyed sha1 and sha512 forms, which no client sends, count as wrong.
pub fn verify(stored: &str, given: Option<&str>, now_s: i64, window_s: i64) -> Result<Proof, BadFormat> {
    if stored.is_empty() {
        return Ok(Proof::NotNeeded);
    }
    let Some(given) = given.filter(|given| !given.is_empty()) else { return Ok(Proof::Wrong) };
    if given.eq_ignore_ascii_case(stored) {
        return Ok(Proof::Plain);
    }
    let parts: Vec<&str> = given.split('$').collect();
    match parts[..] {
        [hash] if hash == md5_hex(stored) => Ok(Proof::Hashed),
        ["", "md5", salt, hash] => {
            let in_time =
                salt.parse::<i64>().is_ok_and(|at_s| now_s.abs_diff(at_s) <= window_s.unsigned_abs());
            let right = hash == md5_hex(&format!("{}{salt}", md5_hex(stored)));
            Ok(if in_time && right { Proof::Salted } else { Proof::Wrong })
        }
        [_] | [_, _, _, _] => Ok(Proof::Wrong),
        _ => Err(BadFormat),
    }
}

/// MD5 of the text's UTF-8 bytes, as 32 upper-case hex digits.
pub fn md5_hex(text: &str) -> String {
    use std::fmt::Write as _;
    Md5::digest(text).iter().fold(String::with_capacity(32), |mut hex, byte| {
        let _ = write!(hex, "{byte:02X}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const SALTED: &str = "$md5$1754100000$CE9905D4A65B5CFD7095693AD20EFBC7";

    #[rstest]
    #[case::none_stored("", Some("anything"), 0, Ok(Proof::NotNeeded))]
    #[case::plain("MySecret", Some("mysecret"), 0, Ok(Proof::Plain))]
    #[case::salted("MySecret", Some(SALTED), 1_754_100_000, Ok(Proof::Salted))]
    #[case::last_second("MySecret", Some(SALTED), 1_754_100_600, Ok(Proof::Salted))]
    #[case::too_late("MySecret", Some(SALTED), 1_754_100_601, Ok(Proof::Wrong))]
    #[case::too_early("MySecret", Some(SALTED), 1_754_099_399, Ok(Proof::Wrong))]
    #[case::second_vector(
        "New#life",
        Some("$md5$1700000000$B8BCD179C93E540D8F26811E6C7D8842"),
        1_700_000_000,
        Ok(Proof::Salted)
    )]
    #[case::lower_hex(
        "MySecret",
        Some("$md5$1754100000$ce9905d4a65b5cfd7095693ad20efbc7"),
        1_754_100_000,
        Ok(Proof::Wrong)
    )]
    #[case::hashed("MySecret", Some("4132D75E6CB04073CC7756707057027F"), 0, Ok(Proof::Hashed))]
    #[case::absent("MySecret", None, 0, Ok(Proof::Wrong))]
    #[case::empty("MySecret", Some(""), 0, Ok(Proof::Wrong))]
    #[case::other("MySecret", Some("x"), 0, Ok(Proof::Wrong))]
    #[case::broken("MySecret", Some("$md5$1754100000"), 0, Err(BadFormat))]
    fn verifies(
        #[case] stored: &str,
        #[case] given: Option<&str>,
        #[case] now_s: i64,
        #[case] expected: Result<Proof, BadFormat>,
    ) {
        assert_eq!(verify(stored, given, now_s, 600), expected);
    }
}
