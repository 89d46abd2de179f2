//! The catalogue as the rest of the process has it. A closed and dropped one is a process that died.

use serde_json::json;

use super::*;

fn table(name: &str) -> TableName {
    TableName::new("default", name)
}

fn version_0(folder: &NewFolder, column: &str) {
    let new = delta::NewTable {
        schema: json!({"type": "struct", "fields": [
            {"name": column, "type": "long", "nullable": true, "metadata": {}}]}),
        partition_by: Vec::new(),
        comment: None,
        properties: BTreeMap::new(),
    };
    delta::create(folder.path(), &new).unwrap();
}

async fn publish(metastore: &Metastore, name: &str, column: &str, how: Publish) -> Result<Table> {
    let folder = metastore.new_folder(&table(name)).await?;
    version_0(&folder, column);
    metastore.publish(&table(name), folder, None, how).await
}

async fn die(metastore: Metastore) {
    metastore.close().await;
    drop(metastore);
    // The aborted server lets go of its clone at its next turn.
    tokio::task::yield_now().await;
}

/// Waits, for at most ten seconds, until something holds.
async fn until(holds: impl Fn() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came");
}

#[tokio::test]
async fn tables_are_there_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let first = Metastore::open(data.path()).await.unwrap();
    let made = publish(&first, "Orders", "id", Publish::Create)
        .await
        .unwrap();
    die(first).await;
    let second = Metastore::open(data.path()).await.unwrap();
    let found = second.find(&table("oRDERS")).await.unwrap().unwrap();
    assert_eq!(found, made);
    assert_eq!(found.name.table, "Orders");
    assert_eq!(found.columns[0].name, "id");
    assert!(found.location.join("_delta_log").exists());
    assert_eq!(second.databases().await.unwrap(), ["default"]);
}

#[tokio::test]
async fn a_folder_without_a_table_goes_with_its_value_or_with_its_process() {
    let data = tempfile::tempdir().unwrap();
    let first = Metastore::open(data.path()).await.unwrap();
    let dropped = first.new_folder(&table("a")).await.unwrap();
    let path = dropped.path().to_owned();
    assert!(path.exists());
    drop(dropped);
    until(|| !path.exists()).await;

    let mut left = first.new_folder(&table("b")).await.unwrap();
    left.store = None;
    let path = left.path().to_owned();
    // A living owner's folder stays.
    let other = Metastore::open(data.path()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(path.exists());
    die(first).await;
    let _next = Metastore::open(data.path()).await.unwrap();
    until(|| !path.exists()).await;
    drop(other);
}

#[tokio::test]
async fn a_replaced_table_is_the_new_one_at_once_and_its_old_files_stay_for_a_while() {
    let data = tempfile::tempdir().unwrap();
    let metastore = Metastore::open(data.path()).await.unwrap();
    let old = publish(&metastore, "t", "old", Publish::Create)
        .await
        .unwrap();
    let taken = publish(&metastore, "T", "x", Publish::Create).await;
    assert_eq!(taken.unwrap_err().code(), Code::AlreadyExists);
    let new = publish(&metastore, "t", "new", Publish::Replace(old.id.clone()))
        .await
        .unwrap();
    let found = metastore.find(&table("t")).await.unwrap().unwrap();
    assert_eq!(found, new);
    assert_eq!(found.columns[0].name, "new");
    assert!(old.location.exists());
    let gone = publish(&metastore, "t", "x", Publish::Replace(old.id)).await;
    assert_eq!(gone.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(metastore.find(&table("t")).await.unwrap().unwrap(), new);
}

#[tokio::test]
async fn a_dropped_table_s_files_go_after_the_grace() {
    let data = tempfile::tempdir().unwrap();
    let metastore = Metastore::open_with(data.path(), Duration::from_millis(20))
        .await
        .unwrap();
    let made = publish(&metastore, "t", "id", Publish::Create)
        .await
        .unwrap();
    assert!(metastore.drop_table(&table("T")).await.unwrap());
    assert!(!metastore.drop_table(&table("t")).await.unwrap());
    until(|| !made.location.exists()).await;
    assert_eq!(metastore.find(&table("t")).await.unwrap(), None);
}

#[tokio::test]
async fn a_renamed_table_keeps_its_files_and_its_id() {
    let data = tempfile::tempdir().unwrap();
    let metastore = Metastore::open(data.path()).await.unwrap();
    let made = publish(&metastore, "a", "id", Publish::Create)
        .await
        .unwrap();
    publish(&metastore, "taken", "id", Publish::Create)
        .await
        .unwrap();
    let taken = metastore.rename(&table("a"), &table("TAKEN")).await;
    assert_eq!(taken.unwrap_err().code(), Code::AlreadyExists);
    metastore.rename(&table("A"), &table("b c")).await.unwrap();
    assert_eq!(metastore.find(&table("a")).await.unwrap(), None);
    let found = metastore.find(&table("B C")).await.unwrap().unwrap();
    assert_eq!((found.id, found.location), (made.id, made.location));
    let nowhere = metastore
        .rename(&table("b c"), &TableName::new("no", "t"))
        .await;
    assert_eq!(nowhere.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn columns_follow_the_log() {
    let data = tempfile::tempdir().unwrap();
    let metastore = Metastore::open(data.path()).await.unwrap();
    let made = publish(&metastore, "t", "id", Publish::Create)
        .await
        .unwrap();
    let schema = json!({"type": "struct", "fields": [
        {"name": "id", "type": "long", "nullable": true, "metadata": {}},
        {"name": "more", "type": "string", "nullable": true, "metadata": {}}]});
    let action =
        json!({"metaData": {"schemaString": schema.to_string(), "partitionColumns": ["id"]}});
    let log = made.location.join("_delta_log");
    std::fs::write(log.join("00000000000000000001.json"), action.to_string()).unwrap();
    // A commit without metadata changes no column.
    std::fs::write(log.join("00000000000000000002.json"), "{\"add\":{}}\n").unwrap();
    let found = metastore.find(&table("t")).await.unwrap().unwrap();
    let names: Vec<_> = found
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(names, ["id", "more"]);
    assert_eq!(found.partition_by, ["id"]);
}

#[tokio::test]
async fn names_that_cannot_be_kept_leave_nothing_behind() {
    let data = tempfile::tempdir().unwrap();
    let metastore = Metastore::open(data.path()).await.unwrap();
    let bad = metastore
        .new_folder(&TableName::new("no", "a\nb"))
        .await
        .unwrap_err();
    assert_eq!(bad.code(), Code::InvalidArgument);
    let missing = metastore
        .new_folder(&TableName::new("no", "t"))
        .await
        .unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    assert!(missing.hint_text().contains("default"));
    assert_eq!(
        std::fs::read_dir(data.path().join("lake/tables"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn a_data_directory_that_the_engine_cannot_read_has_another_way_in() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("Übung 1");
    let metastore = Metastore::open(&data).await.unwrap();
    let made = publish(&metastore, "t", "id", Publish::Create)
        .await
        .unwrap();
    assert!(made.location.starts_with(&data));
    let engine = metastore.for_engine(&made.location);
    assert!(folders::is_plain(&engine));
    assert!(engine.join("_delta_log").exists());
    metastore.close().await;
    assert!(!engine.exists());
}

#[tokio::test]
async fn debug_shows_no_bearer() {
    let data = tempfile::tempdir().unwrap();
    let metastore = Metastore::open(data.path()).await.unwrap();
    let shown = format!("{metastore:?} {:?}", metastore.door());
    assert!(!shown.contains(metastore.bearer()));
}
