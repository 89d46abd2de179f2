//! Sessions as their owner sees them.

use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::clean;
use super::limit::{Limits, shortened};
use super::redact::Redactor;
use crate::model::{SessionInfo, SessionPhase};

/// The longest name or reason, in characters.
const WORDS_CHARS: usize = 300;

/// One session.
pub(super) fn one(redactor: &Redactor, info: &SessionInfo) -> Answer {
    let (line, structured) = rendered(redactor, info);
    Answer {
        text: line,
        structured,
        images: Vec::new(),
        is_error: false,
    }
}

/// All sessions of an owner, as many as fit.
pub(super) fn many(redactor: &Redactor, limits: &Limits, infos: &[SessionInfo]) -> Answer {
    let mut text = String::new();
    let mut list = Vec::new();
    // Braces, and the words on what is left out.
    let mut spent = 256;
    for info in infos {
        let (line, session) = rendered(redactor, info);
        spent += line.len() + session.to_string().len() + 1;
        if spent > limits.bytes() {
            break;
        }
        text.push_str(&line);
        list.push(session);
    }
    let left_out = infos.len() - list.len();
    let mut fields = Map::new();
    fields.insert("sessions".to_owned(), Value::Array(list));
    if infos.is_empty() {
        text.push_str("no sessions\n");
    }
    if left_out > 0 {
        let words = format!(
            "{left_out} more sessions are left out: list_sessions(target=\"…\") lists those of one target"
        );
        text.push_str(&format!("{words}\n"));
        fields.insert("next".to_owned(), json!(words));
    }
    Answer {
        text,
        structured: Value::Object(fields),
        images: Vec::new(),
        is_error: false,
    }
}

/// A line for people, and an object.
fn rendered(redactor: &Redactor, info: &SessionInfo) -> (String, Value) {
    let words = |text: &str| {
        shortened(
            redactor.redact(text).map(clean::line).into_string(),
            WORDS_CHARS,
        )
    };
    let name = info.name.as_ref().map(|name| words(name.as_str()));
    let target = words(info.target.as_str());
    let state = match info.phase {
        SessionPhase::Opening => "opening",
        SessionPhase::Free => "free",
        SessionPhase::Busy => "busy",
        SessionPhase::Closing => "closing",
        SessionPhase::Closed => "closed",
        SessionPhase::Lost => "lost",
    };
    let opened_s = info.opened_for.as_secs();
    let idle_s = info.idle_for.as_secs();
    let cost_s = info.cost_for.as_secs();
    let reason = info.reason.as_deref().map(words);

    let mut line = format!(
        "{} on {target}: {state}, opened {opened_s} s ago, idle for {idle_s} s, {cost_s} s paid, {} statements",
        name.as_deref().unwrap_or("(unnamed)"),
        info.statements,
    );
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    put("session", json!(name));
    put("target", json!(target));
    put("state", json!(state));
    put("opened_s", json!(opened_s));
    put("idle_s", json!(idle_s));
    put("cost_s", json!(cost_s));
    put("statements", json!(info.statements));
    if let Some(reason) = reason {
        line.push_str(&format!(" ({reason})"));
        put("reason", json!(reason));
    }
    line.push('\n');
    (line, Value::Object(fields))
}
