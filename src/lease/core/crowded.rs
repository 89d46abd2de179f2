//! Other processes of the same user have all sessions that a target allows: who waits goes on waiting.

use std::time::Duration;

use super::queue::Want;
use super::{Stage, State};
use crate::model::{Error, Retry, SessionId};

/// When other processes have all sessions, how long until it is tried again, if nobody says: soon enough for somebody
/// who waits.
const CROWDED_FOR: Duration = Duration::from_secs(2);

impl State {
    /// Other processes have all sessions that are allowed, and nothing was made: who waits goes on waiting, in the
    /// same place, and the target is asked again after a while.
    pub(super) fn no_room_yet(&mut self, id: &SessionId, error: &Error) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let target = session.target.clone();
        let serves = session.doomed.is_none();
        let waited_for = session.name.is_some() && !session.waiters.is_empty();
        let owner = session.owner.clone();
        if serves && owner.is_none() {
            self.cool(&target);
        } else if serves {
            let wait = match error.retry_kind() {
                Retry::After(wait) => wait,
                Retry::No | Retry::Now => CROWDED_FOR,
            };
            self.hold(&target, wait, error);
            if let Some(target) = self.targets.get_mut(&target) {
                target.crowded = Some(error.clone());
            }
            for waiter in self.waiting_for(id) {
                self.say(
                    waiter,
                    "waiting for other processes, which have all sessions that are allowed",
                );
            }
        }
        if let Some(owner) = owner.filter(|_| serves) {
            if waited_for {
                if let Some(session) = self.sessions.get_mut(id) {
                    session.stage = Stage::Pending;
                }
                self.enqueue_first(&owner, &target, Want::Named(id.clone()));
                return self.settle(&target);
            }
            let name = self.sessions.get(id).and_then(|s| s.name.clone());
            if let Some(name) = name {
                self.names.remove(&(owner, name));
            }
        }
        self.doom(id, "there was no room for it");
        self.set_retiring(id);
        self.remove(id);
    }
}
