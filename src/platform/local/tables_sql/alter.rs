//! `ALTER TABLE` and `COMMENT ON`: a commit of our own in the table's log.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::create::of_query;
use super::engine::blocking;
use super::statement::{Change, NewColumn, Place, Target};
use super::{Did, Step, Tables};
use crate::model::{Code, Error, Result, TableName};
use crate::platform::local::delta::{self, Description};
use crate::platform::local::metastore::Table;
use crate::spark_connect::Field;

/// Properties of Delta that change nothing in what a reader or a writer must know.
const HARMLESS: [&str; 8] = [
    "delta.appendOnly",
    "delta.autoOptimize.",
    "delta.checkpointInterval",
    "delta.dataSkipping",
    "delta.deletedFileRetentionDuration",
    "delta.logRetentionDuration",
    "delta.randomizeFilePrefixes",
    "delta.targetFileSize",
];

/// A column to be: what was said, and the same as the log has it.
type Added = (NewColumn, Value);

impl Tables<'_> {
    pub(super) async fn alter(&self, table: &Target, change: &Change) -> Step<Did> {
        let found = self.find(table).await?;
        found.check_delta("this ALTER TABLE")?;
        let mut added: Vec<Added> = Vec::new();
        if let Change::AddColumns(columns) = change {
            for column in columns {
                let (_, json) = self.column(column).await?;
                added.push((column.clone(), json));
            }
        }
        let managed = found.table.filter(|table| table.catalog_managed);
        self.altered(managed.as_ref(), found.location, change.clone(), added)
            .await?;
        Ok(Did::Nothing)
    }

    /// The columns of a frame come to a table, where each may be NULL.
    pub(super) async fn add_fields(&self, table: &Table, new: Vec<Field>) -> Step<()> {
        let (new, schema) = of_query(new);
        let json = schema.get("fields").and_then(Value::as_array);
        let added = new.into_iter().zip(json.into_iter().flatten());
        let added = added
            .map(|(field, json)| {
                let column = NewColumn {
                    name: field.name,
                    data_type: String::new(),
                    required: false,
                    comment: None,
                    place: None,
                };
                (column, json.clone())
            })
            .collect();
        let managed = Some(table).filter(|table| table.catalog_managed);
        let change = Change::AddColumns(Vec::new());
        self.altered(managed, table.location.clone(), change, added)
            .await
    }

    async fn altered(
        &self,
        managed: Option<&Table>,
        location: PathBuf,
        change: Change,
        added: Vec<Added>,
    ) -> Step<()> {
        match managed {
            Some(table) => self.alter_managed(table, change, added).await,
            None => {
                blocking(move || {
                    delta::change(&location, operation(&change), |table| {
                        edit(table, &change, &added)
                    })
                })
                .await?;
                Ok(())
            }
        }
    }

    /// A table whose versions the catalogue hands out.
    async fn alter_managed(&self, table: &Table, change: Change, added: Vec<Added>) -> Step<()> {
        let work = Arc::new((change, added));
        for _ in 0..delta::TRIES {
            let (location, work) = (table.location.clone(), work.clone());
            let prepared = blocking(move || {
                let (change, added) = &*work;
                delta::prepare(&location, operation(change), true, |table| {
                    edit(table, change, added)
                })
            });
            let Some(commit) = prepared.await? else {
                return Ok(());
            };
            match self.metastore.commit(table, &commit).await {
                Err(e) if e.code() == Code::AlreadyExists => {}
                done => return Ok(done?),
            }
        }
        Err(delta::outrun(&table.location).into())
    }

    pub(super) async fn rename(&self, from: &[String], to: &[String]) -> Step<Did> {
        let from = self.name(from).await?;
        // Without a database the new name stays in the old one's, as Spark has it only where that is the current one.
        let to = match to {
            [table] => TableName::new(&from.database, table),
            to => self.name(to).await?,
        };
        self.metastore.rename(&from, &to).await?;
        Ok(Did::Nothing)
    }
}

/// As Delta calls it.
fn operation(change: &Change) -> &'static str {
    match change {
        Change::AddColumns(_) => "ADD COLUMNS",
        Change::SetProperties(_) | Change::Comment(_) => "SET TBLPROPERTIES",
        Change::UnsetProperties { .. } => "UNSET TBLPROPERTIES",
        Change::ColumnComment { .. } | Change::DropNotNull(_) => "CHANGE COLUMN",
    }
}

fn edit(table: &mut Description, change: &Change, added: &[Added]) -> Result<()> {
    match change {
        Change::AddColumns(_) => add(table, added),
        Change::SetProperties(properties) => {
            check_properties(properties.keys())?;
            table.properties.extend(properties.clone());
            Ok(())
        }
        Change::UnsetProperties { keys, if_exists } => {
            check_properties(keys)?;
            for key in keys {
                if table.properties.remove(key).is_none() && !if_exists {
                    return Err(Error::new(
                        Code::InvalidArgument,
                        format!("the table has no property {key}"),
                    )
                    .hint("Use SHOW TBLPROPERTIES, or UNSET TBLPROPERTIES IF EXISTS."));
                }
            }
            Ok(())
        }
        Change::Comment(comment) => {
            table.comment.clone_from(comment);
            Ok(())
        }
        Change::ColumnComment { column, comment } => {
            let field = field(&mut table.schema, column)?;
            if !field.get("metadata").is_some_and(Value::is_object) {
                put(field, "metadata", json!({}));
            }
            if let Some(metadata) = field.get_mut("metadata").and_then(Value::as_object_mut) {
                match comment {
                    Some(text) => metadata.insert("comment".to_owned(), text.as_str().into()),
                    None => metadata.remove("comment"),
                };
            }
            Ok(())
        }
        Change::DropNotNull(column) => {
            put(field(&mut table.schema, column)?, "nullable", true.into());
            Ok(())
        }
    }
}

fn put(field: &mut Value, key: &str, value: Value) {
    if let Some(field) = field.as_object_mut() {
        field.insert(key.to_owned(), value);
    }
}

/// Properties that ask readers or writers to know more than the table's protocol says are not ours to set.
pub(super) fn check_properties<'k>(keys: impl IntoIterator<Item = &'k String>) -> Result<()> {
    let refused: Vec<&str> = keys
        .into_iter()
        .map(String::as_str)
        .filter(|key| {
            let harmless = HARMLESS.iter().any(|ok| key.starts_with(ok));
            is_catalogs(key) || (key.starts_with("delta.") && !harmless)
        })
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Code::Unsupported,
        format!(
            "the properties {} cannot be set or unset here",
            refused.join(", ")
        ),
    )
    .hint("Leave them out: they ask for features of Delta that the local engine may not have, or are the catalogue's own."))
}

/// A property by which the engine and the catalogue know a table.
pub(super) fn is_catalogs(key: &str) -> bool {
    key.starts_with("io.unitycatalog.")
}

fn add(table: &mut Description, added: &[Added]) -> Result<()> {
    let mapping = table.properties.get("delta.columnMapping.mode");
    if mapping.is_some_and(|mode| mode != "none") {
        return Err(Error::new(
            Code::Unsupported,
            "a table with column mapping cannot get columns here",
        )
        .hint("Use CREATE OR REPLACE TABLE t AS SELECT *, cast(NULL AS int) AS c FROM t."));
    }
    let mut wrong = Vec::new();
    let fields = fields(&mut table.schema)?;
    for (column, json) in added {
        if column.required {
            wrong.push(format!(
                "the new column {} cannot be NOT NULL: the rows that are there have no value",
                column.name
            ));
        }
        if position(fields, &column.name).is_some() {
            wrong.push(format!("there is a column {}", column.name));
            continue;
        }
        let at = match &column.place {
            None => fields.len(),
            Some(Place::First) => 0,
            Some(Place::After(name)) => match position(fields, name) {
                Some(at) => at + 1,
                None => {
                    wrong.push(format!("there is no column {name}"));
                    continue;
                }
            },
        };
        fields.insert(at, json.clone());
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::new(Code::InvalidArgument, wrong.join("; "))
        .hint("DESCRIBE TABLE names the table's columns."))
}

fn fields(schema: &mut Value) -> Result<&mut Vec<Value>> {
    schema
        .get_mut("fields")
        .and_then(Value::as_array_mut)
        .ok_or_else(|| Error::internal("a table's schema is no struct"))
}

fn position(fields: &[Value], name: &str) -> Option<usize> {
    let name = name.to_lowercase();
    fields.iter().position(|field| {
        let known = field.get("name").and_then(Value::as_str);
        known.is_some_and(|known| known.to_lowercase() == name)
    })
}

fn field<'s>(schema: &'s mut Value, name: &str) -> Result<&'s mut Value> {
    let fields = fields(schema)?;
    let at = position(fields, name);
    at.and_then(|at| fields.get_mut(at)).ok_or_else(|| {
        Error::new(
            Code::InvalidArgument,
            format!("the table has no column {name}"),
        )
        .hint("DESCRIBE TABLE names the table's columns.")
    })
}
