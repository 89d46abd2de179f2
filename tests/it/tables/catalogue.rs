//! The catalogue behind real engines: what one server makes another one has, and what a dead one leaves does no harm.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::common::{Answer, PATIENCE, Server, Setup, wait_until};

/// A data directory that several servers share, or one after another has.
struct Data(TempDir);

impl Data {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn setup(&self) -> Setup {
        setup_on(self.0.path())
    }

    /// The folders of tables in the database `default`.
    fn folders(&self) -> Vec<PathBuf> {
        let default = self.0.path().join("lake/tables/default");
        let entries = std::fs::read_dir(default).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn setup_on(data: &Path) -> Setup {
    Setup::new().variable("SPARKLEASE_DATA_DIR", data.to_str().unwrap())
}

async fn run(server: &Server, sql: &str) -> Answer {
    server.call("run_sql", json!({"sql": sql})).await
}

async fn count(server: &Server, table: &str) -> String {
    server
        .sql(&format!("select count(*) from {table}"))
        .await
        .ok()
        .cell()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_tables_and_a_restart_keeps_them() {
    let data = Data::new();
    let (one, other) = tokio::join!(Server::with(data.setup()), Server::with(data.setup()));
    run(&one, "create database shop comment 'what we sell'")
        .await
        .ok();
    run(
        &one,
        "create table shop.orders (id bigint comment 'who', price decimal(38,18), at timestamp_ntz) \
         partitioned by (id)",
    )
    .await
    .ok();
    run(
        &one,
        "insert into shop.orders values (1, 2.5, cast('1883-11-18 12:00:00.123456' as timestamp_ntz))",
    )
    .await
    .ok();
    let rows = other
        .sql("select id, cast(price as string), cast(at as string) from SHOP.Orders")
        .await
        .ok()
        .csv();
    assert_eq!(
        rows,
        [["1", "2.500000000000000000", "1883-11-18 12:00:00.123456"]]
    );
    // Without a format it is Delta, which can be changed.
    run(&other, "update shop.orders set price = 3").await.ok();
    let full = "select cast(price as string) from spark_catalog.shop.orders";
    assert_eq!(one.sql(full).await.ok().cell(), "3.000000000000000000");
    one.end().await;
    other.end().await;

    let next = Server::with(data.setup()).await;
    assert_eq!(next.sql(full).await.ok().cell(), "3.000000000000000000");
    let described = run(&next, "describe shop.orders").await.ok().csv();
    assert_eq!(described[0], ["id", "bigint", "who"]);
    next.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_and_sql_have_the_same_tables() {
    let server = Server::start().await;
    server
        .python("spark.range(3).write.saveAsTable('numbers')")
        .await
        .ok();
    server
        .python("spark.range(4).write.mode('append').saveAsTable('numbers')")
        .await
        .ok();
    assert_eq!(count(&server, "NUMBERS").await, "7");
    let listed = server
        .python("[t.name for t in spark.catalog.listTables()]")
        .await
        .ok();
    assert_eq!(listed.data("value"), Some("['numbers']\n"));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_inserts_into_a_managed_table_lose_nothing_that_was_acknowledged() {
    const WRITERS: usize = 3;
    const INSERTS: usize = 50;
    let data = Data::new();
    let first = Server::with(data.setup().sessions(2)).await;
    let second = Server::with(data.setup()).await;
    run(&first, "create table t (writer int, number int)")
        .await
        .ok();
    let write = async |server: &Server, writer: usize| {
        let mut kept = 0;
        for number in 0..INSERTS {
            let answer = run(
                server,
                &format!("insert into t values ({writer}, {number})"),
            )
            .await;
            if answer.is_error {
                assert!(answer.text.contains("conflict"), "{}", answer.text);
            } else {
                kept += 1;
            }
        }
        kept
    };
    let kept: [usize; WRITERS] =
        tokio::join!(write(&first, 0), write(&first, 1), write(&second, 2)).into();
    let rows = second
        .sql("select writer, count(*), count(distinct number) from t group by writer order by writer")
        .await
        .ok()
        .csv();
    let expected: Vec<Vec<String>> = kept
        .iter()
        .enumerate()
        .map(|(writer, kept)| vec![writer.to_string(), kept.to_string(), kept.to_string()])
        .collect();
    assert_eq!(rows, expected);
    assert!(kept.iter().sum::<usize>() > INSERTS, "{kept:?}");
    first.end().await;
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_a_catalogue_that_can_be_read_and_written() {
    let data = Data::new();
    let mut doomed = Server::with(data.setup()).await;
    run(&doomed, "create table t (id int)").await.ok();
    run(&doomed, "insert into t values (1)").await.ok();
    let pending = doomed
        .begin(
            "run_sql",
            json!({"sql": "insert into t select id from range(100000)"}),
        )
        .await;
    crate::common::kill(doomed.pid());
    doomed.gone_within(PATIENCE).await;
    drop(pending);
    drop(doomed);
    let next = Server::with(data.setup()).await;
    let there = count(&next, "t").await;
    assert!(there == "1" || there == "100001", "{there}");
    run(&next, "insert into t values (2)").await.ok();
    run(&next, "create table u (id int)").await.ok();
    run(&next, "drop table t").await.ok();
    next.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_survive_or_are_refused_before_anything_is_written() {
    let server = Server::start().await;
    for name in [
        "Übersicht 2026",
        "表 😀",
        "a`b",
        "a.b",
        "it's \"x\"",
        "x; DROP TABLE t; --",
        "50%/a\\b?c#d",
        &"n".repeat(255),
    ] {
        let quoted = format!("`{}`", name.replace('`', "``"));
        // A table and a column of the same name.
        let column = quoted.clone();
        run(&server, &format!("create table {quoted} ({column} int)"))
            .await
            .ok();
        run(&server, &format!("insert into {quoted} values (7)"))
            .await
            .ok();
        let read = format!("select {column} from {quoted} where {column} = 7");
        assert_eq!(server.sql(&read).await.ok().cell(), "7", "{name}");
        let listed = run(&server, "show tables").await.ok().csv();
        assert!(listed.iter().any(|row| row[1] == name), "{listed:?}");
        run(&server, &format!("drop table {quoted}")).await.ok();
    }
    let before = run(&server, "show tables").await.ok().csv();
    for name in ["", " ", " a", "a\u{200b}b", "a\u{202e}b", &"n".repeat(256)] {
        run(&server, &format!("create table `{name}` (a int)"))
            .await
            .failed("invalid_argument");
        run(&server, &format!("create table x (`{name}` int)"))
            .await
            .failed("invalid_argument");
        run(&server, &format!("create database `{name}`"))
            .await
            .failed("invalid_argument");
    }
    let refused = run(&server, "create database delta")
        .await
        .failed("invalid_argument");
    assert!(refused.message().contains("\"delta\""), "{}", refused.text);
    assert_eq!(run(&server, "show tables").await.ok().csv(), before);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_s_files_go_and_a_user_s_own_stay() {
    let data = Data::new();
    let own = tempfile::tempdir().unwrap();
    let server = Server::with(data.setup()).await;
    run(&server, "create table ours (id int)").await.ok();
    run(&server, "insert into ours values (1)").await.ok();
    let place = own.path().join("theirs");
    let made = format!(
        "create table theirs (id int, n timestamp_ntz) using delta location '{}'",
        place.display()
    );
    run(&server, &made).await.ok();
    run(
        &server,
        "insert into theirs select 1, cast('2026-01-01' as timestamp_ntz)",
    )
    .await
    .ok();
    assert_eq!(count(&server, "theirs").await, "1");
    assert_eq!(data.folders().len(), 1);
    run(&server, "drop table ours").await.ok();
    run(&server, "drop table theirs").await.ok();
    server.end().await;
    // A query may have been reading it: only time makes it go, so let it be long ago.
    assert_eq!(data.folders().len(), 1);
    let store = rusqlite::Connection::open(data.0.path().join("lake/metastore.db")).unwrap();
    let aged = store
        .execute("UPDATE trash SET since_ms = since_ms - 3600000", [])
        .unwrap();
    assert_eq!(aged, 1);
    drop(store);
    let next = Server::with(data.setup()).await;
    run(&next, "show tables").await.ok();
    wait_until(
        "the dropped table's files go",
        Duration::from_secs(10),
        || data.folders().is_empty(),
    )
    .await;
    assert!(place.join("_delta_log").exists());
    // The same folder is a table again, with the columns of its log.
    let again = format!(
        "create table again using delta location '{}'",
        place.display()
    );
    run(&next, &again).await.ok();
    assert_eq!(count(&next, "again").await, "1");
    next.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_at_a_place_of_the_user_s_can_be_made_in_every_way() {
    let own = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let place = |name: &str| own.path().join(name).display().to_string();
    let made = format!(
        "create table a using delta partitioned by (p) location '{}' as select id, id % 2 as p from range(4)",
        place("a")
    );
    run(&server, &made).await.ok();
    assert_eq!(count(&server, "a").await, "4");
    let code = format!(
        "spark.range(4).selectExpr('id % 2 as p', 'id').write.partitionBy('p').option('path', '{}').saveAsTable('b')",
        place("b")
    );
    server.python(&code).await.ok();
    assert_eq!(count(&server, "b").await, "4");
    run(
        &server,
        &format!(
            "create table c (id int) using delta location '{}'",
            place("c")
        ),
    )
    .await
    .ok();
    run(&server, "insert into c values (1)").await.ok();
    assert_eq!(count(&server, "c").await, "1");
    let refused = run(
        &server,
        "create table d (id int) using delta location 'relative/d'",
    )
    .await
    .failed("invalid_argument");
    assert!(
        refused.message().contains("no absolute path"),
        "{}",
        refused.text
    );
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_empty_is_not_dropped() {
    let server = Server::start().await;
    run(&server, "create database shop").await.ok();
    run(&server, "create table shop.t (id int)").await.ok();
    let refused = run(&server, "drop database shop")
        .await
        .failed("invalid_argument");
    assert!(refused.message().contains("not empty"), "{}", refused.text);
    assert_eq!(count(&server, "shop.t").await, "0");
    run(&server, "drop database shop cascade").await.ok();
    run(&server, "drop database default cascade")
        .await
        .failed("invalid_argument");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_is_told_why_the_catalogue_refuses() {
    let server = Server::start().await;
    run(&server, "create database shop").await.ok();
    run(&server, "create table shop.t (id int)").await.ok();
    for (code, reason) in [
        ("spark.sql('drop database shop')", "not empty"),
        ("spark.sql('drop table nope')", "nope"),
        ("spark.sql('create database delta')", "\"delta\""),
    ] {
        let refused = server
            .call("run_pyspark", json!({"code": code}))
            .await
            .failed("statement_failed");
        assert!(
            refused.text.contains("\nAnalysisException: "),
            "{}",
            refused.text
        );
        assert!(refused.text.contains(reason), "{}", refused.text);
        assert!(!refused.text.contains("HTTP"), "{}", refused.text);
        assert!(!refused.text.contains("127.0.0.1"), "{}", refused.text);
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_reads_and_writes_at_once_what_it_makes() {
    let own = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let code = format!(
        "root = '{}'\n\
         spark.sql(f\"create table a (id bigint) using delta location '{{root}}/a'\")\n\
         empty = spark.table('a').count()\n\
         spark.range(2).write.mode('Append').saveAsTable('a')\n\
         from pyspark.sql.types import StructType\n\
         made = spark.catalog.createTable('b', f'{{root}}/b', 'delta', StructType.fromDDL('id bigint'))\n\
         none = made.count()\n\
         spark.sql('insert into b values (1)')\n\
         counted = spark.sql(f\"create table c using parquet location '{{root}}/c' as select id from range(3)\").collect()\n\
         spark.sql('create table d as select id + 1 as id from {{df}}', df=spark.range(4))\n\
         (empty, none, [spark.table(t).count() for t in 'abcd'], [row['count'] for row in counted])",
        own.path().display()
    );
    let shown = server.python(&code).await.ok();
    assert_eq!(shown.data("value"), Some("(0, 0, [2, 1, 3, 4], [3])\n"));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_the_parent_s_environment_leads_to_another_catalogue() {
    let mut setup = Setup::new();
    for name in [
        "DATABRICKS_HOST",
        "UNITY_HOST",
        "UC_HOST",
        "DATABRICKS_WORKSPACE_URL",
    ] {
        setup = setup.variable(name, "http://127.0.0.1:9");
    }
    for name in [
        "DATABRICKS_TOKEN",
        "UNITY_TOKEN",
        "SPARK_CONNECT_AUTHENTICATE_TOKEN",
    ] {
        setup = setup.variable(name, "clearly-fake-token");
    }
    setup = setup.variable("SAIL_CATALOG__LIST", "[]");
    let server = Server::with(setup).await;
    run(&server, "create table t as select 1 as x").await.ok();
    assert_eq!(count(&server, "t").await, "1");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_s_bearer_is_not_shown() {
    let server = Server::start().await;
    let shown = server
        .python("import os; os.environ['SAIL_CATALOG__LIST']")
        .await
        .ok();
    assert!(shown.text.contains("«redacted:token:"), "{}", shown.text);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_with_spaces_and_letters_beyond_ascii_holds_whole_tables() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("Übung 1");
    let server = Server::with(setup_on(&data)).await;
    run(&server, "create table t as select 1 as x").await.ok();
    run(&server, "insert into t values (2)").await.ok();
    assert_eq!(count(&server, "t").await, "2");
    server.end().await;
    // Log and rows lie in one folder, below the directory and nowhere else.
    let beside = std::fs::read_dir(parent.path()).unwrap().count();
    assert_eq!(beside, 1);
    let default = data.join("lake/tables/default");
    let table = std::fs::read_dir(default)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let files: Vec<String> = std::fs::read_dir(table)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(files.iter().any(|file| file == "_delta_log"));
    assert!(
        files.iter().any(|file| file.ends_with(".parquet")),
        "{files:?}"
    );
    let next = Server::with(setup_on(&data)).await;
    assert_eq!(count(&next, "t").await, "2");
    next.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_write_keeps_its_rows_in_a_data_directory_of_any_name() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("dä ta 表");
    let server = Server::with(setup_on(&data)).await;
    run(&server, "create table t as select id from range(3)")
        .await
        .ok();
    for rows in ["4", "5"] {
        let sql = format!("create or replace table t as select id from range({rows})");
        run(&server, &sql).await.ok();
        assert_eq!(count(&server, "t").await, rows);
    }
    for rows in ["6", "7"] {
        let code = format!(
            "spark.range({rows}).selectExpr('id', 'id as b').write.mode('overwrite').saveAsTable('t')"
        );
        server.python(&code).await.ok();
        assert_eq!(count(&server, "t").await, rows);
    }
    let partitions = run(
        &server,
        "create table p partitioned by (b) as select id, id % 2 as b from range(4)",
    );
    partitions.await.ok();
    let shown = run(&server, "show partitions p").await.ok().csv();
    assert_eq!(shown, [["b=0"], ["b=1"]]);
    run(&server, "truncate table p").await.ok();
    for (mode, sql, rows) in [
        ("error", "select id from range(2)", "2"),
        ("append", "select id from range(2)", "4"),
        ("overwrite", "select id from range(3)", "3"),
        ("overwrite", "select id, 1.5D as other from range(2)", "2"),
        (
            "merge",
            "select id + 1 as id, 2.5D as other from range(2)",
            "3",
        ),
    ] {
        let keys = if mode == "merge" {
            json!(["id"])
        } else {
            json!(null)
        };
        let mut arguments = json!({"table": "w", "mode": mode, "sql": sql, "wait_s": 60});
        if !keys.is_null() {
            arguments["keys"] = keys;
        }
        server.call("write_table", arguments).await.ok();
        assert_eq!(count(&server, "w").await, rows, "{mode}");
    }
    server.end().await;
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_replace_one_table_leave_one_of_theirs_and_neither_fails() {
    let data = Data::new();
    let (one, other) = tokio::join!(Server::with(data.setup()), Server::with(data.setup()));
    run(&one, "create table t as select 0 as a").await.ok();
    let replace = async |server: &Server, query: &str| {
        for _ in 0..8 {
            let sql = format!("create or replace table t comment 'x' as {query}");
            run(server, &sql).await.ok();
            // Whichever it is, it can be read.
            run(server, "select a + 1 from t").await.ok();
        }
    };
    tokio::join!(
        replace(&one, "select 1 as a, 'x' as b"),
        replace(&other, "select 2.5D as a, array(1L) as b, true as c")
    );
    let described = run(&one, "describe t").await.ok().csv();
    let rows = one.sql("select * from t").await.ok().csv();
    let types: Vec<&str> = described.iter().map(|row| row[1].as_str()).collect();
    match rows[0][0].as_str() {
        "1" => assert_eq!(types, ["int", "string"]),
        _ => assert_eq!(types, ["double", "array<bigint>", "boolean"]),
    }
    // Two that make the same table at once: the later one replaces it.
    for round in 0..3 {
        let sql = format!("create or replace table n{round} as select 1 as a");
        let (first, second) = tokio::join!(run(&one, &sql), run(&other, &sql));
        first.ok();
        second.ok();
    }
    one.end().await;
    other.end().await;
}
