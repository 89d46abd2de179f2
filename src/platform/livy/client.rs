//! The calls of Livy's protocol, each with its own deadline. A session is addressed by our name for it and not by its
//! number: numbers start again when the server does, and then name somebody else's session.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::dialect::{Dialect, Version};
use super::error::{self, Refusal};
use super::wire::{LogBody, SessionBody, SessionsBody, StatementBody, VersionBody, tail};
use crate::model::{Code, Error, Result, Tag};
use crate::platform::Poll;
use crate::platform::http::{ANSWER_FOR, Answer, Fault, Http};

/// For a GET of a session or of a list, tries included: a server that is well answers in milliseconds.
const LOOK_FOR: Duration = Duration::from_secs(20);
/// A DELETE of a busy session answers when it is gone: 10 s by default.
const DELETE_FOR: Duration = Duration::from_secs(30);
/// Sessions of one page.
const PAGE: u64 = 100;

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Why a call gave no body.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// There was an answer, and it was a refusal.
    Refused(Refusal),
    /// There was none, or none that can be read.
    Fault(Fault),
}

/// The calls.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) http: Http,
    pub(super) dialect: &'static Dialect,
    /// When a statement is looked at.
    pub(super) poll: Poll,
    /// Statements that may have changed what the catalogue knows, counted when each has ended.
    pub(super) changes: AtomicU64,
}

impl Client {
    /// The trouble as our error. `doing` is what was asked.
    pub(super) fn error(&self, trouble: &Trouble, doing: &str) -> Error {
        match trouble {
            Trouble::Refused(refusal) => refusal.error(doing, self.http.base(), self.http.target()),
            Trouble::Fault(fault) => fault.error.clone(),
        }
    }

    fn session_path(&self, tag: &Tag) -> String {
        let name = utf8_percent_encode(tag.as_str(), SEGMENT);
        format!("{}/{name}", self.dialect.sessions)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, within: Duration) -> Result<T, Trouble> {
        let deadline = Instant::now() + within;
        let answer = self
            .http
            .get(path, deadline)
            .await
            .map_err(Trouble::Fault)?;
        self.read(&answer)
    }

    /// Sent once, whatever comes of it.
    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        within: Duration,
    ) -> Result<T, Trouble> {
        let sent = self.http.send(Method::POST, path, Some(body), within);
        self.read(&sent.await.map_err(Trouble::Fault)?)
    }

    fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Trouble> {
        let refused = || Trouble::Refused(Refusal::read(answer));
        if !(200..300).contains(&answer.status) {
            return Err(refused());
        }
        serde_json::from_slice(&answer.body).map_err(|e| {
            // A page, a text, nothing: not what such a server says, and not an answer of it that was cut.
            let first = answer.body.trim_ascii_start().first();
            if !matches!(first, Some(b'{' | b'[' | b'"')) {
                return refused();
            }
            let error = Error::new(
                Code::PlatformUnavailable,
                format!(
                    "an answer of {} was cut short or is no JSON",
                    self.http.base()
                ),
            )
            .hint("Call the tool again; if it stays so, run `sparklease doctor`.")
            .retry(crate::model::Retry::Now)
            .source_error(e);
            Trouble::Fault(Fault {
                perhaps_sent: true,
                error,
            })
        })
    }

    /// The server's version; `None` where it does not tell.
    ///
    /// # Errors
    /// What is wrong with the address, the sign-in or the server.
    pub(super) async fn version(&self) -> Result<Option<(Version, String)>> {
        let Some(path) = self.dialect.version else {
            return Ok(None);
        };
        match self.get::<VersionBody>(path, LOOK_FOR).await {
            Ok(VersionBody {
                version: Some(text),
            }) => Ok(Version::parse(&text).map(|version| (version, text))),
            // Told before anything is created, which could then never be proved to be gone.
            Ok(_) => Err(self.error(&self.no_livy("it tells no version"), "tell its version")),
            // Forks may not have it; what it would have told is only what old ones refuse.
            Err(Trouble::Refused(refusal)) if refusal.status == 404 => Ok(None),
            Err(trouble) => Err(self.error(&trouble, "tell its version")),
        }
    }

    /// Creates a session. Never sent twice.
    pub(super) async fn create(&self, body: &Value) -> Result<SessionBody, Trouble> {
        // Longer than other calls: the server starts a process before it answers.
        let sent = self.post(self.dialect.sessions, body, 2 * ANSWER_FOR).await;
        sent.and_then(|body| self.a_session(body))
    }

    /// What has neither a number nor a state is some other service's JSON.
    fn a_session(&self, body: SessionBody) -> Result<SessionBody, Trouble> {
        if body.id().is_some() || body.state.is_some() {
            return Ok(body);
        }
        Err(self.no_livy("what it calls a session has no id"))
    }

    fn no_livy(&self, why: &str) -> Trouble {
        let (base, target) = (self.http.base(), self.http.target());
        Trouble::Fault(Fault {
            perhaps_sent: true,
            error: Error::new(
                Code::ConfigurationInvalid,
                format!("{base} is no Livy server: {why}"),
            )
            .hint(error::below_the_address(target)),
        })
    }

    /// The session of that name; `None` where there is none.
    pub(super) async fn session(&self, tag: &Tag) -> Result<Option<SessionBody>, Trouble> {
        let path = self.session_path(tag);
        match self.get::<SessionBody>(&path, LOOK_FOR).await {
            // Another name is another session: some servers take a name for a number.
            Ok(body)
                if body
                    .name
                    .as_deref()
                    .is_some_and(|name| name != tag.as_str()) =>
            {
                Ok(None)
            }
            Ok(body) => self.a_session(body).map(Some),
            Err(Trouble::Refused(refusal)) if refusal.no_session() => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Every session that this user sees, all pages.
    ///
    /// # Errors
    /// A page that is cut or lacks its list is an error: an empty list must come from a complete answer.
    pub(super) async fn sessions(&self) -> Result<Vec<SessionBody>, Trouble> {
        let mut all: Vec<SessionBody> = Vec::new();
        loop {
            let from = all.len();
            let path = format!("{}?from={from}&size={PAGE}", self.dialect.sessions);
            let page: SessionsBody = self.get(&path, LOOK_FOR).await?;
            if page.total.is_none() && page.sessions.is_none() {
                return Err(self.no_livy("its list of sessions has none of a list's fields"));
            }
            let (Some(total), Some(sessions)) = (page.total, page.sessions) else {
                let error = Error::new(
                    Code::PlatformUnavailable,
                    format!("the list of sessions of {} is incomplete", self.http.base()),
                )
                .hint("Run `sparklease doctor`.");
                return Err(Trouble::Fault(Fault {
                    perhaps_sent: true,
                    error,
                }));
            };
            let ended = sessions.is_empty();
            all.extend(sessions);
            if ended || u64::try_from(all.len()).unwrap_or(u64::MAX) >= total {
                return Ok(all);
            }
        }
    }

    /// The last lines of a session's log; none where they cannot be had.
    pub(super) async fn last_lines(&self, tag: &Tag, most: usize) -> Vec<String> {
        // More than is wanted: headings and blank lines are left out.
        let path = format!("{}/log?from=-1&size={}", self.session_path(tag), most + 5);
        let sent = self
            .http
            .send(Method::GET, &path, None, Duration::from_secs(5));
        let Ok(answer) = sent.await else {
            return Vec::new();
        };
        let lines = self.read::<LogBody>(&answer).ok().and_then(|body| body.log);
        tail(&lines.unwrap_or_default(), most)
    }

    /// Counts as activity of a busy session, and gives the session.
    pub(super) async fn touch(&self, tag: &Tag) -> Result<Option<SessionBody>, Trouble> {
        let Some(verb) = self.dialect.activity else {
            return self.session(tag).await;
        };
        let path = format!("{}{verb}", self.session_path(tag));
        match self.post::<SessionBody>(&path, &json!({}), LOOK_FOR).await {
            Ok(body) => Ok(Some(body)),
            Err(Trouble::Refused(refusal)) if refusal.no_session() => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Sends a statement. Never sent twice.
    pub(super) async fn submit(&self, tag: &Tag, code: &str) -> Result<StatementBody, Trouble> {
        let path = format!("{}/statements", self.session_path(tag));
        let body = json!({ "code": code, "kind": "pyspark" });
        self.post(&path, &body, 2 * ANSWER_FOR).await
    }

    /// Asks once where a statement stands.
    pub(super) async fn statement(&self, tag: &Tag, id: &str) -> Result<StatementBody, Trouble> {
        let id = utf8_percent_encode(id, SEGMENT);
        let path = format!("{}/statements/{id}", self.session_path(tag));
        let sent = self.http.send(Method::GET, &path, None, ANSWER_FOR);
        self.read(&sent.await.map_err(Trouble::Fault)?)
    }

    /// Asks for the end of a statement. The answer says nothing of whether it ends.
    pub(super) async fn cancel(
        &self,
        tag: &Tag,
        id: &str,
        within: Duration,
    ) -> Result<(), Trouble> {
        let id = utf8_percent_encode(id, SEGMENT);
        let path = format!("{}/statements/{id}/cancel", self.session_path(tag));
        self.post::<Value>(&path, &json!({}), within)
            .await
            .map(drop)
    }

    /// Deletes the session of that name; gone already is fine.
    pub(super) async fn delete(&self, tag: &Tag) -> Result<(), Trouble> {
        let path = self.session_path(tag);
        let sent = self.http.send(Method::DELETE, &path, None, DELETE_FOR);
        let answer = sent.await.map_err(Trouble::Fault)?;
        let refusal = Refusal::read(&answer);
        if (200..300).contains(&answer.status) || refusal.no_session() {
            return Ok(());
        }
        Err(Trouble::Refused(refusal))
    }
}
