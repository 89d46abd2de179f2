//! What callers ask for: a lease, a named session, its end. Each gets one answer, at its deadline at the latest.

use std::collections::btree_map::Entry;
use std::time::Duration;

use super::life::gone;
use super::queue::Want;
use super::text::CLOSED;
use super::{Effect, Session, Stage, State, Waiter, WaiterId, Wish, info, text};
use crate::model::{Error, OwnerId, Progress, SessionId, SessionName, TargetName};

impl State {
    pub(super) fn acquire(
        &mut self,
        waiter: WaiterId,
        owner: OwnerId,
        target: TargetName,
        session: Option<SessionName>,
        deadline: Duration,
    ) {
        if !self.may_ask(waiter, &target) {
            return;
        }
        let Some(name) = session else {
            self.wait(waiter, &owner, &target, Wish::Any, deadline);
            self.enqueue(&owner, &target, Want::Any(waiter));
            self.say(waiter, "waiting for a session");
            self.settle(&target);
            self.bound_queue(waiter, &owner, &target);
            return;
        };
        let id = self.names.get(&(owner.clone(), name.clone())).cloned();
        let Some((id, found)) = id.and_then(|id| self.sessions.get(&id).map(|s| (id, s))) else {
            let error = self.no_such_name(self.at, &owner, Some(&target), &name);
            return self.refuse(waiter, error);
        };
        if found.target != target {
            let error = text::other_target(&name, &found.target, &target);
            return self.refuse(waiter, error);
        }
        if found.stage == Stage::Idle {
            self.wait(waiter, &owner, &target, Wish::Named(id.clone()), deadline);
            return self.grant(waiter, &id);
        }
        if let Some(error) = self.full_at(&id, &name) {
            return self.refuse(waiter, error);
        }
        self.wait(waiter, &owner, &target, Wish::Named(id), deadline);
        self.say(waiter, &format!("waiting for session {name}"));
    }

    pub(super) fn open(
        &mut self,
        waiter: WaiterId,
        owner: OwnerId,
        target: TargetName,
        name: Option<SessionName>,
        deadline: Duration,
    ) {
        if !self.may_ask(waiter, &target) {
            return;
        }
        let name = name.unwrap_or_else(|| self.invent_name(&owner));
        let key = (owner.clone(), name.clone());
        let id = self.names.get(&key).cloned();
        if let Some((id, found)) = id.and_then(|id| self.sessions.get(&id).map(|s| (id, s))) {
            if found.target != target {
                let error = text::name_taken(&name, &found.target, &target);
                return self.refuse(waiter, error);
            }
            if matches!(found.stage, Stage::Idle | Stage::Leased(_)) {
                let info = info(&id, found, self.at);
                self.touch(&owner);
                return self.inform(waiter, info);
            }
            if let Some(error) = self.full_at(&id, &name) {
                return self.refuse(waiter, error);
            }
            return self.wait(waiter, &owner, &target, Wish::Open(id), deadline);
        }
        let id = self.new_session(Some(&owner), &target, Some(name));
        self.names.insert(key, id.clone());
        self.wait(waiter, &owner, &target, Wish::Open(id.clone()), deadline);
        self.enqueue(&owner, &target, Want::Named(id));
        self.say(waiter, "waiting for room to open a session");
        self.settle(&target);
        self.bound_queue(waiter, &owner, &target);
    }

    pub(super) fn close(
        &mut self,
        waiter: WaiterId,
        owner: OwnerId,
        name: SessionName,
        deadline: Duration,
    ) {
        if self.waiters.contains_key(&waiter) {
            return;
        }
        self.touch(&owner);
        let named = self.names.get(&(owner.clone(), name.clone())).cloned();
        if let Some(id) = &named {
            let before = self.sessions.get(id).cloned();
            self.retire(id, CLOSED);
            if let Some(session) = before.filter(|s| s.stage == Stage::Pending) {
                // Nothing existed yet.
                return self.inform(waiter, gone(id, &session, self.at));
            }
        }
        // The name may have been used several times; the last session is meant.
        let last = || {
            self.sessions
                .iter()
                .filter(|(_, s)| s.is_of(&owner) && s.name.as_ref() == Some(&name))
                .max_by_key(|(_, s)| s.opened.mono)
                .map(|(id, _)| id.clone())
        };
        let going = named.or_else(last);
        let target = |id: &SessionId| self.sessions.get(id).map(|s| s.target.clone());
        if let Some((target, id)) = going.and_then(|id| Some((target(&id)?, id))) {
            self.wait(waiter, &owner, &target, Wish::Close(id), deadline);
        } else if let Some(gone) = self.lost.get(self.at, &owner, &name).cloned() {
            self.inform(waiter, gone);
        } else {
            let error = text::nothing_to_close(&name, &self.names_of(&owner));
            self.refuse(waiter, error);
        }
    }

    pub(super) fn touch(&mut self, owner: &OwnerId) {
        let at = self.at;
        if let Some(owner) = self.owners.get_mut(owner) {
            owner.seen = at;
        }
    }

    /// The call is gone: nobody hears an answer.
    pub(super) fn cancel(&mut self, id: WaiterId) {
        if let Some(waiter) = self.take_waiter(id) {
            self.after_waiter(&waiter);
        }
    }

    /// The call's time is over.
    pub(super) fn expire(&mut self, id: WaiterId) {
        let Some(waiter) = self.waiters.get(&id).cloned() else {
            return;
        };
        let waited = self.at.since(waiter.since);
        let (owner, target) = (&waiter.owner, &waiter.target);
        let session = match &waiter.wish {
            Wish::Any => None,
            Wish::Named(s) | Wish::Open(s) | Wish::Close(s) => self.sessions.get(s).map(|x| (s, x)),
        };
        match (&waiter.wish, session) {
            (Wish::Any, _) => {
                let error = self.out_of_time(id, owner, target, waited);
                self.refuse(id, error);
            }
            (
                Wish::Named(_),
                Some((
                    _,
                    Session {
                        name: Some(name),
                        stage,
                        ..
                    },
                )),
            ) => {
                let error = match stage {
                    Stage::Pending => self.out_of_time(id, owner, target, waited),
                    Stage::Opening => text::still_opening(target, waited),
                    Stage::Idle | Stage::Leased(_) | Stage::Retiring { .. } => {
                        text::still_busy(name, waited)
                    }
                };
                self.refuse(id, error);
            }
            (
                Wish::Open(_),
                Some((
                    _,
                    Session {
                        stage: Stage::Pending,
                        ..
                    },
                )),
            )
            | (_, None) => {
                let error = self.out_of_time(id, owner, target, waited);
                self.refuse(id, error);
            }
            (_, Some((session_id, session))) => {
                let info = info(session_id, session, self.at);
                self.inform(id, info);
            }
        }
        self.cancel(id);
    }

    pub(super) fn owner_gone(&mut self, owner: &OwnerId) {
        self.refuse_all(owner, &text::client_gone());
        let theirs: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.is_of(owner))
            .map(|(id, _)| id.clone())
            .collect();
        for id in theirs {
            self.retire(&id, "closed because the client went away");
        }
        self.forget_owner(owner);
        self.settle_all();
    }

    fn refuse_all(&mut self, owner: &OwnerId, error: &Error) {
        let theirs = self.owners.get(owner).map(|o| o.waiters.clone());
        for id in theirs.into_iter().flatten() {
            self.refuse(id, error.clone());
            self.cancel(id);
        }
    }

    pub(super) fn shutdown(&mut self) {
        self.closing_down = true;
        let waiting: Vec<WaiterId> = self
            .waiters
            .iter()
            .filter(|(_, w)| !matches!(w.wish, Wish::Close(_)))
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.refuse(id, text::closing_down());
            self.cancel(id);
        }
        let all: Vec<SessionId> = self.sessions.keys().cloned().collect();
        for id in all {
            self.retire(&id, "closed because the server shut down");
            self.close_again(&id);
        }
    }

    pub(super) fn open_progress(&mut self, id: &SessionId, progress: &Progress) {
        for waiter in self.waiting_for(id) {
            self.out.push(Effect::Say {
                waiter,
                progress: progress.clone(),
            });
        }
    }

    /// Whether a call for a session may go on; else it is answered. A call that waits already asks nothing new.
    fn may_ask(&mut self, waiter: WaiterId, target: &TargetName) -> bool {
        if self.waiters.contains_key(&waiter) {
            return false;
        }
        if self.closing_down {
            self.refuse(waiter, text::closing_down());
            return false;
        }
        if !self.targets.contains_key(target) {
            let error = text::unknown_target(target, self.targets.keys());
            self.refuse(waiter, error);
            return false;
        }
        self.asked(target);
        // What was let go because nobody called comes back.
        self.warm_up(target);
        true
    }

    fn wait(
        &mut self,
        id: WaiterId,
        owner: &OwnerId,
        target: &TargetName,
        wish: Wish,
        deadline: Duration,
    ) {
        match &wish {
            Wish::Any => {}
            Wish::Named(session) | Wish::Open(session) => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.waiters.push_back(id);
                }
            }
            Wish::Close(session) => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.closers.push(id);
                }
            }
        }
        let waiter = Waiter {
            owner: owner.clone(),
            target: target.clone(),
            wish,
            since: self.at,
            deadline,
        };
        self.deadlines.insert((deadline, id));
        self.waiters.insert(id, waiter);
        let at = self.at;
        let owner = self.owners.entry(owner.clone()).or_default();
        owner.seen = at;
        owner.waiters.insert(id);
    }

    /// Refuses the newest call of an owner that has too many.
    fn bound_queue(&mut self, id: WaiterId, owner: &OwnerId, target: &TargetName) {
        let waits = match self.waiters.get(&id).map(|w| &w.wish) {
            Some(Wish::Any) => true,
            Some(Wish::Open(session)) => self
                .sessions
                .get(session)
                .is_some_and(|s| s.stage == Stage::Pending),
            Some(Wish::Named(_) | Wish::Close(_)) | None => false,
        };
        let room = self.limits(target).queue + self.leaving(target);
        if waits && self.unmet(owner, target) > room {
            let error = self.queue_full(owner, target);
            self.refuse(id, error);
            self.cancel(id);
        }
    }

    /// The error of a call for a named session at which too many wait already.
    fn full_at(&self, id: &SessionId, name: &SessionName) -> Option<Error> {
        let session = self.sessions.get(id)?;
        let queue = self.limits(&session.target).queue;
        (session.waiters.len() >= queue).then(|| text::session_queue_full(name, queue))
    }

    /// What nobody waits for any more need not happen: a named session that was not begun is dropped.
    fn after_waiter(&mut self, waiter: &Waiter) {
        if let Wish::Named(id) | Wish::Open(id) = &waiter.wish {
            let pointless = |s: &Session| s.stage == Stage::Pending && s.waiters.is_empty();
            if self.sessions.get(id).is_some_and(pointless) {
                self.retire(id, "nobody waited for it");
            }
        }
        self.forget_owner(&waiter.owner);
    }

    /// An owner without sessions and calls has nothing that could expire.
    pub(super) fn forget_owner(&mut self, id: &OwnerId) {
        if let Entry::Occupied(entry) = self.owners.entry(id.clone())
            && entry.get().waiters.is_empty()
            && !self.sessions.values().any(|s| s.is_of(id))
        {
            entry.remove();
        }
    }

    /// A short name that was never used before in this process, so that it cannot stand for another session's
    /// variables.
    fn invent_name(&mut self, owner: &OwnerId) -> SessionName {
        loop {
            self.named_ever += 1;
            let name = SessionName::new(format!("session-{}", self.named_ever));
            let taken = self.names.contains_key(&(owner.clone(), name.clone()))
                || self.lost.get(self.at, owner, &name).is_some();
            if !taken {
                return name;
            }
        }
    }
}
