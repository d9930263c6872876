//! From the kernel's ring to the pipeline.

use ebpf::Ring;

use crate::clock;
use crate::frame::Frame;
use crate::pipeline::Pipeline;

/// Who takes records out of the ring.
pub(super) struct Reader {
    pub(super) ring: Ring,
    copies_lost: u32,
}

impl Reader {
    pub(super) fn new(ring: Ring) -> Self {
        Self { ring, copies_lost: 0 }
    }

    /// All that is there.
    pub(super) fn feed(&mut self, pipeline: &mut Pipeline) {
        let known_lost = &mut self.copies_lost;
        self.ring.consume(|record, copies_lost| {
            if copies_lost != *known_lost {
                *known_lost = copies_lost;
                tracing::debug!("copies of contexts were lost: it begins anew which task starts which");
                // Without a clock no later one is trusted either.
                pipeline.lose_copies(clock::monotonic_ns().unwrap_or(u64::MAX));
            }
            pipeline.feed(&Frame::Record(record));
        });
    }
}
