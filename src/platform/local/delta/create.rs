//! Version 0 of a Delta table: a schema and no rows.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::model::{Code, Error, Result};

/// A table to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NewTable {
    /// Spark's JSON of a struct: `{"type":"struct","fields":[{"name","type","nullable","metadata"}…]}`.
    pub schema: Value,
    /// The columns it is partitioned by, each one of the schema's.
    pub partition_by: Vec<String>,
    /// What its maker says of it.
    pub comment: Option<String>,
    /// `delta.…` and others.
    pub properties: BTreeMap<String, String>,
}

/// Writes version 0 at `location`, durably, with the lowest protocol that the columns' types allow.
///
/// # Errors
/// `already_exists` where there is a version 0; `statement_failed` when it cannot be written.
pub(crate) fn create(location: &Path, table: &NewTable) -> Result<()> {
    let _ = table;
    Err(Error::new(
        Code::Unsupported,
        format!("{} cannot be made yet", location.display()),
    ))
}
