//! The instructions themselves. Invariant: decoding is linear from a known start of a function and stops with it.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Formatter, GasFormatter, Instruction, InstructionInfoFactory,
    OpAccess, Register,
};

/// Registers of the first arguments (System V ABI for AMD64, section 3.2.3).
const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];
/// What a called function may change (System V ABI for AMD64, section 3.2.1).
pub(super) const LOST_IN_CALLS: [Register; 9] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
];
/// An operand-size prefix: the kernel refuses to probe a branch that has one.
const OPERAND_SIZE: u8 = 0x66;

/// Code from a known address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Code64<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) address: u64,
}

impl<'a> Code64<'a> {
    /// The instructions, in order; ends at bytes that are none.
    pub(super) fn instructions(self) -> impl Iterator<Item = Instruction> + use<'a> {
        Decoder::with_ip(64, self.bytes, self.address, DecoderOptions::NONE)
            .into_iter()
            .take_while(|instruction| !instruction.is_invalid())
    }

    /// Whether the kernel emulates it.
    pub(super) fn is_emulated(self, instruction: &Instruction) -> bool {
        let at = (instruction.ip() - self.address) as usize;
        let bytes = self.bytes.get(at..at + instruction.len()).unwrap_or_default();
        let branch = instruction.is_call_near()
            || instruction.is_jmp_short_or_near()
            || instruction.is_jcc_short_or_near();
        match instruction.code() {
            // With and without the prefix for r8 to r15; nothing else before it.
            Code::Push_r64 => bytes.len() == 1 || (bytes.len() == 2 && bytes[0] == 0x41),
            Code::Nopd => bytes == [0x90],
            _ => branch && bytes.first() != Some(&OPERAND_SIZE),
        }
    }

    /// The first emulated instruction that is reached in a straight line while `held` are as they were.
    pub(super) fn first_emulated(self, held: &[Register]) -> Option<Instruction> {
        let mut info = InstructionInfoFactory::new();
        for instruction in self.instructions() {
            if self.is_emulated(&instruction) {
                return Some(instruction);
            }
            let leaves = !matches!(instruction.flow_control(), FlowControl::Next);
            if leaves || changes(&mut info, &instruction, held) {
                return None;
            }
        }
        None
    }

    /// The first emulated instruction that is passed in a straight line, whatever is called in between.
    pub(super) fn first_passed(self) -> Option<Instruction> {
        for instruction in self.instructions() {
            if self.is_emulated(&instruction) {
                return Some(instruction);
            }
            let comes_back = matches!(
                instruction.flow_control(),
                FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall
            );
            if !comes_back {
                return None;
            }
        }
        None
    }

    /// The first direct call that is reached in a straight line (conditional jumps not taken) while `held` are as
    /// they were.
    pub(super) fn first_call(self, held: &[Register]) -> Option<Instruction> {
        let mut info = InstructionInfoFactory::new();
        for instruction in self.instructions() {
            if instruction.is_call_near() {
                return Some(instruction);
            }
            let goes_on =
                matches!(instruction.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch);
            if !goes_on || changes(&mut info, &instruction, held) {
                return None;
            }
        }
        None
    }
}

/// The registers of the first `count` arguments.
pub(super) fn arguments(count: usize) -> &'static [Register] {
    &ARGUMENTS[..count.min(ARGUMENTS.len())]
}

/// Whether an instruction changes what any of some arguments is worth, or may.
fn changes(info: &mut InstructionInfoFactory, instruction: &Instruction, held: &[Register]) -> bool {
    // An `int` argument made 64 bits wide in place.
    if instruction.code() == Code::Movsxd_r64_rm32
        && instruction.op1_register().full_register() == instruction.op0_register()
    {
        return false;
    }
    held.iter().any(|register| writes(info, instruction, *register))
}

/// Whether an instruction writes a 64-bit register, or may.
pub(super) fn writes(
    info: &mut InstructionInfoFactory,
    instruction: &Instruction,
    register: Register,
) -> bool {
    let used = info.info(instruction).used_registers();
    used.iter().any(|used| is_write(used.access()) && used.register().full_register() == register)
}

/// Whether something is written, or may be.
pub(super) fn is_write(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

/// An instruction as text.
pub(super) fn text(instruction: &Instruction) -> String {
    let mut text = String::new();
    GasFormatter::new().format(instruction, &mut text);
    text
}
