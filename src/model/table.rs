//! Rows as they travel from a platform to the gate: positional, typed, exact.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A column. Names may repeat: rows are positional.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// As the engine says it.
    pub name: String,
    /// Spark's own spelling of the type: `bigint`, `decimal(38,18)`, `array<struct<a:int>>`.
    #[serde(rename = "type")]
    pub data_type: String,
}

impl Column {
    /// A column of that name and Spark type.
    pub fn new(name: impl Into<String>, data_type: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            data_type: data_type.into(),
        }
    }
}

/// One value: JSON, with the conventions of the harness so that nothing loses precision.
///
/// `null`; booleans; whole numbers up to `bigint` as JSON integers; `float` and `double` as JSON numbers but the
/// strings `NaN`, `Infinity`, `-Infinity`; decimals, dates, timestamps and intervals as strings; `binary` as
/// base64; arrays as JSON arrays; structs as objects in order (arrays of `[name, value]` when names repeat); maps as
/// objects, or as arrays of `[key, value]` when keys are not strings.
pub type Cell = Value;

/// Some rows of one result. All batches of a result have the same columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The same for every batch of a result.
    pub columns: std::sync::Arc<[Column]>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
    /// The platform stopped here although there are more rows.
    pub truncated: bool,
}

/// The longest wrong value that an error shows, in characters: most names and numbers.
const SHOWN_CHARS: usize = 40;

/// A wrong value as an error shows it back: whole or not at all, since of a secret that is cut nobody knows the rest.
pub fn shown(value: &Value) -> String {
    let text = value.to_string();
    let length = text.chars().count();
    match value {
        _ if length <= SHOWN_CHARS => text,
        Value::String(text) => format!("a string of {} characters", text.chars().count()),
        Value::Array(items) => format!("an array of {} values", items.len()),
        Value::Object(fields) => format!("an object of {} fields", fields.len()),
        _ => format!("a number of {length} characters"),
    }
}
