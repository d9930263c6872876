//! Spans to Stardust.
//!
//! Invariant: a span is counted the moment it comes in, under one short lock; the server's state, speed and answers
//! change what is sent and when, never what was counted. What is not reported is in the books with its reason.
//!
//! [`Stardust`] takes spans into the ledger; [`Task`] runs one session per process, which logs in, reports each period,
//! pings, and listens. Facts about the server are from its public sources (`NewLifeX/Stardust`, `NewLife.Remoting`,
//! `NewLife.Core`).

mod aggregate;
mod app;
mod command;
mod config;
mod envelope;
mod fields;
mod host;
mod identity;
mod ledger;
mod limits;
mod login;
mod losses;
mod name;
mod notify;
mod outbox;
mod ping;
mod reporting;
mod salt;
mod sample;
mod servers;
mod session;
mod settings;
mod task;
#[cfg(test)]
mod test_span;
mod text;
mod tls;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use model::{Books, Load, Process, Span};
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch;

pub use settings::{Secret, Settings, StardustError, Timing};
pub use task::Task;

use crate::{Exporter, Outcome, Remote, VitalsSource};
use host::Host;
use identity::IdentityStore;
use ledger::Ledger;
use outbox::Room;
use servers::Servers;

/// The exporter to Stardust.
#[derive(Debug)]
pub struct Stardust {
    ledger: Arc<Ledger>,
    losses: watch::Sender<String>,
}

/// What all sessions share.
struct Shared {
    settings: Settings,
    servers: Servers,
    ledger: Arc<Ledger>,
    identities: IdentityStore,
    host: Host,
    vitals: VitalsSource,
    remote: Box<dyn Fn(Remote) -> Outcome + Send + Sync>,
    losses: watch::Receiver<String>,
    room: Room,
    /// Sessions of processes that are gone, with something still to report.
    lingering: AtomicUsize,
}

/// An exporter that talks to `settings.servers`. `vitals` gives the watched processes' figures; what the server asks of
/// the probe goes to `remote`, which must return at once and tells later what became of it. Nothing is sent before the [`Task`] runs and a process has
/// its first span.
///
/// # Errors
/// A server's address or the CA file cannot be used. That a server is away is no error.
pub fn open(
    settings: Settings,
    vitals: VitalsSource,
    remote: impl Fn(Remote) -> Outcome + Send + Sync + 'static,
) -> Result<(Arc<Stardust>, Task), StardustError> {
    let servers = Servers::new(&settings)?;
    let (sender, newcomers) = unbounded_channel();
    let losses = watch::Sender::default();
    let ledger = Arc::new(Ledger::new(sender, settings.names_per_period, settings.skip_not_found));
    let shared = Shared {
        servers,
        ledger: Arc::clone(&ledger),
        identities: IdentityStore::new(&settings.state_dir, &settings.servers),
        host: Host::read(),
        vitals,
        remote: Box::new(remote),
        losses: losses.subscribe(),
        room: Room::new(settings.queue_builders),
        lingering: AtomicUsize::new(0),
        settings,
    };
    Ok((Arc::new(Stardust { ledger, losses }), Task { shared: Arc::new(shared), newcomers }))
}

impl Exporter for Stardust {
    fn name(&self) -> &'static str {
        "stardust"
    }

    fn record(&self, span: &Arc<Span>) {
        self.ledger.record(span);
    }

    fn process_started(&self, process: &Arc<Process>) {
        self.ledger.update(process);
    }

    fn process_load(&self, process: &Arc<Process>, load: &Load) {
        self.ledger.load(process, load);
    }

    fn losses(&self, losses: &str) {
        self.losses.send_replace(losses.to_owned());
    }

    fn process_exited(&self, pid: u32) {
        self.ledger.exited(pid);
    }

    /// `reported` are spans counted in a report that the server took. Every span is counted, so none is sampled out.
    fn books(&self) -> Books {
        self.ledger.books()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}
