//! What a source's columns are to be, and what is wrong with their names, before a value is looked at. Pure.

use std::collections::HashSet;

use super::check::{self, Problems};
use crate::model::{Error, Result};
use crate::spark_connect::{Field, Type};

/// What the columns are to be.
pub(in crate::platform) struct Wanted<'a> {
    /// As the caller says, all of them.
    pub(in crate::platform) schema: Option<&'a [Field]>,
    /// As the table has them that the rows go to: how text is read.
    pub(in crate::platform) table: Option<&'a [Field]>,
}

impl<'a> Wanted<'a> {
    /// The columns whose types are said.
    pub(in crate::platform) fn index(&self) -> Known<'a> {
        Known {
            fields: check::Index::new(self.schema.or(self.table).unwrap_or_default()),
            loose: self.schema.is_none(),
        }
    }
}

/// The columns whose types are said, by their names.
pub(in crate::platform) struct Known<'a> {
    fields: check::Index<'a>,
    loose: bool,
}

impl Known<'_> {
    /// The column of that name.
    pub(in crate::platform) fn get(&self, name: &str) -> Option<Field> {
        // A row's own NULL is told by row and column; a table's is the engine's to refuse.
        let mut field = self.fields.get(name)?.clone();
        field.nullable |= self.loose;
        Some(field)
    }
}

/// An error of values, with the columns that the table does not have.
pub(in crate::platform) fn beside_unknown(
    error: Error,
    wanted: &Wanted<'_>,
    columns: &[String],
) -> Error {
    let (Some(table), None) = (wanted.table, wanted.schema) else {
        return error;
    };
    let table = check::Index::new(table);
    let unknown: Vec<&str> = columns
        .iter()
        .filter(|name| table.get(name).is_none())
        .map(String::as_str)
        .collect();
    if unknown.is_empty() {
        return error;
    }
    let text = format!(
        "{}; not in the table: {}",
        error.message(),
        unknown.join(", ")
    );
    Error::new(error.code(), text).hint(error.hint_text().to_owned())
}

/// Names that stand twice, or none at all.
pub(in crate::platform) fn check_names(columns: &[String]) -> Result<()> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|name| Field::new(name, Type::String))
        .collect();
    let mut problems = Problems::default();
    check::check_source(&fields, &mut problems);
    problems.finish()
}

/// A schema names the source's columns, all of them and no other.
pub(in crate::platform) fn check_schema_names(
    wanted: &Wanted<'_>,
    columns: &[String],
) -> Result<()> {
    let Some(schema) = wanted.schema else {
        return Ok(());
    };
    let mut problems = Problems::default();
    let known = check::Index::new(schema);
    for name in columns.iter().filter(|name| known.get(name).is_none()) {
        problems.add(format!("schema: it lacks the source's column {name}"));
    }
    let there: HashSet<String> = columns.iter().map(|name| name.to_lowercase()).collect();
    for field in schema {
        if !there.contains(&field.name.to_lowercase()) {
            problems.add(format!("schema: the source has no column {}", field.name));
        }
    }
    problems.finish()
}
