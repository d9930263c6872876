//! Calls that are made on the way through a function, whether or not the compiler has kept its parts apart.
//!
//! Invariant: what is looked at is bounded; what other files can call is never taken for a part of the function.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{FlowControl, Register};

use super::super::{NoSite, Site, Step, Why};
use super::{CallSite, Image};

/// How deep the function's own parts are followed.
const MAX_DEPTH: u32 = 1;
/// Most pieces of code in a straight line, and instructions of one.
const MAX_PIECES: usize = 256;
const MAX_INSTRUCTIONS: usize = 256;

impl Image {
    /// The direct calls of a function that can be reached from another one: in its own code, in what it jumps to, and in
    /// functions that it calls and that no other file can. Empty if there are none.
    pub fn calls_within(&self, symbol: &str, callee: &str) -> Result<Vec<CallSite>, NoSite> {
        let start = self.address_of(symbol)?;
        if !self.decodable {
            return Err(NoSite::Processor);
        }
        let (mut found, mut seen) = (BTreeMap::new(), BTreeSet::new());
        let mut pieces = vec![(start, 0)];
        while let Some((piece, depth)) = pieces.pop() {
            if seen.len() >= MAX_PIECES || !seen.insert(piece) {
                continue;
            }
            let Some(code) = self.code_at(piece) else { continue };
            for instruction in code.instructions().take(MAX_INSTRUCTIONS) {
                let target = instruction.near_branch_target();
                let flow = instruction.flow_control();
                let is_own = !self.exported.contains(&target);
                match flow {
                    FlowControl::Call if self.name_of(target) == Some(callee) => {
                        found.insert(instruction.ip(), self.call_site(&instruction));
                    }
                    FlowControl::Call if is_own && depth < MAX_DEPTH => pieces.push((target, depth + 1)),
                    FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch if is_own => {
                        pieces.push((target, depth));
                    }
                    _ => {}
                }
                let goes_on = matches!(
                    flow,
                    FlowControl::Next
                        | FlowControl::Call
                        | FlowControl::IndirectCall
                        | FlowControl::ConditionalBranch
                );
                if !goes_on {
                    break;
                }
            }
        }
        Ok(found.into_values().flatten().collect())
    }

    /// Where a return probe of a function goes: the stack pointer still points at the return address there.
    pub fn returns(&self, symbol: &str) -> Result<Site, NoSite> {
        let none = || NoSite::Symbol(symbol.to_owned());
        let code = self.function(self.address_of(symbol)?).ok_or_else(none)?;
        if !self.decodable {
            return Err(NoSite::Processor);
        }
        let (found, step) = match code.first_emulated(&[Register::RSP]) {
            Some(found) => (found, Step::Emulated),
            None => (code.instructions().next().ok_or_else(none)?, Step::Single),
        };
        self.site(&found, step, Why::Return).ok_or_else(none)
    }
}
