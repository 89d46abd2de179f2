//! The temp views of a session, as its engine tells them. What a list makes of them is in `pattern.rs`.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::session::Live;
use crate::model::{
    Batch, Cell, Code, Error, Result, TableColumn, TableInfo, TableKind, TableName,
};
use crate::platform::pattern::GLOBAL_TEMP;
use crate::spark_connect::{Client, Decoder, Message, Outcome, Relation, RowCap};

/// Views of one session that are listed; a session with more has another use for them than being read.
const MOST: RowCap = RowCap {
    rows: 10_000,
    bytes: 8 * 1024 * 1024,
};

/// How long the engine may take, whatever else it is doing: it answers from memory.
const ANSWER_FOR: Duration = Duration::from_secs(10);

/// Views whose columns are asked for at once.
const AT_ONCE: usize = 4;

/// All of them, with their columns if asked for.
///
/// # Errors
/// `platform_unavailable` when the engine does not answer.
/// # Cancel safety
/// Cancel-safe.
pub(super) async fn list(live: &Live, columns: bool) -> Result<Vec<TableInfo>> {
    match tokio::time::timeout(ANSWER_FOR, all(&live.spark, columns)).await {
        Ok(views) => views,
        Err(_) => Err(Error::new(
            Code::PlatformUnavailable,
            format!(
                "the session's engine did not tell its views within {} s",
                ANSWER_FOR.as_secs()
            ),
        )
        .hint("Call list_tables without session for the tables alone, or again when the session's statement has ended.")),
    }
}

async fn all(spark: &Client, columns: bool) -> Result<Vec<TableInfo>> {
    // The database of the global views lists the session's own too, and asks no catalogue for anything.
    let rows = collect(spark, Relation::list_tables(GLOBAL_TEMP)).await?;
    let views: Vec<TableInfo> = rows
        .rows
        .iter()
        .filter(|row| cell(&rows, row, "isTemporary") == Some(&Value::Bool(true)))
        .filter_map(|row| {
            let name = cell(&rows, row, "name")?.as_str()?;
            let global = cell(&rows, row, "namespace")
                .and_then(Value::as_array)
                .is_some_and(|parts| !parts.is_empty());
            let database = if global { GLOBAL_TEMP } else { "" };
            Some(TableInfo {
                name: TableName::new(database, name),
                kind: TableKind::TempView,
                format: None,
                comment: None,
                columns: None,
                rows: None,
                bytes: None,
                partitions: None,
                version: None,
                location: None,
            })
        })
        .collect();
    if !columns {
        return Ok(views);
    }
    futures::stream::iter(views)
        .map(|mut view| async {
            view.columns = columns_of(spark, &view.name).await?;
            Ok(view)
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

/// `None` for a view that went, or cannot be read any more.
async fn columns_of(spark: &Client, name: &TableName) -> Result<Option<Vec<TableColumn>>> {
    let quoted = |part: &str| format!("`{}`", part.replace('`', "``"));
    let mut path = quoted(&name.table);
    if !name.database.is_empty() {
        path = format!("{}.{path}", quoted(&name.database));
    }
    let rows = match collect(spark, Relation::list_columns(&path)).await {
        Ok(rows) => rows,
        Err(e) if e.code() == Code::StatementFailed => return Ok(None),
        Err(e) => return Err(e),
    };
    let text = |row: &[Cell], name: &str| cell(&rows, row, name)?.as_str().map(str::to_owned);
    let columns = rows.rows.iter().filter_map(|row| {
        Some(TableColumn {
            name: text(row, "name")?,
            data_type: text(row, "dataType")?,
            comment: text(row, "description").filter(|text| !text.is_empty()),
            nullable: cell(&rows, row, "nullable") != Some(&Value::Bool(false)),
        })
    });
    Ok(Some(columns.collect()))
}

/// A cell by its column's name.
fn cell<'r>(batch: &Batch, row: &'r [Cell], name: &str) -> Option<&'r Cell> {
    let at = batch.columns.iter().position(|c| c.name == name)?;
    row.get(at)
}

async fn collect(spark: &Client, relation: Relation) -> Result<Batch> {
    let mut decoder = Decoder::new(MOST);
    let mut all = Batch::default();
    let mut messages = spark.execute(relation.rows(), CancellationToken::new());
    while let Some(message) = messages.recv().await {
        match message {
            Message::Schema(schema) => decoder.schema(&schema),
            Message::Arrow(data) => {
                let batch = decoder.batch(data)?;
                all.columns = batch.columns;
                all.rows.extend(batch.rows);
            }
            Message::End(Outcome::Complete) => return Ok(all),
            Message::End(Outcome::Failed(e)) => return Err(e),
            Message::End(Outcome::Cut) => break,
            Message::Relation(_) | Message::Progress(_) => {}
        }
    }
    Err(Error::new(
        Code::PlatformUnavailable,
        "the session's engine stopped telling its views",
    )
    .hint("Call list_tables again."))
}
