//! From a name, or a path, to a table: where its files are, and what its log says.

use std::path::PathBuf;

use super::engine::blocking;
use super::statement::Target;
use super::{Step, Tables};
use crate::model::{Code, Error, TableName};
use crate::platform::local::delta::{self, Snapshot};
use crate::platform::local::metastore::{CATALOG, Table};
use crate::sql::quote;

/// A table that is there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// As the catalogue has it; `None` for a folder without a name.
    pub(super) table: Option<Table>,
    pub(super) location: PathBuf,
    /// The same as the engine is to be told it.
    told: PathBuf,
}

impl Found {
    /// How the engine's SQL names it.
    pub(super) fn sql_name(&self) -> String {
        match &self.table {
            Some(table) => sql_name(&table.name),
            None => format!("delta.{}", quote(&self.told.to_string_lossy())),
        }
    }

    /// In words.
    pub(super) fn spoken(&self) -> String {
        match &self.table {
            Some(table) => table.name.to_string(),
            None => self.location.display().to_string(),
        }
    }

    pub(super) fn is_delta(&self) -> bool {
        self.table.as_ref().is_none_or(|t| t.format == "delta")
    }

    /// What its log says.
    pub(super) async fn snapshot(&self, what: &str) -> Step<Snapshot> {
        self.check_delta(what)?;
        let location = self.location.clone();
        match blocking(move || delta::snapshot(&location)).await? {
            Some(snapshot) => Ok(snapshot),
            None => Err(Error::new(
                Code::NotFound,
                format!("{} has no Delta log", self.spoken()),
            )
            .hint("Check the path; SHOW TABLES names the tables.")
            .into()),
        }
    }

    pub(super) fn check_delta(&self, what: &str) -> Step<()> {
        match &self.table {
            Some(table) if table.format != "delta" => Err(Error::new(
                Code::Unsupported,
                format!(
                    "{} is a table of {}, and {what} is for Delta tables",
                    table.name, table.format
                ),
            )
            .hint(format!(
                "Make a Delta table of it: CREATE OR REPLACE TABLE {0} AS SELECT * FROM {0}.",
                table.name
            ))
            .into()),
            _ => Ok(()),
        }
    }
}

/// A name as SQL reads it.
pub(super) fn sql_name(name: &TableName) -> String {
    format!("{}.{}", quote(&name.database), quote(&name.table))
}

impl Tables<'_> {
    /// The name that these parts mean.
    pub(super) async fn name(&self, parts: &[String]) -> Step<TableName> {
        match parts {
            [table] => Ok(TableName::new(self.current_database().await?, table)),
            [database, table] => Ok(TableName::new(database, table)),
            [catalog, database, table] if catalog.eq_ignore_ascii_case(CATALOG) => {
                Ok(TableName::new(database, table))
            }
            [catalog, database, table] => Err(Error::new(
                Code::NotFound,
                format!("there is no catalogue {catalog}"),
            )
            .hint(format!(
                "Write {}: the local engine has one catalogue, {CATALOG}.",
                TableName::new(database, table)
            ))
            .into()),
            _ => Err(Error::new(
                Code::InvalidArgument,
                format!("{} is no name of a table", parts.join(".")),
            )
            .hint("Write database.table, or table alone.")
            .into()),
        }
    }

    /// The table, which must be there.
    pub(super) async fn find(&self, target: &Target) -> Step<Found> {
        let parts = match target {
            Target::Path(path) => {
                return Ok(Found {
                    table: None,
                    location: path.clone(),
                    told: self.metastore.for_engine(path),
                });
            }
            Target::Name(parts) => parts,
        };
        let name = self.name(parts).await?;
        match self.metastore.find(&name).await? {
            Some(table) => Ok(Found {
                told: self.metastore.for_engine(&table.location),
                location: table.location.clone(),
                table: Some(table),
            }),
            None => Err(missing(&name).into()),
        }
    }
}

/// A table that is not there.
pub(super) fn missing(name: &TableName) -> Error {
    Error::new(
        Code::NotFound,
        format!("[TABLE_OR_VIEW_NOT_FOUND] there is no table {name}"),
    )
    .hint("Check the name with SHOW TABLES; a temp view is no table.")
}

/// A table that is there already.
pub(super) fn taken(name: &TableName) -> Error {
    Error::new(
        Code::AlreadyExists,
        format!("[TABLE_OR_VIEW_ALREADY_EXISTS] there is a table {name}"),
    )
    .hint(format!(
        "Choose another name, use CREATE OR REPLACE TABLE, or DROP TABLE {name} first."
    ))
}
