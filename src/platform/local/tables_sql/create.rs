//! `CREATE OR REPLACE TABLE` and `CREATE TABLE … LIKE`.
//!
//! A plain Delta table that is there is replaced where it is, by one commit: its history and its folder stay. Any
//! other (one that the catalogue commits to, one that is not Delta) is replaced by a new plain one in a folder of its
//! own, which takes the name in one step. Either way a reader sees the old table or the new one.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::alter::check_properties;
use super::engine::blocking;
use super::locate::{missing, taken};
use super::statement::{Create, CreateMode, NewColumn, Target};
use super::{Did, Step, Stop, Tables, rows};
use crate::model::{Code, Error, Result, Retry, TableName};
use crate::platform::Params;
use crate::platform::local::delta::{self, Description, NewTable};
use crate::platform::local::metastore::{Publish, Table};
use crate::platform::local::write::{is_conflict, statistics};
use crate::platform::names::{self, NameOf};
use crate::spark_connect::{Destination, Field, Relation, Save, SaveMode, Type};
use crate::sql::quote;

/// The properties that say of which columns the log has statistics.
pub(super) const STATISTICS: [&str; 2] = [
    "delta.dataSkippingNumIndexedCols",
    "delta.dataSkippingStatsColumns",
];

/// How often a replacement is tried that another writer came before: each time the query runs anew.
const RACES: u32 = 6;

/// From the first such try to the next, doubled each time, and a random part of it.
const AGAIN_AFTER: Duration = Duration::from_millis(30);

impl Tables<'_> {
    pub(super) async fn create(&self, create: &Create, params: &Params) -> Step<Did> {
        if !self.is_delta(create).await? {
            return Ok(Did::Engine);
        }
        check_properties(create.properties.keys())?;
        let name = self.name(&create.table).await?;
        if !create.mode.replaces() {
            return self.created(create, &name, params).await;
        }
        for again in 0..RACES {
            match self.created(create, &name, params).await {
                Err(Stop::Failed(e)) if is_race(&e) => pause(again).await,
                done => return done,
            }
        }
        Err(Error::new(
            Code::StatementFailed,
            format!("other writers replaced {name} meanwhile, {RACES} times in a row"),
        )
        .hint("Run the statement again; the table is as the others have left it.")
        .retry(Retry::Now)
        .into())
    }

    async fn created(&self, create: &Create, name: &TableName, params: &Params) -> Step<Did> {
        let existing = self.metastore.find(name).await?;
        match (create.mode, &existing) {
            (CreateMode::New, Some(_)) => return Err(taken(name).into()),
            (CreateMode::IfNotExists, Some(_)) => return Ok(Did::Nothing),
            (CreateMode::Replace, None) => return Err(missing(name).into()),
            _ => {}
        }
        let query = match &create.query {
            Some(text) => Some(bound(text, params)?),
            None => None,
        };
        let (fields, schema) = match &query {
            Some(query) => of_query(self.spark.schema(query).await?),
            None => self.of_columns(&create.columns).await?,
        };
        check(&fields, &create.partition_by)?;
        let statistics = statistics(&fields);
        let mut table = NewTable {
            schema,
            partition_by: partition_columns(&fields, &create.partition_by),
            comment: create.comment.clone(),
            properties: create.properties.clone(),
        };
        table.properties.extend(statistics.clone());
        let mark = Uuid::new_v4().to_string();
        let stays = match &existing {
            Some(old) => stays(old, statistics).await,
            None => false,
        };
        let commit = match existing {
            Some(old) if stays => {
                let relation = match query {
                    Some(query) => query,
                    None => Relation::sql_positional(&no_rows(&fields), &[])?,
                };
                Some(self.replace_in_place(&old, table, relation, &mark).await?)
            }
            old => {
                let publish = match &old {
                    Some(old) => Publish::Replace(old.id.clone()),
                    None => Publish::Create,
                };
                self.make(name, table, query, publish, &mark).await?
            }
        };
        match (&create.query, commit) {
            (None, _) => Ok(Did::Nothing),
            // Of no rows the engine makes no commit.
            (Some(_), None) => Ok(count(Some(0))),
            (Some(_), Some(c)) => Ok(count(
                c.metrics.get("numOutputRows").and_then(Value::as_u64),
            )),
        }
    }

    pub(super) async fn like(
        &self,
        table: &[String],
        source: &Target,
        if_not_exists: bool,
    ) -> Step<Did> {
        let name = self.name(table).await?;
        match self.metastore.find(&name).await? {
            Some(_) if if_not_exists => return Ok(Did::Nothing),
            Some(_) => return Err(taken(&name).into()),
            None => {}
        }
        let source = self.find(source).await?;
        let like = source.snapshot("CREATE TABLE … LIKE").await?;
        let new = NewTable {
            schema: like.schema,
            partition_by: like.partition_by,
            comment: like.comment,
            properties: like
                .properties
                .into_iter()
                .filter(|(key, _)| STATISTICS.contains(&key.as_str()))
                .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())))
                .collect(),
        };
        self.make(&name, new, None, Publish::Create, "").await?;
        Ok(Did::Nothing)
    }

    /// A plain CREATE TABLE is of the session's default format.
    async fn is_delta(&self, create: &Create) -> Step<bool> {
        if create.said_delta || create.mode.replaces() {
            return Ok(true);
        }
        let format = self.spark.get_config("spark.sql.sources.default").await?;
        Ok(format.is_none_or(|format| format.eq_ignore_ascii_case("delta")))
    }

    /// A new table in a folder of its own, and the commit that has its rows, if there are any.
    async fn make(
        &self,
        name: &TableName,
        table: NewTable,
        query: Option<Relation>,
        publish: Publish,
        mark: &str,
    ) -> Step<Option<delta::Commit>> {
        let folder = self.metastore.new_folder(name).await?;
        let path = folder.path().to_owned();
        let comment = table.comment.clone();
        let partition_by = table.partition_by.clone();
        let at = path.clone();
        blocking(move || delta::create(&at, &table)).await?;
        let mut commit = None;
        if let Some(query) = query {
            let told = text_of(&self.metastore.for_engine(&path))?;
            let save = Save {
                to: Destination::Path(told.clone()),
                mode: SaveMode::Append,
                partition_by,
                overwrite_schema: false,
                mark: mark.to_owned(),
            };
            self.execute(query.save(save)).await?;
            let (at, mark) = (path.clone(), mark.to_owned());
            commit = blocking(move || delta::commit_of(&at, Some(0), &mark)).await?;
            // Of no rows there is no commit. Rows that only the engine finds are somewhere else.
            let read = Relation::delta(&told).limit(1).rows();
            if commit.is_none() && !self.execute(read).await?.is_empty() {
                return Err(delta::strayed(&path).into());
            }
        }
        self.metastore
            .publish(name, folder, comment, publish)
            .await?;
        Ok(commit)
    }

    /// Replaces what a plain Delta table holds and is, by one commit. What the engine cannot say of the columns
    /// (comments, that they may hold NULL) and of the table is said by a second one.
    async fn replace_in_place(
        &self,
        old: &Table,
        table: NewTable,
        rows: Relation,
        mark: &str,
    ) -> Step<delta::Commit> {
        let save = Save {
            to: Destination::Path(text_of(&self.metastore.for_engine(&old.location))?),
            mode: SaveMode::Overwrite,
            partition_by: table.partition_by.clone(),
            overwrite_schema: true,
            mark: mark.to_owned(),
        };
        let done = self.execute(rows.save(save)).await;
        let (location, mark) = (old.location.clone(), mark.to_owned());
        let found = blocking(move || delta::commit_of(&location, None, &mark)).await?;
        // What the log has is true, whatever the engine said.
        let commit = match (done, found) {
            (_, Some(commit)) => commit,
            (Err(stop), None) => return Err(stop),
            (Ok(_), None) => return Err(delta::strayed(&old.location).into()),
        };
        let (location, ours) = (old.location.clone(), commit.version);
        blocking(move || {
            delta::change(&location, "CHANGE COLUMN", |found: &mut Description| {
                // Another writer has made another table of it since: what it says stays.
                if found.since > ours {
                    return Ok(());
                }
                describe(&mut found.schema, &table.schema);
                found.comment.clone_from(&table.comment);
                // Delta's own go with the protocol, which stays.
                found.properties.retain(|key, _| key.starts_with("delta."));
                found.properties.extend(table.properties.clone());
                Ok(())
            })
        })
        .await?;
        Ok(commit)
    }

    /// The fields of a list of columns, and the same as the log has them.
    async fn of_columns(&self, columns: &[NewColumn]) -> Step<(Vec<Field>, Value)> {
        let mut fields = Vec::new();
        let mut list = Vec::new();
        for column in columns {
            let (field, json) = self.column(column).await?;
            fields.push(field);
            list.push(json);
        }
        Ok((fields, json!({"type": "struct", "fields": list})))
    }

    /// A column's field, and the same as the log has it.
    pub(super) async fn column(&self, column: &NewColumn) -> Step<(Field, Value)> {
        if let Some(problem) = names::problem(NameOf::Column, &column.name) {
            return Err(Error::new(Code::InvalidArgument, problem)
                .hint("Choose another name for the column.")
                .into());
        }
        let ddl = format!("{} {}", quote(&column.name), column.data_type);
        let parsed = self.spark.parse_ddl(&ddl).await.map_err(|e| {
            Error::new(
                Code::InvalidArgument,
                format!(
                    "the type {} of column {} is not understood: {}",
                    column.data_type,
                    column.name,
                    e.message()
                ),
            )
            .hint("Use types such as bigint, string, decimal(10,2), timestamp, array<int>, struct<a:int>.")
        })?;
        let field = parsed
            .and_then(|fields| fields.into_iter().next())
            .ok_or_else(|| Error::internal("the engine told no type of a column"))?;
        let mut metadata = Map::new();
        if let Some(comment) = &column.comment {
            metadata.insert("comment".to_owned(), comment.as_str().into());
        }
        let json = json!({
            "name": column.name,
            "type": field.data_type.json(),
            "nullable": !column.required,
            "metadata": metadata,
        });
        Ok((field, json))
    }
}

/// Whether a table can be replaced where it is: a plain Delta table whose log we may write, and whose columns have no
/// other names in its files. What statistics it has must be right before the rows are written, which `statistics` says:
/// else a table of ours gets a new folder.
async fn stays(old: &Table, statistics: Option<(String, String)>) -> bool {
    if old.format != "delta" || old.catalog_managed {
        return false;
    }
    let (location, owned) = (old.location.clone(), old.owned);
    let looked = blocking(move || {
        let mut mapped = false;
        let mut others = false;
        delta::prepare(&location, "", false, |table| {
            let mode = table.properties.get("delta.columnMapping.mode");
            mapped = mode.is_some_and(|mode| mode != "none");
            others = STATISTICS.iter().any(|key| {
                let wanted = statistics.as_ref().filter(|(wanted, _)| wanted == key);
                table.properties.get(*key) != wanted.map(|(_, value)| value)
            });
            Ok(())
        })?;
        let another = mapped || (owned && others);
        Ok(!another)
    });
    looked.await.unwrap_or(false)
}

/// A text with its values bound.
///
/// # Errors
/// `invalid_argument` for a value that has no literal.
pub(crate) fn bound(text: &str, params: &Params) -> Result<Relation> {
    // A place in the query would not be one in the statement.
    Ok(match params {
        Params::None => Relation::sql_positional(text, &[]),
        Params::Named(values) => Relation::sql_named(text, values),
        Params::Positional(values) => Relation::sql_positional(text, values),
    }?
    .without_place())
}

pub(super) fn of_query(fields: Vec<Field>) -> (Vec<Field>, Value) {
    let fields: Vec<Field> = fields.into_iter().map(loose).collect();
    let schema = crate::spark_connect::schema_json(&fields);
    (fields, schema)
}

/// The same where every place may hold NULL: what one query's rows have is no promise of the table's.
fn loose(field: Field) -> Field {
    fn within(data_type: Type) -> Type {
        match data_type {
            Type::Array(item) => Type::Array(Box::new(within(*item))),
            Type::Map(key, value) => Type::Map(Box::new(within(*key)), Box::new(within(*value))),
            Type::Struct(fields) => Type::Struct(fields.into_iter().map(loose).collect()),
            plain => plain,
        }
    }
    Field {
        name: field.name,
        data_type: within(field.data_type),
        nullable: true,
    }
}

/// What is wrong with columns, all of it.
pub(super) fn check(fields: &[Field], partition_by: &[String]) -> Result<()> {
    let mut wrong = Vec::new();
    let mut seen = HashSet::new();
    for field in fields {
        wrong.extend(names::problem(NameOf::Column, &field.name));
        if !seen.insert(field.name.to_lowercase()) {
            wrong.push(format!("two columns are called {}", field.name));
        }
        let no_column = |t: &Type| matches!(t, Type::Void | Type::Other(_));
        if field.data_type.holds(&no_column) {
            wrong.push(format!(
                "the column {} has the type {}, which no Delta table keeps",
                field.name, field.data_type
            ));
        }
    }
    for column in partition_by {
        wrong.extend(names::problem(NameOf::Partition, column));
        if !seen.contains(&column.to_lowercase()) {
            wrong.push(format!("there is no column {column} to partition by"));
        }
    }
    if !partition_by.is_empty() && partition_by.len() >= fields.len() {
        wrong.push("all columns are columns to partition by".to_owned());
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::new(Code::InvalidArgument, wrong.join("; "))
        .hint("Name and cast the columns in the query: SELECT cast(a AS bigint) AS a, …."))
}

/// The columns to partition by, spelt as the columns are.
fn partition_columns(fields: &[Field], partition_by: &[String]) -> Vec<String> {
    let spelt = |name: &String| {
        let field = fields
            .iter()
            .find(|f| f.name.to_lowercase() == name.to_lowercase());
        field.map_or_else(|| name.clone(), |f| f.name.clone())
    };
    partition_by.iter().map(spelt).collect()
}

/// A query that has these columns and no rows.
fn no_rows(fields: &[Field]) -> String {
    let columns: Vec<String> = fields
        .iter()
        .map(|f| format!("CAST(NULL AS {}) AS {}", f.data_type, quote(&f.name)))
        .collect();
    format!("SELECT {} WHERE false", columns.join(", "))
}

/// Puts what `wanted` says of each column into a schema that has the same columns, and their order. Columns of other
/// types are another writer's and stay.
fn describe(schema: &mut Value, wanted: &Value) {
    let Some(wanted) = wanted.get("fields").and_then(Value::as_array) else {
        return;
    };
    let Some(fields) = schema.get_mut("fields").and_then(Value::as_array_mut) else {
        return;
    };
    let is = |field: &Value, wanted: &Value| {
        field.get("name") == wanted.get("name")
            && field.get("type").map(bare) == wanted.get("type").map(bare)
    };
    let all = fields.len() == wanted.len();
    if all && wanted.iter().all(|w| fields.iter().any(|f| is(f, w))) {
        fields.clone_from(wanted);
    }
}

/// A type without what it says of NULL, and without comments.
fn bare(data_type: &Value) -> Value {
    match data_type {
        Value::Object(parts) => {
            let said = ["containsNull", "valueContainsNull", "nullable", "metadata"];
            let kept = parts.iter().filter(|(k, _)| !said.contains(&k.as_str()));
            Value::Object(kept.map(|(k, v)| (k.clone(), bare(v))).collect())
        }
        Value::Array(parts) => parts.iter().map(bare).collect(),
        plain => plain.clone(),
    }
}

/// Whether another writer came first, so that the table is to be looked at again.
fn is_race(error: &Error) -> bool {
    error.code() == Code::AlreadyExists || is_conflict(error)
}

/// Growing, and of random length, so that two writers do not meet for ever.
async fn pause(again: u32) {
    let random = Uuid::new_v4().into_bytes().first().copied().unwrap_or(0);
    let wait = AGAIN_AFTER * 2_u32.pow(again);
    tokio::time::sleep(wait + wait * u32::from(random) / 255).await;
}

fn text_of(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Error::new(
            Code::InvalidArgument,
            format!("the path {} is not UTF-8", path.display()),
        )
        .hint("Set SPARKLEASE_DATA_DIR to a folder with a name in UTF-8.")
    })
}

/// How many rows a statement wrote or changed.
pub(super) fn count(count: Option<u64>) -> Did {
    match count {
        Some(count) => rows(&[("count", "bigint")], vec![vec![count.into()]]),
        None => Did::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: &[(&str, &str)]) -> Value {
        let fields: Vec<Value> = fields
            .iter()
            .map(|(name, kind)| {
                json!({"name": name, "type": {"type": "array", "elementType": kind, "containsNull": false},
                    "nullable": false, "metadata": {}})
            })
            .collect();
        json!({"type": "struct", "fields": fields})
    }

    #[test]
    fn a_schema_gets_the_wanted_order_and_no_other_types() {
        let mut wanted = schema(&[("p", "string"), ("a", "long")]);
        wanted["fields"][0]["nullable"] = true.into();
        wanted["fields"][0]["type"]["containsNull"] = true.into();
        let mut found = schema(&[("a", "long"), ("p", "string")]);
        describe(&mut found, &wanted);
        assert_eq!(found, wanted);
        // Another writer's.
        for other in [
            schema(&[("a", "double"), ("p", "string")]),
            schema(&[("a", "long")]),
        ] {
            let mut found = other.clone();
            describe(&mut found, &wanted);
            assert_eq!(found, other);
        }
    }
}
