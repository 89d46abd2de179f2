//! The statements about tables that the engine does not know and we do ourselves: what each one asks for.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A statement that we do ourselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TableStatement {
    /// `CREATE TABLE`, `CREATE OR REPLACE TABLE`, `REPLACE TABLE`.
    Create(Box<Create>),
    /// `CREATE TABLE … LIKE`.
    Like {
        /// The table to be.
        table: Vec<String>,
        /// Whose columns it gets.
        source: Target,
        /// A table that is there is no error, and stays.
        if_not_exists: bool,
    },
    /// `ALTER TABLE`, `COMMENT ON`: what changes in a table's description.
    Alter {
        /// Which table.
        table: Target,
        /// What changes.
        change: Change,
    },
    /// `ALTER TABLE … RENAME TO`.
    Rename {
        /// Which table.
        from: Vec<String>,
        /// Its new name.
        to: Vec<String>,
    },
    /// `TRUNCATE TABLE`.
    Truncate(Target),
    /// `SHOW CREATE TABLE`.
    ShowCreate(Target),
    /// `SHOW TBLPROPERTIES`.
    ShowProperties(Target, Option<String>),
    /// `SHOW PARTITIONS`.
    ShowPartitions(Target),
    /// `DESCRIBE HISTORY`, with its LIMIT.
    History(Target, Option<u64>),
    /// `DESCRIBE DETAIL`.
    Detail(Target),
}

impl TableStatement {
    /// Whether it changes anything.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Self::Create(_)
            | Self::Like { .. }
            | Self::Alter { .. }
            | Self::Rename { .. }
            | Self::Truncate(_) => true,
            Self::ShowCreate(_)
            | Self::ShowProperties(..)
            | Self::ShowPartitions(_)
            | Self::History(..)
            | Self::Detail(_) => false,
        }
    }
}

/// A table by its name, or a Delta table by its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The parts of its name.
    Name(Vec<String>),
    /// ``delta.`/path` ``.
    Path(PathBuf),
}

/// A table to make, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Create {
    /// Its name.
    pub table: Vec<String>,
    /// What becomes of one that is there.
    pub mode: CreateMode,
    /// `USING delta` was said; else the session's default format may be another.
    pub said_delta: bool,
    /// Its columns, where they are given.
    pub columns: Vec<NewColumn>,
    /// The columns it is partitioned by.
    pub partition_by: Vec<String>,
    /// What is said of it.
    pub comment: Option<String>,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
    /// The query whose rows it gets.
    pub query: Option<String>,
}

/// What a statement that makes a table does with one that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CreateMode {
    /// `CREATE TABLE`: an error.
    New,
    /// `CREATE TABLE IF NOT EXISTS`: leaves it.
    IfNotExists,
    /// `CREATE OR REPLACE TABLE`: replaces it.
    #[default]
    OrReplace,
    /// `REPLACE TABLE`: replaces it; one that is not there is an error.
    Replace,
}

impl CreateMode {
    /// A table that is there is replaced.
    pub(crate) fn replaces(self) -> bool {
        matches!(self, Self::OrReplace | Self::Replace)
    }
}

/// A column, as a statement defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewColumn {
    /// Its name.
    pub name: String,
    /// As it was written: `decimal(10, 2)`.
    pub data_type: String,
    /// `NOT NULL` was said.
    pub required: bool,
    /// What is said of it.
    pub comment: Option<String>,
    /// Where it goes, if not to the end.
    pub place: Option<Place>,
}

/// Where a new column goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before all others.
    First,
    /// Behind this one.
    After(String),
}

/// What changes in a table's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Columns come to it.
    AddColumns(Vec<NewColumn>),
    /// Properties are set.
    SetProperties(BTreeMap<String, String>),
    /// Properties are taken away; one that is not there is an error unless `if_exists`.
    UnsetProperties {
        /// Their names.
        keys: Vec<String>,
        /// `IF EXISTS` was said.
        if_exists: bool,
    },
    /// What is said of the table.
    Comment(Option<String>),
    /// What is said of a column.
    ColumnComment {
        /// Its name.
        column: String,
        /// `None` takes it away.
        comment: Option<String>,
    },
    /// A column may hold NULL.
    DropNotNull(String),
}
