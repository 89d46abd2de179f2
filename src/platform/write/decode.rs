//! JSON values into Arrow by a type: exactly, or refused with row and column. What our own results show is taken back:
//! decimals, dates and timestamps as text, `binary` as base64, `NaN`, `Infinity`, maps and structs as pairs.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{
    ArrayRef, BooleanArray, ListArray, MapArray, NullArray, PrimitiveArray, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Fields};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::time;
use crate::model::{Error, Result, shown};
use crate::spark_connect::{Field, Type};

/// More wrong values than this are counted, not shown: the first ones tell what the others have.
const SHOWN: usize = 5;
/// A double tells decimal digits apart up to here.
const EXACT_DIGITS: usize = 15;

/// Values that do not fit their columns.
#[derive(Debug, Default)]
pub(in crate::platform) struct Misfits {
    shown: Vec<String>,
    count: usize,
}

impl Misfits {
    pub(in crate::platform) fn add(&mut self, row: usize, path: &str, problem: impl Display) {
        self.count += 1;
        if self.shown.len() < SHOWN {
            self.shown
                .push(format!("row {}, column {path}: {problem}", row + 1));
        }
    }

    /// Those of another column too.
    pub(in crate::platform) fn join(&mut self, other: Self) {
        self.count += other.count;
        self.shown.extend(other.shown);
        self.shown.truncate(SHOWN);
    }

    /// All of them in words; `None` where there are none.
    pub(in crate::platform) fn words(self) -> Option<String> {
        let more = self.count - self.shown.len();
        match (self.count, more) {
            (0, _) => None,
            (_, 0) => Some(self.shown.join("; ")),
            _ => Some(format!("{}; and {more} more values", self.shown.join("; "))),
        }
    }
}

/// A value and the row that it is in; `None` is NULL.
pub(in crate::platform) type Item<'a> = (usize, Option<&'a Value>);

/// Reads values by types.
pub(in crate::platform) struct Reader<'m> {
    /// For timestamps without an offset.
    pub(in crate::platform) zone: &'m TimeZone,
    pub(in crate::platform) misfits: &'m mut Misfits,
}

impl Reader<'_> {
    /// One column. A value that does not fit is remembered, and NULL stands in its place.
    ///
    /// # Errors
    /// `internal` when Arrow refuses what we made.
    pub(in crate::platform) fn column(
        &mut self,
        field: &Field,
        items: &[Item<'_>],
    ) -> Result<ArrayRef> {
        if !field.nullable {
            for (row, _) in items.iter().filter(|(_, value)| value.is_none()) {
                self.misfits
                    .add(*row, &field.name, "NULL in a NOT NULL column");
            }
        }
        self.array(&field.name, &field.data_type, items)
    }

    fn array(&mut self, path: &str, kind: &Type, items: &[Item<'_>]) -> Result<ArrayRef> {
        Ok(match kind {
            Type::Void | Type::Other(_) => {
                self.each(path, items, |_| {
                    Err::<(), _>(format!("{kind} holds no value"))
                });
                Arc::new(NullArray::new(items.len()))
            }
            Type::Boolean => {
                let values = self.each(path, items, boolean);
                Arc::new(BooleanArray::from(values))
            }
            Type::Byte => self.numbers::<Int8Type>(path, kind, items, whole),
            Type::Short => self.numbers::<Int16Type>(path, kind, items, whole),
            Type::Int => self.numbers::<Int32Type>(path, kind, items, whole),
            Type::Long => self.numbers::<Int64Type>(path, kind, items, whole),
            Type::Float => self.numbers::<Float32Type>(path, kind, items, float),
            Type::Double => self.numbers::<Float64Type>(path, kind, items, double),
            Type::Decimal(precision, scale) => {
                let read = |value: &Value, _: &Type| decimal(value, *precision, *scale);
                self.numbers::<Decimal128Type>(path, kind, items, read)
            }
            Type::String => {
                let mut builder = StringBuilder::new();
                for text in self.each(path, items, |v| text(v).map(str::to_owned)) {
                    builder.append_option(text);
                }
                Arc::new(builder.finish())
            }
            Type::Binary => {
                let mut builder = BinaryBuilder::new();
                for bytes in self.each(path, items, binary) {
                    builder.append_option(bytes);
                }
                Arc::new(builder.finish())
            }
            Type::Date => self.numbers::<Date32Type>(path, kind, items, |value, _| {
                time::date(text(value)?)
                    .ok_or_else(|| format!("{} is no date, as 2024-01-31 is", shown(value)))
            }),
            Type::Timestamp | Type::TimestampNtz => {
                let zone = self.zone.clone();
                let zone = (*kind == Type::Timestamp).then_some(&zone);
                self.numbers::<TimestampMicrosecondType>(path, kind, items, |value, _| {
                    timestamp(value, zone)
                })
            }
            Type::Array(item) => self.lists(path, kind, item, items)?,
            Type::Map(key, value) => self.maps(path, kind, (key, value), items)?,
            Type::Struct(fields) => self.structs(path, fields, items)?,
        })
    }

    /// Each value, read; NULL where it is NULL or does not fit.
    fn each<T>(
        &mut self,
        path: &str,
        items: &[Item<'_>],
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Vec<Option<T>> {
        let one = |(row, value): &Item<'_>| match read((*value)?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.misfits.add(*row, path, problem);
                None
            }
        };
        items.iter().map(one).collect()
    }

    fn numbers<T: ArrowPrimitiveType>(
        &mut self,
        path: &str,
        kind: &Type,
        items: &[Item<'_>],
        read: impl Fn(&Value, &Type) -> Result<T::Native, String>,
    ) -> ArrayRef {
        let values = self.each(path, items, |value| read(value, kind));
        let array: PrimitiveArray<T> = values.into_iter().collect();
        Arc::new(array.with_data_type(kind.arrow()))
    }

    fn lists(
        &mut self,
        path: &str,
        kind: &Type,
        item: &Type,
        items: &[Item<'_>],
    ) -> Result<ArrayRef> {
        let rows = self.each(path, items, |value| match nested(value)?.as_ref() {
            Value::Array(values) => Ok(values.clone()),
            _ => Err(format!("{} is no array", shown(value))),
        });
        let inner: Vec<Item<'_>> = rows
            .iter()
            .zip(items)
            .flat_map(|(values, (row, _))| {
                values.iter().flatten().map(|value| (*row, present(value)))
            })
            .collect();
        let values = self.array(&format!("{path}[]"), item, &inner)?;
        let DataType::List(field) = kind.arrow() else {
            return Err(Error::internal("an array is no list"));
        };
        let lengths = rows
            .iter()
            .map(|values| values.as_ref().map_or(0, Vec::len));
        let offsets = OffsetBuffer::from_lengths(lengths);
        let array = ListArray::try_new(field, offsets, values, nulls(&rows)).map_err(refused)?;
        Ok(Arc::new(array))
    }

    fn maps(
        &mut self,
        path: &str,
        kind: &Type,
        (key, value): (&Type, &Type),
        items: &[Item<'_>],
    ) -> Result<ArrayRef> {
        let rows = self.each(path, items, pairs);
        for (pairs, (row, _)) in rows.iter().zip(items) {
            let pairs = pairs.iter().flatten();
            let keys: Vec<String> = pairs.map(|(key, _)| key.to_string()).collect();
            let mut seen = std::collections::HashSet::new();
            for key in &keys {
                if key == "null" {
                    self.misfits.add(*row, path, "a key is NULL");
                } else if !seen.insert(key) {
                    self.misfits
                        .add(*row, path, format!("the key {key} stands there twice"));
                }
            }
        }
        let of = |first: bool| -> Vec<Item<'_>> {
            let each = rows.iter().zip(items);
            each.flat_map(|(pairs, (row, _))| {
                let pairs = pairs.iter().flatten();
                pairs.map(move |(key, value)| (*row, present(if first { key } else { value })))
            })
            .collect()
        };
        let keys = self.array(&format!("{path}.key"), key, &of(true))?;
        let values = self.array(&format!("{path}.value"), value, &of(false))?;
        let DataType::Map(entries, _) = kind.arrow() else {
            return Err(Error::internal("a map is no map"));
        };
        let DataType::Struct(fields) = entries.data_type() else {
            return Err(Error::internal("a map has no entries"));
        };
        let lengths = rows.iter().map(|pairs| pairs.as_ref().map_or(0, Vec::len));
        let offsets = OffsetBuffer::from_lengths(lengths);
        // A key that does not fit is remembered; a NULL must not stand in its place.
        if keys.null_count() > 0 {
            return Ok(arrow_array::new_null_array(&kind.arrow(), items.len()));
        }
        let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None);
        let pairs = pairs.map_err(refused)?;
        let array = MapArray::try_new(entries.clone(), offsets, pairs, nulls(&rows), false);
        Ok(Arc::new(array.map_err(refused)?))
    }

    fn structs(&mut self, path: &str, fields: &[Field], items: &[Item<'_>]) -> Result<ArrayRef> {
        let rows = self.each(path, items, |value| {
            let pairs = pairs(value)?;
            let known = |name: &str| fields.iter().any(|f| f.name == name);
            let unknown: Vec<&str> = pairs
                .iter()
                .map(|(name, _)| name.as_str().unwrap_or_default())
                .filter(|name| !known(name))
                .collect();
            if unknown.is_empty() {
                Ok(pairs)
            } else {
                Err(format!("there is no field {}", unknown.join(", ")))
            }
        });
        let mut columns = Vec::new();
        for (place, field) in fields.iter().enumerate() {
            let name = Value::from(field.name.as_str());
            // Of fields with one name, each value belongs to the one at its place among them.
            let nth = fields
                .iter()
                .take(place)
                .filter(|f| f.name == field.name)
                .count();
            let inner: Vec<Item<'_>> = rows
                .iter()
                .zip(items)
                .map(|(pairs, (row, _))| {
                    let pairs = pairs.iter().flatten().filter(|(key, _)| *key == name);
                    (
                        *row,
                        pairs.map(|(_, value)| value).nth(nth).and_then(present),
                    )
                })
                .collect();
            columns.push(self.array(
                &format!("{path}.{}", field.name),
                &field.data_type,
                &inner,
            )?);
        }
        let kinds: Fields = fields.iter().map(Field::arrow).collect();
        let array = StructArray::try_new_with_length(kinds, columns, nulls(&rows), items.len());
        Ok(Arc::new(array.map_err(refused)?))
    }
}

/// A value that is there and not null.
pub(in crate::platform) fn present(value: &Value) -> Option<&Value> {
    Some(value).filter(|value| !value.is_null())
}

fn nulls<T>(rows: &[Option<T>]) -> Option<NullBuffer> {
    Some(rows.iter().map(Option::is_some).collect::<NullBuffer>())
}

fn refused(e: arrow_schema::ArrowError) -> Error {
    Error::internal("the rows do not make an Arrow array").source_error(e)
}

fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        other => Err(format!("{} is no boolean", shown(other))),
    }
}

fn whole<T: TryFrom<i64>>(value: &Value, kind: &Type) -> Result<T, String> {
    let number = match value {
        Value::Number(n) => n.as_i64().or_else(|| n.as_f64().and_then(exact)),
        Value::String(text) => i64::from_str(text).ok(),
        _ => None,
    };
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("{} does not fit {kind}", shown(value)))
}

/// A double that is a whole number, where doubles are exact: models write 1.0.
#[allow(
    clippy::cast_possible_truncation,
    reason = "only whole numbers within the range of exact doubles get here"
)]
fn exact(float: f64) -> Option<i64> {
    (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then_some(float as i64)
}

fn double(value: &Value, kind: &Type) -> Result<f64, String> {
    let wrong = || format!("{} does not fit {kind}", shown(value));
    match value {
        Value::Number(n) => {
            let float = n.as_f64().ok_or_else(wrong)?;
            let lost = n.as_i64().is_some_and(|whole| exact(float) != Some(whole))
                || n.as_i64().is_none() && n.is_u64();
            if lost {
                return Err(format!(
                    "{n} does not fit {kind} exactly; make it decimal(38,0) by schema"
                ));
            }
            Ok(float)
        }
        Value::String(text) => match text.as_str() {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            text => {
                let number = text
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
                let float = number.then(|| text.parse().ok()).flatten();
                float.filter(|f: &f64| f.is_finite()).ok_or_else(wrong)
            }
        },
        _ => Err(wrong()),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a float is the nearest one; what is out of its range is refused"
)]
fn float(value: &Value, kind: &Type) -> Result<f32, String> {
    let wide = double(value, kind)?;
    let narrow = wide as f32;
    let whole = match value {
        Value::Number(n) if !n.is_f64() => n.to_string(),
        Value::String(text) if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') => {
            text.clone()
        }
        _ => String::new(),
    };
    // What was printed from a float comes back the same; other digits would be lost.
    if !whole.is_empty() && narrow.is_finite() && whole != narrow.to_string() {
        return Err(format!("{} does not fit {kind} exactly", shown(value)));
    }
    if narrow.is_infinite() && wide.is_finite() {
        return Err(format!("{} does not fit {kind}", shown(value)));
    }
    Ok(narrow)
}

fn decimal(value: &Value, precision: u8, scale: i8) -> Result<i128, String> {
    let wrong = || format!("{} does not fit decimal({precision},{scale})", shown(value));
    let spelt = match value {
        Value::Number(n) => n.to_string(),
        Value::String(text) => text.clone(),
        _ => return Err(wrong()),
    };
    let (mantissa, exponent) = match spelt.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().map_err(|_| wrong())?),
        None => (spelt.as_str(), 0),
    };
    let (negative, digits) = match mantissa.as_bytes().first() {
        Some(b'-') => (true, mantissa.get(1..).unwrap_or_default()),
        Some(b'+') => (false, mantissa.get(1..).unwrap_or_default()),
        _ => (false, mantissa),
    };
    let (before, behind) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{before}{behind}");
    if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let significant = all.trim_start_matches('0').trim_end_matches('0');
    if matches!(value, Value::Number(n) if n.is_f64()) && significant.len() > EXACT_DIGITS {
        return Err(format!(
            "{} has more digits than a JSON number keeps; write it as a string",
            shown(value)
        ));
    }
    // The number is `kept` times ten to the power of `power`, and `kept` ends with no zero.
    let kept = all.trim_end_matches('0');
    let dropped = i64::try_from(all.len() - kept.len()).unwrap_or(0);
    let behind = i64::try_from(behind.len()).unwrap_or(0);
    let power = exponent - behind + dropped + i64::from(scale);
    if kept.trim_start_matches('0').is_empty() {
        return Ok(0);
    }
    let unscaled: i128 = kept.parse().map_err(|_| wrong())?;
    let power = u32::try_from(power).map_err(|_| wrong())?;
    let unscaled = 10_i128
        .checked_pow(power)
        .and_then(|factor| unscaled.checked_mul(factor))
        .ok_or_else(wrong)?;
    let most = 10_i128.checked_pow(u32::from(precision));
    if most.is_some_and(|most| unscaled >= most) {
        return Err(wrong());
    }
    Ok(if negative { -unscaled } else { unscaled })
}

fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(format!("{} is no string", shown(other))),
    }
}

fn binary(value: &Value) -> Result<Vec<u8>, String> {
    BASE64
        .decode(text(value)?)
        .map_err(|_| format!("{} is no base64", shown(value)))
}

fn timestamp(value: &Value, zone: Option<&TimeZone>) -> Result<i64, String> {
    time::timestamp(text(value)?, zone).map_err(|wrong| match wrong {
        time::Wrong::Form => format!(
            "{} is no timestamp, as 2024-01-31 23:59:59.123456 is",
            shown(value)
        ),
        time::Wrong::Zone => format!(
            "{} names a zone, which timestamp_ntz has not; leave it out or use timestamp",
            shown(value)
        ),
    })
}

/// A nested value; as CSV has it, a text that holds one.
fn nested(value: &Value) -> Result<std::borrow::Cow<'_, Value>, String> {
    match value {
        Value::String(text) => serde_json::from_str(text)
            .map(std::borrow::Cow::Owned)
            .map_err(|_| format!("{} is no JSON array or object", shown(value))),
        other => Ok(std::borrow::Cow::Borrowed(other)),
    }
}

/// The pairs of an object, or of an array of `[key, value]`.
fn pairs(value: &Value) -> Result<Vec<(Value, Value)>, String> {
    let wrong = || format!("{} is no object", shown(value));
    match nested(value)?.as_ref() {
        Value::Object(fields) => Ok(fields
            .iter()
            .map(|(key, value)| (Value::from(key.as_str()), value.clone()))
            .collect()),
        Value::Array(items) => items
            .iter()
            .map(|item| match item.as_array().map(Vec::as_slice) {
                Some([key, value]) => Ok((key.clone(), value.clone())),
                _ => Err(wrong()),
            })
            .collect(),
        _ => Err(wrong()),
    }
}
