//! Where a function lets go of an object that it has taken from somewhere, if there was one.
//!
//! Invariant: the places are passed by each call that had an object and has not failed, and by no others, as far as the
//! function itself releases it; where the object is in doubt there are none.

use iced_x86::{Code, Instruction, InstructionInfoFactory, OpKind, Register};

use super::decode::{Code64, writes};
use super::kept::jump_targets;

/// The third argument (System V ABI for AMD64, section 3.2.3): `PyErr_Fetch` puts the traceback where it points.
const THIRD: Register = Register::RDX;
/// Arguments are loaded this close to a call, and a field is emptied this close to its reading.
const NEAR_INSTRUCTIONS: usize = 16;

/// The jump behind each place at which the function gives up a reference to what it took, where that is not NULL: what it
/// was given through the third argument of a call that `takes`, or read from a field that it emptied (the same call,
/// inlined).
pub(super) fn released(function: Code64<'_>, takes: impl Fn(&Instruction) -> bool) -> Vec<Instruction> {
    let instructions: Vec<_> = function.instructions().collect();
    let jumps: Vec<u64> = jump_targets(function).collect();
    let at = |address: u64| instructions.iter().position(|one| one.ip() == address);
    let mut info = InstructionInfoFactory::new();
    let mut found = Vec::new();
    for (index, pair) in instructions.windows(2).enumerate() {
        let [test, branch] = pair else { continue };
        let Some(object) = tested(test) else { continue };
        let not_null = match branch.code() {
            Code::Je_rel8_64 | Code::Je_rel32_64 => branch.next_ip(),
            Code::Jne_rel8_64 | Code::Jne_rel32_64 => branch.near_branch_target(),
            _ => continue,
        };
        let Some(release) = at(not_null).filter(|at| releases(&instructions[*at], object)) else { continue };
        let Some(jump) = instructions.get(release + 1).filter(|jump| function.is_emulated(jump)) else {
            continue;
        };
        let sets = |one: &Instruction| writes(&mut info, one, object) && one.code() != Code::Pop_r64;
        let loads: Vec<usize> = positions(&instructions, sets);
        let Some(load) = loads.iter().rev().find(|load| **load < index) else { continue };
        // Loaded just before, or nowhere else.
        let is_sure = (*load + 1 == index && !jumps.contains(&test.ip())) || loads.len() == 1;
        if is_sure && is_taken(&instructions, *load, &takes) {
            found.push(*jump);
        }
    }
    found
}

fn positions(instructions: &[Instruction], is_it: impl FnMut(&Instruction) -> bool) -> Vec<usize> {
    let are = instructions.iter().map(is_it);
    are.enumerate().filter_map(|(index, is)| is.then_some(index)).collect()
}

/// `test %reg,%reg`.
fn tested(one: &Instruction) -> Option<Register> {
    let is_test = one.code() == Code::Test_rm64_r64 && one.op0_kind() == OpKind::Register;
    (is_test && one.op0_register() == one.op1_register()).then(|| one.op0_register())
}

/// `subq $1,(%reg)`, or the same in other words: `ob_refcnt` comes first (Include/object.h).
fn releases(one: &Instruction, object: Register) -> bool {
    let by_one = match one.code() {
        Code::Sub_rm64_imm8 => one.immediate8to64() == 1,
        Code::Add_rm64_imm8 => one.immediate8to64() == -1,
        Code::Dec_rm64 => true,
        _ => false,
    };
    by_one && is_field(one, object, 0)
}

fn is_field(one: &Instruction, of: Register, displacement: u64) -> bool {
    one.op0_kind() == OpKind::Memory
        && one.memory_base() == of
        && one.memory_index() == Register::None
        && one.memory_displacement64() == displacement
}

/// Whether an instruction loads what a call gave through its third argument, or what a field held that is then emptied.
fn is_taken(instructions: &[Instruction], load: usize, takes: impl Fn(&Instruction) -> bool) -> bool {
    let loading = &instructions[load];
    let is_plain = loading.code() == Code::Mov_r64_rm64
        && loading.op1_kind() == OpKind::Memory
        && loading.memory_index() == Register::None;
    if !is_plain {
        return false;
    }
    let (base, displacement) = (loading.memory_base(), loading.memory_displacement64());
    if base == Register::RSP {
        let points = |one: &Instruction| {
            one.code() == Code::Lea_r64_m
                && one.op0_register() == THIRD
                && one.memory_base() == base
                && one.memory_displacement64() == displacement
        };
        let calls = positions(&instructions[..load], |one| one.is_call_near() && takes(one));
        return calls
            .iter()
            .any(|call| instructions[call.saturating_sub(NEAR_INSTRUCTIONS)..*call].iter().any(points));
    }
    let empties = |one: &Instruction| {
        one.code() == Code::Mov_rm64_imm32 && one.immediate32to64() == 0 && is_field(one, base, displacement)
    };
    instructions[load + 1..].iter().take(NEAR_INSTRUCTIONS).any(empties)
}
