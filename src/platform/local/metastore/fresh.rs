//! What the catalogue knows of a Delta table's log, and noticing that the log has moved on. The log is the truth; what
//! the file has is a copy of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::records::{Commit, Record};
use crate::model::{Code, Error, Result};
use crate::platform::local::delta;

/// What the newest metadata of a log says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Newest {
    pub(super) version: u64,
    pub(super) schema: Value,
    pub(super) partition_by: Vec<String>,
    pub(super) comment: Option<String>,
}

/// The table as its log has it now; `None` if what is known is the newest, or the log cannot be read.
///
/// Costs one look at one file name where nothing has moved.
pub(super) fn moved(table: &Record) -> Option<Record> {
    if table.format != "delta" {
        return None;
    }
    if let Some(version) = table.version
        && !commit_file(&table.path, version.saturating_add(1)).exists()
        && commit_file(&table.path, version).exists()
    {
        return None;
    }
    let newest = newest(&table.path).ok()??;
    (Some(newest.version) != table.version).then(|| Record {
        version: Some(newest.version),
        schema: newest.schema,
        partition_by: newest.partition_by,
        comment: newest.comment,
        ..table.clone()
    })
}

/// The newest metadata of the log at `location`; `None` where there is no log.
///
/// # Errors
/// `statement_failed` for a log that cannot be read.
pub(super) fn newest(location: &Path) -> Result<Option<Newest>> {
    match of_commits(location) {
        Ok(Some(newest)) => Ok(Some(newest)),
        // Commits that were cleaned away are in a checkpoint, which takes longer to read.
        Ok(None) | Err(_) => {
            let snapshot = delta::snapshot(location)?;
            Ok(snapshot.map(|snapshot| Newest {
                version: snapshot.version,
                schema: snapshot.schema,
                partition_by: snapshot.partition_by,
                comment: snapshot.comment,
            }))
        }
    }
}

/// The same by the commits alone, which is quick.
fn of_commits(location: &Path) -> Result<Option<Newest>> {
    let unreadable = |e: &dyn std::fmt::Display| {
        Error::new(
            Code::StatementFailed,
            format!(
                "the Delta log at {} cannot be read: {e}",
                location.display()
            ),
        )
        .hint("Check that the folder holds a whole Delta table.")
    };
    let entries = match fs::read_dir(location.join("_delta_log")) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(&e)),
    };
    let mut versions: Vec<u64> = entries
        .flatten()
        .filter_map(|entry| version_of(&entry.file_name().to_string_lossy()))
        .collect();
    versions.sort_unstable();
    let Some(&version) = versions.last() else {
        return Ok(None);
    };
    for &at in versions.iter().rev() {
        let text = fs::read_to_string(commit_file(location, at)).map_err(|e| unreadable(&e))?;
        // A commit may have an action for each of thousands of files: only a line that may be it is parsed.
        let metadata = text
            .lines()
            .filter(|line| line.contains("\"metaData\""))
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find_map(|action| action.get("metaData").cloned());
        if let Some(metadata) = metadata {
            let schema = metadata
                .get("schemaString")
                .and_then(Value::as_str)
                .and_then(|schema| serde_json::from_str(schema).ok())
                .ok_or_else(|| unreadable(&"it has no schema"))?;
            let partition_by = metadata.get("partitionColumns").and_then(Value::as_array);
            return Ok(Some(Newest {
                version,
                schema,
                partition_by: partition_by
                    .into_iter()
                    .flatten()
                    .filter_map(|name| name.as_str().map(str::to_owned))
                    .collect(),
                comment: metadata
                    .get("description")
                    .and_then(Value::as_str)
                    .filter(|comment| !comment.is_empty())
                    .map(str::to_owned),
            }));
        }
    }
    Err(unreadable(&"no commit that is left has its schema"))
}

/// Puts commits that the catalogue has taken, the newest first, into the log, where every reader finds them. The engine
/// does the same; who comes second changes nothing.
///
/// # Errors
/// What the file system says.
pub(super) fn publish(location: &Path, newest: &[Commit]) -> io::Result<()> {
    let is_there = |commit: &&Commit| {
        u64::try_from(commit.version).is_ok_and(|version| commit_file(location, version).exists())
    };
    let missing: Vec<&Commit> = newest
        .iter()
        .take_while(|commit| !is_there(commit))
        .collect();
    // The oldest first: a log has no holes.
    missing
        .into_iter()
        .rev()
        .try_for_each(|commit| publish_commit(location, commit))
}

fn publish_commit(location: &Path, commit: &Commit) -> io::Result<()> {
    let Ok(version) = u64::try_from(commit.version) else {
        return Ok(());
    };
    let target = commit_file(location, version);
    if target.exists() {
        return Ok(());
    }
    let name = Path::new(&commit.file_name)
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?;
    let log = location.join("_delta_log");
    let staged = log.join("_staged_commits").join(name);
    fs::File::open(&staged)?.sync_all()?;
    match fs::hard_link(&staged, &target) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    fs::File::open(&log)?.sync_all()
}

fn commit_file(location: &Path, version: u64) -> PathBuf {
    location
        .join("_delta_log")
        .join(format!("{version:020}.json"))
}

fn version_of(file: &str) -> Option<u64> {
    let digits = file.strip_suffix(".json")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_whose_first_commits_were_cleaned_away_is_read_by_its_checkpoint() {
        let recorded =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/delta/engine/_delta_log");
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("_delta_log");
        fs::create_dir(&log).unwrap();
        for entry in fs::read_dir(recorded).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), log.join(entry.file_name())).unwrap();
        }
        let whole = newest(folder.path()).unwrap().unwrap();
        let clean = |versions: std::ops::RangeInclusive<u64>| {
            for version in versions {
                fs::remove_file(commit_file(folder.path(), version)).unwrap();
            }
        };
        clean(0..=19);
        assert_eq!(newest(folder.path()).unwrap().unwrap(), whole);
        // Nothing but the checkpoint of version 20.
        clean(20..=25);
        let newest = newest(folder.path()).unwrap().unwrap();
        assert_eq!(newest.version, 20);
    }
}
