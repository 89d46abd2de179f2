//! The input schemas, written out: small, object-rooted, closed, and without what some clients' dialects refuse
//! (lists of types, arrays without items, formats, references).

use serde_json::{Map, Value, json};

use super::args::{ROWS, WAIT_S};

fn object(properties: &Value, required: &[&str]) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), properties.clone());
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema
}

fn max_rows() -> Value {
    json!({"type": "integer", "minimum": ROWS.start(), "maximum": ROWS.end(), "default": 100})
}

fn format() -> Value {
    json!({"type": "string", "enum": ["csv", "markdown", "json"], "default": "csv"})
}

fn timeout() -> Value {
    json!({"type": "integer", "minimum": 1, "description": "Cancels the statement after this many seconds."})
}

fn wait() -> Value {
    json!({"type": "integer", "minimum": WAIT_S.start(), "maximum": WAIT_S.end(), "default": 25, "description": "Seconds to wait before answering with a statement id; the work goes on."})
}

fn target() -> Value {
    json!({"type": "string", "description": "Name of a configured target; default: local."})
}

fn session() -> Value {
    json!({"type": "string", "description": "Name from open_session."})
}

fn statement() -> Value {
    json!({"type": "string", "description": "Id of the statement (st_…)."})
}

pub(super) fn sql() -> Map<String, Value> {
    object(
        &json!({
            "sql": {"type": "string"},
            "params": {"anyOf": [{"type": "object"}, {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}}], "description": "{\"name\": value} for :name, [value] for ?."},
            "files": {"type": "object", "additionalProperties": {"type": "string"}, "description": "{\"view\": \"path\"}"},
            "target": target(),
            "session": session(),
            "max_rows": max_rows(),
            "format": format(),
            "timeout_s": timeout(),
            "wait_s": wait(),
        }),
        &["sql"],
    )
}

pub(super) fn python() -> Map<String, Value> {
    object(
        &json!({
            "code": {"type": "string"},
            "target": target(),
            "session": session(),
            "max_rows": max_rows(),
            "format": format(),
            "timeout_s": timeout(),
            "wait_s": wait(),
        }),
        &["code"],
    )
}

pub(super) fn list_tables() -> Map<String, Value> {
    object(
        &json!({
            "pattern": {"type": "string"},
            "detail": {"type": "string", "enum": ["names", "columns", "stats"], "default": "names"},
            "cursor": {"type": "string", "description": "From next."},
            "target": target(),
            "session": session(),
        }),
        &[],
    )
}

pub(super) fn write_table() -> Map<String, Value> {
    let names = |description: &str| json!({"type": "array", "items": {"type": "string"}, "description": description});
    object(
        &json!({
            "table": {"type": "string", "description": "t or db.t"},
            "mode": {"type": "string", "enum": ["error", "append", "overwrite", "merge"], "description": "error: a new table only; merge: replaces rows of equal keys, adds the others."},
            "sql": {"type": "string"},
            "rows": {"anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "object"}], "description": "[{column: value}] or {columns, rows}"},
            "file": {"type": "string"},
            "variable": {"type": "string"},
            "schema": {"type": "string", "description": "id bigint, price decimal(10,2)"},
            "keys": names("For merge."),
            "partition_by": names("For a new table."),
            "target": target(),
            "session": session(),
            "timeout_s": timeout(),
            "wait_s": wait(),
        }),
        &["table", "mode"],
    )
}

pub(super) fn get_statement() -> Map<String, Value> {
    object(
        &json!({
            "statement": statement(),
            "wait_s": wait(),
            "cursor": {"type": "string", "description": "From next."},
            "max_rows": max_rows(),
            "format": format(),
        }),
        &["statement"],
    )
}

pub(super) fn cancel_statement() -> Map<String, Value> {
    object(&json!({"statement": statement()}), &["statement"])
}

pub(super) fn open_session() -> Map<String, Value> {
    object(
        &json!({
            "name": {"type": "string", "description": "1-64 letters, digits, _ - .; invented when left out."},
            "target": target(),
        }),
        &[],
    )
}

pub(super) fn list_sessions() -> Map<String, Value> {
    object(&json!({"target": target()}), &[])
}

pub(super) fn close_session() -> Map<String, Value> {
    object(&json!({"session": session()}), &["session"])
}
