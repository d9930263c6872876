//! Pings: the watched process's own figures, and the server's word in return.
//!
//! Invariant: the figures are the process's, never the probe's. A process that is gone ends its session.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::envelope::CallError;
use super::fields::Fields;
use super::ledger::now_ms;
use super::servers::Call;
use super::session::Session;
use super::text::cut;
use super::wire;
use crate::Vitals;

/// What the last ping said of the process's CPU time, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gauge {
    cpu_ms: Option<u64>,
    at: Instant,
}

impl Session {
    /// Where the first ping's share of CPU time counts from.
    pub(super) fn gauge(&self) -> Gauge {
        Gauge { cpu_ms: (self.shared.vitals)(self.pid).map(|vitals| vitals.cpu_ms), at: Instant::now() }
    }

    /// Pings period by period. Never ends.
    pub(super) async fn ping_always(&self, mut gauge: Gauge) {
        loop {
            let period = *self.ping_period.lock();
            tokio::time::sleep(period).await;
            self.ping(&mut gauge).await;
        }
    }

    /// One ping. A failed one is not made up for: the next has newer figures.
    pub(super) async fn ping(&self, gauge: &mut Gauge) {
        let source = std::sync::Arc::clone(&self.shared.vitals);
        let pid = self.pid;
        let Ok(vitals) = tokio::task::spawn_blocking(move || source(pid)).await else { return };
        let Some(vitals) = vitals else {
            self.gone.cancel();
            return;
        };
        let Some(call) = self.ping_call(&vitals, gauge) else { return };
        let token = self.token.borrow().clone();
        match self.call(&call).await {
            Ok(answer) => self.heed(&answer).await,
            Err(error) => {
                if let (CallError::Api { code: 403, .. }, Some(token)) = (&error, token) {
                    // Disabled, or unknown since a restart: only a login tells.
                    self.forget(&token);
                }
                tracing::debug!(app = self.app.id, client = self.client_id, %error, "a ping failed");
            }
        }
    }

    fn ping_call(&self, vitals: &Vitals, gauge: &mut Gauge) -> Option<Call> {
        let process = self.shared.ledger.process(self.number)?;
        let now = Instant::now();
        let before = gauge.cpu_ms.map(|cpu_ms| (cpu_ms, (now - gauge.at).as_millis() as u64));
        *gauge = Gauge { cpu_ms: Some(vitals.cpu_ms), at: now };
        let load = self.shared.ledger.take_load(self.number);
        let meter = self.shared.ledger.limits(&self.app.id).enable_meter;
        let info = wire::AppInfo {
            id: self.pid,
            name: cut(&process.name, 200),
            version: self.version.as_deref(),
            command_line: cut(&process.command_line, 500),
            user_name: cut(&process.user, 50),
            machine_name: cut(&self.shared.host.name, 50),
            ip: &self.shared.host.ips,
            start_time: wire::started(&process),
            meter: meter.then(|| wire::Meter::new(vitals, before, load)),
            time: now_ms(),
        };
        Some(Call::post("/App/Ping", &info))
    }

    async fn heed(&self, answer: &Value) {
        let Some(fields) = Fields::of(answer) else { return };
        if let Some(period_s) = fields.int("period").filter(|&s| s > 0) {
            // The server forgets an instance after ten minutes of silence.
            *self.ping_period.lock() = Duration::from_secs(period_s.min(300) as u64);
        }
        if let Some(token) = fields.text("token") {
            self.renewed(token);
        }
        for command in fields.list("commands").unwrap_or_default() {
            self.obey(command).await;
        }
    }
}
