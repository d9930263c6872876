//! Losses of the probe, as events in the history of each app that it watches.
//!
//! Invariant: an app is told the same once, whichever of its sessions does it; what could not be told is told later, with what has
//! come meanwhile.

use tokio::time::sleep;

use super::ledger::now_ms;
use super::servers::Call;
use super::session::Session;
use super::text::cut;
use super::wire;

const NAME: &str = "stardust-probe missed something";

impl Session {
    /// Tells of losses as they become known. Never ends.
    pub(super) async fn tell_losses_always(&self) {
        let mut losses = self.shared.losses.clone();
        loop {
            losses.mark_unchanged();
            if !self.tell_losses().await {
                let period = *self.ping_period.lock();
                sleep(period).await;
            } else if losses.changed().await.is_err() {
                // The probe stops: what is left is told with the last report.
                return std::future::pending().await;
            }
        }
    }

    /// Tells of what is known to be lost, unless that was told. Whether nothing is left to tell.
    pub(super) async fn tell_losses(&self) -> bool {
        let mut told = self.app.losses_told.lock().await;
        let losses = self.shared.losses.borrow().clone();
        if *told == losses {
            return true;
        }
        let remark = format!("since it began, in all that it watches: {losses}");
        let event = wire::Event { time: now_ms(), kind: "alert", name: NAME, remark: cut(&remark, 500) };
        if let Err(error) = self.call(&Call::post("/App/PostEvents", &[event])).await {
            tracing::debug!(app = self.app.id, %error, "cannot tell Stardust what was missed");
            return false;
        }
        *told = losses;
        true
    }
}
