//! The one framed record with which the harness answers, and what it becomes in our words.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::Value;

use crate::model::{Batch, Code, Column, Details, Error, Event, Image, Result};

/// How a cell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It ran to its end.
    Ok,
    /// It raised.
    Error,
    /// It was interrupted.
    Cancelled,
}

/// The harness's answer. An answer without the statement's own nonce is not ours.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope {
    nonce: String,
    /// How the cell ended.
    pub status: Status,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    tables: Vec<Table>,
    #[serde(default)]
    figures: Vec<Figure>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    error: Option<Failure>,
}

#[derive(Debug, Deserialize)]
struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Debug, Deserialize)]
struct Figure {
    mime: String,
    data: String,
}

#[derive(Debug, Deserialize)]
struct Failure {
    class: String,
    message: String,
    #[serde(default)]
    error_class: Option<String>,
    #[serde(default)]
    sqlstate: Option<String>,
    #[serde(default)]
    line: Option<u32>,
    #[serde(default)]
    column: Option<u32>,
    #[serde(default)]
    traceback: Option<String>,
}

impl Envelope {
    /// Reads one line of the control channel: `Ok(None)` when it is not an envelope of this nonce.
    ///
    /// # Errors
    /// `internal` for a line that has the sentinels but no valid record between them.
    pub(crate) fn parse(line: &str, nonce: &str) -> Result<Option<Self>> {
        let open = format!("<<sparklease:{nonce}>>");
        let close = format!("<<sparklease:{nonce}/>>");
        let Some(inner) = line
            .trim_end()
            .strip_prefix(&open)
            .and_then(|rest| rest.strip_suffix(&close))
        else {
            return Ok(None);
        };
        let envelope: Self = serde_json::from_str(inner)
            .map_err(|e| Error::internal("the worker's answer cannot be read").source_error(e))?;
        Ok((envelope.nonce == nonce).then_some(envelope))
    }

    /// What the cell gave, as events; the error, where it failed.
    pub(crate) fn into_events(self) -> (Vec<Event>, Option<Error>) {
        let mut events: Vec<Event> = self.warnings.into_iter().map(Event::Warning).collect();
        for table in self.tables {
            events.push(Event::Table(Batch {
                columns: Arc::from(table.columns),
                rows: table.rows,
                truncated: table.truncated,
            }));
        }
        events.extend(self.text.map(Event::Value));
        for figure in self.figures {
            match BASE64.decode(figure.data.as_bytes()) {
                Ok(bytes) => events.push(Event::Image(Image {
                    mime: figure.mime,
                    bytes: bytes.into(),
                })),
                Err(_) => events.push(Event::Warning(
                    "a figure could not be read and is left out".to_owned(),
                )),
            }
        }
        (events, self.error.map(Failure::into_error))
    }
}

impl Failure {
    fn into_error(self) -> Error {
        let message = if self.message.is_empty() {
            self.class.clone()
        } else {
            format!("{}: {}", self.class, self.message)
        };
        let hint = match self.line {
            Some(line) => format!("Correct the code at line {line} and call run_pyspark again."),
            None => "Correct the code and call run_pyspark again.".to_owned(),
        };
        Error::new(Code::StatementFailed, message)
            .hint(hint)
            .details(Details {
                error_class: Some(self.error_class.unwrap_or(self.class)),
                sqlstate: self.sqlstate,
                line: self.line,
                column: self.column,
                traceback: self.traceback.filter(|t| !t.is_empty()),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_of_another_nonce_is_not_believed() {
        let forged = r#"<<sparklease:aa>>{"nonce":"aa","status":"ok"}<<sparklease:aa/>>"#;
        assert!(Envelope::parse(forged, "bb").unwrap().is_none());
        let inner = r#"<<sparklease:bb>>{"nonce":"aa","status":"ok"}<<sparklease:bb/>>"#;
        assert!(Envelope::parse(inner, "bb").unwrap().is_none());
        assert!(Envelope::parse("{}", "bb").unwrap().is_none());
    }

    #[test]
    fn a_record_that_cannot_be_read_is_an_error() {
        let broken = "<<sparklease:bb>>{<<sparklease:bb/>>";
        assert_eq!(
            Envelope::parse(broken, "bb").unwrap_err().code(),
            Code::Internal
        );
    }
}
