//! `write_table` in a session on a server: the same cases as on `local`, and what is different there.

use serde_json::{Value, json};

use super::server::LivyServer;
use crate::common::Server;
use crate::write::{rows, write};

/// A server whose statements all run in one session: on the test server tables live and die with it.
async fn bench(livy: &LivyServer, session: &'static str) -> Server {
    let server = livy.client().await.within(session).await;
    server
        .python("import os\nspark.conf.set('spark.sql.warehouse.dir', os.getcwd() + '/tables')")
        .await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_source_and_state_of_a_table_does_what_it_says_or_nothing() {
    let livy = LivyServer::start(&[]).await;
    let server = bench(&livy, "named").await;
    crate::write::matrix::every(&server).await;
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_values_come_back() {
    let livy = LivyServer::start(&[]).await;
    let server = bench(&livy, "s").await;
    crate::write::values::exact_values(&server).await;
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_merged_by_keys_and_bad_keys_are_shown() {
    let livy = LivyServer::start(&[]).await;
    let server = bench(&livy, "s").await;
    let row = |ab: i64, k: &str, v: f64| json!({"a b": ab, "k`": k, "v": v, "p": "x"});
    let first = json!({"rows": [row(1, "x", 1.5), row(1, "y", 2.5)], "partition_by": ["P"]});
    write(&server, "merged", "error", first).await.ok();
    let both = json!(["a b", "K`"]);
    let second = json!({"rows": [row(1, "y", 9.5), row(2, "y", 3.5)], "keys": both});
    let answer = write(&server, "merged", "merge", second).await.ok();
    assert_eq!(answer.structured["written"]["rows"], 2);
    let of = async || {
        let sql = "select `a b`, `k```, v from merged order by 1, 2";
        let asked = json!({"sql": sql, "format": "json"});
        server
            .call("query_sql", asked)
            .await
            .ok()
            .text
            .replace('\n', "")
    };
    let found = of().await;
    assert!(
        found.contains("[[1,\"x\",1.5],[1,\"y\",9.5],[2,\"y\",3.5]]"),
        "{found}"
    );
    let mut none = row(7, "q", 2.0);
    none["a b"] = Value::Null;
    let wrong = json!({"rows": [row(7, "q", 1.0), row(7, "q", 2.0), none], "keys": both});
    let answer = write(&server, "merged", "merge", wrong)
        .await
        .failed("invalid_argument");
    for part in [
        "1 row of the source has NULL in a key",
        "a b = 7, k` = \"q\" (2 rows)",
    ] {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
    assert!(of().await.contains("[2,\"y\",3.5]]"));
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_wrong_is_said_at_once_and_nothing_is_written() {
    let livy = LivyServer::start(&[]).await;
    let server = bench(&livy, "s").await;
    let no = |answer: &crate::common::Answer, parts: &[&str]| {
        for part in parts {
            assert!(answer.text.contains(part), "{part}: {}", answer.text);
        }
    };
    write(
        &server,
        "t",
        "error",
        json!({"rows": [{"id": 1, "p": "x"}], "partition_by": ["p"]}),
    )
    .await
    .ok();
    let sql =
        json!({"sql": "select 'a' as id, 1 as other", "keys": ["nope"], "partition_by": ["id"]});
    let answer = write(&server, "t", "merge", sql)
        .await
        .failed("invalid_argument");
    no(
        &answer,
        &[
            "id: table bigint, source string",
            "other: not in the table",
            "no column nope",
            "partition_by",
        ],
    );
    let answer = write(
        &server,
        "nowhere.t",
        "error",
        json!({"sql": "select x from missing", "schema": "id bigin"}),
    )
    .await;
    assert!(answer.is_error);
    no(&answer, &["no database nowhere", "schema:", "missing"]);
    let answer = write(
        &server,
        "new",
        "error",
        json!({"rows": [{"a": 1, "A": 2}, {"a": "x", "A": 3}]}),
    )
    .await
    .failed("invalid_argument");
    no(&answer, &["row 2, column a"]);
    let answer = write(
        &server,
        "new",
        "error",
        json!({"rows": [{"p": "", "n": 1}], "partition_by": ["p"]}),
    )
    .await
    .failed("invalid_argument");
    no(&answer, &["empty string in p"]);
    let answer = write(&server, "new", "error", json!({"sql": "select if(id = 1, null, id) n from range(3)", "schema": "n bigint not null"})).await.failed("invalid_argument");
    no(&answer, &["n is not null by schema, and 1 rows"]);
    let answer = write(&server, "new", "error", json!({"variable": "nobody"}))
        .await
        .failed("not_found");
    no(&answer, &["no variable nobody"]);
    std::fs::write(server.work().join("bad.csv"), "a,b\n1\n").unwrap();
    let answer = write(&server, "new", "error", json!({"file": "bad.csv"}))
        .await
        .failed("invalid_argument");
    no(&answer, &["line 2 has 1 fields"]);
    std::fs::write(
        server.work().join("large.csv"),
        format!("a\n{}", "123456789\n".repeat(900_000)),
    )
    .unwrap();
    let answer = write(&server, "new", "error", json!({"file": "large.csv"}))
        .await
        .failed("result_too_large");
    no(&answer, &["8 MB", "mode=\"append\""]);
    server.sql("select * from t").await;
    let answer = server
        .call("query_sql", json!({"sql": "select * from new"}))
        .await;
    assert!(answer.is_error);
    std::fs::write(server.work().join("ok.csv"), "a\n1\n").unwrap();
    let files = json!({"sql": "select * from f", "files": {"f": "ok.csv"}});
    let answer = server.call("query_sql", files).await.failed("unsupported");
    no(&answer, &["cannot read files of this machine"]);
    // Nothing of ours is left in the session.
    let answer = server
        .call("list_tables", json!({"session": "s"}))
        .await
        .ok();
    assert_eq!(answer.structured["total"], 1, "{}", answer.text);
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_of_a_file_arrive_once_and_in_parts() {
    let livy = LivyServer::start(&[]).await;
    let server = bench(&livy, "s").await;
    let lines: Vec<String> = (0..60_000)
        .map(|n| format!("{n},{:0>40},{}.25", n * 7, n))
        .collect();
    std::fs::write(
        server.work().join("many.csv"),
        format!("id,name,price\n{}\n", lines.join("\n")),
    )
    .unwrap();
    let answer = write(
        &server,
        "many",
        "error",
        json!({"file": "many.csv", "schema": "id bigint, name string, price decimal(12,2)"}),
    )
    .await
    .ok();
    assert_eq!(answer.structured["written"]["rows"], 60_000);
    let query = "select count(*), count(distinct id), cast(sum(price) as string) from many";
    let found = server
        .call("query_sql", json!({"sql": query, "format": "json"}))
        .await
        .ok();
    assert!(
        found.text.contains("[60000,60000,\"1799985000.00\"]"),
        "{}",
        found.text
    );
    // A Parquet file brings its types along; ours is made by a query on the session's own engine.
    let code = "import base64, io, pyarrow as pa, pyarrow.parquet as pq, datetime as dt, decimal\n\
        t = pa.table({'u': pa.array([2**64-1, None], pa.uint64()), 'd': pa.array([decimal.Decimal('1.10'), None]), 't': pa.array([dt.datetime(1850, 1, 1, 0, 0, 0, 1), None], pa.timestamp('us', 'Europe/Berlin')), 'l': pa.array([[1, None], []])})\n\
        b = io.BytesIO(); pq.write_table(t, b); base64.b64encode(b.getvalue()).decode()";
    let made = server.python(code).await;
    let text = made
        .data("value")
        .unwrap()
        .trim()
        .trim_matches('\'')
        .to_owned();
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap();
    std::fs::write(server.work().join("typed.parquet"), bytes).unwrap();
    write(&server, "typed", "error", json!({"file": "typed.parquet"}))
        .await
        .ok();
    let (columns, found) = rows(&server, "typed").await;
    assert_eq!(
        columns,
        [
            "u decimal(20,0)",
            "d decimal(3,2)",
            "t timestamp",
            "l array<bigint>"
        ]
    );
    assert!(
        found.contains(&vec![
            json!("18446744073709551615"),
            json!("1.10"),
            json!("1850-01-01 00:00:00.000001+00:00"),
            json!([1, Value::Null])
        ]),
        "{found:?}"
    );
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_write_ends_and_the_next_call_works() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    let slow =
        "select a.id from range(1000000) a cross join range(1000000) b where a.id + b.id = -1";
    let arguments = json!({"table": "slow", "mode": "error", "sql": slow});
    let statement = server.launch("write_table", arguments).await;
    server.reaches(&statement, "running").await;
    let answer = server
        .call("cancel_statement", json!({"statement": statement}))
        .await;
    assert_eq!(answer.status(), "cancelled", "{}", answer.text);
    let answer = server
        .call("query_sql", json!({"sql": "select * from slow"}))
        .await;
    assert!(answer.is_error, "{}", answer.text);
    assert_eq!(server.sql("select 42").await.cell(), "42");
    server.end().await;
    livy.empties().await;
    livy.end().await;
}
