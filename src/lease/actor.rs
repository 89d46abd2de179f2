//! The one task that owns the core, the tasks in which sessions open and close, and the handle by which everybody
//! else asks. It decides nothing.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::Limits;
use super::core::{Effect, Event, Moment, State, WaiterId};
use super::lease::{Lease, Offer};
use crate::model::{Error, OwnerId, Result, SessionId, SessionInfo, SessionName, Tag, TargetName};
use crate::platform::{Platform, RemoteSession, Reporter};

/// What the pool works on.
pub(crate) type Targets = BTreeMap<TargetName, (Arc<dyn Platform>, Limits)>;

/// How often things that fall due by the wall clock are looked for while there are sessions: the timer stands still
/// while the machine sleeps. Half a minute is little against every limit, and no load.
const PULSE: Duration = Duration::from_secs(30);

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
    /// Starts the pool's task. Nothing is opened before somebody asks.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn start(targets: Targets) -> Self {
        let (sender, inbox) = mpsc::unbounded_channel();
        let (reports, reported) = mpsc::unbounded_channel();
        let start = Instant::now();
        let limits = targets
            .iter()
            .map(|(name, (_, limits))| (name.clone(), *limits));
        let instance = Uuid::new_v4().simple().to_string();
        let actor = Actor {
            state: State::new(instance, limits),
            start,
            platforms: targets
                .into_iter()
                .map(|(name, (platform, _))| (name, platform))
                .collect(),
            replies: HashMap::new(),
            stopping: Vec::new(),
            back: sender.downgrade(),
            reports,
        };
        tokio::spawn(actor.run(inbox, reported));
        Self {
            sender,
            start,
            waiters: Arc::new(AtomicU64::new(0)),
        }
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

/// What the handle and the leases say to the actor.
pub(super) enum Message {
    Event(Event),
    Ask {
        waiter: WaiterId,
        event: Event,
        reply: Reply,
    },
    List {
        owner: OwnerId,
        target: Option<TargetName>,
        reply: oneshot::Sender<Vec<SessionInfo>>,
    },
    Find {
        owner: OwnerId,
        name: SessionName,
        reply: oneshot::Sender<Result<SessionInfo>>,
    },
    Count {
        reply: oneshot::Sender<usize>,
    },
    Shutdown {
        reply: oneshot::Sender<()>,
    },
}

/// Where a call's answer goes. Its receiver may be gone.
pub(super) enum Reply {
    Lease(oneshot::Sender<Result<Offer>>, Reporter),
    Info(oneshot::Sender<Result<SessionInfo>>, Option<Reporter>),
}

struct Actor {
    state: State,
    start: Instant,
    platforms: BTreeMap<TargetName, Arc<dyn Platform>>,
    replies: HashMap<WaiterId, Reply>,
    /// Calls of `shutdown` that wait until nothing is left.
    stopping: Vec<oneshot::Sender<()>>,
    /// Weak, so that the actor does not keep itself alive.
    back: mpsc::WeakUnboundedSender<Message>,
    /// What the tasks that open and close say.
    reports: mpsc::UnboundedSender<Event>,
}

impl Actor {
    async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Message>,
        mut reported: mpsc::UnboundedReceiver<Event>,
    ) {
        let mut wanted = true;
        while wanted || self.state.session_count() > 0 {
            let wake = self.wake_at();
            // The timer first: a stream of messages must not keep deadlines from being met.
            tokio::select! {
                biased;
                () = sleep_until(wake), if wake.is_some() => self.step(Event::Tick),
                Some(event) = reported.recv() => self.step(event),
                message = inbox.recv(), if wanted => match message {
                    Some(message) => self.hear(message),
                    None => {
                        wanted = false;
                        self.step(Event::Shutdown);
                    }
                },
            }
            if !self.stopping.is_empty() && self.state.session_count() == 0 {
                for stopping in self.stopping.drain(..) {
                    let _ = stopping.send(());
                }
            }
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let due = self.state.next_wake().map(|at| self.start + at);
        let pulse = (self.state.session_count() > 0).then(|| Instant::now() + PULSE);
        due.into_iter().chain(pulse).min()
    }

    fn now(&self) -> Moment {
        Moment {
            mono: self.start.elapsed(),
            wall: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Event(event) => {
                if let Event::Cancel { waiter } = &event {
                    self.replies.remove(waiter);
                }
                self.step(event);
            }
            Message::Ask {
                waiter,
                event,
                reply,
            } => {
                self.replies.insert(waiter, reply);
                self.step(event);
            }
            Message::List {
                owner,
                target,
                reply,
            } => {
                let _ = reply.send(self.state.list(self.now(), &owner, target.as_ref()));
            }
            Message::Find { owner, name, reply } => {
                let _ = reply.send(self.state.find(self.now(), &owner, &name));
            }
            Message::Count { reply } => {
                let _ = reply.send(self.state.session_count());
            }
            Message::Shutdown { reply } => {
                self.stopping.push(reply);
                self.step(Event::Shutdown);
            }
        }
    }

    fn step(&mut self, event: Event) {
        log(&event);
        let now = self.now();
        for effect in self.state.step(now, event) {
            self.execute(effect);
        }
    }

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::OpenSession { session, target } => {
                if let Some(platform) = self.platforms.get(&target).cloned() {
                    info!(session = %session, target = %target, "opening a session");
                    tokio::spawn(open(platform, session, self.reports.clone()));
                }
            }
            Effect::CloseSession { session, target } => {
                if let Some(platform) = self.platforms.get(&target).cloned() {
                    debug!(session = %session, target = %target, "closing a session");
                    tokio::spawn(close(platform, session, self.reports.clone()));
                }
            }
            Effect::Grant {
                waiter,
                session,
                owner,
                target,
                named,
            } => {
                let (Some(back), Some(platform)) =
                    (self.back.upgrade(), self.platforms.get(&target).cloned())
                else {
                    // No handle is left, so nobody waits, and the end of the inbox closes everything.
                    return;
                };
                debug!(session = %session, target = %target, owner = %owner, "session leased");
                let offer = Offer::new(
                    remote(session),
                    owner,
                    target,
                    named,
                    platform,
                    back,
                    waiter,
                );
                if let Some(Reply::Lease(reply, _)) = self.replies.remove(&waiter) {
                    // Refused by a receiver that is gone, the offer is dropped, which gives the session back unused.
                    let _ = reply.send(Ok(offer));
                }
            }
            Effect::Inform { waiter, info } => {
                if let Some(Reply::Info(reply, _)) = self.replies.remove(&waiter) {
                    let _ = reply.send(Ok(*info));
                }
            }
            Effect::Refuse { waiter, error } => match self.replies.remove(&waiter) {
                Some(Reply::Lease(reply, _)) => {
                    let _ = reply.send(Err(error));
                }
                Some(Reply::Info(reply, _)) => {
                    let _ = reply.send(Err(error));
                }
                None => {}
            },
            Effect::Say { waiter, progress } => {
                if let Some(Reply::Lease(_, report) | Reply::Info(_, Some(report))) =
                    self.replies.get(&waiter)
                {
                    report.say(progress);
                }
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn remote(id: SessionId) -> RemoteSession {
    let tag = Tag::for_session(&id);
    RemoteSession { id, tag }
}

fn log(event: &Event) {
    match event {
        Event::Opened { session } => info!(session = %session, "session opened"),
        Event::OpenFailed { session, error } => {
            warn!(session = %session, %error, "session not opened")
        }
        Event::Closed { session } => info!(session = %session, "session closed"),
        Event::CloseFailed { session, error } => {
            warn!(session = %session, %error, "session not closed; trying again");
        }
        Event::OwnerGone { owner } => info!(owner = %owner, "client gone"),
        _ => {}
    }
}

/// Opens a session and says how it went. Its progress goes to whoever waits for it by then.
///
/// # Cancel safety
/// Never dropped before its end.
async fn open(platform: Arc<dyn Platform>, id: SessionId, reports: mpsc::UnboundedSender<Event>) {
    let session = remote(id.clone());
    let (report, mut words) = Reporter::new();
    let mut opening = AssertUnwindSafe(platform.open(&session, &report)).catch_unwind();
    let opened = loop {
        tokio::select! {
            biased;
            opened = &mut opening => break opened,
            Ok(()) = words.changed() => {
                let progress = words.borrow_and_update().clone();
                if let Some(progress) = progress {
                    let session = id.clone();
                    let _ = reports.send(Event::OpenProgress { session, progress });
                }
            }
        }
    };
    let session = id;
    let _ = reports.send(match opened {
        Ok(Ok(())) => Event::Opened { session },
        Ok(Err(error)) => Event::OpenFailed { session, error },
        Err(_) => Event::OpenFailed {
            session,
            error: panicked("opened"),
        },
    });
}

/// Closes a session once and says how it went; the core says when to try again.
///
/// # Cancel safety
/// Never dropped before its end.
async fn close(platform: Arc<dyn Platform>, id: SessionId, reports: mpsc::UnboundedSender<Event>) {
    let remote = remote(id.clone());
    let closed = AssertUnwindSafe(platform.close(&remote))
        .catch_unwind()
        .await;
    let session = id;
    let _ = reports.send(match closed {
        Ok(Ok(())) => Event::Closed { session },
        Ok(Err(error)) => Event::CloseFailed { session, error },
        Err(_) => Event::CloseFailed {
            session,
            error: panicked("closed"),
        },
    });
}

fn panicked(what: &str) -> Error {
    Error::internal(format!("the code by which sessions are {what} failed"))
}
