//! A schema as a Delta log keeps it (Spark's JSON of a struct), and the same as columns.

use std::fmt::Write as _;

use serde_json::Value;

use crate::model::TableColumn;
use crate::sql::quote;

/// The fields of a struct.
pub(crate) fn fields(schema: &Value) -> impl Iterator<Item = &Value> {
    schema
        .get("fields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// A field's name.
pub(crate) fn field_name(field: &Value) -> &str {
    field
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The columns of a schema, in its order.
pub(crate) fn columns(schema: &Value) -> Vec<TableColumn> {
    let column = |field: &Value| TableColumn {
        name: field_name(field).to_owned(),
        data_type: type_text(field.get("type").unwrap_or(&Value::Null)),
        comment: comment(field).map(str::to_owned),
        nullable: nullable(field),
    };
    fields(schema).map(column).collect()
}

/// What its maker said of a field.
pub(crate) fn comment(field: &Value) -> Option<&str> {
    field.get("metadata")?.get("comment")?.as_str()
}

/// Whether a field may hold NULL.
pub(crate) fn nullable(field: &Value) -> bool {
    field.get("nullable").and_then(Value::as_bool) != Some(false)
}

/// A type in Spark's own spelling: `array<struct<id:bigint>>`. A type that is not known stays as the log has it.
pub(crate) fn type_text(data_type: &Value) -> String {
    let mut text = String::new();
    write_type(data_type, &mut text);
    text
}

fn write_type(data_type: &Value, text: &mut String) {
    if let Some(name) = data_type.as_str() {
        text.push_str(match name {
            "long" => "bigint",
            "integer" => "int",
            "short" => "smallint",
            "byte" => "tinyint",
            other => other,
        });
        return;
    }
    let part = |key: &str| data_type.get(key).unwrap_or(&Value::Null);
    match part("type").as_str() {
        Some("array") => {
            text.push_str("array<");
            write_type(part("elementType"), text);
            text.push('>');
        }
        Some("map") => {
            text.push_str("map<");
            write_type(part("keyType"), text);
            text.push(',');
            write_type(part("valueType"), text);
            text.push('>');
        }
        Some("struct") => {
            text.push_str("struct<");
            for (index, field) in fields(data_type).enumerate() {
                if index > 0 {
                    text.push(',');
                }
                let name = field_name(field);
                let plain =
                    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                text.push_str(&if plain { name.to_owned() } else { quote(name) });
                text.push(':');
                write_type(field.get("type").unwrap_or(&Value::Null), text);
            }
            text.push('>');
        }
        _ => {
            let _ = write!(text, "{data_type}");
        }
    }
}

/// Whether a type of this name is in the schema, however deep.
pub(crate) fn has_type(schema: &Value, name: &str) -> bool {
    match schema {
        Value::Object(object) => {
            let named = |key: &str| {
                object
                    .get(key)
                    .is_some_and(|data_type| has_type(data_type, name))
            };
            ["type", "elementType", "keyType", "valueType"]
                .into_iter()
                .any(named)
                || fields(schema).any(|field| has_type(field, name))
        }
        Value::String(text) => text == name,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested() -> Value {
        json!({"type": "struct", "fields": [
            {"name": "id", "type": "long", "nullable": false, "metadata": {"comment": "who"}},
            {"name": "price", "type": "decimal(38,18)", "nullable": true, "metadata": {}},
            {"name": "deep", "nullable": true, "metadata": {}, "type": {"type": "map", "keyType": "string",
                "valueType": {"type": "array", "containsNull": true, "elementType": {"type": "struct", "fields": [
                    {"name": "at", "type": "timestamp_ntz", "nullable": true, "metadata": {}},
                    {"name": "a b", "type": "byte", "nullable": true, "metadata": {}}]}},
                "valueContainsNull": true}},
        ]})
    }

    #[test]
    fn types_are_spelled_as_spark_spells_them() {
        let columns = columns(&nested());
        let shown: Vec<_> = columns
            .iter()
            .map(|c| (c.name.as_str(), c.data_type.as_str(), c.nullable))
            .collect();
        assert_eq!(
            shown,
            [
                ("id", "bigint", false),
                ("price", "decimal(38,18)", true),
                (
                    "deep",
                    "map<string,array<struct<at:timestamp_ntz,`a b`:tinyint>>>",
                    true
                )
            ]
        );
        assert_eq!(columns[0].comment.as_deref(), Some("who"));
    }

    #[test]
    fn a_type_is_found_however_deep() {
        assert!(has_type(&nested(), "timestamp_ntz"));
        assert!(!has_type(&nested(), "variant"));
        // A column of that name is no type.
        let named = json!({"type": "struct", "fields": [{"name": "variant", "type": "long"}]});
        assert!(!has_type(&named, "variant"));
    }
}
