//! The life of a session: open, leased and free in turn, closed until the close is verified; and what falls due.

use std::collections::VecDeque;
use std::time::Duration;

use super::queue::{Hold, Want};
use super::text::{self, CLOSED, span};
use super::{Effect, Moment, Outcome, Session, Stage, State, WaiterId, Wish, info};
use crate::model::{
    Code, Error, OwnerId, Retry, SessionId, SessionInfo, SessionName, SessionPhase, TargetName,
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
        owner: Option<&OwnerId>,
        target: &TargetName,
        name: Option<SessionName>,
    ) -> SessionId {
        self.opened_ever += 1;
        let id = SessionId::new(format!("se_{}_{}", self.instance, self.opened_ever));
        let session = Session {
            owner: owner.cloned(),
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
        let target = session.target.clone();
        if let Some(target) = self.targets.get_mut(&target) {
            target.hold = None;
            target.crowded = None;
        }
        self.no_longer_cools(&target);
        self.ready(id);
        self.settle(&target);
    }

    /// Tells those who wait for this very session that it can be used. It is `Idle`.
    pub(super) fn ready(&mut self, id: &SessionId) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        if let (Some(owner), Some(name)) = (&session.owner, &session.name) {
            self.lost.forget(owner, name);
            let now = info(id, session, self.at);
            for waiter in self.waiting_for(id) {
                let opens = |w: &super::Waiter| matches!(w.wish, Wish::Open(_));
                if self.waiters.get(&waiter).is_some_and(opens) {
                    self.take_waiter(waiter);
                    self.inform(waiter, now.clone());
                }
            }
        }
        self.next_statement(id);
    }

    /// A free session is dead.
    pub(super) fn died(&mut self, id: &SessionId, reason: &str) {
        let Some(session) = self.sessions.get(id).filter(|s| s.stage == Stage::Idle) else {
            return;
        };
        let target = session.target.clone();
        self.retire(id, reason);
        self.settle(&target);
    }

    pub(super) fn open_failed(&mut self, id: &SessionId, error: &Error) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        if session.stage != Stage::Opening {
            return;
        }
        if error.code() == Code::SessionsExhausted {
            return self.no_room_yet(id, error);
        }
        let target = session.target.clone();
        let serves = session.doomed.is_none();
        if serves {
            self.cool(&target);
        }
        if let Some(target) = self.targets.get_mut(&target) {
            target.crowded = None;
        }
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let Some(owner) = session.owner.clone() else {
            if let Retry::After(wait) = error.retry_kind() {
                self.hold(&target, wait, error);
            }
            self.doom(id, "it could not be opened");
            self.start_close(id);
            return self.settle(&target);
        };
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
        self.doom(id, "it could not be opened");
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

    pub(super) fn doom(&mut self, id: &SessionId, reason: &str) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.doomed.get_or_insert_with(|| reason.to_owned());
        }
    }

    fn has_unnamed(&self, owner: &OwnerId, target: &TargetName) -> bool {
        self.on(target)
            .any(|(_, s)| s.is_of(owner) && s.name.is_none() && !s.is_leaving())
    }

    pub(super) fn hold(&mut self, target: &TargetName, wait: Duration, error: &Error) {
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
        let Some(owner) = session.owner.clone() else {
            return;
        };
        session.stage = Stage::Leased(waiter);
        let (target, named) = (session.target.clone(), session.name.clone());
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
        let target = session.target.clone();
        let Some(owner) = session.owner.clone() else {
            return;
        };
        session.stage = Stage::Idle;
        let doomed = session.doomed.clone();
        if let Some(owner) = self.owners.get_mut(&owner) {
            owner.leased.remove(id);
        }
        if outcome != Outcome::Unused {
            self.touch(&owner);
            self.asked(&target);
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
        if let Some(owner) = owner.as_ref().and_then(|o| self.owners.get_mut(o)) {
            owner.leased.remove(id);
        }
        if !begun {
            if let Some(owner) = &owner {
                self.dequeue(owner, &target, &Want::Named(id.clone()));
            }
            self.sessions.remove(id);
        } else if self
            .sessions
            .get(id)
            .is_some_and(|s| s.stage == Stage::Opening)
        {
            self.out.push(Effect::GiveUpOpen {
                session: id.clone(),
            });
        } else {
            self.start_close(id);
        }
        let Some(owner) = owner else {
            return;
        };
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
        if let Some(target) = self.set_retiring(id) {
            self.out.push(Effect::CloseSession {
                session: id.clone(),
                target,
            });
        }
    }

    pub(super) fn set_retiring(&mut self, id: &SessionId) -> Option<TargetName> {
        let session = self.sessions.get_mut(id)?;
        session.stage = Stage::Retiring {
            failed: 0,
            again_at: None,
        };
        Some(session.target.clone())
    }

    pub(super) fn closed(&mut self, id: &SessionId) {
        let retiring = |s: &Session| matches!(s.stage, Stage::Retiring { again_at: None, .. });
        if !self.sessions.get(id).is_some_and(retiring) {
            return;
        }
        let target = self.sessions.get(id).map(|s| s.target.clone());
        if let Some(target) = target.and_then(|t| self.targets.get_mut(&t))
            && target.crowded.is_some()
        {
            // Room that we have made ourselves.
            target.hold = None;
        }
        self.remove(id);
    }

    /// Forgets a session that is proved to be gone, or never was, and tells those who wait for that.
    pub(super) fn remove(&mut self, id: &SessionId) {
        let Some(session) = self.sessions.remove(id) else {
            return;
        };
        let gone = gone(id, &session, self.at);
        for waiter in session.closers {
            self.inform(waiter, gone.clone());
            self.take_waiter(waiter);
        }
        if let Some(owner) = &session.owner {
            self.forget_owner(owner);
        }
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
        let idle = idle.filter(|_| session.owner.is_some());
        let silence = match &session.owner {
            Some(owner) => self
                .owners
                .get(owner)
                .filter(|owner| owner.leased.is_empty() && owner.waiters.is_empty())
                .map(|owner| left(limits.silence_for, owner.seen)),
            None => Some(self.unasked_left(&session.target).unwrap_or(Duration::ZERO)),
        };
        let silence = silence.map(|left| (left, Due::Silence));
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
            if target.warmth.again_at.is_some_and(|at| at <= self.at.mono) {
                target.warmth.again_at = None;
            }
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
            Due::Silence if session.owner.is_none() => format!(
                "closed unused after {} without a call for its target",
                span(limits.silence_for)
            ),
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
