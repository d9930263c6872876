//! How much is going on, and how the thread sleeps in between.
//!
//! Where records keep coming it looks for them at every interval, so that no program has to wake it. Where there are few
//! the next one wakes it, and it waits an interval for those that follow: an answer comes with its request, and a look that
//! finds nothing, which costs as much as a span, is spared.

use std::time::Duration;

use ebpf::Kernel;

use super::reader::Reader;
use crate::clock;
use crate::pipeline::{Intake, Pipeline};
use crate::sys;

/// With so many records in an interval, they keep coming.
const BUSY_RECORDS: u64 = 8;
/// After this long with few records, and without anything that has to be looked after, records wake the thread.
const CALM_AFTER_NS: u64 = 200_000_000;
/// Who shares the CPU waits while records are taken in. After a longer turn than this the interval is halved, ...
const LONG_TURN_NS: u64 = 1_000_000;
/// ... and after a shorter one doubled again.
const SHORT_TURN_NS: u64 = 250_000;
/// How often the interval is halved at most.
const HALVINGS_MAX: u32 = 2;
/// How long it sleeps at most: for wishes, and to notice that it is told to stop.
const SLEEP: Duration = Duration::from_millis(250);

/// How much is going on.
#[derive(Default)]
pub(super) struct Activity {
    intake: Intake,
    /// When much went on last.
    busy_ns: u64,
    is_calm: bool,
    /// What the thread had run when its turn began.
    ran_ns: u64,
    /// How often the interval is halved.
    halvings: u32,
}

impl Activity {
    /// Where it is calm, has the next record wake the thread: right after what is there was taken in, as one may have come
    /// meanwhile that is seen only some microseconds later. It is looked for when all else is done.
    pub(super) fn expect_record(&self, kernel: &mut Kernel) {
        if self.is_calm {
            kernel.wake_on_next_record();
        }
    }

    /// After all that there was to do: `waits` if something has to be looked after before the next record comes.
    pub(super) fn note(&mut self, kernel: &mut Kernel, intake: Intake, waits: bool, now_ns: u64) {
        let was_calm = self.is_calm;
        self.judge(intake, waits, now_ns);
        self.pace(clock::thread_ns().saturating_sub(self.ran_ns));
        if self.is_calm && !was_calm {
            self.expect_record(kernel);
            sys::trim_memory();
        }
    }

    fn judge(&mut self, intake: Intake, waits: bool, now_ns: u64) {
        let came = records_that_stir(intake) - records_that_stir(self.intake);
        if came >= BUSY_RECORDS || intake.lives != self.intake.lives || waits || self.busy_ns == 0 {
            self.busy_ns = now_ns;
        }
        self.intake = intake;
        self.is_calm = now_ns - self.busy_ns > CALM_AFTER_NS;
    }

    fn pace(&mut self, turn_ns: u64) {
        if turn_ns > LONG_TURN_NS {
            self.halvings = HALVINGS_MAX.min(self.halvings + 1);
        } else if turn_ns < SHORT_TURN_NS {
            self.halvings = self.halvings.saturating_sub(1);
        }
    }

    /// Until records are to be taken, an interval or less.
    pub(super) fn sleep(
        &mut self,
        kernel: &mut Kernel,
        reader: &mut Reader,
        pipeline: &mut Pipeline,
        interval: Duration,
    ) {
        self.wait(kernel, reader, pipeline, interval / 2_u32.pow(self.halvings));
        self.ran_ns = clock::thread_ns();
    }

    fn wait(&self, kernel: &mut Kernel, reader: &mut Reader, pipeline: &mut Pipeline, interval: Duration) {
        if self.is_calm {
            // What came just before a record was to wake it.
            reader.feed(pipeline);
            let is_new = records_that_stir(pipeline.intake()) != records_that_stir(self.intake);
            if !is_new {
                reader.ring.wait(SLEEP);
            }
            if kernel.hurries() || (!is_new && kernel.wakes_on_next_record()) {
                return;
            }
        }
        reader.ring.wait(interval);
    }
}

/// Copies of contexts are of no interest by themselves.
fn records_that_stir(intake: Intake) -> u64 {
    intake.records - intake.copies
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn long_turns_make_shorter_intervals() {
        let mut activity = Activity::default();
        for (turn_us, halvings) in
            [(1000, 0), (1001, 1), (700, 1), (250, 1), (249, 0), (0, 0), (5000, 1), (5000, 2), (5000, 2)]
        {
            activity.pace(turn_us * 1000);
            assert_eq!(activity.halvings, halvings, "{turn_us} us");
        }
    }

    #[test]
    fn it_is_calm_a_while_after_much_went_on_or_something_waited() {
        let mut activity = Activity::default();
        let (mut records, mut copies, mut lives) = (0, 0, 0);
        // What came, whether something waits, and when.
        for (came, copied, began, waits, at_ms, is_calm) in [
            (0, 0, 0, false, 1, false),
            (0, 0, 0, false, 201, false),
            (0, 0, 0, false, 202, true),
            (7, 0, 0, false, 222, true),
            (0, 9, 0, false, 240, true),
            (8, 0, 0, false, 260, false),
            (7, 0, 0, false, 460, false),
            (7, 0, 0, false, 461, true),
            (1, 0, 1, false, 500, false),
            (0, 0, 0, false, 701, true),
            (1, 0, 0, true, 720, false),
            (1, 0, 0, false, 921, true),
        ] {
            (records, copies, lives) = (records + came + copied, copies + copied, lives + began);
            activity.judge(Intake { records, copies, lives, ..Intake::default() }, waits, at_ms * MS);
            assert_eq!(activity.is_calm, is_calm, "at {at_ms} ms");
        }
    }
}
