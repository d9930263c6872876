//! Durations in few buckets: quantiles of any number of requests in a few hundred numbers.
//!
//! Invariant: a quantile is never more than 1/32 away from a duration that was counted (and exact below 16 µs).

/// Each power of two is split into this many buckets.
const SUB_BUCKETS: u64 = 16;
const SUB_BITS: u32 = SUB_BUCKETS.trailing_zeros();

/// Counts of durations in microseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram {
    counts: Vec<u32>,
    total: u64,
}

impl Histogram {
    pub(super) fn add(&mut self, duration_us: u64) {
        let bucket = bucket(duration_us);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
        self.total += 1;
    }

    /// The duration in microseconds that `percent` of all do not exceed; `None` if there is none.
    pub(super) fn percentile(&self, percent: u64) -> Option<u64> {
        let rank = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        self.counts.iter().enumerate().find_map(|(bucket, &count)| {
            seen += u64::from(count);
            (seen >= rank).then(|| middle(bucket))
        })
    }
}

/// Values below 16 have a bucket each; then 16 buckets for each power of two.
fn bucket(value: u64) -> usize {
    if value < SUB_BUCKETS {
        return value as usize;
    }
    let shift = value.ilog2() - SUB_BITS;
    (u64::from(shift) * SUB_BUCKETS + (value >> shift)) as usize
}

fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB_BUCKETS {
        return bucket;
    }
    let shift = bucket / SUB_BUCKETS - 1;
    let low = (bucket % SUB_BUCKETS + SUB_BUCKETS) << shift;
    low + ((1 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        let mut last = 0;
        for value in 0..100_000 {
            let bucket = bucket(value);
            assert!(bucket == last || bucket == last + 1, "{value}");
            assert!(middle(bucket).abs_diff(value) * 32 <= value, "{value}");
            last = bucket;
        }
        assert!(bucket(u64::MAX) < 1000);
        assert!(middle(bucket(u64::MAX)) > u64::MAX / 2);
    }

    #[test]
    fn percentiles_of_one_to_a_thousand() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(50), None);
        (1..=1000).for_each(|value| histogram.add(value));
        for (percent, exact) in [(0, 1), (50, 500), (95, 950), (99, 990), (100, 1000)] {
            let found = histogram.percentile(percent).unwrap();
            assert!(found.abs_diff(exact) * 32 <= exact, "p{percent}: {found}");
        }
    }
}
