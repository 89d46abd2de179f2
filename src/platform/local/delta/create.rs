//! Version 0 of a Delta table: a schema and no rows.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use uuid::Uuid;

use super::schema::has_type;
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
    let log = location.join("_delta_log");
    put(&log, &version_0(table)).map_err(|e| {
        if e.kind() == io::ErrorKind::AlreadyExists {
            return Error::new(
                Code::AlreadyExists,
                format!("there is a Delta table at {}", location.display()),
            )
            .hint("Choose another folder, or append to that table.");
        }
        Error::new(
            Code::StatementFailed,
            format!("a table cannot be made at {}: {e}", location.display()),
        )
        .hint("Choose a folder on this machine that you may write, on a disk with room.")
        .source_error(e)
    })
}

/// A whole file or none, and only if there is none; its name is durable too.
fn put(log: &Path, content: &[u8]) -> io::Result<()> {
    std::fs::create_dir_all(log)?;
    let mut file = tempfile::Builder::new()
        .prefix(".sparklease-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(log)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(log.join("00000000000000000000.json"))
        .map_err(|e| e.error)?;
    // From the log's folder up to one that was there before: a few of them at most.
    for folder in log.ancestors().take(4).filter(|folder| folder.is_dir()) {
        if let Err(e) = File::open(folder).and_then(|folder| folder.sync_all())
            && folder == log
        {
            return Err(e);
        }
    }
    Ok(())
}

fn version_0(table: &NewTable) -> Vec<u8> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or_default()
        });
    let (protocol, metadata) = (protocol(table), metadata(table, now));
    let commit = json!({
        "timestamp": now,
        "operation": "CREATE TABLE",
        "operationParameters": {},
        "isBlindAppend": true,
        "engineInfo": concat!("sparklease/", env!("CARGO_PKG_VERSION")),
    });
    let mut text = Vec::new();
    for (kind, action) in [
        ("commitInfo", commit),
        ("protocol", protocol),
        ("metaData", metadata),
    ] {
        text.extend(json!({ kind: action }).to_string().into_bytes());
        text.push(b'\n');
    }
    text
}

fn metadata(table: &NewTable, now: u64) -> Value {
    let mut metadata = json!({
        "id": Uuid::new_v4().to_string(),
        "format": { "provider": "parquet", "options": {} },
        "schemaString": table.schema.to_string(),
        "partitionColumns": table.partition_by,
        "configuration": table.properties,
        "createdTime": now,
    });
    if let (Some(comment), Some(object)) = (&table.comment, metadata.as_object_mut()) {
        object.insert("description".to_owned(), comment.clone().into());
    }
    metadata
}

/// Reader 1 and writer 2 where that does; features by name where a type or a property asks for one.
fn protocol(table: &NewTable) -> Value {
    let is_set = |key: &str| {
        table
            .properties
            .get(key)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    };
    let mut readers = Vec::new();
    for (data_type, feature) in [
        ("timestamp_ntz", "timestampNtz"),
        ("variant", "variantType"),
    ] {
        if has_type(&table.schema, data_type) {
            readers.push(feature);
        }
    }
    if is_set("delta.enableDeletionVectors") {
        readers.push("deletionVectors");
    }
    let mut writers = readers.clone();
    if is_set("delta.enableChangeDataFeed") {
        writers.push("changeDataFeed");
    }
    if writers.is_empty() {
        return json!({ "minReaderVersion": 1, "minWriterVersion": 2 });
    }
    // What writer 2 implies must be named from 7 on.
    writers.extend(["appendOnly", "invariants"]);
    if readers.is_empty() {
        return json!({ "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": writers });
    }
    json!({
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": readers,
        "writerFeatures": writers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(data_type: &str) -> NewTable {
        NewTable {
            schema: json!({"type": "struct", "fields": [
                {"name": "a", "type": data_type, "nullable": true, "metadata": {}}]}),
            partition_by: vec!["a".to_owned()],
            comment: Some("why".to_owned()),
            properties: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        }
    }

    fn actions(location: &Path) -> Vec<Value> {
        std::fs::read_to_string(location.join("_delta_log/00000000000000000000.json"))
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_plain_table_needs_the_lowest_protocol() {
        let folder = tempfile::tempdir().unwrap();
        let location = folder.path().join("new/table");
        create(&location, &table("long")).unwrap();
        let actions = actions(&location);
        assert_eq!(
            actions[1]["protocol"],
            json!({"minReaderVersion": 1, "minWriterVersion": 2})
        );
        let metadata = &actions[2]["metaData"];
        assert_eq!(metadata["partitionColumns"], json!(["a"]));
        assert_eq!(metadata["configuration"], json!({"k": "v"}));
        assert_eq!(metadata["description"], "why");
        let schema: Value =
            serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
        assert_eq!(schema, table("long").schema);
    }

    #[test]
    fn a_time_without_a_zone_asks_for_its_feature() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path(), &table("timestamp_ntz")).unwrap();
        assert_eq!(
            actions(folder.path())[1]["protocol"],
            json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["timestampNtz"],
                "writerFeatures": ["timestampNtz", "appendOnly", "invariants"]})
        );
    }

    #[test]
    fn a_table_that_is_there_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path(), &table("long")).unwrap();
        let before = actions(folder.path());
        let again = create(folder.path(), &table("string")).unwrap_err();
        assert_eq!(again.code(), Code::AlreadyExists);
        assert_eq!(actions(folder.path()), before);
        let files = std::fs::read_dir(folder.path().join("_delta_log")).unwrap();
        assert_eq!(files.count(), 1);
    }
}
