//! Reports: one per period, with what waited, until the last.
//!
//! Invariant: every span taken from the ledger ends in its books: accepted, or dropped for a reason. An answer without
//! data is a refusal, whatever its code.

use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use model::DropReason;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::envelope::CallError;
use super::fields::Fields;
use super::ledger::now_ms;
use super::outbox::Batch;
use super::servers::Call;
use super::session::Session;
use super::wire;

/// Smaller reports are sent as they are, as the official client does.
const GZIP_BYTES: usize = 1024;
/// Processes that are gone and still have something waiting.
const MAX_LINGERING: usize = 64;
/// Without a version in the report the server does not send the excludes.
const SOME_VERSION: &str = "1.0.0.0";

/// What became of a batch.
enum Fate {
    Accepted,
    /// Worth another try.
    Away,
    Refused(String),
}

impl Session {
    /// Reports period by period until the process is gone or the probe stops.
    pub(super) async fn report_until(&self, stop: &CancellationToken) {
        let mut tokens = self.token.subscribe();
        let mut next = Instant::now() + self.shared.settings.timing.first_report;
        loop {
            let retry_at = self.waiting_until();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.gone.cancelled() => return,
                () = tokio::time::sleep_until(next) => {
                    let builders = self.shared.ledger.take(self.number);
                    if !builders.is_empty() {
                        self.report(Batch::split(builders, now_ms())).await;
                    }
                    next += Duration::from_secs(self.shared.ledger.limits(&self.app.id).period_s.into());
                    next = next.max(Instant::now());
                }
                () = tokio::time::sleep_until(retry_at.unwrap_or(next)), if retry_at.is_some() => self.drain().await,
                _ = tokens.changed() => {
                    if tokens.borrow_and_update().is_some() && !self.outbox.lock().is_empty() {
                        self.drain().await;
                    }
                }
            }
        }
    }

    /// The last report, with all that waits. A process that is gone keeps trying until the server is back or the probe
    /// stops.
    pub(super) async fn report_rest(&self, stop: &CancellationToken) {
        let builders = self.shared.ledger.remove(self.number);
        self.try_again().await;
        if !builders.is_empty() {
            self.report(Batch::split(builders, now_ms())).await;
        }
        self.drain().await;
        if !self.outbox.lock().is_empty() && !stop.is_cancelled() {
            let lingering = &self.shared.lingering;
            if lingering.fetch_add(1, Ordering::Relaxed) < MAX_LINGERING {
                self.linger(stop).await;
            }
            lingering.fetch_sub(1, Ordering::Relaxed);
        }
        while let Some(batch) = self.pop() {
            self.shared.ledger.dropped(DropReason::Expired, batch.spans());
        }
    }

    async fn linger(&self, stop: &CancellationToken) {
        while let Some(retry_at) = self.waiting_until() {
            tokio::select! {
                () = stop.cancelled() => {
                    self.try_again().await;
                    return self.drain().await;
                }
                () = tokio::time::sleep_until(retry_at) => self.drain().await,
            }
        }
    }

    /// Whatever the last failure was, tries the login now.
    async fn try_again(&self) {
        self.outbox.lock().recovered();
        if self.token.borrow().is_none() {
            let _ = self.log_in(None, true).await;
        }
    }

    async fn report(&self, batches: Vec<Batch>) {
        let mut delivered = false;
        for mut batch in batches {
            let resting = self.outbox.lock().retry_at().is_some_and(|at| at > Instant::now());
            match if resting { Fate::Away } else { self.deliver(&mut batch).await } {
                Fate::Accepted => delivered = true,
                Fate::Away => self.keep(batch, resting),
                Fate::Refused(why) => self.refused(&batch, &why),
            }
        }
        if delivered && !self.outbox.lock().is_empty() {
            self.drain().await;
        }
    }

    /// Sends what waits, oldest first, until the server is away again.
    async fn drain(&self) {
        while let Some(mut batch) = self.pop() {
            match self.deliver(&mut batch).await {
                Fate::Accepted => {}
                Fate::Refused(why) => self.refused(&batch, &why),
                Fate::Away => {
                    let mut outbox = self.outbox.lock();
                    let lost = outbox.put_back(batch).err();
                    outbox.back_off(Instant::now());
                    self.shared.ledger.dropped(DropReason::QueueFull, lost.unwrap_or(0));
                    return;
                }
            }
        }
    }

    /// Sends `batch`, less what is excluded by now.
    async fn deliver(&self, batch: &mut Batch) -> Fate {
        let excluded = batch.exclude(&self.app.excludes());
        self.shared.ledger.dropped(DropReason::Excluded, excluded);
        let Some(call) = self.report_call(batch) else {
            return Fate::Refused("the report cannot be written".to_owned());
        };
        let answer = match self.call(&call).await {
            Ok(answer) => answer,
            Err(error @ (CallError::Away(_) | CallError::Foreign(_) | CallError::NoLogin)) => {
                if !matches!(error, CallError::NoLogin) && self.app.report_news.is_new(&error.to_string()) {
                    tracing::warn!(app = self.app.id, %error, "cannot report to Stardust; keeping the counts until it is back");
                }
                return Fate::Away;
            }
            Err(error) => return Fate::Refused(error.to_string()),
        };
        let Some(answer) = Fields::of(&answer) else {
            return Fate::Refused("the server says it is well but took nothing".to_owned());
        };
        self.shared.ledger.accepted(batch.spans());
        self.outbox.lock().recovered();
        if self.app.report_news.clear() {
            tracing::info!(app = self.app.id, "reports reach Stardust again");
        }
        self.app.obey(answer, &self.shared);
        Fate::Accepted
    }

    fn report_call(&self, batch: &Batch) -> Option<Call> {
        let report = wire::Report {
            app_id: &self.app.identity().code,
            app_name: &self.app.id,
            client_id: &self.client_id,
            version: self.version.as_deref().unwrap_or(SOME_VERSION),
            builders: &batch.builders,
        };
        let json = serde_json::to_vec(&report).ok()?;
        // This path's parser takes a batch with an odd value; the other one's loses it whole.
        let path = "/Trace/ReportRaw";
        if json.len() < GZIP_BYTES {
            return Some(Call::post_raw(path, "application/octet-stream", json));
        }
        let mut gzip = GzEncoder::new(Vec::with_capacity(json.len() / 4), Compression::fast());
        gzip.write_all(&json).ok()?;
        Some(Call::post_raw(path, "application/x-gzip", gzip.finish().ok()?))
    }

    fn keep(&self, batch: Batch, resting: bool) {
        let mut outbox = self.outbox.lock();
        let lost = outbox.push(batch).err();
        if !resting {
            outbox.back_off(Instant::now());
        }
        drop(outbox);
        if let Some(spans) = lost {
            self.shared.ledger.dropped(DropReason::QueueFull, spans);
        }
    }

    fn refused(&self, batch: &Batch, why: &str) {
        self.shared.ledger.dropped(DropReason::Rejected, batch.spans());
        if self.app.report_news.is_new(why) {
            tracing::warn!(app = self.app.id, spans = batch.spans(), "Stardust refuses a report: {why}");
        }
    }

    /// The oldest batch that is still worth sending.
    fn pop(&self) -> Option<Batch> {
        let mut outbox = self.outbox.lock();
        let expired = outbox.expire(now_ms());
        let batch = outbox.pop();
        drop(outbox);
        self.shared.ledger.dropped(DropReason::Expired, expired);
        batch
    }

    /// When to try what waits, if anything does.
    fn waiting_until(&self) -> Option<Instant> {
        let outbox = self.outbox.lock();
        if outbox.is_empty() { None } else { Some(outbox.retry_at().unwrap_or_else(Instant::now)) }
    }
}
