//! Rows as CSV, markdown or JSON, as many as fit. Which rows there are, and what else an answer says, is in
//! `statement.rs`.
//!
//! # Why not the `csv` crate's writer
//! It quotes by one rule for all fields: it cannot write NULL bare and the empty string quoted in one record.

use serde_json::Value;

use super::clean;
use super::limit::{Limits, cut_chars, shortened};
use super::redact::{Redaction, Redactor, add_counts};
use crate::model::{Batch, Cell, Column, Format};

/// No answer cuts cells shorter than this to make a row fit; it shows fewer columns instead.
const SHORTEST_CELL: usize = 16;

/// What naming a column takes at least: `{"name":"","type":""}`, its comma, and the name in the header.
const COLUMN_BYTES: usize = 24;

/// A value, ready to be written.
struct Shown {
    /// `None` for NULL.
    text: Option<String>,
    /// The text is JSON as it stands: a number, a boolean, an array, an object.
    json: bool,
}

/// Rows that show no secret.
pub(super) struct Table {
    columns: Vec<Column>,
    /// Columns of the result; `columns` may be fewer.
    total_columns: usize,
    rows: Vec<Vec<Shown>>,
}

/// As much of a table as fitted.
pub(super) struct Fitted {
    pub(super) body: String,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Characters that a cell was allowed.
    pub(super) cell_chars: usize,
}

impl Table {
    /// Redacts as many columns and rows as an answer can hold at all. Cells are read alone, then together along the
    /// rows and along the columns, since a secret can be spread over them.
    pub(super) fn new(
        redactor: &Redactor,
        limits: &Limits,
        batch: &Batch,
        counts: &mut Vec<Redaction>,
    ) -> Self {
        Self::with_cells(redactor, limits, batch, counts, true)
    }

    /// The same; without `clean` the cells keep characters that nobody sees.
    pub(super) fn with_cells(
        redactor: &Redactor,
        limits: &Limits,
        batch: &Batch,
        counts: &mut Vec<Redaction>,
        clean: bool,
    ) -> Self {
        // A column takes a third of the answer at most and `COLUMN_BYTES` at least, a cell one byte of its row.
        let width = batch
            .columns
            .len()
            .min(limits.bytes() / 3 / COLUMN_BYTES + 1);
        let height = limits.bytes() / width.max(1);
        let mut columns: Vec<Column> = batch.columns.iter().take(width).cloned().collect();
        let mut texts: Vec<&mut String> = columns
            .iter_mut()
            .flat_map(|column| [&mut column.name, &mut column.data_type])
            .collect();
        add_counts(counts, &redactor.redact_neighbours(&mut texts));
        for text in texts {
            *text = shortened(clean::line(text), limits.name_chars);
        }

        let mut rows: Vec<Vec<Shown>> = batch
            .rows
            .iter()
            .take(height)
            .map(|row| {
                row.iter()
                    .take(width)
                    .map(|c| shown(redactor, c, counts))
                    .collect()
            })
            .collect();
        // Along the rows, then along the columns where that is another order.
        let columns_differ = width > 1 && rows.len() > 1;
        for along_rows in [true, false]
            .into_iter()
            .take(1 + usize::from(columns_differ))
        {
            let mut cells: Vec<(usize, &mut String, &mut bool)> = rows
                .iter_mut()
                .flat_map(|row| row.iter_mut().enumerate())
                .filter_map(|(at, cell)| Some((at, cell.text.as_mut()?, &mut cell.json)))
                .collect();
            if !along_rows {
                cells.sort_by_key(|(at, _, _)| *at);
            }
            let mut texts: Vec<&mut String> =
                cells.iter_mut().map(|(_, text, _)| &mut **text).collect();
            let found = redactor.redact_neighbours(&mut texts);
            if !found.is_empty() {
                add_counts(counts, &found);
                for (_, text, json) in &mut cells {
                    **json &= serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
                }
            }
        }
        for cell in rows.iter_mut().flatten() {
            if let Some(text) = cell.text.as_mut().filter(|_| clean) {
                *text = clean::cell(text);
            }
        }
        Self {
            columns,
            total_columns: batch.columns.len(),
            rows,
        }
    }

    /// The names and types of the first `count` columns.
    pub(super) fn columns(&self, count: usize) -> impl Iterator<Item = &Column> {
        self.columns.iter().take(count)
    }

    /// All columns of the result.
    pub(super) fn total_columns(&self) -> usize {
        self.total_columns
    }

    /// How many columns can be named, in the header and as structured content, for `budget`; at least one.
    pub(super) fn columns_for(&self, limits: &Limits, budget: usize) -> usize {
        let mut spent = 0;
        let cost = |column: &Column| {
            let json = serde_json::to_string(column).map_or(0, |json| json.len() + 1);
            COLUMN_BYTES.max(json + limits.cost(&column_json(column)))
        };
        let fits = self.columns.iter().take_while(|column| {
            spent += cost(column);
            spent <= budget
        });
        fits.count().max(1).min(self.columns.len())
    }

    /// Writes as many rows as `budget` pays for. Rather than none it shows shorter cells, then fewer columns, so that
    /// paging always gets on.
    pub(super) fn fit(
        &self,
        limits: &Limits,
        format: Format,
        budget: usize,
        columns: usize,
    ) -> Fitted {
        let mut columns = columns;
        let mut chars = limits.cell_chars.max(1);
        loop {
            let fitted = self.write(limits, format, budget, columns, chars);
            let got_on = fitted.rows > 0 || self.rows.is_empty();
            if got_on && limits.cost(&fitted.body) <= budget {
                return fitted;
            }
            if chars > SHORTEST_CELL {
                chars = (chars / 2).max(SHORTEST_CELL);
            } else if columns > 1 {
                columns /= 2;
            } else {
                return fitted;
            }
        }
    }

    fn write(
        &self,
        limits: &Limits,
        format: Format,
        budget: usize,
        columns: usize,
        chars: usize,
    ) -> Fitted {
        let mut body = self.head(format, columns);
        let tail = if format == Format::Json { "]}\n" } else { "" };
        let mut spent = limits.cost(&body) + limits.cost(tail);
        let mut rows = 0;
        for row in &self.rows {
            let mut line = String::new();
            if format == Format::Json && rows > 0 {
                line.push_str(",\n");
            }
            let room = budget.saturating_sub(spent);
            write_row(&mut line, format, row.iter().take(columns), chars, room);
            spent += limits.cost(&line);
            if spent > budget {
                break;
            }
            body.push_str(&line);
            rows += 1;
        }
        body.push_str(tail);
        Fitted {
            body,
            rows,
            columns,
            cell_chars: chars,
        }
    }

    /// All rows, without a head.
    pub(super) fn lines(&self, limits: &Limits, format: Format) -> String {
        let mut lines = String::new();
        for row in &self.rows {
            write_row(
                &mut lines,
                format,
                row.iter(),
                limits.cell_chars,
                usize::MAX,
            );
        }
        lines
    }

    /// The rows' texts; `None` is NULL.
    pub(super) fn cells(&self) -> Vec<Vec<Option<&str>>> {
        self.rows
            .iter()
            .map(|row| row.iter().map(|cell| cell.text.as_deref()).collect())
            .collect()
    }

    /// The rows as JSON values.
    pub(super) fn values(&self) -> Vec<Value> {
        let value = |cell: &Shown| match &cell.text {
            None => Value::Null,
            Some(text) if cell.json => serde_json::from_str(text).unwrap_or_default(),
            Some(text) => Value::from(text.as_str()),
        };
        let values = |row: &Vec<Shown>| row.iter().map(value).collect();
        self.rows.iter().map(values).collect()
    }

    fn head(&self, format: Format, columns: usize) -> String {
        let shown = || self.columns(columns);
        match format {
            Format::Csv => {
                let names: Vec<String> = shown().map(column_words).collect();
                format!("# {}\n", names.join(", "))
            }
            Format::Markdown => {
                let names: Vec<String> = shown()
                    .map(|c| format!("{} {}", markdown_cell(&c.name), markdown_cell(&c.data_type)))
                    .collect();
                let rule = vec!["---"; names.len()];
                format!("| {} |\n| {} |\n", names.join(" | "), rule.join(" | "))
            }
            Format::Json => {
                let names: Vec<String> = shown().map(column_json).collect();
                format!("{{\"columns\":[{}],\"rows\":[", names.join(","))
            }
        }
    }
}

/// One line for the header; a name that is no plain word stands in backticks.
fn column_words(column: &Column) -> String {
    let plain = |c: char| c.is_alphanumeric() || c == '_';
    if !column.name.is_empty() && column.name.chars().all(plain) {
        format!("{} {}", column.name, column.data_type)
    } else {
        format!("`{}` {}", column.name.replace('`', "``"), column.data_type)
    }
}

fn column_json(column: &Column) -> String {
    serde_json::to_string(column).unwrap_or_default()
}

/// A cell as text, its strings redacted one by one before anything is put together.
fn shown(redactor: &Redactor, cell: &Cell, counts: &mut Vec<Redaction>) -> Shown {
    let (text, json) = match cell {
        Value::Null => {
            return Shown {
                text: None,
                json: true,
            };
        }
        Value::Bool(_) | Value::Number(_) => (cell.to_string(), true),
        // Strings are redacted with their neighbours.
        Value::String(text) => (text.clone(), false),
        Value::Array(_) | Value::Object(_) => (leaves(redactor, cell, counts).to_string(), true),
    };
    Shown {
        text: Some(text),
        json,
    }
}

/// The value with each string in it redacted.
pub(super) fn leaves(redactor: &Redactor, value: &Value, counts: &mut Vec<Redaction>) -> Value {
    let mut text = |text: &str| {
        let redacted = redactor.redact(text);
        add_counts(counts, redacted.counts());
        redacted.into_string()
    };
    match value {
        Value::String(leaf) => Value::String(text(leaf)),
        Value::Array(items) => items.iter().map(|v| leaves(redactor, v, counts)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, v)| {
                let name = redactor.redact(name);
                add_counts(counts, name.counts());
                (name.into_string(), leaves(redactor, v, counts))
            })
            .collect(),
        other => other.clone(),
    }
}

/// Adds a row; stops in the middle once it is longer than `room`, since it cannot be used then.
fn write_row<'c>(
    line: &mut String,
    format: Format,
    cells: impl Iterator<Item = &'c Shown>,
    chars: usize,
    room: usize,
) {
    let (open, between, close) = match format {
        Format::Csv => ("", ",", "\n"),
        Format::Markdown => ("| ", " | ", " |\n"),
        Format::Json => ("[", ",", "]"),
    };
    line.push_str(open);
    for (at, cell) in cells.enumerate() {
        if line.len() > room {
            return;
        }
        if at > 0 {
            line.push_str(between);
        }
        let Some(text) = &cell.text else {
            line.push_str(if format == Format::Csv { "" } else { "null" });
            continue;
        };
        let cut = cut_chars(text, chars);
        let text = cut.as_deref().unwrap_or(text);
        match format {
            Format::Csv => csv_cell(line, text),
            Format::Markdown => line.push_str(&markdown_cell(text)),
            Format::Json if cell.json && cut.is_none() => line.push_str(text),
            Format::Json => line.push_str(&serde_json::to_string(text).unwrap_or_default()),
        }
    }
    line.push_str(close);
}

/// RFC 4180; the empty string is quoted, since NULL is bare, and so is what a reader could take for a comment.
pub(super) fn csv_cell(line: &mut String, text: &str) {
    let special = |c: char| matches!(c, ',' | '"' | '\n' | '\r');
    if text.is_empty() || text.contains(special) || text.starts_with('#') {
        line.push('"');
        line.push_str(&text.replace('"', "\"\""));
        line.push('"');
    } else {
        line.push_str(text);
    }
}

/// One line, without cell borders and without pictures that a client would fetch.
fn markdown_cell(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '|' | '[' | '<' | '`' => {
                made.push('\\');
                made.push(c);
            }
            '\n' => made.push_str("\\n"),
            '\r' => made.push_str("\\r"),
            '\t' => made.push_str("\\t"),
            _ => made.push(c),
        }
    }
    made
}

#[cfg(test)]
mod tests;
