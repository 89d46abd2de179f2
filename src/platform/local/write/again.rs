//! Writes that another writer came before: which errors say so, and how long to wait until the next try.

use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use super::engine::Engine;
use crate::model::{Code, Error, Result};

/// How often a write that another one came before is tried again.
const TRIES: u32 = 12;
/// From the first conflict to the next try, doubled each time up to a second, and a random part of it.
const AGAIN_AFTER: Duration = Duration::from_millis(30);

/// Pauses between tries that others came before: growing, and of random length, so that two do not meet for ever.
pub(super) struct Pause {
    tries: u32,
    next: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self {
            tries: 1,
            next: AGAIN_AFTER,
        }
    }
}

impl Pause {
    /// Waits; `false` without a wait when it was tried often enough.
    pub(super) async fn next(&mut self, engine: Engine<'_>) -> Result<bool> {
        if self.tries >= TRIES {
            return Ok(false);
        }
        let random = Uuid::new_v4().into_bytes().first().copied().unwrap_or(0);
        let wait = self.next + self.next * u32::from(random) / 255;
        engine
            .or_cancelled(async {
                sleep(wait).await;
                Ok(())
            })
            .await?;
        self.tries += 1;
        self.next = (self.next * 2).min(Duration::from_secs(1));
        Ok(true)
    }
}

/// What the engine (pysail 0.7.2) says when another writer came first: whole phrases, since a query may say "conflict"
/// for reasons of its own.
const PHRASES: [&str; 9] = [
    "Delta catalog commit conflict: ",
    "Unity Catalog Delta commit conflict: ",
    "Failed to commit transaction: ",
    "Commit failed: a concurrent transaction ",
    "Concurrent transaction failed.",
    "Domain metadata changed since last commit for domain ",
    // Two writers have put their next version aside, and the catalogue has taken neither yet.
    "Multiple staged Delta commits found for catalog-managed version ",
    // Read while another writer made a checkpoint, when the engine had the version before it in mind.
    "Missing commit file: expected ",
    "Missing commit file ",
];

/// Whether another writer came first, so that trying again helps.
pub(in crate::platform::local) fn is_conflict(error: &Error) -> bool {
    error.code() == Code::StatementFailed
        && PHRASES
            .iter()
            .any(|phrase| error.message().contains(phrase))
}

/// Whether another writer changed the table's columns: what was planned for them is to be planned anew.
pub(super) fn is_outdated(error: &Error) -> bool {
    error.code() == Code::StatementFailed
        && error
            .message()
            .contains("Metadata changed since last commit.")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Delta catalog commit conflict: version 3", true, false)]
    #[case("Metadata changed since last commit.", false, true)]
    #[case("conflict in my own raise_error, concurrent too", false, false)]
    fn only_the_engine_s_own_phrases_are_conflicts(
        #[case] words: &str,
        #[case] conflict: bool,
        #[case] outdated: bool,
    ) {
        let error = Error::new(Code::StatementFailed, words.to_owned()).hint("x");
        assert_eq!(
            (is_conflict(&error), is_outdated(&error)),
            (conflict, outdated)
        );
    }
}
