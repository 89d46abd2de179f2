//! What a server's status means, as our error.

use std::time::Duration;

use tonic::{Code as Grpc, Status};

use crate::model::{Code, Details, Error, Retry};

/// Nothing listens there.
pub(super) fn connect(e: tonic::transport::Error) -> Error {
    Error::new(
        Code::PlatformUnavailable,
        "the Spark Connect server does not answer",
    )
    .hint("Run `sparklease doctor` to see what is wrong.")
    .retry(Retry::Now)
    .source_error(e)
}

/// A short call had no answer in its time.
pub(super) fn silent(what: &str, waited: Duration) -> Error {
    Error::new(
        Code::PlatformUnavailable,
        format!(
            "the engine did not answer a {what} call within {} s",
            waited.as_secs()
        ),
    )
    .hint("Try again; if it stays so, close the session and open a new one.")
    .retry(Retry::Now)
}

/// Whether the wire broke rather than the operation.
pub(super) fn is_transport(status: &Status) -> bool {
    // What the server says comes without a source; what has one was made here, when reading or writing failed.
    std::error::Error::source(status).is_some()
        || matches!(status.code(), Grpc::Unavailable | Grpc::DeadlineExceeded)
        || (status.code() == Grpc::Unknown && status.message().contains("transport error"))
        || (status.code() == Grpc::Internal && status.message().contains("h2 protocol error"))
}

/// The failure of an operation; `sql` is the user's text, to say where in it.
pub(super) fn from_status(status: &Status, sql: Option<&str>) -> Error {
    if is_transport(status) {
        return Error::new(
            Code::PlatformUnavailable,
            "the connection to the engine broke",
        )
        .hint("Call the tool again; a new session is opened when the old one is gone.")
        .retry(Retry::Now)
        .with("status", status);
    }
    let message = status.message();
    let place = sql.and_then(|sql| place(message, sql));
    let details = Details {
        error_class: error_class(message),
        line: place.map(|p| p.0),
        column: place.map(|p| p.1),
        ..Details::default()
    };
    let hint = match (&details.error_class, place) {
        (Some(class), _) if class.contains("TABLE_OR_VIEW_NOT_FOUND") => {
            "Check the name with query_sql(sql=\"show tables\"), or pass a local file by the files argument."
                .to_owned()
        }
        (_, Some((line, column))) => {
            format!("Correct the SQL at line {line}, column {column} and call the tool again.")
        }
        _ => "Correct the statement and call the tool again.".to_owned(),
    };
    Error::new(Code::StatementFailed, first_words(message))
        .hint(hint)
        .details(details)
}

/// `[SOME_CLASS.SUB]` or `[SOME_CLASS]` anywhere in the text.
fn error_class(message: &str) -> Option<String> {
    message.match_indices('[').find_map(|(start, _)| {
        let rest = message.get(start + 1..)?;
        let class = rest.get(..rest.find(']')?)?;
        let fits = class.len() > 3
            && class.contains('_')
            && class
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '_' | '.'));
        fits.then(|| class.to_owned())
    })
}

/// Line and column of Sail's `found X at 12:15 expected …`, where the numbers count bytes of the text.
fn place(message: &str, sql: &str) -> Option<(u32, u32)> {
    let after = message.split(" at ").skip(1).find_map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        part.get(digits.len()..)?.starts_with(':').then_some(digits)
    })?;
    let mut offset = after.parse::<usize>().ok()?.min(sql.len());
    while !sql.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = sql.get(..offset)?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next()?.chars().count() + 1;
    Some((u32::try_from(line).ok()?, u32::try_from(column).ok()?))
}

/// The longest message that is passed on, in characters: Sail lists every token that it would have accepted.
const MESSAGE_CHARS: usize = 2_000;

fn first_words(message: &str) -> String {
    let message = message.trim();
    match message.char_indices().nth(MESSAGE_CHARS) {
        Some((end, _)) => format!(
            "{}… ({} more characters)",
            message.get(..end).unwrap_or_default(),
            message.chars().count() - MESSAGE_CHARS
        ),
        None if message.is_empty() => "the engine failed without a message".to_owned(),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_names_line_and_column() {
        let status =
            Status::invalid_argument("invalid argument: found selec at 10:15 expected 'x'");
        let error = from_status(&status, Some("select 1\n selec"));
        let details = error.details_ref().unwrap();
        assert_eq!((details.line, details.column), (Some(2), Some(2)));
    }

    #[test]
    fn the_engine_s_error_class_is_read_from_its_text() {
        let status = Status::internal("analysis error: [TABLE_OR_VIEW_NOT_FOUND] no [x] there");
        let error = from_status(&status, None);
        assert_eq!(
            error.details_ref().unwrap().error_class.as_deref(),
            Some("TABLE_OR_VIEW_NOT_FOUND")
        );
        assert_eq!(error.code(), Code::StatementFailed);
    }

    #[test]
    fn a_broken_wire_is_not_the_statement_s_fault() {
        let error = from_status(&Status::unavailable("gone"), Some("select 1"));
        assert_eq!(error.code(), Code::PlatformUnavailable);
    }
}
