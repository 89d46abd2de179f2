//! The pool as one pure state machine: [`State::step`] takes what happened and says what to do. No await, no clock,
//! no randomness, no I/O: time comes with each event, and the one random part of a session's id at the start.
//!
//! Here: the state, the dispatch, and what its tables answer. Calls are in `calls`, lives of sessions in `life`,
//! who gets what in `queue`, what is opened for nobody in `warm`, room that others have in `crowded`, texts in `text`.

mod calls;
mod crowded;
mod event;
mod life;
mod lost;
#[cfg(test)]
mod properties;
mod queue;
#[cfg(test)]
mod tests;
mod text;
mod warm;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub(crate) use event::{Effect, Event, Moment, Outcome, WaiterId};

use self::lost::LostNames;
use self::queue::{Hold, Queue};
use self::warm::Warmth;
use super::Limits;
use crate::model::{
    Error, OwnerId, Result, SessionId, SessionInfo, SessionName, SessionPhase, TargetName,
};

/// Where a session stands. Only these moves exist: `Pending → Opening → Idle ⇄ Leased`, from each of these to
/// `Retiring` (from `Opening` when the open has ended), and from there out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// A named session that waits for its turn under the limit; nothing exists yet.
    Pending,
    Opening,
    Idle,
    /// By the call of that id.
    Leased(WaiterId),
    Retiring {
        /// Closes that failed.
        failed: u32,
        /// When to close again, monotonic; `None` while a close is under way.
        again_at: Option<Duration>,
    },
}

#[derive(Clone, Debug)]
struct Session {
    /// Whose it is, for ever; `None` until somebody asks for it.
    owner: Option<OwnerId>,
    target: TargetName,
    name: Option<SessionName>,
    stage: Stage,
    /// The start of its open.
    opened: Moment,
    /// The end of its open, or of its last statement.
    used: Moment,
    statements: u64,
    /// Why it must go, or goes. Set in `Opening` and `Leased`, it goes when that is over.
    doomed: Option<String>,
    /// Calls that wait for this very session: its openers, and statements that name it.
    waiters: VecDeque<WaiterId>,
    /// Calls that wait for its end.
    closers: Vec<WaiterId>,
}

/// What a waiting call waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    /// Any unnamed session of its owner.
    Any,
    /// A lease on this session.
    Named(SessionId),
    /// That this session is open.
    Open(SessionId),
    /// That this session is gone.
    Close(SessionId),
}

#[derive(Clone, Debug)]
struct Waiter {
    owner: OwnerId,
    target: TargetName,
    wish: Wish,
    since: Moment,
    /// Monotonic.
    deadline: Duration,
}

/// An owner who has sessions or waits for one.
#[derive(Debug, Default)]
struct Owner {
    /// Its last tool call, or the end of its last statement.
    seen: Moment,
    waiters: BTreeSet<WaiterId>,
    leased: BTreeSet<SessionId>,
}

#[derive(Debug)]
struct Target {
    limits: Limits,
    queue: Queue,
    /// Opens wait until then, because the platform said so.
    hold: Option<Hold>,
    /// What the last open said that found all sessions with other processes; until one gets further.
    crowded: Option<Error>,
    warmth: Warmth,
}

/// The pool's whole state.
#[derive(Debug)]
pub(crate) struct State {
    at: Moment,
    out: Vec<Effect>,
    /// The random part of every id, so that ids of two processes differ.
    instance: String,
    opened_ever: u64,
    named_ever: u64,
    closing_down: bool,
    /// The server takes calls, so that sessions may be opened before anybody asks.
    keeps_warm: bool,
    targets: BTreeMap<TargetName, Target>,
    sessions: BTreeMap<SessionId, Session>,
    /// Names that work: never that of a session which goes.
    names: BTreeMap<(OwnerId, SessionName), SessionId>,
    owners: BTreeMap<OwnerId, Owner>,
    waiters: BTreeMap<WaiterId, Waiter>,
    deadlines: BTreeSet<(Duration, WaiterId)>,
    lost: LostNames,
}

impl State {
    /// An empty pool. `instance` must differ between processes.
    pub(crate) fn new(
        instance: impl Into<String>,
        targets: impl IntoIterator<Item = (TargetName, Limits)>,
    ) -> Self {
        let targets = targets.into_iter().map(|(name, limits)| {
            let target = Target {
                limits,
                queue: Queue::default(),
                hold: None,
                crowded: None,
                warmth: Warmth::default(),
            };
            (name, target)
        });
        Self {
            at: Moment::default(),
            out: Vec::new(),
            instance: instance.into(),
            opened_ever: 0,
            named_ever: 0,
            closing_down: false,
            keeps_warm: false,
            targets: targets.collect(),
            sessions: BTreeMap::new(),
            names: BTreeMap::new(),
            owners: BTreeMap::new(),
            waiters: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            lost: LostNames::default(),
        }
    }

    /// Takes what happened at `at` and says what to do, in order. What it does not know (a waiter, a session, a
    /// lease that has ended) changes nothing. Monotonic time that goes back counts as standing still.
    pub(crate) fn step(&mut self, at: Moment, event: Event) -> Vec<Effect> {
        self.at = Moment {
            mono: at.mono.max(self.at.mono),
            wall: at.wall,
        };
        match event {
            Event::Start => self.start(),
            Event::Acquire {
                waiter,
                owner,
                target,
                session,
                deadline,
            } => self.acquire(waiter, owner, target, session, deadline),
            Event::Open {
                waiter,
                owner,
                target,
                name,
                deadline,
            } => self.open(waiter, owner, target, name, deadline),
            Event::Close {
                waiter,
                owner,
                name,
                deadline,
            } => self.close(waiter, owner, name, deadline),
            Event::Touch { owner } => self.touch(&owner),
            Event::Cancel { waiter } => self.cancel(waiter),
            Event::Died { session, reason } => self.died(&session, &reason),
            Event::OpenProgress { session, progress } => self.open_progress(&session, &progress),
            Event::Opened { session } => self.opened(&session),
            Event::OpenFailed { session, error } => self.open_failed(&session, &error),
            Event::Closed { session } => self.closed(&session),
            Event::CloseFailed { session, error } => self.close_failed(&session, &error),
            Event::Release {
                session,
                lease,
                outcome,
            } => self.release(&session, lease, outcome),
            Event::OwnerGone { owner } => self.owner_gone(&owner),
            Event::Shutdown => self.shutdown(),
            Event::Tick => self.tick(),
        }
        std::mem::take(&mut self.out)
    }

    /// When the next `Tick` has something to do, in monotonic time; `None` while nothing can fall due. The wall
    /// clock may make things due earlier.
    pub(crate) fn next_wake(&self) -> Option<Duration> {
        let now = self.at.mono;
        let waits = self.deadlines.first().map(|(at, _)| *at);
        let sessions = self
            .sessions
            .values()
            .filter_map(|s| self.due(s).map(|(left, _)| now.saturating_add(left)));
        let holds = self
            .targets
            .values()
            .flat_map(|t| [t.hold.as_ref().map(|hold| hold.until), t.warmth.again_at])
            .flatten();
        waits.into_iter().chain(sessions).chain(holds).min()
    }

    /// The sessions that are free: open, and in nobody's lease.
    pub(crate) fn free(&self) -> Vec<(SessionId, TargetName)> {
        self.sessions
            .iter()
            .filter(|(_, s)| s.stage == Stage::Idle)
            .map(|(id, s)| (id.clone(), s.target.clone()))
            .collect()
    }

    /// How many sessions exist, or may exist.
    pub(crate) fn session_count(&self) -> usize {
        self.sessions
            .values()
            .filter(|s| s.stage != Stage::Pending)
            .count()
    }

    /// All sessions of an owner, named and unnamed, and the lost names that are remembered.
    pub(crate) fn list(
        &self,
        at: Moment,
        owner: &OwnerId,
        target: Option<&TargetName>,
    ) -> Vec<SessionInfo> {
        let wanted = |info: &SessionInfo| target.is_none_or(|t| *t == info.target);
        let live = self
            .sessions
            .iter()
            .filter(|(_, s)| s.is_of(owner))
            .map(|(id, s)| info(id, s, at));
        let lost = self.lost.of(at, owner).filter(|info| {
            // A session that still closes is in the list already.
            !self.sessions.contains_key(&info.id)
        });
        live.chain(lost.cloned()).filter(wanted).collect()
    }

    /// The session of that name.
    ///
    /// # Errors
    /// `session_lost` with the reason, `not_found` with the owner's names.
    pub(crate) fn find(
        &self,
        at: Moment,
        owner: &OwnerId,
        name: &SessionName,
    ) -> Result<SessionInfo> {
        let id = self.names.get(&(owner.clone(), name.clone()));
        match id.and_then(|id| self.sessions.get(id).map(|s| info(id, s, at))) {
            Some(info) => Ok(info),
            None => Err(self.no_such_name(at, owner, None, name)),
        }
    }

    /// The error for a name that does not work.
    fn no_such_name(
        &self,
        at: Moment,
        owner: &OwnerId,
        target: Option<&TargetName>,
        name: &SessionName,
    ) -> Error {
        if let Some(info) = self.lost.get(at, owner, name) {
            let reason = info.reason.as_deref().unwrap_or("closed");
            return text::session_lost(name, reason, self.target_to_say(Some(&info.target)));
        }
        text::no_such_session(name, &self.names_of(owner), self.target_to_say(target))
    }

    /// A literal call names the target only where there is a choice.
    fn target_to_say<'a>(&self, target: Option<&'a TargetName>) -> Option<&'a TargetName> {
        target.filter(|_| self.targets.len() > 1)
    }

    fn names_of(&self, owner: &OwnerId) -> Vec<&SessionName> {
        self.names
            .keys()
            .filter(|(o, _)| o == owner)
            .map(|(_, name)| name)
            .collect()
    }

    fn limits(&self, target: &TargetName) -> Limits {
        self.targets
            .get(target)
            .map(|t| t.limits)
            .unwrap_or_default()
    }

    fn refuse(&mut self, waiter: WaiterId, error: Error) {
        self.out.push(Effect::Refuse { waiter, error });
    }

    fn inform(&mut self, waiter: WaiterId, info: SessionInfo) {
        self.out.push(Effect::Inform {
            waiter,
            info: Box::new(info),
        });
    }
}

/// A session as its owner may see it.
fn info(id: &SessionId, session: &Session, at: Moment) -> SessionInfo {
    let phase = match (&session.stage, &session.doomed) {
        (Stage::Pending, _) | (Stage::Opening, None) => SessionPhase::Opening,
        (Stage::Idle, _) => SessionPhase::Free,
        (Stage::Leased(_), _) => SessionPhase::Busy,
        (Stage::Opening, Some(_)) | (Stage::Retiring { .. }, _) => SessionPhase::Closing,
    };
    let idle_for = match session.stage {
        Stage::Idle | Stage::Retiring { .. } => at.since(session.used),
        Stage::Pending | Stage::Opening | Stage::Leased(_) => Duration::ZERO,
    };
    SessionInfo {
        id: id.clone(),
        name: session.name.clone(),
        target: session.target.clone(),
        phase,
        opened_for: at.since(session.opened),
        idle_for,
        // Whether its life is paid for, the platform says; the service adds it.
        cost_for: Duration::ZERO,
        statements: session.statements,
        reason: session.doomed.clone(),
    }
}
