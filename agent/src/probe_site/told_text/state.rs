//! What is known at an instruction, having followed those before it.
//!
//! Invariant: what an instruction may have changed in a way that is not followed is not known any more.

use iced_x86::{Code, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

use super::super::decode::{LOST_IN_CALLS, arguments, is_write};

pub(super) const WORD_BYTES: usize = 8;
/// A length is an `unsigned int`, the kind of an object an `int`.
const INT_BYTES: usize = 4;

/// What a register or a word in memory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Unknown,
    Zero,
    /// An argument as it came: 0 the object, 1 where the address goes, 2 where the length goes.
    Argument(usize),
    /// An address, so far from where the stack's pointer was.
    Stack(i64),
    /// So many bytes of the object, or of what a word of it leads to.
    Field {
        within: Option<u32>,
        at: u32,
        bytes: usize,
    },
}

/// What is known at one instruction.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) ip: u64,
    registers: [Value; 16],
    stack: Vec<(i64, usize, Value)>,
    /// What was compared with zero last.
    compared: Value,
    /// What was told of address and length.
    pub(super) told: [Value; 2],
    /// Whether the object begins with an `int` that is zero, where that was looked at.
    pub(super) is_zero: Option<bool>,
}

impl State {
    pub(super) fn entered(ip: u64) -> Self {
        let mut state = Self {
            ip,
            registers: [Value::Unknown; 16],
            stack: Vec::new(),
            compared: Value::Unknown,
            told: [Value::Unknown; 2],
            is_zero: None,
        };
        for (number, register) in arguments(3).iter().enumerate() {
            state.set(*register, Value::Argument(number));
        }
        state.set(Register::RSP, Value::Stack(0));
        state
    }

    fn get(&self, register: Register) -> Value {
        let full = register.full_register();
        if !full.is_gpr64() {
            return Value::Unknown;
        }
        self.registers[full.number()].narrowed(register.size())
    }

    fn set(&mut self, register: Register, value: Value) {
        let full = register.full_register();
        if full.is_gpr64() {
            // A write of fewer bytes leaves the others.
            self.registers[full.number()] = if register.size() < INT_BYTES { Value::Unknown } else { value };
        }
    }

    /// `None`: it does what such a function does not do.
    pub(super) fn step(&mut self, one: &Instruction) -> Option<()> {
        match one.mnemonic() {
            Mnemonic::Mov if is_plain(one) => {
                let value = self.operand(one, 1);
                self.store(one, value)?;
            }
            Mnemonic::Xor | Mnemonic::Sub if is_of_itself(one) => self.set(one.op0_register(), Value::Zero),
            Mnemonic::Lea if one.memory_index() == Register::None => {
                let value = self.get(one.memory_base()).plus(one.memory_displacement64().cast_signed());
                self.set(one.op0_register(), value);
            }
            Mnemonic::Add | Mnemonic::Sub if one.op0_register() == Register::RSP && is_immediate(one) => {
                let added = one.immediate(1).cast_signed();
                let added = if one.mnemonic() == Mnemonic::Sub { -added } else { added };
                self.set(Register::RSP, self.get(Register::RSP).plus(added));
            }
            Mnemonic::Push if one.op0_kind() == OpKind::Register => {
                let value = self.get(one.op0_register());
                self.move_stack(-(WORD_BYTES as i64));
                self.keep(self.get(Register::RSP), WORD_BYTES, value)?;
            }
            Mnemonic::Pop if one.op0_kind() == OpKind::Register => self.pop(one.op0_register()),
            Mnemonic::Leave => {
                self.set(Register::RSP, self.get(Register::RBP));
                self.pop(Register::RBP);
            }
            Mnemonic::Test if is_of_itself(one) => {
                self.compared = self.get(one.op0_register());
                return Some(());
            }
            Mnemonic::Cmp if is_immediate(one) && one.immediate(1) == 0 => {
                self.compared = self.operand(one, 0);
                return Some(());
            }
            _ => self.pass(one)?,
        }
        if one.rflags_modified() != 0 {
            self.compared = Value::Unknown;
        }
        Some(())
    }

    /// One that nothing is known of but what it writes.
    fn pass(&mut self, one: &Instruction) -> Option<()> {
        let mut info = InstructionInfoFactory::new();
        let used = info.info(one);
        for register in used.used_registers().iter().filter(|used| is_write(used.access())) {
            self.set(register.register().full_register(), Value::Unknown);
        }
        let writes = used.used_memory().iter().any(|used| is_write(used.access()));
        (!writes).then_some(())
    }

    pub(super) fn call(&mut self) {
        for register in LOST_IN_CALLS {
            self.set(register, Value::Unknown);
        }
        // It may have been given the places.
        self.forget_told();
        self.compared = Value::Unknown;
    }

    pub(super) fn forget_told(&mut self) {
        self.told = [Value::Unknown; 2];
    }

    /// What is known where a jump is taken, or is not. `None`: that cannot be.
    pub(super) fn branch(&self, jump: &Instruction, is_taken: bool) -> Option<Self> {
        let mut state = self.clone();
        if is_taken {
            state.ip = jump.near_branch_target();
        }
        let is_zero = match jump.mnemonic() {
            Mnemonic::Je => is_taken,
            Mnemonic::Jne => !is_taken,
            _ => return Some(state),
        };
        let can_be = match self.compared {
            Value::Zero => is_zero,
            Value::Argument(_) | Value::Stack(_) => !is_zero,
            Value::Field { within: None, at: 0, bytes: INT_BYTES } => {
                *state.is_zero.get_or_insert(is_zero) == is_zero
            }
            _ => true,
        };
        can_be.then_some(state)
    }

    fn operand(&self, one: &Instruction, number: u32) -> Value {
        match one.op_kind(number) {
            OpKind::Register => self.get(one.op_register(number)),
            OpKind::Memory => self.load(self.address(one), one.memory_size().size()),
            _ if is_immediate(one) && one.immediate(number) == 0 => Value::Zero,
            _ => Value::Unknown,
        }
    }

    fn address(&self, one: &Instruction) -> (Value, i64) {
        let is_plain = one.memory_index() == Register::None && one.segment_prefix() == Register::None;
        let base = if is_plain { self.get(one.memory_base()) } else { Value::Unknown };
        (base, one.memory_displacement64().cast_signed())
    }

    fn load(&self, (base, added): (Value, i64), bytes: usize) -> Value {
        let field =
            |within| u32::try_from(added).map_or(Value::Unknown, |at| Value::Field { within, at, bytes });
        match base {
            Value::Argument(0) => field(None),
            Value::Field { within: None, at, bytes: WORD_BYTES } => field(Some(at)),
            Value::Argument(place) if added == 0 => self.told[place - 1].narrowed(bytes),
            Value::Stack(at) => {
                let kept = self.stack.iter().find(|(place, ..)| *place == at.wrapping_add(added));
                kept.filter(|(_, kept, _)| *kept >= bytes)
                    .map_or(Value::Unknown, |(.., value)| value.narrowed(bytes))
            }
            _ => Value::Unknown,
        }
    }

    fn store(&mut self, one: &Instruction, value: Value) -> Option<()> {
        if one.op0_kind() == OpKind::Register {
            self.set(one.op0_register(), value);
            return Some(());
        }
        let ((base, added), bytes) = (self.address(one), one.memory_size().size());
        match base {
            Value::Argument(place @ 1..=2) if added == 0 => {
                let whole = if place == 1 { WORD_BYTES } else { INT_BYTES };
                self.told[place - 1] = if bytes == whole { value.narrowed(bytes) } else { Value::Unknown };
                Some(())
            }
            Value::Stack(at) => self.keep(Value::Stack(at.wrapping_add(added)), bytes, value),
            _ => None,
        }
    }

    fn keep(&mut self, at: Value, bytes: usize, value: Value) -> Option<()> {
        let Value::Stack(at) = at else { return None };
        self.stack.retain(|(place, kept, _)| *place >= at + bytes as i64 || place + *kept as i64 <= at);
        self.stack.push((at, bytes, value));
        Some(())
    }

    fn pop(&mut self, register: Register) {
        let value = self.load((self.get(Register::RSP), 0), WORD_BYTES);
        self.set(register, value);
        self.move_stack(WORD_BYTES as i64);
    }

    fn move_stack(&mut self, added: i64) {
        self.set(Register::RSP, self.get(Register::RSP).plus(added));
    }
}

impl Value {
    /// Its lowest bytes.
    fn narrowed(self, bytes: usize) -> Self {
        match self {
            Self::Field { within, at, bytes: whole } if bytes >= INT_BYTES => {
                Self::Field { within, at, bytes: whole.min(bytes) }
            }
            Self::Zero => self,
            _ if bytes == WORD_BYTES => self,
            _ => Self::Unknown,
        }
    }

    fn plus(self, added: i64) -> Self {
        match self {
            Self::Stack(at) => Self::Stack(at.wrapping_add(added)),
            _ if added == 0 => self,
            _ => Self::Unknown,
        }
    }
}

/// Whether it moves a word or an `int`, and nothing of another kind of register.
fn is_plain(one: &Instruction) -> bool {
    matches!(
        one.code(),
        Code::Mov_r64_rm64
            | Code::Mov_rm64_r64
            | Code::Mov_r32_rm32
            | Code::Mov_rm32_r32
            | Code::Mov_rm64_imm32
            | Code::Mov_rm32_imm32
            | Code::Mov_r32_imm32
            | Code::Mov_r64_imm64
    )
}

fn is_of_itself(one: &Instruction) -> bool {
    one.op0_kind() == OpKind::Register
        && one.op1_kind() == OpKind::Register
        && one.op0_register() == one.op1_register()
}

fn is_immediate(one: &Instruction) -> bool {
    matches!(
        one.op1_kind(),
        OpKind::Immediate8
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64
    )
}
