//! Where a function returns.
//!
//! Invariant: every return of the function, and none of another one; where that is not certain there are none.

use std::collections::BTreeSet;

use iced_x86::{FlowControl, Instruction};

use super::super::{NoSite, Site, Step, Why};
use super::Image;

/// Most pieces of code in a straight line.
const MAX_PIECES: usize = 1024;

impl Image {
    /// The instructions by which a function returns, in its own code and in what the compiler has put apart. The kernel
    /// emulates none of them.
    pub fn ends(&self, symbol: &str) -> Result<Vec<Site>, NoSite> {
        let uncertain = || NoSite::End(symbol.to_owned());
        let start = self.address_of(symbol)?;
        if !self.decodable {
            return Err(NoSite::Processor);
        }
        let own = self.function(start).ok_or_else(uncertain)?;
        let own = own.address..own.address + own.bytes.len() as u64;
        let (mut ends, mut seen, mut pieces) = (Vec::new(), BTreeSet::new(), vec![start]);
        while let Some(piece) = pieces.pop() {
            if seen.len() > MAX_PIECES {
                return Err(uncertain());
            }
            let code = self.function(piece).ok_or_else(uncertain)?;
            for instruction in code.instructions().take_while(|one| seen.insert(one.ip())) {
                let target = instruction.near_branch_target();
                match instruction.flow_control() {
                    FlowControl::Return => ends.push(instruction),
                    FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {
                        if !own.contains(&target) && !self.is_part(target) {
                            return Err(uncertain());
                        }
                        pieces.push(target);
                    }
                    FlowControl::IndirectBranch => return Err(uncertain()),
                    _ => {}
                }
                let ends_here = matches!(
                    instruction.flow_control(),
                    FlowControl::Return | FlowControl::UnconditionalBranch | FlowControl::Exception
                );
                if ends_here {
                    break;
                }
            }
        }
        let site = |end: &Instruction| self.site(end, Step::Single, Why::End).ok_or_else(uncertain);
        if ends.is_empty() { Err(uncertain()) } else { ends.iter().map(site).collect() }
    }

    /// Whether what is jumped to is no function: nobody calls it.
    fn is_part(&self, target: u64) -> bool {
        let is_called = || {
            self.functions().any(|code| {
                code.instructions().any(|one| one.is_call_near() && one.near_branch_target() == target)
            })
        };
        !self.exported.contains(&target) && !is_called()
    }
}
