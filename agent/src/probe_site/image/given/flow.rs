//! Where the code goes from an instruction, as far as what is known of registers decides it.
//!
//! Invariant: bounded; a way that cannot be followed is an escape.

use std::collections::BTreeMap;

use iced_x86::{FlowControl, Instruction};

use super::super::Image;
use super::CHECK_SIGNALS;
use super::state::{Signs, State};

/// Most instructions that are looked at on one walk, and within a function that is called on it.
const MAX_STEPS: usize = 1 << 14;
const MAX_STEPS_WITHIN: usize = 256;

/// Code around calls of one function.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow<'a> {
    pub(super) image: &'a Image,
    /// The function. A walk ends where it is called.
    pub(super) symbol: &'a str,
}

/// What a walk takes for granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// No signal's handler fails.
    Undisturbed,
    /// Nothing.
    Anyhow,
}

/// How to walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    /// Ends there.
    pub(super) stop: Option<u64>,
    pub(super) runs: Runs,
}

/// Where a walk went.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// The instructions that were reached, with what is known there.
    pub(super) states: BTreeMap<u64, State>,
    /// It may have ended elsewhere than where it was to.
    pub(super) escapes: bool,
    /// It may come back to where it began.
    pub(super) comes_back: bool,
    /// What is known where it returns; `None`: it does not.
    returns: Option<State>,
    /// Some way could not be followed.
    is_lost: bool,
}

impl Flow<'_> {
    /// `None`: too long.
    pub(super) fn walk(&self, start: u64, state: &State, how: &Walk) -> Option<Walked> {
        self.walk_at_most(start, state, how, MAX_STEPS)
    }

    fn walk_at_most(&self, start: u64, state: &State, how: &Walk, steps: usize) -> Option<Walked> {
        let mut walked = Walked::default();
        walked.states.insert(start, state.clone());
        let mut open = vec![start];
        for _ in 0..steps {
            let Some(address) = open.pop() else { return Some(walked) };
            if how.stop == Some(address) {
                continue;
            }
            let mut state = walked.states.get(&address)?.clone();
            let Some(one) = self.image.instruction_at(address) else {
                (walked.escapes, walked.is_lost) = (true, true);
                continue;
            };
            for next in self.step(&one, &mut state, how, &mut walked) {
                walked.comes_back |= next == start;
                let known = walked.states.get_mut(&next);
                let is_news = known.map(|known| known.join(&state));
                if is_news.is_none() {
                    walked.states.insert(next, state.clone());
                }
                if is_news != Some(false) {
                    open.push(next);
                }
            }
        }
        None
    }

    /// Where an instruction may lead, and what it leaves.
    fn step(&self, one: &Instruction, state: &mut State, how: &Walk, walked: &mut Walked) -> Vec<u64> {
        match one.flow_control() {
            FlowControl::Next => {
                state.pass(one);
                vec![one.next_ip()]
            }
            FlowControl::UnconditionalBranch => vec![one.near_branch_target()],
            FlowControl::ConditionalBranch => match state.takes(one) {
                Some(true) => vec![one.near_branch_target()],
                Some(false) => vec![one.next_ip()],
                None => vec![one.near_branch_target(), one.next_ip()],
            },
            FlowControl::Call => {
                let target = one.near_branch_target();
                if self.image.name_of(target) == Some(self.symbol) {
                    (walked.escapes, walked.is_lost) = (true, true);
                    return Vec::new();
                }
                let signs = self.called(target, state, how);
                state.pass_call(signs);
                vec![one.next_ip()]
            }
            FlowControl::IndirectCall => {
                state.pass_call(Signs::ANY);
                vec![one.next_ip()]
            }
            // It does not go on.
            FlowControl::Exception | FlowControl::Interrupt => Vec::new(),
            flow => {
                walked.escapes = true;
                if flow == FlowControl::Return {
                    let known = walked.returns.get_or_insert_with(|| state.clone());
                    known.join(state);
                } else {
                    walked.is_lost = true;
                }
                Vec::new()
            }
        }
    }

    /// What a function may give that is called on the way.
    fn called(&self, target: u64, state: &State, how: &Walk) -> Signs {
        if how.runs != Runs::Undisturbed {
            return Signs::ANY;
        }
        if self.image.name_of(target) == Some(CHECK_SIGNALS) {
            return Signs::EQUAL;
        }
        // Within it, what it calls is not looked into.
        let within = Walk { stop: None, runs: Runs::Anyhow };
        let walked = self.walk_at_most(target, state, &within, MAX_STEPS_WITHIN);
        let returns = walked.filter(|walked| !walked.is_lost).and_then(|walked| walked.returns);
        returns.map_or(Signs::ANY, |state| state.given())
    }
}
