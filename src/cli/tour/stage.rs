//! How the tour looks: a heading for each step, the call, the answer as an assistant gets it, shortened.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cli::{Output, words};
use crate::mcp::Called;
use crate::model::Result;

/// Lines of an answer that are shown: a first page of rows with its frame.
const LINES: usize = 16;

/// Characters of a line that are shown.
const WIDTH: usize = 110;

/// Where the tour is shown, and what it has shown so far.
pub(super) struct Stage<'a> {
    output: &'a Output,
    step: usize,
    steps: Vec<Value>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        Self {
            output,
            step: 0,
            steps: Vec::new(),
        }
    }

    /// A line between steps.
    pub(super) fn say(&self, text: &str) -> Result<()> {
        if self.output.is_json() {
            return Ok(());
        }
        self.output.text(text)
    }

    /// The next step.
    pub(super) fn heading(&mut self, title: &str) -> Result<()> {
        self.step += 1;
        if self.output.is_json() {
            return Ok(());
        }
        self.output.text("\n")?;
        self.output.heading(&format!("{}. {title}", self.step))
    }

    /// A call and its answer.
    pub(super) fn called(
        &mut self,
        tool: &str,
        arguments: &Map<String, Value>,
        answer: &Called,
        took: Duration,
    ) -> Result<()> {
        self.steps.push(json!({
            "step": self.step,
            "tool": tool,
            "arguments": arguments,
            "is_error": answer.is_error,
            "text": answer.text,
            "elapsed_s": (took.as_secs_f64() * 1000.0).round() / 1000.0,
        }));
        self.say(&format!("-> {tool}{}", call(arguments)))?;
        self.say(&format!("<- in {}", words::took(took)))?;
        self.say(&shortened(&answer.text))
    }

    /// Everything that was called, for `--json`.
    pub(super) fn steps(self) -> Vec<Value> {
        self.steps
    }
}

/// The arguments, one line each; code keeps its lines.
fn call(arguments: &Map<String, Value>) -> String {
    let mut text = String::new();
    for (name, value) in arguments {
        let value = match value {
            Value::String(value) => value.clone(),
            other => other.to_string(),
        };
        let indent = format!("\n     {}", " ".repeat(name.len() + 2));
        text += &format!("\n     {name}: {}", value.trim_end().replace('\n', &indent));
    }
    text
}

/// The first lines, and how many there are besides.
fn shortened(text: &str) -> String {
    let all: Vec<&str> = text.lines().collect();
    // One line more takes the room that naming it would.
    let shown = if all.len() > LINES + 1 {
        LINES
    } else {
        all.len()
    };
    let mut lines: Vec<String> = all
        .iter()
        .take(shown)
        .map(|line| {
            let cut: String = line.chars().take(WIDTH).collect();
            let mark = if cut.len() < line.len() { " …" } else { "" };
            format!("   | {cut}{mark}")
        })
        .collect();
    if all.len() > shown {
        lines.push(format!("   | … {} more lines", all.len() - shown));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_shows_code_as_it_is_written() {
        let arguments = json!({ "code": "a = 1\na\n", "wait_s": 1 });
        assert_eq!(
            call(arguments.as_object().unwrap()),
            "\n     code: a = 1\n           a\n     wait_s: 1"
        );
    }

    #[test]
    fn an_answer_is_cut_by_lines_and_by_width() {
        assert_eq!(shortened("a\nb"), "   | a\n   | b");
        let long = "é".repeat(WIDTH + 1);
        assert_eq!(shortened(&long), format!("   | {} …", "é".repeat(WIDTH)));
        let many = "x\n".repeat(40);
        assert_eq!(shortened(&many).lines().count(), LINES + 1);
        assert!(shortened(&many).ends_with("   | … 24 more lines"));
        assert_eq!(
            shortened(&"x\n".repeat(LINES + 1)).lines().count(),
            LINES + 1
        );
    }
}
