//! Reads a call's arguments and gathers everything that is wrong with them, so that one answer names it all.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::gate::{Cursor, TablesCursor};
use crate::model::{
    Code, Error, Format, Result, SessionName, StatementId, TableDetail, TargetName, shown,
};
use crate::platform::Params;
use crate::service::{Place, Service};

/// The longest SQL or Python text, in bytes. Larger than any written text; data travels by `files`.
pub(super) const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// Rows of one answer. More is for a file or a table, not for a conversation.
pub(super) const ROWS: RangeInclusive<u64> = 1..=10_000;
/// The longest pattern of tables, in characters: two names of a catalogue fit.
const MAX_PATTERN_CHARS: usize = 256;
/// Seconds that a call may wait. Longer than any known client does.
pub(super) const WAIT_S: RangeInclusive<u64> = 0..=600;

/// The arguments of one call.
pub(super) struct Args<'a> {
    tool: &'static str,
    given: Map<String, Value>,
    known: Vec<&'static str>,
    problems: Vec<String>,
    service: &'a Service,
}

impl<'a> Args<'a> {
    /// Starts reading.
    pub(super) fn new(tool: &'static str, given: Map<String, Value>, service: &'a Service) -> Self {
        Self {
            tool,
            given,
            known: Vec::new(),
            problems: Vec::new(),
            service,
        }
    }

    /// An argument that is there and not null.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.given.remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    /// Something is wrong already.
    pub(super) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Something is wrong with this argument already.
    pub(super) fn complained(&self, name: &str) -> bool {
        self.problems.iter().any(|text| text.starts_with(name))
    }

    /// Whether an argument is there and not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.given.get(name).is_some_and(|value| !value.is_null())
    }

    pub(super) fn string(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => {
                self.problem(format!("{name} must be a string, not {}", kind(&other)));
                None
            }
        }
    }

    /// A text to run: there, not blank, not huge.
    pub(super) fn text(&mut self, name: &'static str) -> String {
        let missing = self.given.get(name).is_none_or(Value::is_null);
        match self.string(name) {
            Some(text) if text.len() > MAX_TEXT_BYTES => {
                self.problem(format!(
                    "{name} has {} bytes, the most is {MAX_TEXT_BYTES}; pass data by the files argument or write it to a file",
                    text.len()
                ));
                String::new()
            }
            Some(text) if text.trim().is_empty() => {
                self.problem(format!("{name} is empty"));
                String::new()
            }
            Some(text) => text,
            None if missing => {
                self.problem(format!("{name} is missing"));
                String::new()
            }
            None => String::new(),
        }
    }

    fn number(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(name)?;
        // Models write 100, 100.0 and "100".
        let number = match &value {
            Value::Number(n) => n.as_u64().map_or_else(
                || {
                    n.as_f64()
                        .filter(|f| f.fract() == 0.0 && *f >= 0.0)
                        .and_then(whole)
                },
                Some,
            ),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                self.problem(format!(
                    "{name} must be a whole number from {} to {}, not {}",
                    range.start(),
                    range.end(),
                    shown(&value)
                ));
                None
            }
        }
    }

    /// `max_rows`, or the default.
    pub(super) fn max_rows(&mut self, default: u64) -> u64 {
        self.number("max_rows", ROWS).unwrap_or(default)
    }

    /// `wait_s`, or the default.
    pub(super) fn wait(&mut self, default_s: u64) -> Duration {
        Duration::from_secs(self.number("wait_s", WAIT_S).unwrap_or(default_s))
    }

    /// `format`, or CSV.
    pub(super) fn format(&mut self) -> Format {
        match self.string("format").as_deref() {
            None | Some("csv") => Format::Csv,
            Some("markdown") => Format::Markdown,
            Some("json") => Format::Json,
            Some(other) => {
                self.problem(format!(
                    "format must be csv, markdown or json, not {other:?}"
                ));
                Format::Csv
            }
        }
    }

    /// `target`, which must be one that is configured.
    pub(super) fn target(&mut self) -> Option<TargetName> {
        let name = TargetName::new(self.string("target")?);
        if let Err(e) = self.service.target(Some(&name)) {
            self.problem(format!("{} ({})", e.message(), e.hint_text()));
            return None;
        }
        Some(name)
    }

    /// A session's name.
    pub(super) fn session_name(&mut self, argument: &'static str) -> Option<SessionName> {
        let text = self.string(argument)?;
        match SessionName::parse(&text) {
            Ok(name) => Some(name),
            Err(problem) => {
                self.problem(format!("{argument}: {problem}"));
                None
            }
        }
    }

    /// A session's name that must be given.
    pub(super) fn needed_session(&mut self) -> SessionName {
        if self.given.get("session").is_none_or(Value::is_null) {
            self.problem("session is missing: the name that open_session gave");
        }
        self.session_name("session")
            .unwrap_or_else(|| SessionName::new(""))
    }

    /// `target`, `session` and `timeout_s` together.
    pub(super) fn place(&mut self) -> Place {
        let target = self.target();
        let session = self.session_name("session");
        let most = self
            .service
            .target(target.as_ref())
            .map_or(Duration::ZERO, |(_, t)| t.statement);
        let timeout = self
            .number("timeout_s", 1..=most.as_secs().max(1))
            .map(Duration::from_secs);
        Place {
            target,
            session,
            timeout,
        }
    }

    /// A statement's id that must be given.
    pub(super) fn statement(&mut self) -> StatementId {
        match self.string("statement") {
            Some(text) => StatementId::new(text),
            None => {
                self.problem("statement is missing: the id that an earlier call returned");
                StatementId::new("")
            }
        }
    }

    /// Where a page begins, as `next` named it.
    pub(super) fn cursor(&mut self) -> Option<Cursor> {
        let text = match self.take("cursor")? {
            Value::String(text) => text,
            // Models drop the quotes.
            Value::Number(number) => number.to_string(),
            other => {
                self.problem(format!("cursor must be a string, not {}", kind(&other)));
                return None;
            }
        };
        Cursor::parse(&text)
            .map_err(|problem| self.problem(format!("cursor: {problem}")))
            .ok()
    }

    /// `pattern` of tables.
    pub(super) fn pattern(&mut self) -> Option<String> {
        let text = self.string("pattern")?;
        let chars = text.chars().count();
        if chars > MAX_PATTERN_CHARS {
            self.problem(format!(
                "pattern has {chars} characters, the most is {MAX_PATTERN_CHARS}"
            ));
        }
        Some(text)
    }

    /// `detail`, or names.
    pub(super) fn detail(&mut self) -> TableDetail {
        match self.string("detail").as_deref() {
            None | Some("names") => TableDetail::Names,
            Some("columns") => TableDetail::Columns,
            Some("stats") => TableDetail::Stats,
            Some(other) => {
                self.problem(format!(
                    "detail must be names, columns or stats, not {other:?}"
                ));
                TableDetail::Names
            }
        }
    }

    /// `cursor` of a list of tables with this pattern and session.
    pub(super) fn tables_cursor(
        &mut self,
        pattern: Option<&str>,
        session: Option<&SessionName>,
    ) -> Option<TablesCursor> {
        let text = self.string("cursor")?;
        let cursor = TablesCursor::parse(&text).and_then(|cursor| {
            if cursor.fits(pattern, session) {
                Ok(cursor)
            } else {
                Err(
                    "it is of a list with another pattern or session: repeat these with it"
                        .to_owned(),
                )
            }
        });
        cursor
            .map_err(|problem| self.problem(format!("cursor: {problem}")))
            .ok()
    }

    /// `params`: an object for `:name`, an array for `?`.
    pub(super) fn params(&mut self) -> Params {
        match self.take("params") {
            None => Params::None,
            Some(Value::Object(named)) => {
                for (name, value) in &named {
                    self.single(&format!("params.{name}"), value);
                }
                Params::Named(named.into_iter().collect())
            }
            Some(Value::Array(values)) => {
                for (place, value) in values.iter().enumerate() {
                    self.single(&format!("params[{place}]"), value);
                }
                Params::Positional(values)
            }
            Some(other) => {
                self.problem(format!(
                    "params must be an object for :name or an array for ?, not {}",
                    kind(&other)
                ));
                Params::None
            }
        }
    }

    fn single(&mut self, name: &str, value: &Value) {
        if value.is_array() || value.is_object() {
            self.problem(format!(
                "{name} must be a single value, not {}",
                kind(value)
            ));
        }
    }

    /// `files`: view → path.
    pub(super) fn files(&mut self) -> BTreeMap<String, String> {
        let given = match self.take("files") {
            None => return BTreeMap::new(),
            Some(Value::Object(given)) => given,
            Some(other) => {
                self.problem(format!(
                    "files must be an object of view name and path, not {}",
                    kind(&other)
                ));
                return BTreeMap::new();
            }
        };
        let mut files = BTreeMap::new();
        for (view, path) in given {
            if let Err(problem) = crate::sql::check_name(&view) {
                self.problem(format!("files: {problem}"));
            }
            match path {
                Value::String(path) => {
                    files.insert(view, path);
                }
                other => self.problem(format!("files.{view} must be a path, not {}", kind(&other))),
            }
        }
        files
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// `invalid_argument` with everything that is wrong.
    pub(super) fn finish(mut self) -> Result<()> {
        let unknown: Vec<String> = self.given.keys().cloned().collect();
        for name in unknown {
            let near = self
                .known
                .iter()
                .map(|known| (strsim::jaro_winkler(known, &name), *known))
                .filter(|(likeness, _)| *likeness > 0.8)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let text = match near {
                Some((_, known)) => format!("there is no argument {name:?}; did you mean {known}?"),
                None => format!("there is no argument {name:?}"),
            };
            self.problem(text);
        }
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(
            Error::new(Code::InvalidArgument, self.problems.join("; ")).hint(format!(
                "Call {} again; its arguments are {}.",
                self.tool,
                self.known.join(", ")
            )),
        )
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "only whole numbers within the range of exact doubles get here"
)]
fn whole(float: f64) -> Option<u64> {
    (float <= 9_007_199_254_740_992.0).then_some(float as u64)
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
