//! How many tests passed, failed and were skipped, as the test runners themselves say.

/// The sum so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: usize,
    /// Tests and gates that failed.
    pub failed: usize,
    /// Tests that were not run.
    pub skipped: usize,
    /// What failed, a line each.
    pub complaints: Vec<String>,
    /// What was skipped and why, a line each.
    pub skips: Vec<String>,
}

impl Tally {
    /// Reads what libtest printed for one binary. A run that fails without saying which test it was (a crash,
    /// a time-out, a build error) counts as one failure.
    pub fn of_run(name: &str, output: &str, ended_well: bool) -> Self {
        let mut tally = Self::default();
        let mut has_results = false;
        for line in output.lines() {
            if let Some(results) = line.strip_prefix("test result: ") {
                has_results = true;
                tally.passed += number_before(results, " passed");
                tally.failed += number_before(results, " failed");
                tally.skipped += number_before(results, " ignored");
            } else if let Some(test) = line.strip_prefix("test ") {
                if let Some(test) = test.strip_suffix(" ... FAILED") {
                    tally.complaints.push(format!("{name}: {test}"));
                } else if let Some((test, reason)) = test.split_once(" ... ignored") {
                    let reason = reason.strip_prefix(", ").unwrap_or("ignored");
                    tally.skips.push(format!("{name}: {test}: {reason}"));
                }
            }
        }
        if !(ended_well && has_results) && tally.failed == 0 {
            tally.failed = 1;
            tally.complaints.push(format!("{name}: ended without results, or badly"));
        }
        tally
    }

    /// Counts tests that were not run, and says why.
    pub fn skip(&mut self, tests: usize, what_and_why: &str) {
        self.skipped += tests;
        self.skips.push(format!("{what_and_why} ({tests} tests)"));
    }

    /// Adds another sum to this one.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.complaints.extend(other.complaints);
        self.skips.extend(other.skips);
    }
}

/// In `ok. 3 passed; 0 failed`, the number before a word; 0 where there is none.
fn number_before(text: &str, word: &str) -> usize {
    let Some((before, _)) = text.split_once(word) else { return 0 };
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runners_own_words_are_counted() {
        let output = "\nrunning 4 tests\ntest a ... ok\ntest b ... FAILED\ntest c ... ignored, needs nginx\n\
                      test d ... ok\n\ntest result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; \
                      3 filtered out; finished in 0.10s\n";
        let tally = Tally::of_run("unit", output, false);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (2, 1, 1));
        assert_eq!(tally.complaints, ["unit: b"]);
        assert_eq!(tally.skips, ["unit: c: needs nginx"]);
    }

    #[test]
    fn several_results_are_summed_and_a_crash_is_a_failure() {
        let ok = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let mut sum = Tally::of_run("docs", &ok.repeat(2), true);
        assert_eq!((sum.passed, sum.failed, sum.skipped), (24, 0, 0));
        sum.add(Tally::of_run("crashed", "running 3 tests\n", false));
        sum.add(Tally::of_run("silent", "", true));
        sum.skip(5, "live: not root");
        assert_eq!((sum.passed, sum.failed, sum.skipped), (24, 2, 5));
        assert_eq!(
            sum.complaints,
            ["crashed", "silent"].map(|name| format!("{name}: ended without results, or badly"))
        );
        assert_eq!(sum.skips, ["live: not root (5 tests)"]);
    }
}
