//! Rows that came with a call, as columns: which types they have where nobody says it, and the Arrow stream of them.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::Schema;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::decode::{Item, Misfits, Reader, present, short};
use crate::model::{Code, Error, Result};
use crate::spark_connect::{Field, Type};

/// The most that rows of one call may be, in bytes of Arrow: half of what one message of the protocol holds. More is
/// for a file.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Names and rows, each row as long as the names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    pub(super) columns: &'a [String],
    pub(super) rows: &'a [Vec<Value>],
    /// The number of the first row, from 0, for errors.
    pub(super) first: usize,
}

impl Rows<'_> {
    fn items(&self, place: usize) -> Vec<Item<'_>> {
        let rows = self.rows.iter().enumerate();
        rows.map(|(row, values)| (self.first + row, values.get(place).and_then(present)))
            .collect()
    }

    /// The type of each column: as `known` has it, else what its values are.
    ///
    /// # Errors
    /// `invalid_argument` for columns whose values have no one type.
    pub(super) fn fields(&self, known: impl Fn(&str) -> Option<Field>) -> Result<Vec<Field>> {
        let mut misfits = Misfits::default();
        let mut fields = Vec::new();
        for (place, name) in self.columns.iter().enumerate() {
            fields.push(match known(name) {
                Some(field) => Field {
                    name: name.clone(),
                    ..field
                },
                None => Field::new(name, infer(name, &self.items(place), &mut misfits)),
            });
        }
        match misfits.words() {
            None => Ok(fields),
            Some(words) => Err(Error::new(Code::InvalidArgument, words).hint(
                "Give each column values of one type, or say the types: schema=\"id bigint, price decimal(10,2)\".",
            )),
        }
    }

    /// The rows as columns of these types.
    ///
    /// # Errors
    /// `invalid_argument` that names the values which do not fit, by row and column.
    pub(super) fn batch(&self, fields: &[Field], zone: &TimeZone) -> Result<RecordBatch> {
        let mut misfits = Misfits::default();
        let mut reader = Reader {
            zone,
            misfits: &mut misfits,
        };
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (place, field) in fields.iter().enumerate() {
            columns.push(reader.column(field, &self.items(place))?);
        }
        if let Some(words) = misfits.words() {
            return Err(Error::new(Code::InvalidArgument, words)
                .hint("Correct these values, or the types in schema; nothing was written."));
        }
        batch(fields, columns, self.rows.len())
    }
}

/// Columns of these types as a batch.
pub(super) fn batch(fields: &[Field], columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let schema = Schema::new(fields.iter().map(Field::arrow).collect::<Vec<_>>());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
        .map_err(|e| Error::internal("the rows do not make a batch").source_error(e))
}

/// A batch as an Arrow IPC stream.
///
/// # Errors
/// `result_too_large` above 64 MiB.
pub(super) fn stream(batch: &RecordBatch) -> Result<Vec<u8>> {
    let broken = |e| Error::internal("the rows do not make an Arrow stream").source_error(e);
    let mut data = Vec::new();
    let mut writer = StreamWriter::try_new(&mut data, &batch.schema()).map_err(broken)?;
    writer.write(batch).map_err(broken)?;
    writer.finish().map_err(broken)?;
    drop(writer);
    if data.len() > MAX_BYTES {
        return Err(Error::new(
            Code::ResultTooLarge,
            format!(
                "the rows are {} MiB, the most is {} MiB",
                data.len() >> 20,
                MAX_BYTES >> 20
            ),
        )
        .hint("Write them to a .jsonl file and pass its path as file."));
    }
    Ok(data)
}

/// The one type that these values have; NULL alone is text. Whole numbers beside others are doubles.
fn infer(path: &str, items: &[Item<'_>], misfits: &mut Misfits) -> Type {
    let mut found: Option<(Kind, usize)> = None;
    for (row, value) in items {
        let Some(value) = value else { continue };
        let kind = Kind::of(value);
        found = match found {
            None => Some((kind, *row)),
            Some((known, first)) => match known.with(kind) {
                Some(both) => Some((both, first)),
                None => {
                    misfits.add(
                        *row,
                        path,
                        format!(
                            "{} is {}, row {} has {}",
                            short(value),
                            kind.word(),
                            first + 1,
                            known.word()
                        ),
                    );
                    Some((known, first))
                }
            },
        };
    }
    let Some((kind, _)) = found else {
        return Type::String;
    };
    match kind {
        Kind::Boolean => Type::Boolean,
        Kind::Whole => Type::Long,
        Kind::Number => Type::Double,
        Kind::Text => Type::String,
        Kind::Huge => {
            for (row, value) in items {
                if let Some(value) = value.filter(|v| Kind::of(v) == Kind::Huge) {
                    let problem =
                        format!("{value} does not fit a bigint; make it decimal(20,0) by schema");
                    misfits.add(*row, path, problem);
                }
            }
            Type::Long
        }
        Kind::Array => {
            let inner: Vec<Item<'_>> = items
                .iter()
                .flat_map(|(row, value)| {
                    let values = value.and_then(Value::as_array).into_iter().flatten();
                    values.map(|value| (*row, present(value)))
                })
                .collect();
            Type::Array(Box::new(infer(&format!("{path}[]"), &inner, misfits)))
        }
        Kind::Object => object(path, items, misfits),
    }
}

fn object(path: &str, items: &[Item<'_>], misfits: &mut Misfits) -> Type {
    let mut names: Vec<&str> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for fields in items
        .iter()
        .filter_map(|(_, value)| value.and_then(Value::as_object))
    {
        names.extend(
            fields
                .keys()
                .map(String::as_str)
                .filter(|name| seen.insert(*name)),
        );
    }
    if names.is_empty() {
        let row = items.first().map_or(0, |(row, _)| *row);
        misfits.add(row, path, "an object without fields has no type");
    }
    let field = |name: &&str| {
        let inner: Vec<Item<'_>> = items
            .iter()
            .map(|(row, value)| {
                let value = value.and_then(|v| v.get(*name)).and_then(present);
                (*row, value)
            })
            .collect();
        Field::new(*name, infer(&format!("{path}.{name}"), &inner, misfits))
    };
    Type::Struct(names.iter().map(field).collect())
}

/// What a JSON value is, as far as columns tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Boolean,
    Whole,
    /// Whole, but more than a bigint holds.
    Huge,
    Number,
    Text,
    Array,
    Object,
}

impl Kind {
    fn of(value: &Value) -> Self {
        match value {
            Value::Bool(_) => Self::Boolean,
            Value::Number(n) if n.is_i64() => Self::Whole,
            Value::Number(n) if n.is_u64() => Self::Huge,
            Value::Number(_) => Self::Number,
            Value::Null | Value::String(_) => Self::Text,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }

    fn with(self, other: Self) -> Option<Self> {
        use Kind::{Huge, Number, Whole};
        match (self, other) {
            (one, other) if one == other => Some(one),
            (Number, Whole | Huge) | (Whole | Huge, Number) => Some(Number),
            (Huge, Whole) | (Whole, Huge) => Some(Huge),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Boolean => "a boolean",
            Self::Whole | Self::Huge | Self::Number => "a number",
            Self::Text => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

#[cfg(test)]
mod tests;
