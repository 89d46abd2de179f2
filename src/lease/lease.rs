//! The guard that a statement holds while it runs. Giving it back is the only thing it does by itself.

use std::fmt;
use std::sync::Arc;

use futures::stream::BoxStream;
use tokio::sync::mpsc::UnboundedSender;

use super::actor::Message;
use super::core::{self, WaiterId};
use crate::model::{Event, OwnerId, SessionName, StatementId, TargetName};
use crate::platform::{Platform, RemoteSession, Statement};

/// How a lease ended, as its holder knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The statement is over, and the session can take another.
    Healthy,
    /// The session is dead or in an unknown state; a sentence fragment says why. It is closed.
    Lost(String),
}

/// An owner's exclusive right to one session, for one statement.
///
/// [`Lease::release`] is the way to end it. Dropping it counts as `Lost`, since nobody knows what the session is
/// doing: the session is closed. Neither waits, neither can fail.
pub(crate) struct Lease {
    /// The session.
    pub session: RemoteSession,
    /// Whose it is.
    pub owner: OwnerId,
    /// Where it is.
    pub target: TargetName,
    /// Its name, if it was opened by one: then variables are kept.
    pub named: Option<SessionName>,
    platform: Arc<dyn Platform>,
    back: Back,
}

impl Lease {
    /// Runs a statement; see [`Platform::run`]. One at a time.
    pub(crate) fn run(&self, statement: Statement) -> BoxStream<'static, Event> {
        self.platform.run(&self.session, statement)
    }

    /// Cancels the running statement; see [`Platform::cancel`].
    ///
    /// # Cancel safety
    /// As the platform's; call it from the statement's own task.
    pub(crate) async fn cancel(&self, statement: &StatementId) {
        self.platform.cancel(&self.session, statement).await;
    }

    /// Why the session is dead, as far as is known; see [`Platform::lost`].
    pub(crate) fn lost(&self) -> Option<String> {
        self.platform.lost(&self.session)
    }

    /// Gives the session back. An acquire that is sent afterwards by the same task finds it free.
    pub(crate) fn release(mut self, outcome: Outcome) {
        self.back.give(match outcome {
            Outcome::Healthy => core::Outcome::Healthy,
            Outcome::Lost(reason) => core::Outcome::Lost(reason),
        });
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("session", &self.session.id)
            .field("owner", &self.owner)
            .field("target", &self.target)
            .field("named", &self.named)
            .finish_non_exhaustive()
    }
}

/// A lease on its way to the caller. Dropped there (the caller has gone away), nothing has run, and the session is
/// free again.
pub(super) struct Offer(Lease);

impl Offer {
    pub(super) fn new(
        session: RemoteSession,
        owner: OwnerId,
        target: TargetName,
        named: Option<SessionName>,
        platform: Arc<dyn Platform>,
        back: UnboundedSender<Message>,
        lease: WaiterId,
    ) -> Self {
        let back = Back {
            sender: Some(back),
            session: session.clone(),
            lease,
            unless_said: core::Outcome::Unused,
        };
        Self(Lease {
            session,
            owner,
            target,
            named,
            platform,
            back,
        })
    }

    pub(super) fn accept(mut self) -> Lease {
        self.0.back.unless_said = core::Outcome::Lost(DROPPED.to_owned());
        self.0
    }
}

/// Why a session went whose lease was dropped.
const DROPPED: &str = "the statement's task ended without giving the session back";

/// Says once how a lease ended.
struct Back {
    /// `None` once it was said.
    sender: Option<UnboundedSender<Message>>,
    session: RemoteSession,
    lease: WaiterId,
    unless_said: core::Outcome,
}

impl Back {
    fn give(&mut self, outcome: core::Outcome) {
        if let Some(sender) = self.sender.take() {
            // The actor is gone only at the end of the process, and then every session is closed anyway.
            let _ = sender.send(Message::Event(core::Event::Release {
                session: self.session.id.clone(),
                lease: self.lease,
                outcome,
            }));
        }
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        let outcome = self.unless_said.clone();
        self.give(outcome);
    }
}
