//! The answers of a Livy server as they are written, and its state words in ours. Every field is optional: servers
//! differ, and early answers are incomplete. A word that is not known is an error, never a default.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::model::{Code, Error, Result};

/// A session.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct SessionBody {
    #[serde(default)]
    id: Option<Id>,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) state: Option<String>,
    #[serde(default)]
    log: Option<Vec<String>>,
}

/// A number or a text, by server.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u64),
    Text(String),
}

/// A page of sessions.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct SessionsBody {
    #[serde(default)]
    pub(super) total: Option<u64>,
    #[serde(default)]
    pub(super) sessions: Option<Vec<SessionBody>>,
}

/// A statement.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct StatementBody {
    #[serde(default)]
    id: Option<Id>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    pub(super) output: Option<Output>,
    #[serde(default)]
    pub(super) progress: Option<f64>,
}

/// What a statement gave.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Output {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    data: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    ename: Option<String>,
    #[serde(default)]
    evalue: Option<String>,
}

/// `GET …/log`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct LogBody {
    #[serde(default)]
    pub(super) log: Option<Vec<String>>,
}

/// `GET /version`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct VersionBody {
    #[serde(default)]
    pub(super) version: Option<String>,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionState {
    Starting,
    Ready,
    Busy,
    Closing,
    /// It has ended by somebody's wish.
    Closed,
    /// It has ended by itself.
    Failed,
}

impl SessionState {
    /// Whether it is over: nothing runs in it, and nothing is paid for.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Failed)
    }
}

/// Where a statement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatementState {
    Waiting,
    Running,
    Cancelling,
    Available,
    Cancelled,
}

impl SessionBody {
    /// The server's id.
    pub(super) fn id(&self) -> Option<String> {
        self.id.as_ref().map(Id::text)
    }

    /// Where it stands; `None` where the server does not say.
    ///
    /// # Errors
    /// `platform_unavailable` for a word that is not known.
    pub(super) fn state(&self) -> Result<Option<SessionState>> {
        let Some(word) = &self.state else {
            return Ok(None);
        };
        Ok(Some(match word.to_ascii_lowercase().as_str() {
            "not_started" | "starting" | "recovering" => SessionState::Starting,
            "idle" => SessionState::Ready,
            "busy" | "running" => SessionState::Busy,
            "shutting_down" => SessionState::Closing,
            "killed" | "success" => SessionState::Closed,
            "dead" | "error" => SessionState::Failed,
            _ => return Err(unknown("session", word)),
        }))
    }

    /// The last lines of its log that say something, oldest first.
    pub(super) fn last_lines(&self, most: usize) -> Vec<String> {
        tail(self.log.as_deref().unwrap_or_default(), most)
    }
}

impl StatementBody {
    /// Its number within the session.
    pub(super) fn id(&self) -> Option<String> {
        self.id.as_ref().map(Id::text)
    }

    /// Where it stands.
    ///
    /// # Errors
    /// `platform_unavailable` for a word that is missing or not known.
    pub(super) fn state(&self) -> Result<StatementState> {
        let word = self.state.as_deref().unwrap_or("(none)");
        Ok(match word.to_ascii_lowercase().as_str() {
            "waiting" => StatementState::Waiting,
            "running" => StatementState::Running,
            "cancelling" => StatementState::Cancelling,
            // Finished: whether it failed stands in its output. Apache Livy has no state `error`.
            "available" | "error" => StatementState::Available,
            "cancelled" => StatementState::Cancelled,
            _ => return Err(unknown("statement", word)),
        })
    }
}

impl Output {
    /// The printed text of code that did not fail.
    pub(super) fn text(&self) -> Option<&str> {
        if self.status.as_deref() != Some("ok") {
            return None;
        }
        self.data.as_ref()?.get("text/plain")?.as_str()
    }

    /// Class and text of a failure that is the server's word or the REPL's, since our own code catches everything.
    pub(super) fn failure(&self) -> Option<(&str, &str)> {
        if self.status.as_deref() != Some("error") {
            return None;
        }
        Some((
            self.ename.as_deref().unwrap_or_default(),
            self.evalue.as_deref().unwrap_or_default(),
        ))
    }
}

impl Id {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// The last lines that say something.
pub(super) fn tail(lines: &[String], most: usize) -> Vec<String> {
    let said = |line: &&String| !matches!(line.trim(), "" | "stdout:" | "stderr:");
    let mut found: Vec<String> = lines
        .iter()
        .rev()
        .filter(said)
        .take(most)
        .map(|line| line.trim().to_owned())
        .collect();
    found.reverse();
    found
}

fn unknown(what: &str, word: &str) -> Error {
    let word: String = word.chars().take(40).collect();
    Error::new(
        Code::PlatformUnavailable,
        format!("the server says that the {what} is {word:?}, a state that is not known"),
    )
    .hint("Run `sparklease doctor`: the server may be of a version that is not supported.")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("not_started", SessionState::Starting)]
    #[case("starting", SessionState::Starting)]
    #[case("recovering", SessionState::Starting)]
    #[case("idle", SessionState::Ready)]
    #[case("Idle", SessionState::Ready)]
    #[case("busy", SessionState::Busy)]
    #[case("running", SessionState::Busy)]
    #[case("shutting_down", SessionState::Closing)]
    #[case("dead", SessionState::Failed)]
    #[case("error", SessionState::Failed)]
    #[case("killed", SessionState::Closed)]
    #[case("success", SessionState::Closed)]
    fn every_word_of_a_session_is_one_of_ours(#[case] word: &str, #[case] state: SessionState) {
        let body: SessionBody = serde_json::from_value(json!({"state": word})).unwrap();
        assert_eq!(body.state().unwrap(), Some(state));
    }

    #[test]
    fn an_unknown_word_is_an_error_and_a_missing_one_is_not_yet_one() {
        let body: SessionBody = serde_json::from_value(json!({"state": "dreaming"})).unwrap();
        assert_eq!(
            body.state().unwrap_err().message(),
            "the server says that the session is \"dreaming\", a state that is not known"
        );
        let body: SessionBody = serde_json::from_value(json!({})).unwrap();
        assert_eq!(body.state().unwrap(), None);
        let body: StatementBody = serde_json::from_value(json!({"state": "x"})).unwrap();
        assert!(body.state().is_err());
        assert!(StatementBody::default().state().is_err());
    }

    #[test]
    fn nulls_and_unknown_fields_are_taken() {
        let body: SessionBody = serde_json::from_value(json!({
            "id": 4, "name": null, "state": null, "log": null, "appInfo": {"x": []}
        }))
        .unwrap();
        assert_eq!((body.id().as_deref(), body.name), (Some("4"), None));
        let body: StatementBody = serde_json::from_value(json!({
            "id": "7", "output": {"status": "ok", "data": {"image/png": "x"}}, "progress": null
        }))
        .unwrap();
        assert_eq!(body.id().as_deref(), Some("7"));
        assert_eq!(body.output.unwrap().text(), None);
    }

    #[test]
    fn the_log_s_tail_leaves_out_its_headings() {
        let lines = ["stdout: ", "a", "\nstderr: ", "", "b"].map(str::to_owned);
        assert_eq!(tail(&lines, 5), ["a", "b"]);
        assert_eq!(tail(&lines, 1), ["b"]);
    }
}
