//! What we read and write of a Delta table's log ourselves. Rows are the engine's business.
//!
//! All functions block on the disk: call them from `spawn_blocking`, or the metastore's own thread.

mod create;
pub(crate) mod schema;

use std::path::Path;

use serde_json::{Map, Value};

pub(crate) use self::create::{NewTable, create};
use crate::model::{Code, Error, Result, TableColumn};

/// A table as its newest version has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// The newest version.
    pub version: u64,
    /// In order, partition columns included.
    pub columns: Vec<TableColumn>,
    /// The schema as the log has it: Spark's JSON of a struct.
    pub schema: Value,
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

/// The table at `location`; `None` where there is no Delta log.
///
/// # Errors
/// `statement_failed` for a log that cannot be read.
pub(crate) fn snapshot(location: &Path) -> Result<Option<Snapshot>> {
    Err(not_yet(location))
}

/// Its newest version only: a listing, no reading.
///
/// # Errors
/// As [`snapshot`].
pub(crate) fn newest_version(location: &Path) -> Result<Option<u64>> {
    Err(not_yet(location))
}

/// The newest commits, the newest first.
///
/// # Errors
/// As [`snapshot`].
pub(crate) fn history(location: &Path, limit: usize) -> Result<Vec<Commit>> {
    let _ = limit;
    Err(not_yet(location))
}

/// The commit after version `after` (from the first one if `None`) that carries `mark` as its user metadata.
///
/// # Errors
/// As [`snapshot`].
pub(crate) fn commit_of(location: &Path, after: Option<u64>, mark: &str) -> Result<Option<Commit>> {
    let _ = (after, mark);
    Err(not_yet(location))
}

fn not_yet(location: &Path) -> Error {
    Error::new(
        Code::Unsupported,
        format!("{} cannot be read yet", location.display()),
    )
}
