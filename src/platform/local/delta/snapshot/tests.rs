//! Logs as the engine (Sail 0.7.2) and `deltalake` 1.6.6 wrote them, in `tests/cases/delta`, and logs that are cut,
//! torn or newer than what is known here.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use rstest::rstest;
use serde_json::json;

use super::super::{commit_of, history};
use super::*;

fn recorded(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases/delta")
        .join(name)
}

/// A copy of a recorded log, to be changed.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("_delta_log");
    fs::create_dir(&log).unwrap();
    for entry in fs::read_dir(recorded(name).join("_delta_log")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), log.join(entry.file_name())).unwrap();
    }
    folder
}

fn remove(folder: &tempfile::TempDir, file: &str) {
    fs::remove_file(folder.path().join("_delta_log").join(file)).unwrap();
}

fn write(folder: &tempfile::TempDir, file: &str, actions: &[Value]) {
    let log = folder.path().join("_delta_log");
    fs::create_dir_all(&log).unwrap();
    let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
    fs::write(log.join(file), lines.join("\n")).unwrap();
}

fn start() -> [Value; 2] {
    let schema = json!({"type": "struct", "fields": [
        {"name": "a", "type": "long", "nullable": true, "metadata": {}}
    ]});
    [
        json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}),
        json!({"metaData": {"id": "x", "format": {"provider": "parquet", "options": {}}, "schemaString": schema.to_string(),
            "partitionColumns": [], "configuration": {}}}),
    ]
}

fn add(path: &str, rows: u64) -> Value {
    let stats = json!({"numRecords": rows, "minValues": {"a": 1}}).to_string();
    json!({"add": {"path": path, "partitionValues": {}, "size": 10, "modificationTime": 1, "dataChange": true, "stats": stats}})
}

fn read(folder: &tempfile::TempDir) -> Snapshot {
    snapshot(folder.path()).unwrap().unwrap()
}

fn types(snapshot: &Snapshot) -> Vec<(&str, &str)> {
    let columns = snapshot.columns.iter();
    columns
        .map(|c| (c.name.as_str(), c.data_type.as_str()))
        .collect()
}

#[test]
fn a_table_of_the_engine_is_read_with_its_checkpoints() {
    let folder = copy("engine");
    let whole = read(&folder);
    assert_eq!(whole.version, 25);
    assert_eq!(
        types(&whole),
        [
            ("id", "bigint"),
            ("d", "decimal(10,2)"),
            ("s", "array<struct<a:int>>"),
            ("p", "string"),
        ]
    );
    assert_eq!(whole.partition_by, ["p"]);
    // As `deltalake` counts them.
    assert_eq!(
        (whole.files, whole.bytes, whole.rows),
        (24, 29_280, Some(24))
    );

    // Old commits go; what checkpoint stands for them changes nothing.
    for version in 0..=20 {
        remove(&folder, &format!("{version:020}.json"));
    }
    assert_eq!(read(&folder), whole);
    remove(&folder, "00000000000000000010.checkpoint.parquet");
    assert_eq!(read(&folder), whole);
    // Nor does the hint.
    remove(&folder, "_last_checkpoint");
    assert_eq!(read(&folder), whole);
}

#[test]
fn a_log_without_checkpoints_and_one_with_a_torn_one_read_the_same() {
    let folder = copy("engine");
    let whole = read(&folder);
    let newest = folder
        .path()
        .join("_delta_log/00000000000000000020.checkpoint.parquet");
    fs::write(&newest, b"PAR1 torn").unwrap();
    assert_eq!(read(&folder), whole);
    fs::remove_file(newest).unwrap();
    remove(&folder, "00000000000000000010.checkpoint.parquet");
    assert_eq!(read(&folder), whole);
}

#[test]
fn only_a_checkpoint_is_a_table_too() {
    let folder = copy("engine");
    for version in 0..=25 {
        remove(&folder, &format!("{version:020}.json"));
    }
    assert_eq!(newest_version(folder.path()).unwrap(), Some(20));
    let old = read(&folder);
    assert_eq!((old.version, old.files), (20, 19));
    assert_eq!(history(folder.path(), 10).unwrap(), []);
}

#[test]
fn a_table_of_deltalake_is_read_with_its_comments() {
    let table = snapshot(&recorded("deltalake")).unwrap().unwrap();
    assert_eq!(table.version, 8);
    assert_eq!(
        types(&table),
        [("id", "bigint"), ("p", "string"), ("t", "timestamp_ntz")]
    );
    assert_eq!(
        table.columns.first().unwrap().comment.as_deref(),
        Some("the key")
    );
    assert_eq!(table.comment.as_deref(), Some("rows of a test"));
    assert_eq!(
        (table.files, table.bytes, table.rows),
        (11, 9_735, Some(11))
    );
    assert_eq!(
        table.properties.get("delta.logRetentionDuration"),
        Some(&json!("interval 1 days"))
    );
}

#[test]
fn a_commit_is_found_by_its_mark_behind_a_version() {
    let folder = recorded("engine");
    let found = commit_of(&folder, Some(3), "mark-7").unwrap().unwrap();
    assert_eq!((found.version, found.operation.as_str()), (7, "WRITE"));
    assert_eq!(found.metrics.get("numOutputRows"), Some(&json!(1)));
    assert!(found.timestamp_ms > 1_700_000_000_000);
    assert_eq!(commit_of(&folder, Some(7), "mark-7").unwrap(), None);
    assert_eq!(
        commit_of(&folder, None, "mark-0").unwrap().unwrap().version,
        0
    );
    assert_eq!(commit_of(&folder, None, "no such").unwrap(), None);
    assert_eq!(commit_of(&folder, Some(u64::MAX), "mark-0").unwrap(), None);

    let newest = history(&folder, 11).unwrap();
    let operations: Vec<(u64, &str)> = newest
        .iter()
        .map(|c| (c.version, c.operation.as_str()))
        .collect();
    assert_eq!(operations.first(), Some(&(25, "WRITE")));
    assert_eq!(operations.last(), Some(&(15, "WRITE")));
    assert!(operations.contains(&(16, "DELETE")), "{operations:?}");
}

#[test]
fn a_folder_without_a_log_is_no_table() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    for place in [folder.path(), &gone] {
        assert_eq!(snapshot(place).unwrap(), None);
        assert_eq!(newest_version(place).unwrap(), None);
        assert_eq!(history(place, 1).unwrap(), []);
        assert_eq!(commit_of(place, None, "m").unwrap(), None);
    }
    fs::create_dir_all(folder.path().join("_delta_log/_staged_commits")).unwrap();
    fs::write(
        folder
            .path()
            .join("_delta_log/_staged_commits/00000000000000000000.0e9c.json"),
        "{}",
    )
    .unwrap();
    assert_eq!(snapshot(folder.path()).unwrap(), None);
}

#[test]
fn deletion_vectors_take_their_rows_out() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "00000000000000000000.json", &start());
    write(
        &folder,
        "00000000000000000001.json",
        &[add("f", 100), add("g", 5)],
    );
    assert_eq!(read(&folder).rows, Some(105));
    let vector = json!({"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": 4, "sizeInBytes": 40, "cardinality": 6});
    let mut with = add("f", 100);
    with["add"]["deletionVector"] = vector;
    let old = json!({"remove": {"path": "f", "deletionTimestamp": 1, "dataChange": true}});
    write(&folder, "00000000000000000002.json", &[with, old]);
    let now = read(&folder);
    assert_eq!((now.files, now.rows, now.bytes), (2, Some(99), 20));
}

#[test]
fn a_file_that_nobody_counted_makes_the_count_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let uncounted = json!({"add": {"path": "f", "size": 7, "dataChange": true}});
    let odd = json!({"add": {"path": "g", "size": 7, "stats": "{\"minValues\":{\"a\":NaN}}"}});
    let mut all = start().to_vec();
    all.extend([uncounted, odd, add("h", 1)]);
    write(&folder, "00000000000000000000.json", &all);
    let table = read(&folder);
    assert_eq!((table.files, table.bytes, table.rows), (3, 24, None));
}

#[rstest]
#[case::parts(
    "00000000000000000003.checkpoint.0000000001.0000000002.parquet",
    "in several parts"
)]
#[case::v2(
    "00000000000000000003.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json",
    "of the V2 kind"
)]
fn a_checkpoint_of_another_shape_is_said_and_never_counted(
    #[case] file: &str,
    #[case] shape: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "00000000000000000000.json", &start());
    write(&folder, file, &[]);
    write(&folder, "00000000000000000004.json", &[add("f", 1)]);
    let error = snapshot(folder.path()).unwrap_err();
    assert_eq!(error.code(), Code::StatementFailed);
    assert!(error.message().contains(shape), "{}", error.message());
    // With all commits there it is not needed.
    for version in 1..=3 {
        write(
            &folder,
            &format!("{version:020}.json"),
            &[add(&version.to_string(), 1)],
        );
    }
    assert_eq!(read(&folder).rows, Some(4));
}

#[test]
fn a_checkpoint_that_points_at_sidecars_is_no_table() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("_delta_log");
    fs::create_dir_all(&log).unwrap();
    let path: ArrayRef = Arc::new(StringArray::from(vec!["0.parquet"]));
    let size: ArrayRef = Arc::new(Int64Array::from(vec![5]));
    let sidecar = StructArray::from(vec![
        (Arc::new(Field::new("path", DataType::Utf8, true)), path),
        (
            Arc::new(Field::new("sizeInBytes", DataType::Int64, true)),
            size,
        ),
    ]);
    let schema = Schema::new(vec![Field::new(
        "sidecar",
        sidecar.data_type().clone(),
        true,
    )]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(sidecar)]).unwrap();
    let file = fs::File::create(log.join("00000000000000000007.checkpoint.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let error = snapshot(folder.path()).unwrap_err();
    assert!(error.message().contains("V2"), "{}", error.message());
}

#[rstest]
#[case::version(json!({"minReaderVersion": 4, "minWriterVersion": 7}), "reader version 4")]
#[case::feature(
    json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors", "tomorrow"]}),
    "the reader features tomorrow"
)]
fn what_a_reader_must_know_and_we_do_not_is_said(#[case] protocol: Value, #[case] asks: &str) {
    let folder = tempfile::tempdir().unwrap();
    let [_, metadata] = start();
    write(
        &folder,
        "00000000000000000000.json",
        &[json!({"protocol": protocol}), metadata],
    );
    let error = snapshot(folder.path()).unwrap_err();
    assert_eq!(error.code(), Code::Unsupported);
    assert!(error.message().contains(asks), "{}", error.message());
}

#[rstest]
#[case::gap(&[0, 2], "commit 1 is not there")]
#[case::no_start(&[1, 2], "commit 0 is not there")]
fn a_log_with_a_hole_is_an_error(#[case] versions: &[u64], #[case] why: &str) {
    let folder = tempfile::tempdir().unwrap();
    for version in versions {
        write(&folder, &format!("{version:020}.json"), &start());
    }
    let error = snapshot(folder.path()).unwrap_err();
    assert_eq!(error.code(), Code::StatementFailed);
    assert!(error.message().contains(why), "{}", error.message());
}

#[rstest]
#[case::torn("{\"add\":{\"path\":", "commit 0")]
#[case::empty("", "no protocol")]
#[case::schema(
    "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":2}}\n{\"metaData\":{\"id\":\"x\",\"schemaString\":\"\\\"long\\\"\",\"partitionColumns\":[]}}",
    "no struct"
)]
fn a_torn_log_is_an_error(#[case] text: &str, #[case] why: &str) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("_delta_log");
    fs::create_dir_all(&log).unwrap();
    fs::write(log.join("00000000000000000000.json"), text).unwrap();
    let error = snapshot(folder.path()).unwrap_err();
    assert!(error.message().contains(why), "{}", error.message());
}
