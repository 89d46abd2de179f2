//! The one task that owns the core, and the tasks in which sessions open and close. It decides nothing.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::Targets;
use super::core::{Effect, Event, Moment, State, WaiterId};
use super::lease::Offer;
use crate::ledger::Ledger;
use crate::model::{
    Code, Error, OwnerId, Progress, Result, SessionId, SessionInfo, SessionName, Tag, TargetName,
};
use crate::platform::{Platform, RemoteSession, Reporter};

/// How often things that fall due by the wall clock are looked for while there are sessions: the timer stands still
/// while the machine sleeps. Half a minute is little against every limit, and no load.
const PULSE: Duration = Duration::from_secs(30);
/// The same where a guardian listens for our beat: it kills us when 12 of these are missing.
const BEAT: Duration = Duration::from_secs(10);

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

/// Starts the pool's task; `back` is the way by which leases come back.
///
/// # Panics
/// Outside a tokio runtime.
pub(super) fn spawn(
    targets: Targets,
    ledger: Option<Ledger>,
    start: Instant,
    back: mpsc::WeakUnboundedSender<Message>,
    inbox: mpsc::UnboundedReceiver<Message>,
) {
    let (reports, reported) = mpsc::unbounded_channel();
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
        ledger,
        replies: HashMap::new(),
        opens: HashMap::new(),
        stopping: Vec::new(),
        back,
        reports,
    };
    tokio::spawn(actor.run(inbox, reported));
}

struct Actor {
    state: State,
    start: Instant,
    platforms: BTreeMap<TargetName, Arc<dyn Platform>>,
    /// Hears that this task is alive, where sessions may outlive the process.
    ledger: Option<Ledger>,
    replies: HashMap<WaiterId, Reply>,
    /// What ends the opens that are under way.
    opens: HashMap<SessionId, CancellationToken>,
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
            if let Some(ledger) = &self.ledger {
                ledger.beat();
            }
            let wake = self.wake_at();
            // The timer first: a stream of messages must not keep deadlines from being met.
            tokio::select! {
                biased;
                () = sleep_until(wake), if wake.is_some() => {
                    self.bury();
                    self.step(Event::Tick);
                }
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
        let pulse = match &self.ledger {
            Some(_) => Some(BEAT),
            None => (self.state.session_count() > 0).then_some(PULSE),
        };
        let pulse = pulse.map(|after| Instant::now() + after);
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

    /// Tells the core of free sessions that have died, so that names say why at once and warm ones are replaced.
    fn bury(&mut self) {
        for (session, target) in self.state.free() {
            let platform = self.platforms.get(&target);
            let lost = platform.and_then(|p| p.lost(&remote(session.clone())));
            if let Some(reason) = lost {
                info!(session = %session, target = %target, reason, "free session lost");
                self.step(Event::Died { session, reason });
            }
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
        if let Event::Opened { session } | Event::OpenFailed { session, .. } = &event {
            self.opens.remove(session);
        }
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
                    let (report, words) = Reporter::new();
                    self.opens
                        .insert(session.clone(), report.unwanted().clone());
                    let reports = self.reports.clone();
                    tokio::spawn(open(platform, session, report, words, reports));
                }
            }
            Effect::GiveUpOpen { session } => {
                if let Some(unwanted) = self.opens.get(&session) {
                    unwanted.cancel();
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
        Event::OpenFailed { session, error } => match error.code() {
            Code::Cancelled => {
                info!(session = %session, "session not opened: nobody wants it any more")
            }
            Code::SessionsExhausted => info!(session = %session, %error, "session not opened yet"),
            _ => warn!(session = %session, %error, "session not opened"),
        },
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
async fn open(
    platform: Arc<dyn Platform>,
    id: SessionId,
    report: Reporter,
    mut words: watch::Receiver<Option<Progress>>,
    reports: mpsc::UnboundedSender<Event>,
) {
    let session = remote(id.clone());
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
