//! What all processes of one app share.
//!
//! Invariant: nothing is said twice in the log, and the probe is told of limits only when they change.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::Shared;
use super::config::ConfigState;
use super::fields::Fields;
use super::identity::Identity;
use crate::{HeadLimits, Remote};

/// One app.
#[derive(Debug)]
pub(super) struct App {
    /// Its name on this host.
    pub id: String,
    identity: Mutex<Identity>,
    excludes: Mutex<Arc<[String]>>,
    told: Mutex<Option<HeadLimits>>,
    /// What the log says about logging in.
    pub login_news: News,
    /// What the log says about reports.
    pub report_news: News,
    /// What the log says about the configuration center.
    pub config_news: News,
    /// What came from the configuration center.
    pub config: tokio::sync::Mutex<ConfigState>,
    /// The losses that the server was told of. Held while it is told, so that one session does it.
    pub losses_told: tokio::sync::Mutex<String>,
    /// Held while an app without a secret logs in, so that the server makes one app and one secret.
    pub registration: tokio::sync::Mutex<()>,
}

/// The last thing the log said about a matter.
#[derive(Debug, Default)]
pub(super) struct News(Mutex<String>);

impl App {
    /// The app `id`, as the server knew it last.
    pub(super) fn new(id: &str, shared: &Shared) -> Self {
        let kept = shared.identities.load(id).unwrap_or_else(|error| {
            tracing::warn!(app = id, %error, "cannot read the app's kept secret; using the configured one");
            None
        });
        let configured = || Identity { code: id.to_owned(), secret: shared.settings.secret.clone() };
        Self {
            id: id.to_owned(),
            identity: Mutex::new(kept.unwrap_or_else(configured)),
            excludes: Mutex::new(Arc::new([])),
            told: Mutex::default(),
            login_news: News::default(),
            report_news: News::default(),
            config_news: News::default(),
            config: tokio::sync::Mutex::default(),
            losses_told: tokio::sync::Mutex::default(),
            registration: tokio::sync::Mutex::default(),
        }
    }

    /// What to log in with.
    pub(super) fn identity(&self) -> Identity {
        self.identity.lock().clone()
    }

    /// The server handed out `identity`: used from now on, and kept.
    pub(super) fn adopt(&self, identity: &Identity, shared: &Shared) {
        {
            let mut current = self.identity.lock();
            if *current == *identity {
                return;
            }
            current.clone_from(identity);
        }
        if let Err(error) = shared.identities.save(&self.id, identity) {
            let dir = shared.settings.state_dir.display();
            tracing::warn!(app = self.id, %error, "cannot keep the app's secret in {dir}; it is asked for again next time");
        }
    }

    /// The names not to report.
    pub(super) fn excludes(&self) -> Arc<[String]> {
        Arc::clone(&self.excludes.lock())
    }

    /// Takes over what the answer to a report asks for.
    pub(super) fn obey(&self, answer: Fields<'_>, shared: &Shared) {
        let patterns = answer.list("excludes").unwrap_or_default();
        let texts = patterns.iter().filter_map(Value::as_str).filter(|pattern| !pattern.is_empty());
        *self.excludes.lock() = texts.map(str::to_owned).collect();
        let limits = shared.ledger.limits(&self.id).updated(answer);
        shared.ledger.set_limits(&self.id, limits);
        let head = HeadLimits { period_s: limits.period_s, max_samples: limits.max_samples.unsigned_abs() };
        if self.told.lock().replace(head) != Some(head) {
            // Nobody waits for it: what has been counted meanwhile stays right.
            drop((shared.remote)(Remote::HeadLimits { app_id: self.id.clone(), limits: head }));
        }
    }
}

impl News {
    /// Whether `text` is something else than what was said last.
    pub(super) fn is_new(&self, text: &str) -> bool {
        let mut last = self.0.lock();
        let new = *last != text;
        if new {
            text.clone_into(&mut last);
        }
        new
    }

    /// All is well: the next trouble is news again. True if there was trouble.
    pub(super) fn clear(&self) -> bool {
        !std::mem::take(&mut *self.0.lock()).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_said_once() {
        let news = News::default();
        assert!(!news.clear());
        assert!(
            news.is_new("down") && !news.is_new("down") && news.is_new("disabled") && news.is_new("down")
        );
        assert!(news.clear() && news.is_new("down"));
    }
}
