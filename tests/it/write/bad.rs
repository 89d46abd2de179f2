//! Bad input: one error that names everything wrong, and nothing is written.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{rows, write};
use crate::common::Server;

/// A refused write with these words in its message; the table `t` is as it was.
async fn refused(server: &Server, mode: &str, arguments: Value, code: &str, words: &[&str]) {
    let answer = write(server, "t", mode, arguments.clone()).await;
    let answer = answer.failed(code);
    for word in words {
        assert!(answer.message().contains(word), "{word}: {}", answer.text);
    }
    assert!(!answer.hint().is_empty(), "{}", answer.text);
    let (columns, found) = rows(server, "t").await;
    assert_eq!(columns, ["id bigint", "name string"], "{arguments}");
    assert_eq!(found, [[json!(1), json!("a")]], "{arguments}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_at_once_and_nothing_is_written() {
    let server = Server::start().await;
    let put = |name: &str, bytes: &[u8]| {
        std::fs::write(server.work().join(name), bytes).unwrap();
    };
    let row = json!([{"id": 1, "name": "a"}]);
    write(&server, "t", "error", json!({"rows": row}))
        .await
        .ok();
    let invalid = "invalid_argument";

    // Arguments, all of them in one error.
    let wrong =
        json!({"rows": row, "sql": "select 1", "keys": ["id"], "variabel": "x", "schema": 5});
    refused(
        &server,
        "appned",
        wrong,
        invalid,
        &[
            "not \"appned\"; did you mean append?",
            "not sql and rows",
            "did you mean variable?",
            "schema must be a string",
        ],
    )
    .await;
    refused(
        &server,
        "append",
        json!({"keys": ["id"]}),
        invalid,
        &[
            "one of sql, rows, file, variable is missing",
            "keys are for mode merge, not for append",
        ],
    )
    .await;
    refused(
        &server,
        "merge",
        json!({"variable": "x"}),
        invalid,
        &["keys are missing", "variable needs session"],
    )
    .await;
    let keys =
        json!({"rows": [{"id": 1}, {"id": 2, "x": 3}, {"name": "b"}, 5], "partition_by": ["y"]});
    refused(
        &server,
        "append",
        keys,
        invalid,
        &[
            "rows[1] has x besides",
            "rows[2] lacks id and has name besides",
            "rows[3] is a number",
            "partition_by: rows have no column y",
        ],
    )
    .await;
    let uneven = json!({"rows": {"columns": ["id", "name"], "rows": [[1], [1, "a", 2]]}});
    refused(
        &server,
        "append",
        uneven,
        invalid,
        &[
            "rows.rows[0] has 1 values, there are 2 columns",
            "rows.rows[1] has 3",
        ],
    )
    .await;

    // Files.
    put("secret.csv", b"id,name\n1,x\n");
    std::fs::rename(
        server.work().join("secret.csv"),
        server.home().join("secret.csv"),
    )
    .unwrap();
    std::os::unix::fs::symlink(
        server.home().join("secret.csv"),
        server.work().join("link.csv"),
    )
    .unwrap();
    put("ragged.csv", b"id,name\n1,x,y\n2\n3,z\n");
    put("text.parquet", b"id,name\n1,x\n");
    put("list.jsonl", b"{\"id\":1}\n[2]\nnot json\n");
    put("latin.csv", b"id,name\n1,\xe4\n");
    put("empty.csv", b"");
    for (file, code, words) in [
        ("../secret.csv", invalid, "outside the allowed folders"),
        ("link.csv", invalid, "outside the allowed folders"),
        ("/etc/passwd", invalid, "outside the allowed folders"),
        ("none.csv", "not_found", "none.csv is not there"),
        (
            "ragged.csv",
            invalid,
            "line 2 has 3 fields, the header has 2; line 3 has 1 fields",
        ),
        ("text.parquet", invalid, "text.parquet is no Parquet file"),
        (
            "list.jsonl",
            invalid,
            "line 2 is [2], not an object; line 3",
        ),
        ("latin.csv", invalid, "line 2: it is not UTF-8"),
        ("empty.csv", invalid, "it is empty"),
    ] {
        refused(&server, "append", json!({"file": file}), code, &[words]).await;
    }
    refused(
        &server,
        "upsert",
        json!({"file": "../secret.csv"}),
        invalid,
        &["did you mean merge?", "outside the allowed folders"],
    )
    .await;

    // Columns, keys, types.
    let other = json!({"sql": "select 'x' as id, 1 as nmae, 2 as z"});
    refused(
        &server,
        "append",
        other,
        invalid,
        &[
            "the columns do not fit default.t",
            "id: table bigint, source string",
            "nmae: not in the table, source int (did you mean name?)",
            "z: not in the table",
        ],
    )
    .await;
    let merge = json!({"sql": "select 1L as id, 'x' as nmae", "keys": ["id", "day"]});
    refused(
        &server,
        "merge",
        merge,
        invalid,
        &["nmae: not in the table", "keys: there is no column day"],
    )
    .await;
    let values = json!({"rows": [{"id": "x", "name": "a"}, {"id": 1, "name": 2}]});
    refused(
        &server,
        "append",
        values,
        invalid,
        &[
            "row 1, column id: \"x\" does not fit bigint",
            "row 2, column name: 2 is no string",
        ],
    )
    .await;
    let twice = json!({"sql": "select id % 3 as id, 'x' as name from range(8) union all select null, 'y'", "keys": ["id"]});
    refused(
        &server,
        "merge",
        twice,
        invalid,
        &[
            "1 row of the source has NULL in a key",
            "id = 0 (3 rows)",
            "id = 2 (2 rows)",
        ],
    )
    .await;
    refused(
        &server,
        "append",
        json!({"sql": "select 1 as id, 2 as ID"}),
        invalid,
        &["one name to Spark"],
    )
    .await;
    refused(
        &server,
        "overwrite",
        json!({"sql": "select null as id"}),
        invalid,
        &["column id: it holds NULL alone"],
    )
    .await;
    refused(
        &server,
        "overwrite",
        json!({"sql": "select interval 1 day as id"}),
        invalid,
        &["a table cannot hold"],
    )
    .await;
    refused(
        &server,
        "append",
        json!({"rows": row, "schema": "id foo"}),
        invalid,
        &["schema: "],
    )
    .await;
    refused(
        &server,
        "append",
        json!({"rows": row, "schema": "id bigint, other int"}),
        invalid,
        &[
            "schema: it lacks the source's column name",
            "schema: the source has no column other",
        ],
    )
    .await;
    refused(
        &server,
        "append",
        json!({"sql": "drop table t"}),
        "policy_denied",
        &["sql: "],
    )
    .await;
    refused(
        &server,
        "append",
        json!({"sql": "show tables"}),
        invalid,
        &["it is no query"],
    )
    .await;
    refused(
        &server,
        "append",
        json!({"sql": "select * from nowhere"}),
        "statement_failed",
        &["nowhere"],
    )
    .await;
    refused(
        &server,
        "append",
        json!({"sql": "select cast('x' as bigint) as id"}),
        "statement_failed",
        &["x"],
    )
    .await;

    refused(
        &server,
        "overwrite",
        json!({"sql": "select 1L as id, named_struct('x', 1) as s",
               "schema": "id bigint comment 'c', s struct<x: int not null>"}),
        invalid,
        &[
            "schema: comments of columns are not kept",
            "schema: not null inside of s is not kept",
        ],
    )
    .await;

    // Names are looked at also when values are wrong.
    put("values.csv", b"id,name,extra\nx,y,1\n");
    refused(
        &server,
        "merge",
        json!({"file": "values.csv", "keys": ["day"], "partition_by": ["p"]}),
        invalid,
        &[
            "row 1, column id: \"x\" does not fit bigint; not in the table: extra",
            "keys: there is no column day",
            "partition_by: there is no column p",
        ],
    )
    .await;
    put("extra.csv", b"id,name,extra\n2,007,1\n");
    refused(
        &server,
        "append",
        json!({"file": "extra.csv"}),
        invalid,
        &["the columns do not fit default.t: extra: not in the table, source bigint"],
    )
    .await;
    let secret = "x".repeat(40);
    let answer = write(&server, "t", "append", json!({"rows": [{"id": secret}]}))
        .await
        .failed(invalid);
    assert!(
        answer
            .message()
            .contains("a string of 40 characters does not fit bigint"),
        "{}",
        answer.text
    );

    // Variables.
    server.call("open_session", json!({"name": "s"})).await.ok();
    let code = json!({"code": "frame = spark.range(1)\nnumber = 5", "session": "s", "wait_s": 60});
    server.call("run_pyspark", code).await.ok();
    for (name, words) in [
        (
            "farme",
            "the session has no variable farme; did you mean frame?; its frames are: frame",
        ),
        ("number", "the variable number is no frame but int"),
    ] {
        refused(
            &server,
            "append",
            json!({"variable": name, "session": "s"}),
            "not_found",
            &[words],
        )
        .await;
    }

    // Places.
    let answer = write(&server, "defualt.t", "append", json!({"rows": row}))
        .await
        .failed("not_found");
    assert_eq!(
        answer.message(),
        "there is no database defualt; did you mean default?"
    );
    assert_eq!(
        answer.hint(),
        "Call run_sql(sql=\"create database `defualt`\") first; nothing was written."
    );
    let answer = write(&server, "a.b.c", "append", json!({"rows": row}))
        .await
        .failed(invalid);
    assert!(
        answer.message().contains("is no name; write t or db.t"),
        "{}",
        answer.text
    );
    let folders = server.home().join("data/lake/tables/default");
    assert_eq!(
        std::fs::read_dir(folders).unwrap().count(),
        1,
        "a folder is left"
    );
    server.end().await;
}

/// Text of characters that SQL, paths and JSON care for.
fn random_name(length: usize) -> String {
    const PARTS: [&str; 20] = [
        "a",
        "Z",
        "0",
        "ü",
        "日",
        "🙂",
        "'",
        "\"",
        "`",
        ".",
        " ",
        ";",
        "DROP TABLE t",
        "--",
        "/",
        "\\",
        "%",
        "{}",
        "=",
        "\u{301}",
    ];
    let mut name = String::new();
    for byte in Uuid::new_v4().into_bytes().into_iter().cycle().take(length) {
        name.push_str(PARTS[usize::from(byte) % PARTS.len()]);
    }
    name
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[tokio::test(flavor = "multi_thread")]
async fn random_names_and_values_survive_or_are_refused_before_anything_is_written() {
    let server = Server::start().await;
    let mut names: Vec<String> = (0..24).map(|n| random_name(n % 12 + 1)).collect();
    names.extend([
        "x".repeat(255),
        "ü".repeat(127),
        "a.b".to_owned(),
        "; DROP TABLE t".to_owned(),
    ]);
    let mut kept = 0;
    for name in &names {
        let (column, value) = (random_name(3), random_name(9));
        let sent = json!({"rows": [{"id": 1, column.clone(): value}]});
        let table = quoted(name);
        let answer = write(&server, &table, "error", sent.clone()).await;
        if answer.is_error {
            let code = answer.structured["code"].as_str().unwrap();
            assert!(
                ["invalid_argument", "already_exists"].contains(&code),
                "{name:?}: {}",
                answer.text
            );
            continue;
        }
        kept += 1;
        for mode in ["append", "overwrite"] {
            let answer = write(&server, &table, mode, sent.clone()).await;
            assert!(
                !answer.is_error,
                "{name:?} {column:?} {mode}: {}",
                answer.text
            );
        }
        let mut merge = sent.clone();
        merge["keys"] = json!([column]);
        let answer = write(&server, &table, "merge", merge).await;
        assert!(!answer.is_error, "{name:?} {column:?}: {}", answer.text);
        let (columns, found) = rows(&server, &table).await;
        assert_eq!(
            columns,
            ["id bigint", &format!("{column} string")],
            "{name:?}"
        );
        assert_eq!(found, [[json!(1), json!(value)]], "{name:?}");
        let listed = server.sql("show tables").await.text;
        let shown = name.split(['"', '`', '\u{301}']).next().unwrap();
        assert!(listed.contains(shown), "{name:?} is not in {listed}");
    }
    assert!(kept >= 10, "only {kept} of {} names are taken", names.len());
    server.end().await;
}
