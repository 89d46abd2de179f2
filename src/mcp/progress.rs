//! Progress notices: strictly increasing, at most one every few seconds, none after the end.

use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::{Peer, RequestContext};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::gate::Gate;
use crate::model::Progress;

/// Clients that reset a timer on progress have timers of 30 s and more.
pub(super) const EVERY: Duration = Duration::from_secs(3);
/// The first notice, so that a person sees at once that something happens.
const FIRST: Duration = Duration::from_millis(500);

/// Sends notices about one call; silent when the client asked for none.
pub(super) struct Notices {
    peer: Peer<RoleServer>,
    token: Option<ProgressToken>,
    gate: Gate,
    begun: Instant,
    ticks: tokio::time::Interval,
}

impl Notices {
    /// Notices for the call of this context.
    pub(super) fn new(context: &RequestContext<RoleServer>, gate: Gate) -> Self {
        let begun = Instant::now();
        let mut ticks = interval_at(begun + FIRST, EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            peer: context.peer.clone(),
            token: context.meta.get_progress_token(),
            gate,
            begun,
            ticks,
        }
    }

    /// Waits until the next notice is due.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn due(&mut self) {
        self.ticks.tick().await;
    }

    /// Sends one. The number is the seconds since the call began: it always grows, and no total is invented.
    pub(super) async fn send(&self, state: &str, progress: Option<&Progress>) {
        let Some(token) = self.token.clone() else {
            return;
        };
        let elapsed = self.begun.elapsed();
        let mut message = format!("{state}, {} s", elapsed.as_secs());
        if let Some(progress) = progress {
            // A platform that knows no more than the state says just that.
            if progress.phase != state {
                message = format!("{}: {message}", progress.phase);
            }
            if let Some(fraction) = progress.fraction {
                message = format!("{message}, {:.0} %", fraction * 100.0);
            }
        }
        let message = self.gate.text(&message).to_string();
        let notice =
            ProgressNotificationParam::new(token, elapsed.as_secs_f64()).with_message(message);
        let _ = self.peer.notify_progress(notice).await;
    }
}
