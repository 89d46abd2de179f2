//! Arrow batches into rows of cells, exact: see [`Cell`] for the conventions.

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, DurationMicrosecondType, Float16Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType,
    IntervalYearMonthType, Time64MicrosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Map, Number, Value};

use super::intervals as time;
use super::{proto, types};
use crate::model::{Batch, Cell, Column, Error, Result};

/// How many rows and bytes of a result are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowCap {
    /// Rows.
    pub rows: u64,
    /// Bytes of the rows' JSON text.
    pub bytes: u64,
}

/// Turns the messages of one operation into batches, up to a cap.
pub(crate) struct Decoder {
    columns: Option<Arc<[Column]>>,
    left: RowCap,
    truncated: bool,
}

impl Decoder {
    /// A decoder that stops after `cap`.
    pub(crate) fn new(cap: RowCap) -> Self {
        Self {
            columns: None,
            left: cap,
            truncated: false,
        }
    }

    /// Takes the server's schema, which names Spark's types better than Arrow's does.
    pub(crate) fn schema(&mut self, schema: &proto::DataType) {
        if self.columns.is_none() {
            self.columns = types::columns(schema).map(Into::into);
        }
    }

    /// The columns, once they are known.
    pub(crate) fn columns(&self) -> Option<Arc<[Column]>> {
        self.columns.clone()
    }

    /// There were more rows than the cap lets through; nothing more needs to be read.
    pub(crate) fn truncated(&self) -> bool {
        self.truncated
    }

    /// The rows of one Arrow IPC stream that still fit the cap.
    ///
    /// # Errors
    /// `internal` when the bytes are not an Arrow stream.
    pub(crate) fn batch(&mut self, data: Bytes) -> Result<Batch> {
        let reader = StreamReader::try_new(Cursor::new(data), None).map_err(broken)?;
        if self.columns.is_none() {
            self.columns = Some(
                reader
                    .schema()
                    .fields()
                    .iter()
                    .map(|f| Column::new(f.name().clone(), types::from_arrow(f.data_type())))
                    .collect(),
            );
        }
        let mut rows = Vec::new();
        for batch in reader {
            self.take(&batch.map_err(broken)?, &mut rows)?;
            if self.truncated {
                break;
            }
        }
        Ok(Batch {
            columns: self.columns.clone().unwrap_or_default(),
            rows,
            truncated: self.truncated,
        })
    }

    fn take(&mut self, batch: &RecordBatch, rows: &mut Vec<Vec<Cell>>) -> Result<()> {
        for place in 0..batch.num_rows() {
            if self.left.rows == 0 || self.left.bytes == 0 {
                self.truncated = true;
                return Ok(());
            }
            let row = batch
                .columns()
                .iter()
                .map(|column| cell(column, place))
                .collect::<Result<Vec<_>>>()?;
            let bytes: u64 = row.iter().map(weight).sum();
            self.left.rows -= 1;
            self.left.bytes = self.left.bytes.saturating_sub(bytes);
            rows.push(row);
        }
        Ok(())
    }
}

/// The rows of a batch as they are shown everywhere: exactly, whatever has no JSON of its own as text.
///
/// # Errors
/// `unsupported` for a type that has no form.
pub(crate) fn cells(batch: &RecordBatch) -> Result<Vec<Vec<Cell>>> {
    let row = |place| {
        batch
            .columns()
            .iter()
            .map(|column| cell(column, place))
            .collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

/// About the length of a cell's JSON text, in bytes.
pub(crate) fn weight(cell: &Cell) -> u64 {
    match cell {
        Value::Null => 4,
        Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(text) => text.len() as u64 + 2,
        Value::Array(items) => 2 + items.iter().map(|i| weight(i) + 1).sum::<u64>(),
        Value::Object(fields) => {
            2 + fields
                .iter()
                .map(|(k, v)| k.len() as u64 + 4 + weight(v))
                .sum::<u64>()
        }
    }
}

fn broken(e: arrow_schema::ArrowError) -> Error {
    Error::internal("the engine sent rows that are not an Arrow stream").source_error(e)
}

fn text(value: impl Into<String>) -> Value {
    Value::String(value.into())
}

fn decimal<T: DecimalType>(array: &ArrayRef, place: usize, precision: u8, scale: i8) -> Value {
    text(T::format_decimal(
        array.as_primitive::<T>().value(place),
        precision,
        scale,
    ))
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(
        || {
            text(if value.is_nan() {
                "NaN"
            } else if value > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            })
        },
        Value::Number,
    )
}

/// A `float` in its own shortest digits: widened to a double, 0.1 would read 0.10000000149011612.
fn float32(value: f32) -> Value {
    match value.to_string().parse::<f64>() {
        Ok(shortest) if value.is_finite() => float(shortest),
        _ => float(f64::from(value)),
    }
}

fn bytes(value: &[u8]) -> Value {
    text(BASE64.encode(value))
}

macro_rules! whole {
    ($array:expr, $place:expr, $kind:ty) => {
        Value::from($array.as_primitive::<$kind>().value($place))
    };
}

/// One value of a column.
fn cell(array: &ArrayRef, place: usize) -> Result<Cell> {
    if array.is_null(place) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => Value::Bool(array.as_boolean().value(place)),
        DataType::Int8 => whole!(array, place, Int8Type),
        DataType::Int16 => whole!(array, place, Int16Type),
        DataType::Int32 => whole!(array, place, Int32Type),
        DataType::Int64 => whole!(array, place, Int64Type),
        DataType::UInt8 => whole!(array, place, UInt8Type),
        DataType::UInt16 => whole!(array, place, UInt16Type),
        DataType::UInt32 => whole!(array, place, UInt32Type),
        DataType::UInt64 => whole!(array, place, UInt64Type),
        DataType::Float16 => float(array.as_primitive::<Float16Type>().value(place).to_f64()),
        DataType::Float32 => float32(array.as_primitive::<Float32Type>().value(place)),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(place)),
        DataType::Decimal32(p, s) => decimal::<Decimal32Type>(array, place, *p, *s),
        DataType::Decimal64(p, s) => decimal::<Decimal64Type>(array, place, *p, *s),
        DataType::Decimal128(p, s) => decimal::<Decimal128Type>(array, place, *p, *s),
        DataType::Decimal256(p, s) => decimal::<Decimal256Type>(array, place, *p, *s),
        DataType::Utf8 => text(array.as_string::<i32>().value(place)),
        DataType::LargeUtf8 => text(array.as_string::<i64>().value(place)),
        DataType::Utf8View => text(array.as_string_view().value(place)),
        DataType::Binary => bytes(array.as_binary::<i32>().value(place)),
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(place)),
        DataType::BinaryView => bytes(array.as_binary_view().value(place)),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary().value(place)),
        DataType::Date32 => text(time::date(i64::from(
            array.as_primitive::<Date32Type>().value(place),
        ))),
        DataType::Date64 => text(time::date(
            array
                .as_primitive::<Date64Type>()
                .value(place)
                .div_euclid(86_400_000),
        )),
        DataType::Timestamp(unit, zone) => text(time::timestamp(
            micros(array, place, *unit),
            zone.as_deref(),
        )),
        DataType::Time64(TimeUnit::Microsecond) => text(time::time_of_day(
            array.as_primitive::<Time64MicrosecondType>().value(place),
        )),
        DataType::Duration(TimeUnit::Microsecond) => text(time::day_time(
            array.as_primitive::<DurationMicrosecondType>().value(place),
        )),
        DataType::Interval(unit) => text(interval(array, place, *unit)),
        DataType::List(_) => items(&array.as_list::<i32>().value(place))?,
        DataType::LargeList(_) => items(&array.as_list::<i64>().value(place))?,
        DataType::FixedSizeList(_, _) => items(&array.as_fixed_size_list().value(place))?,
        DataType::Struct(_) => fields(array, place)?,
        DataType::Map(_, _) => entries(array, place)?,
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let key = dictionary.normalized_keys().get(place).copied();
            match key {
                Some(key) => cell(dictionary.values(), key)?,
                None => Value::Null,
            }
        }
        other => {
            return Err(Error::new(
                crate::model::Code::Unsupported,
                format!("the engine returned a column of Arrow type {other}, which has no text form here"),
            )
            .hint("Cast the column in the query, for example cast(col as string)."));
        }
    })
}

fn micros(array: &ArrayRef, place: usize, unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => {
            i128::from(array.as_primitive::<TimestampSecondType>().value(place)) * 1_000_000
        }
        TimeUnit::Millisecond => {
            i128::from(
                array
                    .as_primitive::<TimestampMillisecondType>()
                    .value(place),
            ) * 1_000
        }
        TimeUnit::Microsecond => i128::from(
            array
                .as_primitive::<TimestampMicrosecondType>()
                .value(place),
        ),
        TimeUnit::Nanosecond => {
            i128::from(array.as_primitive::<TimestampNanosecondType>().value(place))
                .div_euclid(1_000)
        }
    }
}

fn interval(array: &ArrayRef, place: usize, unit: IntervalUnit) -> String {
    match unit {
        IntervalUnit::YearMonth => {
            time::year_month(array.as_primitive::<IntervalYearMonthType>().value(place))
        }
        IntervalUnit::DayTime => {
            let value = array.as_primitive::<IntervalDayTimeType>().value(place);
            time::calendar(0, value.days, i64::from(value.milliseconds) * 1_000_000)
        }
        IntervalUnit::MonthDayNano => {
            let value = array
                .as_primitive::<IntervalMonthDayNanoType>()
                .value(place);
            time::calendar(value.months, value.days, value.nanoseconds)
        }
    }
}

fn items(values: &ArrayRef) -> Result<Value> {
    (0..values.len())
        .map(|place| cell(values, place))
        .collect::<Result<Vec<_>>>()
        .map(Value::Array)
}

/// A struct as an object, or as pairs when two fields have one name.
fn fields(array: &ArrayRef, place: usize) -> Result<Value> {
    let value = array.as_struct();
    let mut object = Map::new();
    let mut pairs = Vec::new();
    for (name, column) in value.column_names().into_iter().zip(value.columns()) {
        let inner = cell(column, place)?;
        object.insert(name.to_owned(), inner.clone());
        pairs.push(Value::Array(vec![text(name), inner]));
    }
    Ok(if object.len() == pairs.len() {
        Value::Object(object)
    } else {
        Value::Array(pairs)
    })
}

/// A map as an object when its keys are strings, else as pairs.
fn entries(array: &ArrayRef, place: usize) -> Result<Value> {
    let pair = array.as_map().value(place);
    let (Some(keys), Some(values)) = (pair.columns().first(), pair.columns().get(1)) else {
        return Err(Error::internal(
            "the engine sent a map without keys or values",
        ));
    };
    let named = matches!(
        keys.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    );
    let mut object = Map::new();
    let mut pairs = Vec::new();
    for place in 0..pair.len() {
        let (key, value) = (cell(keys, place)?, cell(values, place)?);
        match key {
            Value::String(key) if named => {
                object.insert(key, value);
            }
            key => pairs.push(Value::Array(vec![key, value])),
        }
    }
    Ok(if named {
        Value::Object(object)
    } else {
        Value::Array(pairs)
    })
}
