//! What the server asks of reports about one app.
//!
//! Invariant: every limit is within bounds that keep memory bounded, whatever the server says.

use super::fields::Fields;

/// The parameters of sampling and reporting, as the server hands them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Seconds between reports.
    pub period_s: u32,
    /// Samples per name and period.
    pub max_samples: i32,
    /// Error samples per name and period.
    pub max_errors: i32,
    /// Milliseconds from which a call is slow and so worth a sample. 0: never.
    pub timeout_ms: i64,
    /// Characters of a tag.
    pub max_tag_chars: usize,
    /// Characters of a sample's request part, and as many of its response part. `None`: leave them out.
    pub request_tag_chars: Option<usize>,
    /// Send the process's figures.
    pub enable_meter: bool,
}

/// The server stores no more of a tag or an error.
pub(super) const STORED_CHARS: usize = 2000;

impl Default for Limits {
    /// What the server gives a new app.
    fn default() -> Self {
        Self {
            period_s: 60,
            max_samples: 1,
            max_errors: 10,
            timeout_ms: 5000,
            max_tag_chars: 1024,
            request_tag_chars: Some(1024),
            enable_meter: true,
        }
    }
}

impl Limits {
    /// With what `answer` (a `TraceResponse`) sets; the rest stays.
    pub(super) fn updated(mut self, answer: Fields<'_>) -> Self {
        let positive = |name, max: i64| answer.int(name).filter(|&n| n > 0).map(|n| n.min(max));
        if let Some(period) = positive("period", 86_400) {
            self.period_s = period as u32;
        }
        if let Some(samples) = positive("maxSamples", 1000) {
            self.max_samples = samples as i32;
        }
        if let Some(errors) = positive("maxErrors", 1000) {
            self.max_errors = errors as i32;
        }
        if let Some(timeout) = positive("timeout", i64::MAX) {
            self.timeout_ms = timeout;
        }
        if let Some(chars) = positive("maxTagLength", STORED_CHARS as i64) {
            self.max_tag_chars = chars as usize;
        }
        match answer.int("requestTagLength") {
            Some(chars) if chars < 0 => self.request_tag_chars = None,
            Some(chars) if chars > 0 => {
                self.request_tag_chars = Some(chars.min(STORED_CHARS as i64) as usize);
            }
            _ => {}
        }
        if let Some(meter) = answer.bool("enableMeter") {
            self.enable_meter = meter;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_server_s_wishes_are_taken_within_bounds() {
        let asked = json!({"period": 10, "MaxSamples": 100, "maxErrors": 0, "timeout": 200, "maxTagLength": 99999,
            "requestTagLength": -1, "enableMeter": false});
        let limits = Limits::default().updated(Fields::of(&asked).expect("an object"));
        assert_eq!(
            limits,
            Limits {
                period_s: 10,
                max_samples: 100,
                max_errors: 10,
                timeout_ms: 200,
                max_tag_chars: 2000,
                request_tag_chars: None,
                enable_meter: false,
            }
        );
        let silent = json!({"period": null, "requestTagLength": 0, "enableMeter": null, "timeout": "x"});
        assert_eq!(limits.updated(Fields::of(&silent).expect("an object")), limits);
        let back = json!({"requestTagLength": 100});
        assert_eq!(limits.updated(Fields::of(&back).expect("an object")).request_tag_chars, Some(100));
    }
}
