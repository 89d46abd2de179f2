//! What the commits of a Delta table say of themselves.

use std::path::Path;

use serde_json::{Map, Value};

use super::Commit;
use super::log::{Listing, ReadError, unreadable};
use crate::model::Result;

/// The newest commits, the newest first. Commits that were cleaned away are not among them.
///
/// # Errors
/// `statement_failed` for a log that cannot be read.
pub(crate) fn history(location: &Path, limit: usize) -> Result<Vec<Commit>> {
    let mut commits = Vec::new();
    if let Some(listing) = Listing::of(location)? {
        for version in listing.commits.iter().rev().take(limit) {
            commits.extend(read(location, &listing, *version)?);
        }
    }
    Ok(commits)
}

/// The commit after version `after` (from the first one if `None`) that carries `mark`: as its user metadata or, since
/// the engine keeps none of a merge, in its condition. The newest, should there be more.
///
/// # Errors
/// As [`history`].
pub(crate) fn commit_of(location: &Path, after: Option<u64>, mark: &str) -> Result<Option<Commit>> {
    let Some(listing) = Listing::of(location)? else {
        return Ok(None);
    };
    let from = after.map_or(0, |version| version.saturating_add(1));
    for version in listing.commits.range(from..).rev() {
        if let Some(commit) = read(location, &listing, *version)?
            && carries(&commit, mark)
        {
            return Ok(Some(commit));
        }
    }
    Ok(None)
}

fn carries(commit: &Commit, mark: &str) -> bool {
    let condition = commit.parameters.get("mergePredicate");
    commit.user_metadata.as_deref() == Some(mark)
        || condition
            .and_then(Value::as_str)
            .is_some_and(|condition| condition.contains(mark))
}

/// `None` where it went after it was listed.
fn read(location: &Path, listing: &Listing, version: u64) -> Result<Option<Commit>> {
    let mut info = match listing.info(version) {
        Ok(info) => info,
        Err(ReadError::Gone) => return Ok(None),
        Err(ReadError::Bad(why)) => {
            return Err(unreadable(location, &format!("commit {version}: {why}")));
        }
    };
    let time = |name: &str| info.get(name).and_then(Value::as_i64);
    let timestamp_ms = time("inCommitTimestamp").or(time("timestamp"));
    let mut text = |name: &str| match info.remove(name)? {
        Value::String(text) => Some(text),
        Value::Null => None,
        other => Some(other.to_string()),
    };
    let user_metadata = text("userMetadata");
    let operation = text("operation").unwrap_or_default();
    let mut map = |name: &str| match info.remove(name) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    Ok(Some(Commit {
        version,
        timestamp_ms: timestamp_ms.unwrap_or_default(),
        operation,
        parameters: map("operationParameters"),
        metrics: map("operationMetrics"),
        user_metadata,
    }))
}
