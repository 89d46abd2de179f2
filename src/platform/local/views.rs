//! The temp views of a session, as its engine tells them. What a list makes of them is in `pattern.rs`.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

use super::session::Live;
use crate::model::{Cell, Code, Error, Result, TableColumn, TableInfo, TableKind, TableName};
use crate::platform::pattern::GLOBAL_TEMP;
use crate::spark_connect::{Client, Decoder, Message, Outcome, Relation, RowCap};
use crate::sql::quote;

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
    // By place, as PySpark reads them: engines name these columns differently.
    let views: Vec<TableInfo> = rows
        .iter()
        .filter_map(|row| {
            let [name, _catalog, namespace, _comment, _kind, temporary, ..] = row.as_slice() else {
                return None;
            };
            let name = name
                .as_str()
                .filter(|_| temporary.as_bool() == Some(true))?;
            let global = namespace.as_array().is_some_and(|parts| !parts.is_empty());
            let database = if global { GLOBAL_TEMP } else { "" };
            Some(TableInfo::named(
                TableName::new(database, name),
                TableKind::TempView,
            ))
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
    let mut path = quote(&name.table);
    if !name.database.is_empty() {
        path = format!("{}.{path}", quote(&name.database));
    }
    let rows = match collect(spark, Relation::list_columns(&path)).await {
        Ok(rows) => rows,
        Err(e) if e.code() == Code::StatementFailed => return Ok(None),
        Err(e) => return Err(e),
    };
    let columns = rows.iter().filter_map(|row| {
        let [name, comment, data_type, nullable, ..] = row.as_slice() else {
            return None;
        };
        Some(TableColumn {
            name: name.as_str()?.to_owned(),
            data_type: data_type.as_str()?.to_owned(),
            comment: comment
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned),
            nullable: nullable.as_bool() != Some(false),
        })
    });
    Ok(Some(columns.collect()))
}

async fn collect(spark: &Client, relation: Relation) -> Result<Vec<Vec<Cell>>> {
    let mut decoder = Decoder::new(MOST);
    let mut rows = Vec::new();
    let mut messages = spark.execute(relation.rows(), CancellationToken::new());
    while let Some(message) = messages.recv().await {
        match message {
            Message::Schema(schema) => decoder.schema(&schema),
            Message::Arrow(data) => rows.extend(decoder.batch(data)?.rows),
            Message::End(Outcome::Complete) => return Ok(rows),
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
