//! Tables of a catalogue: their names, what a list tells of them, and what a write did.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// The database that a name without one means.
pub const DEFAULT_DATABASE: &str = "default";

/// A table's name, as a caller means it. Catalogues compare it without regard to case, as Spark does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// [`DEFAULT_DATABASE`] where the caller named none.
    pub database: String,
    /// Within it.
    pub table: String,
}

impl TableName {
    /// A name of these parts.
    pub fn new(database: impl Into<String>, table: impl Into<String>) -> Self {
        Self {
            database: database.into(),
            table: table.into(),
        }
    }
}

impl TableName {
    /// Reads what SQL reads: `sales.orders`, `orders` in [`DEFAULT_DATABASE`], backticks around any part; `None` for
    /// what is no such name.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = vec![String::new()];
        let mut chars = text.trim().chars().peekable();
        while let Some(c) = chars.next() {
            let part = parts.last_mut()?;
            match c {
                '`' if part.is_empty() => loop {
                    match chars.next()? {
                        '`' if chars.peek() == Some(&'`') => {
                            chars.next();
                            part.push('`');
                        }
                        '`' => break,
                        c => part.push(c),
                    }
                },
                '.' => parts.push(String::new()),
                c => part.push(c),
            }
        }
        match <[String; 2]>::try_from(parts) {
            Ok([database, table]) if !database.is_empty() && !table.is_empty() => {
                Some(Self::new(database, table))
            }
            Ok(_) => None,
            Err(parts) => match <[String; 1]>::try_from(parts) {
                Ok([table]) if !table.is_empty() => Some(Self::new(DEFAULT_DATABASE, table)),
                _ => None,
            },
        }
    }
}

/// As SQL reads it: `sales.orders`, with backticks around a part that needs them; a temp view, whose database is empty,
/// by its name alone.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |text: &str| {
            let plain = !text.is_empty()
                && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !text.chars().all(|c| c.is_ascii_digit());
            if plain {
                text.to_owned()
            } else {
                format!("`{}`", text.replace('`', "``"))
            }
        };
        if self.database.is_empty() {
            return f.write_str(&part(&self.table));
        }
        write!(f, "{}.{}", part(&self.database), part(&self.table))
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    /// A table whose files the catalogue owns.
    Managed,
    /// A table whose files are where somebody chose.
    External,
    /// A table; whose its files are is not known.
    Table,
    /// A view that the catalogue keeps.
    View,
    /// A view of one session.
    TempView,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Spark's own spelling: `decimal(38,18)`.
    #[serde(rename = "type")]
    pub data_type: String,
    /// What its maker said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// It may hold NULL.
    #[serde(skip)]
    pub nullable: bool,
}

/// What a list tells of one table. What was not asked for, or is not known, is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct TableInfo {
    /// Its name.
    pub name: TableName,
    /// What it is.
    pub kind: TableKind,
    /// `delta`, `parquet`, …
    pub format: Option<String>,
    /// What its maker said of it.
    pub comment: Option<String>,
    /// In order, partition columns included.
    pub columns: Option<Vec<TableColumn>>,
    /// How many rows it has.
    pub rows: Option<u64>,
    /// How large its files are, of the newest version.
    pub bytes: Option<u64>,
    /// The columns it is partitioned by.
    pub partitions: Option<Vec<String>>,
    /// Its newest version, where the format has versions.
    pub version: Option<u64>,
    /// Where its files are.
    pub location: Option<String>,
}

impl TableInfo {
    /// A table of which nothing else is known yet.
    pub fn named(name: TableName, kind: TableKind) -> Self {
        Self {
            name,
            kind,
            format: None,
            comment: None,
            columns: None,
            rows: None,
            bytes: None,
            partitions: None,
            version: None,
            location: None,
        }
    }
}

/// How much a list tells of each table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableDetail {
    /// Names, kinds and comments.
    #[default]
    Names,
    /// Columns too.
    Columns,
    /// Columns, rows, bytes and partitions.
    Stats,
}

/// Which tables a list is to tell of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TablesQuery {
    /// With `*`: a pattern of the whole name, `database.table` or `table`. Without: a text that is searched for in
    /// names, columns and comments: all its words must be found. Without regard to case.
    pub pattern: Option<String>,
    /// This table and no other; compared as names are.
    pub only: Option<TableName>,
    /// How much of each.
    pub detail: TableDetail,
    /// Only tables behind this name, in the order of names: where the page before ended.
    pub after: Option<TableName>,
    /// At most so many.
    pub limit: usize,
}

/// One page of a list, in the order of names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TablesPage {
    /// The tables of this page.
    pub tables: Vec<TableInfo>,
    /// How many match in all, pages before and behind this one included.
    pub total: u64,
    /// There are more behind the last one.
    pub more: bool,
    /// Each database with the number of its tables that match, by name; databases without any included where
    /// nothing was searched for.
    pub databases: Vec<(String, u64)>,
    /// How many tables were looked at: all there are, whether they match or not.
    pub searched: u64,
    /// Where nothing matches: the names that are most like the pattern, the nearest first.
    pub near: Vec<TableName>,
    /// Tables of this page whose files could not be asked, or not in time: of these only the name is sure.
    pub unread: u64,
    /// How old the answer is; zero where the catalogue was read just now.
    pub age: Duration,
    /// What else a reader must know of it, as sentence fragments in our own words.
    pub notes: Vec<String>,
}

/// What a write does with a table that is there, and with one that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteMode {
    /// Make a new table; one that is there is an error.
    Error,
    /// Add rows; make the table if it is not there.
    Append,
    /// Put these rows in the place of all; make the table if it is not there.
    Overwrite,
    /// Replace rows of equal keys, add the others; make the table if it is not there.
    Merge,
}

impl WriteMode {
    /// The word that tools say.
    pub fn as_word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Append => "append",
            Self::Overwrite => "overwrite",
            Self::Merge => "merge",
        }
    }
}

/// What a write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// To which table.
    pub table: TableName,
    /// Rows written: added, or for a merge added and replaced.
    pub rows: u64,
    /// How.
    pub mode: WriteMode,
    /// `delta`, `parquet`, …
    pub format: String,
    /// The version that the write made, where the format has versions.
    pub version: Option<u64>,
    /// Where the table's files are.
    pub location: Option<String>,
    /// The table was not there before.
    pub created: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_it_is_written() {
        for (database, table) in [
            ("sales", "orders"),
            ("größe", "two words"),
            ("a.b", "c`d``e"),
            ("1", "`"),
        ] {
            let name = TableName::new(database, table);
            assert_eq!(TableName::parse(&name.to_string()), Some(name));
        }
        let plain = TableName::new(DEFAULT_DATABASE, "orders");
        assert_eq!(TableName::parse(" orders "), Some(plain.clone()));
        assert_eq!(TableName::parse("`orders`"), Some(plain));
        for wrong in ["", ".", "a.", ".b", "a.b.c", "`a", "a.`b"] {
            assert_eq!(TableName::parse(wrong), None, "{wrong}");
        }
        assert_eq!(TableName::new("", "my view").to_string(), "`my view`");
    }
}
