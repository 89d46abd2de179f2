//! Making, finding, renaming and dropping tables and databases: each a step of the store, with the files beside it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rusqlite::Connection;
use uuid::Uuid;

use super::records::{self, Database, Record, now_ms};
use super::{Metastore, NewFolder, Publish, Table, folders, fresh, wire};
use crate::model::{Code, Error, Result, TableName};
use crate::platform::local::delta;
use crate::platform::names::{self, NameOf};

/// What of a worker's has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settle {
    /// A statement inside of a cell.
    Part,
    /// All that ran.
    Whole,
    /// The same, and it failed.
    Failed,
}

/// A Delta table that is known and has no log yet.
pub(super) struct Empty {
    id: String,
    path: PathBuf,
    /// What its version 0 would say; `None` where only the engine can write it.
    table: Option<delta::NewTable>,
}

impl Metastore {
    /// All databases, in the order of names.
    pub(super) async fn all_databases(&self) -> Result<Vec<Database>> {
        self.0.store.read(records::databases).await
    }

    /// A database that must be there.
    pub(super) async fn database(&self, name: String) -> Result<Database> {
        self.0
            .store
            .read(move |db| records::the_database(db, &name))
            .await
    }

    /// Makes a database.
    pub(super) async fn add_database(
        &self,
        name: String,
        comment: Option<String>,
        properties: BTreeMap<String, String>,
    ) -> Result<Database> {
        names::refuse(
            names::problem(NameOf::Database, &name)
                .into_iter()
                .collect(),
        )?;
        self.0
            .store
            .write(move |db| {
                records::add_database(db, &name, comment.as_deref(), &properties)?;
                records::the_database(db, &name)
            })
            .await
    }

    /// Drops a database; one that is not empty only by `force`.
    pub(super) async fn drop_database(&self, name: String, force: bool) -> Result<()> {
        self.0
            .store
            .write(move |db| records::drop_database(db, &name, force))
            .await
    }

    /// The tables of a database that must be there, as the file has them.
    pub(super) async fn tables_of(&self, database: String) -> Result<Vec<Record>> {
        self.0
            .store
            .read(move |db| records::tables_of(db, &records::the_database(db, &database)?))
            .await
    }

    /// A table as it is now: where its log has moved on, what is known moves too.
    pub(super) async fn record(&self, name: TableName) -> Result<Option<Record>> {
        let found = self
            .0
            .store
            .read(move |db| {
                let Some(record) = records::find_table(db, &name)? else {
                    return Ok(None);
                };
                if record.catalog_managed {
                    publish_newest(db, &record);
                }
                Ok(Some(match fresh::moved(&record) {
                    Some(moved) => (moved, true),
                    None => (record, false),
                }))
            })
            .await?;
        let Some((record, moved)) = found else {
            return Ok(None);
        };
        if moved {
            let record = record.clone();
            self.0
                .store
                .write_later(move |db| records::note_columns(db, &record));
        }
        Ok(Some(record))
    }

    /// Checks a name and notes a folder for a table, without making it.
    pub(super) async fn stage(&self, name: TableName) -> Result<PathBuf> {
        names::check(&name)?;
        let core = self.0.clone();
        self.0
            .store
            .write(move |db| {
                records::the_database(db, &name.database)?;
                core.places.note(db, &core.owner.id, &name)
            })
            .await
    }

    /// Makes the table known that a worker's engine asks for. One that is external and Delta may have no log yet: the
    /// same statement writes it, or [`Metastore::settle`] does.
    pub(super) async fn add_table(&self, new: wire::NewTable, worker: &str) -> Result<Record> {
        let name = new.name()?;
        names::check(&name)?;
        let (uri, given) = new.location()?;
        let path = self.0.places.told_by_engine(&given);
        let (mut schema, mut partition_by) = new.schema()?;
        let format = new.format();
        let is_delta = format == "delta";
        let ours = self.0.places.is_ours(&path);
        let staged = {
            let warehouse = self.0.places.warehouse(&self.0.owner.id);
            let path = path.clone();
            self.0
                .store
                .read(move |db| {
                    let noted = folders::is_noted(db, &path)?;
                    Ok((noted || path.starts_with(warehouse)) && !folders::is_taken(db, &path)?)
                })
                .await?
        };
        if (ours || new.is_managed()) && !staged {
            return Err(Error::new(
                Code::InvalidArgument,
                format!("{} is not a place for this table", path.display()),
            )
            .hint("Leave LOCATION out, or give a folder outside the data directory."));
        }
        if is_delta && !folders::is_plain(&given) {
            return Err(Error::new(
                Code::InvalidArgument,
                format!("the engine cannot keep a Delta table at {}", given.display()),
            )
            .hint("Take a path of ASCII letters, digits and ._-+=,@ only, or make a link of such a name to the folder."));
        }
        let mut version = None;
        let mut comment = new.comment.clone();
        if is_delta && !new.is_managed() {
            if let Some(found) = newest_of(path.clone()).await? {
                schema = found.schema;
                partition_by = found.partition_by;
                version = Some(found.version);
                comment = comment.or(found.comment);
            } else if !new.has_columns() {
                return Err(Error::new(
                    Code::InvalidArgument,
                    format!("there is no Delta table at {}", path.display()),
                )
                .hint("Name its columns, or give the folder of a Delta table."));
            }
        }
        let is_empty = is_delta && version.is_none();
        let table = delta::NewTable {
            schema: schema.clone(),
            partition_by: partition_by.clone(),
            comment: comment.clone(),
            properties: delta_properties(new.properties()),
        };
        let record = Record {
            id: Uuid::new_v4().to_string(),
            name,
            catalog_managed: is_delta && new.is_managed(),
            format,
            uri: if staged {
                path.to_string_lossy().into_owned()
            } else {
                uri
            },
            path,
            owned: staged,
            comment,
            schema,
            partition_by,
            properties: new.properties(),
            version,
            created_ms: now_ms(),
        };
        let added = record.clone();
        self.0
            .store
            .write(move |db| records::add_table(db, &added))
            .await?;
        if is_empty {
            let mut empty = self.empty();
            empty.entry(worker.to_owned()).or_default().push(Empty {
                id: record.id.clone(),
                path: record.path.clone(),
                table: (!record.catalog_managed).then_some(table),
            });
        }
        Ok(record)
    }

    /// Writes version 0 of the tables that a worker has made and not written, or takes them away.
    pub(super) async fn settle(&self, worker: &str, ended: Settle) -> Result<()> {
        let mut tables = self.empty().remove(worker).unwrap_or_default();
        if ended == Settle::Part {
            // Another thread of the same cell may be writing these.
            let (now, later): (Vec<_>, Vec<_>) =
                tables.into_iter().partition(|empty| empty.table.is_some());
            tables = now;
            let mut empty = self.empty();
            empty.entry(worker.to_owned()).or_default().extend(later);
        }
        for Empty { id, path, table } in tables {
            if newest_of(path.clone()).await?.is_some() {
                continue;
            }
            match table.filter(|_| ended != Settle::Failed) {
                Some(table) => match create(path, table).await {
                    // Somebody else was faster.
                    Err(e) if e.code() == Code::AlreadyExists => {}
                    other => other?,
                },
                None => {
                    self.0
                        .store
                        .write(move |db| match records::table_by_id(db, &id)? {
                            Some(record) => records::drop_table(db, &record),
                            None => Ok(()),
                        })
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// Makes the Delta table in `folder` known as `name`, at once and durably.
    ///
    /// # Errors
    /// `already_exists` where the name is taken (`Create`) or by another table than expected (`Replace`); `not_found`
    /// for a database that has gone.
    /// # Cancel safety
    /// A dropped future may have published or not.
    pub(crate) async fn publish(
        &self,
        name: &TableName,
        mut folder: NewFolder,
        comment: Option<String>,
        publish: Publish,
    ) -> Result<Table> {
        names::check(name)?;
        let path = folder.path().to_owned();
        let Some(found) = newest_of(path.clone()).await? else {
            return Err(Error::internal(format!(
                "there is no Delta table at {} to publish",
                path.display()
            )));
        };
        let record = Record {
            id: Uuid::new_v4().to_string(),
            name: name.clone(),
            format: "delta".to_owned(),
            uri: path.to_string_lossy().into_owned(),
            path,
            owned: true,
            catalog_managed: false,
            comment: comment.or(found.comment),
            schema: found.schema,
            partition_by: found.partition_by,
            properties: BTreeMap::new(),
            version: Some(found.version),
            created_ms: now_ms(),
        };
        let added = record.clone();
        self.0
            .store
            .write(move |db| {
                if let Publish::Replace(id) = publish {
                    replaced(db, &added.name, &id)?;
                }
                records::add_table(db, &added)?;
                // Inside the step: a note that is gone would delete a table's files.
                folder.store.take();
                Ok(())
            })
            .await?;
        Ok(record.into())
    }

    /// Takes a table away; its files go if the catalogue made them, after a while. Gone already is `false`.
    ///
    /// # Errors
    /// As [`Metastore::databases`].
    /// # Cancel safety
    /// A dropped future takes nothing back.
    pub(crate) async fn drop_table(&self, name: &TableName) -> Result<bool> {
        let name = name.clone();
        self.0
            .store
            .write(move |db| match records::find_table(db, &name)? {
                Some(record) => {
                    records::drop_table(db, &record)?;
                    Ok(true)
                }
                None => Ok(false),
            })
            .await
    }

    /// Gives a table another name, in the same or another database; its files stay where they are.
    ///
    /// # Errors
    /// `not_found` for a table or database that is not there; `already_exists` for a name that is taken;
    /// `invalid_argument` for one that cannot be kept.
    /// # Cancel safety
    /// A dropped future takes nothing back.
    pub(crate) async fn rename(&self, from: &TableName, to: &TableName) -> Result<()> {
        names::check(to)?;
        let (from, to) = (from.clone(), to.clone());
        self.0
            .store
            .write(move |db| match records::find_table(db, &from)? {
                Some(record) => records::rename_table(db, &record, &to),
                None => Err(
                    Error::new(Code::NotFound, format!("there is no table {from}"))
                        .hint("Call list_tables for the names of all tables."),
                ),
            })
            .await
    }
}

/// Takes away the table that is to be replaced, if it still is that one.
fn replaced(db: &Connection, name: &TableName, id: &str) -> Result<()> {
    match records::find_table(db, name)? {
        Some(record) if record.id == id => records::drop_table(db, &record),
        _ => Err(Error::new(
            Code::AlreadyExists,
            format!("the table {name} was dropped or replaced by another writer meanwhile"),
        )
        .hint("Call the tool again: it looks at the table as it is now.")),
    }
}

/// Commits that were taken and whose writers died before the log had them.
fn publish_newest(db: &Connection, record: &Record) {
    let published =
        records::newest_commits(db, &record.id).map(|newest| fresh::publish(&record.path, &newest));
    if !matches!(published, Ok(Ok(()))) {
        tracing::warn!("a commit is not in its log yet");
    }
}

/// What of a table's properties belongs into its log: what the engine says of its own options does not.
fn delta_properties(properties: BTreeMap<String, String>) -> BTreeMap<String, String> {
    properties
        .into_iter()
        .filter(|(key, _)| key != "comment" && !key.starts_with("option."))
        .collect()
}

async fn newest_of(path: PathBuf) -> Result<Option<fresh::Newest>> {
    tokio::task::spawn_blocking(move || fresh::newest(&path))
        .await
        .map_err(|e| Error::internal("reading a log was stopped").source_error(e))?
}

async fn create(path: PathBuf, table: delta::NewTable) -> Result<()> {
    tokio::task::spawn_blocking(move || delta::create(&path, &table))
        .await
        .map_err(|e| Error::internal("making a table was stopped").source_error(e))?
}
