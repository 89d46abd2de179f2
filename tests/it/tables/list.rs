//! Tables as their caller finds them: at once, in every process of the user, without a session; as a tool's answer, a
//! resource, a prompt and a command.

use rmcp::model::{
    ArgumentInfo, CompleteRequestParams, GetPromptRequestParams, ReadResourceRequestParams,
    Reference, ResourceContents,
};
use serde_json::{Value, json};

use crate::common::{Answer, Server, Setup};

/// Servers of one user: they share the data folder.
struct User(tempfile::TempDir);

impl User {
    fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("sparklease-it-")
            .tempdir()
            .unwrap();
        Self(folder)
    }

    fn setup(&self) -> Setup {
        Setup::new().variable("SPARKLEASE_DATA_DIR", self.0.path().to_str().unwrap())
    }
}

fn names(answer: &Answer) -> Vec<&str> {
    let tables = answer.structured["tables"].as_array().unwrap();
    tables.iter().map(|t| t["name"].as_str().unwrap()).collect()
}

async fn run(server: &Server, sql: &str) {
    server.call("run_sql", json!({"sql": sql})).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_listed_at_once_in_another_process_that_opens_no_session() {
    let user = User::new();
    let (writer, reader) = (
        Server::with(user.setup()).await,
        Server::without_engine(user.setup()).await,
    );
    let empty = reader.call("list_tables", json!({})).await.ok();
    assert_eq!(empty.structured["total"], 0);
    run(&writer, "create database sales").await;
    run(
        &writer,
        "create table sales.orders (id bigint comment 'the key', price decimal(10,2), day date) \
         using delta partitioned by (day)",
    )
    .await;
    let listed = reader.call("list_tables", json!({})).await.ok();
    assert_eq!(names(&listed), ["sales.orders"], "{}", listed.text);
    run(
        &writer,
        "insert into sales.orders values (1, 2.50, date'2026-01-01'), (2, 3.50, date'2026-01-02')",
    )
    .await;
    let stats = reader
        .call("list_tables", json!({"pattern": "ORD*", "detail": "stats"}))
        .await
        .ok();
    let table = &stats.structured["tables"][0];
    assert_eq!(
        (&table["rows"], &table["partitions"], &table["kind"]),
        (&json!(2), &json!(["day"]), &json!("managed")),
        "{}",
        stats.text
    );
    assert!(table["bytes"].as_u64().unwrap() > 0);
    let columns: Vec<(&str, &str)> = table["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["name"].as_str().unwrap(), c["type"].as_str().unwrap()))
        .collect();
    assert_eq!(
        columns,
        [
            ("id", "bigint"),
            ("price", "decimal(10,2)"),
            ("day", "date")
        ]
    );
    let by_comment = reader
        .call("list_tables", json!({"pattern": "the key"}))
        .await
        .ok();
    assert_eq!(names(&by_comment), ["sales.orders"]);
    let misspelt = reader
        .call("list_tables", json!({"pattern": "oders"}))
        .await
        .ok();
    assert_eq!(
        misspelt.data("nearest names"),
        Some("sales.orders\n"),
        "{}",
        misspelt.text
    );
    run(&writer, "drop table sales.orders").await;
    let gone = reader.call("list_tables", json!({})).await.ok();
    assert_eq!(names(&gone), [""; 0]);
    assert_eq!(reader.workers(), [0; 0], "a list starts no worker");
    reader.end().await;
    writer.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_session_s_views_stand_in_front_and_nobody_else_sees_them() {
    let user = User::new();
    let server = Server::with(user.setup()).await;
    server.call("open_session", json!({"name": "a"})).await.ok();
    let run = async |sql: &str| {
        let call = json!({"sql": sql, "session": "a"});
        server.call("run_sql", call).await.ok();
    };
    run("create table t using delta as select 1 as n").await;
    run("create temp view `my view` as select 1 as seen, cast(2 as decimal(5,2)) as price").await;
    run("create global temp view everywhere as select 1 as g").await;
    let with = |more: Value| {
        let mut call = json!({"session": "a"});
        call.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        server.call("list_tables", call)
    };
    let all = with(json!({"detail": "columns"})).await.ok();
    assert_eq!(
        names(&all),
        ["`my view`", "global_temp.everywhere", "default.t"],
        "{}",
        all.text
    );
    let view = &all.structured["tables"][0];
    assert_eq!(view["kind"], "temp_view");
    assert_eq!(
        view["columns"][1],
        json!({"name": "price", "type": "decimal(5,2)"})
    );
    assert_eq!(
        names(&with(json!({"pattern": "price"})).await.ok()),
        ["`my view`"]
    );
    assert_eq!(
        names(&with(json!({"pattern": "my*"})).await.ok()),
        ["`my view`"]
    );
    let without = server.call("list_tables", json!({})).await.ok();
    assert_eq!(names(&without), ["default.t"]);
    let never = server
        .call("list_tables", json!({"session": "never"}))
        .await
        .failed("not_found");
    assert!(
        never.hint().contains("open_session(name=\"never\""),
        "{}",
        never.text
    );
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_call_is_told_at_once() {
    let server = Server::without_engine(Setup::new()).await;
    let call =
        json!({"pattern": 1, "detail": "all", "cursor": "100", "target": "nope", "patern": "x"});
    let failure = server
        .call("list_tables", call)
        .await
        .failed("invalid_argument");
    for part in [
        "pattern must be a string",
        "detail must be",
        "cursor: ",
        "\"nope\"",
        "did you mean pattern?",
    ] {
        assert!(failure.message().contains(part), "{part}: {}", failure.text);
    }
    assert!(failure.hint().contains("list_tables"), "{}", failure.text);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_and_the_prompt_say_what_the_tool_says() {
    let user = User::new();
    let server = Server::with(user.setup()).await;
    run(
        &server,
        "create table `two words` using delta as select 1 as n, 'x' as s",
    )
    .await;
    run(&server, "create table other using delta as select 1 as n").await;
    let peer = server.peer();
    let listed = peer.list_all_resources().await.unwrap();
    let uris: Vec<&str> = listed.iter().map(|r| r.uri.as_str()).collect();
    assert_eq!(
        uris,
        [
            "spark://local/default.other",
            "spark://local/default.two%20words"
        ]
    );
    let read = peer
        .read_resource(ReadResourceRequestParams::new(uris[1]))
        .await
        .unwrap();
    let ResourceContents::TextResourceContents { text, .. } = &read.contents[0] else {
        panic!("{read:?}")
    };
    let tool = server
        .call("list_tables", json!({"pattern": "two", "detail": "stats"}))
        .await
        .ok();
    let line = tool.data("tables").unwrap();
    assert!(line.contains("default.`two words`"), "{line}");
    assert!(text.contains(line), "{text}\n{}", tool.text);
    assert_eq!(peer.list_all_resource_templates().await.unwrap().len(), 1);
    for gone in [
        "spark://local/default.nothing",
        "spark://nope/a.b",
        "file:///a",
    ] {
        let refused = peer
            .read_resource(ReadResourceRequestParams::new(gone))
            .await;
        assert!(refused.is_err(), "{gone}");
    }

    let prompts = peer.list_all_prompts().await.unwrap();
    assert_eq!(
        prompts.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
        ["explore_table"]
    );
    let ask = |table: &str| {
        let arguments = json!({"table": table}).as_object().unwrap().clone();
        peer.get_prompt(GetPromptRequestParams::new("explore_table").with_arguments(arguments))
    };
    let prompt = ask("`two words`").await.unwrap();
    let text = format!("{:?}", prompt.messages);
    assert!(
        text.contains("n int, s string") && text.contains("query_sql"),
        "{text}"
    );
    for wrong in ["nothing", "", "a.b.c"] {
        assert!(ask(wrong).await.is_err(), "{wrong:?}");
    }
    let offered = peer
        .complete(CompleteRequestParams::new(
            Reference::for_prompt("explore_table"),
            ArgumentInfo::new("table", "Tw"),
        ))
        .await
        .unwrap();
    assert_eq!(offered.completion.values, ["`two words`"]);
    server.end().await;
}
