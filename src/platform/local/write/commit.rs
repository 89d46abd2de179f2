//! The commit that a write made, found in the table's log by its mark.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::model::{Code, Error, Result};

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
    blocking(move || Ok(versions(&location)?.into_iter().max())).await
}

/// The commit after version `after` that carries `mark`: as its user metadata, or, since the engine keeps none of a
/// merge, in its condition.
///
/// # Errors
/// As [`newest`].
pub(super) async fn of(location: &Path, after: Option<u64>, mark: &str) -> Result<Option<Commit>> {
    let (location, mark) = (location.to_owned(), mark.to_owned());
    blocking(move || {
        let mut versions = versions(&location)?;
        versions.retain(|version| after.is_none_or(|after| *version > after));
        versions.sort_unstable();
        for version in versions {
            let file = log(&location).join(format!("{version:020}.json"));
            let text = fs::read_to_string(&file).map_err(unread)?;
            if let Some(rows) = text.lines().find_map(|line| marked(line, &mark)) {
                return Ok(Some(Commit { version, rows }));
            }
        }
        Ok(None)
    })
    .await
}

/// The rows of a commit's line, if the mark is in it.
fn marked(line: &str, mark: &str) -> Option<u64> {
    if !line.contains(mark) {
        return None;
    }
    let action: Value = serde_json::from_str(line).ok()?;
    let info = action.get("commitInfo")?;
    let metric = |name: &str| {
        let value = info.get("operationMetrics")?.get(name)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    };
    let own = info.get("userMetadata").and_then(Value::as_str) == Some(mark);
    let condition = info.pointer("/operationParameters/mergePredicate");
    if own {
        Some(metric("numOutputRows").unwrap_or(0))
    } else if condition?.as_str()?.contains(mark) {
        let added = metric("numTargetRowsInserted").unwrap_or(0);
        Some(added + metric("numTargetRowsUpdated").unwrap_or(0))
    } else {
        None
    }
}

fn log(location: &Path) -> PathBuf {
    location.join("_delta_log")
}

fn versions(location: &Path) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(log(location)).map_err(unread)? {
        let name = entry.map_err(unread)?.file_name();
        let name = name.to_string_lossy();
        if let Some(digits) = name.strip_suffix(".json")
            && digits.len() == 20
        {
            found.extend(digits.parse::<u64>().ok());
        }
    }
    Ok(found)
}

fn unread(e: std::io::Error) -> Error {
    Error::new(
        Code::StatementFailed,
        format!("the table's log cannot be read: {e}"),
    )
    .hint("Check the table with query_sql; whether the write was done is not known.")
    .source_error(e)
}

/// The disk's work, off the threads that wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Error::internal("a task on the disk panicked")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_commit_is_known_by_its_mark() {
        let write = json!({"commitInfo": {"userMetadata": "st_1", "operationMetrics": {"numOutputRows": 3}}});
        assert_eq!(marked(&write.to_string(), "st_1"), Some(3));
        assert_eq!(marked(&write.to_string(), "st_2"), None);
        let merge = json!({"commitInfo": {
            "operationParameters": {"mergePredicate": "t . k = st_1 . k"},
            "operationMetrics": {"numTargetRowsInserted": 2, "numTargetRowsUpdated": "5"},
        }});
        assert_eq!(marked(&merge.to_string(), "st_1"), Some(7));
        assert_eq!(
            marked(&json!({"add": {"path": "st_1"}}).to_string(), "st_1"),
            None
        );
    }
}
