//! Rows that we have ourselves, of the call or of a local file: typed here, by the same code as everywhere, and sent to
//! the session in parts, each value as exactly as a result would show it.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::super::run::{Ended, Job};
use super::{CARRIED, Ready};
use crate::model::{Cell, Code, Error, Result, shown};
use crate::platform::Source;
use crate::platform::write::file::{self, Looked, file_format};
use crate::platform::write::rows::Rows;
use crate::platform::write::wanted::{Wanted, beside_unknown, check_names, check_schema_names};
use crate::platform::write::{blocking, check};
use crate::spark_connect::{Field, FileFormat, Type, cells, schema_json, weight};

/// Rows of one part, in bytes of JSON before it is packed: the server repeats a statement's code with each look at it.
const PART: u64 = 2 << 20;
/// The most that a file's rows may be, in bytes of JSON: a small Parquet file can hold very many.
const UNPACKED: u64 = 64 << 20;
/// More faults than this are counted, not shown.
const SHOWN: usize = 5;

/// What a look at a local source told.
pub(super) enum Local {
    /// There is nothing of it here.
    None,
    /// A text file.
    Text(Looked, FileFormat),
    /// A file with types of its own.
    Parquet(Vec<Field>, Vec<Vec<Cell>>),
}

/// Rows on their way.
#[derive(Default)]
pub(super) struct Parts {
    packed: Vec<String>,
    rows: Vec<Vec<Cell>>,
    bytes: u64,
}

/// Looks at what is here of a source.
///
/// # Errors
/// `invalid_argument` for what cannot be read; `result_too_large`.
pub(super) async fn look(source: &Source) -> Result<Local> {
    match source {
        Source::Sql(_) | Source::Variable(_) => Ok(Local::None),
        Source::Rows { rows, .. } => {
            let bytes: u64 = rows.iter().flatten().map(weight).sum();
            if bytes > CARRIED {
                return Err(too_large("the rows", bytes, CARRIED));
            }
            Ok(Local::None)
        }
        Source::File(path) => {
            let format = file_format(path)?;
            let path = path.clone();
            blocking(move || {
                let looked = file::look(&path, format)?;
                if format != FileFormat::Parquet {
                    return Ok(Local::Text(looked, format));
                }
                let mut rows = Vec::new();
                let mut bytes = 0;
                let fields = file::read_parquet(&path, |batch| {
                    for row in cells(&batch)? {
                        bytes += row.iter().map(weight).sum::<u64>();
                        rows.push(row);
                    }
                    few_bytes(bytes)
                })?;
                Ok(Local::Parquet(fields, rows))
            })
            .await
        }
    }
}

/// The rows by their types, packed. The columns are in `seen` also when their values are wrong.
///
/// # Errors
/// `invalid_argument`, `result_too_large`.
pub(super) async fn ready(
    source: &Source,
    local: Local,
    wanted: &Wanted<'_>,
    zone: TimeZone,
    seen: &mut Vec<String>,
) -> Result<Ready> {
    match (source, local) {
        (Source::Rows { columns, rows }, _) => {
            seen.clone_from(columns);
            check::few_columns(columns.len())?;
            check_schema_names(wanted, columns)?;
            let beside = |e| beside_unknown(e, wanted, columns);
            let rows = Rows {
                columns,
                rows,
                first: 0,
            };
            let known = wanted.index();
            let fields = rows.fields(|name| known.get(name)).map_err(beside)?;
            let batch = rows.batch(&fields, &zone).map_err(beside)?;
            packed(fields, cells(&batch)?, true)
        }
        (Source::File(path), Local::Text(looked, format)) => {
            seen.clone_from(&looked.columns);
            let columns = looked.columns.clone();
            check_names(&columns)?;
            check_schema_names(wanted, &columns)?;
            let beside = |e| beside_unknown(e, wanted, &columns);
            let known = wanted.index();
            let fields = looked.fields(|name| known.get(name)).map_err(beside)?;
            if fields.is_empty() {
                return Err(
                    Error::new(Code::InvalidArgument, "the source has no columns")
                        .hint("Give the file's rows at least one column; nothing was written."),
                );
            }
            let (path, names) = (path.clone(), columns.clone());
            let read = blocking(move || {
                let mut rows = Vec::new();
                let mut bytes = 0;
                file::read(&path, format, (&names, &fields), &zone, |batch| {
                    for row in cells(&batch)? {
                        bytes += row.iter().map(weight).sum::<u64>();
                        rows.push(row);
                    }
                    few_bytes(bytes)
                })?;
                packed(fields, rows, true)
            });
            read.await.map_err(beside)
        }
        (Source::File(_), Local::Parquet(fields, rows)) => {
            seen.extend(fields.iter().map(|field| field.name.clone()));
            blocking(move || packed(fields, rows, false)).await
        }
        _ => Err(Error::internal("the session has not told of its source")),
    }
}

/// The columns as the session's Python reads them. Any may hold NULL: what may not was checked here.
pub(super) fn schema(fields: &[Field]) -> Value {
    let loose = |field: &Field| Field::new(field.name.clone(), field.data_type.clone());
    schema_json(&fields.iter().map(loose).collect::<Vec<_>>())
}

fn packed(fields: Vec<Field>, rows: Vec<Vec<Cell>>, typed: bool) -> Result<Ready> {
    check_cells(&fields, &rows)?;
    let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let mut parts = Parts::default();
    for row in rows {
        parts.add(row)?;
    }
    parts.close()?;
    Ok(Ready {
        fields,
        count: Some(count),
        parts: Some(parts),
        typed,
    })
}

fn few_bytes(bytes: u64) -> Result<()> {
    if bytes <= UNPACKED {
        return Ok(());
    }
    Err(too_large("the file's rows", bytes, UNPACKED))
}

fn too_large(what: &str, bytes: u64, most: u64) -> Error {
    Error::new(
        Code::ResultTooLarge,
        format!(
            "{what} are more than {} MB; {} MB is the most that travels along with a call",
            bytes >> 20,
            most >> 20
        ),
    )
    .hint("Write them in parts, the later ones with mode=\"append\"; or put them where the cluster reads files, and call run_pyspark(code=\"spark.read.parquet('…').write.saveAsTable('…')\"). Nothing was written.")
}

/// Refuses dates and times that Python has no value for: they travel through it.
fn check_cells(fields: &[Field], rows: &[Vec<Cell>]) -> Result<()> {
    let mut wrong = Vec::new();
    let mut count = 0_usize;
    for (number, row) in rows.iter().enumerate() {
        for (field, cell) in fields.iter().zip(row) {
            if let Some(problem) = strange(&field.data_type, cell) {
                count += 1;
                if wrong.len() < SHOWN {
                    wrong.push(format!(
                        "row {}, column {}: {problem}",
                        number + 1,
                        field.name
                    ));
                }
            }
        }
    }
    if count == 0 {
        return Ok(());
    }
    if count > wrong.len() {
        wrong.push(format!("and {} more values", count - wrong.len()));
    }
    Err(Error::new(Code::InvalidArgument, wrong.join("; ")).hint(
        "Correct these values, or write them as text and cast them by sql; nothing was written.",
    ))
}

fn strange(kind: &Type, cell: &Cell) -> Option<String> {
    match (kind, cell) {
        (Type::Date | Type::Timestamp | Type::TimestampNtz, Value::String(text)) => {
            if text.starts_with(['+', '-']) || text.starts_with("0000") {
                return Some(format!("{} is outside of the years 1 to 9999", shown(cell)));
            }
            let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            (digits > 6)
                .then(|| format!("{} has more than 6 digits behind the second", shown(cell)))
        }
        (Type::Array(item), Value::Array(cells)) => {
            cells.iter().find_map(|cell| strange(item, cell))
        }
        (Type::Map(key, value), Value::Object(pairs)) => pairs
            .iter()
            .find_map(|(name, cell)| strange(key, &json!(name)).or_else(|| strange(value, cell))),
        (Type::Map(key, value), Value::Array(pairs)) => {
            pairs
                .iter()
                .find_map(|pair| match pair.as_array()?.as_slice() {
                    [name, cell] => strange(key, name).or_else(|| strange(value, cell)),
                    _ => None,
                })
        }
        (Type::Struct(fields), Value::Object(cells)) => fields
            .iter()
            .find_map(|field| strange(&field.data_type, cells.get(&field.name)?)),
        _ => None,
    }
}

impl Parts {
    fn add(&mut self, row: Vec<Cell>) -> Result<()> {
        self.bytes += row.iter().map(weight).sum::<u64>();
        self.rows.push(row);
        if self.bytes >= PART {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let broken = |e| Error::internal("rows cannot be packed").source_error(e);
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
        let text = Value::from(
            std::mem::take(&mut self.rows)
                .into_iter()
                .map(Value::Array)
                .collect::<Vec<_>>(),
        );
        packed
            .write_all(text.to_string().as_bytes())
            .map_err(broken)?;
        self.packed
            .push(BASE64.encode(packed.finish().map_err(broken)?));
        self.bytes = 0;
        Ok(())
    }

    /// Sends them; the session keeps them under `id` until they are prepared.
    pub(super) async fn send(self, job: &Job<'_>, id: &str) -> Result<(), Ended> {
        for (place, rows) in self.packed.into_iter().enumerate() {
            let request = json!({ "id": id, "first": place == 0, "rows": rows });
            job.ask("stage", request).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_has_no_value_for_is_refused_wherever_it_stands() {
        let day = Type::Array(Box::new(Type::Date));
        let fields = [
            Field::new("d", Type::Date),
            Field::new("a", day),
            Field::new("t", Type::Timestamp),
        ];
        let good = vec![
            json!("0001-01-01"),
            json!(["9999-12-31", null]),
            json!("1850-01-01 00:00:00.123456+00:00"),
        ];
        check_cells(&fields, std::slice::from_ref(&good)).unwrap();
        let bad = vec![
            json!("+10000-01-01"),
            json!(["-0001-01-01"]),
            json!("1850-01-01 00:00:00.123456789+00:00"),
        ];
        let error = check_cells(&fields, &[good, bad]).unwrap_err();
        for part in [
            "row 2, column d",
            "row 2, column a",
            "row 2, column t",
            "more than 6 digits",
        ] {
            assert!(error.message().contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn parts_hold_all_rows_in_order() {
        let mut parts = Parts::default();
        let long = "x".repeat(1 << 20);
        for n in 0..5 {
            parts.add(vec![json!(n), json!(long)]).unwrap();
        }
        parts.close().unwrap();
        assert_eq!(parts.packed.len(), 3);
        let mut seen = Vec::new();
        for part in &parts.packed {
            let bytes = BASE64.decode(part).unwrap();
            let rows: Vec<Vec<Value>> =
                serde_json::from_reader(flate2::read::ZlibDecoder::new(bytes.as_slice())).unwrap();
            seen.extend(rows.into_iter().map(|row| row[0].as_u64().unwrap()));
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }
}
