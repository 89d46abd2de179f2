//! The life of a session: open, leased and free in turn, closed until the close is verified; and what falls due.

use std::collections::VecDeque;
use std::time::Duration;

use super::queue::{Hold, Want};
use super::text::{self, CLOSED, span};
use super::{Effect, Moment, Outcome, Session, Stage, State, WaiterId, Wish, info};
use crate::model::{
    Error, OwnerId, Retry, SessionId, SessionInfo, SessionName, SessionPhase, TargetName,
};

/// A close is tried again after 1 s, 2 s, 4 s, … and at most this. It never gives up.
const CLOSE_AGAIN_AT_MOST: Duration = Duration::from_secs(30);
/// A platform that asks for more patience than this is asked again all the same: its word may be wrong.
const HOLD_AT_MOST: Duration = Duration::from_secs(5 * 60);

/// What falls due for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Idle,
    Silence,
    Life,
    CloseAgain,
}

impl State {
    pub(super) fn new_session(
        &mut self,
        owner: &OwnerId,
        target: &TargetName,
        name: Option<SessionName>,
    ) -> SessionId {
        self.opened_ever += 1;
        let id = SessionId::new(format!("se_{}_{}", self.instance, self.opened_ever));
        let session = Session {
            owner: owner.clone(),
            target: target.clone(),
            name,
            stage: Stage::Pending,
            opened: self.at,
            used: self.at,
            statements: 0,
            doomed: None,
            waiters: VecDeque::new(),
            closers: Vec::new(),
        };
        self.sessions.insert(id.clone(), session);
        id
    }

    pub(super) fn start_open(&mut self, id: &SessionId) {
        let at = self.at;
        if let Some(session) = self.sessions.get_mut(id) {
            session.stage = Stage::Opening;
            session.opened = at;
            session.used = at;
            self.out.push(Effect::OpenSession {
                session: id.clone(),
                target: session.target.clone(),
            });
        }
    }

    pub(super) fn opened(&mut self, id: &SessionId) {
        let at = self.at;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.stage != Stage::Opening {
            return;
        }
        session.used = at;
        if session.doomed.is_some() {
            return self.start_close(id);
        }
        session.stage = Stage::Idle;
        let (owner, target, name) = (
            session.owner.clone(),
            session.target.clone(),
            session.name.clone(),
        );
        let now = info(id, session, at);
        if let Some(target) = self.targets.get_mut(&target) {
            target.hold = None;
        }
        if let Some(name) = name {
            self.lost.forget(&owner, &name);
            for waiter in self.waiting_for(id) {
                let opens = |w: &super::Waiter| matches!(w.wish, Wish::Open(_));
                if self.waiters.get(&waiter).is_some_and(opens) {
                    self.take_waiter(waiter);
                    self.inform(waiter, now.clone());
                }
            }
        }
        self.next_statement(id);
        self.settle(&target);
    }

    pub(super) fn open_failed(&mut self, id: &SessionId, error: &Error) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        if session.stage != Stage::Opening {
            return;
        }
        let (owner, target) = (session.owner.clone(), session.target.clone());
        let serves = session.doomed.is_none();
        let refused: Vec<WaiterId> = if !serves {
            Vec::new()
        } else if session.name.is_some() {
            session.waiters.iter().copied().collect()
        } else {
            self.first_any(&owner, &target).into_iter().collect()
        };
        if let Some(name) = &session.name
            && serves
        {
            self.names.remove(&(owner.clone(), name.clone()));
        }
        let unnamed = session.name.is_none();
        if let Some(session) = self.sessions.get_mut(id) {
            session
                .doomed
                .get_or_insert_with(|| "it could not be opened".to_owned());
        }
        for waiter in refused {
            self.refuse(waiter, error.clone());
            self.cancel(waiter);
        }
        if let Retry::After(wait) = error.retry_kind() {
            self.hold(&target, wait, error);
        }
        // It may exist all the same: an error can be an answer that was lost on the way.
        self.start_close(id);
        if serves && unnamed && error.retry_kind() == Retry::No {
            // The others would meet the same error, unless a session of theirs is under way or at work.
            while self.unmet(&owner, &target) > 0 && !self.has_unnamed(&owner, &target) {
                let Some(waiter) = self.first_any(&owner, &target) else {
                    break;
                };
                self.refuse(waiter, error.clone());
                self.cancel(waiter);
            }
        }
        self.settle(&target);
    }

    fn has_unnamed(&self, owner: &OwnerId, target: &TargetName) -> bool {
        self.on(target)
            .any(|(_, s)| s.owner == *owner && s.name.is_none() && !s.is_leaving())
    }

    fn hold(&mut self, target: &TargetName, wait: Duration, error: &Error) {
        let until = self.at.mono.saturating_add(wait.min(HOLD_AT_MOST));
        if let Some(target) = self.targets.get_mut(target) {
            target.hold = Some(Hold {
                until,
                error: error.clone(),
            });
        }
    }

    /// Answers a waiting call with this session. The session is `Idle`.
    pub(super) fn grant(&mut self, waiter: WaiterId, id: &SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.stage = Stage::Leased(waiter);
        let (owner, target, named) = (
            session.owner.clone(),
            session.target.clone(),
            session.name.clone(),
        );
        self.served(&owner, &target);
        self.take_waiter(waiter);
        if let Some(owner) = self.owners.get_mut(&owner) {
            owner.leased.insert(id.clone());
        }
        self.out.push(Effect::Grant {
            waiter,
            session: id.clone(),
            owner,
            target,
            named,
        });
    }

    /// A free named session takes the next statement that names it.
    fn next_statement(&mut self, id: &SessionId) {
        let next = self
            .sessions
            .get(id)
            .and_then(|s| s.waiters.front().copied());
        if let Some(waiter) = next {
            self.grant(waiter, id);
        }
    }

    pub(super) fn release(&mut self, id: &SessionId, lease: WaiterId, outcome: Outcome) {
        let at = self.at;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.stage != Stage::Leased(lease) {
            return;
        }
        if outcome != Outcome::Unused {
            session.statements += 1;
            session.used = at;
        }
        let (owner, target) = (session.owner.clone(), session.target.clone());
        session.stage = Stage::Idle;
        let doomed = session.doomed.clone();
        if let Some(owner) = self.owners.get_mut(&owner) {
            owner.leased.remove(id);
        }
        if outcome != Outcome::Unused {
            self.touch(&owner);
        }
        let yields = self.sessions.get(id).is_some_and(|s| self.must_yield(s));
        match (outcome, doomed) {
            (Outcome::Lost(reason), _) => self.retire(id, &reason),
            (_, Some(reason)) => self.retire(id, &reason),
            _ if yields => {
                // So that the room goes to another, also when its owner wants more.
                self.served(&owner, &target);
                self.retire(id, "closed to make room for a call that waited longer");
            }
            _ => self.next_statement(id),
        }
        self.settle(&target);
    }

    /// Takes a session away from its owner, whatever it is doing, and closes it. Its name stops working at once.
    /// The caller settles the target.
    pub(super) fn retire(&mut self, id: &SessionId, reason: &str) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.is_leaving() {
            return;
        }
        let begun = session.stage != Stage::Pending;
        session.doomed = Some(reason.to_owned());
        let (owner, target) = (session.owner.clone(), session.target.clone());
        let waiters = std::mem::take(&mut session.waiters);
        let name = session.name.clone();
        let gone = gone(id, session, self.at);
        if let Some(owner) = self.owners.get_mut(&owner) {
            owner.leased.remove(id);
        }
        if !begun {
            self.dequeue(&owner, &target, &Want::Named(id.clone()));
            self.sessions.remove(id);
        } else if self
            .sessions
            .get(id)
            .is_some_and(|s| s.stage != Stage::Opening)
        {
            self.start_close(id);
        }
        let Some(name) = name else {
            return self.forget_owner(&owner);
        };
        self.names.remove(&(owner.clone(), name.clone()));
        for waiter in waiters {
            let error = text::session_lost(&name, reason, self.target_to_say(Some(&target)));
            self.refuse(waiter, error);
            self.take_waiter(waiter);
        }
        self.forget_owner(&owner);
        if begun {
            self.lost.remember(self.at, owner, name, gone);
        }
    }

    fn start_close(&mut self, id: &SessionId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.stage = Stage::Retiring {
                failed: 0,
                again_at: None,
            };
            self.out.push(Effect::CloseSession {
                session: id.clone(),
                target: session.target.clone(),
            });
        }
    }

    pub(super) fn closed(&mut self, id: &SessionId) {
        let retiring = |s: &Session| matches!(s.stage, Stage::Retiring { again_at: None, .. });
        if !self.sessions.get(id).is_some_and(retiring) {
            return;
        }
        let Some(session) = self.sessions.remove(id) else {
            return;
        };
        let gone = gone(id, &session, self.at);
        for waiter in session.closers {
            self.inform(waiter, gone.clone());
            self.take_waiter(waiter);
        }
        self.forget_owner(&session.owner);
        self.settle(&session.target);
    }

    pub(super) fn close_failed(&mut self, id: &SessionId, error: &Error) {
        let now = self.at.mono;
        let asked = match error.retry_kind() {
            Retry::After(wait) => wait.min(HOLD_AT_MOST),
            Retry::No | Retry::Now => Duration::ZERO,
        };
        if let Some(session) = self.sessions.get_mut(id)
            && let Stage::Retiring { failed, again_at } = &mut session.stage
            && again_at.is_none()
        {
            let wait = Duration::from_secs(1)
                .saturating_mul(1_u32.checked_shl(*failed).unwrap_or(u32::MAX))
                .min(CLOSE_AGAIN_AT_MOST);
            *failed = failed.saturating_add(1);
            *again_at = Some(now.saturating_add(wait.max(asked)));
        }
    }

    /// Closes a session whose close has failed once more, now.
    pub(super) fn close_again(&mut self, id: &SessionId) {
        if let Some(session) = self.sessions.get_mut(id)
            && let Stage::Retiring { again_at, .. } = &mut session.stage
            && again_at.take().is_some()
        {
            self.out.push(Effect::CloseSession {
                session: id.clone(),
                target: session.target.clone(),
            });
        }
    }

    /// What falls due next for a session, and in how long; zero is now.
    pub(super) fn due(&self, session: &Session) -> Option<(Duration, Due)> {
        let limits = &self.targets.get(&session.target)?.limits;
        let left = |limit: Duration, from| limit.saturating_sub(self.at.since(from));
        if let Stage::Retiring { again_at, .. } = session.stage {
            let left = again_at?.saturating_sub(self.at.mono);
            return Some((left, Due::CloseAgain));
        }
        if session.stage == Stage::Pending || session.doomed.is_some() {
            return None;
        }
        let life = (left(limits.life_for, session.opened), Due::Life);
        let idle = (session.stage == Stage::Idle && session.name.is_none())
            .then(|| (left(limits.idle_for, session.used), Due::Idle));
        let silence = self
            .owners
            .get(&session.owner)
            .filter(|owner| owner.leased.is_empty() && owner.waiters.is_empty())
            .map(|owner| (left(limits.silence_for, owner.seen), Due::Silence));
        [Some(life), idle, silence]
            .into_iter()
            .flatten()
            .min_by_key(|(left, _)| *left)
    }

    pub(super) fn tick(&mut self) {
        while let Some((deadline, waiter)) = self.deadlines.first().copied() {
            if deadline > self.at.mono {
                break;
            }
            self.expire(waiter);
        }
        let due: Vec<(SessionId, Due)> = self
            .sessions
            .iter()
            .filter_map(|(id, s)| match self.due(s)? {
                (Duration::ZERO, due) => Some((id.clone(), due)),
                _ => None,
            })
            .collect();
        for (id, due) in due {
            self.fall_due(&id, due);
        }
        for target in self.targets.values_mut() {
            if target
                .hold
                .as_ref()
                .is_some_and(|h| h.until <= self.at.mono)
            {
                target.hold = None;
            }
        }
        self.settle_all();
    }

    pub(super) fn settle_all(&mut self) {
        let targets: Vec<TargetName> = self.targets.keys().cloned().collect();
        for target in targets {
            self.settle(&target);
        }
    }

    fn fall_due(&mut self, id: &SessionId, due: Due) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(limits) = self.targets.get(&session.target).map(|t| &t.limits) else {
            return;
        };
        let reason = match due {
            Due::CloseAgain => return self.close_again(id),
            Due::Idle => format!("closed after {} without a statement", span(limits.idle_for)),
            Due::Silence => format!(
                "its lease expired after {} without a tool call",
                span(limits.silence_for)
            ),
            Due::Life => format!("it reached its longest life of {}", span(limits.life_for)),
        };
        if due == Due::Life && matches!(session.stage, Stage::Leased(_)) {
            // The running statement ends first.
            session.doomed = Some(reason);
        } else {
            self.retire(id, &reason);
        }
    }
}

/// A session as it was at its end.
pub(super) fn gone(id: &SessionId, session: &Session, at: Moment) -> SessionInfo {
    let mut info = info(id, session, at);
    info.phase = match &session.doomed {
        Some(reason) if reason == CLOSED => SessionPhase::Closed,
        _ => SessionPhase::Lost,
    };
    info
}
