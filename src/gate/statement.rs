//! A statement as its caller sees it: status, rows, output, value, further tables, warnings, figures, and how to go
//! on. How that is made to fit is in `compose.rs`, how rows are written in `render.rs`, failures are in `error.rs`.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Ask, fitting};
use super::clean;
use super::error;
use super::limit::{Limits, shortened};
use super::redact::{Redacted, Redaction, Redactor, add_counts};
use super::render::Table;
use crate::model::{Error, Image, Page, StatementState, StatementView, Written};

/// The longest name, phase or engine in a line of ours, in characters.
const WORDS_CHARS: usize = 160;

/// The longest name or place of a table that was written, in characters: two names of 255 bytes, a deep folder.
const PATH_CHARS: usize = 600;

/// The longest warning, in characters.
const WARNING_CHARS: usize = 500;

/// Further tables that share one answer; more would leave none of them room for its rows.
const FURTHER_TABLES: usize = 8;

/// A running output's end of fewer characters is shown although a secret could begin with it: it tells nothing, and
/// every word ends like some secret begins.
const RUNNING_TAIL: usize = 4;

/// A statement whose every text is redacted and clean.
pub(super) struct Prepared<'v> {
    pub(super) view: &'v StatementView,
    pub(super) ask: &'v Ask,
    pub(super) limits: &'v Limits,
    pub(super) target: String,
    pub(super) session: Option<String>,
    pub(super) engine: String,
    pub(super) phase: Option<String>,
    pub(super) written: Option<Told>,
    pub(super) table: Option<(&'v Page, Table)>,
    pub(super) further: Vec<Table>,
    pub(super) output: String,
    pub(super) output_held: usize,
    pub(super) value: Option<String>,
    pub(super) warnings: Vec<String>,
    pub(super) images: Vec<Image>,
    pub(super) notes: Vec<String>,
    pub(super) counts: Vec<Redaction>,
}

/// What a write did: one line, and the same as fields.
pub(super) struct Told {
    pub(super) line: String,
    pub(super) fields: Value,
}

impl Told {
    /// `words` redacts and shortens what came from outside.
    fn new(written: &Written, mut words: impl FnMut(&str) -> String) -> Self {
        let table = words(&written.table.to_string());
        let format = words(&written.format);
        let location = written.location.as_deref().map(&mut words);
        let mode = written.mode.as_word();
        let rows = written.rows;
        let plural = if rows == 1 { "row" } else { "rows" };
        // "error" as a word for a write that went well would only alarm.
        let how = if written.created { "new table" } else { mode };
        let mut line = format!("# written: {rows} {plural} to {table} ({how}, {format}");
        if let Some(version) = written.version {
            line.push_str(&format!(" version {version}"));
        }
        line.push(')');
        if let Some(location) = &location {
            line.push_str(&format!(" in {location}"));
        }
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        put("table", json!(table));
        put("rows", json!(rows));
        put("mode", json!(mode));
        put("format", json!(format));
        if let Some(version) = written.version {
            put("version", json!(version));
        }
        if let Some(location) = location {
            put("location", json!(location));
        }
        put("created", json!(written.created));
        Self {
            line,
            fields: Value::Object(fields),
        }
    }
}

/// The answer for `view`.
pub(super) fn answer(
    redactor: &Redactor,
    limits: &Limits,
    view: &StatementView,
    ask: &Ask,
) -> Answer {
    match (view.state, &view.error) {
        (StatementState::Failed | StatementState::Cancelled, Some(error)) => {
            return error::of_statement(redactor, limits, view, error, ask);
        }
        (StatementState::Failed, None) => {
            let error = Error::internal("the statement failed without saying why");
            return error::of_statement(redactor, limits, view, &error, ask);
        }
        _ => {}
    }
    let prepared = Prepared::new(redactor, limits, view, ask);
    let mut answer = fitting(limits, |budget| prepared.compose(redactor, budget));
    answer.images = prepared.images;
    answer
}

/// Words on printed output that was lost before it came here.
pub(super) fn dropped_note(view: &StatementView) -> Option<String> {
    (view.output_dropped > 0).then(|| {
        format!(
            "output: {} bytes of its middle were not kept; print less, or write it to a file",
            view.output_dropped
        )
    })
}

impl<'v> Prepared<'v> {
    fn new(redactor: &Redactor, limits: &'v Limits, view: &'v StatementView, ask: &'v Ask) -> Self {
        let mut counts = Vec::new();
        let mut count = |redacted: Redacted| {
            add_counts(&mut counts, redacted.counts());
            redacted.into_string()
        };
        let mut words = |text: &str| {
            let text = count(redactor.redact(text));
            shortened(clean::line(&text), WORDS_CHARS)
        };
        let target = words(view.target.as_str());
        let session = view.session.as_ref().map(|name| words(name.as_str()));
        let engine = words(&view.engine);
        let phase = view.progress.as_ref().map(|progress| {
            let phase = words(&progress.phase);
            match progress.fraction {
                Some(part) => format!("{phase} ({:.0} %)", part.clamp(0.0, 1.0) * 100.0),
                None => phase,
            }
        });
        let written = view.written.as_ref();
        let written = written.map(|written| {
            Told::new(written, |text| {
                shortened(clean::line(&count(redactor.redact(text))), PATH_CHARS)
            })
        });
        let (output, output_held) = if view.state.is_final() {
            (redactor.redact(&view.output), 0)
        } else {
            redactor.redact_running(&view.output, RUNNING_TAIL)
        };
        let output = clean::block(&count(output));
        let value = view
            .value
            .as_deref()
            .map(|v| clean::block(&count(redactor.redact(v))));
        let mut warnings = view.warnings.clone();
        let mut neighbours: Vec<&mut String> = warnings.iter_mut().collect();
        let found = redactor.redact_neighbours(&mut neighbours);
        for warning in &mut warnings {
            *warning = shortened(clean::line(warning), WARNING_CHARS);
        }
        add_counts(&mut counts, &found);

        let all = ask.output_from.is_none();
        let table = view
            .page
            .as_ref()
            .filter(|page| all && !page.batch.columns.is_empty());
        let table =
            table.map(|page| (page, Table::new(redactor, limits, &page.batch, &mut counts)));
        let further = view.further.iter().filter(|_| all).take(FURTHER_TABLES);
        let further = further
            .map(|b| Table::new(redactor, limits, b, &mut counts))
            .collect();
        let mut notes = Vec::new();
        let mut images = Vec::new();
        for (index, image) in view.images.iter().enumerate().filter(|_| all) {
            if redactor.shows(&image.bytes) {
                notes.push(format!(
                    "figure {} is left out: it holds a known secret",
                    index + 1
                ));
            } else {
                images.push(image.clone());
            }
        }
        match images.len() {
            0 => {}
            1 => notes.push("one figure follows as an image".to_owned()),
            n => notes.push(format!("{n} figures follow as images")),
        }
        if view.further.len() > FURTHER_TABLES && all {
            notes.push(format!(
                "{} further tables are left out: show at most {} in one statement",
                view.further.len() - FURTHER_TABLES,
                FURTHER_TABLES + 1
            ));
        }
        notes.extend(dropped_note(view));
        Self {
            view,
            ask,
            limits,
            target,
            session,
            engine,
            phase,
            written,
            table,
            further,
            output,
            output_held,
            value: value.filter(|_| all),
            warnings: if all { warnings } else { Vec::new() },
            images,
            notes,
            counts,
        }
    }
}
