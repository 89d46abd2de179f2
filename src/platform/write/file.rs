//! A local file that is to become a table: is it what its name says, which columns does it have, and its rows by
//! given types. All of it blocks on the disk.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use jiff::tz::TimeZone;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Map, Value};

use super::check;
use super::decode::Misfits;
use super::infer::{Shape, Texts};
use super::quotes::Quotes;
use super::rows::{self, Rows};
use crate::model::{Code, Error, Result};
use crate::spark_connect::{Field, FileFormat};

/// Rows that are read and written at once: enough for columns, little enough for memory.
const CHUNK: usize = 8192;
/// More faults than this are counted, not shown.
const SHOWN: usize = 5;
/// One line of JSON, in bytes: 128 MiB is what one message of the engine holds.
const LINE_BYTES: u64 = 128 * 1024 * 1024;

/// What a look into a file told.
#[derive(Debug, Default)]
pub(in crate::platform) struct Looked {
    /// The columns of a CSV's header, or the keys of JSON lines; Parquet has its own schema.
    pub(in crate::platform) columns: Vec<String>,
    /// What their values are, column by column.
    found: Vec<Found>,
}

#[derive(Debug)]
enum Found {
    Texts(Texts),
    Values(Box<Shape>, Misfits),
}

impl Looked {
    /// The type of each column: as `known` has it, else what all its values are.
    ///
    /// # Errors
    /// `invalid_argument` for columns whose values have no one type.
    pub(in crate::platform) fn fields(
        self,
        known: impl Fn(&str) -> Option<Field>,
    ) -> Result<Vec<Field>> {
        let mut all = Misfits::default();
        let mut fields = Vec::with_capacity(self.columns.len());
        for (name, found) in self.columns.iter().zip(self.found) {
            fields.push(match (known(name), found) {
                (Some(field), _) => field,
                (None, Found::Texts(texts)) => Field::new(name, texts.data_type()),
                (None, Found::Values(shape, mut misfits)) => {
                    let data_type = shape.data_type(name, &mut misfits);
                    all.join(misfits);
                    Field::new(name, data_type)
                }
            });
        }
        match all.words() {
            None => Ok(fields),
            Some(words) => Err(rows::mixed(words)),
        }
    }
}

/// The format that a file's ending names.
///
/// # Errors
/// `invalid_argument` for another ending.
pub(in crate::platform) fn file_format(path: &Path) -> Result<FileFormat> {
    let ending = path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default();
    match ending.as_str() {
        "csv" => Ok(FileFormat::Csv),
        "jsonl" | "ndjson" | "json" => Ok(FileFormat::JsonLines),
        "parquet" => Ok(FileFormat::Parquet),
        _ => Err(Error::new(
            Code::InvalidArgument,
            format!("{} has no ending that names a format", path.display()),
        )
        .hint("Name it .csv, .jsonl or .parquet.")),
    }
}

/// Whether a file is what its name says, from its first to its last byte, and what its columns hold.
///
/// # Errors
/// `invalid_argument` that names what is wrong, with the lines.
pub(in crate::platform) fn look(path: &Path, format: FileFormat) -> Result<Looked> {
    match format {
        FileFormat::Csv => {
            let mut texts: Option<Vec<Texts>> = None;
            let columns = csv(path, |record| {
                match &mut texts {
                    None => texts = Some(record.iter().map(|_| Texts::default()).collect()),
                    Some(texts) => {
                        for (texts, text) in texts.iter_mut().zip(record) {
                            texts.fold(text);
                        }
                    }
                }
                Ok(())
            })?;
            let found = texts.unwrap_or_default();
            let found = found.into_iter().map(Found::Texts).collect();
            Ok(Looked { columns, found })
        }
        FileFormat::JsonLines => {
            let mut places: HashMap<String, usize> = HashMap::new();
            let mut columns: Vec<String> = Vec::new();
            let mut found: Vec<(Shape, Misfits)> = Vec::new();
            json_lines(path, |row, object| {
                for (name, value) in &object {
                    let place = match places.get(name) {
                        Some(place) => *place,
                        None => {
                            check::few_columns(columns.len() + 1)?;
                            columns.push(name.clone());
                            found.push(<(Shape, Misfits)>::default());
                            places.insert(name.clone(), columns.len() - 1);
                            columns.len() - 1
                        }
                    };
                    if let Some((shape, misfits)) = found.get_mut(place) {
                        shape.fold(row, name, value, misfits);
                    }
                }
                Ok(())
            })?;
            let found = found.into_iter();
            let found = found.map(|(shape, misfits)| Found::Values(Box::new(shape), misfits));
            Ok(Looked {
                columns,
                found: found.collect(),
            })
        }
        FileFormat::Parquet => parquet(path).map(|()| Looked::default()),
    }
}

/// Writes the rows of a CSV or JSON-lines file as Parquet; see [`read`].
///
/// # Errors
/// As [`read`]; `statement_failed` where there is no room.
pub(in crate::platform) fn convert(
    path: &Path,
    format: FileFormat,
    columns: &[String],
    fields: &[Field],
    zone: &TimeZone,
    to: File,
) -> Result<()> {
    let schema = Schema::new(fields.iter().map(Field::arrow).collect::<Vec<_>>());
    let mut writer = ArrowWriter::try_new(to, Arc::new(schema), None).map_err(unwritten)?;
    read(path, format, (columns, fields), zone, |batch| {
        writer.write(&batch).map_err(unwritten)
    })?;
    writer.close().map(drop).map_err(unwritten)
}

/// Gives the rows of a CSV or JSON-lines file to `to`: its columns, by the types of the fields and under their names;
/// NULL where a line lacks a column.
///
/// # Errors
/// `invalid_argument` that names the values which do not fit, by row and column; what `to` says.
pub(in crate::platform) fn read(
    path: &Path,
    format: FileFormat,
    (columns, fields): (&[String], &[Field]),
    zone: &TimeZone,
    to: impl FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    let mut chunk = Chunk {
        columns,
        fields,
        zone,
        rows: Vec::new(),
        done: 0,
        to,
    };
    match format {
        FileFormat::Csv => {
            let mut header = true;
            csv(path, |record| {
                if std::mem::take(&mut header) {
                    return Ok(());
                }
                let cell = |text: &str| match text {
                    "" => Value::Null,
                    text => Value::from(text),
                };
                chunk.add(record.iter().map(cell).collect())
            })?;
        }
        FileFormat::JsonLines => {
            json_lines(path, |_, mut object| {
                let mut take = |name: &String| object.swap_remove(name).unwrap_or(Value::Null);
                let row = columns.iter().map(&mut take).collect();
                chunk.add(row)
            })?;
        }
        FileFormat::Parquet => {
            return Err(Error::internal("Parquet has types of its own"));
        }
    }
    chunk.give()
}

struct Chunk<'a, F> {
    columns: &'a [String],
    fields: &'a [Field],
    zone: &'a TimeZone,
    rows: Vec<Vec<Value>>,
    done: usize,
    to: F,
}

impl<F: FnMut(RecordBatch) -> Result<()>> Chunk<'_, F> {
    fn add(&mut self, row: Vec<Value>) -> Result<()> {
        self.rows.push(row);
        if self.rows.len() >= CHUNK {
            self.give()?;
        }
        Ok(())
    }

    fn give(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = Rows {
            columns: self.columns,
            rows: &self.rows,
            first: self.done,
        };
        (self.to)(rows.batch(self.fields, self.zone)?)?;
        self.done += self.rows.len();
        self.rows.clear();
        Ok(())
    }
}

/// The columns of a Parquet file, and its rows, given to `to`.
///
/// # Errors
/// `invalid_argument` for what is no such file; what `to` says.
pub(in crate::platform) fn read_parquet(
    path: &Path,
    mut to: impl FnMut(RecordBatch) -> Result<()>,
) -> Result<Vec<Field>> {
    const WHAT: &str = "Parquet file";
    let broken = |e: &dyn std::fmt::Display| wrong(path, WHAT, &e.to_string());
    let builder = ParquetRecordBatchReaderBuilder::try_new(open(path, WHAT)?);
    let builder = builder.map_err(|e| broken(&e))?.with_batch_size(CHUNK);
    let fields = builder.schema().fields().iter();
    let fields = fields.map(|field| Field::from_arrow(field)).collect();
    for batch in builder.build().map_err(|e| broken(&e))? {
        to(batch.map_err(|e| broken(&e))?)?;
    }
    Ok(fields)
}

fn unwritten(e: parquet::errors::ParquetError) -> Error {
    Error::new(
        Code::StatementFailed,
        format!("the file's rows cannot be put aside: {e}"),
    )
    .hint("Make room on the disk of the data directory (`sparklease doctor` shows it).")
}

/// Faults of lines, gathered.
#[derive(Default)]
struct Faults {
    shown: Vec<String>,
    count: usize,
}

impl Faults {
    fn add(&mut self, fault: String) {
        self.count += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(fault);
        }
    }

    fn finish(self, path: &Path, what: &str) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let more = match self.count - self.shown.len() {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        Err(wrong(
            path,
            what,
            &format!("{}{more}", self.shown.join("; ")),
        ))
    }
}

fn wrong(path: &Path, what: &str, why: &str) -> Error {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Error::new(Code::InvalidArgument, format!("{name} is no {what}: {why}"))
        .hint("Correct the file, or give it the ending of what it is (.csv, .jsonl, .parquet); nothing was written.")
}

fn open(path: &Path, what: &str) -> Result<File> {
    File::open(path).map_err(|e| wrong(path, what, &format!("it cannot be read ({e})")))
}

/// Calls `each` for the header and for each record of a CSV file.
fn csv(path: &Path, mut each: impl FnMut(&csv::StringRecord) -> Result<()>) -> Result<Vec<String>> {
    const WHAT: &str = "CSV file with a header";
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(Quotes::new(open(path, WHAT)?));
    let mut record = csv::StringRecord::new();
    let mut faults = Faults::default();
    let mut columns: Option<Vec<String>> = None;
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(e) => {
                let line = e.position().map_or(0, csv::Position::line);
                let why = match e.kind() {
                    csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
                    _ => e.to_string(),
                };
                faults.add(format!("line {line}: {why}"));
                break;
            }
        }
        let line = record.position().map_or(0, csv::Position::line);
        match &columns {
            None => {
                // A byte order mark belongs to no name.
                let names = record.iter().enumerate().map(|(place, name)| match place {
                    0 => name.trim_start_matches('\u{feff}').to_owned(),
                    _ => name.to_owned(),
                });
                let names: Vec<String> = names.collect();
                if names.iter().any(|name| name.contains('\0')) {
                    return Err(wrong(path, WHAT, "it holds bytes that are no text"));
                }
                check::few_columns(names.len())?;
                let header = csv::StringRecord::from(names.clone());
                columns = Some(names);
                each(&header)?;
            }
            Some(columns) if columns.len() != record.len() => {
                faults.add(format!(
                    "line {line} has {} fields, the header has {}",
                    record.len(),
                    columns.len()
                ));
            }
            Some(_) if faults.count == 0 => each(&record)?,
            Some(_) => {}
        }
    }
    // What such a quote swallowed is no fault of its own.
    if let Some(fault) = reader.get_ref().fault() {
        return Err(wrong(path, WHAT, &fault));
    }
    faults.finish(path, WHAT)?;
    match columns {
        Some(columns) => Ok(columns),
        None => Err(wrong(path, WHAT, "it is empty")),
    }
}

/// Calls `each` for each object of a file of JSON lines, with its row, from 0.
fn json_lines(
    path: &Path,
    mut each: impl FnMut(usize, Map<String, Value>) -> Result<()>,
) -> Result<()> {
    const WHAT: &str = "file of JSON lines";
    let mut reader = BufReader::new(open(path, WHAT)?);
    let mut faults = Faults::default();
    let mut line = Vec::new();
    let mut objects = 0_usize;
    for number in 1.. {
        line.clear();
        let read = (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut line);
        match read {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) => return Err(wrong(path, WHAT, &format!("it cannot be read ({e})"))),
        }
        // A byte order mark is no part of the first object.
        if number == 1 && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if std::str::from_utf8(&line).is_err() {
            faults.add(format!("line {number}: it is not UTF-8"));
            continue;
        }
        if let Some(digits) = long_whole(&line) {
            faults.add(format!(
                "line {number} has a whole number of {digits} digits, more than a JSON number keeps; write it as a string"
            ));
            continue;
        }
        match serde_json::from_slice::<Value>(&line) {
            Ok(Value::Object(object)) => {
                if faults.count == 0 {
                    each(objects, object)?;
                }
                objects += 1;
            }
            Ok(other) => faults.add(format!(
                "line {number} is {}, not an object",
                crate::model::shown(&other)
            )),
            Err(e) => {
                // It counts lines within the line.
                let why = e.to_string();
                let why = why.split(" at line ").next().unwrap_or_default();
                faults.add(format!("line {number}, column {}: {why}", e.column()));
            }
        }
    }
    faults.finish(path, WHAT)?;
    if objects == 0 {
        return Err(wrong(path, WHAT, "it is empty"));
    }
    Ok(())
}

/// How many digits the first whole number has that no 64 bits hold: read as JSON it would be the nearest double.
fn long_whole(line: &[u8]) -> Option<usize> {
    const MOST: usize = 20;
    let (mut text, mut escaped) = (false, false);
    let mut digits = 0;
    let mut whole = true;
    for byte in line.iter().chain(b" ") {
        if text {
            text = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' | b'e' | b'E' | b'+' => whole = false,
            b'-' if digits > 0 => whole = false,
            other => {
                // Of 20 digits, some numbers fit.
                if whole && digits > MOST {
                    return Some(digits);
                }
                (digits, whole, text) = (0, true, *other == b'"');
            }
        }
    }
    None
}

/// The footer is at the end: what has one is whole.
fn parquet(path: &Path) -> Result<()> {
    const WHAT: &str = "Parquet file";
    if path.join("_delta_log").is_dir() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Err(Error::new(
            Code::InvalidArgument,
            format!("{name} is a Delta table, whose Parquet files hold rows that it has no more"),
        )
        .hint(format!(
            "Pass sql=\"select * from delta.`{}`\" instead of file; nothing was written.",
            path.display()
        )));
    }
    let files = if path.is_dir() {
        parts(path).map_err(|e| wrong(path, WHAT, &format!("it cannot be read ({e})")))?
    } else {
        vec![path.to_owned()]
    };
    if files.is_empty() {
        return Err(wrong(path, WHAT, "the folder has none"));
    }
    for file in files {
        let reader = SerializedFileReader::new(open(&file, WHAT)?)
            .map_err(|e| wrong(&file, WHAT, &e.to_string()))?;
        let footer = reader.metadata().file_metadata();
        check::few_columns(footer.schema_descr().root_schema().get_fields().len())?;
        if footer.schema_descr().num_columns() == 0 {
            return Err(wrong(&file, WHAT, "it has no columns"));
        }
    }
    Ok(())
}

/// The Parquet files of a folder, at any depth; hidden ones are nobody's rows.
fn parts(folder: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            found.extend(parts(&path)?);
        } else if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("parquet"))
        {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
