//! Each mode × source × (the table is there or not) × (its columns are the same, compatible, different).

use serde_json::{Value, json};

use super::{rows, write};
use crate::common::{Place, Server, on};

on!([local]:
    every_mode_source_and_state_of_a_table_does_what_it_says_or_nothing
);

/// How the source's columns are beside the table's `id bigint, name string`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Columns {
    Same,
    /// Other order, other case, a column is missing.
    Compatible,
    /// Another type, a column that the table does not have.
    Different,
}

const SOURCES: [&str; 4] = ["sql", "rows", "file", "variable"];

/// A source with these columns; ids 2 and 3, of which the table has 2.
fn source(server: &Server, kind: &str, columns: Columns) -> Value {
    use Columns::{Compatible, Different, Same};
    let file = |name: &str, text: &str| {
        std::fs::write(server.work().join(name), text).unwrap();
        json!({"file": name})
    };
    match (kind, columns) {
        ("sql", Same) => {
            json!({"sql": "select * from values (2L, 'new'), (3L, 'new') as v(id, name)"})
        }
        ("sql", Compatible) => json!({"sql": "select cast(id + 2 as int) as ID from range(2)"}),
        ("sql", Different) => {
            json!({"sql": "select cast(id + 2 as string) as id, 1.5 as other from range(2)"})
        }
        ("rows", Same) => json!({"rows": [{"id": 2, "name": "new"}, {"id": 3, "name": "new"}]}),
        ("rows", Compatible) => json!({"rows": {"columns": ["ID"], "rows": [[2], [3]]}}),
        ("rows", Different) => {
            json!({"rows": [{"id": "two", "other": 1.5}, {"id": "three", "other": 2}]})
        }
        ("file", Same) => file("same.csv", "id,name\n2,new\n3,new\n"),
        ("file", Compatible) => file("compatible.jsonl", "{\"ID\":2}\n{\"ID\":3}\n"),
        ("file", Different) => file("different.csv", "id,other\ntwo,1.5\nthree,2\n"),
        ("variable", columns) => {
            json!({"variable": format!("{columns:?}").to_lowercase(), "session": "named"})
        }
        (kind, _) => panic!("no source {kind}"),
    }
}

async fn every_mode_source_and_state_of_a_table_does_what_it_says_or_nothing(place: Place) {
    let server = place.server().await;
    server
        .call("open_session", json!({"name": "named"}))
        .await
        .ok();
    every(&server).await;
    server.end().await;
    place.end().await;
}

/// All of them, with a named session `named`.
pub(crate) async fn every(server: &Server) {
    let frames = "import pandas as pd\n\
                  same = pd.DataFrame({'id': [2, 3], 'name': ['new', 'new']})\n\
                  compatible = spark.range(2, 4).selectExpr('cast(id as int) as ID')\n\
                  different = pd.DataFrame({'id': ['two', 'three'], 'other': [1.5, 2.0]})";
    server
        .call(
            "run_pyspark",
            json!({"code": frames, "session": "named", "wait_s": 60}),
        )
        .await
        .ok();
    let old = json!({"rows": [{"id": 1, "name": "old"}, {"id": 2, "name": "old"}]});
    let mut count = 0;
    for mode in ["error", "append", "overwrite", "merge"] {
        for kind in SOURCES {
            for there in [false, true] {
                for columns in [Columns::Same, Columns::Compatible, Columns::Different] {
                    count += 1;
                    let table = format!("t{count}");
                    let what = format!("{mode} from {kind}, there: {there}, {columns:?}");
                    if there {
                        write(server, &table, "error", old.clone()).await.ok();
                    }
                    let mut arguments = source(server, kind, columns);
                    if mode == "merge" {
                        arguments["keys"] = json!(["id"]);
                    }
                    let answer = write(server, &table, mode, arguments).await;
                    check(server, &table, mode, there, columns, answer, &what).await;
                }
            }
        }
    }
    assert_eq!(count, 96);
}

async fn check(
    server: &Server,
    table: &str,
    mode: &str,
    there: bool,
    columns: Columns,
    answer: crate::common::Answer,
    what: &str,
) {
    let refused = match (mode, there, columns) {
        ("error", true, _) => Some("already_exists"),
        ("append" | "merge", true, Columns::Different) => Some("invalid_argument"),
        _ => None,
    };
    if let Some(code) = refused {
        assert!(answer.is_error, "{what}: {}", answer.text);
        assert_eq!(answer.structured["code"], code, "{what}: {}", answer.text);
        let (_, found) = rows(server, table).await;
        let old = [[json!(1), json!("old")], [json!(2), json!("old")]];
        assert_eq!(found, old, "{what}");
        return;
    }
    assert!(!answer.is_error, "{what}: {}", answer.text);
    let written = &answer.structured["written"];
    // Of keys alone nothing is replaced.
    let keys_alone = mode == "merge" && there && columns == Columns::Compatible;
    let rows_written = if keys_alone { 1 } else { 2 };
    assert_eq!(written["rows"], rows_written, "{what}: {}", answer.text);
    assert_eq!(written["mode"], mode, "{what}");
    assert_eq!(written["format"], "delta", "{what}");
    assert_eq!(written["created"], !there, "{what}");
    assert_eq!(written["table"], format!("default.{table}"), "{what}");
    // A table whose new columns need other properties is replaced as a whole, and begins anew.
    // An engine behind a server may tell no versions.
    if let Some(version) = written["version"].as_u64() {
        let anew = there && mode == "overwrite" && columns == Columns::Different && version == 1;
        assert_eq!(
            version,
            if there && !anew { 2 } else { 1 },
            "{what}: {}",
            answer.text
        );
    }
    let (names, found) = rows(server, table).await;
    let ids: Vec<String> = found.iter().map(|row| row[0].to_string()).collect();
    let keeps = there && mode != "overwrite";
    if keeps {
        assert_eq!(names, ["id bigint", "name string"], "{what}");
        let expected: &[&str] = match mode {
            "append" => &["1", "2", "2", "3"],
            _ => &["1", "2", "3"],
        };
        assert_eq!(ids, expected, "{what}");
        if mode == "merge" {
            // What the source does not have stays.
            let name = if columns == Columns::Same {
                "new"
            } else {
                "old"
            };
            assert_eq!(found[1][1], name, "{what}");
        }
    } else {
        let first = match columns {
            Columns::Same => "id bigint",
            Columns::Compatible => "ID ",
            Columns::Different => "id string",
        };
        assert!(names[0].starts_with(first), "{what}: {names:?}");
        assert_eq!(ids.len(), 2, "{what}");
    }
}
