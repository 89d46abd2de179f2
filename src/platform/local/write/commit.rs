//! The commit that a write made, found in the table's log by its mark: how many rows, which version.

use std::path::Path;

use serde_json::{Map, Value};

use crate::model::Result;
use crate::platform::local::delta;
use crate::platform::write::blocking;

/// What our commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// The version that it made.
    pub(super) version: u64,
    /// Rows added, or for a merge added and replaced.
    pub(super) rows: u64,
}

/// The newest version of the table at `location`.
///
/// # Errors
/// `statement_failed` when the log cannot be read.
pub(super) async fn newest(location: &Path) -> Result<Option<u64>> {
    let location = location.to_owned();
    blocking(move || delta::newest_version(&location)).await
}

/// The commit after version `after` that carries `mark`.
///
/// # Errors
/// As [`newest`].
pub(super) async fn of(location: &Path, after: Option<u64>, mark: &str) -> Result<Option<Commit>> {
    let (location, mark) = (location.to_owned(), mark.to_owned());
    let found = blocking(move || delta::commit_of(&location, after, &mark)).await?;
    Ok(found.map(|commit| Commit {
        version: commit.version,
        rows: rows(&commit.operation, &commit.metrics),
    }))
}

/// What the writer counted; some write numbers as text.
fn rows(operation: &str, metrics: &Map<String, Value>) -> u64 {
    let metric = |name: &str| {
        let value = metrics.get(name)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    };
    let names: &[&str] = match operation {
        "MERGE" => &["numTargetRowsInserted", "numTargetRowsUpdated"],
        _ => &["numOutputRows"],
    };
    names.iter().filter_map(|name| metric(name)).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_counts_what_it_added_and_replaced() {
        let metrics = json!({
            "numOutputRows": 9, "numTargetRowsInserted": 2, "numTargetRowsUpdated": "5",
        });
        let metrics = metrics.as_object().unwrap();
        assert_eq!(rows("MERGE", metrics), 7);
        assert_eq!(rows("WRITE", metrics), 9);
    }

    #[tokio::test]
    async fn a_commit_is_known_by_its_mark() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("_delta_log");
        std::fs::create_dir(&log).unwrap();
        let commits = [
            json!({"commitInfo": {"operation": "WRITE", "userMetadata": "st_1", "operationMetrics": {"numOutputRows": 3}}}),
            json!({"commitInfo": {
                "operation": "MERGE",
                "operationParameters": {"mergePredicate": "t . k = st_2 . k"},
                "operationMetrics": {"numTargetRowsInserted": 4},
            }}),
        ];
        for (version, commit) in commits.iter().enumerate() {
            std::fs::write(log.join(format!("{version:020}.json")), commit.to_string()).unwrap();
        }
        let path = folder.path();
        assert_eq!(newest(path).await.unwrap(), Some(1));
        let found = of(path, None, "st_1").await.unwrap();
        assert_eq!(
            found,
            Some(Commit {
                version: 0,
                rows: 3
            })
        );
        let found = of(path, Some(0), "st_2").await.unwrap();
        assert_eq!(
            found,
            Some(Commit {
                version: 1,
                rows: 4
            })
        );
        assert_eq!(of(path, Some(0), "st_1").await.unwrap(), None);
    }
}
