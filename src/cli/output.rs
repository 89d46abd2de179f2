//! The one writer of the command line: everything that a command prints passes here and is redacted first.
//!
//! On a terminal tables are aligned and control characters of foreign text are made visible; in a pipe tables are
//! tab-separated plain text. What results look like is the gate's work, not this file's.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle, presets};
use serde::Serialize;
use serde_json::{Value, json};

use crate::gate::{Redacted, Rows};
use crate::model::{Code, Error, Result, Retry};

/// From this width on a table's cells are wrapped; a terminal that says less (some say 0) gets long lines.
const MIN_WIDTH: u16 = 40;

/// A line under the header and no other.
const HEADER_LINE: TableStyle =
    presets::NOTHING.header_separator(LineStyle::new('─', '─', '─', '─'));

/// Takes the secrets out of a text. The gate makes it.
pub type Redact = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// One of the two descriptors.
struct Sink {
    to: Mutex<Box<dyn Write + Send>>,
    terminal: bool,
}

impl Sink {
    fn new(to: impl Write + Send + 'static, terminal: bool) -> Self {
        Self {
            to: Mutex::new(Box::new(to)),
            terminal,
        }
    }

    /// A reader that went away (`| head`) is no failure: what is left goes nowhere.
    fn write(&self, text: &str) -> Result<()> {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        let done = to.write_all(text.as_bytes()).and_then(|()| to.flush());
        match done {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                *to = Box::new(std::io::sink());
                Ok(())
            }
            Err(error) => Err(Error::new(
                Code::Internal,
                format!("cannot write the output: {error}"),
            )
            .hint("Check the disk and where the output goes.")
            .source_error(error)),
            Ok(()) => Ok(()),
        }
    }
}

/// Where a command prints.
pub(crate) struct Output {
    stdout: Sink,
    stderr: Sink,
    json: bool,
    quiet: bool,
    redact: Redact,
}

impl Output {
    /// The process's descriptors.
    pub(crate) fn of_process(json: bool, quiet: bool, redact: Redact) -> Self {
        Self {
            stdout: Sink::new(std::io::stdout(), std::io::stdout().is_terminal()),
            stderr: Sink::new(std::io::stderr(), std::io::stderr().is_terminal()),
            json,
            quiet,
            redact,
        }
    }

    /// Whether `--json` was given: then stdout has one JSON document.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether `--quiet` was given.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether stdout is a terminal.
    pub(crate) fn on_terminal(&self) -> bool {
        self.stdout.terminal
    }

    /// Whether stderr is a terminal, so that a progress bar can move.
    pub(crate) fn notes_on_terminal(&self) -> bool {
        self.stderr.terminal
    }

    /// A text without the secrets in it, for what is not written here: a progress bar.
    pub(crate) fn redacted(&self, text: &str) -> String {
        (self.redact)(text)
    }

    /// The command's answer, to stdout; ends with a newline.
    ///
    /// # Errors
    /// `internal` where stdout cannot be written; a closed pipe is no error.
    pub(crate) fn text(&self, text: &str) -> Result<()> {
        self.write(&self.stdout, text)
    }

    /// A heading within the answer, to stdout: bold on a terminal.
    pub(crate) fn heading(&self, text: &str) -> Result<()> {
        if !self.stdout.terminal {
            return self.text(text);
        }
        let text = (self.redact)(text);
        self.stdout
            .write(&format!("\u{1b}[1m{}\u{1b}[0m\n", visible(&text)))
    }

    /// Bytes that a program will read, to stdout as they are: a generated script has no secret and no escape.
    pub(crate) fn script(&self, text: &str) -> Result<()> {
        self.stdout.write(text)
    }

    /// What the gate gave out, to stdout as it stands: rows and documents, whose values must stay exact.
    pub(crate) fn exact(&self, text: &Redacted) -> Result<()> {
        self.stdout.write(text.as_str())
    }

    /// What a user's code wrote to its stderr, as the gate gave it out.
    pub(crate) fn exact_to_stderr(&self, text: &Redacted) -> Result<()> {
        self.stderr.write(text.as_str())
    }

    /// Something that must be known to trust the answer, to stderr, also with `--quiet`.
    pub(crate) fn warning(&self, text: &str) -> Result<()> {
        self.write(&self.stderr, &format!("warning: {text}"))
    }

    /// Something beside the answer, to stderr: what was done, what to do next. `--quiet` drops it.
    pub(crate) fn note(&self, text: &str) -> Result<()> {
        if self.quiet {
            return Ok(());
        }
        self.write(&self.stderr, text)
    }

    /// A JSON document, to stdout.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<()> {
        let broken =
            |error| Error::internal("an answer cannot be written as JSON").source_error(error);
        let value = self.clean(serde_json::to_value(value).map_err(broken)?);
        self.text(&serde_json::to_string_pretty(&value).map_err(broken)?)
    }

    /// Rows under headings, to stdout: aligned on a terminal, tab-separated in a pipe.
    pub(crate) fn table(&self, headings: &[&str], rows: &[Vec<String>]) -> Result<()> {
        // Before wrapping and escaping, which would hide a secret from whoever looks for it.
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| (self.redact)(cell)).collect())
            .collect();
        if self.stdout.terminal {
            let mut table = Table::new();
            table
                .load_style(presets::NOTHING)
                .set_header(headings.iter().map(|heading| heading.to_uppercase()));
            if table.width().is_some_and(|width| width >= MIN_WIDTH) {
                table.set_content_arrangement(ContentArrangement::Dynamic);
            }
            for row in &rows {
                table.add_row(row.iter().map(|cell| visible(cell).into_owned()));
            }
            let lines: Vec<_> = table
                .lines()
                .map(|line| line.trim_end().to_owned())
                .collect();
            return self.text(&lines.join("\n"));
        }
        let line = |cells: Vec<String>| cells.join("\t") + "\n";
        let mut text = line(
            headings
                .iter()
                .map(|heading| (*heading).to_owned())
                .collect(),
        );
        for row in &rows {
            text += &line(row.iter().map(|cell| escaped(cell)).collect());
        }
        self.text(&text)
    }

    /// A result's rows on a terminal: the names as they are, numbers to the right, NULL as such.
    pub(crate) fn rows(&self, rows: &Rows) -> Result<()> {
        let (columns, cells) = rows.cells();
        let mut table = Table::new();
        table
            .load_style(HEADER_LINE)
            .set_header(columns.iter().map(|column| column.name.as_str()));
        if table.width().is_some_and(|width| width >= MIN_WIDTH) {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        for row in &cells {
            table.add_row(row.iter().map(|cell| cell.unwrap_or("NULL")));
        }
        for (at, column) in columns.iter().enumerate() {
            if let Some(shown) = table
                .column_mut(at)
                .filter(|_| is_number(&column.data_type))
            {
                shown.set_cell_alignment(CellAlignment::Right);
            }
        }
        let lines: Vec<_> = table
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        self.stdout.write(&(lines.join("\n") + "\n"))
    }

    /// An error, to stderr: `error[code]: message` and `hint: …`, or with `--json` the fields that tools see.
    pub(crate) fn error(&self, error: &Error) -> Result<()> {
        if self.json {
            let retry_after_s = match error.retry_kind() {
                Retry::After(wait) => Some(seconds_rounded_up(wait)),
                Retry::No | Retry::Now => None,
            };
            let mut fields = json!({
                "code": error.code(),
                "message": error.message(),
                "hint": error.hint_text(),
                "retryable": error.retry_kind() != Retry::No,
            });
            if let (Some(fields), Some(seconds)) = (fields.as_object_mut(), retry_after_s) {
                fields.insert("retry_after_s".to_owned(), seconds.into());
            }
            if let (Some(fields), Some(details)) = (fields.as_object_mut(), error.details_ref()) {
                fields.insert("details".to_owned(), json!(details));
            }
            return self.write(&self.stderr, &self.clean(fields).to_string());
        }
        let mut text = format!("error[{}]: {}", error.code(), error.message());
        if let Some(traceback) = error
            .details_ref()
            .and_then(|details| details.traceback.as_ref())
        {
            text += &format!("\n{}", traceback.trim_end());
        }
        if !error.hint_text().is_empty() {
            text += &format!("\nhint: {}", error.hint_text());
        }
        self.write(&self.stderr, &text)
    }

    /// clap's own words, which may be coloured: help and version to stdout, a usage error to stderr.
    pub(super) fn usage(&self, error: &clap::Error) -> Result<()> {
        let sink = if error.use_stderr() {
            &self.stderr
        } else {
            &self.stdout
        };
        let rendered = error.render();
        let plain = rendered.to_string();
        let redacted = (self.redact)(&plain);
        // Colours could stand within a secret, so a text with one goes without.
        if sink.terminal && redacted == plain {
            return sink.write(&rendered.ansi().to_string());
        }
        sink.write(&redacted)
    }

    /// A document whose texts are redacted one by one: escapes could stand within a secret.
    fn clean(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String((self.redact)(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.clean(item)).collect(),
            Value::Object(members) => Value::Object(
                members
                    .into_iter()
                    .map(|(key, value)| ((self.redact)(&key), self.clean(value)))
                    .collect(),
            ),
            other => other,
        }
    }

    fn write(&self, sink: &Sink, text: &str) -> Result<()> {
        let text = (self.redact)(text);
        let text = if sink.terminal {
            visible(&text)
        } else {
            Cow::Borrowed(text.as_str())
        };
        let end = if text.ends_with('\n') || text.is_empty() {
            ""
        } else {
            "\n"
        };
        sink.write(&format!("{text}{end}"))
    }
}

/// Spark's own spelling.
fn is_number(data_type: &str) -> bool {
    let name = data_type.split('(').next().unwrap_or_default();
    [
        "tinyint", "smallint", "int", "bigint", "float", "double", "decimal",
    ]
    .contains(&name)
}

/// The exit code of an error: 2 for usage and configuration, 130 for what a signal cancelled (as a shell says it: 128 +
/// SIGINT), else 1.
pub(crate) fn exit_code(error: &Error) -> u8 {
    match error.code() {
        Code::InvalidArgument | Code::ConfigurationInvalid => 2,
        Code::Cancelled => 130,
        _ => 1,
    }
}

fn seconds_rounded_up(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Control characters but newline and tab as `\u{1b}`: a value must not move the cursor or set the window's title.
fn visible(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().fold(String::new(), |mut out, c| {
        if harmless(c) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
        out
    }))
}

/// A cell of a tab-separated line: what would end the cell or the line is escaped.
fn escaped(cell: &str) -> String {
    cell.replace('\\', "\\\\")
        .replace('\t', "\\t")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
