//! The pool as everybody else sees it: ask, wait, go away. It decides nothing and owns nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Targets;
use super::actor::{self, Message, Reply};
use super::core::{Event, WaiterId};
use super::lease::{Lease, Offer};
use crate::ledger::Ledger;
use crate::model::{Error, OwnerId, Result, SessionInfo, SessionName, TargetName};
use crate::platform::Reporter;

/// Asks for a lease.
#[derive(Debug)]
pub(crate) struct AcquireRequest {
    /// For whom.
    pub owner: OwnerId,
    /// Where.
    pub target: TargetName,
    /// In which named session; `None` is any unnamed one.
    pub session: Option<SessionName>,
    /// When the wait ends.
    pub deadline: Instant,
    /// Hears what the call waits for.
    pub report: Reporter,
}

/// Asks for a named session.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    /// For whom.
    pub owner: OwnerId,
    /// Where.
    pub target: TargetName,
    /// Its name; `None` invents one.
    pub name: Option<SessionName>,
    /// When the wait ends; the open goes on.
    pub deadline: Instant,
    /// Hears what the call waits for.
    pub report: Reporter,
}

/// The pool, as everybody else sees it. Cheap to clone. When the last handle and the last lease are gone, the pool
/// closes every session and ends.
#[derive(Clone, Debug)]
pub(crate) struct LeaseHandle {
    sender: mpsc::UnboundedSender<Message>,
    start: Instant,
    waiters: Arc<AtomicU64>,
}

impl LeaseHandle {
    /// Starts the pool's task. Nothing is opened before somebody asks. `ledger` is there where sessions may outlive
    /// the process: its guardian hears from the pool's own task that we are alive.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn start(targets: Targets, ledger: Option<Ledger>) -> Self {
        let (sender, inbox) = mpsc::unbounded_channel();
        let start = Instant::now();
        actor::spawn(targets, ledger, start, sender.downgrade(), inbox);
        Self {
            sender,
            start,
            waiters: Arc::new(AtomicU64::new(0)),
        }
    }

    /// Calls are taken from now on: targets with `warm` sessions open these.
    pub(crate) fn keep_warm(&self) {
        let _ = self.sender.send(Message::Event(Event::Start));
    }

    /// Waits for a session and takes it: without a name any free unnamed one of this owner, or a new one.
    ///
    /// # Errors
    /// `sessions_exhausted` and `timeout` at the deadline, `not_found` and `session_lost` for a name, whatever the
    /// platform's open says, `cancelled` at the end of the client or the server.
    /// # Cancel safety
    /// Safe: the place in the queue is given up, a lease on its way goes back unused, an open goes on for the
    /// owner's next call.
    pub(crate) async fn acquire(&self, request: AcquireRequest) -> Result<Lease> {
        let AcquireRequest {
            owner,
            target,
            session,
            deadline,
            report,
        } = request;
        let (reply, answer) = oneshot::channel();
        let deadline = self.since_start(deadline);
        let event = |waiter| Event::Acquire {
            waiter,
            owner,
            target,
            session,
            deadline,
        };
        let offer: Offer = self.ask(event, Reply::Lease(reply, report), answer).await?;
        Ok(offer.accept())
    }

    /// Opens a named session and waits until it can take statements; at the deadline its phase says `Opening`. The
    /// live session of that name on that target is the answer as it stands, so asking twice is safe.
    ///
    /// # Errors
    /// `already_exists` for a name that lives on another target; else as [`LeaseHandle::acquire`].
    /// # Cancel safety
    /// Safe: an open that has begun goes on, one that waits for room is given up.
    pub(crate) async fn open_named(&self, request: OpenRequest) -> Result<SessionInfo> {
        let OpenRequest {
            owner,
            target,
            name,
            deadline,
            report,
        } = request;
        let (reply, answer) = oneshot::channel();
        let deadline = self.since_start(deadline);
        let event = |waiter| Event::Open {
            waiter,
            owner,
            target,
            name,
            deadline,
        };
        self.ask(event, Reply::Info(reply, Some(report)), answer)
            .await
    }

    /// Closes a named session, whatever it is doing, and waits until that is verified; at the deadline its phase
    /// says `Closing`, and the close goes on. One that is gone, and remembered, is the answer.
    ///
    /// # Errors
    /// `not_found` for a name that is not known.
    /// # Cancel safety
    /// Safe: the close goes on.
    pub(crate) async fn close(
        &self,
        owner: OwnerId,
        name: SessionName,
        deadline: Instant,
    ) -> Result<SessionInfo> {
        let (reply, answer) = oneshot::channel();
        let deadline = self.since_start(deadline);
        let event = |waiter| Event::Close {
            waiter,
            owner,
            name,
            deadline,
        };
        self.ask(event, Reply::Info(reply, None), answer).await
    }

    /// All sessions of an owner, named and unnamed, and the lost names that are remembered (1 h, 100 in all).
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn list(
        &self,
        owner: OwnerId,
        target: Option<TargetName>,
    ) -> Vec<SessionInfo> {
        let (reply, answer) = oneshot::channel();
        let _ = self.sender.send(Message::List {
            owner,
            target,
            reply,
        });
        answer.await.unwrap_or_default()
    }

    /// The live session of that name: on which target a call with `session` and without `target` runs.
    ///
    /// # Errors
    /// `not_found`, `session_lost`.
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn find(&self, owner: OwnerId, name: SessionName) -> Result<SessionInfo> {
        let (reply, answer) = oneshot::channel();
        let _ = self.sender.send(Message::Find { owner, name, reply });
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// The owner made a tool call: its silence starts again.
    pub(crate) fn touch(&self, owner: OwnerId) {
        let _ = self.sender.send(Message::Event(Event::Touch { owner }));
    }

    /// The client vanished: its calls are refused, its sessions closed.
    pub(crate) fn owner_gone(&self, owner: OwnerId) {
        let _ = self.sender.send(Message::Event(Event::OwnerGone { owner }));
    }

    /// Refuses every call from now on and closes every session. Returns how many could not be proved closed within
    /// the budget, usually 0; their closes go on. Twice is safe.
    ///
    /// # Cancel safety
    /// Safe: the closes go on.
    pub(crate) async fn shutdown(&self, budget: Duration) -> usize {
        let (reply, empty) = oneshot::channel();
        let _ = self.sender.send(Message::Shutdown { reply });
        if tokio::time::timeout(budget, empty).await.is_ok() {
            return 0;
        }
        let (reply, count) = oneshot::channel();
        let _ = self.sender.send(Message::Count { reply });
        count.await.unwrap_or_default()
    }

    fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    async fn ask<T>(
        &self,
        event: impl FnOnce(WaiterId) -> Event,
        reply: Reply,
        answer: oneshot::Receiver<Result<T>>,
    ) -> Result<T> {
        let waiter = WaiterId(self.waiters.fetch_add(1, Ordering::Relaxed));
        let event = event(waiter);
        let _ = self.sender.send(Message::Ask {
            waiter,
            event,
            reply,
        });
        let mut asked = Asked {
            sender: Some(&self.sender),
            waiter,
        };
        let answer = answer.await;
        asked.sender = None;
        answer.unwrap_or_else(|_| Err(stopped()))
    }
}

fn stopped() -> Error {
    Error::internal("the pool of sessions has stopped")
}

/// A call that waits; dropped before its answer it leaves the queue.
struct Asked<'a> {
    sender: Option<&'a mpsc::UnboundedSender<Message>>,
    waiter: WaiterId,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender {
            let _ = sender.send(Message::Event(Event::Cancel {
                waiter: self.waiter,
            }));
        }
    }
}
