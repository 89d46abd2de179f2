//! A merge: its source's keys are looked at before anything is written, then the rows of equal keys are replaced and
//! the others added, in one commit.

use serde_json::Value;

use super::engine::Engine;
use crate::model::Result;
use crate::platform::write::said::{self, KEYS_SHOWN};
use crate::spark_connect::{Field, Relation};
use crate::sql::quote;

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
    let sql = format!("select count(*) from {source} where {null}");
    let nulls = query(engine, &sql).await?;
    let count = nulls
        .first()
        .and_then(|row| row.first()?.as_u64())
        .unwrap_or(0);
    let sql = format!(
        "select {columns}, count(*) from {source} group by {columns} having count(*) > 1 \
         order by count(*) desc, {columns} limit {}",
        KEYS_SHOWN + 1
    );
    let twice = query(engine, &sql).await?;
    said::check_keys(keys, count, twice)
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
