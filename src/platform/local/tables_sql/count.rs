//! How many rows a DELETE, UPDATE or MERGE changed, by the table's own log: the engine counts the rows that it wrote,
//! unchanged neighbours included.

use std::path::PathBuf;

use serde_json::Value;

use super::engine::blocking;
use super::statement::Target;
use super::{Did, Step, Stop, Tables, create, rows};
use crate::model::Result;
use crate::platform::local::delta;
use crate::spark_connect::Relation;

/// More commits than this between the start and the end of one statement are not looked through: which one is ours
/// could not be told anyway.
const COMMITS: usize = 100;

/// A table before its rows change.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    location: PathBuf,
    version: Option<u64>,
}

impl Tables<'_> {
    /// Looks at the table that is about to change; `None` where nothing can be counted by it.
    pub(crate) async fn before(&self, target: &Target) -> Option<Counted> {
        let found = self.find(target).await.ok()?;
        if !found.is_delta() {
            return None;
        }
        let location = found.location;
        let at = location.clone();
        let version = blocking(move || delta::newest_version(&at)).await.ok()?;
        Some(Counted { location, version })
    }
}

impl Tables<'_> {
    /// Takes all rows out of a table.
    pub(super) async fn truncate(&self, target: &Target) -> Step<Did> {
        let found = self.find(target).await?;
        found.check_delta("TRUNCATE TABLE")?;
        let sql = format!("DELETE FROM {}", found.sql_name());
        let relation = Relation::sql_positional(&sql, &[])?.without_place();
        Ok(self.change(relation, target).await?)
    }

    /// Runs a DELETE, UPDATE or MERGE, and says how many rows it changed; NULL where the log does not tell.
    ///
    /// # Errors
    /// The engine's.
    /// # Cancel safety
    /// A dropped future may have changed the rows or not.
    pub(crate) async fn change(&self, relation: Relation, target: &Target) -> Result<Did> {
        let before = self.before(target).await;
        match self.execute(relation.command()).await {
            Ok(_) => {}
            Err(Stop::Cancelled) => return Ok(Did::Cancelled),
            Err(Stop::Failed(error)) => return Err(error),
        }
        let counted = match before {
            Some(before) => before.after().await,
            None => None,
        };
        Ok(counted.unwrap_or_else(|| rows(&[("count", "bigint")], vec![vec![Value::Null]])))
    }
}

impl Counted {
    /// The rows that the statement changed; `None` where the log does not tell, such as when another statement of this
    /// kind ran at once.
    pub(crate) async fn after(self) -> Option<Did> {
        let commits = blocking(move || {
            let commits = delta::history(&self.location, COMMITS)?;
            Ok(commits
                .into_iter()
                .filter(|c| self.version.is_none_or(|before| c.version > before))
                .filter(|c| ["DELETE", "UPDATE", "MERGE"].contains(&c.operation.as_str()))
                .collect::<Vec<_>>())
        })
        .await
        .ok()?;
        let changed = match commits.as_slice() {
            // Nothing to change is no commit.
            [] => Some(0),
            [commit] => {
                let metric = |name: &str| match commit.metrics.get(name)? {
                    Value::String(text) => text.parse().ok(),
                    number => number.as_u64(),
                };
                match commit.operation.as_str() {
                    "DELETE" => metric("numDeletedRows"),
                    "UPDATE" => metric("numUpdatedRows"),
                    _ => [
                        "numTargetRowsInserted",
                        "numTargetRowsUpdated",
                        "numTargetRowsDeleted",
                    ]
                    .into_iter()
                    .map(metric)
                    .sum(),
                }
            }
            _ => None,
        };
        changed.map(|changed| create::count(Some(changed)))
    }
}
