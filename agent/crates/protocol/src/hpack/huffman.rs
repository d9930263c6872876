//! The Huffman code of RFC 7541 appendix B. The code is canonical (codes of one length are consecutive, shorter
//! ones come first), so the lengths alone give it. Invariant: at most 8/5 bytes come out for one that goes in.

/// The code's length in bits of each byte, and of the end of string.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6,
    6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5,
    5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23,
    24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23,
    21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21,
    21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27,
    26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const SYMBOLS: usize = 257;
const END_OF_STRING: u16 = 256;
const LONGEST: usize = 30;
/// Codes up to this length are looked up at once: all of the usual ASCII.
const SHORT: usize = 8;

/// Appends what `coded` stands for. False if it is not a string in this code: it holds the end of string, or
/// its last bits are not those of a padding (section 5.2).
pub(super) fn decode(coded: &[u8], text: &mut Vec<u8>) -> bool {
    let (mut bits, mut held) = (0_u64, 0_usize);
    for &byte in coded {
        bits = bits << 8 | u64::from(byte);
        held += 8;
        while let Some((symbol, length)) = first(bits, held) {
            if symbol == END_OF_STRING {
                return false;
            }
            text.push(symbol as u8);
            held -= length;
            bits &= (1 << held) - 1;
        }
        // Longer than any code.
        if held > LONGEST {
            return false;
        }
    }
    held < 8 && bits == (1 << held) - 1
}

/// The symbol that the first of `held` bits are the code of, and the code's length. `None`: more bits are needed.
fn first(bits: u64, held: usize) -> Option<(u16, usize)> {
    if held == 0 {
        return None;
    }
    let left_aligned = (bits << (64 - held) >> 32) as u32;
    let (symbol, length) = CODE.short[(left_aligned >> (32 - SHORT)) as usize];
    if length > 0 {
        let length = usize::from(length);
        return (length <= held).then_some((symbol, length));
    }
    (SHORT + 1..=held.min(LONGEST)).find_map(|length| {
        let row = &CODE.rows[length];
        let place = (left_aligned >> (32 - length)).checked_sub(row.first)?;
        (place < row.count).then(|| (CODE.sorted[(row.begin + place) as usize], length))
    })
}

/// The codes of one length: their first, how many there are, and where their symbols begin in `sorted`.
#[derive(Clone, Copy)]
struct Row {
    first: u32,
    count: u32,
    begin: u32,
}

struct Code {
    /// Symbol and length by the first bits; length 0 where the code is longer.
    short: [(u16, u8); 1 << SHORT],
    rows: [Row; LONGEST + 1],
    /// The symbols in the order of their codes.
    sorted: [u16; SYMBOLS],
}

static CODE: Code = build();

const fn build() -> Code {
    let mut code = Code {
        short: [(0, 0); 1 << SHORT],
        rows: [Row { first: 0, count: 0, begin: 0 }; LONGEST + 1],
        sorted: [0; SYMBOLS],
    };
    let (mut next, mut placed, mut length) = (0_u32, 0_usize, 1);
    while length <= LONGEST {
        next <<= 1;
        code.rows[length] = Row { first: next, count: 0, begin: placed as u32 };
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                code.sorted[placed] = symbol as u16;
                placed += 1;
                if length <= SHORT {
                    let mut at = (next as usize) << (SHORT - length);
                    let end = (next as usize + 1) << (SHORT - length);
                    while at < end {
                        code.short[at] = (symbol as u16, length as u8);
                        at += 1;
                    }
                }
                code.rows[length].count += 1;
                next += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        decode(coded, &mut text).then_some(text)
    }

    #[test]
    fn the_code_is_complete() {
        let filled: u64 = LENGTHS.iter().map(|&length| 1 << (LONGEST - usize::from(length))).sum();
        assert_eq!(filled, 1 << LONGEST);
    }

    #[test]
    fn strings_of_the_appendix() {
        for (coded, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("", ""),
        ] {
            assert_eq!(decoded(&hex(coded)).as_deref(), Some(text.as_bytes()), "{coded}");
        }
    }

    /// Bytes 0 to 255 as the `PyPI` package `hpack` codes them.
    const ALL_BYTES: &str = "\
        ffc7fffd8fffffe2fffffe3fffffe4fffffe5fffffe6fffffe7fffffe8ffffeafffffff3fffffa7fffffabffffffdfff\
        ffebfffffecfffffedfffffeefffffefffffff0ffffff1ffffff2fffffffbfffffcffffffd3fffffd7fffffdbfffffdf\
        fffffe3fffffe7fffffebfffffed4fe3f9ffaffcabf1febfafefe7fdfd2cbb00089969b71d79fb9f7fff20ffbff3ff50\
        ddbd7f061c58f265cd9f469d5af66dddbf871e5f9cff7ff7fffc3ff9ffe45fff4719242cb34e6e9d68a6a3d7dac426de\
        fe3cfaf7fffbfe7ffbffdffffffcfffe6ffff4bfff9ffffa3fffd3ffff53fffd5ffffb3fffeb7fffdaffffb7ffff73ff\
        feeffffdeffffebffffbfffffd9ffffdbfffebffffe0ffffeeffffc3ffff8bffff1ffffe4fffee7fffb1ffff97fffd9f\
        fffcdffff9fffffbffffdafffeeffff4ffffb7fffee7fffe8ffffd3fffdeffffd5fffeeffffbdffffe1fffdfffff7fff\
        ff5ffffecffff07fff87fffe0ffff17fffedffff87ffff77fffeffffeaffff8bfffe3ffff93ffff87fffcbffff37ffff\
        1fffff83ffffe1fffebfffe3ffff3fffff2ffffa3ffffd9fffff17ffffc7fffff27ffffdefffffbffffff2fffff8ffff\
        fb7fff97fff8fffffe6fffffc1fffff87ffffe7fffffc5ffffe5fffe4ffff2fffffd1fffff4ffffffefffffe3fffffc9\
        fffff97fffb3ffffcffffb7fffcdffff4ffff9ffffd1ffffcffffeaffffafffffddffffeffffff4fffff5fffffabffff\
        a7ffffd7fffff9bffffecfffffb7fffff3fffffe8fffffd3fffffabfffff5fffffff7ffffecfffffdbfffffbbfffff7f\
        fffff0fffffbbf";

    #[test]
    fn all_bytes_from_another_encoder() {
        assert_eq!(decoded(&hex(ALL_BYTES)), Some((0..=u8::MAX).collect()));
    }

    #[test]
    fn every_byte_and_every_padding() {
        for symbol in 0..=u8::MAX {
            let row = CODE.rows[usize::from(LENGTHS[usize::from(symbol)])];
            let length = usize::from(LENGTHS[usize::from(symbol)]);
            let place = CODE.sorted.iter().position(|&other| other == u16::from(symbol)).unwrap();
            let code = u64::from(row.first) + place as u64 - u64::from(row.begin);
            let padding = (8 - length % 8) % 8;
            let bits = (code << padding) | ((1 << padding) - 1);
            let bytes = &bits.to_be_bytes()[8 - (length + padding) / 8..];
            assert_eq!(decoded(bytes), Some(vec![symbol]));
            // A padding of zeros, or of a whole byte, is none.
            if padding > 0 && symbol != b'0' {
                assert_ne!(
                    decoded(&(code << padding).to_be_bytes()[8 - (length + padding) / 8..]),
                    Some(vec![symbol])
                );
            }
            assert_eq!(decoded(&[bytes, &[0xff]].concat()), None);
        }
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), None);
    }
}
