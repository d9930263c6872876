//! Numbers as Python writes them.

use super::Objects;

/// `PyLongObject` (Include/cpython/longintrepr.h, until 3.11 Include/longintrepr.h): until 3.11 the size's sign is
/// the number's; since 3.12 the tag holds the count of digits above three bits of sign and flags.
const LONG_TAG: u32 = 16;
const LONG_DIGITS: u64 = 24;
/// Digits of 30 bits.
const DIGIT_BITS: u32 = 30;
/// Longer numbers are not written out.
const DIGITS_MAX: u64 = 32;

/// `PyFloatObject.ob_fval` (Include/cpython/floatobject.h).
const FLOAT_VALUE: u32 = 16;

impl Objects<'_> {
    /// An int in decimal.
    pub(crate) fn int(&self, address: u64) -> Option<String> {
        let tag = self.word(address, LONG_TAG)?;
        let (count, negative) = if self.layout.minor <= 11 {
            (tag.cast_signed().unsigned_abs(), tag.cast_signed() < 0)
        } else {
            (tag >> 3, tag & 3 == 2)
        };
        if count > DIGITS_MAX {
            return None;
        }
        let mut bytes = vec![0; 4 * count as usize];
        if !self.memory.read(address.checked_add(LONG_DIGITS)?, &mut bytes) {
            return None;
        }
        let digits =
            bytes.chunks_exact(4).map(|digit| u32::from_ne_bytes([digit[0], digit[1], digit[2], digit[3]]));
        let text = decimal(digits.collect());
        Some(if negative { format!("-{text}") } else { text })
    }

    /// A float as `repr` writes it.
    pub(crate) fn float(&self, address: u64) -> Option<String> {
        Some(float_text(f64::from_bits(self.word(address, FLOAT_VALUE)?)))
    }
}

/// `digits`: the lowest first.
fn decimal(mut digits: Vec<u32>) -> String {
    const BILLION: u64 = 1_000_000_000;
    let mut groups = Vec::new();
    while digits.iter().any(|digit| *digit != 0) {
        let mut rest = 0;
        for digit in digits.iter_mut().rev() {
            let value = rest << DIGIT_BITS | u64::from(*digit);
            *digit = (value / BILLION) as u32;
            rest = value % BILLION;
        }
        groups.push(rest);
    }
    let Some(first) = groups.pop() else { return "0".to_owned() };
    groups.iter().rev().fold(first.to_string(), |text, group| format!("{text}{group:09}"))
}

/// The shortest digits that give the same number; an exponent below -4 and from 16 on (Objects/floatobject.c,
/// `float_repr`; Python/pystrtod.c).
fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        if plain.contains('.') { plain } else { plain + ".0" }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ints_of_any_size() {
        for (digits, want) in [
            (vec![], "0"),
            (vec![7], "7"),
            (vec![0, 1], "1073741824"),
            (vec![0, 0, 1], "1152921504606846976"),
            (vec![0x3fff_ffff; 4], "1329227995784915872903807060280344575"),
            (vec![0, 0, 0, 0, 64], "85070591730234615865843651857942052864"),
        ] {
            assert_eq!(decimal(digits), want);
        }
    }

    #[test]
    fn floats_as_repr_writes_them() {
        for (value, want) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.5, "1.5"),
            (100.0, "100.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e-5, "1.25e-05"),
            (0.0001, "0.0001"),
            (1e300, "1e+300"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(float_text(value), want);
        }
    }
}
