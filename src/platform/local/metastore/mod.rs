//! The catalogue of the local engine: which tables there are, what they are made of, where their files lie. One
//! SQLite file under the data directory, shared by all processes of the user; to the engine it speaks as a Unity
//! Catalog would, on loopback.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::model::{
    Code, Error, Result, TableColumn, TableKind, TableName, TablesPage, TablesQuery,
};

/// The catalogue. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metastore {
    folder: PathBuf,
}

/// A table, as the catalogue knows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    /// Never changes; a table that replaces another has one of its own.
    pub id: String,
    /// As it was made.
    pub name: TableName,
    /// Managed or external.
    pub kind: TableKind,
    /// In lower case: `delta`, `parquet`.
    pub format: String,
    /// Where its files are: an absolute path.
    pub location: PathBuf,
    /// The catalogue made the folder, and deletes it with the table.
    pub owned: bool,
    /// What its maker said of it.
    pub comment: Option<String>,
    /// In order, partition columns included; of a Delta table as its log has them now.
    pub columns: Vec<TableColumn>,
    /// The columns it is partitioned by.
    pub partition_by: Vec<String>,
    /// As its maker set them.
    pub properties: BTreeMap<String, String>,
}

/// A folder for a table's files that no table has yet. Dropped before [`Metastore::publish`], it is deleted; left
/// behind by a process that was killed, it is deleted by the next one.
#[derive(Debug)]
pub(crate) struct NewFolder {
    path: PathBuf,
}

impl NewFolder {
    /// Where it is: an absolute path to an empty folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// What [`Metastore::publish`] does where the name is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Publish {
    /// An error.
    Create,
    /// Takes its place, if it is still this table (its id): in one step, so that each reader sees the old or the new one.
    /// The old files go when no reader can need them any more.
    Replace(String),
}

impl Metastore {
    /// Opens the catalogue under the data directory `data`, makes it and the default database at the first time, and
    /// starts to answer the engine on loopback.
    ///
    /// # Errors
    /// `engine_unavailable` when the folder or the file cannot be used.
    pub(crate) async fn open(data: &Path) -> Result<Self> {
        Ok(Self {
            folder: data.join("tables"),
        })
    }

    /// The value of `SAIL_CATALOG__LIST` for a worker; it holds the bearer of this process.
    pub(crate) fn catalog_list(&self) -> String {
        String::new()
    }

    /// The names of all databases, in order.
    ///
    /// # Errors
    /// `platform_unavailable` when the catalogue cannot be read.
    pub(crate) async fn databases(&self) -> Result<Vec<String>> {
        Err(self.not_yet())
    }

    /// A table by its name, compared as Spark does.
    ///
    /// # Errors
    /// As [`Metastore::databases`].
    pub(crate) async fn find(&self, name: &TableName) -> Result<Option<Table>> {
        let _ = name;
        Err(self.not_yet())
    }

    /// A page of the list.
    ///
    /// # Errors
    /// As [`Metastore::databases`].
    pub(crate) async fn page(&self, query: &TablesQuery) -> Result<TablesPage> {
        let _ = query;
        Err(self.not_yet())
    }

    /// Checks that a table may have this name, and makes a folder for its files.
    ///
    /// # Errors
    /// `invalid_argument` for a name that the engine cannot keep; `not_found` for a database that is not there.
    pub(crate) async fn new_folder(&self, name: &TableName) -> Result<NewFolder> {
        let _ = name;
        Err(self.not_yet())
    }

    /// Makes the Delta table in `folder` known as `name`, at once and durably.
    ///
    /// # Errors
    /// `already_exists` where the name is taken (`Create`) or by another table than expected (`Replace`); `not_found`
    /// for a database that has gone.
    pub(crate) async fn publish(
        &self,
        name: &TableName,
        folder: NewFolder,
        comment: Option<String>,
        publish: Publish,
    ) -> Result<Table> {
        let _ = (name, folder, comment, publish);
        Err(self.not_yet())
    }

    /// Takes a table away; its files go if the catalogue made them. Gone already is `false`.
    ///
    /// # Errors
    /// As [`Metastore::databases`].
    pub(crate) async fn drop_table(&self, name: &TableName) -> Result<bool> {
        let _ = name;
        Err(self.not_yet())
    }

    fn not_yet(&self) -> Error {
        Error::new(
            Code::Unsupported,
            format!("{} is no catalogue yet", self.folder.display()),
        )
    }
}
