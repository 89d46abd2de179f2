//! Puts a prepared statement together so that it fits: what each part gets, what is said of the rest, and how to
//! go on. What the parts are is in `statement.rs`.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Cursor, Draft, call_on, call_wait, seconds};
use super::limit::{cut_middle, shares};
use super::redact::{Redactor, add_counts, cut_place};
use super::render::Table;
use super::statement::Prepared;
use crate::model::{Page, StatementState};

/// Secrets that are counted one by one in an answer.
const REDACTIONS: usize = 16;

impl Prepared<'_> {
    /// The answer with `budget` bytes of data in it.
    pub(super) fn compose(&self, redactor: &Redactor, budget: usize) -> Answer {
        let limits = self.limits;
        let statement = &self.view.statement;
        let mut draft = Draft::default();
        let mut body = Body::default();
        let mut notes = self.notes.clone();

        // What each part would take, and what it gets.
        let columns = self
            .table
            .as_ref()
            .map_or(0, |(_, table)| table.columns_for(limits, budget / 3));
        let from = self.ask.output_from.unwrap_or(0);
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let from = cut_place(&self.output, from);
        let output = self.output.get(from..).unwrap_or_default();
        let warnings_cost: usize = self.warnings.iter().map(|w| 2 * limits.cost(w) + 8).sum();
        let mut wants = vec![
            (3, limits.cost(output)),
            (2, self.value.as_ref().map_or(0, |v| limits.cost(v))),
        ];
        wants.push((1, warnings_cost));
        let format = self.ask.format;
        let whole =
            |table: &Table, columns| limits.cost(&table.fit(limits, format, budget, columns).body);
        wants.push((
            4,
            self.table
                .as_ref()
                .map_or(0, |(_, table)| whole(table, columns)),
        ));
        for table in &self.further {
            wants.push((1, whole(table, table.columns_for(limits, budget / 3))));
        }
        let mut given = shares(budget, &wants).into_iter();
        let mut share = || given.next().unwrap_or(0);
        let (for_output, for_value, for_warnings, for_rows) = (share(), share(), share(), share());

        self.show_rows(for_rows, columns, &mut draft, &mut body, &mut notes);
        if !output.is_empty() {
            let front_only = self.ask.output_from.is_some();
            let cut = cut_middle(limits, output, for_output, front_only);
            if cut.left_out > 0 {
                let at = u64::try_from(from + cut.head.len()).unwrap_or(u64::MAX);
                let call = call_on(statement, Cursor::Output(at), self.ask);
                notes.push(format!(
                    "output: {} bytes are left out here: {call}",
                    cut.left_out
                ));
                body.next = body.next.or(Some(call));
            }
            draft.data.push(("output".to_owned(), cut.joined()));
        }
        if self.output_held > 0 {
            notes.push(format!(
                "output: its last {} bytes are held back until what follows shows that they begin no secret",
                self.output_held
            ));
        }
        if let Some(value) = &self.value {
            let cut = cut_middle(limits, value, for_value, false);
            if cut.left_out > 0 {
                notes.push(format!(
                    "value: {} bytes are left out: print the part you need",
                    cut.left_out
                ));
            }
            draft.data.push(("value".to_owned(), cut.joined()));
        }
        let for_further: Vec<usize> = self.further.iter().map(|_| share()).collect();
        self.show_further(budget / 3, &for_further, &mut draft, &mut notes);
        self.warn(for_warnings, &mut draft, &mut body, &mut notes);

        if let Some(written) = &self.written {
            draft.head.push(written.line.clone());
        }
        let status = self.status_words();
        match draft.head.first_mut() {
            Some(line) => line.push_str(&format!(" | {status}")),
            None => draft.head.push(status),
        }
        if !self.view.state.is_final() {
            body.next = Some(call_wait(statement));
        }
        draft.foot = notes;
        self.finish(redactor, draft, body)
    }

    fn show_rows(
        &self,
        budget: usize,
        columns: usize,
        draft: &mut Draft,
        body: &mut Body,
        notes: &mut Vec<String>,
    ) {
        let Some((page, table)) = &self.table else {
            return;
        };
        let limits = self.limits;
        let fitted = table.fit(limits, self.ask.format, budget, columns);
        let shown = u64::try_from(fitted.rows).unwrap_or(u64::MAX);
        let end = page.offset.saturating_add(shown);
        let more_unkept = page.more_unkept || page.batch.truncated;
        let more_kept = page.more_kept || fitted.rows < page.batch.rows.len();
        body.columns = table
            .columns(fitted.columns)
            .map(|c| serde_json::to_value(c).unwrap_or_default())
            .collect();
        body.row_count = Some(shown);
        body.truncated = Some(more_kept || more_unkept);
        draft
            .head
            .push(format!("# rows: {}", row_words(page, shown, more_unkept)));
        draft.data.push(("rows".to_owned(), fitted.body));
        if fitted.columns < table.total_columns() {
            notes.push(format!(
                "the first {} of {} columns are shown: name the ones you need",
                fitted.columns,
                table.total_columns()
            ));
        }
        if fitted.cell_chars < limits.cell_chars {
            notes.push(format!(
                "cells are cut at {} characters to fit: name fewer columns",
                fitted.cell_chars
            ));
        }
        if more_kept && shown > 0 {
            body.next = Some(call_on(&self.view.statement, Cursor::Rows(end), self.ask));
        }
        if more_unkept {
            notes.push(
                "the query has more rows than were kept: aggregate, add a LIMIT, or write the result to a table"
                    .to_owned(),
            );
        }
    }

    /// Tables after the first; one that cannot show a row is named instead.
    fn show_further(
        &self,
        for_columns: usize,
        budgets: &[usize],
        draft: &mut Draft,
        notes: &mut Vec<String>,
    ) {
        let limits = self.limits;
        let mut cut = Vec::new();
        let batches = self.further.iter().zip(&self.view.further).zip(budgets);
        for (number, ((table, batch), budget)) in (2..).zip(batches) {
            let columns = table.columns_for(limits, for_columns);
            let fitted = table.fit(limits, self.ask.format, *budget, columns);
            let all = batch.rows.len();
            let whole = fitted.rows == all && fitted.columns == table.total_columns();
            if !whole || batch.truncated {
                let more = if batch.truncated { " or more" } else { "" };
                cut.push(format!("{number} ({} of {all}{more} rows)", fitted.rows));
            }
            if fitted.rows > 0 || all == 0 {
                draft.data.push((format!("table {number}"), fitted.body));
            }
        }
        if !cut.is_empty() {
            notes.push(format!(
                "tables that are cut: {}; show each in a statement of its own",
                cut.join(", ")
            ));
        }
    }

    fn warn(&self, budget: usize, draft: &mut Draft, body: &mut Body, notes: &mut Vec<String>) {
        let mut spent = 0;
        let fits = self.warnings.iter().take_while(|warning| {
            spent += 2 * self.limits.cost(warning) + 8;
            spent <= budget
        });
        body.warnings = fits.cloned().collect();
        if !body.warnings.is_empty() {
            draft
                .data
                .push(("warnings".to_owned(), body.warnings.join("\n")));
        }
        let left_out = self.warnings.len() - body.warnings.len();
        if left_out > 0 {
            notes.push(format!("{left_out} more warnings are left out"));
        }
    }

    /// State, time, place and engine on one line.
    fn status_words(&self) -> String {
        let view = self.view;
        let time = seconds(view.elapsed);
        let phase = self
            .phase
            .as_ref()
            .map_or(String::new(), |phase| format!(": {phase}"));
        let words = match view.state {
            StatementState::Queued => format!("queued for {time} s on {}{phase}", self.target),
            StatementState::Running => format!("running for {time} s on {}{phase}", self.target),
            StatementState::Cancelling => {
                format!("running for {time} s on {}: being cancelled", self.target)
            }
            StatementState::Succeeded => format!("succeeded in {time} s on {}", self.target),
            StatementState::Failed => format!("failed after {time} s on {}", self.target),
            StatementState::Cancelled => format!("cancelled after {time} s on {}", self.target),
        };
        if self.engine.is_empty() {
            words
        } else {
            format!("{words} | {}", self.engine)
        }
    }

    fn finish(&self, redactor: &Redactor, mut draft: Draft, body: Body) -> Answer {
        let mut counts = self.counts.clone();
        if let Some(next) = &body.next {
            draft.foot.push(format!("next: {next}"));
        }
        // Once more over the whole: what one part alone does not show, the parts together might.
        let text = redactor.redact(&draft.text());
        add_counts(&mut counts, text.counts());
        let text = text.into_string();

        let view = self.view;
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| {
            fields.insert(name.to_owned(), value);
        };
        put("status", json!(view.state.as_tool_word()));
        put("statement", json!(view.statement));
        put("target", json!(self.target));
        if let Some(session) = &self.session {
            put("session", json!(session));
        }
        put("elapsed_s", json!(seconds(view.elapsed)));
        if let Some(rows) = body.row_count {
            put("columns", Value::Array(body.columns));
            put("row_count", json!(rows));
        }
        if let Some(truncated) = body.truncated {
            put("truncated", json!(truncated));
        }
        if let Some(written) = &self.written {
            put("written", written.fields.clone());
        }
        if self.limits.structured_copy {
            put("text", json!(text));
        }
        if !counts.is_empty() {
            counts.truncate(REDACTIONS);
            put("redactions", json!(counts));
        }
        if !body.warnings.is_empty() {
            put("warnings", json!(body.warnings));
        }
        if let Some(next) = body.next {
            put("next", json!(next));
        }
        Answer {
            text,
            structured: Value::Object(fields),
            images: Vec::new(),
            is_error: false,
        }
    }
}

/// What the structured content says of the data.
#[derive(Default)]
struct Body {
    columns: Vec<Value>,
    row_count: Option<u64>,
    truncated: Option<bool>,
    warnings: Vec<String>,
    next: Option<String>,
}

/// `3 of 3`, `101 to 200 of 10000 kept (the query has more)`.
fn row_words(page: &Page, shown: u64, more_unkept: bool) -> String {
    let end = page.offset.saturating_add(shown);
    let range = match (page.offset, shown) {
        (0, _) | (_, 0) => shown.to_string(),
        (offset, _) => format!("{} to {end}", offset.saturating_add(1)),
    };
    let all = page.kept_rows.max(end);
    if more_unkept {
        format!("{range} of {all} kept (the query has more)")
    } else {
        format!("{range} of {all}")
    }
}
