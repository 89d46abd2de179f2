//! Statements about tables that the engine lacks, done by us: `CREATE OR REPLACE TABLE`, `ALTER TABLE`, `SHOW CREATE
//! TABLE`, `DESCRIBE HISTORY` and their like. Here: which texts are such statements, and what each one does, with the
//! catalogue, the tables' logs, and the engine where rows are read or written.

mod alter;
mod count;
mod create;
mod cursor;
mod define;
mod engine;
mod locate;
mod parse;
mod save;
mod show;
mod statement;

use tokio_util::sync::CancellationToken;

pub(crate) use self::create::bound;
pub(crate) use self::engine::of_bound;
pub(crate) use self::parse::{changed, parse};
pub(crate) use self::save::{SaveMode, ToSave};
pub(crate) use self::statement::{TableStatement, Target};
use super::metastore::Metastore;
use crate::model::{Batch, Column, Error, Result};
use crate::platform::Params;
use crate::spark_connect::Client;

/// What these statements work with.
pub(crate) struct Tables<'a> {
    /// The catalogue.
    pub metastore: &'a Metastore,
    /// The session that the statement runs in: its temp views are seen.
    pub spark: &'a Client,
    /// The statement's own.
    pub cancel: &'a CancellationToken,
}

/// What a statement came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Did {
    /// It ran and has no rows.
    Nothing,
    /// It ran, and these are its rows.
    Rows(Batch),
    /// It is to be answered by the engine, with this text.
    Sql(String),
    /// Nothing was done: the engine can do it as it was asked.
    Engine,
    /// It was cancelled.
    Cancelled,
}

/// Why a statement did not come to its end.
enum Stop {
    Failed(Error),
    Cancelled,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Stop {
    /// The same where the view that stands for a frame is not named: nobody has called it so.
    fn without(self, view: &str) -> Self {
        match self {
            Self::Failed(e) if e.message().contains(view) => {
                let message = e.message().replace(&format!("{view}."), "");
                Self::Failed(Error::new(e.code(), message).hint(e.hint_text().to_owned()))
            }
            other => other,
        }
    }
}

/// A step of a statement.
type Step<T> = std::result::Result<T, Stop>;

impl Tables<'_> {
    /// Does a statement. `params` are bound in its query.
    ///
    /// # Errors
    /// `not_found`, `already_exists`, `invalid_argument`, `unsupported`, `statement_failed`, by what is wrong.
    /// # Cancel safety
    /// Cancel-safe: a table is changed by one step, and what was made before it is taken away.
    pub(crate) async fn run(&self, statement: &TableStatement, params: &Params) -> Result<Did> {
        let did = match statement {
            TableStatement::Create(create) => self.create(create, params).await,
            TableStatement::Like {
                table,
                source,
                if_not_exists,
            } => self.like(table, source, *if_not_exists).await,
            TableStatement::Alter { table, change } => self.alter(table, change).await,
            TableStatement::Rename { from, to } => self.rename(from, to).await,
            TableStatement::Truncate(table) => self.truncate(table).await,
            TableStatement::ShowCreate(table) => self.show_create(table).await,
            TableStatement::ShowProperties(table, key) => {
                self.show_properties(table, key.as_deref()).await
            }
            TableStatement::ShowPartitions(table) => self.show_partitions(table).await,
            TableStatement::History(table, limit) => self.history(table, *limit).await,
            TableStatement::Detail(table) => self.detail(table).await,
        };
        match did {
            Ok(did) => Ok(did),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Cancelled) => Ok(Did::Cancelled),
        }
    }
}

/// Rows with these columns.
fn rows(columns: &[(&str, &str)], rows: Vec<Vec<serde_json::Value>>) -> Did {
    Did::Rows(Batch {
        columns: columns
            .iter()
            .map(|(name, data_type)| Column::new(*name, *data_type))
            .collect(),
        rows,
        truncated: false,
    })
}

#[cfg(test)]
mod tests;
