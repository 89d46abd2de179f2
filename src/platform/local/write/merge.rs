//! A merge: its source's keys are looked at before anything is written, then the rows of equal keys are replaced and
//! the others added, in one commit.

use serde_json::Value;

use super::engine::Engine;
use crate::model::{Code, Error, Result};
use crate::spark_connect::{Field, Relation};
use crate::sql::quote;

/// Keys that an error shows.
const SHOWN: u64 = 5;

/// Refuses NULL and duplicate keys in the view `source`, and shows them.
///
/// # Errors
/// `invalid_argument` with up to 5 keys and how often they stand there.
pub(super) async fn check_keys(engine: Engine<'_>, source: &str, keys: &[String]) -> Result<()> {
    let list: Vec<String> = keys.iter().map(|key| quote(key)).collect();
    let columns = list.join(", ");
    let null = list
        .iter()
        .map(|key| format!("{key} is null"))
        .collect::<Vec<_>>()
        .join(" or ");
    let mut wrong = Vec::new();
    let sql = format!("select count(*) from {source} where {null}");
    let nulls = query(engine, &sql).await?;
    let count = nulls
        .first()
        .and_then(|row| row.first()?.as_u64())
        .unwrap_or(0);
    if count > 0 {
        let rows = match count {
            1 => "1 row of the source has".to_owned(),
            _ => format!("{count} rows of the source have"),
        };
        wrong.push(format!("{rows} NULL in a key"));
    }
    let sql = format!(
        "select {columns}, count(*) from {source} group by {columns} having count(*) > 1 \
         order by count(*) desc, {columns} limit {}",
        SHOWN + 1
    );
    let mut twice = query(engine, &sql).await?;
    twice.retain(|row| row.iter().all(|cell| !cell.is_null()));
    if !twice.is_empty() {
        let few = usize::try_from(SHOWN).unwrap_or(usize::MAX);
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

/// Merges the view `source`, whose name is also the mark, into `target`, a table as SQL names it.
///
/// # Errors
/// What the engine says.
pub(super) async fn merge(
    engine: Engine<'_>,
    target: &str,
    source: &str,
    columns: &[Field],
    keys: &[String],
) -> Result<()> {
    let equal: Vec<String> = keys
        .iter()
        .map(|key| format!("t.{key} = {source}.{key}", key = quote(key)))
        .collect();
    let set: Vec<String> = columns
        .iter()
        .filter(|column| !keys.contains(&column.name))
        .map(|column| format!("t.{name} = {source}.{name}", name = quote(&column.name)))
        .collect();
    let names: Vec<String> = columns.iter().map(|c| quote(&c.name)).collect();
    let values: Vec<String> = names
        .iter()
        .map(|name| format!("{source}.{name}"))
        .collect();
    // Of rows that are keys alone there is nothing to replace.
    let update = if set.is_empty() {
        String::new()
    } else {
        format!(" when matched then update set {}", set.join(", "))
    };
    let sql = format!(
        "merge into {target} as t using {source} as {source} on {}{update} when not matched then insert ({}) values ({})",
        equal.join(" and "),
        names.join(", "),
        values.join(", ")
    );
    let plan = Relation::sql_positional(&sql, &[])?
        .without_place()
        .command();
    engine.run(plan).await
}

async fn query(engine: Engine<'_>, sql: &str) -> Result<Vec<Vec<Value>>> {
    let relation = Relation::sql_positional(sql, &[])?.without_place();
    engine.rows(relation.rows()).await
}
