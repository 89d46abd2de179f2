//! Values come back as they went in: exactly, or not at all.

use serde_json::{Value, json};

use super::{rows, write};
use crate::common::{Place, Server, on};

on!([local]:
    exact_values_come_back_from_rows_from_json_lines_and_from_a_frame
    columns_of_a_new_table_and_of_a_replaced_one_may_be_null
    partitions_and_empty_sources_are_written
    the_last_line_of_a_text_file_counts_for_its_columns
);

const SCHEMA: &str = "id bigint, d decimal(38,18), day date, ts timestamp, ntz timestamp_ntz, bin binary, \
     st struct<x:bigint,y:struct<z:string>>, ar array<bigint>, m map<string,bigint>, im map<bigint,string>, \
     f double, f4 float, s string, b boolean, i8 tinyint, i16 smallint, i32 int";

/// Rows as our own results show them.
fn exact() -> Vec<Vec<Value>> {
    let null = || vec![Value::Null; 16];
    let mut rows = vec![
        vec![
            json!("12345678901234567890.123456789012345678"),
            json!("1582-10-04"),
            json!("1899-12-31 23:59:59.999999+00:00"),
            json!("2024-03-31 02:30:00.000001"),
            json!("AP8="),
            json!({"x": 1, "y": {"z": ""}}),
            json!([1, null, 9_223_372_036_854_775_807_i64]),
            json!({"a": 1, "b": null}),
            json!([[1, "x"], [2, null]]),
            json!("NaN"),
            json!("Infinity"),
            json!(""),
            json!(true),
            json!(-128),
            json!(32767),
            json!(-2_147_483_648_i64),
        ],
        vec![
            json!("-0.000000000000000001"),
            json!("0001-01-01"),
            json!("0001-01-01 00:00:00+00:00"),
            json!("9999-12-31 23:59:59.999999"),
            json!(""),
            json!({"x": null, "y": null}),
            json!([]),
            json!({}),
            json!([]),
            json!("-Infinity"),
            json!("NaN"),
            json!("ünï\n\"quoted\", 'too'"),
            json!(false),
            json!(127),
            json!(-32768),
            json!(2_147_483_647),
        ],
        vec![
            json!("0.000000000000000000"),
            json!("9999-12-31"),
            json!("2024-01-01 00:00:00.123456+00:00"),
            json!("1970-01-01 00:00:00"),
            json!("AA=="),
            json!({"x": 9_007_199_254_740_993_i64, "y": {"z": null}}),
            json!([null]),
            json!({"": 0}),
            json!([[-1, ""]]),
            json!(0.1),
            json!(0.1),
            Value::Null,
            Value::Null,
            json!(0),
            json!(0),
            json!(0),
        ],
    ];
    rows.push(null());
    for (id, row) in rows.iter_mut().enumerate() {
        row.insert(
            0,
            json!(9_007_199_254_740_993_i64 + i64::try_from(id).unwrap()),
        );
    }
    rows
}

fn names() -> Vec<&'static str> {
    vec![
        "id", "d", "day", "ts", "ntz", "bin", "st", "ar", "m", "im", "f", "f4", "s", "b", "i8",
        "i16", "i32",
    ]
}

async fn exact_values_come_back_from_rows_from_json_lines_and_from_a_frame(place: Place) {
    let server = place.server().await;
    server.call("open_session", json!({"name": "s"})).await.ok();
    exact_values(&server).await;
    server.end().await;
    place.end().await;
}

/// They do, with a named session `s`.
pub(crate) async fn exact_values(server: &Server) {
    let sent = json!({"rows": {"columns": names(), "rows": exact()}, "schema": SCHEMA});
    write(server, "v1", "error", sent).await.ok();
    let (columns, found) = rows(server, "v1").await;
    assert_eq!(found, exact());
    assert_eq!(columns.join(", "), SCHEMA);

    // By lines of JSON, and by the table's own types.
    let lines: Vec<String> = exact()
        .iter()
        .map(|row| {
            let object = names().into_iter().map(str::to_owned).zip(row.clone());
            Value::Object(object.collect()).to_string()
        })
        .collect();
    std::fs::write(server.work().join("v.jsonl"), lines.join("\n")).unwrap();
    let file = json!({"file": "v.jsonl", "schema": SCHEMA});
    write(server, "v2", "error", file).await.ok();
    assert_eq!(rows(server, "v2").await.1, exact());
    let file = json!({"file": "v.jsonl", "keys": ["id"]});
    write(server, "v2", "merge", file).await.ok();
    assert_eq!(rows(server, "v2").await.1, exact());

    // What was read goes back in.
    let again = json!({"rows": {"columns": names(), "rows": found}});
    write(server, "v1", "append", again).await.ok();
    let doubled = rows(server, "v1").await.1;
    let twice: Vec<Vec<Value>> = exact()
        .iter()
        .flat_map(|row| [row.clone(), row.clone()])
        .collect();
    assert_eq!(doubled, twice);

    // From a query, from a Spark frame, and over the old rows with other columns.
    let query = json!({"sql": "select * from v2"});
    write(server, "v3", "error", query.clone()).await.ok();
    assert_eq!(rows(server, "v3").await.1, exact());
    let code = json!({"code": "frame = spark.table('v2')", "session": "s", "wait_s": 60});
    server.call("run_pyspark", code).await.ok();
    let frame = json!({"variable": "frame", "session": "s"});
    write(server, "v4", "error", frame).await.ok();
    assert_eq!(rows(server, "v4").await.1, exact());
    write(server, "v4", "overwrite", json!({"rows": [{"only": 1}]}))
        .await
        .ok();
    write(server, "v4", "overwrite", query).await.ok();
    let (columns, found) = rows(server, "v4").await;
    assert_eq!((columns.join(", ").as_str(), found), (SCHEMA, exact()));
}

async fn columns_of_a_new_table_and_of_a_replaced_one_may_be_null(place: Place) {
    let server = place.server().await;
    let one = json!({"sql": "select 1L as id, named_struct('x', 1L) as s, array(1L) as a"});
    write(&server, "n", "error", one.clone()).await.ok();
    let nulls = json!({"rows": [{"id": null, "s": {"x": null}, "a": [null]}, {"id": null, "s": null, "a": null}]});
    write(&server, "n", "append", nulls.clone()).await.ok();
    write(
        &server,
        "n",
        "overwrite",
        json!({"sql": "select 'x' as other"}),
    )
    .await
    .ok();
    write(&server, "n", "overwrite", one).await.ok();
    write(&server, "n", "append", nulls).await.ok();
    assert_eq!(rows(&server, "n").await.1.len(), 3);
    server.end().await;
    place.end().await;
}

async fn partitions_and_empty_sources_are_written(place: Place) {
    let server = place.server().await;
    let empty = json!({"rows": [{"p": "", "n": 1}], "partition_by": ["p"]});
    let error = write(&server, "p", "error", empty)
        .await
        .failed("invalid_argument");
    assert!(
        error
            .message()
            .contains("1 row has an empty string in p, which a partition cannot tell from NULL"),
        "{}",
        error.text
    );
    let parts = json!({"rows": [{"p": "a/b", "n": 1}, {"p": null, "n": 2}, {"p": " ", "n": 3}], "partition_by": ["p"]});
    write(&server, "p", "error", parts).await.ok();
    let more = json!({"rows": [{"p": "ü=%", "n": 4}], "partition_by": ["P"]});
    write(&server, "p", "append", more).await.ok();
    let answer = write(
        &server,
        "p",
        "overwrite",
        json!({"sql": "select 5L as n, 'z' as p"}),
    )
    .await
    .ok();
    assert_eq!(answer.structured["written"]["version"], 3);
    assert_eq!(rows(&server, "p").await.1.len(), 1);
    let wrong = json!({"rows": [{"p": "x", "n": 1}], "partition_by": ["n"]});
    let error = write(&server, "p", "append", wrong)
        .await
        .failed("invalid_argument");
    assert!(
        error.message().contains("is partitioned by p"),
        "{}",
        error.text
    );

    let none = json!({"rows": {"columns": ["a"], "rows": []}, "schema": "a int"});
    let answer = write(&server, "e", "error", none.clone()).await.ok();
    assert_eq!(answer.structured["written"]["rows"], 0);
    assert_eq!(rows(&server, "e").await.0, ["a int"]);
    let answer = write(&server, "e", "append", none).await.ok();
    assert_eq!(answer.structured["written"]["rows"], 0);
    server.end().await;
    place.end().await;
}

async fn the_last_line_of_a_text_file_counts_for_its_columns(place: Place) {
    let server = place.server().await;
    let lines = "{\"a\":1,\"s\":{\"x\":1}}\n".repeat(3000)
        + "{\"a\":2.5,\"s\":{\"y\":9007199254740993},\"late\":true}\n";
    std::fs::write(server.work().join("f.jsonl"), lines).unwrap();
    write(&server, "j", "error", json!({"file": "f.jsonl"}))
        .await
        .ok();
    let sql = "select * from j where late";
    let found = server.sql(sql).await.ok().text;
    for part in ["2.5", "9007199254740993", "true"] {
        assert!(found.contains(part), "{part}: {found}");
    }
    let (columns, _) = rows(&server, "j").await;
    assert_eq!(
        columns,
        ["a double", "s struct<x:bigint,y:bigint>", "late boolean"]
    );

    let lines = "code,n,day,at\n".to_owned()
        + &"00123,,2024-01-31,2024-01-31 01:02:03\n".repeat(3000)
        + "7,x,0001-01-01,9999-12-31 23:59:59.999999\n";
    std::fs::write(server.work().join("f.csv"), lines).unwrap();
    write(&server, "c", "error", json!({"file": "f.csv"}))
        .await
        .ok();
    let sql = "select * from c where n is not null or code <> '00123'";
    let found = server.sql(sql).await.ok().csv();
    assert_eq!(
        found.last().unwrap()[..],
        ["7", "x", "0001-01-01", "9999-12-31 23:59:59.999999"].map(str::to_owned)
    );
    let (columns, _) = rows(&server, "c").await;
    let kinds = ["code string", "n string", "day date", "at timestamp_ntz"];
    assert_eq!(columns, kinds);
    server.end().await;
    place.end().await;
}
