//! Which context was copied from which.
//!
//! Invariants: no two contexts have the same name: an address is used again at once, so the number of the copy that made
//! the context goes with it. What was copied without being seen ends all that was known.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::Request;
use super::turns::Hand;

/// Most copies of one process that are remembered, and addresses.
const MAX_COPIES: usize = 65_536;
const MAX_ADDRESSES: usize = 65_536;
/// How far up contexts are followed.
const MAX_STEPS: usize = 16;

/// A context of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ContextId {
    address: u64,
    /// The number of the copy that made it; 0: that was not seen.
    copy: u64,
}

/// Something that happened in a context: a call, or that another context was copied from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) context: ContextId,
    pub(super) tid: u32,
    pub(super) at_ns: u64,
}

impl Step {
    /// What did it, if that was a thread or a greenlet.
    pub(super) fn hand(&self) -> Hand {
        (self.context.address, self.tid)
    }
}

/// The request that a context was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) request: Request,
    /// Something had read it for a loop, which need not have sent what was written before when its tasks go on to the next.
    pub(super) of_loop: bool,
}

/// How a context came about.
#[derive(Debug, Clone, Copy)]
struct Copy {
    /// Where and when it was copied, if that was in a context that was itself entered.
    made: Option<Step>,
    at_ns: u64,
    /// The number of the context that was at its address before; 0: that was not seen.
    before: u64,
    owner: Option<Owner>,
    /// Some request was answered in it.
    has_served: bool,
}

/// The contexts of a process.
#[derive(Debug, Default)]
pub(super) struct Ancestry {
    /// Since when every copy is seen. `None`: they are not.
    since_ns: Option<u64>,
    /// By address: the copy that made the context which is there now.
    current: FxHashMap<u64, u64>,
    copies: VecDeque<Copy>,
    /// Copies that came before those, less one: numbers begin with 1.
    forgotten: u64,
}

impl Ancestry {
    /// Whether copies are seen.
    pub(super) fn is_seen(&self) -> bool {
        self.since_ns.is_some()
    }

    /// Without room for more addresses, what is where is not known any more.
    pub(super) fn is_full(&self) -> bool {
        self.current.len() >= MAX_ADDRESSES
    }

    /// A context was copied. Gives the one that was at its address before.
    pub(super) fn copied(
        &mut self,
        (at_ns, address): (u64, u64),
        made: Option<Step>,
        owner: Option<Owner>,
    ) -> Option<ContextId> {
        let replaced = self.now_at(address);
        let before = self.since_ns.map(|_| replaced);
        self.since_ns.get_or_insert(at_ns);
        if self.copies.len() >= MAX_COPIES {
            self.copies.pop_front();
            self.forgotten += 1;
        }
        self.copies.push_back(Copy { made, at_ns, before: replaced.copy, owner, has_served: false });
        self.current.insert(address, self.forgotten + self.copies.len() as u64);
        before
    }

    /// Copies were not seen, or are not seen any more.
    pub(super) fn lose(&mut self) {
        self.forgotten += self.copies.len() as u64;
        self.since_ns = None;
        self.current = FxHashMap::default();
        self.copies = VecDeque::new();
    }

    /// Forgets copies that were made before.
    pub(super) fn age(&mut self, until_ns: u64) {
        while self.copies.pop_front_if(|copy| copy.at_ns < until_ns).is_some() {
            self.forgotten += 1;
        }
        self.copies.shrink_to(2 * self.copies.len());
    }

    /// The context that is at an address now.
    pub(super) fn now_at(&self, address: u64) -> ContextId {
        ContextId { address, copy: self.current.get(&address).copied().unwrap_or(0) }
    }

    /// The context that was at an address. `None`: too many others have come there since.
    pub(super) fn at(&self, address: u64, at_ns: u64) -> Option<ContextId> {
        let mut context = self.now_at(address);
        for _ in 0..MAX_STEPS {
            match self.copy(context) {
                Some(copy) if copy.at_ns > at_ns => context.copy = copy.before,
                _ => return Some(context),
            }
        }
        None
    }

    /// Whether it is still there, for all that was seen.
    pub(super) fn is_there(&self, context: ContextId) -> bool {
        self.now_at(context.address) == context
    }

    /// Whether what was at the context's address from this time on was certainly this context.
    pub(super) fn is_sure(&self, context: ContextId, from_ns: u64) -> bool {
        context.copy > 0 || self.since_ns.is_some_and(|since_ns| since_ns <= from_ns)
    }

    /// The request that a context was made for.
    pub(super) fn owner(&self, context: ContextId) -> Option<Owner> {
        self.copy(context)?.owner
    }

    /// A request is answered in a context.
    pub(super) fn serves(&mut self, context: ContextId) {
        if let Some(index) = self.index(context)
            && let Some(copy) = self.copies.get_mut(index)
        {
            copy.has_served = true;
        }
    }

    /// Whether a request was answered in a context, if it is remembered how that came about.
    pub(super) fn has_served(&self, context: ContextId) -> bool {
        self.copy(context).is_some_and(|copy| copy.has_served)
    }

    /// What happened, and what had to happen for that: where its context was copied, where that one's was, and so on.
    pub(super) fn steps(&self, first: Step) -> impl Iterator<Item = Step> {
        let above = |step: &Step| self.copy(step.context)?.made;
        std::iter::successors(Some(first), above).take(MAX_STEPS)
    }

    fn copy(&self, context: ContextId) -> Option<&Copy> {
        self.copies.get(self.index(context)?)
    }

    fn index(&self, context: ContextId) -> Option<usize> {
        context.copy.checked_sub(self.forgotten + 1).map(|index| index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(ancestry: &Ancestry, parent: u64, at_ns: u64) -> Step {
        Step { context: ancestry.now_at(parent), tid: 1, at_ns }
    }

    #[test]
    fn contexts_at_one_address_are_told_apart() {
        let mut ancestry = Ancestry::default();
        let unseen = ancestry.now_at(0xa);
        assert!(!ancestry.is_sure(unseen, 5));
        assert_eq!(
            ancestry.copied((10, 0xb), Some(made(&ancestry, 0xa, 10)), None),
            None,
            "before the first all is unsure"
        );
        assert!(ancestry.is_sure(unseen, 10) && !ancestry.is_sure(unseen, 9));
        let first = ancestry.now_at(0xb);
        assert_eq!(ancestry.copied((20, 0xb), Some(made(&ancestry, 0xa, 20)), None), Some(first));
        let second = ancestry.now_at(0xb);
        assert_ne!(first, second);
        assert!(ancestry.is_there(second) && !ancestry.is_there(first));
        assert_eq!((ancestry.at(0xb, 20), ancestry.at(0xb, 19)), (Some(second), Some(first)));
        let before = ContextId { address: 0xb, copy: 0 };
        assert_eq!((ancestry.at(0xb, 10), ancestry.at(0xb, 9)), (Some(first), Some(before)));
        let step = Step { context: second, tid: 1, at_ns: 25 };
        let up = Step { context: unseen, tid: 1, at_ns: 20 };
        assert_eq!(ancestry.steps(step).collect::<Vec<_>>(), [step, up]);
    }

    #[test]
    fn what_is_lost_is_never_taken_for_what_comes_after() {
        let mut ancestry = Ancestry::default();
        let owner = Owner { request: (3, 7), of_loop: false };
        ancestry.copied((10, 0xa), None, Some(owner));
        let before = ancestry.now_at(0xa);
        assert_eq!(ancestry.owner(before), Some(owner));
        ancestry.lose();
        assert!(!ancestry.is_seen() && !ancestry.is_there(before));
        assert_eq!(ancestry.owner(before), None);
        ancestry.copied((20, 0xa), None, None);
        assert_ne!(ancestry.now_at(0xa), before);
    }

    #[test]
    fn it_is_bounded() {
        let mut ancestry = Ancestry::default();
        for number in 0..3 * MAX_COPIES as u64 {
            ancestry.copied((number, number % 7), Some(made(&ancestry, number % 7, number)), None);
        }
        assert_eq!(ancestry.copies.len(), MAX_COPIES);
        let last = Step { context: ancestry.now_at(0), tid: 1, at_ns: 0 };
        assert_eq!(ancestry.steps(last).count(), MAX_STEPS);
        ancestry.age(u64::MAX);
        assert_eq!((ancestry.copies.len(), ancestry.steps(last).count()), (0, 1));
        for number in 0..MAX_ADDRESSES as u64 {
            assert!(!ancestry.is_full());
            ancestry.copied((number, number), None, None);
        }
        assert!(ancestry.is_full());
    }
}
