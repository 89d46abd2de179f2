//! Failures as callers see them: the same fields as text and as structured content.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Ask, Draft, error_id_of, fitting, retry_words};
use super::clean;
use super::limit::{Limits, cut_middle, shares, shortened};
use super::redact::{Redactor, cut_place};
use super::statement::dropped_note;
use crate::model::{Code, Details, Error, Image, StatementId, StatementView};

/// The longest hint, in characters: one sentence with a call.
const HINT_CHARS: usize = 600;

/// Warnings that are shown beside a failure, and the longest of them, in characters: the failure comes first.
const WARNINGS: usize = 4;
const WARNING_CHARS: usize = 160;

/// The longest error class, in characters.
const CLASS_CHARS: usize = 160;

/// A failure whose every text is redacted and clean.
struct Prepared {
    code: Code,
    message: String,
    hint: String,
    retryable: bool,
    retry_after_s: Option<u64>,
    error_id: String,
    statement: Option<StatementId>,
    details: Option<Details>,
    output: String,
    /// Where `output` begins, if it is read on.
    output_from: Option<usize>,
    notes: Vec<String>,
}

/// The answer for `error`.
pub(super) fn answer(
    redactor: &Redactor,
    limits: &Limits,
    error: &Error,
    statement: Option<&StatementId>,
    error_id: &str,
) -> Answer {
    let prepared = Prepared::new(redactor, error, statement, error_id);
    fitting(limits, |budget| prepared.compose(redactor, limits, budget))
}

/// The answer for a statement that ended with `error`: what it had printed is shown too, from where `ask` says.
pub(super) fn of_statement(
    redactor: &Redactor,
    limits: &Limits,
    view: &StatementView,
    error: &Error,
    ask: &Ask,
) -> Answer {
    let id = &view.statement;
    let mut prepared = Prepared::new(redactor, error, Some(id), &error_id_of(id));
    let output = redactor
        .redact(&view.output)
        .map(clean::block)
        .into_string();
    if let Some(from) = ask.output_from {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        prepared.output_from = Some(cut_place(&output, from));
    }
    let (_, shown) = output.split_at(prepared.output_from.unwrap_or(0));
    shown.clone_into(&mut prepared.output);
    prepared.notes.extend(dropped_note(view));
    if ask.output_from.is_some() {
        return fitting(limits, |budget| prepared.compose(redactor, limits, budget));
    }
    let images = prepared.shown_before(redactor, view);
    let mut answer = fitting(limits, |budget| prepared.compose(redactor, limits, budget));
    answer.images = images;
    answer
}

impl Prepared {
    fn new(
        redactor: &Redactor,
        error: &Error,
        statement: Option<&StatementId>,
        error_id: &str,
    ) -> Self {
        let block = |text: &str| redactor.redact(text).map(clean::block).into_string();
        let words = |text: &str| {
            shortened(
                redactor.redact(text).map(clean::line).into_string(),
                CLASS_CHARS,
            )
        };
        let (retryable, retry_after_s) = retry_words(error);
        Self {
            code: error.code(),
            message: block(error.message()),
            hint: shortened(block(error.hint_text()), HINT_CHARS),
            retryable,
            retry_after_s,
            error_id: words(error_id),
            statement: statement.cloned(),
            details: error.details_ref().map(|details| Details {
                error_class: details.error_class.as_deref().map(words),
                sqlstate: details.sqlstate.as_deref().map(words),
                line: details.line,
                column: details.column,
                traceback: details.traceback.as_deref().map(block),
            }),
            output: String::new(),
            output_from: None,
            notes: Vec::new(),
        }
    }

    /// What the statement gave before it failed: warnings and counts as notes, figures as they are.
    fn shown_before(&mut self, redactor: &Redactor, view: &StatementView) -> Vec<Image> {
        for warning in view.warnings.iter().take(WARNINGS) {
            let text = redactor.redact(warning).map(clean::line).into_string();
            let text = shortened(text, WARNING_CHARS);
            self.notes.push(format!("warning: {text}"));
        }
        if view.warnings.len() > WARNINGS {
            let more = view.warnings.len() - WARNINGS;
            self.notes
                .push(format!("{more} more warnings are left out"));
        }
        let mut images = view.images.clone();
        images.retain(|image| !redactor.shows(&image.bytes));
        let tables = usize::from(view.page.is_some()) + view.further.len();
        if tables > 0 {
            self.notes.push(format!(
                "before it failed it gave {tables} result(s), which are not shown: run that part on its own"
            ));
        }
        if !images.is_empty() {
            self.notes.push(format!(
                "{} figure(s) that it made before follow as images",
                images.len()
            ));
        }
        images
    }

    fn compose(&self, redactor: &Redactor, limits: &Limits, budget: usize) -> Answer {
        // Message and traceback stand in both contents in any case, printed output in the text alone.
        let twice = Limits {
            structured_copy: true,
            ..*limits
        };
        let once = Limits {
            structured_copy: false,
            ..*limits
        };
        let traceback = self.details.as_ref().and_then(|d| d.traceback.as_deref());
        let wants = [
            (3, twice.cost(&self.message)),
            (3, traceback.map_or(0, |text| twice.cost(text))),
            (1, once.cost(&self.output)),
        ];
        let mut given = shares(budget, &wants).into_iter();
        let mut share = || given.next().unwrap_or(0);
        let message = cut_middle(&twice, &self.message, share(), false).joined();
        let for_traceback = share();
        let traceback = traceback.map(|t| cut_middle(&twice, t, for_traceback, false).joined());
        let output = cut_middle(&once, &self.output, share(), self.output_from.is_some());

        let mut draft = Draft::default();
        let facts = self.facts();
        // What an engine or a user's code says is data; what we say is not.
        if self.code == Code::StatementFailed {
            draft.head.push(format!("{}{facts}", self.code));
            draft.data.push(("error".to_owned(), message.clone()));
        } else {
            draft.head.push(format!("{}: {message}{facts}", self.code));
        }
        if let Some(traceback) = &traceback {
            draft.data.push(("traceback".to_owned(), traceback.clone()));
        }
        draft.foot.clone_from(&self.notes);
        if !output.head.is_empty() || output.left_out > 0 {
            if let (true, Some(statement)) = (output.left_out > 0, &self.statement) {
                draft.foot.push(format!(
                    "output: {} bytes are left out here: get_statement(statement=\"{statement}\", cursor=\"output:{}\")",
                    output.left_out,
                    self.output_from.unwrap_or(0) + output.head.len()
                ));
            }
            draft.data.push(("output".to_owned(), output.joined()));
        }
        if !self.hint.is_empty() {
            draft.foot.push(format!("hint: {}", self.hint));
        }
        draft.foot.push(self.retry_line());
        let text = redactor.redact(&draft.text()).into_string();

        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| {
            fields.insert(name.to_owned(), value);
        };
        put("code", json!(self.code));
        put("message", json!(message));
        put("hint", json!(self.hint));
        put("retryable", json!(self.retryable));
        if let Some(wait) = self.retry_after_s {
            put("retry_after_s", json!(wait));
        }
        put("error_id", json!(self.error_id));
        if let Some(statement) = &self.statement {
            put("statement", json!(statement));
        }
        if let Some(details) = &self.details {
            let details = Details {
                traceback,
                ..details.clone()
            };
            put("details", json!(details));
        }
        Answer {
            text,
            structured: Value::Object(fields),
            images: Vec::new(),
            is_error: true,
        }
    }

    /// ` | ValueError | line 3`, as far as they are known.
    fn facts(&self) -> String {
        let Some(details) = &self.details else {
            return String::new();
        };
        let mut facts = String::new();
        let mut add = |fact: String| {
            facts.push_str(" | ");
            facts.push_str(&fact);
        };
        if let Some(class) = &details.error_class {
            add(class.clone());
        }
        if let Some(state) = &details.sqlstate {
            add(format!("SQLSTATE {state}"));
        }
        match (details.line, details.column) {
            (Some(line), Some(column)) => add(format!("line {line}, column {column}")),
            (Some(line), None) => add(format!("line {line}")),
            (None, _) => {}
        }
        facts
    }

    fn retry_line(&self) -> String {
        let retry = match (self.retryable, self.retry_after_s) {
            (false, _) => "the same call fails again".to_owned(),
            (true, None) => "the same call may work now".to_owned(),
            (true, Some(wait)) => format!("the same call may work after {wait} s"),
        };
        let statement = self.statement.as_ref();
        let statement = statement.map_or(String::new(), |id| format!(", statement {id}"));
        format!("retry: {retry} (error {}{statement})", self.error_id)
    }
}
