//! One watched process as an instance of its app: its own login, reports, pings and push channel.
//!
//! Invariant: its parts run side by side, so that a slow call holds up none but itself; figures leave through
//! [`Session::report_until`] alone, so that none is sent twice.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::app::App;
use super::command::SeenCommands;
use super::envelope::CallError;
use super::ledger::Newcomer;
use super::login::{LoginState, Token};
use super::outbox::Outbox;
use super::servers::Call;
use super::text::system_version;

/// The session of one process.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) app: Arc<App>,
    /// The process's number in the ledger.
    pub(super) number: u64,
    pub(super) pid: u32,
    /// `ip@pid`: unique on the server, so every process has its own and its own token.
    pub(super) client_id: String,
    /// The app's version, if the server can parse it.
    pub(super) version: Option<String>,
    /// Cancelled when the process is gone.
    pub(super) gone: CancellationToken,
    pub(super) token: watch::Sender<Option<Token>>,
    pub(super) login: tokio::sync::Mutex<LoginState>,
    pub(super) outbox: Mutex<Outbox>,
    pub(super) ping_period: Mutex<Duration>,
    pub(super) commands: Mutex<SeenCommands>,
    /// Server's clock minus ours, in milliseconds.
    pub(super) clock_offset_ms: AtomicI64,
}

impl Session {
    /// A session for `newcomer`, not yet known to the server.
    pub(super) fn new(shared: &Arc<Shared>, app: &Arc<App>, newcomer: Newcomer) -> Self {
        let pid = newcomer.process.pid;
        Self {
            shared: Arc::clone(shared),
            app: Arc::clone(app),
            number: newcomer.number,
            pid,
            client_id: format!("{}@{pid}", shared.host.ip),
            version: newcomer.process.version.as_deref().and_then(system_version),
            gone: newcomer.gone,
            token: watch::Sender::new(None),
            login: tokio::sync::Mutex::default(),
            outbox: Mutex::new(Outbox::new(&shared.settings, shared.room.clone())),
            ping_period: Mutex::new(shared.settings.timing.ping),
            commands: Mutex::default(),
            clock_offset_ms: AtomicI64::new(0),
        }
    }

    /// Reports until the process is gone or the probe stops, then reports what is left and logs out.
    pub(super) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = self.report_until(&stop) => {}
            () = self.stay_in_touch() => {}
        }
        if !stop.is_cancelled() {
            // Spans that the process's end has cut off are still on their way.
            let grace = self.shared.settings.timing.exit_grace;
            let _ = tokio::time::timeout(grace, stop.cancelled()).await;
        }
        self.report_rest(&stop).await;
        self.tell_losses().await;
        let reason = if self.gone.is_cancelled() { "ProcessExited" } else { "Dispose" };
        self.log_out(reason).await;
    }

    /// Login, pings, configuration and push. Never ends.
    async fn stay_in_touch(&self) {
        let after_login = async {
            self.logged_in().await;
            tokio::join!(self.watch_config(), self.ping_and_listen(), self.tell_losses_always());
        };
        tokio::join!(self.keep_login(), after_login);
    }

    async fn ping_and_listen(&self) {
        let mut gauge = self.gauge();
        tokio::time::sleep(self.shared.settings.timing.first_ping).await;
        // Before its first ping the server does not know where to send the process's commands.
        self.ping(&mut gauge).await;
        tokio::join!(self.ping_always(gauge), self.listen_always());
    }

    /// Makes `call` with the token. When the server does not take the token, logs in anew and tries once more.
    pub(super) async fn call(&self, call: &Call) -> Result<Value, CallError> {
        let token = self.token().await?;
        match self.shared.servers.send(call, Some(&token.text)).await {
            Err(CallError::Api { code: 401, .. }) => {
                self.forget(&token);
                let token = self.token().await?;
                self.shared.servers.send(call, Some(&token.text)).await
            }
            answer => answer,
        }
    }
}
