//! The effective settings, one row each, with the origin of each. Masking is the exit's work: whoever prints them
//! does so through the redacting writer.

use serde::Serialize;
use serde_json::Value;

use super::Loaded;

/// One setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    /// Its dotted name: `server.wait`.
    pub key: String,
    /// As it would be written; `null` where nothing is set.
    pub value: Value,
    /// `default`, or the file, variable or flag.
    pub origin: String,
}

impl Row {
    /// The value for people.
    pub(crate) fn text(&self) -> String {
        match &self.value {
            Value::Null => "(not set)".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// Every setting in the order of the schema.
pub(crate) fn rows(loaded: &Loaded) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Ok(all) = serde_json::to_value(&loaded.settings) {
        flatten(&mut Vec::new(), all, &mut |path, value| {
            let key = path.join(".");
            let origin = loaded.origin(&key).to_owned();
            rows.push(Row { key, value, origin });
        });
    }
    rows
}

fn flatten(path: &mut Vec<String>, value: Value, found: &mut impl FnMut(&[String], Value)) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                path.push(key);
                flatten(path, value, found);
                path.pop();
            }
        }
        leaf => found(path, leaf),
    }
}
