//! What a caller sees of a statement and of a session, before the gate renders it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Batch, Error, Image, Progress, SessionId, SessionName, StatementId, TargetName, Written,
};

/// Where a statement stands. `Cancelling` shows as `running` to callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StatementState {
    /// Accepted; waits for a session.
    Queued,
    /// On the platform.
    Running,
    /// A cancel is under way.
    Cancelling,
    /// Did what it says.
    Succeeded,
    /// Failed.
    Failed,
    /// Was cancelled and has stopped.
    Cancelled,
}

impl StatementState {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The word that tools say.
    pub fn as_tool_word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running | Self::Cancelling => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// RFC 4180; NULL bare, the empty string quoted.
    #[default]
    Csv,
    /// A table for people.
    Markdown,
    /// `{"columns": […], "rows": [[…]]}`.
    Json,
}

/// Which rows of a kept result an answer shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The first row's place in the result, from 0.
    pub offset: u64,
    /// The rows, at most as many as were asked for.
    pub batch: Batch,
    /// Kept rows after this page.
    pub more_kept: bool,
    /// The platform had more rows than were kept.
    pub more_unkept: bool,
    /// How many rows are kept in all.
    pub kept_rows: u64,
}

/// A statement as its owner may see it: raw, not yet redacted.
#[derive(Clone, Debug)]
pub struct StatementView {
    /// Its id.
    pub statement: StatementId,
    /// Where it stands.
    pub state: StatementState,
    /// On which target.
    pub target: TargetName,
    /// Its session's name, if it was given one.
    pub session: Option<SessionName>,
    /// From acceptance to now, or to its end.
    pub elapsed: Duration,
    /// What it is doing now.
    pub progress: Option<Progress>,
    /// What the user's code printed, descriptors 1 and 2 as they came, cut in the middle when too long.
    pub output: String,
    /// Bytes of output that were dropped from its middle.
    pub output_dropped: u64,
    /// The value of a last expression.
    pub value: Option<String>,
    /// The first result's rows.
    pub page: Option<Page>,
    /// Further results (`display(df)` and a last expression), each cut to one page.
    pub further: Vec<Batch>,
    /// Figures.
    pub images: Vec<Image>,
    /// Kept apart from the output.
    pub warnings: Vec<String>,
    /// The table that it wrote.
    pub written: Option<Written>,
    /// Why it failed.
    pub error: Option<Error>,
    /// The engine in words, since a Spark-compatible engine is not Spark: `Sail 0.7.2`.
    pub engine: String,
}

/// What a session is doing, in words for its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionPhase {
    /// Being opened.
    Opening,
    /// Free for the next statement of its owner.
    Free,
    /// Runs a statement.
    Busy,
    /// Being deleted.
    Closing,
    /// Gone because its owner closed it.
    Closed,
    /// Gone; the reason says why.
    Lost,
}

/// A session as its owner may see it.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Our id.
    pub id: SessionId,
    /// Its name; unnamed sessions have none.
    pub name: Option<SessionName>,
    /// On which target.
    pub target: TargetName,
    /// What it is doing.
    pub phase: SessionPhase,
    /// Since its open.
    pub opened_for: Duration,
    /// Since its last statement's end.
    pub idle_for: Duration,
    /// How much of its life costs money: all of it on platforms that charge, nothing elsewhere.
    pub cost_for: Duration,
    /// Statements it has run.
    pub statements: u64,
    /// Why it is gone.
    pub reason: Option<String>,
}
