//! Another reader: what `write_table` leaves is a Delta table to `deltalake`, value by value.

use std::time::Duration;

use serde_json::{Value, json};

use super::install::{CLIENTS, command, output, parts};
use crate::common::Server;

/// A start of Python and a small table.
const READ_FOR: Duration = Duration::from_secs(120);

fn read(folder: &str, key: &str) -> Value {
    let mut script = command(&CLIENTS.python);
    script
        .arg(parts().join("read_delta.py"))
        .args([folder, key])
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = output(script, READ_FOR);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn write(server: &Server, mode: &str, mut arguments: Value) -> Value {
    arguments["table"] = json!("other readers");
    arguments["mode"] = json!(mode);
    arguments["wait_s"] = json!(60);
    let answer = server.call("write_table", arguments).await.ok();
    answer.structured["written"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn deltalake_reads_every_value_that_was_written() {
    tokio::task::spawn_blocking(|| CLIENTS.python.clone())
        .await
        .unwrap();
    let server = Server::start().await;
    let schema = "id bigint, d decimal(38,18), day date, ts timestamp, ntz timestamp_ntz, bin binary, \
         st struct<x:bigint,y:array<string>>, m map<string,bigint>, f double, f4 float, s string";
    let columns = [
        "id", "d", "day", "ts", "ntz", "bin", "st", "m", "f", "f4", "s",
    ];
    let rows = json!([
        [9_007_199_254_740_993_i64, "12345678901234567890.123456789012345678", "1582-10-04",
         "1899-12-31 23:59:59.999999+00:00", "2024-03-31 02:30:00.000001", "AP8=",
         {"x": 1, "y": ["", null]}, {"a": 1, "b": null}, "NaN", "-Infinity", ""],
        [9_007_199_254_740_994_i64, null, null, null, null, null, null, null, 0.1, 1.5, null],
    ]);
    let sent = json!({"rows": {"columns": columns, "rows": rows}, "schema": schema});
    let written = write(&server, "error", sent).await;
    let folder = written["location"].as_str().unwrap();
    let found = read(folder, "id");
    assert_eq!(found["columns"], json!(columns));
    assert_eq!(found["version"], written["version"]);
    let utc = "tzinfo=zoneinfo.ZoneInfo(key='UTC')";
    assert_eq!(
        found["rows"],
        json!([
            [
                "9007199254740993",
                "Decimal('12345678901234567890.123456789012345678')",
                "datetime.date(1582, 10, 4)",
                format!("datetime.datetime(1899, 12, 31, 23, 59, 59, 999999, {utc})"),
                "datetime.datetime(2024, 3, 31, 2, 30, 0, 1)",
                "b'\\x00\\xff'",
                "{'x': 1, 'y': ['', None]}",
                "[('a', 1), ('b', None)]",
                "nan",
                "-inf",
                "''"
            ],
            [
                "9007199254740994",
                "None",
                "None",
                "None",
                "None",
                "None",
                "None",
                "None",
                "0.1",
                "1.5",
                "None"
            ],
        ])
    );

    // The same rows after an append, a merge, and an overwrite with other columns.
    let more = json!({"sql": "select 1L as id, 'one' as s union all select 2L, 'two'"});
    write(&server, "append", more).await;
    let merged = json!({"rows": [{"id": 2, "s": "zwei"}, {"id": 3, "s": "drei"}], "keys": ["id"]});
    let written = write(&server, "merge", merged).await;
    let found = read(folder, "id");
    assert_eq!(found["version"], written["version"]);
    let texts: Vec<&Value> = found["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row[10])
        .collect();
    assert_eq!(texts, ["'one'", "'zwei'", "'drei'", "''", "None"]);
    let other = json!({"rows": [{"p": "a b/c", "n": 1}, {"p": null, "n": 2}]});
    let written = write(&server, "overwrite", other).await;
    let found = read(written["location"].as_str().unwrap(), "n");
    assert_eq!(found["rows"], json!([["'a b/c'", "1"], ["None", "2"]]));
    server.end().await;
}
