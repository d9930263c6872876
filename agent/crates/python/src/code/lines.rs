//! From an instruction to its line, by the table that the compiler left in the code object.
//!
//! Invariant: total. A damaged table gives no line or another line of the same function, never a panic.

use crate::layout::Lines;

/// An instruction without a line of its own, in PEP 626's table.
const NO_LINE: i8 = -128;

/// The line of the instruction that begins `offset` bytes into the code. `None`: it has none (it is artificial, or
/// the table does not reach it). `kind` says how the table is written; `first_line` is the code's own.
pub fn line(kind: Lines, table: &[u8], first_line: i32, offset: u32) -> Option<u32> {
    let line = match kind {
        Lines::Lnotab(_) => lnotab(table, first_line, offset),
        Lines::Pep626(_) => pep626(table, first_line, offset)?,
        Lines::Pep657(_) => pep657(table, first_line, offset)?,
    };
    u32::try_from(line).ok().filter(|line| *line > 0)
}

/// Until 3.9: pairs of steps in bytes and in lines (`Objects/lnotab_notes.txt`).
fn lnotab(table: &[u8], first_line: i32, offset: u32) -> i32 {
    let mut line = first_line;
    let mut at = 0_u32;
    for pair in table.chunks_exact(2) {
        at += u32::from(pair[0]);
        if at > offset {
            break;
        }
        line = line.saturating_add(i32::from(pair[1].cast_signed()));
    }
    line
}

/// 3.10: pairs of a range's length in bytes and the step to its line (`Objects/lnotab_notes.txt`).
fn pep626(table: &[u8], first_line: i32, offset: u32) -> Option<i32> {
    let mut line = first_line;
    let mut end = 0_u32;
    for pair in table.chunks_exact(2) {
        end += u32::from(pair[0]);
        let step = pair[1].cast_signed();
        if step != NO_LINE {
            line = line.saturating_add(step.into());
        }
        if offset < end {
            return (step != NO_LINE).then_some(line);
        }
    }
    None
}

/// Since 3.11: entries of one to ten and more bytes (`InternalDocs/code_objects.md`, "Location table").
fn pep657(table: &[u8], first_line: i32, offset: u32) -> Option<i32> {
    let mut rest = table.iter().copied();
    let mut line = first_line;
    let mut end = 0_u32;
    while let Some(first) = rest.next() {
        // Code units of two bytes.
        end += 2 * (u32::from(first & 7) + 1);
        let code = (first >> 3) & 15;
        let step = match code {
            15 => None,
            14 => {
                let step = signed(&mut rest)?;
                for _ in 0..3 {
                    unsigned(&mut rest)?;
                }
                Some(step)
            }
            13 => Some(signed(&mut rest)?),
            10..=12 => {
                rest.nth(1)?;
                Some(i32::from(code) - 10)
            }
            _ => {
                rest.next()?;
                Some(0)
            }
        };
        line = line.saturating_add(step.unwrap_or(0));
        if offset < end {
            return step.map(|_| line);
        }
    }
    None
}

/// Six bits in a byte, the lowest first; the seventh says that more follow.
fn unsigned(bytes: &mut impl Iterator<Item = u8>) -> Option<u32> {
    let mut value = 0_u32;
    let mut shift = 0;
    loop {
        let byte = bytes.next()?;
        value |= u32::from(byte & 63).checked_shl(shift).unwrap_or(0);
        shift += 6;
        if byte & 64 == 0 {
            return Some(value);
        }
    }
}

/// The sign is the lowest bit.
fn signed(bytes: &mut impl Iterator<Item = u8>) -> Option<i32> {
    let value = unsigned(bytes)?;
    let magnitude = (value >> 1).cast_signed();
    Some(if value & 1 == 1 { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lnotab_walks_bytes_and_lines() {
        // def f():      # 10
        //     a = 1     # 11, byte 0
        //     b = 2     # 12, byte 4
        //     return a  # 9 (a step back), byte 8
        let table = [0, 1, 4, 1, 4, 0xfd];
        let kind = Lines::Lnotab(0);
        for (offset, want) in [(0, 11), (3, 11), (4, 12), (7, 12), (8, 9), (200, 9)] {
            assert_eq!(line(kind, &table, 10, offset), Some(want), "{offset}");
        }
        assert_eq!(line(kind, &[], 7, 0), Some(7));
    }

    #[test]
    fn pep626_has_ranges_without_a_line() {
        let table = [4, 1, 2, 0x80, 4, 2];
        let kind = Lines::Pep626(0);
        for (offset, want) in [(0, Some(11)), (4, None), (5, None), (6, Some(13)), (9, Some(13)), (10, None)]
        {
            assert_eq!(line(kind, &table, 10, offset), want, "{offset}");
        }
    }

    #[test]
    fn pep657_knows_every_form() {
        let entry = |code: u8, units: u8| 0x80 | code << 3 | (units - 1);
        let table = [
            entry(15, 1), // no location
            entry(11, 2),
            4,
            9, // one line on, with columns
            entry(3, 1),
            0x12, // same line, short
            entry(13, 1),
            3, // one line back
            entry(14, 8),
            0x40 | 8,
            1,
            0,
            1,
            2, // 36 lines on: 72 in two bytes
        ];
        let kind = Lines::Pep657(0);
        for (offset, want) in [
            (0, None),
            (2, Some(21)),
            (5, Some(21)),
            (6, Some(21)),
            (8, Some(20)),
            (10, Some(56)),
            (25, Some(56)),
            (26, None),
        ] {
            assert_eq!(line(kind, &table, 20, offset), want, "{offset}");
        }
    }

    #[test]
    fn damaged_tables_end() {
        for table in [&[0xff][..], &[0xf0, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f], &[0x80], &[0xe8]]
        {
            for kind in [Lines::Lnotab(0), Lines::Pep626(0), Lines::Pep657(0)] {
                for offset in [0, 1, 1000, u32::MAX] {
                    let _ = line(kind, table, i32::MAX, offset);
                }
            }
        }
        assert_eq!(line(Lines::Lnotab(0), &[0, 0x80], 1, 5), None);
    }
}
