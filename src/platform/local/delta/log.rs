//! The files of a Delta log: which versions and checkpoints there are, and the actions that one file holds. What the
//! actions add up to is in `snapshot.rs`.
//!
//! Commits in `_staged_commits` are not read: what the catalogue has accepted is published beside the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::{Code, Error, Result};

/// Rows of a checkpoint that are in memory at once: enough for speed, little enough for files of a million rows.
const CHECKPOINT_ROWS: usize = 8192;

/// What is needed of a checkpoint's columns: a table of many columns has statistics of each, which nobody asks for.
const CHECKPOINT_COLUMNS: [&str; 12] = [
    "add.path",
    "add.size",
    "add.stats",
    "add.stats_parsed.numRecords",
    "add.deletionVector",
    "metaData.id",
    "metaData.description",
    "metaData.schemaString",
    "metaData.partitionColumns",
    "metaData.configuration",
    "protocol",
    "sidecar.path",
];

/// What a `_delta_log` holds, by the names of its files.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) folder: PathBuf,
    /// Versions whose commit is there.
    pub(super) commits: BTreeSet<u64>,
    /// Versions with a checkpoint of one classic file.
    pub(super) checkpoints: BTreeSet<u64>,
    /// Versions with a checkpoint of another shape, and which.
    pub(super) foreign: BTreeMap<u64, &'static str>,
}

impl Listing {
    /// Lists the log of the table at `location`; `None` where there is none, or nothing in it.
    ///
    /// # Errors
    /// `statement_failed` where the folder cannot be listed.
    pub(super) fn of(location: &Path) -> Result<Option<Self>> {
        let folder = location.join("_delta_log");
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(e) => return Err(unreadable(location, &e.to_string()).source_error(e)),
        };
        let mut listing = Self {
            folder,
            ..Self::default()
        };
        for entry in entries {
            let entry = entry.map_err(|e| unreadable(location, &e.to_string()).source_error(e))?;
            if let Some(name) = entry.file_name().to_str() {
                listing.note(name);
            }
        }
        Ok(listing.newest().map(|_| listing))
    }

    fn note(&mut self, name: &str) {
        let Some((version, rest)) = name.split_once('.') else {
            return;
        };
        if version.len() != 20 || !version.bytes().all(|b| b.is_ascii_digit()) {
            return;
        }
        let Ok(version) = version.parse::<u64>() else {
            return;
        };
        let parts: Vec<&str> = rest.split('.').collect();
        match parts.as_slice() {
            ["json"] => {
                self.commits.insert(version);
            }
            ["checkpoint", "parquet"] => {
                self.checkpoints.insert(version);
            }
            ["checkpoint", part, of, "parquet"] if number(part) && number(of) => {
                self.foreign.insert(version, "in several parts");
            }
            ["checkpoint", _, "parquet" | "json"] => {
                self.foreign.insert(version, "of the V2 kind");
            }
            _ => {}
        }
    }

    /// The newest version; `None` where there is none.
    pub(super) fn newest(&self) -> Option<u64> {
        let newest = [
            self.commits.last(),
            self.checkpoints.last(),
            self.foreign.keys().next_back(),
        ];
        newest.into_iter().flatten().max().copied()
    }

    /// The actions of a commit.
    pub(super) fn commit(&self, version: u64) -> std::result::Result<Vec<Action>, ReadError> {
        let bytes = std::fs::read(self.commit_path(version))?;
        actions(&bytes)
    }

    /// What a commit says of itself; empty where it says nothing.
    pub(super) fn info(&self, version: u64) -> std::result::Result<Map<String, Value>, ReadError> {
        for line in BufReader::new(File::open(self.commit_path(version))?).lines() {
            let line = line?;
            // Files can be added by the thousand; only one line is about the commit.
            if line.contains("\"commitInfo\"") {
                let said: Said = serde_json::from_str(&line)?;
                if let Some(info) = said.commit_info {
                    return Ok(info);
                }
            }
        }
        Ok(Map::new())
    }

    /// The actions of a checkpoint of one file, `take` by `take`.
    pub(super) fn checkpoint(
        &self,
        version: u64,
        mut take: impl FnMut(Vec<Action>),
    ) -> std::result::Result<(), ReadError> {
        let path = self
            .folder
            .join(format!("{version:020}.checkpoint.parquet"));
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), CHECKPOINT_COLUMNS);
        let batches = builder
            .with_projection(mask)
            .with_batch_size(CHECKPOINT_ROWS)
            .build()?;
        for batch in batches {
            // The rows read as the lines of a commit do, so that there is one reader of actions.
            let mut lines = arrow_json::LineDelimitedWriter::new(Vec::new());
            lines.write(&batch?)?;
            lines.finish()?;
            take(actions(&lines.into_inner())?);
        }
        Ok(())
    }

    pub(super) fn commit_path(&self, version: u64) -> PathBuf {
        self.folder.join(format!("{version:020}.json"))
    }
}

fn number(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit())
}

fn actions(bytes: &[u8]) -> std::result::Result<Vec<Action>, ReadError> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .map(|line| Ok(serde_json::from_slice(line)?))
        .collect()
}

/// Why one file of a log could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// It went after it was listed: a writer cleans up.
    Gone,
    /// Its bytes are not what they should be.
    Bad(String),
}

impl From<std::io::Error> for ReadError {
    fn from(e: std::io::Error) -> Self {
        match e.kind() {
            ErrorKind::NotFound => Self::Gone,
            _ => Self::Bad(e.to_string()),
        }
    }
}

impl From<serde_json::Error> for ReadError {
    fn from(e: serde_json::Error) -> Self {
        Self::Bad(e.to_string())
    }
}

impl From<arrow_schema::ArrowError> for ReadError {
    fn from(e: arrow_schema::ArrowError) -> Self {
        Self::Bad(e.to_string())
    }
}

impl From<parquet::errors::ParquetError> for ReadError {
    fn from(e: parquet::errors::ParquetError) -> Self {
        Self::Bad(e.to_string())
    }
}

/// The error for a log that cannot be read.
pub(super) fn unreadable(location: &Path, why: &str) -> Error {
    Error::new(
        Code::StatementFailed,
        format!(
            "the Delta log of {} cannot be read: {why}",
            location.display()
        ),
    )
    .hint("Check the table's folder and its _delta_log; query_sql reads the table with the engine's own reader.")
}

/// The error for rows that were written and are not in the table's log.
pub(crate) fn strayed(location: &Path) -> Error {
    Error::new(
        Code::StatementFailed,
        format!(
            "the engine wrote rows that are not in the Delta table {}: it reads the path otherwise",
            location.display()
        ),
    )
    .hint("Set SPARKLEASE_DATA_DIR to a folder of ASCII letters, digits and ._- only; the table is as it was.")
}

/// One line of a commit, one row of a checkpoint: one of its fields is there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Action {
    pub(super) add: Option<Add>,
    pub(super) remove: Option<Remove>,
    pub(super) meta_data: Option<MetaData>,
    pub(super) protocol: Option<Protocol>,
    pub(super) sidecar: Option<serde::de::IgnoredAny>,
}

/// A file that is part of the table from this version on.
#[derive(Debug, Deserialize)]
pub(super) struct Add {
    pub(super) path: String,
    #[serde(default)]
    pub(super) size: u64,
    /// A JSON document as a text.
    stats: Option<String>,
    stats_parsed: Option<Stats>,
    #[serde(rename = "deletionVector")]
    pub(super) deletion_vector: Option<DeletionVector>,
}

impl Add {
    /// Its rows, without those that a deletion vector takes out; `None` where nobody counted.
    pub(super) fn rows(&self) -> Option<u64> {
        let parsed = self.stats_parsed.as_ref().and_then(|s| s.num_records);
        let said = || {
            let stats: Stats = serde_json::from_str(self.stats.as_deref()?).ok()?;
            stats.num_records
        };
        let deleted = self.deletion_vector.as_ref().map_or(0, |v| v.cardinality);
        parsed.or_else(said)?.checked_sub(deleted)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    num_records: Option<u64>,
}

/// A file that is part of the table no more.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    pub(super) path: String,
    pub(super) deletion_vector: Option<DeletionVector>,
}

/// Which rows of a file are deleted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeletionVector {
    storage_type: String,
    path_or_inline_dv: String,
    offset: Option<i64>,
    #[serde(default)]
    cardinality: u64,
}

impl DeletionVector {
    /// What tells it from others of the same file.
    pub(super) fn id(&self) -> String {
        format!(
            "{}{}@{}",
            self.storage_type,
            self.path_or_inline_dv,
            self.offset.unwrap_or(0)
        )
    }
}

/// What a table is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetaData {
    pub(super) description: Option<String>,
    pub(super) schema_string: String,
    #[serde(default)]
    pub(super) partition_columns: Vec<String>,
    pub(super) configuration: Option<Map<String, Value>>,
}

/// What a reader must know.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    pub(super) min_reader_version: u32,
    pub(super) reader_features: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    commit_info: Option<Map<String, Value>>,
}
