//! Who gets what: each owner's own queue, the turn between owners, room under the limit.
//!
//! A session never changes its owner, so what moves between owners is room: a close of one, then an open of another.
//! Room goes to the owner with the fewest sessions, among equals to the one that was served longest ago. So while
//! there are at least as many sessions as owners who want one, each ends up with a fair share and no session is closed for
//! fairness again; with fewer, they alternate.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::text::{self, Usage};
use super::{Effect, Session, Stage, State, WaiterId, Wish};
use crate::model::{Error, OwnerId, Progress, Retry, SessionId, SessionPhase, TargetName};

/// One thing that an owner waits for on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// An unnamed session, for this call.
    Any(WaiterId),
    /// Room to open this named one.
    Named(SessionId),
}

/// What waits on one target. An owner with an empty queue is in neither field.
#[derive(Debug, Default)]
pub(super) struct Queue {
    wants: BTreeMap<OwnerId, VecDeque<Want>>,
    /// The owner that was served longest ago comes first.
    turn: VecDeque<OwnerId>,
}

/// The platform asked for patience.
#[derive(Debug)]
pub(super) struct Hold {
    /// Monotonic.
    pub until: Duration,
    pub error: Error,
}

impl Queue {
    fn push(&mut self, owner: &OwnerId, want: Want) {
        let wants = self.wants.entry(owner.clone()).or_default();
        if wants.is_empty() {
            self.turn.push_back(owner.clone());
        }
        wants.push_back(want);
    }

    /// Back to where it was: before all that came later.
    fn push_first(&mut self, owner: &OwnerId, want: Want) {
        self.push(owner, want);
        if let Some(wants) = self.wants.get_mut(owner) {
            wants.rotate_right(1);
        }
    }

    fn remove(&mut self, owner: &OwnerId, want: &Want) {
        let Some(wants) = self.wants.get_mut(owner) else {
            return;
        };
        wants.retain(|w| w != want);
        if wants.is_empty() {
            self.wants.remove(owner);
            self.turn.retain(|o| o != owner);
        }
    }

    /// The owner was served: the others come first now.
    fn served(&mut self, owner: &OwnerId) {
        if let Some(place) = self.turn.iter().position(|o| o == owner) {
            self.turn.remove(place);
            self.turn.push_back(owner.clone());
        }
    }

    fn wants(&self, owner: &OwnerId) -> impl Iterator<Item = &Want> {
        self.wants.get(owner).into_iter().flatten()
    }

    fn first_any(&self, owner: &OwnerId) -> Option<WaiterId> {
        self.wants(owner).find_map(|want| match want {
            Want::Any(waiter) => Some(*waiter),
            Want::Named(_) => None,
        })
    }
}

impl State {
    pub(super) fn enqueue(&mut self, owner: &OwnerId, target: &TargetName, want: Want) {
        if let Some(target) = self.targets.get_mut(target) {
            target.queue.push(owner, want);
        }
    }

    pub(super) fn enqueue_first(&mut self, owner: &OwnerId, target: &TargetName, want: Want) {
        if let Some(target) = self.targets.get_mut(target) {
            target.queue.push_first(owner, want);
        }
    }

    pub(super) fn dequeue(&mut self, owner: &OwnerId, target: &TargetName, want: &Want) {
        if let Some(target) = self.targets.get_mut(target) {
            target.queue.remove(owner, want);
        }
    }

    pub(super) fn served(&mut self, owner: &OwnerId, target: &TargetName) {
        if let Some(target) = self.targets.get_mut(target) {
            target.queue.served(owner);
        }
    }

    /// Brings a target's sessions and its waiting calls together until nothing more can move.
    pub(super) fn settle(&mut self, target: &TargetName) {
        self.hand_out(target);
        self.adopt(target);
        let Some(state) = self.targets.get(target) else {
            return;
        };
        match (&state.hold, &state.crowded) {
            (None, _) => {
                self.open_what_fits(target);
                self.evict(target);
                self.warm_up(target);
            }
            // What we have room for others have taken; but what is free here can go.
            (Some(_), Some(_)) => self.evict(target),
            (Some(_), None) => {}
        }
    }

    /// Free unnamed sessions go to their own owners' calls, the last used first, so that the others reach their idle
    /// limit.
    fn hand_out(&mut self, target: &TargetName) {
        let Some(queue) = self.targets.get(target).map(|t| &t.queue) else {
            return;
        };
        if queue.turn.is_empty() {
            return;
        }
        let mut free: Vec<(Duration, SessionId, OwnerId)> = self
            .on(target)
            .filter(|(_, s)| s.stage == Stage::Idle && s.name.is_none())
            .filter_map(|(id, s)| Some((s.used.mono, id.clone(), s.owner.clone()?)))
            .filter(|(_, _, owner)| queue.first_any(owner).is_some())
            .collect();
        free.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        for (_, id, owner) in free {
            let first = self
                .targets
                .get(target)
                .and_then(|t| t.queue.first_any(&owner));
            if let Some(waiter) = first {
                self.grant(waiter, &id);
            }
        }
    }

    fn open_what_fits(&mut self, target: &TargetName) {
        while self.used(target) < self.limits(target).sessions {
            let Some((owner, want)) = self.next_in_turn(target) else {
                return;
            };
            self.served(&owner, target);
            match want {
                Want::Any(waiter) => {
                    let id = self.new_session(Some(&owner), target, None);
                    self.start_open(&id);
                    self.say(waiter, "opening a session");
                }
                Want::Named(id) => {
                    self.dequeue(&owner, target, &Want::Named(id.clone()));
                    self.start_open(&id);
                    let waiters = self.sessions.get(&id).map(|s| s.waiters.clone());
                    for waiter in waiters.into_iter().flatten() {
                        self.say(waiter, "opening the session");
                    }
                }
            }
        }
    }

    /// Closes the longest-free unnamed sessions while more is wanted than will become free. What is free after
    /// `hand_out` is of no use to its own owner now. Named sessions hold state, so they stay.
    fn evict(&mut self, target: &TargetName) {
        while self.short_of_room(target) {
            let longest = self
                .on(target)
                .filter(|(_, s)| s.stage == Stage::Idle && s.name.is_none())
                .min_by(|(a_id, a), (b_id, b)| a.used.mono.cmp(&b.used.mono).then(a_id.cmp(b_id)))
                .map(|(id, _)| id.clone());
            let Some(id) = longest else {
                return;
            };
            self.retire(
                &id,
                "closed while it was free, to make room under limits.sessions",
            );
        }
    }

    /// Whether a session that its owner could use again must go: others wait who have less.
    pub(super) fn must_yield(&self, session: &Session) -> bool {
        let target = &session.target;
        let Some(state) = self.targets.get(target) else {
            return false;
        };
        if session.name.is_some() || state.hold.is_some() || !self.short_of_room(target) {
            return false;
        }
        let Some(whose) = &session.owner else {
            return false;
        };
        let mine = self.held(whose, target);
        state.queue.turn.iter().any(|owner| {
            if owner == whose {
                // Its own next call wants room for a named session, and was there first.
                return matches!(state.queue.wants(owner).next(), Some(Want::Named(_)));
            }
            let theirs = self.held(owner, target);
            self.unmet(owner, target) > 0 && (theirs == 0 || mine > theirs + 1)
        })
    }

    /// More is wanted than there is room for, now and after the closes that are under way.
    fn short_of_room(&self, target: &TargetName) -> bool {
        let Some(state) = self.targets.get(target) else {
            return false;
        };
        let wanted: usize = state
            .queue
            .turn
            .iter()
            .map(|owner| self.unmet(owner, target))
            .sum();
        if wanted == 0 {
            return false;
        }
        let leaving = self.leaving(target);
        let room = match state.crowded {
            Some(_) => 0,
            None => state.limits.sessions.saturating_sub(self.used(target)),
        };
        wanted > room + leaving
    }

    /// The owner whose turn it is, and what it wants opened.
    pub(super) fn next_in_turn(&self, target: &TargetName) -> Option<(OwnerId, Want)> {
        let queue = &self.targets.get(target)?.queue;
        // `min_by_key` keeps the first of equals, and `turn` is in order.
        let owner = queue
            .turn
            .iter()
            .filter(|owner| self.unmet(owner, target) > 0)
            .min_by_key(|owner| self.held(owner, target))?;
        let mut opening = self.opening(owner, target);
        let want = queue.wants(owner).find(|want| match want {
            Want::Named(_) => true,
            Want::Any(_) if opening > 0 => {
                opening -= 1;
                false
            }
            Want::Any(_) => true,
        })?;
        Some((owner.clone(), want.clone()))
    }

    /// How many of an owner's wants have no session under way.
    pub(super) fn unmet(&self, owner: &OwnerId, target: &TargetName) -> usize {
        let Some(state) = self.targets.get(target) else {
            return 0;
        };
        let (mut any, mut named) = (0_usize, 0_usize);
        for want in state.queue.wants(owner) {
            match want {
                Want::Any(_) => any += 1,
                Want::Named(_) => named += 1,
            }
        }
        if any == 0 {
            return named;
        }
        named + any.saturating_sub(self.opening(owner, target))
    }

    /// Unnamed sessions of an owner that are being opened and will serve it.
    fn opening(&self, owner: &OwnerId, target: &TargetName) -> usize {
        self.on(target)
            .filter(|(_, s)| s.is_of(owner) && s.name.is_none() && s.is_opening())
            .count()
    }

    /// Sessions of an owner that exist and stay.
    fn held(&self, owner: &OwnerId, target: &TargetName) -> usize {
        self.on(target)
            .filter(|(_, s)| s.is_of(owner))
            .filter(|(_, s)| s.stage != Stage::Pending && !s.is_leaving())
            .count()
    }

    /// Room that is taken: a session counts from its open until its close is verified.
    pub(super) fn used(&self, target: &TargetName) -> usize {
        self.on(target)
            .filter(|(_, s)| s.stage != Stage::Pending)
            .count()
    }

    pub(super) fn leaving(&self, target: &TargetName) -> usize {
        self.on(target).filter(|(_, s)| s.is_leaving()).count()
    }

    pub(super) fn on(&self, target: &TargetName) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.sessions
            .iter()
            .filter(move |(_, s)| s.target == *target)
    }

    /// Whether a call that wants any session has one under way, by its place in its owner's queue.
    pub(super) fn is_met(&self, waiter: WaiterId, owner: &OwnerId, target: &TargetName) -> bool {
        let Some(state) = self.targets.get(target) else {
            return false;
        };
        state
            .queue
            .wants(owner)
            .filter(|want| matches!(want, Want::Any(_)))
            .take(self.opening(owner, target))
            .any(|want| *want == Want::Any(waiter))
    }

    pub(super) fn first_any(&self, owner: &OwnerId, target: &TargetName) -> Option<WaiterId> {
        self.targets.get(target)?.queue.first_any(owner)
    }

    /// The error of a call that got no session in time.
    pub(super) fn out_of_time(
        &self,
        id: WaiterId,
        owner: &OwnerId,
        target: &TargetName,
        waited: Duration,
    ) -> Error {
        let crowded = self.targets.get(target).and_then(|t| t.crowded.as_ref());
        match (self.is_met(id, owner, target), crowded) {
            (true, None) => text::still_opening(target, waited),
            (true, Some(error)) => text::crowded(target, error, waited),
            (false, _) => self
                .no_room(target, waited)
                .unwrap_or_else(|| text::exhausted(target, &self.usage(owner, target), waited)),
        }
    }

    /// What the platform said, while opens wait because of it; with the time that is left.
    fn no_room(&self, target: &TargetName, waited: Duration) -> Option<Error> {
        let state = self.targets.get(target)?;
        let hold = state.hold.as_ref()?;
        if self.used(target) >= state.limits.sessions {
            return None;
        }
        if let Some(error) = &state.crowded {
            return Some(text::crowded(target, error, waited));
        }
        let left = hold.until.saturating_sub(self.at.mono);
        Some(hold.error.clone().retry(Retry::After(left)))
    }

    pub(super) fn queue_full(&self, owner: &OwnerId, target: &TargetName) -> Error {
        let queue = self.limits(target).queue;
        text::queue_full(target, &self.usage(owner, target), queue)
    }

    fn usage(&self, owner: &OwnerId, target: &TargetName) -> Usage<'_> {
        let mut usage = Usage {
            limit: self.limits(target).sessions,
            ..Usage::default()
        };
        let mut own_busy = Vec::new();
        for (id, session) in self.on(target) {
            let own = session.name.as_ref().filter(|_| session.is_of(owner));
            match super::info(id, session, self.at).phase {
                SessionPhase::Free => {
                    usage.free += 1;
                    usage.own_names.extend(own);
                }
                SessionPhase::Busy => {
                    usage.busy += 1;
                    own_busy.extend(own);
                }
                SessionPhase::Opening if session.stage == Stage::Pending => {}
                SessionPhase::Opening => usage.opening += 1,
                SessionPhase::Closing | SessionPhase::Closed | SessionPhase::Lost => {
                    usage.closing += 1
                }
            }
        }
        usage.own_names.sort();
        own_busy.sort();
        usage.own_names.extend(own_busy);
        usage
    }

    /// Tells a call where it stands.
    pub(super) fn say(&mut self, waiter: WaiterId, phase: &str) {
        self.out.push(Effect::Say {
            waiter,
            progress: Progress::phase(phase),
        });
    }

    /// The calls that wait for a session which is being opened.
    pub(super) fn waiting_for(&self, id: &SessionId) -> Vec<WaiterId> {
        let Some(session) = self.sessions.get(id) else {
            return Vec::new();
        };
        if session.name.is_some() {
            return session.waiters.iter().copied().collect();
        }
        let target = &session.target;
        let Some(owner) = &session.owner else {
            return Vec::new();
        };
        let opening = self.opening(owner, target);
        let Some(state) = self.targets.get(target) else {
            return Vec::new();
        };
        state
            .queue
            .wants(owner)
            .filter_map(|want| match want {
                Want::Any(waiter) => Some(*waiter),
                Want::Named(_) => None,
            })
            .take(opening)
            .collect()
    }

    /// Takes a waiter out of every place it is in. `None`: it had its answer.
    pub(super) fn take_waiter(&mut self, id: WaiterId) -> Option<super::Waiter> {
        let waiter = self.waiters.remove(&id)?;
        self.deadlines.remove(&(waiter.deadline, id));
        let at = self.at;
        if let Some(owner) = self.owners.get_mut(&waiter.owner) {
            owner.waiters.remove(&id);
            // The call ends now: silence counts from here.
            owner.seen = at;
        }
        match &waiter.wish {
            Wish::Any => self.dequeue(&waiter.owner, &waiter.target, &Want::Any(id)),
            Wish::Named(session) | Wish::Open(session) => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.waiters.retain(|w| *w != id);
                }
            }
            Wish::Close(session) => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.closers.retain(|w| *w != id);
                }
            }
        }
        Some(waiter)
    }
}

impl Session {
    pub(super) fn is_of(&self, owner: &OwnerId) -> bool {
        self.owner.as_ref() == Some(owner)
    }

    /// Is being opened, to be used.
    pub(super) fn is_opening(&self) -> bool {
        self.stage == Stage::Opening && self.doomed.is_none()
    }

    /// Will make room without anybody's doing.
    pub(super) fn is_leaving(&self) -> bool {
        match self.stage {
            Stage::Retiring { .. } => true,
            Stage::Opening => self.doomed.is_some(),
            Stage::Pending | Stage::Idle | Stage::Leased(_) => false,
        }
    }
}
