//! The one framed record with which the harness answers, and what it becomes in our words.

use std::io::Read;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::ZlibDecoder;
use serde::Deserialize;
use serde_json::Value;

use crate::model::{Batch, Code, Column, Details, Error, Event, Image, Result, Stream};

/// The most that a packed answer may unpack to, in bytes: four times the largest `limits.bytes`, since names, figures
/// and escapes come on top. More is no answer of the harness.
const UNPACKED_MOST: u64 = 256 << 20;

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
    /// What it printed, where no pipe of ours carries it.
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
    #[serde(default)]
    error: Option<Failure>,
    /// Why the session cannot be used any more.
    #[serde(default)]
    pub lost: Option<String>,
    /// What the harness found when it was installed.
    #[serde(default)]
    pub about: Option<About>,
    /// What a question of our own was answered.
    #[serde(default)]
    pub answer: Option<Value>,
}

/// A session's own words about itself.
#[derive(Debug, Deserialize)]
pub(crate) struct About {
    /// The version of its Python.
    pub python: String,
    /// The version of its Spark, where it has one.
    pub spark: Option<String>,
}

/// What the user wrote, for the words of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// Python.
    Python,
    /// One SQL statement.
    Sql,
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
        Self::read(inner, nonce)
    }

    /// Looks for an envelope of this nonce in a text that may hold more: `Ok(None)` when there is none.
    ///
    /// # Errors
    /// As [`Envelope::parse`].
    pub(crate) fn find(text: &str, nonce: &str) -> Result<Option<Self>> {
        let open = format!("<<sparklease:{nonce}>>");
        let close = format!("<<sparklease:{nonce}/>>");
        let inner = text
            .split_once(&open)
            .and_then(|(_, rest)| rest.split_once(&close));
        match inner {
            Some((inner, _)) => Self::read(inner, nonce),
            None => Ok(None),
        }
    }

    fn read(inner: &str, nonce: &str) -> Result<Option<Self>> {
        let envelope: Self = match inner.strip_prefix("z:") {
            None => serde_json::from_str(inner).map_err(unreadable)?,
            Some(packed) => {
                let packed = BASE64.decode(packed).map_err(unreadable)?;
                let mut text = Vec::new();
                ZlibDecoder::new(packed.as_slice())
                    .take(UNPACKED_MOST)
                    .read_to_end(&mut text)
                    .map_err(unreadable)?;
                serde_json::from_slice(&text).map_err(unreadable)?
            }
        };
        Ok((envelope.nonce == nonce).then_some(envelope))
    }

    /// What the statement gave, as events; the error, where it failed.
    pub(crate) fn into_events(self, language: Language) -> (Vec<Event>, Option<Error>) {
        let mut events = Vec::new();
        for (stream, text) in [(Stream::Stdout, self.stdout), (Stream::Stderr, self.stderr)] {
            if !text.is_empty() {
                events.push(Event::Text { stream, text });
            }
        }
        events.extend(self.warnings.into_iter().map(Event::Warning));
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
        let error = self.error.map(|failure| match language {
            Language::Python => failure.into_python_error(),
            Language::Sql => failure.into_sql_error(),
        });
        (events, error)
    }
}

/// The harness's description of a failure that came as an answer of its own, as an error of the user's SQL.
pub(crate) fn sql_error(described: &Value) -> Error {
    match Failure::deserialize(described) {
        Ok(failure) => failure.into_sql_error(),
        Err(e) => unreadable(e),
    }
}

fn unreadable(e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("the session's answer cannot be read").source_error(e)
}

impl Failure {
    /// Without Python's words: the user wrote none.
    fn into_sql_error(self) -> Error {
        // Spark shows its plan, or the text itself, behind the message.
        let message = [";\n'", "\n\n== SQL"]
            .iter()
            .fold(self.message.trim(), |text, end| {
                text.split_once(end).map_or(text, |(message, _)| message)
            });
        let place = place(message);
        let hint = match (&self.error_class, place) {
            (Some(class), _) if class.contains("TABLE_OR_VIEW_NOT_FOUND") => {
                "Check the name with query_sql(sql=\"show tables\").".to_owned()
            }
            (_, Some((line, column))) => {
                format!("Correct the SQL at line {line}, column {column} and call the tool again.")
            }
            _ => "Correct the statement and call the tool again.".to_owned(),
        };
        let message = match message {
            "" => self.class.clone(),
            text => text.to_owned(),
        };
        Error::new(Code::StatementFailed, message)
            .hint(hint)
            .details(Details {
                error_class: self.error_class,
                sqlstate: self.sqlstate,
                line: place.map(|place| place.0),
                column: place.map(|place| place.1),
                traceback: None,
            })
    }

    fn into_python_error(self) -> Error {
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

/// Line and column, from 1, of Spark's `(line 2, pos 7)` or `line 2 pos 7`, where positions count from 0.
fn place(message: &str) -> Option<(u32, u32)> {
    message.match_indices("line ").find_map(|(at, word)| {
        let rest = message.get(at + word.len()..)?;
        let (line, rest) = number(rest)?;
        let rest = rest.strip_prefix(',').unwrap_or(rest);
        let (position, _) = number(rest.strip_prefix(" pos ")?)?;
        Some((line, position.checked_add(1)?))
    })
}

fn number(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at_checked(digits)?;
    Some((digits.parse().ok()?, rest))
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

    #[test]
    fn an_envelope_is_found_among_other_text_and_unpacked() {
        use std::io::Write;

        let json = r#"{"nonce":"bb","status":"ok","stdout":"hello"}"#;
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(json.as_bytes()).unwrap();
        let packed = BASE64.encode(packed.finish().unwrap());
        for inner in [json.to_owned(), format!("z:{packed}")] {
            let text = format!("stray\n<<sparklease:bb>>{inner}<<sparklease:bb/>>\nmore");
            let found = Envelope::find(&text, "bb").unwrap().unwrap();
            assert_eq!(found.stdout, "hello");
            assert!(Envelope::find(&text, "aa").unwrap().is_none());
        }
        let broken = "<<sparklease:bb>>z:eJw<<sparklease:bb/>>";
        assert_eq!(
            Envelope::find(broken, "bb").unwrap_err().code(),
            Code::Internal
        );
    }

    #[test]
    fn spark_s_place_in_the_sql_is_read_from_both_of_its_spellings() {
        assert_eq!(place("Syntax error at 'x'. (line 2, pos 7)"), Some((2, 8)));
        assert_eq!(place("cannot be found; line 1 pos 14"), Some((1, 15)));
        assert_eq!(place("line of thought"), None);
    }

    #[test]
    fn an_sql_error_has_no_word_of_python_and_no_plan() {
        let text = r#"{"nonce":"n","status":"error","error":{"class":"AnalysisException","message":"[TABLE_OR_VIEW_NOT_FOUND] no x; line 1 pos 14;\n'Project [*]","error_class":"TABLE_OR_VIEW_NOT_FOUND","traceback":"AnalysisException"}}"#;
        let line = format!("<<sparklease:n>>{text}<<sparklease:n/>>");
        let envelope = Envelope::parse(&line, "n").unwrap().unwrap();
        let error = envelope.into_events(Language::Sql).1.unwrap();
        assert_eq!(
            error.message(),
            "[TABLE_OR_VIEW_NOT_FOUND] no x; line 1 pos 14"
        );
        let details = error.details_ref().unwrap();
        assert_eq!((details.line, details.column), (Some(1), Some(15)));
        assert_eq!(details.traceback, None);
    }
}
