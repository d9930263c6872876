//! The configuration center's keys.
//!
//! Invariant: one process asks for all of its app; whatever keys come are handed on, whichever their version; a fetch
//! is over when they are in force or refused.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::envelope::CallError;
use super::fields::Fields;
use super::servers::Call;
use super::session::Session;
use super::wire;
use crate::Remote;

/// What the app has of its configuration.
#[derive(Debug, Default)]
pub(super) struct ConfigState {
    version: i64,
    asked_at: Option<Instant>,
    /// Why the keys that came last are not in force, if they are not.
    refused: Option<String>,
}

/// How long the probe may take to put keys in force.
const APPLY_LIMIT: Duration = Duration::from_secs(5);

impl Session {
    /// Looks for new keys, interval by interval. Never ends.
    pub(super) async fn watch_config(&self) {
        let interval = self.shared.settings.timing.config;
        if !self.shared.settings.config_enabled {
            return std::future::pending().await;
        }
        loop {
            // Another process of the app may have asked in the meantime.
            let recent = Instant::now().checked_sub(interval / 2);
            let done = self.fetch_config(recent.unwrap_or_else(Instant::now)).await;
            let wait = match done {
                // Refused keys have been told of where they were refused.
                Ok(_) => {
                    self.app.config_news.clear();
                    interval
                }
                // That has been said where it failed.
                Err(CallError::NoLogin) => interval.min(Duration::from_secs(5)),
                Err(error) => {
                    if self.app.config_news.is_new(&error.to_string()) {
                        tracing::warn!(app = self.app.id, %error, "cannot fetch the app's configuration");
                    }
                    interval
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Fetches the app's keys, unless that was begun after `since` by another of its processes, and hands them on.
    /// Gives why the keys are refused, if they are.
    pub(super) async fn fetch_config(&self, since: Instant) -> Result<Option<String>, CallError> {
        let mut state = self.app.config.lock().await;
        if state.asked_at.is_some_and(|at| at >= since) {
            return Ok(state.refused.clone());
        }
        let asked_at = Instant::now();
        let query = wire::ConfigQuery {
            app_id: &self.app.identity().code,
            client_id: &self.client_id,
            scope: &self.shared.settings.scope,
            version: state.version,
        };
        let answer = self.call(&Call::post("/Config/GetAll", &query)).await?;
        let Some(fields) = Fields::of(&answer) else {
            return Err(CallError::Foreign("the configuration is no object".to_owned()));
        };
        state.asked_at = Some(asked_at);
        // Null keys: nothing new. The version may stay or fall when the scope changes or a release is taken back.
        if let Some(keys) = fields.object("configs") {
            state.version = fields.int("version").unwrap_or(0);
            let values: BTreeMap<String, String> =
                keys.iter().map(|(key, value)| (key.clone(), text_of(value))).collect();
            let outcome = (self.shared.remote)(Remote::Config { app_id: self.app.id.clone(), values });
            state.refused = match tokio::time::timeout(APPLY_LIMIT, outcome).await {
                Ok(Ok(outcome)) => outcome.err(),
                Ok(Err(_)) => Some("the probe stops".to_owned()),
                Err(_) => Some("the probe is too busy to apply them".to_owned()),
            };
        }
        Ok(state.refused.clone())
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_value_is_text() {
        for (value, expected) in [
            (json!("a"), "a"),
            (json!(null), ""),
            (json!(0.5), "0.5"),
            (json!(true), "true"),
            (json!([1]), "[1]"),
        ] {
            assert_eq!(text_of(&value), expected);
        }
    }
}
