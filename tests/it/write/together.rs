//! Several servers at one table, and servers that are killed: nothing is lost, nothing half-written is seen.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use super::{rows, server_on, shared, write};
use crate::common::{ENDLESS_SQL, PATIENCE, Server, has_ended, kill, wait_until};

/// Of each of the three.
const APPENDS: usize = 50;
const WRITES: usize = 100;

/// Three servers append to `table` at once, fifty rows each, one by one.
async fn three_append(data: &TempDir, table: &str) {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(server_on(data).await);
    }
    let appends = servers.iter().enumerate().map(|(who, server)| async move {
        for n in 0..APPENDS {
            let row = json!({"rows": [{"who": who, "n": n}]});
            let answer = write(server, table, "append", row).await;
            assert!(!answer.is_error, "{who} {n}: {}", answer.text);
            assert_eq!(answer.structured["written"]["rows"], 1, "{}", answer.text);
        }
    });
    futures::future::join_all(appends).await;
    let (_, found) = rows(&servers[0], table).await;
    let mut found: Vec<(u64, u64)> = found
        .iter()
        .map(|row| (row[0].as_u64().unwrap(), row[1].as_u64().unwrap()))
        .collect();
    found.sort_unstable();
    let all: Vec<(u64, u64)> = (0..3)
        .flat_map(|who| (0..50).map(move |n| (who, n)))
        .collect();
    assert_eq!(found, all);
    for server in servers {
        server.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_appenders_lose_nothing_of_an_external_table() {
    let data = shared();
    three_append(&data, "external").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_appenders_lose_nothing_of_a_managed_table() {
    let data = shared();
    let server = server_on(&data).await;
    let sql = "create table managed (who bigint, n bigint) using delta";
    server.call("run_sql", json!({"sql": sql})).await.ok();
    three_append(&data, "managed").await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_all_modes_at_once_leave_whole_writes() {
    let data = shared();
    let servers = [server_on(&data).await, server_on(&data).await];
    let ten = |mark: usize| json!({"sql": format!("select id as k, {mark}L as mark from range(10)"), "keys": ["k"]});
    write(&servers[0], "t", "merge", ten(0)).await.ok();
    let writers = servers.iter().enumerate().map(|(who, server)| async move {
        for n in 0..10 {
            let mark = 100 * (who + 1) + n;
            let mut arguments = ten(mark);
            let mode = ["merge", "overwrite"][n % 2];
            if mode == "overwrite" {
                arguments.as_object_mut().unwrap().remove("keys");
            }
            let answer = write(server, "t", mode, arguments).await;
            assert!(!answer.is_error, "{mode}: {}", answer.text);
            let (_, found) = rows(server, "t").await;
            let marks: std::collections::HashSet<_> =
                found.iter().map(|row| row[1].as_u64()).collect();
            assert_eq!((found.len(), marks.len()), (10, 1), "{found:?}");
        }
    });
    futures::future::join_all(writers).await;
    for server in servers {
        server.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_write_leaves_nothing() {
    let server = Server::start().await;
    write(&server, "t", "error", json!({"rows": [{"n": 1}]}))
        .await
        .ok();
    let endless = ENDLESS_SQL.replace("count(*)", "count(*) as n");
    for (table, mode) in [("t", "append"), ("t", "overwrite"), ("new", "error")] {
        let arguments = json!({"table": table, "mode": mode, "sql": endless});
        let statement = server.launch("write_table", arguments).await;
        server.reaches(&statement, "running").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let answer = server
            .call("cancel_statement", json!({"statement": statement}))
            .await;
        assert_eq!(answer.status(), "cancelled", "{}", answer.text);
    }
    let late = json!({"sql": endless, "timeout_s": 1});
    write(&server, "t", "append", late).await.failed("timeout");
    assert_eq!(rows(&server, "t").await.1, [[json!(1)]]);
    let gone = server
        .call("query_sql", json!({"sql": "select * from new"}))
        .await;
    gone.failed("statement_failed");
    let folders = server.home().join("data/lake/tables/default");
    assert_eq!(
        std::fs::read_dir(folders).unwrap().count(),
        1,
        "a folder is left"
    );
    server.works().await;
    server.end().await;
}

/// The kill comes at a random moment of a write, or just before or after it.
fn random_moment() -> Duration {
    let byte = Uuid::new_v4().into_bytes()[0];
    Duration::from_micros(u64::from(byte) * 400)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_the_middle_leaves_the_old_or_the_new_content_and_no_lock() {
    let data = shared();
    let mut begun = 0;
    let mut lives = 0;
    // What each table holds: the last write that was answered, or the one after it.
    let mut sure = [0_usize; 4];
    let content = |mark: usize, wide: bool| {
        let more = if wide { ", 'x' as more" } else { "" };
        json!({"sql": format!("select id, {mark}L as mark{more} from range(1000)")})
    };
    let server = server_on(&data).await;
    for table in 0..4 {
        write(&server, &format!("k{table}"), "error", content(0, false))
            .await
            .ok();
    }
    server.end().await;
    while begun < WRITES {
        let server = server_on(&data).await;
        lives += 1;
        look(&server, &mut sure).await;
        // A few whole writes, then one that the kill meets.
        for last in [false, false, true] {
            begun += 1;
            let mark = begun;
            let table = mark % 4;
            let name = format!("k{table}");
            // Every third write changes the columns.
            let content = content(mark, mark % 3 == 0);
            if !last {
                write(&server, &name, "overwrite", content).await.ok();
                sure[table] = mark;
                continue;
            }
            // A new table too: its name must not lead to anything half.
            let (name, mode) = if mark % 2 == 0 {
                (name, "overwrite")
            } else {
                (format!("new{mark}"), "error")
            };
            let mut arguments = content;
            arguments["table"] = json!(name);
            arguments["mode"] = json!(mode);
            let statement = server.launch("write_table", arguments).await;
            assert!(!statement.is_empty());
            tokio::time::sleep(random_moment()).await;
            let pid = server.pid();
            let workers = server.workers();
            kill(pid);
            for worker in workers {
                wait_until("the worker is gone", PATIENCE, || has_ended(worker)).await;
            }
        }
        drop(server);
    }
    let server = server_on(&data).await;
    look(&server, &mut sure).await;
    println!("{begun} writes in {lives} lives");
    server.end().await;
}

/// Every table is readable and whole: an answered write is there, or the one that was killed after it.
async fn look(server: &Server, sure: &mut [usize; 4]) {
    let listed = server
        .call("run_sql", json!({"sql": "show tables", "max_rows": 1000}))
        .await
        .ok();
    let names: Vec<String> = listed.csv().into_iter().map(|row| row[1].clone()).collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let sql = format!("select count(*), count(distinct mark), min(mark) from {name}");
        let row = server.sql(&sql).await.csv().remove(0);
        assert_eq!(
            (row[0].as_str(), row[1].as_str()),
            ("1000", "1"),
            "{name}: {row:?}"
        );
        if let Some(table) = name.strip_prefix('k') {
            let table: usize = table.parse().unwrap();
            let mark: usize = row[2].parse().unwrap();
            assert!(
                mark >= sure[table],
                "{name}: {mark} is older than {}",
                sure[table]
            );
            sure[table] = mark;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_for_a_table_that_is_dropped_or_replaced_meanwhile_are_never_lost_in_silence() {
    let server = Server::start().await;
    server.call("open_session", json!({"name": "s"})).await.ok();
    for (table, anew) in [("gone", false), ("other", true)] {
        let began = server.work().join(format!("{table}.began"));
        let go = server.work().join(format!("{table}.go"));
        let code = format!(
            "import os, time\nfrom pyspark.sql.functions import udf\n\
             @udf('bigint')\ndef slow(n):\n    open({began:?}, 'w').close()\n    \
             while not os.path.exists({go:?}):\n        time.sleep(0.05)\n    return n\n\
             frame = spark.range(3).select(slow('id').alias('n'))"
        );
        let code = json!({"code": code, "session": "s", "wait_s": 60});
        server.call("run_pyspark", code).await.ok();
        let row = json!({"rows": [{"n": 9}]});
        write(&server, table, "error", row.clone()).await.ok();
        let slow = write(
            &server,
            table,
            "append",
            json!({"variable": "frame", "session": "s"}),
        );
        let change = async {
            wait_until("the write began", PATIENCE, || began.exists()).await;
            let sql = format!("drop table {table}");
            server.call("run_sql", json!({"sql": sql})).await.ok();
            if anew {
                write(&server, table, "error", row).await.ok();
            }
            std::fs::write(&go, "").unwrap();
        };
        let (answer, ()) = tokio::join!(slow, change);
        if anew {
            answer.ok();
            assert_eq!(rows(&server, table).await.1.len(), 4);
        } else {
            let error = answer.failed("not_found");
            assert!(
                error.message().contains("was dropped or renamed"),
                "{}",
                error.text
            );
        }
    }
    server.end().await;
}
