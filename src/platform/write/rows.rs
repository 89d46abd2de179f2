//! Rows that came with a call, as columns: which types they have where nobody says it, and the Arrow stream of them.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::Schema;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::decode::{Item, Misfits, Reader, present};
use super::infer::Shape;
use crate::model::{Code, Error, Result};
use crate::spark_connect::Field;

/// The most that rows of one call may be, in bytes of Arrow: half of what one message of the protocol holds. More is
/// for a file.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Names and rows, each row as long as the names.
#[derive(Clone, Copy, Debug)]
pub(in crate::platform) struct Rows<'a> {
    pub(in crate::platform) columns: &'a [String],
    pub(in crate::platform) rows: &'a [Vec<Value>],
    /// The number of the first row, from 0, for errors.
    pub(in crate::platform) first: usize,
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
    pub(in crate::platform) fn fields(
        &self,
        known: impl Fn(&str) -> Option<Field>,
    ) -> Result<Vec<Field>> {
        let mut misfits = Misfits::default();
        let mut fields = Vec::new();
        for (place, name) in self.columns.iter().enumerate() {
            fields.push(match known(name) {
                Some(field) => Field {
                    name: name.clone(),
                    ..field
                },
                None => {
                    let mut shape = Shape::default();
                    for (row, values) in self.rows.iter().enumerate() {
                        if let Some(value) = values.get(place) {
                            shape.fold(self.first + row, name, value, &mut misfits);
                        }
                    }
                    Field::new(name, shape.data_type(name, &mut misfits))
                }
            });
        }
        match misfits.words() {
            None => Ok(fields),
            Some(words) => Err(mixed(words)),
        }
    }

    /// The rows as columns of these types.
    ///
    /// # Errors
    /// `invalid_argument` that names the values which do not fit, by row and column.
    pub(in crate::platform) fn batch(
        &self,
        fields: &[Field],
        zone: &TimeZone,
    ) -> Result<RecordBatch> {
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

/// Columns whose values have no one type.
pub(in crate::platform) fn mixed(words: String) -> Error {
    Error::new(Code::InvalidArgument, words).hint(
        "Give each column values of one type, or say the types: schema=\"id bigint, price decimal(10,2)\"; nothing was written.",
    )
}

/// Columns of these types as a batch.
pub(in crate::platform) fn batch(
    fields: &[Field],
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let schema = Schema::new(fields.iter().map(Field::arrow).collect::<Vec<_>>());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
        .map_err(|e| Error::internal("the rows do not make a batch").source_error(e))
}

/// A batch as an Arrow IPC stream.
///
/// # Errors
/// `result_too_large` above 64 MiB.
pub(in crate::platform) fn stream(batch: &RecordBatch) -> Result<Vec<u8>> {
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

#[cfg(test)]
mod tests;
