//! What is wrong with a write, in the words that every platform says. Pure.

use serde_json::Value;

use crate::model::{Code, Error, Result, TableName};
use crate::sql::quote;

/// Keys that an error shows.
pub(in crate::platform) const KEYS_SHOWN: u64 = 5;

/// The class of the harness's error for a name that is no frame.
const NO_FRAME: &str = "NoFrameError";

/// Refuses NULL and duplicate keys of a merge's source. `twice` are keys and how often they stand there, the most
/// frequent first, one more than [`KEYS_SHOWN`] where there are more.
///
/// # Errors
/// `invalid_argument`.
pub(in crate::platform) fn check_keys(
    keys: &[String],
    nulls: u64,
    mut twice: Vec<Vec<Value>>,
) -> Result<()> {
    let mut wrong = Vec::new();
    if nulls > 0 {
        let rows = match nulls {
            1 => "1 row of the source has".to_owned(),
            _ => format!("{nulls} rows of the source have"),
        };
        wrong.push(format!("{rows} NULL in a key"));
    }
    twice.retain(|row| row.iter().all(|cell| !cell.is_null()));
    if !twice.is_empty() {
        let few = usize::try_from(KEYS_SHOWN).unwrap_or(usize::MAX);
        let more = if twice.len() > few { " and more" } else { "" };
        let shown: Vec<String> = twice.iter().take(few).map(|row| words(keys, row)).collect();
        wrong.push(format!(
            "keys stand in the source more than once: {}{more}",
            shown.join("; ")
        ));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::new(Code::InvalidArgument, wrong.join("; ")).hint(
        "Give each key one row, for example by group by or row_number() in sql, or name more keys; nothing was written.",
    ))
}

/// `id = 1, day = "2024-01-01" (3 rows)`.
fn words(keys: &[String], row: &[Value]) -> String {
    let parts: Vec<String> = keys
        .iter()
        .zip(row)
        .map(|(key, value)| format!("{key} = {}", crate::model::shown(value)))
        .collect();
    let count = row.last().and_then(Value::as_u64).unwrap_or(0);
    format!("{} ({count} rows)", parts.join(", "))
}

/// Refuses empty text in columns that a table is partitioned by; `counts` are rows that have it.
///
/// # Errors
/// `invalid_argument`.
pub(in crate::platform) fn check_partition_texts<'a>(
    counts: impl Iterator<Item = (&'a str, u64)>,
) -> Result<()> {
    let found: Vec<String> = counts
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| {
            let rows = if count == 1 { "1 row has" } else { &format!("{count} rows have") };
            format!("partition_by: {rows} an empty string in {name}, which a partition cannot tell from NULL")
        })
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::new(Code::InvalidArgument, found.join("; ")).hint(
        "Write another word for it, as sql=\"select coalesce(nullif(p, ''), 'none') as p, ...\", or partition by another column; nothing was written.",
    ))
}

/// The harness's error of a variable, as the caller of a write means it.
pub(in crate::platform) fn no_frame(error: &Error, name: &str) -> Error {
    let class = error
        .details_ref()
        .and_then(|details| details.error_class.clone());
    let message = error.message().to_owned();
    if class.is_some_and(|class| class.ends_with(NO_FRAME)) {
        let told = message.split_once(": ").map_or("", |(_, told)| told);
        return Error::new(Code::NotFound, told.to_owned()).hint(
            "Pass the name of a Spark or pandas frame that run_pyspark has made in this session; nothing was written.",
        );
    }
    Error::new(
        Code::StatementFailed,
        format!("the frame {name} makes no table: {message}"),
    )
    .hint("Cast its columns in run_pyspark, or make it a Spark frame there; nothing was written.")
}

/// The table is there, and mode `error` makes new ones.
pub(in crate::platform) fn taken(table: &TableName) -> Error {
    Error::new(Code::AlreadyExists, format!("the table {table} is there")).hint(
        "Pass mode=\"append\" to add rows, mode=\"overwrite\" to replace them, mode=\"merge\" with keys, or another name; nothing was written.",
    )
}

/// There is no such database; which one may have been meant.
pub(in crate::platform) fn no_database(name: &str, databases: &[String]) -> Error {
    let near = databases
        .iter()
        .map(|d| (strsim::jaro_winkler(d, name), d))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let near = near.map_or(String::new(), |(_, d)| format!("; did you mean {d}?"));
    Error::new(Code::NotFound, format!("there is no database {name}{near}")).hint(format!(
        "Call run_sql(sql=\"create database {}\") first; nothing was written.",
        quote(name).replace('"', "\\\"")
    ))
}

/// What a `schema` must look like.
pub(in crate::platform) const DDL: &str =
    "Write schema as Spark DDL: \"id bigint, price decimal(10,2), tags array<string>\".";
