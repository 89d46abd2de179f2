//! A platform is a kind of place where Spark runs. Here: the trait, what a platform can do, and what a session on
//! it is. Each platform's code is in a folder of its own.

pub(crate) mod http;
pub(crate) mod livy;
pub(crate) mod local;
mod names;
mod pattern;
pub(crate) mod remote;
#[cfg(test)]
mod suite;
mod write;

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::model::{
    Event, Progress, Result, SessionId, StatementId, TableName, TablesPage, TablesQuery, Tag,
    WriteMode,
};

/// What differs between platforms, as data: no platform's name appears above this folder.
#[derive(Clone, Debug)]
pub(crate) struct Capability {
    /// Local files can be read as temp views.
    pub local_files: bool,
    /// Bytes of a local file that can travel along as the source of a write; 0 where none has to.
    pub carries: u64,
    /// Sessions cost money while they are open.
    pub costs_money: bool,
    /// The engine in words, for results and `doctor`.
    pub engine: String,
    /// When a statement is looked at, where it has to be; `None` where the platform tells by itself.
    pub poll: Option<Poll>,
    /// How long a session outlives our last sign of life, by the server's own doing; `None` where it has no such limit, or
    /// where nothing outlives us.
    pub backstop: Option<Duration>,
    /// The catalogue can only be asked in a session, by [`Work::Tables`]; otherwise [`Platform::tables`] asks it.
    pub tables_in_session: bool,
}

/// When a statement is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Poll {
    /// The first pause.
    pub first: Duration,
    /// Of a statement's age.
    pub share: f64,
    /// The longest pause.
    pub most: Duration,
}

impl Poll {
    /// The pause before the next look at a statement of this age.
    pub(crate) fn after(self, age: Duration) -> Duration {
        age.mul_f64(self.share).clamp(self.first, self.most)
    }
}

/// Where long work says what it is doing, and an open what it has made, and hears that nobody wants it any more; the
/// receiver may be gone.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    words: watch::Sender<Option<Progress>>,
    books: Option<Arc<dyn Books>>,
    unwanted: CancellationToken,
}

/// Who writes down what an open has made.
#[async_trait]
pub(crate) trait Books: Debug + Send + Sync {
    /// The place's id of the session; durable on return.
    async fn created(&self, id: &str) -> Result<()>;
}

impl Reporter {
    /// A reporter and the place to read its last word.
    pub(crate) fn new() -> (Self, watch::Receiver<Option<Progress>>) {
        let (words, receiver) = watch::channel(None);
        let reporter = Self {
            words,
            books: None,
            unwanted: CancellationToken::new(),
        };
        (reporter, receiver)
    }

    /// What to cancel when nobody wants the work any more.
    pub(crate) fn unwanted(&self) -> &CancellationToken {
        &self.unwanted
    }

    /// The same place to speak at, with somebody who writes down.
    pub(crate) fn with_books(&self, books: Arc<dyn Books>) -> Self {
        Self {
            words: self.words.clone(),
            books: Some(books),
            unwanted: self.unwanted.clone(),
        }
    }

    /// Replaces the last word.
    pub(crate) fn say(&self, progress: Progress) {
        self.words.send_replace(Some(progress));
    }

    /// Says what the place calls the session; called as soon as that is known, before anything waits for it.
    ///
    /// # Errors
    /// The session is not ours to use: the open must fail.
    pub(crate) async fn created(&self, id: &str) -> Result<()> {
        match &self.books {
            Some(books) => books.created(id).await,
            None => Ok(()),
        }
    }
}

/// A session of a platform, as the platform needs it to find it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteSession {
    /// Our id.
    pub id: SessionId,
    /// Our name for it, chosen before the create.
    pub tag: Tag,
}

/// What a statement runs.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// One SQL statement.
    Sql {
        /// Its text.
        text: String,
        /// Bound values, by name (`:name`) or by place (`?`).
        params: Params,
        /// Local files to see as temp views, by view name; already checked and resolved.
        files: BTreeMap<String, PathBuf>,
        /// Views of `files` stay for the session's next statement; otherwise they go with this one.
        keep_views: bool,
        /// It only reads, so that one round trip and a row limit are allowed.
        reads: bool,
    },
    /// Python.
    Python {
        /// Its text.
        code: String,
        /// Variables are kept for the session's next statement; otherwise it starts in a fresh namespace.
        keep_namespace: bool,
    },
    /// A table is written.
    Write(Box<Write>),
    /// A page of the catalogue's tables is read, where that takes a session; see [`Capability::tables_in_session`].
    Tables {
        /// Which tables.
        query: TablesQuery,
        /// The session's temp views too.
        views: bool,
    },
}

/// A table to write; its parts are checked as far as they can be without a session.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// Which table.
    pub table: TableName,
    /// What becomes of rows that are there.
    pub mode: WriteMode,
    /// Where the rows come from.
    pub source: Source,
    /// The columns as a DDL string, `id bigint, price decimal(10,2)`; `None`: as the source has them.
    pub schema: Option<String>,
    /// For a merge: the columns whose values name a row. Empty otherwise.
    pub keys: Vec<String>,
    /// The columns that a new table is partitioned by; for one that is there, they must be its own.
    pub partition_by: Vec<String>,
}

/// Where the rows of a write come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A query; it only reads.
    Sql(String),
    /// Rows that came with the call: names of columns, and rows as long as these.
    Rows {
        /// In order, each once.
        columns: Vec<String>,
        /// JSON values.
        rows: Vec<Vec<Value>>,
    },
    /// A local file, checked and resolved: CSV with header, JSON lines or Parquet by its ending.
    File(PathBuf),
    /// A variable of the named session: a Spark or a pandas frame.
    Variable(String),
}

/// Bound values of an SQL statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Params {
    /// None.
    #[default]
    None,
    /// `:name`.
    Named(BTreeMap<String, Value>),
    /// `?`.
    Positional(Vec<Value>),
}

/// A statement, as a platform gets it.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    /// Its id; also what a cancel names.
    pub id: StatementId,
    /// What to run.
    pub work: Work,
    /// Rows to keep at most; a platform sends no more, and says `truncated` if there were.
    pub max_rows: u64,
    /// Bytes of rows (as JSON) to keep at most.
    pub max_bytes: u64,
}

/// A kind of place where Spark runs.
#[async_trait]
pub(crate) trait Platform: Debug + Display + Send + Sync {
    /// What it can do. Never changes.
    fn capability(&self) -> &Capability;

    /// Opens a session under our tag and returns once statements can be sent.
    ///
    /// Called by the lease actor's own task, once per tag; a second call with a live tag is an error. When
    /// [`Reporter::unwanted`] is cancelled nobody wants the session any more: the open may then end early with any error.
    /// A close follows every open that has failed, but for one reason:
    ///
    /// # Errors
    /// `sessions_exhausted`: other processes have all sessions that are allowed, and nothing was made. There is no close
    /// then, and the same session may be opened later. Else `engine_unavailable`, `capacity_unavailable`,
    /// `spec_rejected`, `timeout`, `cancelled`.
    /// # Cancel safety
    /// Not cancel-safe for platforms that create something remote; never dropped by our own code.
    async fn open(&self, session: &RemoteSession, report: &Reporter) -> Result<()>;

    /// Why the session cannot be used any more, as far as is known without asking anybody.
    ///
    /// Called by the statement's own task before it uses a session that was idle; any number of times.
    fn lost(&self, session: &RemoteSession) -> Option<String>;

    /// Deletes a session, whatever it is doing, and returns once it is proved to be gone. Gone already is `Ok`.
    ///
    /// Called by the lease actor's own task; twice is safe.
    async fn close(&self, session: &RemoteSession) -> Result<()>;

    /// Runs a statement. The stream ends with one [`Event::End`]; nothing of it that matters to the next one goes on
    /// then.
    ///
    /// Called by the statement's own task, one statement at a time for a session. Dropping the stream does not
    /// cancel: [`Platform::cancel`] does.
    fn run(&self, session: &RemoteSession, statement: Statement) -> BoxStream<'static, Event>;

    /// Ends the running statement: asks first, then takes the session away. Returns at once; the end shows in the
    /// statement's stream, within [`CANCEL_BOUND`].
    ///
    /// Called by the statement's own task; twice is safe, and so is a statement that has ended.
    async fn cancel(&self, session: &RemoteSession, statement: &StatementId);

    /// A page of the tables that the target's catalogue knows, and of the temp views of `session` where one is given.
    ///
    /// Called by a tool call, which may go away, and only where [`Capability::tables_in_session`] is not set: reads
    /// only.
    ///
    /// # Errors
    /// `platform_unavailable`, `unsupported`.
    /// # Cancel safety
    /// Cancel-safe.
    async fn tables(
        &self,
        session: Option<&RemoteSession>,
        query: &TablesQuery,
    ) -> Result<TablesPage>;

    /// Ends every session and every spare at once; called at the end of the process, after which nothing opens.
    async fn shutdown(&self);
}

/// A cancelled statement's stream ends within this, or the platform is at fault: interrupt, 5 s, kill, and room
/// for a busy machine.
pub(crate) const CANCEL_BOUND: Duration = Duration::from_secs(20);
