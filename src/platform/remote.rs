//! What is asked of a place whose sessions outlive our process: find by name, delete, prove. The ledger drives it; a
//! platform implements it beside [`Platform`](super::Platform). Nothing here decides when.

use std::fmt::Debug;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::RemoteSession;
use crate::model::{Result, Tag};

/// Where sessions are, and as whom: two rows with equal places can be deleted by the same credentials. It is stored,
/// so it holds no secret and no user part of an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// The kind of place; only compared and shown.
    pub platform: String,
    /// The address below which its sessions are; only compared and shown.
    pub base: String,
    /// A fingerprint of the identity that is signed in: not the identity itself.
    pub principal: String,
}

impl Place {
    /// A short text that is equal for equal places only, for a command line.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.platform, &self.base, &self.principal] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let bytes = hash.finalize();
        bytes.iter().take(8).map(|b| format!("{b:02x}")).collect()
    }
}

/// A session that a place listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tagged {
    /// Its name.
    pub tag: Tag,
    /// The place's id of it.
    pub id: String,
}

/// What a delete came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Proved: the place knows no session of this id and name any more, or says that it has ended.
    Gone,
    /// It was asked to go and is still listed.
    StillThere,
}

/// What is known of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// Nothing was sent, or it was refused for certain: there is no session.
    No,
    /// The place has it, or had it.
    Yes,
    /// Nobody knows: it may still come to life.
    Perhaps,
}

/// A place whose sessions outlive our process.
///
/// Errors carry what to do next in [`Retry`](crate::model::Retry): `After` is a Retry-After that was given (429, 430,
/// 503). `permission_denied` is tried again rarely. A token that is refused is renewed once inside the call.
#[async_trait]
pub(crate) trait Remote: Debug + Send + Sync {
    /// Where, and as whom. Never changes.
    fn place(&self) -> Place;

    /// Ends all that this process does for a session (heartbeat, statement, open) and forgets it; what is known of its
    /// create is the answer. Sends nothing: the delete is the ledger's.
    ///
    /// Called once for each session before its delete.
    fn release(&self, session: &RemoteSession) -> Created;

    /// The ids of all sessions with exactly this name that have not ended; every page is read.
    ///
    /// Called by sweeps, any number of times. An empty list must come from a complete answer: a cut or unknown one
    /// is an error.
    async fn find_by_tag(&self, tag: &Tag) -> Result<Vec<String>>;

    /// Deletes the session `id` if its name is `tag`, then asks whether it is gone. One round, within a minute: the
    /// caller repeats it.
    ///
    /// A session with this id and another name is a stranger's (ids start again after a restart): it is left alone,
    /// and ours is `Gone`.
    ///
    /// # Cancel safety
    /// Repeating it is safe at every point.
    async fn close_verified(&self, tag: &Tag, id: &str) -> Result<Closed>;

    /// All sessions whose names begin with `prefix` and that have not ended; every page is read.
    async fn list_tagged(&self, prefix: &str) -> Result<Vec<Tagged>>;
}
