//! What is in the catalogue's file, as Rust values. Each function is one step inside a transaction of the store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use serde_json::Value;

use super::store::trouble;
use crate::model::{Code, DEFAULT_DATABASE, Error, Result, TableName};
use crate::platform::local::delta::schema;
use crate::platform::names::key;

/// A database.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Database {
    pub(super) id: i64,
    /// As it was made.
    pub(super) name: String,
    pub(super) comment: Option<String>,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) created_ms: i64,
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) id: String,
    /// As it was made.
    pub(super) name: TableName,
    /// In lower case.
    pub(super) format: String,
    /// Its location as the user wrote it: a `file:` URI or a path. The same as `path` where the catalogue chose it.
    pub(super) uri: String,
    /// The same as an absolute path.
    pub(super) path: PathBuf,
    /// The catalogue made the folder.
    pub(super) owned: bool,
    /// Its commits go through the catalogue: Delta's feature of this name.
    pub(super) catalog_managed: bool,
    pub(super) comment: Option<String>,
    /// Spark's JSON of a struct.
    pub(super) schema: Value,
    pub(super) partition_by: Vec<String>,
    pub(super) properties: BTreeMap<String, String>,
    /// The Delta version that `schema` and `partition_by` are of.
    pub(super) version: Option<u64>,
    pub(super) created_ms: i64,
}

/// A commit that went through the catalogue, in the engine's own fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) version: i64,
    pub(super) timestamp: i64,
    pub(super) file_name: String,
    pub(super) file_size: i64,
    pub(super) file_modified: i64,
}

/// Now, in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}

/// All databases, by name.
pub(super) fn databases(db: &Connection) -> Result<Vec<Database>> {
    collect(
        db,
        "SELECT id, name, comment, properties, created_ms FROM databases ORDER BY key",
        [],
        database,
    )
}

/// A database by its name.
pub(super) fn find_database(db: &Connection, name: &str) -> Result<Option<Database>> {
    db.prepare_cached(
        "SELECT id, name, comment, properties, created_ms FROM databases WHERE key = ?1",
    )
    .and_then(|mut statement| statement.query_row([key(name)], database).optional())
    .map_err(trouble)
}

/// A database that must be there.
pub(super) fn the_database(db: &Connection, name: &str) -> Result<Database> {
    if let Some(database) = find_database(db, name)? {
        return Ok(database);
    }
    let names: Vec<String> = databases(db)?
        .into_iter()
        // Enough to recognise a misspelt one by.
        .take(20)
        .map(|database| database.name)
        .collect();
    Err(
        Error::new(Code::NotFound, format!("there is no database {name:?}")).hint(format!(
            "Make it with CREATE DATABASE, or take one of: {}.",
            names.join(", ")
        )),
    )
}

/// Makes a database.
pub(super) fn add_database(
    db: &Connection,
    name: &str,
    comment: Option<&str>,
    properties: &BTreeMap<String, String>,
) -> Result<()> {
    let added = db.execute(
        "INSERT INTO databases (key, name, comment, properties, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![key(name), name, comment, to_json(properties), now_ms()],
    );
    match added {
        Ok(_) => Ok(()),
        Err(e) if is_taken(&e) => Err(Error::new(
            Code::AlreadyExists,
            format!("there is a database {name:?}"),
        )
        .hint("Write CREATE DATABASE IF NOT EXISTS, or choose another name.")),
        Err(e) => Err(trouble(e)),
    }
}

/// Takes a database away, with its tables if `force`; its tables' folders are trash then.
pub(super) fn drop_database(db: &Connection, name: &str, force: bool) -> Result<()> {
    let database = the_database(db, name)?;
    if key(name) == DEFAULT_DATABASE {
        return Err(Error::new(
            Code::InvalidArgument,
            "the database default cannot be dropped",
        )
        .hint("Drop its tables one by one."));
    }
    let tables = tables_of(db, &database)?;
    if !force && !tables.is_empty() {
        return Err(Error::new(
            Code::InvalidArgument,
            format!(
                "the database {name:?} is not empty: it has {} tables",
                tables.len()
            ),
        )
        .hint("Drop its tables first, or write DROP DATABASE … CASCADE."));
    }
    for table in tables {
        drop_table(db, &table)?;
    }
    db.execute("DELETE FROM databases WHERE id = ?1", [database.id])
        .map_err(trouble)?;
    Ok(())
}

const TABLE: &str = "SELECT t.id, d.name, t.name, t.format, t.uri, t.path, t.owned, t.catalog_managed, t.comment, \
     t.schema, t.partition_by, t.properties, t.version, t.created_ms \
     FROM tables t JOIN databases d ON d.id = t.database";

/// A table by its name.
pub(super) fn find_table(db: &Connection, name: &TableName) -> Result<Option<Record>> {
    db.prepare_cached(&format!("{TABLE} WHERE d.key = ?1 AND t.key = ?2"))
        .and_then(|mut statement| {
            statement
                .query_row([key(&name.database), key(&name.table)], record)
                .optional()
        })
        .map_err(trouble)
}

/// A table by its id.
pub(super) fn table_by_id(db: &Connection, id: &str) -> Result<Option<Record>> {
    db.prepare_cached(&format!("{TABLE} WHERE t.id = ?1"))
        .and_then(|mut statement| statement.query_row([id], record).optional())
        .map_err(trouble)
}

/// The tables of a database, by name.
pub(super) fn tables_of(db: &Connection, database: &Database) -> Result<Vec<Record>> {
    collect(
        db,
        &format!("{TABLE} WHERE t.database = ?1 ORDER BY t.key"),
        [database.id],
        record,
    )
}

/// Makes a table known. Its folder is nobody's any more.
pub(super) fn add_table(db: &Connection, table: &Record) -> Result<()> {
    let database = the_database(db, &table.name.database)?;
    let added = db.execute(
        "INSERT INTO tables (id, database, key, name, format, uri, path, owned, catalog_managed, comment, schema, \
         partition_by, properties, version, search, created_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        params![
            table.id,
            database.id,
            key(&table.name.table),
            table.name.table,
            table.format,
            table.uri,
            table.path.to_string_lossy(),
            table.owned,
            table.catalog_managed,
            table.comment,
            table.schema.to_string(),
            to_json(&table.partition_by),
            to_json(&table.properties),
            table.version.and_then(|version| i64::try_from(version).ok()),
            search(table),
            table.created_ms,
        ],
    );
    match added {
        Ok(_) => {}
        Err(e) if is_taken(&e) => {
            return Err(Error::new(
                Code::AlreadyExists,
                format!("there is a table {}", table.name),
            )
            .hint("Choose another name, or append to the table or overwrite it."));
        }
        Err(e) => return Err(trouble(e)),
    }
    db.execute(
        "DELETE FROM folders WHERE path = ?1",
        [table.path.to_string_lossy()],
    )
    .map_err(trouble)?;
    Ok(())
}

/// Takes a table away; a folder that the catalogue made is trash then.
pub(super) fn drop_table(db: &Connection, table: &Record) -> Result<()> {
    db.execute("DELETE FROM tables WHERE id = ?1", [&table.id])
        .map_err(trouble)?;
    if table.owned {
        db.execute(
            "INSERT OR REPLACE INTO trash (path, since_ms) VALUES (?1, ?2)",
            params![table.path.to_string_lossy(), now_ms()],
        )
        .map_err(trouble)?;
    }
    Ok(())
}

/// Gives a table another name.
pub(super) fn rename_table(db: &Connection, table: &Record, to: &TableName) -> Result<()> {
    let database = the_database(db, &to.database)?;
    let renamed = Record {
        name: to.clone(),
        ..table.clone()
    };
    let changed = db.execute(
        "UPDATE tables SET database = ?2, key = ?3, name = ?4, search = ?5 WHERE id = ?1",
        params![
            table.id,
            database.id,
            key(&to.table),
            to.table,
            search(&renamed)
        ],
    );
    match changed {
        Ok(_) => Ok(()),
        Err(e) if is_taken(&e) => Err(Error::new(
            Code::AlreadyExists,
            format!("there is a table {to}"),
        )
        .hint("Choose another name.")),
        Err(e) => Err(trouble(e)),
    }
}

/// Notes what the log of a table says now, unless something newer is known.
pub(super) fn note_columns(db: &Connection, table: &Record) -> Result<()> {
    db.execute(
        "UPDATE tables SET schema = ?2, partition_by = ?3, version = ?4, search = ?5, comment = ?6 \
         WHERE id = ?1 AND (version IS NULL OR version < ?4)",
        params![
            table.id,
            table.schema.to_string(),
            to_json(&table.partition_by),
            table
                .version
                .and_then(|version| i64::try_from(version).ok()),
            search(table),
            table.comment,
        ],
    )
    .map_err(trouble)?;
    Ok(())
}

/// The commits of a table from a version on, in order.
pub(super) fn commits(
    db: &Connection,
    table_id: &str,
    from: i64,
    to: Option<i64>,
) -> Result<Vec<Commit>> {
    collect(
        db,
        "SELECT version, timestamp, file_name, file_size, file_modified FROM commits \
         WHERE table_id = ?1 AND version >= ?2 AND version <= ?3 ORDER BY version",
        params![table_id, from, to.unwrap_or(i64::MAX)],
        |row| {
            Ok(Commit {
                version: row.get(0)?,
                timestamp: row.get(1)?,
                file_name: row.get(2)?,
                file_size: row.get(3)?,
                file_modified: row.get(4)?,
            })
        },
    )
}

/// The newest version that went through the catalogue.
pub(super) fn newest_commit(db: &Connection, table_id: &str) -> Result<Option<i64>> {
    db.query_row(
        "SELECT max(version) FROM commits WHERE table_id = ?1",
        [table_id],
        |row| row.get(0),
    )
    .map_err(trouble)
}

/// The newest commits, the newest first: as many as may be missing in the log after writers have died one after
/// another.
pub(super) fn newest_commits(db: &Connection, table_id: &str) -> Result<Vec<Commit>> {
    let newest = newest_commit(db, table_id)?.unwrap_or(0);
    let mut commits = commits(db, table_id, newest - 9, None)?;
    commits.reverse();
    Ok(commits)
}

/// Notes a commit: `already_exists` for a version that is taken, and nothing between it and the one before.
pub(super) fn add_commit(db: &Connection, table_id: &str, commit: &Commit) -> Result<()> {
    let newest = newest_commit(db, table_id)?.unwrap_or(0);
    if commit.version > newest + 1 || commit.version < 1 {
        return Err(Error::new(
            Code::InvalidArgument,
            format!("version {} does not follow {newest}", commit.version),
        ));
    }
    let taken = || {
        Error::new(
            Code::AlreadyExists,
            format!("version {} is taken by another writer", commit.version),
        )
        .hint("Run the statement again.")
    };
    if commit.version <= newest {
        return Err(taken());
    }
    let added = db.execute(
        "INSERT INTO commits (table_id, version, timestamp, file_name, file_size, file_modified) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            table_id,
            commit.version,
            commit.timestamp,
            commit.file_name,
            commit.file_size,
            commit.file_modified
        ],
    );
    match added {
        Ok(_) => Ok(()),
        Err(e) if is_taken(&e) => Err(taken()),
        Err(e) => Err(trouble(e)),
    }
}

/// What a search looks at: one text in lower case, a line for each name and comment.
fn search(table: &Record) -> String {
    let mut lines = vec![table.name.table.clone()];
    lines.extend(table.comment.clone());
    for column in schema::columns(&table.schema) {
        lines.push(column.name);
        lines.extend(column.comment);
    }
    lines.join("\n").to_lowercase()
}

fn database(row: &Row<'_>) -> rusqlite::Result<Database> {
    Ok(Database {
        id: row.get(0)?,
        name: row.get(1)?,
        comment: row.get(2)?,
        properties: from_json(row, 3)?,
        created_ms: row.get(4)?,
    })
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        id: row.get(0)?,
        name: TableName {
            database: row.get(1)?,
            table: row.get(2)?,
        },
        format: row.get(3)?,
        uri: row.get(4)?,
        path: PathBuf::from(row.get::<_, String>(5)?),
        owned: row.get(6)?,
        catalog_managed: row.get(7)?,
        comment: row.get(8)?,
        schema: from_json(row, 9)?,
        partition_by: from_json(row, 10)?,
        properties: from_json(row, 11)?,
        version: row
            .get::<_, Option<i64>>(12)?
            .and_then(|version| u64::try_from(version).ok()),
        created_ms: row.get(13)?,
    })
}

fn collect<T>(
    db: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    db.prepare_cached(sql)
        .and_then(|mut statement| statement.query_map(values, read)?.collect())
        .map_err(trouble)
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn from_json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e))
    })
}

fn is_taken(e: &rusqlite::Error) -> bool {
    e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}
