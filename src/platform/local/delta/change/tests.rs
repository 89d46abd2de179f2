//! Commits of our own on tables of several makers.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::{newest_version, snapshot};
use super::*;

fn table(protocol: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("_delta_log");
    std::fs::create_dir(&log).unwrap();
    let schema = json!({"type": "struct", "fields": [
        {"name": "a", "type": "long", "nullable": true, "metadata": {}},
    ]});
    let lines = [
        json!({"protocol": protocol}),
        json!({"metaData": {"id": "x-y", "format": {"provider": "parquet", "options": {}},
            "schemaString": schema.to_string(), "partitionColumns": [], "configuration": {"k": "v"},
            "createdTime": 5}}),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(log.join("00000000000000000000.json"), text).unwrap();
    folder
}

fn plain() -> Value {
    json!({"minReaderVersion": 1, "minWriterVersion": 2})
}

fn say(comment: &str) -> impl FnMut(&mut Description) -> Result<()> {
    move |table| {
        table.comment = Some(comment.to_owned());
        Ok(())
    }
}

#[test]
fn a_change_is_a_version_that_keeps_what_it_did_not_touch() {
    let folder = table(&plain());
    let version = change(folder.path(), "SET TBLPROPERTIES", |table| {
        table.properties.insert("x".to_owned(), "y".to_owned());
        Ok(())
    });
    assert_eq!(version.unwrap(), Some(1));
    assert_eq!(change(folder.path(), "C", say("it")).unwrap(), Some(2));
    let now = snapshot(folder.path()).unwrap().unwrap();
    assert_eq!(now.comment.as_deref(), Some("it"));
    assert_eq!(Value::from(now.properties), json!({"k": "v", "x": "y"}));
    let text = std::fs::read_to_string(folder.path().join("_delta_log/00000000000000000002.json"));
    let text = text.unwrap();
    assert!(
        text.contains("\"id\":\"x-y\"") && text.contains("\"createdTime\":5"),
        "{text}"
    );
}

#[test]
fn a_change_of_nothing_makes_no_version() {
    let folder = table(&plain());
    assert_eq!(change(folder.path(), "C", |_| Ok(())).unwrap(), None);
    assert_eq!(newest_version(folder.path()).unwrap(), Some(0));
}

#[test]
fn writers_at_once_lose_nothing() {
    let folder = Arc::new(table(&plain()));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let folder = folder.clone();
            std::thread::spawn(move || {
                for n in 0..5 {
                    change(folder.path(), "C", |table| {
                        table
                            .properties
                            .insert(format!("{writer}.{n}"), "1".to_owned());
                        Ok(())
                    })
                    .unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let now = snapshot(folder.path()).unwrap().unwrap();
    assert_eq!((now.version, now.properties.len()), (20, 21));
    let left = std::fs::read_dir(folder.path().join("_delta_log")).unwrap();
    assert_eq!(left.count(), 21, "no temporary file stays");
}

#[test]
fn the_first_timestamp_ntz_column_raises_the_protocol() {
    let folder = table(&plain());
    change(folder.path(), "ADD COLUMNS", |table| {
        table.schema["fields"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "t", "type": "timestamp_ntz", "nullable": true, "metadata": {}}));
        Ok(())
    })
    .unwrap();
    let listing = Listing::of(folder.path()).unwrap().unwrap();
    let found = Found::read(&listing, 1).unwrap();
    assert_eq!(
        found.protocol.unwrap(),
        json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["timestampNtz"],
            "writerFeatures": ["timestampNtz", "appendOnly", "invariants"]})
    );
}

#[test]
fn a_table_of_unknown_features_is_left_alone() {
    let features = json!({"minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": ["catalogManaged"], "writerFeatures": ["catalogManaged", "inCommitTimestamp"]});
    let folder = table(&features);
    let error = change(folder.path(), "C", say("it")).unwrap_err();
    assert_eq!(error.code(), Code::Unsupported);
    assert!(error.message().contains("catalogManaged"), "{error}");
    assert_eq!(newest_version(folder.path()).unwrap(), Some(0));
}

#[test]
fn what_only_a_checkpoint_holds_is_found() {
    let made = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/delta/engine");
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("_delta_log");
    std::fs::create_dir(&log).unwrap();
    for entry in std::fs::read_dir(made.join("_delta_log")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        // As after a clean-up: nothing before the newest checkpoint.
        if name.starts_with('_') || name.as_str() >= "00000000000000000020" {
            std::fs::copy(entry.path(), log.join(name)).unwrap();
        }
    }
    let before = snapshot(folder.path()).unwrap().unwrap();
    let version = change(folder.path(), "C", say("it")).unwrap();
    let after = snapshot(folder.path()).unwrap().unwrap();
    assert_eq!(version, Some(before.version + 1));
    assert_eq!(after.comment.as_deref(), Some("it"));
    assert_eq!(
        (after.schema, after.partition_by, after.rows, after.files),
        (
            before.schema,
            before.partition_by,
            before.rows,
            before.files
        )
    );
}
