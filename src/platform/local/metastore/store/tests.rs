//! Two stores on one file are two processes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::model::TableName;
use crate::platform::local::metastore::records::{self, Commit, Record};

fn record(name: &str) -> Record {
    Record {
        id: format!("id-{name}"),
        name: TableName::new("default", name),
        format: "delta".to_owned(),
        uri: format!("/x/{name}"),
        path: PathBuf::from(format!("/x/{name}")),
        owned: true,
        catalog_managed: true,
        comment: None,
        schema: json!({"type": "struct", "fields": []}),
        partition_by: Vec::new(),
        properties: BTreeMap::new(),
        version: None,
        created_ms: 1,
    }
}

fn commit(version: i64, file: &str) -> Commit {
    Commit {
        version,
        timestamp: 1,
        file_name: file.to_owned(),
        file_size: 1,
        file_modified: 1,
    }
}

async fn two_stores(file: &Path) -> (Store, Store) {
    let (one, other) = (Store::open(file).unwrap(), Store::open(file).unwrap());
    one.write(|db| {
        records::add_database(db, "default", None, &BTreeMap::new())?;
        records::add_table(db, &record("t"))
    })
    .await
    .unwrap();
    (one, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_goes_to_one_writer_only() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = two_stores(&folder.path().join("db")).await;
    for version in 1..=20 {
        let takes = [&one, &other, &one, &other]
            .into_iter()
            .enumerate()
            .map(|(writer, store)| {
                store.write(move |db| {
                    records::add_commit(db, "id-t", &commit(version, &format!("{writer}.json")))
                })
            });
        let answers = futures::future::join_all(takes).await;
        let won: Vec<usize> = (0..4).filter(|&writer| answers[writer].is_ok()).collect();
        assert_eq!(won.len(), 1, "version {version}");
        for lost in answers.into_iter().filter_map(Result::err) {
            assert_eq!(lost.code(), Code::AlreadyExists);
        }
        let kept = other
            .read(move |db| records::commits(db, "id-t", version, None))
            .await
            .unwrap();
        assert_eq!(kept, [commit(version, &format!("{}.json", won[0]))]);
    }
}

#[tokio::test]
async fn a_version_that_leaves_a_hole_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (one, _) = two_stores(&folder.path().join("db")).await;
    let skipped = one
        .write(|db| records::add_commit(db, "id-t", &commit(2, "x")))
        .await;
    assert_eq!(skipped.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn what_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = two_stores(&folder.path().join("db")).await;
    let failed: Result<()> = one
        .write(|db| {
            records::add_table(db, &record("half"))?;
            records::add_table(db, &record("T"))
        })
        .await;
    assert_eq!(failed.unwrap_err().code(), Code::AlreadyExists);
    let half = other
        .read(|db| records::find_table(db, &TableName::new("default", "half")))
        .await
        .unwrap();
    assert_eq!(half, None);
}

#[tokio::test]
async fn names_are_found_without_regard_to_case_and_shown_as_they_were_made() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = two_stores(&folder.path().join("db")).await;
    one.write(|db| records::add_table(db, &record("Übersicht")))
        .await
        .unwrap();
    let found = other
        .read(|db| records::find_table(db, &TableName::new("DEFAULT", "üBERSICHT")))
        .await
        .unwrap();
    assert_eq!(found.unwrap().name.table, "Übersicht");
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db");
    Connection::open(&file)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let refused = Store::open(&file).unwrap_err();
    assert_eq!(refused.code(), Code::EngineUnavailable);
    assert!(refused.message().contains("newer"));
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (one, _) = two_stores(&folder.path().join("db")).await;
    one.close();
    one.close();
    let closed = one.read(records::databases).await.unwrap_err();
    assert_eq!(closed.code(), Code::PlatformUnavailable);
}

#[test]
fn a_file_that_is_no_database_is_to_be_moved_away() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metastore.db");
    std::fs::write(
        &file,
        "no database, and long enough to be looked at".repeat(100),
    )
    .unwrap();
    let error = Store::open(&file).unwrap_err();
    assert_eq!(error.code(), Code::EngineUnavailable);
    assert!(error.hint_text().contains("Move metastore.db"), "{error}");
}
