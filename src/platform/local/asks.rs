//! What Python code asks of us while it runs: a text of `spark.sql` that the engine may not know, a frame to save as a
//! table, what the catalogue did. Each ask has one answer; a cell's end ends its asks.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::metastore::Door;
use super::rewrite::{self, Rewritten};
use super::tables_sql::{self, Did, SaveMode, Tables, ToSave};
use crate::model::{Code, Error, Result};
use crate::platform::Params;

/// As the worker writes it.
#[derive(Debug, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
enum Ask {
    /// A text of `spark.sql`.
    Sql {
        text: String,
        /// `None` where a value of them cannot be bound by us.
        params: Option<Bound>,
    },
    /// A frame to save, as a temp view.
    Save {
        table: String,
        view: String,
        mode: SaveMode,
        format: Option<String>,
        path: Option<String>,
        #[serde(default)]
        partition_by: Vec<String>,
        #[serde(default)]
        properties: BTreeMap<String, String>,
        comment: Option<String>,
        #[serde(default)]
        overwrite_schema: bool,
        #[serde(default)]
        merge_schema: bool,
    },
    /// The engine has made what may be a table at a place of the user's: what follows in the cell may read and write it.
    Settle,
    /// The engine told of a refusal by the catalogue without its reason.
    Refusal,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Bound {
    Named(BTreeMap<String, Value>),
    Positional(Vec<Value>),
}

impl From<Bound> for Params {
    fn from(bound: Bound) -> Self {
        match bound {
            Bound::Named(values) if values.is_empty() => Self::None,
            Bound::Positional(values) if values.is_empty() => Self::None,
            Bound::Named(values) => Self::Named(values),
            Bound::Positional(values) => Self::Positional(values),
        }
    }
}

/// Answers an ask of the worker that has this door.
pub(super) async fn answer(tables: &Tables<'_>, door: &Door, body: Value) -> Value {
    let did = match serde_json::from_value(body) {
        Ok(Ask::Sql { text, params }) => {
            // What was refused before was another statement's.
            door.take_refusal();
            sql(tables, &text, params).await
        }
        Ok(Ask::Settle) => door.settle_part().await.map(|()| told(Did::Nothing, "")),
        Ok(Ask::Refusal) => Ok(json!({"refusal": door.take_refusal().map(|e| plain(&e))})),
        Ok(Ask::Save {
            table,
            view,
            mode,
            format,
            path,
            partition_by,
            properties,
            comment,
            overwrite_schema,
            merge_schema,
        }) => {
            let save = ToSave {
                table,
                view,
                mode,
                format,
                path,
                partition_by,
                properties,
                comment,
                overwrite_schema,
                merge_schema,
            };
            tables.save(&save).await.map(|did| told(did, ""))
        }
        Err(e) => Err(Error::new(
            Code::InvalidArgument,
            format!("what was asked cannot be read: {e}"),
        )
        .hint("Call the method with the kinds of values that PySpark documents for it.")),
    };
    did.unwrap_or_else(|e| json!({"error": plain(&e)}))
}

fn plain(e: &Error) -> Value {
    // The engine's own words need no hint of ours: code that has the error sees them as Spark's.
    let hint = match e.code() {
        Code::StatementFailed => "",
        _ => e.hint_text(),
    };
    json!({"code": e.code().as_str(), "message": e.message(), "hint": hint})
}

async fn sql(tables: &Tables<'_>, text: &str, params: Option<Bound>) -> Result<Value> {
    let statement = match rewrite::rewrite(text)? {
        Rewritten::Sql(text) => {
            // The engine's count of changed rows is wrong; ours needs to be there before and after.
            return match (rewrite::miscounted(&text), params.map(Params::from)) {
                (Some(target), Some(params)) => {
                    let relation = tables_sql::bound(&text, &params)?;
                    tables
                        .change(relation, &target)
                        .await
                        .map(|did| told(did, &text))
                }
                _ => Ok(json!({"sql": text})),
            };
        }
        Rewritten::UnsetConfig { key } => return Ok(json!({"unset": key})),
        // The worker does these itself, by the same rules.
        Rewritten::SetConfig { .. } | Rewritten::ShowConfig { .. } => {
            return Ok(json!({"sql": text}));
        }
        Rewritten::Own(statement) => statement,
    };
    let params = match params {
        Some(params) => Params::from(params),
        None => {
            return Err(Error::new(
                Code::Unsupported,
                "in this statement only texts, numbers, booleans and None can be bound",
            )
            .hint("Make a temp view of the query with spark.sql(query, args) first, and use the view here."));
        }
    };
    tables
        .run(&statement, &params)
        .await
        .map(|did| told(did, text))
}

fn told(did: Did, text: &str) -> Value {
    match did {
        Did::Nothing => json!({"columns": [], "rows": []}),
        Did::Rows(batch) => json!({"columns": *batch.columns, "rows": batch.rows}),
        Did::Sql(text) => json!({"sql": text}),
        Did::Engine => json!({"engine": true, "sql": text}),
        Did::Cancelled => {
            json!({"error": {"code": "cancelled", "message": "the statement was cancelled", "hint": ""}})
        }
    }
}
