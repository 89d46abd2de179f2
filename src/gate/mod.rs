//! The exit: everything that a client, a person at a terminal or a log sees passes here. Known secrets are taken
//! out, sizes are limited, rows and errors are rendered, in this order. Where the data comes from and what a caller
//! may see of it is decided elsewhere.

mod answer;
mod clean;
mod compose;
mod error;
mod limit;
mod redact;
mod render;
mod rows;
mod session;
mod statement;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::{Arc, PoisonError, RwLock};

pub(crate) use answer::{Answer, Ask, Cursor, error_id_of};
pub(crate) use limit::Limits;
pub(crate) use redact::{RedactStream, Redacted};
pub(crate) use rows::Rows;
pub(crate) use tables::{TablesAsk, TablesCursor};
pub(crate) use writer::Writer;

use crate::model::{
    Batch, Error, Image, SecretRegistry, SessionInfo, StatementId, StatementView, TableInfo,
    TablesPage,
};
use redact::Redactor;

/// The one exit. Cheap to clone; all clones share what they know.
#[derive(Clone)]
pub(crate) struct Gate {
    registry: SecretRegistry,
    limits: Limits,
    redactor: Arc<RwLock<Arc<Redactor>>>,
}

impl Gate {
    /// A gate that hides what `registry` knows, now and later.
    pub(crate) fn new(registry: SecretRegistry, limits: Limits) -> Self {
        let redactor = Redactor::new(&registry.snapshot());
        Self {
            registry,
            limits,
            redactor: Arc::new(RwLock::new(Arc::new(redactor))),
        }
    }

    /// A text for people: secrets out, control characters escaped, ANSI sequences gone. Not limited in size.
    pub(crate) fn text(&self, text: &str) -> Redacted {
        self.redactor().redact(text).map(clean::block)
    }

    /// A whole result, for the command line: every row, nothing cut. `clean` for a terminal.
    pub(crate) fn rows(&self, batch: &Batch, clean: bool) -> Rows {
        Rows::new(&self.redactor(), batch, clean)
    }

    /// A JSON document, for the command line.
    pub(crate) fn document(&self, value: &serde_json::Value) -> Redacted {
        rows::document(&self.redactor(), value)
    }

    /// A figure's bytes, unless they show a secret.
    pub(crate) fn image<'i>(&self, image: &'i Image) -> Option<&'i [u8]> {
        (!self.redactor().shows(&image.bytes)).then_some(&*image.bytes)
    }

    /// A statement in its present state. A failed one is a failure (`is_error`), in the words of [`Gate::failure`]
    /// under [`error_id_of`] its id, with what it had printed.
    pub(crate) fn statement(&self, view: &StatementView, ask: &Ask) -> Answer {
        statement::answer(&self.redactor(), &self.limits, view, ask)
    }

    /// A call that failed. `error_id` finds the error's cause in the log.
    pub(crate) fn failure(
        &self,
        error: &Error,
        statement: Option<&StatementId>,
        error_id: &str,
    ) -> Answer {
        error::answer(&self.redactor(), &self.limits, error, statement, error_id)
    }

    /// One session.
    pub(crate) fn session(&self, info: &SessionInfo) -> Answer {
        session::one(&self.redactor(), info)
    }

    /// All sessions of an owner.
    pub(crate) fn sessions(&self, infos: &[SessionInfo]) -> Answer {
        session::many(&self.redactor(), &self.limits, infos)
    }

    /// A page of a list of tables, as much of it as fits.
    pub(crate) fn tables(&self, ask: &TablesAsk, page: &TablesPage) -> Answer {
        tables::answer(&self.redactor(), &self.limits, ask, page)
    }

    /// A table for the command line: secrets out, control characters escaped.
    pub(crate) fn table(&self, table: &TableInfo) -> TableInfo {
        tables::table(&self.redactor(), table)
    }

    /// The next piece of a growing text, as far as nothing can change it any more.
    pub(crate) fn push(&self, stream: &mut RedactStream, piece: &str) -> Redacted {
        stream.push(&self.redactor(), piece)
    }

    /// The rest of a growing text.
    pub(crate) fn finish(&self, stream: &mut RedactStream) -> Redacted {
        stream.finish(&self.redactor())
    }

    /// What the gate gave out, for a terminal: ANSI sequences gone, control characters escaped.
    pub(crate) fn for_terminal(&self, text: Redacted) -> Redacted {
        text.map(clean::block)
    }

    /// The tables for what is known now, built anew if the registry has grown.
    fn redactor(&self) -> Arc<Redactor> {
        let known = self.registry.len();
        {
            let built = self.redactor.read().unwrap_or_else(PoisonError::into_inner);
            if built.len() >= known {
                return Arc::clone(&built);
            }
        }
        let mut built = self
            .redactor
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if built.len() < known {
            *built = Arc::new(Redactor::new(&self.registry.snapshot()));
        }
        Arc::clone(&built)
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gate({:?}, {:?})", self.registry, self.limits)
    }
}
