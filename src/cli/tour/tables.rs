//! The tour's table: written, merged into, listed, and read by a second process.

use serde_json::{Value, json};

use super::steps::{Steps, WAIT_S, unexpected};
use crate::mcp::Client;
use crate::model::{Error, Result};

/// A name that says whose it is.
const TABLE: &str = "tour_orders";

impl Steps<'_, '_> {
    /// Writes a table from the file, merges rows into it, lists it and reads it back elsewhere.
    ///
    /// # Errors
    /// As [`Steps::run`].
    pub(super) async fn tables(&mut self) -> Result<()> {
        self.stage
            .heading("A table, written from the file, merged into, and listed")?;
        let path = self.input.path.to_string_lossy().into_owned();
        let write = json!({ "table": TABLE, "mode": "error", "file": path, "wait_s": WAIT_S });
        let answer = self.expect("write_table", write, "succeeded").await?;
        let mut rows = written_rows(&answer.structured)?;
        if !self.input.own {
            // One order is corrected, one is new.
            let merge = json!({
                "table": TABLE,
                "mode": "merge",
                "keys": ["order_id"],
                "rows": [
                    { "order_id": 400, "ordered_on": "2025-12-24", "country": "SE", "product": "keyboard", "quantity": 1, "amount": 74.5 },
                    { "order_id": 401, "ordered_on": "2025-12-31", "country": "PT", "product": "desk lamp", "quantity": 2, "amount": 79.8 },
                ],
                "wait_s": WAIT_S,
            });
            self.expect("write_table", merge, "succeeded").await?;
            rows += 1;
        }
        let list = json!({ "pattern": TABLE, "detail": "stats" });
        let answer = self.call("list_tables", list).await?;
        if answer.is_error || !answer.text.contains(TABLE) {
            return Err(unexpected("list_tables", &answer));
        }
        self.second_process(rows).await
    }

    async fn second_process(&mut self, rows: u64) -> Result<()> {
        self.stage
            .heading("The same table, read by a second process")?;
        let second = Client::start((self.second)()?).await?;
        let pid = second.pid();
        let sql = format!("select count(*) as orders from {TABLE}");
        let answer = self
            .call_by(
                &second,
                "query_sql",
                json!({ "sql": sql, "wait_s": WAIT_S }),
            )
            .await;
        second.close().await;
        let answer = answer?;
        let seen = answer.text.lines().any(|line| line == rows.to_string());
        if answer.is_error || !seen {
            return Err(unexpected("query_sql", &answer));
        }
        if !super::left(pid).await?.is_empty() {
            return Err(Error::internal("the second server left processes"));
        }
        Ok(())
    }
}

fn written_rows(answer: &Value) -> Result<u64> {
    answer
        .pointer("/written/rows")
        .and_then(Value::as_u64)
        .ok_or_else(|| Error::internal("the answer does not say how many rows were written"))
}
