//! A frame that Python saves as a table: `saveAsTable`, `writeTo(…).create`, `replace`, `createOrReplace`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::create::{STATISTICS, check};
use super::locate::{missing, taken};
use super::parse::name_of;
use super::statement::{Create, CreateMode};
use super::{Did, Step, Stop, Tables};
use crate::model::{Code, Error, Result, TableColumn, TableName};
use crate::platform::Params;
use crate::platform::local::delta;
use crate::platform::local::metastore::{Table, place_of};
use crate::spark_connect::{Field, Relation};
use crate::sql::quote;

/// What becomes of a table that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SaveMode {
    /// `error`, `create()`.
    Error,
    /// `ignore`.
    Ignore,
    /// `append`.
    Append,
    /// `overwrite`: its rows are replaced; what is not said stays as it is.
    Overwrite,
    /// `replace()`: it must be there.
    Replace,
    /// `createOrReplace()`.
    CreateOrReplace,
}

/// A frame to save.
#[derive(Clone, Debug)]
pub(crate) struct ToSave {
    /// The table's name as it was written.
    pub table: String,
    /// The temp view that has the rows.
    pub view: String,
    /// What becomes of a table that is there.
    pub mode: SaveMode,
    /// Delta where none is said.
    pub format: Option<String>,
    /// Where its files are to be.
    pub path: Option<String>,
    /// The columns to partition by.
    pub partition_by: Vec<String>,
    /// The table's properties.
    pub properties: BTreeMap<String, String>,
    /// What is said of it.
    pub comment: Option<String>,
    /// `overwriteSchema` was said: columns and partitions are those of the frame alone.
    pub overwrite_schema: bool,
    /// `mergeSchema` was said: an append gives the table the columns that it does not have.
    pub merge_schema: bool,
}

impl Tables<'_> {
    /// Saves a frame, or says that the engine can.
    ///
    /// # Errors
    /// As [`Tables::run`].
    /// # Cancel safety
    /// As [`Tables::run`].
    pub(crate) async fn save(&self, save: &ToSave) -> Result<Did> {
        match self.saved(save).await {
            Ok(did) => Ok(did),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Cancelled) => Ok(Did::Cancelled),
        }
    }

    async fn saved(&self, save: &ToSave) -> Step<Did> {
        let parts = name_of(&save.table)?;
        let name = self.name(&parts).await?;
        let existing = self.metastore.find(&name).await?;
        let mode = match (save.mode, &existing) {
            (SaveMode::Error, Some(_)) => return Err(taken(&name).into()),
            (SaveMode::Ignore, Some(_)) => return Ok(Did::Nothing),
            (SaveMode::Append, Some(table)) => {
                self.place(save, &name, table)?;
                if save.merge_schema {
                    self.widen(save, table).await?;
                }
                return Ok(Did::Engine);
            }
            (SaveMode::Replace, None) => return Err(missing(&name).into()),
            (SaveMode::Error | SaveMode::Ignore | SaveMode::Append, None) => CreateMode::New,
            (SaveMode::Replace, Some(_)) => CreateMode::Replace,
            (SaveMode::Overwrite | SaveMode::CreateOrReplace, _) => CreateMode::OrReplace,
        };
        if let Some(did) = elsewhere(save, &name, existing.as_ref())? {
            return Ok(did);
        }
        let mut create = Create {
            table: parts,
            mode,
            said_delta: save.format.is_some(),
            partition_by: save.partition_by.clone(),
            properties: save.properties.clone(),
            comment: save.comment.clone(),
            query: Some(format!("SELECT * FROM {}", quote(&save.view))),
            ..Create::default()
        };
        if let (SaveMode::Overwrite, Some(table)) = (save.mode, existing) {
            self.keep(&mut create, &table, save.overwrite_schema)
                .await?;
        }
        let did = self.create(&create, &Params::None).await;
        match did.map_err(|stop| stop.without(&save.view))? {
            Did::Rows(_) => Ok(Did::Nothing),
            did => Ok(did),
        }
    }

    /// A path that an append says must be the table's own: the engine leaves it unread.
    fn place(&self, save: &ToSave, name: &TableName, table: &Table) -> Result<()> {
        match &save.path {
            Some(path) if !is_at(path, table) => Err(Error::new(
                Code::Unsupported,
                format!("{name} is not at {path}: it stays where it is"),
            )
            .hint("Leave the option path out, or choose another name for a table at that place.")),
            _ => Ok(()),
        }
    }

    /// Gives a table the frame's columns that it does not have. The engine would let no row be NULL in them, and read
    /// the old rows as 0 (pysail 0.7.2).
    async fn widen(&self, save: &ToSave, table: &Table) -> Step<()> {
        if table.format != "delta" {
            return Ok(());
        }
        let query = format!("SELECT * FROM {}", quote(&save.view));
        let query = Relation::sql_positional(&query, &[])?.without_place();
        let new: Vec<Field> = self
            .spark
            .schema(&query)
            .await?
            .into_iter()
            .filter(|field| {
                let name = field.name.to_lowercase();
                let has = |column: &TableColumn| column.name.to_lowercase() == name;
                !table.columns.iter().any(has)
            })
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        check(&new, &[])?;
        self.add_fields(table, new).await
    }

    /// An overwrite that says nothing of partitions, comment and properties leaves them as they are.
    async fn keep(&self, create: &mut Create, table: &Table, overwrite_schema: bool) -> Step<()> {
        if table.format != "delta" {
            return Ok(());
        }
        let location = table.location.clone();
        let Some(old) = super::engine::blocking(move || delta::snapshot(&location)).await? else {
            return Ok(());
        };
        create.comment = old.comment;
        if create.partition_by.is_empty() && !overwrite_schema {
            create.partition_by = old.partition_by;
        }
        if !table.catalog_managed {
            let properties = old.properties.into_iter();
            // These are of the columns that it had.
            let properties = properties.filter(|(key, _)| !STATISTICS.contains(&key.as_str()));
            let texts = properties.filter_map(|(k, v)| Some((k, v.as_str()?.to_owned())));
            let said = std::mem::take(&mut create.properties);
            create.properties = texts.chain(said).collect();
        }
        Ok(())
    }
}

fn is_at(path: &str, table: &Table) -> bool {
    place_of(path).is_some_and(|path| path == table.location)
}

/// Another format than Delta, or a place of the user's: the engine's business, but for a table that is there.
fn elsewhere(save: &ToSave, name: &TableName, existing: Option<&Table>) -> Result<Option<Did>> {
    let delta = save
        .format
        .as_deref()
        .is_none_or(|f| f.eq_ignore_ascii_case("delta"));
    let path = save.path.as_deref();
    match existing {
        None if delta && path.is_none() => Ok(None),
        None => Ok(Some(Did::Engine)),
        Some(table) => {
            let same = path.is_none_or(|path| is_at(path, table));
            if delta && same {
                return Ok(None);
            }
            Err(Error::new(
                Code::Unsupported,
                format!(
                    "{name} cannot be replaced by a table of another format or at another place"
                ),
            )
            .hint(format!(
                "Leave format and path out, or spark.sql(\"DROP TABLE {name}\") first."
            )))
        }
    }
}
