//! Commands of the server.
//!
//! Invariant: a command is answered once, however often and whichever way it comes; none does more than fetch the
//! configuration again.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;
use tokio::time::Instant;

use super::fields::Fields;
use super::ledger::now_ms;
use super::servers::Call;
use super::session::Session;
use super::text::cut;
use super::wire;

/// The server repeats a command for no longer.
const REMEMBERED: Duration = Duration::from_hours(1);
/// Ids remembered at most.
const MAX_REMEMBERED: usize = 1024;

/// The server's numbers for how a command went.
const DONE: u8 = 2;
const CANCELLED: u8 = 3;
const FAILED: u8 = 4;

/// A command, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
struct Command<'a> {
    id: i64,
    name: &'a str,
    expires_ms: Option<i64>,
}

/// The ids of the last hour's commands.
#[derive(Debug, Default)]
pub(super) struct SeenCommands(VecDeque<(i64, Instant)>);

impl SeenCommands {
    /// Whether `id` comes for the first time.
    fn is_new(&mut self, id: i64, now: Instant) -> bool {
        while self.0.front().is_some_and(|&(_, at)| now.duration_since(at) > REMEMBERED) {
            self.0.pop_front();
        }
        if self.0.iter().any(|&(seen, _)| seen == id) {
            return false;
        }
        if self.0.len() == MAX_REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((id, now));
        true
    }
}

impl Session {
    /// Carries out the command in `frame` and answers it.
    pub(super) async fn obey(&self, frame: &Value) {
        let Some(command) = parse(frame) else { return };
        let now = Instant::now();
        if command.id > 0 && !self.commands.lock().is_new(command.id, now) {
            return;
        }
        let server_ms = now_ms().saturating_add(self.clock_offset_ms.load(Ordering::Relaxed));
        let (status, text) = if command.expires_ms.is_some_and(|at| at < server_ms) {
            (CANCELLED, "the command has expired".to_owned())
        } else if !command.name.eq_ignore_ascii_case("config/publish") {
            (FAILED, format!("stardust-probe does not know the command [{}]", cut(command.name, 100)))
        } else if !self.shared.settings.config_enabled {
            (FAILED, "the configuration center is switched off here".to_owned())
        } else {
            match self.fetch_config(now).await {
                Ok(None) => (DONE, "the configuration is in force".to_owned()),
                Ok(Some(why)) => {
                    (FAILED, format!("the configuration is refused, the old one stays: {}", cut(&why, 500)))
                }
                Err(error) => (FAILED, format!("cannot fetch the configuration: {error}")),
            }
        };
        if command.id > 0 {
            let reply = wire::CommandReply { id: command.id, status, data: &text };
            if let Err(error) = self.call(&Call::post("/App/CommandReply", &reply)).await {
                tracing::debug!(app = self.app.id, id = command.id, %error, "cannot answer a command");
            }
        }
    }
}

fn parse(frame: &Value) -> Option<Command<'_>> {
    let fields = Fields::of(frame)?;
    let expires_ms = fields.text("expire").and_then(instant_ms);
    Some(Command { id: fields.int("id").unwrap_or(0), name: fields.text("command")?, expires_ms })
}

/// Unix milliseconds of a time with a zone, or of one in local time. Times of the year 2000 and before mean none.
fn instant_ms(text: &str) -> Option<i64> {
    let at = text.parse::<Timestamp>().ok().or_else(|| {
        let local: DateTime = text.parse().ok()?;
        Some(local.to_zoned(TimeZone::system()).ok()?.timestamp())
    })?;
    let year_2001 = 978_307_200_000;
    Some(at.as_millisecond()).filter(|&ms| ms >= year_2001)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_are_read_in_any_letter_case() {
        let frame = json!({"Id": 5, "Command": "config/publish", "Argument": "", "StartTime": "",
            "Expire": "2026-08-02T05:00:00Z", "TraceId": "00-a-b-01", "Status": 0});
        let command = Command { id: 5, name: "config/publish", expires_ms: Some(1_785_646_800_000) };
        assert_eq!(parse(&frame), Some(command));
        let frame = json!({"id": 6, "command": "app/freeMemory", "expire": null});
        assert_eq!(parse(&frame), Some(Command { id: 6, name: "app/freeMemory", expires_ms: None }));
        for other in [json!(1), json!({"id": 7}), json!({"command": ""}), json!([])] {
            assert_eq!(parse(&other), None);
        }
    }

    #[test]
    fn times_come_with_and_without_a_zone() {
        assert_eq!(instant_ms("2026-08-02T05:00:00.5Z"), Some(1_785_646_800_500));
        assert_eq!(instant_ms("2026-08-02T13:00:00+08:00"), Some(1_785_646_800_000));
        let local = DateTime::constant(2026, 8, 2, 5, 0, 0, 0).to_zoned(TimeZone::system()).expect("a time");
        let expected = Some(local.timestamp().as_millisecond());
        assert_eq!(instant_ms("2026-08-02 05:00:00"), expected);
        assert_eq!(instant_ms("2026-08-02T05:00:00"), expected);
        for none in ["0001-01-01 00:00:00", "2000-01-01T00:00:00Z", "soon", ""] {
            assert_eq!(instant_ms(none), None, "{none}");
        }
    }

    #[test]
    fn an_id_is_new_once_an_hour() {
        let mut seen = SeenCommands::default();
        let now = Instant::now();
        assert!(seen.is_new(1, now) && !seen.is_new(1, now + REMEMBERED));
        assert!(seen.is_new(1, now + REMEMBERED + Duration::from_secs(1)));
        for id in 2..3000 {
            seen.is_new(id, now + REMEMBERED);
        }
        assert_eq!(seen.0.len(), MAX_REMEMBERED);
    }
}
