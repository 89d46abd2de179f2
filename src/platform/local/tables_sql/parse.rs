//! Which statements about tables we do ourselves, and what they ask for. A statement that is not one of them, or
//! has a clause that only the engine could know, goes on to the engine.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::alter::{check_properties, is_catalogs};
use super::cursor::Cursor;
use super::define;
use super::statement::{Change, Create, CreateMode, TableStatement, Target};
use crate::model::{Code, Error, Result};
use crate::platform::local::rewrite::{significant, unsupported};

/// The statement of these tokens, if it is one of ours.
///
/// # Errors
/// `unsupported` for what nobody does here, with what to do instead; `invalid_argument` for a text that is none of
/// Spark's.
pub(crate) fn parse(text: &str, tokens: &[TokenWithSpan]) -> Result<Option<TableStatement>> {
    let mut cursor = Cursor::new(text, tokens);
    if cursor.words(&["CREATE", "OR", "REPLACE", "TABLE"]) {
        return create(cursor, CreateMode::OrReplace).map(Some);
    }
    if cursor.words(&["REPLACE", "TABLE"]) {
        return create(cursor, CreateMode::Replace).map(Some);
    }
    if cursor.words(&["CREATE", "TABLE"]) {
        return match like(cursor)? {
            Some(like) => Ok(Some(like)),
            None => new(cursor),
        };
    }
    if cursor.words(&["TRUNCATE", "TABLE"]) {
        return truncate(cursor).map(Some);
    }
    if cursor.words(&["ALTER", "TABLE"]) {
        return alter(cursor).map(Some);
    }
    if cursor.words(&["COMMENT", "ON"]) {
        return comment_on(cursor).map(Some);
    }
    if cursor.words(&["SHOW", "CREATE", "TABLE"]) {
        return show_create(cursor).map(Some);
    }
    if cursor.words(&["SHOW", "TBLPROPERTIES"]) {
        return show_properties(cursor).map(Some);
    }
    if cursor.words(&["SHOW", "PARTITIONS"]) {
        return show_partitions(cursor).map(Some);
    }
    if cursor.any(&["DESCRIBE", "DESC"]) {
        return describe(cursor);
    }
    Ok(None)
}

fn truncate(mut cursor: Cursor<'_>) -> Result<TableStatement> {
    const WHAT: &str = "TRUNCATE TABLE";
    let mut before = cursor.until(&["PARTITION"]);
    if !cursor.is_end() {
        return Err(unsupported(
            "TRUNCATE of a partition",
            "Use DELETE FROM t WHERE with the partition columns.",
        ));
    }
    let table = some_target(WHAT, &mut before)?;
    ended(WHAT, before, TableStatement::Truncate(table))
}

/// The table that a DELETE, UPDATE or MERGE changes.
pub(crate) fn changed(text: &str, tokens: &[TokenWithSpan]) -> Option<Target> {
    let mut cursor = Cursor::new(text, tokens);
    let _ = cursor.words(&["DELETE", "FROM"])
        || cursor.words(&["UPDATE"])
        || cursor.words(&["MERGE", "WITH", "SCHEMA", "EVOLUTION", "INTO"])
        || cursor.words(&["MERGE", "INTO"]);
    target(&mut cursor)
}

/// The parts of a name that stands alone.
///
/// # Errors
/// `invalid_argument` for a text that is no name.
pub(super) fn name_of(text: &str) -> Result<Vec<String>> {
    let tokens = significant(text).unwrap_or_default();
    let mut cursor = Cursor::new(text, &tokens);
    match (cursor.name(), cursor.is_end()) {
        (Some(name), true) => Ok(name),
        _ => Err(Error::new(
            Code::InvalidArgument,
            format!("{text} is no name of a table"),
        )
        .hint("Write database.table, with backquotes around a part that is no plain word.")),
    }
}

/// A text that does not have the form of its statement.
pub(super) fn wrong(what: &str, at: Cursor<'_>) -> Error {
    let found = match at.rest_text() {
        "" => "its end".to_owned(),
        rest => {
            let short: String = rest.chars().take(40).collect();
            format!("`{short}`")
        }
    };
    Error::new(
        Code::InvalidArgument,
        format!("a {what} that is not understood, at {found}"),
    )
    .hint("Check the statement against Spark's SQL reference; on this engine the clauses of other kinds are not known.")
}

pub(super) fn ended<T>(what: &str, cursor: Cursor<'_>, value: T) -> Result<T> {
    if cursor.is_end() {
        Ok(value)
    } else {
        Err(wrong(what, cursor))
    }
}

fn table(what: &str, cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let name = cursor.name().ok_or_else(|| wrong(what, *cursor))?;
    match target_of(name) {
        Target::Name(name) => Ok(name),
        Target::Path(_) => Err(unsupported(
            &format!("{what} of a path"),
            "Give the table a name: CREATE TABLE t USING delta LOCATION 'path', then use t.",
        )),
    }
}

pub(super) fn target(cursor: &mut Cursor<'_>) -> Option<Target> {
    cursor.name().map(target_of)
}

/// ``delta.`/path` `` is a folder; anything else is a name.
fn target_of(name: Vec<String>) -> Target {
    match name.as_slice() {
        [format, path] if format.eq_ignore_ascii_case("delta") && path.contains('/') => {
            let path = path.strip_prefix("file://").unwrap_or(path);
            Target::Path(path.into())
        }
        _ => Target::Name(name),
    }
}

fn some_target(what: &str, cursor: &mut Cursor<'_>) -> Result<Target> {
    let at = *cursor;
    target(cursor).ok_or_else(|| wrong(what, at))
}

fn create(mut cursor: Cursor<'_>, mode: CreateMode) -> Result<TableStatement> {
    const WHAT: &str = "CREATE OR REPLACE TABLE";
    let table = table(WHAT, &mut cursor)?;
    let mut create = Create {
        table,
        mode,
        ..Create::default()
    };
    define::body(&mut cursor, &mut create)?;
    Ok(TableStatement::Create(Box::new(create)))
}

/// `CREATE TABLE` of a Delta table in a place of our choosing. The engine would make it one whose commits go through the
/// catalogue, which few other readers open, and one made of a query would refuse NULL. What is not understood here
/// (another format, LOCATION, properties that ask for features) is the engine's.
///
/// # Errors
/// `unsupported` for what the engine would take and then ignore, or fail at and leave half a table.
fn new(mut cursor: Cursor<'_>) -> Result<Option<TableStatement>> {
    let mode = if cursor.words(&["IF", "NOT", "EXISTS"]) {
        CreateMode::IfNotExists
    } else {
        CreateMode::New
    };
    let statement = match create(cursor, mode) {
        Ok(statement) => statement,
        Err(e) if define::is_of_columns(&e) => return Err(e),
        Err(_) => return Ok(None),
    };
    let TableStatement::Create(new) = &statement else {
        return Ok(None);
    };
    match check_properties(new.properties.keys()) {
        Ok(()) => Ok(Some(statement)),
        Err(e) if new.query.is_some() || new.properties.keys().any(|key| is_catalogs(key)) => {
            Err(e)
        }
        Err(_) => Ok(None),
    }
}

/// `CREATE TABLE … LIKE`.
fn like(mut cursor: Cursor<'_>) -> Result<Option<TableStatement>> {
    const WHAT: &str = "CREATE TABLE … LIKE";
    let if_not_exists = cursor.words(&["IF", "NOT", "EXISTS"]);
    let start = cursor;
    if cursor.name().is_none() || !cursor.words(&["LIKE"]) {
        return Ok(None);
    }
    let mut at = start;
    let table = table(WHAT, &mut at)?;
    let source = some_target(WHAT, &mut cursor)?;
    let _ = cursor.words(&["USING", "DELTA"]);
    if !cursor.is_end() {
        return Err(unsupported(
            "CREATE TABLE … LIKE with further clauses",
            "Leave them out, and set properties by ALTER TABLE t SET TBLPROPERTIES.",
        ));
    }
    Ok(Some(TableStatement::Like {
        table,
        source,
        if_not_exists,
    }))
}

fn alter(mut cursor: Cursor<'_>) -> Result<TableStatement> {
    const WHAT: &str = "ALTER TABLE";
    let table = some_target(WHAT, &mut cursor)?;
    if cursor.words(&["RENAME", "TO"]) {
        let to = self::table("ALTER TABLE … RENAME TO", &mut cursor)?;
        let Target::Name(from) = table else {
            return Err(wrong(WHAT, cursor));
        };
        return ended(WHAT, cursor, TableStatement::Rename { from, to });
    }
    let change = alteration(&mut cursor)?;
    ended(WHAT, cursor, TableStatement::Alter { table, change })
}

fn alteration(cursor: &mut Cursor<'_>) -> Result<Change> {
    const WHAT: &str = "ALTER TABLE";
    if cursor.words(&["SET", "TBLPROPERTIES"]) {
        return Ok(Change::SetProperties(define::properties(cursor)?));
    }
    if cursor.words(&["UNSET", "TBLPROPERTIES"]) {
        let if_exists = cursor.words(&["IF", "EXISTS"]);
        let group = cursor.group().ok_or_else(|| wrong(WHAT, *cursor))?;
        let keys = group
            .list()
            .into_iter()
            .map(|mut part| define::key(&mut part).ok_or_else(|| wrong(WHAT, part)))
            .collect::<Result<_>>()?;
        return Ok(Change::UnsetProperties { keys, if_exists });
    }
    if cursor.words(&["ADD"]) && cursor.any(&["COLUMN", "COLUMNS"]) {
        return added(cursor);
    }
    if cursor.any(&["ALTER", "CHANGE"]) {
        let _ = cursor.words(&["COLUMN"]);
        let at = *cursor;
        if let Some(mut name) = cursor.name()
            && let (Some(column), true) = (name.pop(), name.is_empty())
        {
            if cursor.words(&["COMMENT"]) {
                let comment = cursor.string().ok_or_else(|| wrong(WHAT, *cursor))?;
                let comment = Some(comment);
                return Ok(Change::ColumnComment { column, comment });
            }
            if cursor.words(&["DROP", "NOT", "NULL"]) {
                return Ok(Change::DropNotNull(column));
            }
        }
        *cursor = at;
        return Err(unsupported(
            "this change of a column",
            "Only COMMENT and DROP NOT NULL can change; for another type or order use CREATE OR REPLACE TABLE t AS SELECT cast(…) … FROM t.",
        ));
    }
    if cursor.any(&["DROP", "RENAME"]) {
        return Err(unsupported(
            "ALTER TABLE … DROP or RENAME of columns",
            "Use CREATE OR REPLACE TABLE t AS SELECT a, b AS new_name FROM t.",
        ));
    }
    Err(unsupported(
        "this ALTER TABLE",
        "ADD COLUMNS, RENAME TO, SET and UNSET TBLPROPERTIES and ALTER COLUMN c COMMENT work; else use CREATE OR REPLACE TABLE t AS SELECT … FROM t.",
    ))
}

fn added(cursor: &mut Cursor<'_>) -> Result<Change> {
    let group = match cursor.group() {
        Some(group) => group,
        None => cursor.until(&[]),
    };
    let columns = define::columns(group)?;
    if columns.is_empty() {
        return Err(wrong("ALTER TABLE … ADD COLUMNS", *cursor));
    }
    Ok(Change::AddColumns(columns))
}

fn comment_on(mut cursor: Cursor<'_>) -> Result<TableStatement> {
    const WHAT: &str = "COMMENT ON";
    let is = |cursor: &mut Cursor<'_>| {
        if !cursor.words(&["IS"]) {
            return Err(wrong(WHAT, *cursor));
        }
        match cursor.words(&["NULL"]) {
            true => Ok(None),
            false => match cursor.string() {
                Some(text) => Ok(Some(text)),
                None => Err(wrong(WHAT, *cursor)),
            },
        }
    };
    if cursor.words(&["TABLE"]) {
        let table = some_target(WHAT, &mut cursor)?;
        let change = Change::Comment(is(&mut cursor)?);
        return ended(WHAT, cursor, TableStatement::Alter { table, change });
    }
    if cursor.words(&["COLUMN"]) {
        let mut name = cursor.name().ok_or_else(|| wrong(WHAT, cursor))?;
        let column = name.pop().filter(|_| !name.is_empty());
        let column = column.ok_or_else(|| wrong(WHAT, cursor))?;
        let comment = is(&mut cursor)?;
        return ended(
            WHAT,
            cursor,
            TableStatement::Alter {
                table: target_of(name),
                change: Change::ColumnComment { column, comment },
            },
        );
    }
    Err(unsupported(
        "COMMENT ON anything but a table or a column",
        "Give a database its comment in CREATE DATABASE d COMMENT '…'.",
    ))
}

fn show_create(mut cursor: Cursor<'_>) -> Result<TableStatement> {
    const WHAT: &str = "SHOW CREATE TABLE";
    let table = some_target(WHAT, &mut cursor)?;
    let _ = cursor.words(&["AS", "SERDE"]);
    ended(WHAT, cursor, TableStatement::ShowCreate(table))
}

fn show_properties(mut cursor: Cursor<'_>) -> Result<TableStatement> {
    const WHAT: &str = "SHOW TBLPROPERTIES";
    let table = some_target(WHAT, &mut cursor)?;
    let key = match cursor.group() {
        Some(mut group) => {
            let key = define::key(&mut group).ok_or_else(|| wrong(WHAT, group))?;
            ended(WHAT, group, Some(key))?
        }
        None => None,
    };
    ended(WHAT, cursor, TableStatement::ShowProperties(table, key))
}

fn show_partitions(mut cursor: Cursor<'_>) -> Result<TableStatement> {
    const WHAT: &str = "SHOW PARTITIONS";
    let table = some_target(WHAT, &mut cursor)?;
    if cursor.words(&["PARTITION"]) {
        return Err(unsupported(
            "SHOW PARTITIONS of one partition",
            "Use SELECT DISTINCT with the partition columns and a WHERE.",
        ));
    }
    ended(WHAT, cursor, TableStatement::ShowPartitions(table))
}

/// `DESCRIBE HISTORY` and `DETAIL`; any other DESCRIBE is the engine's.
fn describe(mut cursor: Cursor<'_>) -> Result<Option<TableStatement>> {
    let history = cursor.sees(&["HISTORY"]);
    if !cursor.any(&["HISTORY", "DETAIL"]) || cursor.is_end() || cursor.sign(&Token::Period) {
        return Ok(None);
    }
    if history {
        const WHAT: &str = "DESCRIBE HISTORY";
        let table = some_target(WHAT, &mut cursor)?;
        let limit = match cursor.words(&["LIMIT"]) {
            true => Some(cursor.number().ok_or_else(|| wrong(WHAT, cursor))?),
            false => None,
        };
        return ended(WHAT, cursor, Some(TableStatement::History(table, limit)));
    }
    const WHAT: &str = "DESCRIBE DETAIL";
    let table = some_target(WHAT, &mut cursor)?;
    ended(WHAT, cursor, Some(TableStatement::Detail(table)))
}
