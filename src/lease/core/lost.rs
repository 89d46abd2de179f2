//! Why named sessions went away: a bounded memory, so that the next call can say so.

use std::collections::VecDeque;
use std::time::Duration;

use super::event::Moment;
use crate::model::{OwnerId, SessionInfo, SessionName};

/// Enough for every name that an assistant could still hold; a SessionInfo is about 300 bytes.
const KEPT: usize = 100;
/// Longer than any conversation waits for one answer; after it a name counts as never opened.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

#[derive(Debug, Default)]
pub(super) struct LostNames {
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    owner: OwnerId,
    name: SessionName,
    info: SessionInfo,
    at: Moment,
}

impl LostNames {
    /// Remembers a session as it was at its end; `info.reason` says why. Replaces what was known of that name.
    pub(super) fn remember(
        &mut self,
        at: Moment,
        owner: OwnerId,
        name: SessionName,
        info: SessionInfo,
    ) {
        self.forget(&owner, &name);
        self.entries.push_back(Entry {
            owner,
            name,
            info,
            at,
        });
        if self.entries.len() > KEPT {
            self.entries.pop_front();
        }
    }

    /// The name works again.
    pub(super) fn forget(&mut self, owner: &OwnerId, name: &SessionName) {
        self.entries
            .retain(|e| !(e.owner == *owner && e.name == *name));
    }

    pub(super) fn get(
        &self,
        at: Moment,
        owner: &OwnerId,
        name: &SessionName,
    ) -> Option<&SessionInfo> {
        let known = |e: &&Entry| e.owner == *owner && e.name == *name;
        let fresh = |e: &&Entry| at.since(e.at) < KEPT_FOR;
        let entry = self.entries.iter().filter(known).find(fresh)?;
        Some(&entry.info)
    }

    /// All that is known of an owner's lost names, oldest first.
    pub(super) fn of<'a>(
        &'a self,
        at: Moment,
        owner: &'a OwnerId,
    ) -> impl Iterator<Item = &'a SessionInfo> {
        self.entries
            .iter()
            .filter(move |e| e.owner == *owner && at.since(e.at) < KEPT_FOR)
            .map(|e| &e.info)
    }
}
