//! Whole results for the command line: every row, without fences and without the limits of an answer. What takes the
//! secrets out and how a cell is written is in `render.rs`, the same as for clients.

use serde_json::{Map, Value, json};

use super::limit::Limits;
use super::redact::{Redacted, Redactor};
use super::render::{Table, csv_cell, leaves};
use crate::model::{Batch, Column, Format};

/// Nothing is cut: how many rows there are was decided before.
const NO_LIMITS: Limits = Limits {
    answer_bytes: usize::MAX,
    cell_chars: usize::MAX,
    name_chars: usize::MAX,
    structured_copy: false,
};

/// A whole result that shows no known secret.
pub(crate) struct Rows {
    table: Table,
    columns: usize,
}

impl Rows {
    /// `clean`: characters that act on a terminal are made visible. A program that reads the values gets them exactly.
    pub(super) fn new(redactor: &Redactor, batch: &Batch, clean: bool) -> Self {
        let table = Table::with_cells(redactor, &NO_LIMITS, batch, &mut Vec::new(), clean);
        Self {
            table,
            columns: batch.columns.len(),
        }
    }

    /// RFC 4180 with one header line, but lines end as they do on this system; NULL bare, the empty string quoted.
    pub(crate) fn csv(&self) -> Redacted {
        let mut header = String::new();
        for (at, column) in self.table.columns(self.columns).enumerate() {
            if at > 0 {
                header.push(',');
            }
            csv_cell(&mut header, &column.name);
        }
        header.push('\n');
        Redacted::of(header + &self.table.lines(&NO_LIMITS, Format::Csv))
    }

    /// A Markdown table.
    pub(crate) fn markdown(&self) -> Redacted {
        let fitted = self
            .table
            .fit(&NO_LIMITS, Format::Markdown, usize::MAX, self.columns);
        Redacted::of(fitted.body)
    }

    /// Columns, and rows of cells as people read them; `None` is NULL.
    pub(crate) fn cells(&self) -> (Vec<&Column>, Vec<Vec<Option<&str>>>) {
        let columns = self.table.columns(self.columns);
        (columns.collect(), self.table.cells())
    }

    /// `{"columns": [{name, type}], "rows": [[…]]}`.
    pub(crate) fn fields(&self) -> Map<String, Value> {
        let columns: Vec<Value> = self.table.columns(self.columns).map(|c| json!(c)).collect();
        let mut fields = Map::new();
        fields.insert("columns".to_owned(), columns.into());
        fields.insert("rows".to_owned(), self.table.values().into());
        fields
    }
}

/// A JSON document whose every text is redacted: one line for each field, and for each row of a table.
pub(super) fn document(redactor: &Redactor, value: &Value) -> Redacted {
    let value = leaves(redactor, value, &mut Vec::new());
    let mut text = String::new();
    write(&mut text, &value, 0);
    text.push('\n');
    Redacted::of(text)
}

/// Objects and lists of lists or objects are spread over lines; what is inside a row is not.
fn write(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth + 1);
    let close = "  ".repeat(depth);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('{');
            for (at, (name, value)) in fields.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                text.push_str(&format!(
                    "{comma}\n{indent}{}: ",
                    Value::from(name.as_str())
                ));
                write(text, value, depth + 1);
            }
            text.push_str(&format!("\n{close}}}"));
        }
        Value::Array(items) if items.iter().any(|item| item.is_array() || item.is_object()) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                text.push_str(&format!("{comma}\n{indent}"));
                match item {
                    // Of a list of documents (tables, checks), not of rows.
                    Value::Object(fields) if fields.values().any(Value::is_array) => {
                        write(text, item, depth + 1);
                    }
                    row => text.push_str(&row.to_string()),
                }
            }
            text.push_str(&format!("\n{close}]"));
        }
        other => text.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gate::Gate;
    use crate::model::SecretRegistry;

    const FAKE: &str = "clearly-Fake-secret-77";

    fn gate() -> Gate {
        let registry = SecretRegistry::default();
        registry.register("token", FAKE);
        Gate::new(registry, Limits::default())
    }

    fn batch(rows: Vec<Vec<Value>>) -> Batch {
        Batch {
            columns: [
                Column::new("n", "bigint"),
                Column::new("a \"b\", c", "string"),
            ]
            .into(),
            rows,
            truncated: false,
        }
    }

    #[test]
    fn csv_has_a_header_and_the_rows_and_nothing_else() {
        let rows = gate().rows(
            &batch(vec![
                vec![json!(1), json!("a,b")],
                vec![json!(null), json!("")],
                vec![json!(i64::MAX), json!(null)],
                vec![json!(2), json!("x\r\n\u{1b}[31m\u{feff}é")],
            ]),
            false,
        );
        assert_eq!(
            rows.csv().as_str(),
            "n,\"a \"\"b\"\", c\"\n1,\"a,b\"\n,\"\"\n9223372036854775807,\n2,\"x\r\n\u{1b}[31m\u{feff}é\"\n"
        );
    }

    #[test]
    fn nothing_is_cut_and_no_secret_is_shown() {
        let long = "é".repeat(5000);
        let many: Vec<Vec<Value>> = (0..3000)
            .map(|n| vec![json!(n), json!(format!("{long} {FAKE}"))])
            .collect();
        let rows = gate().rows(&batch(many), false);
        let csv = rows.csv().into_string();
        assert_eq!(csv.lines().count(), 3001);
        assert!(csv.lines().skip(1).all(|line| line.contains(&long)));
        assert!(!csv.contains("Fake-secret"));
        assert!(!rows.markdown().as_str().contains("Fake-secret"));
        let document = gate().document(&Value::Object(rows.fields()));
        assert!(!document.as_str().contains("Fake-secret"));
    }

    #[test]
    fn a_terminal_sees_what_acts_on_it() {
        let rows = gate().rows(&batch(vec![vec![json!(1), json!("\u{1b}[31mred")]]), true);
        let (columns, cells) = rows.cells();
        assert_eq!(
            columns,
            batch(Vec::new()).columns.iter().collect::<Vec<_>>()
        );
        assert_eq!(cells, [[Some("1"), Some("\\u001b[31mred")]]);
    }

    #[test]
    fn a_document_has_a_line_for_each_row() {
        let rows = gate().rows(
            &batch(vec![
                vec![json!(1), json!("\n")],
                vec![json!(2), json!([1])],
            ]),
            false,
        );
        let mut fields = rows.fields();
        fields.insert("text".to_owned(), json!(FAKE));
        let text = gate().document(&Value::Object(fields)).into_string();
        let (front, _) = text.split_once("«redacted").unwrap();
        assert_eq!(
            front,
            "{\n  \"columns\": [\n    {\"name\":\"n\",\"type\":\"bigint\"},\n    {\"name\":\"a \\\"b\\\", c\",\"type\":\"string\"}\n  ],\n  \
             \"rows\": [\n    [1,\"\\n\"],\n    [2,[1]]\n  ],\n  \"text\": \""
        );
    }
}
