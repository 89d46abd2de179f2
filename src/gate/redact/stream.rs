//! Redacts a text that comes in pieces: what could still become part of a secret is held back.

use super::{Redacted, Redactor};

/// The most that is held back, in bytes. Real ones hold a few characters, or one token; more is held only when a
/// form of a secret is spread over many separators, and is released, redacted as it stands, beyond this.
const HELD_MAX: usize = 1 << 20;

/// The state of one stream. The pieces given out, together, are the whole text redacted at once, whatever the splits.
#[derive(Default)]
pub(crate) struct RedactStream {
    held: String,
}

impl RedactStream {
    /// Takes the next piece and gives out what nothing can change any more.
    pub(in crate::gate) fn push(&mut self, redactor: &Redactor, piece: &str) -> Redacted {
        self.held.push_str(piece);
        if self.held.len() > HELD_MAX {
            return self.finish(redactor);
        }
        let (settled, held) = redactor.redact_running(&self.held, 1);
        self.held.drain(..self.held.len() - held);
        settled
    }

    /// Gives out the rest.
    pub(in crate::gate) fn finish(&mut self, redactor: &Redactor) -> Redacted {
        redactor.redact(&std::mem::take(&mut self.held))
    }
}
