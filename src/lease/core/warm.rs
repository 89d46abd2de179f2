//! Warm sessions: opened before anybody asks, without an owner, and given to the first who does. From then on they are
//! that owner's for ever. They take room that nobody wants, count for no owner, and go with their life, with the server,
//! or when nobody has asked for their target for as long as an owner may be silent.

use std::time::Duration;

use super::queue::Want;
use super::{Moment, Session, Stage, State, Wish};
use crate::model::{SessionId, TargetName};

/// After an open that failed, the first pause before another one for nobody; it doubles with each further failure.
const COOL_FOR: Duration = Duration::from_secs(10);
/// The longest such pause: a try each ten minutes costs little, and the target is warm again soon after it is well.
const COOL_AT_MOST: Duration = Duration::from_secs(10 * 60);

/// Whether a target is kept warm.
#[derive(Debug, Default)]
pub(super) struct Warmth {
    /// The last call for a session there, or the start of the server; `None` before that.
    pub asked: Option<Moment>,
    /// Opens that failed since the last one that did not.
    failed: u32,
    /// None is opened for nobody until then, monotonic.
    pub again_at: Option<Duration>,
}

impl State {
    /// The server takes calls from now on.
    pub(super) fn start(&mut self) {
        self.keeps_warm = true;
        let at = self.at;
        for target in self.targets.values_mut() {
            target.warmth.asked = Some(at);
        }
        self.settle_all();
    }

    /// Somebody works on the target.
    pub(super) fn asked(&mut self, target: &TargetName) {
        let at = self.at;
        if let Some(target) = self.targets.get_mut(target) {
            target.warmth.asked = Some(at);
        }
    }

    /// Gives sessions that nobody has used to those who wait, in turn.
    pub(super) fn adopt(&mut self, target: &TargetName) {
        while let Some(id) = self.readiest(target) {
            let Some((owner, want)) = self.next_in_turn(target) else {
                return;
            };
            self.served(&owner, target);
            let Some(session) = self.sessions.get_mut(&id) else {
                return;
            };
            session.owner = Some(owner.clone());
            let ready = session.stage == Stage::Idle;
            match want {
                Want::Named(pending) => {
                    self.take_name(&pending, &id);
                    if ready {
                        self.ready(&id);
                    }
                }
                Want::Any(waiter) if !ready => {
                    self.say(waiter, "waiting for a session that is being opened");
                }
                Want::Any(_) => {
                    if let Some(first) = self.first_any(&owner, target) {
                        self.grant(first, &id);
                    }
                }
            }
        }
    }

    /// The session that waits for nobody and will soonest be of use; among equals the one that has most of its life left.
    fn readiest(&self, target: &TargetName) -> Option<SessionId> {
        self.on(target)
            .filter(|(_, s)| s.is_warm())
            .max_by_key(|(_, s)| (s.stage == Stage::Idle, s.opened.mono))
            .map(|(id, _)| id.clone())
    }

    /// The session takes the place of a named one of which nothing exists yet, with all that wait for it.
    fn take_name(&mut self, pending: &SessionId, id: &SessionId) {
        let Some(named) = self.sessions.remove(pending) else {
            return;
        };
        if let Some(owner) = &named.owner {
            self.dequeue(owner, &named.target, &Want::Named(pending.clone()));
            if let Some(name) = &named.name {
                let key = (owner.clone(), name.clone());
                self.names.insert(key, id.clone());
            }
        }
        for waiter in &named.waiters {
            if let Some(waiter) = self.waiters.get_mut(waiter) {
                match &mut waiter.wish {
                    Wish::Named(wanted) | Wish::Open(wanted) => *wanted = id.clone(),
                    // A close drops what is not begun at once.
                    Wish::Any | Wish::Close(_) => {}
                }
            }
        }
        if let Some(session) = self.sessions.get_mut(id) {
            session.name = named.name;
            session.waiters = named.waiters;
        }
    }

    /// Opens sessions for nobody, into room that nobody wants.
    pub(super) fn warm_up(&mut self, target: &TargetName) {
        while self.is_cold(target) {
            let id = self.new_session(None, target, None);
            self.start_open(&id);
        }
    }

    fn is_cold(&self, target: &TargetName) -> bool {
        let Some(state) = self.targets.get(target) else {
            return false;
        };
        self.keeps_warm
            && !self.closing_down
            && state.hold.is_none()
            && state.warmth.again_at.is_none()
            && self.on(target).filter(|(_, s)| s.is_warm()).count() < state.limits.warm
            && self.used(target) < state.limits.sessions
            && self.unasked_left(target) > Some(Duration::ZERO)
    }

    /// How long until the target counts as one that nobody uses; `None` if it does because nobody ever did.
    pub(super) fn unasked_left(&self, target: &TargetName) -> Option<Duration> {
        let state = self.targets.get(target)?;
        let asked = state.warmth.asked?;
        let works = self
            .on(target)
            .any(|(_, s)| matches!(s.stage, Stage::Leased(_)))
            || self
                .waiters
                .values()
                .any(|w| w.target == *target && !matches!(w.wish, Wish::Close(_)));
        let silent_for = if works {
            Duration::ZERO
        } else {
            self.at.since(asked)
        };
        Some(state.limits.silence_for.saturating_sub(silent_for))
    }

    /// An open failed: the next one for nobody waits.
    pub(super) fn cool(&mut self, target: &TargetName) {
        let now = self.at.mono;
        if let Some(target) = self.targets.get_mut(target)
            && target.limits.warm > 0
        {
            let warmth = &mut target.warmth;
            let pause = COOL_FOR
                .saturating_mul(1_u32.checked_shl(warmth.failed).unwrap_or(u32::MAX))
                .min(COOL_AT_MOST);
            warmth.failed = warmth.failed.saturating_add(1);
            warmth.again_at = Some(now.saturating_add(pause));
        }
    }

    /// An open went well.
    pub(super) fn no_longer_cools(&mut self, target: &TargetName) {
        if let Some(target) = self.targets.get_mut(target) {
            target.warmth.failed = 0;
            target.warmth.again_at = None;
        }
    }
}

impl Session {
    /// Is, or will be, ready for whoever asks first.
    pub(super) fn is_warm(&self) -> bool {
        self.owner.is_none()
            && self.doomed.is_none()
            && !matches!(self.stage, Stage::Retiring { .. })
    }
}
