//! What a refusal means. Its body has one of four forms: `{"msg": …}`, a bare JSON string, HTML of the server or of a
//! proxy, or nothing.

use std::time::Duration;

use serde_json::Value;

use crate::model::{Code, Error, Retry, TargetName};
use crate::platform::http::{Answer, is_later};

/// As much of a server's words as an error repeats, in characters: Java shows its whole stack.
const WORDS_MOST: usize = 400;
/// When a server without room does not say when to come again.
const ROOM_AFTER: Duration = Duration::from_secs(30);

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// What it says, of whatever form, cut.
    pub(super) words: String,
    form: Form,
    retry_after: Option<Duration>,
    location: Option<String>,
}

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `{"msg": …}` or `{"message": …}`.
    Object,
    /// A JSON string, or text that is no HTML.
    Text,
    Html,
    Empty,
}

impl Refusal {
    /// Reads any body.
    pub(super) fn read(answer: &Answer) -> Self {
        let text = String::from_utf8_lossy(&answer.body);
        let text = text.trim();
        let (form, words) = match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(fields)) => {
                let said = ["msg", "message", "error"]
                    .iter()
                    .find_map(|name| fields.get(*name)?.as_str());
                (Form::Object, said.unwrap_or_default().to_owned())
            }
            Ok(Value::String(text)) => (Form::Text, text),
            _ if text.is_empty() => (Form::Empty, String::new()),
            _ if text.starts_with('<') => (Form::Html, title(text)),
            _ => (Form::Text, text.to_owned()),
        };
        Self {
            status: answer.status,
            words: cut(&words),
            form,
            retry_after: answer.retry_after,
            location: answer.location.clone(),
        }
    }

    fn says(&self, part: &str) -> bool {
        self.words.contains(part)
    }

    /// There is no such session; other things that are not found have other words.
    pub(super) fn no_session(&self) -> bool {
        self.status == 404 && self.form == Form::Object && self.says("Session ")
    }

    /// The name is taken: where it is ours, an earlier create has worked.
    pub(super) fn duplicate_name(&self) -> bool {
        self.status == 400 && self.says("Duplicate session name")
    }

    /// The session has died, or the server's line to it has: nothing of it will ever come.
    pub(super) fn death(&self) -> bool {
        const WORDS: [&str; 6] = [
            "CancellationException",
            "RPC channel is closed",
            "Session is in state",
            "Session isn't active",
            "Statement not found",
            "ClosedChannelException",
        ];
        self.no_session() || WORDS.iter().any(|word| self.says(word))
    }

    /// It was surely not done, and may be later. Who says when to come again has not taken it; a gateway that only lost
    /// its connection to the server says 503 too, and does not know when.
    pub(super) fn refused_for_now(&self) -> bool {
        let later = self.status == 503 && self.retry_after.is_some();
        matches!(self.status, 429 | 430) || later || self.no_room()
    }

    /// The server, or a gateway before it, says to come again; that is all it says.
    pub(super) fn later(&self) -> bool {
        is_later(self.status)
    }

    /// Whether the request may have been done all the same: a gateway lost the answer, or the server broke at it.
    pub(super) fn perhaps_done(&self) -> bool {
        match self.status {
            // What is there instead of its answer is no page of a sign-in, which would stand before the server.
            200..=299 => self.form != Form::Html,
            status => status >= 500 && !self.refused_for_now(),
        }
    }

    fn no_room(&self) -> bool {
        self.status == 400 && self.says("too many sessions")
    }

    /// The refusal as our error. `doing` is what was asked: `open a session`.
    pub(super) fn error(&self, doing: &str, base: &str, target: &TargetName) -> Error {
        let said = if self.words.is_empty() {
            String::new()
        } else {
            format!(": {}", self.words)
        };
        let url = format!("`targets.{target}.url`");
        let room = Retry::After(self.retry_after.unwrap_or(ROOM_AFTER));
        let status = self.status;
        let error = match (status, self.form) {
            (300..=399, _) => {
                let to = self.location.as_deref().unwrap_or("another address");
                Error::new(
                    Code::ConfigurationInvalid,
                    format!("{base} redirects to {to}, and a redirect would lose what is sent"),
                )
                .hint(format!(
                    "Set {url} to the address itself, with https:// if that is where it leads."
                ))
            }
            (401, _) => Error::new(
                Code::Unauthenticated,
                format!("{base} refused the sign-in"),
            )
            .hint(format!(
                "Check `targets.{target}.auth`, `user` and `secret` (or `secret_file`), then run `sparklease doctor`."
            )),
            (403, _) => Error::new(
                Code::PermissionDenied,
                format!("the server does not allow this user to {doing}{said}"),
            )
            .hint(format!(
                "Ask for the right on the server, or check `targets.{target}.user` and `proxy_user`."
            )),
            (407, _) => Error::new(
                Code::PlatformUnavailable,
                "a proxy on the way asks for a sign-in",
            )
            .hint("Set HTTPS_PROXY with a user, or NO_PROXY for this host."),
            (400, _) if self.no_room() => Error::new(
                Code::CapacityUnavailable,
                "the server starts no further session now: it has as many as it allows",
            )
            .hint("Call again later, or ask for a larger livy.server.session.max-creation.")
            .retry(room),
            (400, _) if self.says("CSRF") => Error::new(
                Code::SpecRejected,
                format!("the server, or a proxy before it, took away the header X-Requested-By{said}"),
            )
            .hint("Let the proxy pass this header on."),
            (400, Form::Object | Form::Text) if self.says("nrecognized field") => Error::new(
                Code::Unsupported,
                format!("the server does not know a setting of a session{said}"),
            )
            .hint("It may be an old version; run `sparklease doctor` to see which."),
            (400, Form::Object | Form::Text) => Error::new(
                Code::SpecRejected,
                format!("the server refused to {doing}{said}"),
            )
            .hint(format!(
                "Correct `targets.{target}.conf` or `proxy_user`, then run `sparklease doctor`."
            )),
            (429 | 430 | 503, _) => {
                let code = match status {
                    429 => Code::RateLimited,
                    _ => Code::CapacityUnavailable,
                };
                Error::new(code, format!("the server has no room now (status {status}){said}"))
                    .hint("Call again later.")
                    .retry(room)
            }
            (502 | 504, _) => Error::new(
                Code::PlatformUnavailable,
                format!("a proxy at {base} does not reach the server (status {status}){said}"),
            )
            .hint(format!("Call again later, or correct {url}."))
            .retry(Retry::Now),
            (200..=299 | 404 | 405, _) | (_, Form::Html) => Error::new(
                Code::ConfigurationInvalid,
                format!("{base} is no Livy server (status {status}){said}"),
            )
            .hint(below_the_address(target)),
            _ => Error::new(
                Code::PlatformUnavailable,
                format!("the server failed to {doing} (status {status}){said}"),
            )
            .hint("Call the tool again; if it stays so, run `sparklease doctor`.")
            .retry(Retry::Now),
        };
        error.with("status", status)
    }
}

/// What to do about an address where no Livy server is.
pub(super) fn below_the_address(target: &TargetName) -> String {
    format!(
        "Set `targets.{target}.url` to the address below which /sessions is, with a gateway's path if there is one."
    )
}

/// The title of a page, or its first heading: the rest is markup.
fn title(html: &str) -> String {
    let lower = html.to_ascii_lowercase();
    ["title", "h1", "h2"]
        .iter()
        .find_map(|tag| {
            let start = lower.find(&format!("<{tag}>"))? + tag.len() + 2;
            let end = start + lower.get(start..)?.find("</")?;
            Some(html.get(start..end)?.trim().to_owned())
        })
        .unwrap_or_default()
}

/// The first line, cut.
fn cut(words: &str) -> String {
    let line = words.lines().next().unwrap_or_default().trim();
    match line.char_indices().nth(WORDS_MOST) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rstest::rstest;

    use super::*;

    fn refusal(status: u16, body: &'static str) -> Refusal {
        Refusal::read(&Answer {
            status,
            body: Bytes::from_static(body.as_bytes()),
            retry_after: None,
            location: None,
        })
    }

    #[rstest]
    #[case::object(404, r#"{"msg":"Session '7' not found."}"#, "Session '7' not found.")]
    #[case::text(404, r#""Statement not found""#, "Statement not found")]
    #[case::html(
        400,
        "<html>\n<head>\n<title>Error 400 Missing Required Header for CSRF protection.</title>\n</head></html>",
        "Error 400 Missing Required Header for CSRF protection."
    )]
    #[case::json_of_the_container(
        400,
        "{\n\"servlet\":\"x\",\"message\":\"Missing Required Header for CSRF protection.\",\"url\":\"/sessions\",\"status\":\"400\"\n}",
        "Missing Required Header for CSRF protection."
    )]
    #[case::empty(403, "", "")]
    #[case::java(
        500,
        "\"java.lang.IllegalStateException: Session is in state starting\\n\\tat x\"",
        "java.lang.IllegalStateException: Session is in state starting"
    )]
    #[case::cut_short(500, "{\"msg\":", "{\"msg\":")]
    fn every_form_of_a_body_is_read(
        #[case] status: u16,
        #[case] body: &'static str,
        #[case] words: &str,
    ) {
        assert_eq!(refusal(status, body).words, words);
    }

    #[rstest]
    #[case(401, "", Code::Unauthenticated)]
    #[case(403, "", Code::PermissionDenied)]
    #[case(302, "", Code::ConfigurationInvalid)]
    #[case(404, "<html><title>nginx</title></html>", Code::ConfigurationInvalid)]
    #[case(200, "<html><title>Log in</title></html>", Code::ConfigurationInvalid)]
    #[case(
        400,
        r#"{"msg":"Rejected, too many sessions are being created!"}"#,
        Code::CapacityUnavailable
    )]
    #[case(
        400,
        r#"{"msg":"Rejected, Reason: Invalid session name: 1"}"#,
        Code::SpecRejected
    )]
    #[case(400, r#""Unrecognized field \"tags\" (class x)""#, Code::Unsupported)]
    #[case(429, "", Code::RateLimited)]
    #[case(430, "", Code::CapacityUnavailable)]
    #[case(503, "<html><title>503</title></html>", Code::CapacityUnavailable)]
    #[case(
        502,
        "<html><title>Bad Gateway</title></html>",
        Code::PlatformUnavailable
    )]
    #[case(500, r#""java.lang.NullPointerException""#, Code::PlatformUnavailable)]
    fn a_status_and_a_body_make_one_code(
        #[case] status: u16,
        #[case] body: &'static str,
        #[case] code: Code,
    ) {
        let error =
            refusal(status, body).error("open a session", "http://h", &TargetName::new("dev"));
        assert_eq!(error.code(), code, "{error}");
        assert!(!error.hint_text().is_empty());
    }

    #[test]
    fn only_who_says_when_to_come_again_has_surely_not_taken_a_request() {
        let lost = refusal(
            503,
            "upstream connect error or disconnect/reset before headers",
        );
        assert!(lost.perhaps_done() && !lost.refused_for_now());
        let later = Refusal {
            retry_after: Some(Duration::from_secs(1)),
            ..lost
        };
        assert!(later.refused_for_now() && !later.perhaps_done());
        assert!(refusal(429, "").refused_for_now() && !refusal(429, "").perhaps_done());
        assert!(refusal(500, "").perhaps_done() && refusal(502, "").perhaps_done());
    }

    #[test]
    fn the_server_s_own_words_tell_a_dead_session_from_a_bad_call() {
        assert!(refusal(404, r#"{"msg":"Session '7' not found."}"#).no_session());
        assert!(!refusal(404, "<html><title>404</title></html>").no_session());
        assert!(refusal(500, r#""java.util.concurrent.CancellationException""#).death());
        assert!(
            refusal(
                500,
                r#""java.lang.IllegalStateException: RPC channel is closed.""#
            )
            .death()
        );
        assert!(
            refusal(
                400,
                r#"{"msg":"requirement failed: Session isn't active."}"#
            )
            .death()
        );
        assert!(!refusal(500, r#""java.lang.ClassCastException""#).death());
        let duplicate =
            r#"{"msg":"Rejected, Reason: Duplicate session name: Some(a) for session 1"}"#;
        assert!(refusal(400, duplicate).duplicate_name());
    }
}
