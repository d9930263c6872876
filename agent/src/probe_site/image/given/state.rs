//! What is known of registers at an instruction: the signs that their values may have.
//!
//! Invariant: what is not followed may have any sign.

use iced_x86::{Code, ConditionCode, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

use super::super::super::decode::{LOST_IN_CALLS, is_write};
use super::RESULT;

/// Signs that a value, or the result of a comparison, may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signs(u8);

/// What is known of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Value {
    /// Of its lower half, as an `int`.
    signs: Signs,
    /// The whole register has the same sign.
    whole: bool,
    /// It is the call's result.
    is_result: bool,
}

/// What is known at an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    registers: [Value; 16],
    /// How the last comparison went.
    compared: Signs,
}

impl Signs {
    pub(super) const LESS: Self = Self(1);
    pub(super) const EQUAL: Self = Self(2);
    pub(super) const GREATER: Self = Self(4);
    pub(super) const ANY: Self = Self(7);

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn within(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }

    /// Whether a condition holds; `None`: it may or may not.
    fn meet(self, condition: ConditionCode) -> Option<bool> {
        let holds = match condition {
            ConditionCode::e => Self::EQUAL,
            ConditionCode::ne => Self::LESS.or(Self::GREATER),
            ConditionCode::l => Self::LESS,
            ConditionCode::ge => Self::EQUAL.or(Self::GREATER),
            ConditionCode::le => Self::LESS.or(Self::EQUAL),
            ConditionCode::g => Self::GREATER,
            _ => return None,
        };
        if self.within(holds) {
            return Some(true);
        }
        self.within(Self(Self::ANY.0 & !holds.0)).then_some(false)
    }
}

impl Value {
    const UNKNOWN: Self = Self { signs: Signs::ANY, whole: false, is_result: false };
    const ZERO: Self = Self { signs: Signs::EQUAL, whole: true, is_result: false };

    fn is_zero(self) -> bool {
        self.signs == Signs::EQUAL && self.whole
    }

    fn or(self, other: Self) -> Self {
        Self {
            signs: self.signs.or(other.signs),
            whole: self.whole && other.whole,
            is_result: self.is_result && other.is_result,
        }
    }
}

impl State {
    pub(super) const fn unknown() -> Self {
        Self { registers: [Value::UNKNOWN; 16], compared: Signs::ANY }
    }

    /// As it is behind a call whose result has these signs.
    pub(super) fn behind_call(&self, signs: Signs) -> Self {
        let mut state = self.clone();
        state.pass_call(signs);
        state.registers[index(RESULT).unwrap_or_default()].is_result = true;
        state
    }

    /// A function was called that gives an `int` of these signs.
    pub(super) fn pass_call(&mut self, signs: Signs) {
        for lost in LOST_IN_CALLS {
            self.set(lost, Value::UNKNOWN);
        }
        self.compared = Signs::ANY;
        self.set(RESULT, Value { signs, ..Value::UNKNOWN });
    }

    /// What may be known where two ways meet. True if that is less than before.
    pub(super) fn join(&mut self, other: &Self) -> bool {
        let before = self.clone();
        for (value, other) in self.registers.iter_mut().zip(&other.registers) {
            *value = value.or(*other);
        }
        self.compared = self.compared.or(other.compared);
        *self != before
    }

    /// Signs of the result that a function is about to give.
    pub(super) fn given(&self) -> Signs {
        self.get(RESULT).signs
    }

    pub(super) fn is_result(&self, register: Register) -> bool {
        self.get(register).is_result
    }

    /// Whether a conditional jump is taken; `None`: it may or may not be.
    pub(super) fn takes(&self, jump: &Instruction) -> Option<bool> {
        self.compared.meet(jump.condition_code())
    }

    /// An instruction that goes on to the next.
    pub(super) fn pass(&mut self, one: &Instruction) {
        if self.follow(one) {
            return;
        }
        let mut info = InstructionInfoFactory::new();
        for used in info.info(one).used_registers() {
            if is_write(used.access()) {
                self.set(used.register().full_register(), Value::UNKNOWN);
            }
        }
        if one.rflags_modified() != 0 {
            self.compared = Signs::ANY;
        }
    }

    /// False: it is none of those that are followed.
    fn follow(&mut self, one: &Instruction) -> bool {
        let (to, from) = (one.op0_register(), one.op1_register());
        let registers = one.op0_kind() == OpKind::Register && one.op1_kind() == OpKind::Register;
        match one.code() {
            Code::Mov_r32_rm32 | Code::Mov_rm32_r32 if registers => {
                let value = self.get(from);
                self.set(to, Value { whole: value.signs.within(Signs::EQUAL.or(Signs::GREATER)), ..value });
            }
            Code::Mov_r64_rm64 | Code::Mov_rm64_r64 if registers => self.set(to, self.get(from)),
            Code::Movsxd_r64_rm32 if registers => self.set(to, Value { whole: true, ..self.get(from) }),
            _ => return self.follow_sums(one, registers),
        }
        true
    }

    fn follow_sums(&mut self, one: &Instruction, registers: bool) -> bool {
        let (to, from) = (one.op0_register(), one.op1_register());
        let wide = to.is_gpr64();
        if !wide && !to.is_gpr32() {
            return one.mnemonic() == Mnemonic::Sete && self.get(to).is_zero() && self.stays_zero(one);
        }
        match one.mnemonic() {
            Mnemonic::Xor if registers && to == from => {
                self.set(to, Value::ZERO);
                self.compared = Signs::EQUAL;
            }
            Mnemonic::Or if registers && self.get(to).is_zero() && self.get(from).is_zero() => {
                self.set(to, Value::ZERO);
                self.compared = Signs::EQUAL;
            }
            Mnemonic::Shl if one.op1_kind() == OpKind::Immediate8 && self.get(to).is_zero() => {
                self.compared = Signs::ANY;
            }
            Mnemonic::Test if registers && to == from => self.compared = self.signs_of(to, wide),
            Mnemonic::Cmp if is_immediate(one) => self.compared = self.against(to, wide, one.immediate(1)),
            _ => return false,
        }
        true
    }

    /// Whether an instruction that sets a byte to the last comparison's outcome leaves it 0.
    fn stays_zero(&self, one: &Instruction) -> bool {
        self.compared.meet(one.condition_code()) == Some(false)
    }

    fn signs_of(&self, register: Register, wide: bool) -> Signs {
        let value = self.get(register);
        if wide && !value.whole { Signs::ANY } else { value.signs }
    }

    /// A register, compared with a number.
    fn against(&self, register: Register, wide: bool, number: u64) -> Signs {
        let number = if wide { number.cast_signed() } else { i64::from(number as u32 as i32) };
        let signs = self.signs_of(register, wide);
        match number.signum() {
            0 => signs,
            1 if signs.within(Signs::LESS.or(Signs::EQUAL)) => Signs::LESS,
            -1 if signs.within(Signs::EQUAL.or(Signs::GREATER)) => Signs::GREATER,
            _ => Signs::ANY,
        }
    }

    fn get(&self, register: Register) -> Value {
        index(register).map_or(Value::UNKNOWN, |index| self.registers[index])
    }

    fn set(&mut self, register: Register, value: Value) {
        if let Some(index) = index(register) {
            self.registers[index] = value;
        }
    }
}

fn is_immediate(one: &Instruction) -> bool {
    matches!(
        one.op1_kind(),
        OpKind::Immediate8to32 | OpKind::Immediate8to64 | OpKind::Immediate32 | OpKind::Immediate32to64
    )
}

/// A general register's place.
fn index(register: Register) -> Option<usize> {
    let full = register.full_register();
    full.is_gpr64().then(|| full.number())
}
