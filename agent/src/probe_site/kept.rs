//! What the arguments of a call can be had from once it has returned: a register that calls leave as it is, or a place
//! in memory that such a register leads to.
//!
//! Invariant: an operand is given only if nothing between the argument's loading and the place behind the call may
//! change what it is read from.

use iced_x86::{
    Code, FlowControl, Instruction, InstructionInfoFactory, MemorySize, Mnemonic, OpKind, Register,
};

use super::decode::{Code64, arguments, is_write, writes};

/// What is added to a register is kept in so many bits.
const ADDED: std::ops::Range<i64> = -(1 << 12)..1 << 12;
const WORD_BYTES: i64 = 8;

/// A register that calls leave as it is (System V ABI for AMD64, section 3.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// `%rbx`.
    Rbx,
    /// `%rbp`.
    Rbp,
    /// `%r12`.
    R12,
    /// `%r13`.
    R13,
    /// `%r14`.
    R14,
    /// `%r15`.
    R15,
    /// `%rsp`.
    Rsp,
}

/// Where a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operand {
    /// The register that leads there.
    pub register: Kept,
    /// What is added to it.
    pub added: i16,
    /// Whether the value is the word in memory there, not the sum itself.
    pub in_memory: bool,
}

/// The arguments of a call, the first `count`, as they can be had at an instruction behind it.
///
/// `function` is the code of the function that calls; `behind` is all that may run between the call and the instruction;
/// `jumps` are the targets of every jump that may lead into the function.
pub(super) fn kept_arguments<const COUNT: usize>(
    function: Code64<'_>,
    call: &Instruction,
    behind: &[Instruction],
    jumps: &[u64],
) -> Option<[Operand; COUNT]> {
    let before: Vec<_> = function.instructions().take_while(|one| one.ip() < call.ip()).collect();
    let mut operands = Vec::with_capacity(COUNT);
    for argument in arguments(COUNT) {
        operands.push(kept_argument((&before, call, behind), *argument, jumps)?);
    }
    operands.try_into().ok()
}

fn kept_argument(
    (before, call, behind): (&[Instruction], &Instruction, &[Instruction]),
    argument: Register,
    jumps: &[u64],
) -> Option<Operand> {
    let mut info = InstructionInfoFactory::new();
    let straight = |one: &Instruction| matches!(one.flow_control(), FlowControl::Next);
    let loading = before.iter().rev().take_while(|one| straight(one));
    let (back, load) = loading.enumerate().find(|(_, one)| writes(&mut info, one, argument))?;
    let operand = loaded(load)?;
    // Whoever jumps behind the loading has loaded something else.
    let window = load.next_ip()..=call.ip();
    if jumps.iter().any(|target| window.contains(target)) {
        return None;
    }
    let base = operand.register.register();
    let changes = |one: &Instruction| {
        // A call pushes below everything, and gives the rest back as it was.
        !one.is_call_near()
            && (writes(&mut info, one, base) || (operand.in_memory && overwrites(&mut info, one, operand)))
    };
    let later = &before[before.len() - back..];
    (!later.iter().chain(behind).any(changes)).then_some(operand)
}

/// What a loading instruction takes its value from.
fn loaded(load: &Instruction) -> Option<Operand> {
    let moves = matches!(load.code(), Code::Mov_r64_rm64 | Code::Mov_rm64_r64);
    if moves && load.op1_kind() == OpKind::Register {
        let register = Kept::of(load.op1_register()).filter(|kept| *kept != Kept::Rsp)?;
        return Some(Operand { register, added: 0, in_memory: false });
    }
    let in_memory = match load.code() {
        Code::Mov_r64_rm64 if load.memory_size() == MemorySize::UInt64 => true,
        Code::Lea_r64_m => false,
        _ => return None,
    };
    let added = load.memory_displacement64().cast_signed();
    let is_plain = load.memory_index() == Register::None && load.segment_prefix() == Register::None;
    let register = Kept::of(load.memory_base()).filter(|_| is_plain && ADDED.contains(&added))?;
    Some(Operand { register, added: i16::try_from(added).ok()?, in_memory })
}

/// Whether an instruction may write the word that an operand is.
fn overwrites(info: &mut InstructionInfoFactory, one: &Instruction, operand: Operand) -> bool {
    let used = info.info(one).used_memory();
    used.iter().filter(|used| is_write(used.access())).any(|used| {
        let base = used.base().full_register();
        let plain = used.index() == Register::None;
        let stack = |register| register == Register::RSP;
        if plain && base == operand.register.register() {
            let (at, bytes) = (used.displacement().cast_signed(), used.memory_size().size() as i64);
            let from = i64::from(operand.added);
            return at < from + WORD_BYTES && from < at + bytes.max(1);
        }
        // The stack is not where objects are; two other registers may lead to the same place.
        !plain || stack(base) == stack(operand.register.register())
    })
}

/// Where every jump of some code leads.
pub(super) fn jump_targets(code: Code64<'_>) -> impl Iterator<Item = u64> {
    code.instructions()
        .filter(|one| one.is_jmp_short_or_near() || one.is_jcc_short_or_near())
        .map(|one| one.near_branch_target())
}

/// The place in an object from which a function that does nothing else takes what it gives: what is added to the
/// object's address. `None` if there are several, or none.
pub(super) fn given_field(function: Code64<'_>) -> Option<u64> {
    let instructions: Vec<_> = function.instructions().collect();
    let mut info = InstructionInfoFactory::new();
    let mut found = None;
    for (at, one) in instructions.iter().enumerate() {
        if one.mnemonic() != Mnemonic::Ret {
            continue;
        }
        let mut before = instructions[..at].iter().rev();
        let Some(last) = before.find(|one| writes(&mut info, one, Register::RAX)) else { continue };
        let loads = matches!(last.code(), Code::Mov_r64_rm64 | Code::Mov_r32_rm32)
            && last.op1_kind() == OpKind::Memory
            && last.memory_index() == Register::None
            && !matches!(last.memory_base(), Register::RIP | Register::RSP | Register::RBP);
        if !loads {
            continue;
        }
        let added = last.memory_displacement64();
        if found.is_some_and(|found| found != added) {
            return None;
        }
        found = Some(added);
    }
    found
}

impl Kept {
    const ALL: [(Self, Register); 7] = [
        (Self::Rbx, Register::RBX),
        (Self::Rbp, Register::RBP),
        (Self::R12, Register::R12),
        (Self::R13, Register::R13),
        (Self::R14, Register::R14),
        (Self::R15, Register::R15),
        (Self::Rsp, Register::RSP),
    ];

    fn of(register: Register) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == register).map(|(kept, _)| *kept)
    }

    pub(super) fn register(self) -> Register {
        Self::ALL[self as usize].1
    }

    pub(super) fn registers() -> impl Iterator<Item = Self> {
        Self::ALL.iter().map(|(kept, _)| *kept)
    }
}

impl std::fmt::Display for Operand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = format!("{:?}", self.register.register()).to_lowercase();
        let sign = if self.added < 0 { "-" } else { "" };
        let added = format!("{sign}{:#x}", self.added.unsigned_abs());
        match (self.in_memory, self.added) {
            (false, 0) => write!(f, "%{name}"),
            (false, _) => write!(f, "{added}+%{name}"),
            (true, _) => write!(f, "{added}(%{name})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `mov 0x18(%rbx),%rdi; mov %r12,%rsi; call`, with instructions of one's own before the call and behind it.
    fn kept(between: &[u8], behind: &[u8], jumps: &[u64]) -> Option<[Operand; 2]> {
        let mut bytes = vec![0x48, 0x8b, 0x7b, 0x18, 0x4c, 0x89, 0xe6];
        bytes.extend_from_slice(between);
        let call_at = bytes.len();
        bytes.extend_from_slice(&[0xe8, 0, 0, 0, 0]);
        bytes.extend_from_slice(behind);
        let end = bytes.len() as u64;
        bytes.push(0x90);
        let code = Code64 { bytes: &bytes, address: 0x1000 };
        let call = code.instructions().find(|one| one.ip() == 0x1000 + call_at as u64)?;
        let behind: Vec<_> =
            code.instructions().filter(|one| (call.next_ip()..0x1000 + end).contains(&one.ip())).collect();
        kept_arguments::<2>(code, &call, &behind, jumps)
    }

    #[test]
    fn arguments_are_had_from_what_a_call_keeps() {
        let [object, buffer] = kept(&[], &[], &[]).unwrap();
        assert_eq!(object, Operand { register: Kept::Rbx, added: 0x18, in_memory: true });
        assert_eq!(buffer, Operand { register: Kept::R12, added: 0, in_memory: false });
        assert_eq!((object.to_string(), buffer.to_string()), ("0x18(%rbx)".into(), "%r12".into()));
        // mov %rax,(%rsp); behind the call mov 0x18(%rbx),%rsi
        assert!(kept(&[0x48, 0x89, 0x04, 0x24], &[0x48, 0x8b, 0x73, 0x18], &[0x1000]).is_some());
    }

    #[test]
    fn what_may_have_changed_is_not_given() {
        for (what, between, behind, jumps) in [
            ("mov %rax,%r12", &[0x49, 0x89, 0xc4][..], &[][..], &[][..]),
            ("behind, mov %rax,%rbx", &[], &[0x48, 0x89, 0xc3], &[]),
            ("mov %rax,0x18(%rbx)", &[0x48, 0x89, 0x43, 0x18], &[], &[]),
            ("mov %al,0x1f(%rbx)", &[0x88, 0x43, 0x1f], &[], &[]),
            ("mov %rax,(%rbp): who knows where", &[0x48, 0x89, 0x45, 0x00], &[], &[]),
            ("a jump between", &[], &[], &[0x1004]),
            ("mov (%rax),%rsi: from what the call does not keep", &[0x48, 0x8b, 0x30], &[], &[]),
            ("xor %esi,%esi", &[0x31, 0xf6], &[], &[]),
        ] {
            assert_eq!(kept(between, behind, jumps), None, "{what}");
        }
    }

    #[test]
    fn a_field_is_the_one_that_is_given() {
        let field = |bytes: &[u8]| given_field(Code64 { bytes, address: 0 });
        // endbr64; mov 0x10(%rdi),%rax; ret
        assert_eq!(field(&[0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x8b, 0x47, 0x10, 0xc3]), Some(0x10));
        // mov 0x10(%rdi),%rax; xor %edi,%edi; ret
        assert_eq!(field(&[0x48, 0x8b, 0x47, 0x10, 0x31, 0xff, 0xc3]), Some(0x10));
        // xor %eax,%eax; ret; mov 0x48(%rdi),%rax; ret
        assert_eq!(field(&[0x31, 0xc0, 0xc3, 0x48, 0x8b, 0x47, 0x48, 0xc3]), Some(0x48));
        assert_eq!(field(&[0x48, 0x8b, 0x47, 0x10, 0xc3, 0x48, 0x8b, 0x47, 0x18, 0xc3]), None);
        // mov -0x4(%rbp),%eax; pop %rbp; ret: from its own frame
        assert_eq!(field(&[0x8b, 0x45, 0xfc, 0x5d, 0xc3]), None);
        assert_eq!(field(&[0xc3]), None);
    }
}
