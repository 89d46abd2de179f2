//! What defines a table in a statement: columns, clauses, the query.

use std::collections::BTreeMap;

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::parse::{ended, wrong};
use super::statement::{Create, NewColumn, Place};
use crate::model::{Code, Error, Result};
use crate::platform::local::rewrite::{starts_query, unsupported};

/// Everything behind the table's name.
pub(super) fn body(cursor: &mut Cursor<'_>, create: &mut Create) -> Result<()> {
    const WHAT: &str = "CREATE OR REPLACE TABLE";
    // `(` opens columns, or a query that may also stand without AS.
    let mut behind = *cursor;
    if let Some(group) = behind.group()
        && !group.rest().first().is_some_and(starts_query)
    {
        create.columns = columns(group)?;
        *cursor = behind;
    }
    while !cursor.is_end() {
        if cursor.words(&["AS"]) || cursor.rest().first().is_some_and(starts_query) {
            create.query = Some(cursor.rest_text().to_owned());
            break;
        }
        clause(cursor, create)?;
    }
    if let Some(column) = create.columns.iter().find(|c| c.place.is_some()) {
        return Err(Error::new(
            Code::InvalidArgument,
            format!("a place for the column {} of a new table", column.name),
        )
        .hint("Write the columns in the order that they are to have."));
    }
    match (create.columns.is_empty(), &create.query) {
        (true, None) => Err(wrong(WHAT, *cursor)),
        (false, Some(_)) => Err(Error::new(
            Code::InvalidArgument,
            "a table's columns are given twice: by a list and by a query",
        )
        .hint("Leave the list out, and name and cast the columns in the query.")),
        _ => Ok(()),
    }
}

fn clause(cursor: &mut Cursor<'_>, create: &mut Create) -> Result<()> {
    const WHAT: &str = "CREATE OR REPLACE TABLE";
    if cursor.words(&["USING"]) {
        let format = cursor.ident().unwrap_or_default();
        create.said_delta = format.eq_ignore_ascii_case("delta");
        return match create.said_delta {
            true => Ok(()),
            false => Err(unsupported(
                "replacing a table by one that is not Delta",
                "Leave USING out, or use DROP TABLE IF EXISTS t and then CREATE TABLE t USING ….",
            )),
        };
    }
    if cursor.words(&["COMMENT"]) {
        let comment = cursor.string().ok_or_else(|| wrong(WHAT, *cursor))?;
        create.comment = Some(comment);
        return Ok(());
    }
    if cursor.words(&["TBLPROPERTIES"]) {
        create.properties = properties(cursor)?;
        return Ok(());
    }
    if cursor.words(&["PARTITIONED", "BY"]) {
        return partitions(cursor, create);
    }
    if cursor.words(&["LOCATION"]) {
        return Err(unsupported(
            "CREATE OR REPLACE TABLE with LOCATION",
            "Leave LOCATION out: a table that is there keeps its folder; for a new one use CREATE TABLE t … LOCATION.",
        ));
    }
    if cursor.any(&["OPTIONS", "CLUSTER", "CLUSTERED", "STORED", "ROW"]) {
        return Err(unsupported(
            "OPTIONS, CLUSTER BY, CLUSTERED BY or STORED AS in CREATE OR REPLACE TABLE",
            "Leave them out; partition by PARTITIONED BY (column).",
        ));
    }
    Err(wrong(WHAT, *cursor))
}

/// `(a, b)`, or with types for columns that are not in the list.
fn partitions(cursor: &mut Cursor<'_>, create: &mut Create) -> Result<()> {
    let group = cursor
        .group()
        .ok_or_else(|| wrong("PARTITIONED BY", *cursor))?;
    for part in group.list() {
        let mut alone = part;
        match alone.ident() {
            Some(column) if alone.is_end() => create.partition_by.push(column),
            Some(_)
                if alone
                    .rest()
                    .first()
                    .is_some_and(|t| t.token == Token::LParen) =>
            {
                return Err(unsupported(
                    "partitions by an expression",
                    "Add a column with its value to the query, and partition by that.",
                ));
            }
            _ => {
                let column = column(part)?;
                create.partition_by.push(column.name.clone());
                create.columns.push(column);
            }
        }
    }
    Ok(())
}

/// `(key = value, 'key' 'value', …)`.
pub(super) fn properties(cursor: &mut Cursor<'_>) -> Result<BTreeMap<String, String>> {
    const WHAT: &str = "TBLPROPERTIES";
    let group = cursor.group().ok_or_else(|| wrong(WHAT, *cursor))?;
    group
        .list()
        .into_iter()
        .map(|mut part| {
            let key = key(&mut part).ok_or_else(|| wrong(WHAT, part))?;
            let _ = part.sign(&Token::Eq);
            let value = match part.string() {
                Some(value) => value,
                // Numbers and booleans stand bare.
                None => {
                    let bare = part.until(&[]).rest_text();
                    if bare.is_empty() {
                        return Err(wrong(WHAT, part));
                    }
                    bare.to_owned()
                }
            };
            ended(WHAT, part, (key, value))
        })
        .collect()
}

/// A property's name: `'a.b'`, `a.b`, `a`.
pub(super) fn key(cursor: &mut Cursor<'_>) -> Option<String> {
    cursor
        .string()
        .or_else(|| cursor.name().map(|parts| parts.join(".")))
}

/// The columns of a list.
pub(super) fn columns(group: Cursor<'_>) -> Result<Vec<NewColumn>> {
    group.list().into_iter().map(column).collect()
}

const OPTIONS: [&str; 8] = [
    "NOT",
    "COMMENT",
    "DEFAULT",
    "GENERATED",
    "FIRST",
    "AFTER",
    "PRIMARY",
    "CHECK",
];

fn column(mut cursor: Cursor<'_>) -> Result<NewColumn> {
    const WHAT: &str = "list of columns";
    let start = cursor;
    let constraint = ["CONSTRAINT", "PRIMARY", "FOREIGN", "CHECK"];
    if constraint.iter().any(|word| cursor.sees(&[word])) && cursor.rest().len() > 2 {
        return Err(not_in_columns());
    }
    let name = cursor.ident().ok_or_else(|| wrong(WHAT, start))?;
    if cursor.sign(&Token::Period) {
        return Err(unsupported(
            "adding a field to a struct",
            "Use CREATE OR REPLACE TABLE t AS SELECT … FROM t with the new struct.",
        ));
    }
    let _ = cursor.sign(&Token::Colon);
    let data_type = cursor.until(&OPTIONS).rest_text().to_owned();
    if data_type.is_empty() {
        return Err(wrong(WHAT, start));
    }
    let mut column = NewColumn {
        name,
        data_type,
        required: false,
        comment: None,
        place: None,
    };
    while !cursor.is_end() {
        if cursor.words(&["NOT", "NULL"]) {
            column.required = true;
        } else if cursor.words(&["COMMENT"]) {
            let comment = cursor.string().ok_or_else(|| wrong(WHAT, cursor))?;
            column.comment = Some(comment);
        } else if cursor.words(&["FIRST"]) {
            column.place = Some(Place::First);
        } else if cursor.words(&["AFTER"]) {
            let after = cursor.ident().ok_or_else(|| wrong(WHAT, cursor))?;
            column.place = Some(Place::After(after));
        } else if cursor.any(&["DEFAULT", "GENERATED", "PRIMARY", "CHECK"]) {
            return Err(not_in_columns());
        } else {
            return Err(wrong(WHAT, cursor));
        }
    }
    Ok(column)
}

/// Whether an error is about what no column can have here.
pub(super) fn is_of_columns(error: &Error) -> bool {
    error.message() == not_in_columns().message()
}

fn not_in_columns() -> Error {
    unsupported(
        "DEFAULT, GENERATED and constraints in this statement",
        "Leave them out, and compute the values in the query that writes.",
    )
}
