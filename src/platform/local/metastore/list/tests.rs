//! A list over real files: SQLite, and Delta logs as engines wrote them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::Metastore;
use super::*;
use crate::model::TableKind;

fn record(database: &str, name: &str, path: &Path) -> Record {
    Record {
        id: format!("{database}/{name}"),
        name: TableName::new(database, name),
        format: "delta".to_owned(),
        uri: format!("file://{}", path.display()),
        path: path.to_owned(),
        owned: false,
        catalog_managed: false,
        comment: None,
        schema: json!({"type": "struct", "fields": [
            {"name": "id", "type": "long", "nullable": true, "metadata": {"comment": "die Kundennummer"}}
        ]}),
        partition_by: Vec::new(),
        properties: BTreeMap::new(),
        version: Some(0),
        created_ms: 0,
    }
}

async fn with(tables: Vec<Record>) -> (tempfile::TempDir, Metastore) {
    let folder = tempfile::tempdir().unwrap();
    let metastore = Metastore::open(folder.path()).await.unwrap();
    let written = metastore.0.store.write(move |db| {
        for table in tables {
            if records::find_database(db, &table.name.database)?.is_none() {
                records::add_database(db, &table.name.database, None, &BTreeMap::new())?;
            }
            records::add_table(db, &table)?;
        }
        Ok(())
    });
    written.await.unwrap();
    (folder, metastore)
}

fn query(pattern: Option<&str>, detail: TableDetail, limit: usize) -> TablesQuery {
    TablesQuery {
        pattern: pattern.map(str::to_owned),
        detail,
        limit,
        ..TablesQuery::default()
    }
}

fn names(page: &TablesPage) -> Vec<String> {
    page.tables.iter().map(|t| t.name.to_string()).collect()
}

fn recorded(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases/delta")
        .join(name)
}

#[tokio::test]
async fn ten_thousand_tables_are_searched_with_their_totals() {
    let gone = Path::new("/nowhere");
    let subjects = [
        "orders",
        "customer_address",
        "web_events",
        "invoice_lines",
        "stock",
    ];
    let tables = (0..10_000).map(|n| {
        let subject = subjects.get(n % subjects.len()).unwrap();
        record(
            &format!("area_{:02}", n / 500),
            &format!("{subject}_{:05}", n % 500),
            gone,
        )
    });
    let (_folder, metastore) = with(tables.collect()).await;
    for (pattern, total) in [
        (None, 10_000),
        (Some("kundennummer area_07"), 500),
        (Some("*.web_*"), 2_000),
    ] {
        let begun = std::time::Instant::now();
        let page = metastore
            .page(&query(pattern, TableDetail::Names, 200))
            .await
            .unwrap();
        let took = begun.elapsed();
        assert_eq!((page.total, page.searched), (total, 10_000));
        let figure = format!("{pattern:?} of 10,000 tables: {took:?}\n");
        std::io::Write::write_all(&mut std::io::stderr(), figure.as_bytes()).unwrap();
        assert!(page.more);
        assert_eq!(page.tables.len(), 200);
    }
    metastore.close().await;
}

#[tokio::test]
async fn names_columns_and_comments_are_searched_without_regard_to_case() {
    let gone = Path::new("/nowhere");
    let mut plain = record("Sales", "Größe", gone);
    plain.schema = json!({"type": "struct", "fields": []});
    plain.comment = Some("100% of a_b".to_owned());
    let (_folder, metastore) = with(vec![
        plain,
        record("sales", "orders", gone),
        record("empty_not", "x", gone),
    ])
    .await;
    for (pattern, found) in [
        ("GRÖSSE", vec![]),
        ("GRÖ", vec!["Sales.`Größe`"]),
        ("kunden", vec!["empty_not.x", "Sales.orders"]),
        ("a_b", vec!["Sales.`Größe`"]),
        ("a%b", vec![]),
        ("SALES.ORD*", vec!["Sales.orders"]),
        ("o%*", vec![]),
    ] {
        let page = metastore
            .page(&query(Some(pattern), TableDetail::Names, 10))
            .await
            .unwrap();
        assert_eq!(names(&page), found, "{pattern}");
    }
    let all = metastore
        .page(&query(None, TableDetail::Names, 10))
        .await
        .unwrap();
    let counts: Vec<(&str, u64)> = all
        .databases
        .iter()
        .map(|(n, c)| (n.as_str(), *c))
        .collect();
    assert_eq!(counts, [("Sales", 2), ("default", 0), ("empty_not", 1)]);
    let misspelt = metastore
        .page(&query(Some("ordres"), TableDetail::Names, 10))
        .await
        .unwrap();
    assert_eq!(
        misspelt.near.first(),
        Some(&TableName::new("Sales", "orders"))
    );
    let only = TablesQuery {
        only: Some(TableName::new("SALES", "ORDERS")),
        ..query(None, TableDetail::Columns, 1)
    };
    assert_eq!(
        names(&metastore.page(&only).await.unwrap()),
        ["Sales.orders"]
    );
    metastore.close().await;
}

#[tokio::test]
async fn columns_and_figures_are_those_of_the_log_and_the_catalogue_learns_them() {
    let (_folder, metastore) = with(vec![
        record("default", "a_gone", Path::new("/nowhere")),
        record("default", "b_engine", &recorded("engine")),
        record("default", "c_deltalake", &recorded("deltalake")),
    ])
    .await;
    let page = metastore
        .page(&query(None, TableDetail::Stats, 10))
        .await
        .unwrap();
    assert_eq!(page.unread, 1);
    let figures: Vec<_> = page
        .tables
        .iter()
        .map(|t| {
            (
                t.rows,
                t.bytes,
                t.columns.as_ref().unwrap().len(),
                t.version,
            )
        })
        .collect();
    assert_eq!(
        figures,
        [
            (None, None, 1, Some(0)),
            (Some(24), Some(29_280), 4, Some(25)),
            (Some(11), Some(9_735), 3, Some(8)),
        ]
    );
    let [_, engine, _] = page.tables.as_slice() else {
        panic!("{page:?}")
    };
    assert_eq!(
        engine.partitions.as_deref(),
        Some(["p".to_owned()].as_slice())
    );
    assert_eq!(engine.kind, TableKind::External);
    // What was learnt is written behind the answer, and found by a search for a column from then on.
    metastore.0.store.write(|_| Ok(())).await.unwrap();
    let found = metastore
        .page(&query(Some("the key"), TableDetail::Names, 10))
        .await
        .unwrap();
    assert_eq!(names(&found), ["default.c_deltalake"]);
    metastore.close().await;
}

#[tokio::test]
async fn a_page_of_columns_sees_what_was_written_a_moment_ago() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("t");
    let schema = json!({"type": "struct", "fields": [
        {"name": "a", "type": "long", "nullable": true, "metadata": {}}
    ]});
    delta::create(
        &table,
        &delta::NewTable {
            schema: schema.clone(),
            partition_by: Vec::new(),
            comment: None,
            properties: BTreeMap::new(),
        },
    )
    .unwrap();
    let mut one = record("default", "t", &table);
    one.schema = schema;
    let (_folder, metastore) = with(vec![one]).await;
    let columns = async || {
        let page = metastore
            .page(&query(None, TableDetail::Columns, 1))
            .await
            .unwrap();
        let columns = page.tables.into_iter().next().unwrap().columns.unwrap();
        columns.into_iter().map(|c| c.name).collect::<Vec<_>>()
    };
    assert_eq!(columns().await, ["a"]);
    let wider = json!({"type": "struct", "fields": [{"name": "a", "type": "long"}, {"name": "b", "type": "string"}]});
    let metadata: Value = json!({"metaData": {"id": "x", "format": {"provider": "parquet", "options": {}},
        "schemaString": wider.to_string(), "partitionColumns": [], "configuration": {}}});
    std::fs::write(
        table.join("_delta_log/00000000000000000001.json"),
        metadata.to_string(),
    )
    .unwrap();
    assert_eq!(columns().await, ["a", "b"]);
    metastore.close().await;
}
