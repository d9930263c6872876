//! Which instructions behind a call are passed only if the call has given something.
//!
//! Invariant: an instruction is given only if, by the code alone, every call that succeeds passes it once, and nothing
//! else does. Taken for granted: functions keep the registers that they must (System V ABI for AMD64, section 3.2.1), and
//! no handler of a signal ends the call, which would lose what it gave for the program too.

mod flow;
mod state;

use std::collections::BTreeSet;

use iced_x86::{FlowControl, Instruction, Register};

use super::super::decode::Code64;
use super::super::kept::{Kept, Operand, jump_targets, kept_arguments};
use super::super::{Site, Step, Why};
use super::Image;
use flow::{Flow, Runs, Walk};
use state::{Signs, State};

/// A function of CPython that gives 0 unless a signal's handler has failed.
pub const CHECK_SIGNALS: &str = "PyErr_CheckSignals";

/// What a function gives, as an `int`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// 1, or 0 in vain.
    Success,
    /// A length, or 0 or less in vain.
    Length,
}

/// A direct call that was found to have given something, its arguments at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenCall<const COUNT: usize> {
    /// Only calls that gave something get there.
    pub site: Site,
    /// Where the first arguments are there.
    pub arguments: [Operand; COUNT],
    /// Where the result is there, if it is still in a register.
    pub result: Option<Operand>,
}

impl Image {
    /// Every direct call of a function, if of each a site can be proven.
    pub fn given_calls<const COUNT: usize>(
        &self,
        symbol: &str,
        gives: Gives,
    ) -> Option<Vec<GivenCall<COUNT>>> {
        let calls = if self.decodable { self.calls(symbol) } else { Vec::new() };
        let proven: Option<Vec<_>> =
            calls.iter().map(|call| self.given_call((symbol, gives), call)).collect();
        proven.filter(|proven| !proven.is_empty())
    }

    fn given_call<const COUNT: usize>(
        &self,
        (symbol, gives): (&str, Gives),
        (function, call): &(Code64<'_>, Instruction),
    ) -> Option<GivenCall<COUNT>> {
        let function = *function;
        let jumps: Vec<u64> = self.functions().flat_map(jump_targets).collect();
        let before = before(function, call, &jumps);
        let flow = Flow { image: self, symbol };
        let behind = |signs, runs| {
            let state = before.behind_call(signs);
            flow.walk(call.next_ip(), &state, &Walk { stop: None, runs })
        };
        let found = behind(Signs::GREATER, Runs::Undisturbed)?;
        let nothing = match gives {
            Gives::Success => Signs::EQUAL,
            Gives::Length => Signs::LESS.or(Signs::EQUAL),
        };
        let in_vain = behind(nothing, Runs::Anyhow)?;
        let without =
            flow.walk(function.address, &State::unknown(), &Walk { stop: None, runs: Runs::Anyhow })?;
        let others: BTreeSet<u64> = in_vain.states.keys().chain(without.states.keys()).copied().collect();
        found.states.keys().filter(|address| !others.contains(address)).find_map(|address| {
            let one = self.instruction_at(*address)?;
            let code = self.code_at(*address)?;
            if !code.is_emulated(&one) || one.flow_control() == FlowControl::Call {
                return None;
            }
            let walk = Walk { stop: Some(*address), runs: Runs::Undisturbed };
            let to_it = flow.walk(call.next_ip(), &before.behind_call(Signs::GREATER), &walk)?;
            let from_it = flow.walk(*address, &State::unknown(), &Walk { stop: None, runs: Runs::Anyhow })?;
            if to_it.escapes || from_it.comes_back {
                return None;
            }
            let between = to_it.states.keys().filter(|passed| *passed != address);
            let between: Option<Vec<_>> = between.map(|passed| self.instruction_at(*passed)).collect();
            let arguments = kept_arguments(function, call, &between?, &jumps)?;
            let site = self.site(&one, Step::Emulated, Why::Given)?;
            let result = to_it.states.get(address).and_then(result_in);
            Some(GivenCall { site, arguments, result })
        })
    }

    fn instruction_at(&self, address: u64) -> Option<Instruction> {
        self.code_at(address)?.instructions().next()
    }
}

/// What is known when the call is made: from where the code cannot be jumped into any more.
fn before(function: Code64<'_>, call: &Instruction, jumps: &[u64]) -> State {
    let straight = |one: &Instruction| matches!(one.flow_control(), FlowControl::Next);
    let mut state = State::unknown();
    for one in function.instructions().take_while(|one| one.ip() < call.ip()) {
        if !straight(&one) || jumps.contains(&one.ip()) {
            state = State::unknown();
        }
        if straight(&one) {
            state.pass(&one);
        }
    }
    if jumps.contains(&call.ip()) { State::unknown() } else { state }
}

fn result_in(state: &State) -> Option<Operand> {
    let register = Kept::registers().find(|kept| state.is_result(kept.register()))?;
    Some(Operand { register, added: 0, in_memory: false })
}

/// The register of a result (System V ABI for AMD64, section 3.2.3).
const RESULT: Register = Register::RAX;

#[cfg(test)]
mod tests;
