//! A tool's answer, and what an assistant takes from it.

use std::time::Duration;

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Map, Value, json};

/// What a call gave.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The text content.
    pub(crate) text: String,
    /// The structured content.
    pub(crate) structured: Value,
    /// It is a failure.
    pub(crate) is_error: bool,
    /// Images, as base64 with their type.
    pub(crate) images: Vec<(String, String)>,
    /// From the call to the answer.
    pub(crate) took: Duration,
}

impl Answer {
    pub(super) fn new(result: CallToolResult, took: Duration) -> Self {
        let mut text = Vec::new();
        let mut images = Vec::new();
        for block in result.content {
            match block {
                ContentBlock::Text(block) => text.push(block.text),
                ContentBlock::Image(image) => images.push((image.mime_type, image.data)),
                other => panic!("no tool answers with {other:?}"),
            }
        }
        assert_eq!(text.len(), 1, "an answer has one text: {text:?}");
        Self {
            text: text.remove(0),
            structured: result.structured_content.expect("every answer has it"),
            is_error: result.is_error.unwrap_or(false),
            images,
            took,
        }
    }

    fn field(&self, name: &str) -> &str {
        self.structured[name].as_str().unwrap_or_default()
    }

    /// This answer, which is no failure.
    pub(crate) fn ok(self) -> Self {
        assert!(!self.is_error, "{}", self.text);
        self
    }

    /// This answer, which is a failure with this code, in text and structured content alike.
    pub(crate) fn failed(self, code: &str) -> Self {
        assert!(self.is_error, "not an error: {}", self.text);
        assert_eq!(self.field("code"), code, "{}", self.text);
        assert!(self.text.starts_with(code), "{}", self.text);
        self
    }

    pub(crate) fn status(&self) -> &str {
        self.field("status")
    }

    pub(crate) fn message(&self) -> &str {
        self.field("message")
    }

    pub(crate) fn hint(&self) -> &str {
        self.field("hint")
    }

    pub(crate) fn statement(&self) -> &str {
        self.field("statement")
    }

    /// The literal call that goes on, if there is one.
    pub(crate) fn next(&self) -> Option<&str> {
        self.structured["next"].as_str()
    }

    /// The random mark that fences this answer's data.
    fn mark(&self) -> Option<&str> {
        let line = self.text.lines().find(|l| l.starts_with("--- end "))?;
        line.strip_prefix("--- end ")?.strip_suffix(" ---")
    }

    /// The data under a label (`rows`, `output`, `value`, `error`, `traceback`, `warnings`), without its fence.
    pub(crate) fn data(&self, label: &str) -> Option<&str> {
        let mark = self.mark()?;
        let open = format!("--- {label} {mark} ---\n");
        let (_, rest) = self.text.split_once(&open)?;
        let end = rest
            .match_indices("--- ")
            .find(|(at, _)| {
                let line = rest[*at..].lines().next().unwrap_or_default();
                line.ends_with(&format!(" {mark} ---"))
            })
            .map(|(at, _)| at)?;
        Some(&rest[..end])
    }

    /// The rows of a CSV answer, without the line of names.
    pub(crate) fn csv(&self) -> Vec<Vec<String>> {
        let body = self
            .data("rows")
            .unwrap_or_else(|| panic!("no rows: {}", self.text));
        csv::Reader::from_reader(body.as_bytes())
            .records()
            .map(|record| record.unwrap().iter().map(str::to_owned).collect())
            .collect()
    }

    /// The one cell of an answer that has one row and one column.
    pub(crate) fn cell(&self) -> String {
        let rows = self.csv();
        assert!(rows.len() == 1 && rows[0].len() == 1, "{rows:?}");
        rows[0][0].clone()
    }

    /// The text without what is different each time: marks, ids, seconds and the test's own folder.
    pub(crate) fn stable_text(&self, home: &std::path::Path) -> String {
        let mut text = self.text.clone();
        if let Some(mark) = self.mark() {
            text = text.replace(mark, "MARK");
        }
        for (field, word) in [("statement", "STATEMENT"), ("error_id", "ERROR")] {
            let value = self.field(field);
            if !value.is_empty() {
                text = text.replace(value, word);
            }
        }
        text = text.replace(home.to_str().unwrap(), "HOME");
        let mut out = String::new();
        let mut words = text.split_inclusive(' ').peekable();
        while let Some(word) = words.next() {
            let number = word.trim_end().parse::<f64>().is_ok();
            let seconds = words
                .peek()
                .is_some_and(|next| next.trim_end_matches(['\n', ' ', ':']) == "s");
            out.push_str(if number && seconds { "N " } else { word });
        }
        out
    }
}

/// The tool and the arguments of a literal call such as `get_statement(statement="st_1", cursor="100", max_rows=5)`.
pub(crate) fn arguments_of(call: &str) -> (String, Value) {
    let (tool, rest) = call.split_once('(').expect("a call has arguments");
    let rest = rest
        .strip_suffix(')')
        .expect("a call ends with a parenthesis");
    let arguments: Map<String, Value> = rest
        .split(", ")
        .map(|pair| {
            let (name, value) = pair.split_once('=').expect("name=value");
            (name.to_owned(), serde_json::from_str(value).unwrap())
        })
        .collect();
    (tool.to_owned(), json!(arguments))
}
