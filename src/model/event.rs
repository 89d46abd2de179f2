//! What a running statement tells, one event at a time.

use std::fmt;

use super::{Batch, Error, TablesPage, Written};

/// Which descriptor a text came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// Where a long piece of work stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// A few words: `installing the engine`, `running stage 3 of 5`.
    pub phase: String,
    /// 0 to 1, where it is known.
    pub fraction: Option<f64>,
}

impl Progress {
    /// A phase whose end is not known.
    pub fn phase(phase: impl Into<String>) -> Self {
        Self {
            phase: phase.into(),
            fraction: None,
        }
    }
}

/// A picture that the user's code made.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// `image/png`.
    pub mime: String,
    /// The file's bytes.
    pub bytes: std::sync::Arc<[u8]>,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({}, {} bytes)", self.mime, self.bytes.len())
    }
}

/// How a statement ended.
#[derive(Clone, Debug)]
pub enum End {
    /// It did what it says.
    Succeeded,
    /// It failed, by the user's fault or another's.
    Failed(Error),
    /// It was cancelled and has stopped.
    Cancelled,
}

/// One event of a statement. A stream of events ends with exactly one `End`.
#[derive(Clone, Debug)]
pub enum Event {
    /// The platform has begun: without it nothing of the statement has run.
    Started,
    /// Where it stands.
    Progress(Progress),
    /// Output of the user's code, raw: the gate redacts it.
    Text {
        /// Which descriptor.
        stream: Stream,
        /// As much as came at once.
        text: String,
    },
    /// The value of a last expression, in words.
    Value(String),
    /// Something the user should know, kept apart from the output.
    Warning(String),
    /// Rows.
    Table(Batch),
    /// A figure.
    Image(Image),
    /// A table was written; the figures are the platform's own, read back after the commit.
    Written(Written),
    /// Tables of the catalogue were read.
    Tables(Box<TablesPage>),
    /// The last event.
    End {
        /// How.
        end: End,
        /// The session died with it, and why. It must not be used again.
        session_lost: Option<String>,
    },
}
