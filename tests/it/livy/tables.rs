//! `list_tables` where the catalogue can only be asked in a session.

use serde_json::json;

use super::server::LivyServer;
use crate::common::{Answer, Server};

const MAKE: &str = "\
import os
spark.conf.set('spark.sql.warehouse.dir', os.getcwd() + '/tables')
for name, tables in {'sales': ['orders', 'Customers', 'größe'], 'ops': ['runs']}.items():
    spark.sql(f'create database {name}')
    for table in tables:
        spark.sql(f'create table {name}.`{table}` (id bigint, price decimal(10,2), p string) using delta partitioned by (p)')
spark.sql('create view sales.cheap as select * from sales.orders where price < 10')
spark.sql('create table ops.`a.b``c; drop table x` (n int) using parquet')
";

fn names(answer: &Answer) -> Vec<String> {
    let tables = answer.structured["tables"].as_array().expect("tables");
    tables
        .iter()
        .map(|table| table["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn list(server: &Server, arguments: serde_json::Value) -> Answer {
    server.call("list_tables", arguments).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_listed_by_pattern_detail_and_page() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    server.python(MAKE).await;
    let answer = list(&server, json!({})).await;
    assert_eq!(
        names(&answer),
        [
            "ops.`a.b``c; drop table x`",
            "ops.runs",
            "sales.cheap",
            "sales.Customers",
            "sales.`größe`",
            "sales.orders"
        ],
        "{}",
        answer.text
    );
    assert_eq!(answer.structured["total"], 6);
    assert_eq!(answer.structured["databases"]["sales"], 4);
    let kinds = answer.structured["tables"].as_array().unwrap();
    assert_eq!(kinds[2]["kind"], "view");
    assert_eq!(kinds[5]["kind"], "managed");
    // One session serves all of it.
    assert_eq!(livy.listed().await, 1);

    let answer = list(&server, json!({"pattern": "sales.*o*"})).await;
    assert_eq!(names(&answer), ["sales.Customers", "sales.orders"]);
    let answer = list(
        &server,
        json!({"pattern": "SALES.ORDERS", "detail": "stats"}),
    )
    .await;
    assert_eq!(names(&answer), ["sales.orders"]);
    let table = &answer.structured["tables"][0];
    assert_eq!(
        table["columns"][1],
        json!({"name": "price", "type": "decimal(10,2)"})
    );
    assert_eq!(table["partitions"], json!(["p"]));
    let answer = list(
        &server,
        json!({"pattern": "a.b`c; drop", "detail": "columns"}),
    )
    .await;
    assert_eq!(answer.structured["tables"][0]["columns"][0]["name"], "n");
    // A word is also searched for in columns.
    let answer = list(&server, json!({"pattern": "price"})).await;
    assert_eq!(answer.structured["total"], 5, "{}", answer.text);
    let answer = list(&server, json!({"pattern": "custmers"})).await;
    assert!(answer.text.contains("Customers"), "{}", answer.text);
    assert_eq!(livy.listed().await, 1);
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_statement_changes_is_listed_at_once() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    assert_eq!(list(&server, json!({})).await.structured["total"], 0);
    server
        .python("spark.sql('create table one (a int) using parquet')")
        .await;
    let answer = list(&server, json!({})).await;
    assert_eq!(names(&answer), ["default.one"]);
    server
        .call(
            "run_sql",
            json!({"sql": "create table two (a int) using parquet"}),
        )
        .await
        .ok();
    let answer = list(&server, json!({})).await;
    assert_eq!(names(&answer), ["default.one", "default.two"]);
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tables_come_page_by_page_without_gap() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    server
        .python("for n in range(300): spark.sql(f'create view v{n:03} as select {n} n')")
        .await;
    let mut seen = Vec::new();
    let mut arguments = json!({});
    loop {
        let answer = list(&server, arguments.clone()).await;
        assert_eq!(answer.structured["total"], 300);
        seen.extend(names(&answer));
        let Some(next) = answer.structured["next"].as_str() else {
            break;
        };
        let (_, cursor) = next.split_once("cursor=\"").expect("a cursor");
        arguments["cursor"] = json!(cursor.split('"').next().unwrap());
    }
    let all: Vec<String> = (0..300).map(|n| format!("default.v{n:03}")).collect();
    assert_eq!(seen, all);
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn temp_views_of_a_named_session_stand_in_front() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    server
        .call("open_session", json!({"name": "work"}))
        .await
        .ok();
    let code = "spark.range(1).createOrReplaceTempView('mine')\nspark.sql('create view kept as select 1 x')";
    server
        .call("run_pyspark", json!({"code": code, "session": "work"}))
        .await
        .ok();
    let answer = list(&server, json!({"session": "work", "detail": "columns"})).await;
    assert_eq!(names(&answer), ["mine", "default.kept"]);
    assert_eq!(answer.structured["tables"][0]["columns"][0]["name"], "id");
    // It was asked in that session: no other one was opened.
    assert_eq!(livy.listed().await, 1);
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_waits_for_its_session_is_given_to_the_next_call() {
    let livy = LivyServer::start(&["--start-seconds", "6"]).await;
    let server = Server::without_engine(livy.setup().set("server", "wait = \"1s\"")).await;
    let waiting = server
        .call("list_tables", json!({"pattern": "*x*"}))
        .await
        .failed("timeout");
    assert_eq!(waiting.structured["retryable"], true);
    assert!(
        waiting
            .text
            .contains("list_tables(pattern=\"*x*\", target=\"dev\")"),
        "{}",
        waiting.text
    );
    let deadline = tokio::time::Instant::now() + crate::common::PATIENCE;
    loop {
        let answer = server.call("list_tables", json!({"pattern": "*x*"})).await;
        if answer.structured["code"] != "timeout" {
            assert_eq!(answer.ok().structured["total"], 0);
            break;
        }
        assert!(tokio::time::Instant::now() < deadline);
    }
    assert_eq!(livy.sessions().await.len(), 1);
    server.end().await;
    livy.empties().await;
    livy.end().await;
}
