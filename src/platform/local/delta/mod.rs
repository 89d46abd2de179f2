//! What we read and write of a Delta table's log ourselves. Rows are the engine's business.
//!
//! All functions block on the disk: call them from `spawn_blocking`, or the metastore's own thread.

mod change;
mod create;
mod history;
mod log;
pub(crate) mod schema;
mod snapshot;

use serde_json::{Map, Value};

pub(crate) use self::change::{Description, Prepared, TRIES, change, outrun, prepare};
pub(crate) use self::create::{NewTable, create};
pub(crate) use self::history::{commit_of, history};
pub(crate) use self::log::strayed;
pub(crate) use self::snapshot::{newest_version, snapshot};
use crate::model::TableColumn;

/// A table as its newest version has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// The newest version.
    pub version: u64,
    /// In order, partition columns included.
    pub columns: Vec<TableColumn>,
    /// The schema as the log has it: Spark's JSON of a struct.
    pub schema: Value,
    /// What its maker said of it.
    pub comment: Option<String>,
    /// The columns it is partitioned by.
    pub partition_by: Vec<String>,
    /// Rows, where every file says how many it has.
    pub rows: Option<u64>,
    /// Bytes of its files.
    pub bytes: u64,
    /// How many files.
    pub files: u64,
    /// `delta.…` and others.
    pub properties: Map<String, Value>,
}

/// One commit, as its `commitInfo` tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Commit {
    /// Which version it made.
    pub version: u64,
    /// Milliseconds since 1970, by the writer's clock.
    pub timestamp_ms: i64,
    /// `WRITE`, `MERGE`, …
    pub operation: String,
    /// As the writer said.
    pub parameters: Map<String, Value>,
    /// As the writer said: `numOutputRows` and others.
    pub metrics: Map<String, Value>,
    /// What whoever wrote asked to be kept with the commit.
    pub user_metadata: Option<String>,
}
