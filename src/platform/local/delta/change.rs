//! A commit that changes what a Delta table is and none of its rows: columns, comment, properties.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use super::log::{Listing, unreadable};
use crate::model::{Code, Error, Result};

/// Other writers may commit between our reading and our writing. Each try costs milliseconds; a table that is written
/// that often has no room for another writer.
pub(crate) const TRIES: usize = 20;

/// Features that ask nothing of a commit which changes no rows.
const KNOWN_FEATURES: [&str; 16] = [
    "allowColumnDefaults",
    "appendOnly",
    "changeDataFeed",
    "checkConstraints",
    "columnMapping",
    "deletionVectors",
    "domainMetadata",
    "generatedColumns",
    "identityColumns",
    "inCommitTimestamp",
    "invariants",
    "timestampNtz",
    "typeWidening",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "variantType",
];

/// What a table is, apart from its rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Description {
    /// Spark's JSON of a struct.
    pub schema: Value,
    /// What is said of it.
    pub comment: Option<String>,
    /// `delta.…` and others.
    pub properties: BTreeMap<String, String>,
    /// The version that said all of this.
    pub since: u64,
}

/// A commit that nobody has written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// The version it would be.
    pub version: u64,
    /// Its lines.
    pub text: String,
}

/// Changes the description of the table at `location` by a commit of its own, durably, and returns the new version;
/// `None` when `edit` left it as it was. `edit` may be called again when another writer was faster. Not for a table
/// whose commits go through a catalogue.
///
/// # Errors
/// Those of `edit`; `statement_failed` for a log that cannot be read or written; `unsupported` for a table whose
/// features ask for more than is known here.
pub(crate) fn change(
    location: &Path,
    operation: &str,
    mut edit: impl FnMut(&mut Description) -> Result<()>,
) -> Result<Option<u64>> {
    for _ in 0..TRIES {
        let Some(commit) = prepare(location, operation, false, &mut edit)? else {
            return Ok(None);
        };
        match put(location, &commit) {
            Ok(()) => return Ok(Some(commit.version)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(unwritten(location, commit.version, &e).source_error(e)),
        }
    }
    Err(outrun(location))
}

/// The same as far as the commit's text: who commits it may find that another writer was faster, and prepares anew.
///
/// # Errors
/// As [`change`].
pub(crate) fn prepare(
    location: &Path,
    operation: &str,
    managed: bool,
    mut edit: impl FnMut(&mut Description) -> Result<()>,
) -> Result<Option<Prepared>> {
    let Some(listing) = Listing::of(location)? else {
        return Err(unreadable(location, "there is none"));
    };
    let newest = listing.newest().unwrap_or_default();
    let found = Found::read(&listing, newest).map_err(|why| unreadable(location, &why))?;
    found.check(location, managed)?;
    let before = found.description(location)?;
    let mut after = before.clone();
    edit(&mut after)?;
    if after == before {
        return Ok(None);
    }
    let last = listing.info(newest).ok();
    let last = last.and_then(|info| info.get("inCommitTimestamp")?.as_u64());
    Ok(Some(Prepared {
        version: newest + 1,
        text: found.commit(operation, last.unwrap_or_default(), &before, &after)?,
    }))
}

fn unwritten(location: &Path, version: u64, e: &std::io::Error) -> Error {
    Error::new(
        Code::StatementFailed,
        format!(
            "version {version} of the Delta table {} cannot be written: {e}",
            location.display()
        ),
    )
    .hint("Check that the table's folder may be written and its disk has room.")
}

/// Other writers were faster each time.
pub(crate) fn outrun(location: &Path) -> Error {
    Error::new(
        Code::StatementFailed,
        format!(
            "other writers were faster {TRIES} times in a row at the Delta table {}",
            location.display()
        ),
    )
    .hint("Run the statement again when less is written to the table.")
}

/// The newest of each, as the log has it.
#[derive(Default)]
struct Found {
    metadata: Option<Value>,
    /// The version that `metadata` is of; where a checkpoint has it, the checkpoint's.
    since: u64,
    protocol: Option<Value>,
}

impl Found {
    fn read(listing: &Listing, newest: u64) -> std::result::Result<Self, String> {
        let mut found = Self::default();
        for version in (0..=newest).rev() {
            match std::fs::read(listing.commit_path(version)) {
                Ok(bytes) => found.note(version, &bytes)?,
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e.to_string()),
                Err(_) if !listing.checkpoints.contains(&version) => {
                    return Err(format!("commit {version} is not there"));
                }
                Err(_) => {}
            }
            if !found.is_whole() && listing.checkpoints.contains(&version) {
                found.note(version, &checkpoint(listing, version)?)?;
            }
            if found.is_whole() {
                return Ok(found);
            }
        }
        Err("it has no schema".to_owned())
    }

    fn is_whole(&self) -> bool {
        self.metadata.is_some() && self.protocol.is_some()
    }

    /// Lines of actions, older than what was noted before.
    fn note(&mut self, version: u64, bytes: &[u8]) -> std::result::Result<(), String> {
        let (mut metadata, mut protocol) = (None, None);
        for line in bytes.split(|byte| *byte == b'\n') {
            // Files can be added by the thousand: these are not parsed.
            let holds = |name: &[u8]| line.windows(name.len()).any(|at| at == name);
            if !holds(b"\"metaData\"") && !holds(b"\"protocol\"") {
                continue;
            }
            let mut action: Value = serde_json::from_slice(line).map_err(|e| e.to_string())?;
            let mut take = |name: &str| match action.get_mut(name).map(Value::take) {
                Some(value @ Value::Object(_)) => Some(value),
                _ => None,
            };
            metadata = take("metaData").or(metadata);
            protocol = take("protocol").or(protocol);
        }
        if self.metadata.is_none() {
            self.metadata = metadata;
            self.since = version;
        }
        self.protocol = self.protocol.take().or(protocol);
        Ok(())
    }

    fn features(&self) -> Vec<&str> {
        let features = |name: &str| {
            let list = self.protocol.as_ref().and_then(|p| p.get(name)?.as_array());
            list.into_iter().flatten().filter_map(Value::as_str)
        };
        features("writerFeatures")
            .chain(features("readerFeatures"))
            .collect()
    }

    fn writer_version(&self) -> u64 {
        let version = self
            .protocol
            .as_ref()
            .and_then(|p| p.get("minWriterVersion"));
        version.and_then(Value::as_u64).unwrap_or(1)
    }

    fn check(&self, location: &Path, managed: bool) -> Result<()> {
        let mut unknown = self.features();
        unknown.retain(|feature| {
            let known = KNOWN_FEATURES.contains(feature);
            !known && (!managed || *feature != "catalogManaged")
        });
        unknown.dedup();
        if unknown.is_empty() && self.writer_version() <= 7 {
            return Ok(());
        }
        Err(Error::new(
            Code::Unsupported,
            format!(
                "the Delta table {} asks its writers for {}, which is not known here",
                location.display(),
                if unknown.is_empty() {
                    format!("version {}", self.writer_version())
                } else {
                    unknown.join(", ")
                }
            ),
        )
        .hint("Make a plain table of it: CREATE OR REPLACE TABLE t AS SELECT * FROM t."))
    }

    fn description(&self, location: &Path) -> Result<Description> {
        let metadata = self.metadata.as_ref();
        let schema = metadata
            .and_then(|m| serde_json::from_str(m.get("schemaString")?.as_str()?).ok())
            .ok_or_else(|| unreadable(location, "its schema is no JSON"))?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let properties = metadata.and_then(|m| m.get("configuration")?.as_object());
        Ok(Description {
            schema,
            comment: metadata
                .and_then(|m| text(m.get("description")?))
                .filter(|comment| !comment.is_empty()),
            properties: properties
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.clone(), text(value)?)))
                .collect(),
            since: self.since,
        })
    }

    /// The commit's lines.
    fn commit(
        &self,
        operation: &str,
        last: u64,
        before: &Description,
        after: &Description,
    ) -> Result<String> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            });
        let mut info = json!({
            "timestamp": now,
            "operation": operation,
            "operationParameters": {},
            "isBlindAppend": false,
            "engineInfo": concat!("sparklease/", env!("CARGO_PKG_VERSION")),
        });
        let timestamps = before.properties.get("delta.enableInCommitTimestamps");
        if timestamps.is_some_and(|value| value == "true")
            && let Some(info) = info.as_object_mut()
        {
            // Time never stands still in a log, whatever the clock says.
            info.insert(
                "inCommitTimestamp".to_owned(),
                now.max(last.saturating_add(1)).into(),
            );
        }
        let mut metadata = self.metadata.clone().unwrap_or_default();
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("schemaString".to_owned(), after.schema.to_string().into());
            metadata.insert("description".to_owned(), json!(after.comment));
            metadata.insert("configuration".to_owned(), json!(after.properties));
        }
        let mut lines = vec![json!({"commitInfo": info})];
        if after.schema.to_string().contains("\"timestamp_ntz\"")
            && !self.features().contains(&"timestampNtz")
        {
            lines.push(json!({"protocol": self.with_timestamp_ntz()?}));
        }
        lines.push(json!({"metaData": metadata}));
        Ok(lines.iter().map(|line| format!("{line}\n")).collect())
    }

    /// The first column of that type asks readers and writers to know it.
    fn with_timestamp_ntz(&self) -> Result<Value> {
        let mut readers = vec!["timestampNtz"];
        let mut writers = vec!["timestampNtz"];
        match self.writer_version() {
            // What version 2 stands for.
            1 | 2 => writers.extend(["appendOnly", "invariants"]),
            7 => {
                let protocol = self.protocol.as_ref();
                let of = |name: &str| protocol.and_then(|p| p.get(name)?.as_array());
                readers.extend(
                    of("readerFeatures")
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str),
                );
                writers.extend(
                    of("writerFeatures")
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str),
                );
            }
            _ => {
                return Err(Error::new(
                    Code::Unsupported,
                    "a table of this protocol cannot get a timestamp_ntz column here",
                )
                .hint("Use CREATE OR REPLACE TABLE t AS SELECT *, cast(NULL AS timestamp_ntz) AS c FROM t."));
            }
        }
        Ok(json!({
            "minReaderVersion": 3,
            "minWriterVersion": 7,
            "readerFeatures": readers,
            "writerFeatures": writers,
        }))
    }
}

/// The two actions as a checkpoint has them, as lines.
fn checkpoint(listing: &Listing, version: u64) -> std::result::Result<Vec<u8>, String> {
    let path = listing
        .folder
        .join(format!("{version:020}.checkpoint.parquet"));
    let file = File::open(path).map_err(|e| e.to_string())?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| e.to_string())?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["metaData", "protocol"]);
    let batches = builder.with_projection(mask).build();
    let mut lines = arrow_json::LineDelimitedWriter::new(Vec::new());
    for batch in batches.map_err(|e| e.to_string())? {
        let batch = batch.map_err(|e| e.to_string())?;
        lines.write(&batch).map_err(|e| e.to_string())?;
    }
    lines.finish().map_err(|e| e.to_string())?;
    Ok(lines.into_inner())
}

/// Writes a version if nobody has: whole or not at all, and on the disk when this returns.
fn put(location: &Path, commit: &Prepared) -> std::io::Result<()> {
    let log = location.join("_delta_log");
    let mut file = tempfile::Builder::new()
        .prefix(".sparklease-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(&log)?;
    file.write_all(commit.text.as_bytes())?;
    file.as_file().sync_all()?;
    // Fails where a file is.
    file.persist_noclobber(log.join(format!("{:020}.json", commit.version)))
        .map_err(|e| e.error)?;
    File::open(&log)?.sync_all()
}

#[cfg(test)]
mod tests;
