//! Where an object keeps a text that a function tells of through its second and third argument: the text's address, and
//! its length.
//!
//! Invariant: every way through the function is followed; a place is given only if all of them tell the same one, or
//! nothing.

mod state;

use std::fmt;

use iced_x86::{FlowControl, Instruction};

use self::state::{State, Value, WORD_BYTES};
use super::decode::Code64;

/// Most instructions that are followed, on all ways together.
const MAX_STEPS: usize = 4096;

/// Where an object keeps a text's address; the length stands in the word behind that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextField {
    /// So far behind the object's address it is said where to look. `None`: in the object itself.
    pub within: Option<u32>,
    /// So far behind that.
    pub at: u32,
    /// Only where the object begins with an `int` that is zero: else it is of another kind.
    pub if_zero: bool,
}

impl fmt::Display for TextField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:#x}", self.at)?;
        if let Some(within) = self.within {
            write!(f, " of what {within:#x} leads to")?;
        }
        if self.if_zero { f.write_str(", where it begins with zero") } else { Ok(()) }
    }
}

/// The field that a function tells of. `None`: it is not certain.
pub(super) fn told_text(function: Code64<'_>) -> Option<TextField> {
    let instructions: Vec<_> = function.instructions().collect();
    let (mut ways, mut ends, mut steps) = (vec![State::entered(function.address)], Vec::new(), 0);
    while let Some(mut state) = ways.pop() {
        steps += 1;
        if steps > MAX_STEPS {
            return None;
        }
        let Some(one) = at(&instructions, state.ip) else {
            // What goes on elsewhere may tell anything.
            state.forget_told();
            ends.push(state);
            continue;
        };
        state.ip = one.next_ip();
        match one.flow_control() {
            FlowControl::Next => state.step(one)?,
            FlowControl::Call | FlowControl::IndirectCall => state.call(),
            FlowControl::UnconditionalBranch => state.ip = one.near_branch_target(),
            FlowControl::ConditionalBranch => {
                ways.extend([true, false].into_iter().filter_map(|is_taken| state.branch(one, is_taken)));
                continue;
            }
            FlowControl::Return => {
                ends.push(state);
                continue;
            }
            _ => return None,
        }
        ways.push(state);
    }
    agreed(&ends)
}

fn at(instructions: &[Instruction], ip: u64) -> Option<&Instruction> {
    instructions.binary_search_by_key(&ip, Instruction::ip).ok().map(|index| &instructions[index])
}

/// What all ways agree on.
fn agreed(ends: &[State]) -> Option<TextField> {
    let (mut found, mut has_length) = (None, false);
    for end in ends {
        let Value::Field { within, at, bytes: WORD_BYTES } = end.told[0] else { continue };
        has_length |= match end.told[1] {
            Value::Zero => false,
            Value::Field { within: same, at: behind, .. }
                if same == within && at.checked_add(WORD_BYTES as u32) == Some(behind) =>
            {
                true
            }
            _ => return None,
        };
        if found.replace((within, at, end.is_zero)).is_some_and(|known| Some(known) != found) {
            return None;
        }
    }
    let (within, at, is_zero) = found.filter(|_| has_length)?;
    let tells_other = |end: &State| {
        let is_it = matches!(end.told[0], Value::Field { bytes: WORD_BYTES, .. });
        !is_it && end.told != [Value::Zero; 2]
    };
    // Of objects of another kind it may tell what it likes.
    let is_certain = is_zero != Some(false)
        && ends
            .iter()
            .filter(|end| tells_other(end))
            .all(|end| (is_zero, end.is_zero) == (Some(true), Some(false)));
    is_certain.then_some(TextField { within, at, if_zero: is_zero.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(hex: &str) -> Vec<u8> {
        let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn told(hex: &str) -> Option<TextField> {
        told_text(Code64 { bytes: &code(hex), address: 0x1000 })
    }

    fn field(within: Option<u32>, at: u32, if_zero: bool) -> TextField {
        TextField { within, at, if_zero }
    }

    /// `SSL_get0_alpn_selected` as it was built.
    #[test]
    fn real_functions_tell_where_their_text_is() {
        for (of, hex, expected) in [
            (
                "OpenSSL 3.0.22 of Debian 12",
                "488b8788040000 31c9 488906 4885c0 7406 8b8f90040000 890a 31c0 31d2 31c9 31f6 31ff c3",
                Some(field(None, 0x488, false)),
            ),
            (
                "OpenSSL 1.1.1w of Debian 11, as 1.1.1r in the wheel of psycopg2-binary 2.9.5",
                "488b87a8000000 48c70600000000 4885c0 741d 488b88e0030000 48890e 4885c9 740e 8b80e8030000 8902 c3
                 0f1f440000 31c0 8902 c3",
                Some(field(Some(0xa8), 0x3e0, false)),
            ),
            (
                "OpenSSL 3.5.9 of Debian 13",
                "f30f1efa 53 4889d3 4883ec10 4885ff 744f 8b07 85c0 741b a880 7445 4889742408 e8db990300 488b742408
                 4885c0 4889c7 742e 488b87b8040000 488906 4885c0 7426 8b87c0040000 8903 4883c410 5b 31c0 31d2 31f6
                 31ff c3 660f1f840000000000 48c70600000000 31c0 8903 4883c410 5b 31c0 31d2 31f6 31ff c3",
                Some(field(None, 0x4b8, true)),
            ),
            (
                "OpenSSL 3.6.5 of Debian's unstable",
                "f30f1efa 4885ff 0f84a3000000 8b07 85c0 752d 488b87b8040000 488906 4885c0 0f8491000000 8b87c0040000
                 8902 31c0 31d2 31f6 31ff c3 660f1f840000000000 a880 746c 4883ec18 4889542408 48893424 e83aed0300
                 488b3424 488b542408 4885c0 4889c7 7429 488b80b8040000 488906 4885c0 7421 8b87c0040000 8902
                 4883c418 31c0 31d2 31f6 31ff c3 0f1f440000 48c70600000000 31c0 8902 4883c418 31c0 31d2 31f6 31ff
                 c3 0f1f840000000000 48c70600000000 31c0 8902 31c0 31d2 31f6 31ff c3",
                Some(field(None, 0x4b8, true)),
            ),
            (
                "OpenSSL 3.5.8 in the wheel of mysql-connector-python",
                "55 4889e5 4154 53 4889f3 4989d4 4885ff 740a 8b07 85c0 7425 a880 7514 48c70300000000 41c7042400000000
                 5b 415c 5d c3 e8c40e0300 4889c7 4885c0 74df 488b87b8040000 488903 4885c0 740d 488b87c0040000
                 41890424 ebd2 41c7042400000000 ebc8",
                Some(field(None, 0x4b8, true)),
            ),
            (
                "OpenSSL 3.5.8 in the wheel of psycopg2-binary",
                "55 4889f5 53 4889d3 4883ec08 4885ff 7417 8b07 85c0 7429 a880 740d e8f09e0300 4889c7 4885c0 7518
                 48c7450000000000 c70300000000 4883c408 5b 5d c3 0f1f00 488b87b8040000 48894500 4885c0 7410
                 488b87c0040000 8903 4883c408 5b 5d c3 c70300000000 4883c408 5b 5d c3",
                Some(field(None, 0x4b8, true)),
            ),
            (
                "BoringSSL: before the handshake's end a client tells of an earlier session's",
                "f30f1efa 55 4889e5 4883ec50 48897dc8 488975c0 488955b8 64488b042528000000 488945f8 31c0
                 48c745d000000000 48c745d800000000 488b45c8 4889c7 e8c3c8f9ff 85c0 741c 488b45c8 0fb680a4000000
                 83e001 83f001 84c0 7407 b801000000 eb05 b800000000 84c0 744c 488b45c8 488b4030 4805180100004889c7
                 e87824faff 4805f8050000 4889c7 e8281cfcff 488d9078010000 488d45e0 4889d6 4889c7 e87022faff
                 488b45e0 488b55e8 488945d0 488955d8 eb2e 488b45c8 488b4030 488d90e8010000 488d45e0 4889d6 4889c7
                 e84022faff 488b45e0 488b55e8 488945d0 488955d8 488d45d0 4889c7 e8a619faff bafeffffff 4839c2 7328
                 488d0583050300 4889c1 ba41090000 488d05d4fe0200 4889c6 488d05b2050300 4889c7 e892b1f9ff 488d45d0
                 4889c7 e85219faff 488b55c0 488902 488d45d0 4889c7 e85519faff 89c2 488b45b8 8910 90 488b45f8
                 64482b042528000000 7405 e8e6baf9ff c9 c3",
                None,
            ),
        ] {
            assert_eq!(told(hex), expected, "{of}");
        }
    }

    #[test]
    fn what_is_not_certain_is_not_told() {
        // mov 0x10(%rdi),%rax; mov %rax,(%rsi); mov 0x18(%rdi),%eax; mov %eax,(%rdx); ret
        assert_eq!(told("488b4710 488906 8b4718 8902 c3"), Some(field(None, 0x10, false)));
        for (what, hex) in [
            ("the length is not behind the address", "488b4710 488906 8b4720 8902 c3"),
            ("half an address", "8b4710 8906 8b4718 8902 c3"),
            ("only the address", "488b4710 488906 c3"),
            ("the length is always zero", "488b4710 488906 31c0 8902 c3"),
            ("the address is changed: add $1,%rax", "488b4710 4883c001 488906 8b4718 8902 c3"),
            ("not told on one way: je over the address", "85c9 7407 488b4710 488906 8b4718 8902 c3"),
            ("another field on one way", "85c9 7406 488b4710 eb04 488b4720 488906 8b4718 8902 c3"),
            ("a call may tell something else", "488b4710 488906 8b4718 8902 e800000000 c3"),
            ("stored who knows where: mov %rax,(%rcx)", "488b4710 488901 488906 8b4718 8902 c3"),
            ("an index: mov 0x10(%rdi,%rcx,8),%rax", "488b44cf10 488906 8b4718 8902 c3"),
            ("by a pointer's pointer", "488b07 488b00 488b4010 488906 8b4018 8902 c3"),
            ("a loop without end", "ebfe"),
            ("it goes on elsewhere: jmp", "488b4710 488906 8b4718 8902 e900010000"),
            ("cut", "488b4710 488906"),
            ("nothing", ""),
            (
                "only where the object does not begin with zero",
                "8b07 85c0 740b 488b4710 488906 8b4718 8902 c3 c3",
            ),
        ] {
            assert_eq!(told(hex), None, "{what}");
        }
    }

    #[test]
    fn any_bytes_give_a_value() {
        let whole =
            code("53 4889d3 4885ff 7410 488b87b8040000 488906 8b87c0040000 8903 5b c3 48c70600000000 5b c3");
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let _ = told_text(Code64 { bytes: &bytes, address: u64::MAX - 64 });
            }
        }
    }
}
