//! What drives the sessions.
//!
//! Invariant: each session runs on its own; when the probe stops, all end within the time set for it, and the books
//! are closed.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::app::App;
use super::ledger::Newcomer;
use super::session::Session;

/// The part of the exporter that talks to the servers.
#[derive(Debug)]
#[must_use = "nothing is reported unless it runs"]
pub struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) newcomers: UnboundedReceiver<Newcomer>,
}

impl Task {
    /// Reports until `stop`; then the last figures of every process go out and each logs out, all within
    /// [`Timing::stop`](super::Timing::stop). Spans recorded later than that are counted as expired.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut apps: HashMap<String, Arc<App>> = HashMap::new();
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(newcomer) = self.newcomers.recv() => self.begin(newcomer, &mut apps, &mut sessions, &stop),
                Some(ended) = sessions.join_next(), if !sessions.is_empty() => report_end(ended),
            }
        }
        while let Ok(newcomer) = self.newcomers.try_recv() {
            self.begin(newcomer, &mut apps, &mut sessions, &stop);
        }
        let all = async {
            while let Some(ended) = sessions.join_next().await {
                report_end(ended);
            }
        };
        if tokio::time::timeout(self.shared.settings.timing.stop, all).await.is_err() {
            tracing::warn!("the Stardust server did not take the last reports in time");
        }
        sessions.shutdown().await;
        self.shared.ledger.close();
    }

    fn begin(
        &self,
        newcomer: Newcomer,
        apps: &mut HashMap<String, Arc<App>>,
        sessions: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) {
        let app_id = &newcomer.process.app_id;
        let app = apps.entry(app_id.clone()).or_insert_with(|| Arc::new(App::new(app_id, &self.shared)));
        sessions.spawn(Session::new(&self.shared, app, newcomer).run(stop.clone()));
    }
}

fn report_end(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a Stardust session broke off");
    }
}
