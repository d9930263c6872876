//! New ids. Invariant: never zero; the same seed gives the same ids.

use fastrand::Rng;
use model::{SpanId, TraceId};

/// A source of ids.
#[derive(Debug)]
pub(crate) struct Ids {
    random: Rng,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed) }
    }

    pub(crate) fn trace(&mut self) -> TraceId {
        TraceId::from_u128(self.random.u128(1..))
    }

    pub(crate) fn span(&mut self) -> SpanId {
        SpanId(self.random.u64(1..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats() {
        let (mut a, mut b) = (Ids::new(7), Ids::new(7));
        assert_eq!(a.trace(), b.trace());
        assert_eq!(a.span(), b.span());
        assert_ne!(a.span(), b.trace().0.parse::<u64>().map_or(SpanId(0), SpanId));
        assert_eq!(a.trace().0.len(), 32);
        assert_ne!(Ids::new(8).trace(), Ids::new(9).trace());
    }
}
