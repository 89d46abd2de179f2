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

/// Whether another writer came first, so that trying again helps.
pub(in crate::platform::local) fn is_conflict(error: &Error) -> bool {
    let words = error.message().to_lowercase();
    error.code() == Code::StatementFailed
        && [
            "conflict",
            "failed to commit transaction",
            // Two writers have put their next version aside, and the catalogue has taken neither yet.
            "multiple staged delta commits",
            // Read while another writer made a checkpoint, when the engine had the version before it in mind (pysail 0.7.2).
            "missing commit file",
            "concurrent",
            "version already exists",
            "already exists at version",
        ]
        .iter()
        .any(|sign| words.contains(sign))
}
