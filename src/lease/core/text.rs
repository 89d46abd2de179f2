//! What callers read when they get no session. Each hint holds the literal next call.

use std::fmt::Write as _;
use std::time::Duration;

use crate::model::{Code, Error, Retry, SessionName, TargetName};

/// A queue is full because statements take their time; asking more often than this only adds calls.
const FULL_QUEUE_RETRY: Duration = Duration::from_secs(5);

/// How the sessions of a target are used, for the error that says there is none left.
#[derive(Debug, Default)]
pub(super) struct Usage<'a> {
    pub limit: usize,
    pub busy: usize,
    pub opening: usize,
    pub closing: usize,
    pub free: usize,
    /// The caller's own named sessions there, free ones first.
    pub own_names: Vec<&'a SessionName>,
}

/// The literal call that opens a session.
fn open_call(name: &SessionName, target: Option<&TargetName>) -> String {
    match target {
        Some(target) => format!("open_session(name=\"{name}\", target=\"{target}\")"),
        None => format!("open_session(name=\"{name}\")"),
    }
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a SessionName>) -> String {
    let names: Vec<String> = names.into_iter().map(|n| format!("\"{n}\"")).collect();
    names.join(", ")
}

/// Why a session went that its owner closed.
pub(super) const CLOSED: &str = "closed by close_session";

/// A duration as people write it, in whole seconds.
pub(super) fn span(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

pub(super) fn no_such_session(
    name: &SessionName,
    known: &[&SessionName],
    target: Option<&TargetName>,
) -> Error {
    let known = if known.is_empty() {
        "you have no named session".to_owned()
    } else {
        format!("your sessions are {}", quoted(known.iter().copied()))
    };
    Error::new(
        Code::NotFound,
        format!("no session is named \"{name}\"; {known}"),
    )
    .hint(format!("Call {} to open it.", open_call(name, target)))
}

pub(super) fn nothing_to_close(name: &SessionName, known: &[&SessionName]) -> Error {
    let error = no_such_session(name, known, None);
    match known.first() {
        Some(first) => error.hint(format!(
            "Call close_session(session=\"{first}\") if you meant that one."
        )),
        None => error.hint("Call list_sessions() to see what is open."),
    }
}

pub(super) fn session_lost(name: &SessionName, reason: &str, target: Option<&TargetName>) -> Error {
    Error::new(
        Code::SessionLost,
        format!("session \"{name}\" is gone: {reason}"),
    )
    .hint(format!(
        "Call {} to start it anew; its variables and temp views are gone.",
        open_call(name, target)
    ))
}

pub(super) fn unknown_target<'a>(
    target: &TargetName,
    known: impl Iterator<Item = &'a TargetName>,
) -> Error {
    let known: Vec<String> = known.map(|t| format!("target=\"{t}\"")).collect();
    Error::new(Code::NotFound, format!("no target is named \"{target}\""))
        .hint(format!("Call again with {}.", known.join(" or ")))
}

pub(super) fn other_target(name: &SessionName, theirs: &TargetName, asked: &TargetName) -> Error {
    Error::new(
        Code::InvalidArgument,
        format!("session \"{name}\" is on target \"{theirs}\", not on \"{asked}\""),
    )
    .hint(format!(
        "Call again with session=\"{name}\" and target=\"{theirs}\"."
    ))
}

pub(super) fn name_taken(name: &SessionName, theirs: &TargetName, asked: &TargetName) -> Error {
    Error::new(
        Code::AlreadyExists,
        format!("session \"{name}\" is already open on target \"{theirs}\""),
    )
    .hint(format!(
        "Call open_session(target=\"{asked}\") for another name, or close_session(session=\"{name}\") first."
    ))
}

pub(super) fn exhausted(target: &TargetName, usage: &Usage<'_>, waited: Duration) -> Error {
    let message = format!(
        "no session of target \"{target}\" became free within {}: {}",
        span(waited),
        in_use(usage)
    );
    Error::new(Code::SessionsExhausted, message)
        .hint(make_room(target, usage))
        .retry(Retry::Now)
}

/// `error` is what the last open said.
pub(super) fn crowded(target: &TargetName, error: &Error, waited: Duration) -> Error {
    let message = format!(
        "no session of target \"{target}\" became free within {}: {}",
        span(waited),
        error.message()
    );
    Error::new(Code::SessionsExhausted, message)
        .hint(error.hint_text().to_owned())
        .retry(Retry::After(FULL_QUEUE_RETRY))
}

pub(super) fn queue_full(target: &TargetName, usage: &Usage<'_>, queue: usize) -> Error {
    let message = format!(
        "{queue} calls already wait for a session of target \"{target}\": {}",
        in_use(usage)
    );
    Error::new(Code::SessionsExhausted, message)
        .hint(make_room(target, usage))
        .retry(Retry::After(FULL_QUEUE_RETRY))
}

fn in_use(usage: &Usage<'_>) -> String {
    let mut text = format!("{} of {} busy", usage.busy, usage.limit);
    for (count, word) in [
        (usage.opening, "opening"),
        (usage.closing, "closing"),
        (usage.free, "free but kept under their names"),
    ] {
        if count > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {count} {word}");
        }
    }
    text
}

fn make_room(target: &TargetName, usage: &Usage<'_>) -> String {
    match usage.own_names.split_first() {
        Some((first, rest)) => {
            let or = if rest.is_empty() {
                String::new()
            } else {
                format!(" (or {})", quoted(rest.iter().copied()))
            };
            format!(
                "Call close_session(session=\"{first}\"){or} to make room (its variables are lost), or call again later."
            )
        }
        None => format!(
            "Call again later, cancel a statement with cancel_statement, or raise limits.sessions of target \"{target}\"."
        ),
    }
}

pub(super) fn still_opening(target: &TargetName, waited: Duration) -> Error {
    Error::new(
        Code::Timeout,
        format!(
            "the wait for a session of target \"{target}\" ended after {} while one was being opened",
            span(waited)
        ),
    )
    .hint("Call again: the session goes on opening and is yours when it is ready.")
    .retry(Retry::Now)
}

pub(super) fn still_busy(name: &SessionName, waited: Duration) -> Error {
    Error::new(
        Code::Timeout,
        format!(
            "the wait for session \"{name}\" ended after {}: it runs one statement at a time and is not free yet",
            span(waited)
        ),
    )
    .hint(format!(
        "Call again later, or leave session=\"{name}\" out to run beside it in another session."
    ))
    .retry(Retry::Now)
}

pub(super) fn session_queue_full(name: &SessionName, queue: usize) -> Error {
    Error::new(
        Code::SessionsExhausted,
        format!("{queue} calls already wait for session \"{name}\""),
    )
    .hint(format!(
        "Call again later, or leave session=\"{name}\" out to run beside it in another session."
    ))
    .retry(Retry::After(FULL_QUEUE_RETRY))
}

pub(super) fn closing_down() -> Error {
    Error::new(Code::Cancelled, "the server is shutting down")
        .hint("Call again when the client has started the server anew.")
}

pub(super) fn client_gone() -> Error {
    Error::new(Code::Cancelled, "the client is gone")
}
