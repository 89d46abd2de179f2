//! `write_table` on the real engine: what is written is read back, what is refused is refused before anything is
//! written, and nothing that happens in the middle is ever seen.

mod bad;
pub(crate) mod matrix;
mod together;
pub(crate) mod values;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::common::{Answer, Server, Setup};

/// A data directory that several servers share.
fn shared() -> TempDir {
    tempfile::Builder::new()
        .prefix("sparklease-it-lake-")
        .tempdir()
        .unwrap()
}

/// A server on a data directory.
async fn server_on(data: &TempDir) -> Server {
    let path = data.path().to_str().unwrap();
    Server::with(Setup::new().variable("SPARKLEASE_DATA_DIR", path)).await
}

/// `write_table` with these arguments besides table and mode.
pub(crate) async fn write(
    server: &Server,
    table: &str,
    mode: &str,
    mut arguments: Value,
) -> Answer {
    arguments["table"] = json!(table);
    arguments["mode"] = json!(mode);
    arguments["wait_s"] = json!(60);
    server.call("write_table", arguments).await
}

/// What a table holds, in the order of its first column.
pub(crate) async fn rows(server: &Server, table: &str) -> (Vec<String>, Vec<Vec<Value>>) {
    let sql = format!("select * from {table} order by 1");
    let answer = server
        .call(
            "query_sql",
            json!({"sql": sql, "format": "json", "max_rows": 1000}),
        )
        .await
        .ok();
    let columns = answer.structured["columns"].as_array().unwrap();
    let columns = columns
        .iter()
        .map(|c| {
            format!(
                "{} {}",
                c["name"].as_str().unwrap(),
                c["type"].as_str().unwrap()
            )
        })
        .collect();
    let table: Map<String, Value> = serde_json::from_str(answer.data("rows").unwrap()).unwrap();
    let rows = table["rows"].as_array().unwrap();
    let rows = rows.iter().map(|row| row.as_array().unwrap().clone());
    (columns, rows.collect())
}
