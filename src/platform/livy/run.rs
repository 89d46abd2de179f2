//! One statement on a Livy session: sent once, polled, believed only by its nonce; cancelled, probed, or given up
//! with its session.

mod ask;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::client::{Client, Trouble};
use super::session::{LOG_LINES, Live, ended, with_log};
use super::wire::{SessionState, StatementBody, StatementState};
use super::{tables, write};
use crate::model::{Code, End, Error, Event, Progress, Result, Retry};
use crate::platform::{Params, Statement, Work};
use crate::python::{Envelope, Language, MAX_FIGURES, Status, harness};
use crate::spark_connect::Relation;

/// From asking for an end to giving the session up, and the same for the probe after it. Spark's jobs stop within a
/// second; Python that does not stop by then runs on whatever the server says.
const CANCEL_FOR: Duration = Duration::from_secs(2);
/// How long a statement that the server refuses for now is offered again.
const OFFER_FOR: Duration = Duration::from_secs(20);
/// How long a server may be silent under a running statement: its own heartbeat has ended the session by then.
const UNHEARD_FOR: Duration = Duration::from_secs(120);
/// Polls of one statement that may stay without answer while the session answers: an answer that is too large for the
/// server's line to its driver never comes.
const STUCK_AFTER: u32 = 3;
/// How long a statement may be over without its output being there; both are set within microseconds.
const OUTPUT_FOR: Duration = Duration::from_secs(5);
/// Between tries after a poll without answer.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Progress is told no more often.
const TELL_EVERY: Duration = Duration::from_millis(500);

const OUT_OF_STEP: &str =
    "its answers are out of step: something wrote into the interpreter's own channel";

/// How a statement ended, and why its session is lost, if it is.
pub(super) type Ended = (End, Option<String>);

/// What a statement came to.
pub(super) enum Reply {
    /// Its own answer.
    Envelope(Box<Envelope>),
    /// The interpreter's word that the code raised; the harness itself lets nothing through.
    Raised(String),
    /// The session is fine, and there is no answer.
    Failed(Error),
    /// It was cancelled; why the session is lost, if it is.
    Stopped(Option<String>),
    /// The session is lost, and whether the statement may have run.
    Lost { why: String, ran: bool },
}

impl Reply {
    fn lost(why: impl Into<String>) -> Self {
        Self::Lost {
            why: why.into(),
            ran: true,
        }
    }
}

/// Runs a statement to its end and sends what it tells. Runs in a task of its own; a receiver that is gone changes
/// nothing but the sending.
pub(super) async fn run(
    client: Arc<Client>,
    live: Arc<Live>,
    statement: Statement,
    cancel: CancellationToken,
    events: mpsc::Sender<Event>,
) {
    let job = Job {
        client: &client,
        live: &live,
        cancel: &cancel,
        events: Some(&events),
        started: AtomicBool::new(false),
    };
    let (end, session_lost) = match &statement.work {
        Work::Tables { query, views } => tables::run(&job, query, *views).await,
        Work::Write(table) => write::run(&job, table).await,
        _ => match request(&statement) {
            Err(e) => (End::Failed(e), None),
            Ok((request, nonce, language)) => {
                let reply = job.answer(&harness::call(&request), &nonce).await;
                job.end(reply, language).await
            }
        },
    };
    if !matches!(
        statement.work,
        Work::Tables { .. } | Work::Sql { reads: true, .. }
    ) {
        client.changes.fetch_add(1, Ordering::Relaxed);
    }
    if let Some(reason) = &session_lost {
        live.lose(reason.as_str());
    }
    live.end();
    let _ = events.send(Event::End { end, session_lost }).await;
}

/// What the harness is asked, the nonce of its answer, and what the user wrote.
fn request(statement: &Statement) -> Result<(Value, String, Language)> {
    let nonce = Uuid::new_v4().simple().to_string();
    let mut request = json!({
        "nonce": nonce,
        "max_rows": statement.max_rows,
        "max_bytes": statement.max_bytes,
        "max_figures": MAX_FIGURES,
    });
    let (more, language) = match &statement.work {
        Work::Sql { text, params, .. } => {
            let params = match params {
                Params::None => Value::Null,
                // The same values are taken everywhere, whatever this Spark would make of others.
                Params::Named(values) => {
                    Relation::sql_named(text, values)?;
                    json!(values)
                }
                Params::Positional(values) => {
                    Relation::sql_positional(text, values)?;
                    json!(values)
                }
            };
            (
                json!({ "op": "sql", "sql": text, "params": params }),
                Language::Sql,
            )
        }
        Work::Python {
            code,
            keep_namespace,
        } => {
            use base64::Engine as _;
            let code = base64::engine::general_purpose::STANDARD.encode(code);
            (
                json!({ "op": "run", "code": code, "kept": keep_namespace }),
                Language::Python,
            )
        }
        Work::Tables { .. } | Work::Write(_) => {
            return Err(Error::internal("this work is more than one request"));
        }
    };
    if let (Value::Object(request), Value::Object(more)) = (&mut request, more) {
        request.extend(more);
    }
    Ok((request, nonce, language))
}

/// A statement on its way.
pub(super) struct Job<'a> {
    pub(super) client: &'a Client,
    pub(super) live: &'a Live,
    cancel: &'a CancellationToken,
    /// `None`: nobody listens.
    events: Option<&'a mpsc::Sender<Event>>,
    /// It was told that the statement has begun.
    started: AtomicBool,
}

impl<'a> Job<'a> {
    /// One of our own: nobody listens, and it ends with the session.
    pub(super) fn quiet(client: &'a Client, live: &'a Live) -> Self {
        Self {
            client,
            live,
            cancel: &live.over,
            events: None,
            started: AtomicBool::new(false),
        }
    }

    pub(super) async fn say(&self, event: Event) {
        if let Some(events) = self.events {
            let _ = events.send(event).await;
        }
    }

    /// Says once that it has begun.
    async fn started(&self) {
        if !self.started.swap(true, Ordering::Relaxed) {
            self.say(Event::Started).await;
        }
    }

    /// A reply as the end of a statement, after what it gave has been told.
    async fn end(&self, reply: Reply, language: Language) -> Ended {
        if matches!(reply, Reply::Lost { ran: true, .. }) {
            // Also where the answer to its POST was lost: nobody may run it again.
            self.started().await;
        }
        match reply {
            Reply::Envelope(mut envelope) => {
                let (status, lost) = (envelope.status, envelope.lost.take());
                let (events, error) = envelope.into_events(language);
                for event in events {
                    self.say(event).await;
                }
                let end = match (status, error) {
                    (Status::Ok, _) => End::Succeeded,
                    (Status::Cancelled, _) => End::Cancelled,
                    // What the cancel made Spark raise is the cancel's doing.
                    (Status::Error, _) if self.cancel.is_cancelled() => End::Cancelled,
                    (Status::Error, Some(e)) => End::Failed(e),
                    (Status::Error, None) => {
                        End::Failed(Error::internal("the statement failed without a word why"))
                    }
                };
                (end, lost)
            }
            Reply::Failed(e) => (End::Failed(e), None),
            Reply::Stopped(lost) => (End::Cancelled, lost),
            Reply::Raised(_) => (
                End::Failed(lost(OUT_OF_STEP, true)),
                Some(OUT_OF_STEP.to_owned()),
            ),
            Reply::Lost { why, .. } if self.cancel.is_cancelled() => (End::Cancelled, Some(why)),
            Reply::Lost { why, ran } => (End::Failed(lost(&why, ran)), Some(why)),
        }
    }

    /// Sends the code and waits for its answer, or for what ends the wait.
    ///
    /// # Cancel safety
    /// Dropped, the statement runs on: the session must be closed.
    pub(super) async fn answer(&self, code: &str, nonce: &str) -> Reply {
        if let Some(why) = self.live.lost() {
            return Reply::Lost { why, ran: false };
        }
        let mut body = match self.submit(code).await {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let Some(id) = body.id() else {
            return Reply::lost("the server gave the statement no number");
        };
        self.started().await;
        let begun = Instant::now();
        let mut watch = Watch::new(self.live.said());
        loop {
            if let Some(reply) = judge(&body, nonce) {
                return match reply {
                    Reply::Lost { why, ran } => Reply::Lost {
                        why: self.reason(&why).await,
                        ran,
                    },
                    reply => reply,
                };
            }
            if watch.torn(&body) {
                return Reply::lost(self.reason("the statement ended without an answer").await);
            }
            if let Some(progress) = watch.progress(&body, self.live.said()) {
                self.say(Event::Progress(progress)).await;
            }
            tokio::select! {
                () = self.cancel.cancelled() => return self.stop(&id, nonce).await,
                () = tokio::time::sleep(self.client.poll.after(begun.elapsed())) => {}
            }
            body = loop {
                let polled = tokio::select! {
                    // Its answer may be slow to come; the end that was asked for is not.
                    () = self.cancel.cancelled() => return self.stop(&id, nonce).await,
                    polled = self.client.statement(&self.live.tag, &id) => polled,
                };
                match polled {
                    Ok(body) => {
                        watch.heard();
                        break body;
                    }
                    Err(trouble) => {
                        if let Some(why) = self.hopeless(&trouble, &mut watch).await {
                            return Reply::lost(why);
                        }
                    }
                }
                tokio::select! {
                    () = self.cancel.cancelled() => return self.stop(&id, nonce).await,
                    () = tokio::time::sleep(AGAIN_AFTER) => {}
                }
            };
        }
    }

    /// Sends the code. It is sent again only where it surely was not taken.
    async fn submit(&self, code: &str) -> Result<StatementBody, Reply> {
        const UNKNOWN: &str =
            "the answer to the statement was lost, and nothing is known of how far it came";
        let until = Instant::now() + OFFER_FOR;
        loop {
            let trouble = match self.client.submit(&self.live.tag, code).await {
                Ok(body) => return Ok(body),
                Err(trouble) => trouble,
            };
            let later = match &trouble {
                Trouble::Refused(refusal) if refusal.death() => {
                    let why = self.reason("it has ended").await;
                    return Err(Reply::Lost { why, ran: false });
                }
                Trouble::Refused(refusal) if refusal.perhaps_done() => {
                    return Err(Reply::lost(self.reason(UNKNOWN).await));
                }
                Trouble::Fault(fault) if fault.perhaps_sent => {
                    return Err(Reply::lost(UNKNOWN));
                }
                Trouble::Refused(refusal) => refusal.refused_for_now(),
                Trouble::Fault(_) => true,
            };
            let error = self.client.error(&trouble, "run a statement");
            let pause = match error.retry_kind() {
                Retry::After(pause) => pause,
                Retry::Now | Retry::No => AGAIN_AFTER,
            };
            if !later || Instant::now() + pause > until {
                return Err(Reply::Failed(error));
            }
            tokio::select! {
                () = self.cancel.cancelled() => return Err(Reply::Stopped(None)),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Why no answer will come any more, after a poll without one.
    async fn hopeless(&self, trouble: &Trouble, watch: &mut Watch) -> Option<String> {
        // "Come again" tells nothing of whether the answer can be fetched.
        watch.misses += u32::from(!matches!(trouble, Trouble::Refused(r) if r.later()));
        if let Trouble::Refused(refusal) = trouble {
            if refusal.death() {
                return Some(self.reason("it ended while the statement ran").await);
            }
            if matches!(refusal.status, 401 | 403) {
                let error = self.client.error(trouble, "look at a statement");
                return Some(error.message().to_owned());
            }
        }
        match self.client.session(&self.live.tag).await {
            Ok(None) => Some("the server does not know it any more".to_owned()),
            Ok(Some(body)) => {
                self.live.note(&body);
                match body.state() {
                    Ok(Some(state)) if state.is_over() => Some(ended(&body)),
                    Ok(Some(SessionState::Closing)) => Some("the server is ending it".to_owned()),
                    Err(e) => Some(e.message().to_owned()),
                    Ok(_) if watch.misses >= STUCK_AFTER => {
                        Some("the server cannot fetch the statement's answer from it".to_owned())
                    }
                    Ok(_) => None,
                }
            }
            Err(_) if watch.heard_at.elapsed() >= UNHEARD_FOR => Some(format!(
                "the server has not answered for {} s",
                UNHEARD_FOR.as_secs()
            )),
            Err(_) => None,
        }
    }

    /// The ladder: ask → 2 s → probe → 2 s → give the session up. `cancelled` alone means nothing, since Python may run
    /// on behind it.
    async fn stop(&self, id: &str, nonce: &str) -> Reply {
        let given_up = |what: &str| {
            Reply::Stopped(Some(format!(
                "{what} within {} s of a cancel, so the session was given up",
                CANCEL_FOR.as_secs()
            )))
        };
        let until = Instant::now() + CANCEL_FOR;
        let asked = self.client.cancel(&self.live.tag, id, CANCEL_FOR).await;
        if let Err(trouble) = &asked {
            tracing::debug!(error = %self.client.error(trouble, "cancel"), "a cancel was not taken");
        }
        let stopped = tokio::time::timeout_at(until, self.settled(id, nonce)).await;
        let reply = match stopped {
            Err(_) => return given_up("a statement did not stop"),
            Ok(Reply::Lost { why, .. }) => return Reply::Stopped(Some(why)),
            Ok(Reply::Raised(_)) => return Reply::Stopped(Some(OUT_OF_STEP.to_owned())),
            Ok(reply) => reply,
        };
        match tokio::time::timeout(CANCEL_FOR, self.probe()).await {
            Ok(true) => reply,
            Ok(false) => {
                Reply::Stopped(Some("it did not answer a probe after a cancel".to_owned()))
            }
            Err(_) => given_up("the interpreter did not answer"),
        }
    }

    /// Polls until the statement is over. Faults are only gone over: the caller has a deadline.
    async fn settled(&self, id: &str, nonce: &str) -> Reply {
        let begun = Instant::now();
        loop {
            if let Ok(body) = self.client.statement(&self.live.tag, id).await
                && let Some(reply) = judge(&body, nonce)
            {
                return reply;
            }
            tokio::time::sleep(self.client.poll.after(begun.elapsed())).await;
        }
    }

    /// Whether the interpreter answers a statement of our own.
    async fn probe(&self) -> bool {
        let nonce = Uuid::new_v4().simple().to_string();
        let code = harness::call(&json!({ "op": "probe", "nonce": nonce }));
        let Ok(body) = self.client.submit(&self.live.tag, &code).await else {
            return false;
        };
        let Some(id) = body.id() else { return false };
        let reply = match judge(&body, &nonce) {
            Some(reply) => reply,
            None => self.settled(&id, &nonce).await,
        };
        matches!(reply, Reply::Envelope(envelope) if envelope.lost.is_none())
    }

    /// A reason with what the server knows of the session: its state, if it is over, and the end of its log.
    async fn reason(&self, why: &str) -> String {
        match self.client.session(&self.live.tag).await {
            Ok(None) => "the server does not know it any more".to_owned(),
            Ok(Some(body)) => match body.state() {
                Ok(Some(state)) if state.is_over() => with_log(
                    format!("{why} ({})", body.state.as_deref().unwrap_or("over")),
                    &body.last_lines(LOG_LINES),
                ),
                _ => why.to_owned(),
            },
            Err(_) => why.to_owned(),
        }
    }
}

/// What an answer of the server says of a statement; `None` while it goes on.
fn judge(body: &StatementBody, nonce: &str) -> Option<Reply> {
    let state = match body.state() {
        Ok(StatementState::Waiting | StatementState::Running | StatementState::Cancelling) => {
            return None;
        }
        Ok(state) => state,
        Err(e) => return Some(Reply::lost(e.message())),
    };
    let Some(output) = &body.output else {
        // The server copies a statement field by field while it ends: its state may be ahead of its output.
        return (state == StatementState::Cancelled).then_some(Reply::Stopped(None));
    };
    if let Some(text) = output.text() {
        return Some(match Envelope::find(text, nonce) {
            Ok(Some(envelope)) => Reply::Envelope(Box::new(envelope)),
            // Its text is never shown: it may be another statement's.
            Ok(None) | Err(_) => Reply::lost(OUT_OF_STEP),
        });
    }
    Some(match output.failure() {
        Some((_, text)) if text.starts_with("Interpreter died") => {
            Reply::lost("its Python process ended")
        }
        Some((class, _)) if class.ends_with("StreamConstraintsException") => Reply::Failed(
            Error::new(
                Code::ResultTooLarge,
                "the statement's answer is larger than the server carries",
            )
            .hint("Ask for fewer rows or columns."),
        ),
        Some((class, text)) => {
            let line = text.lines().next().unwrap_or_default();
            Reply::Raised(format!("{class}: {line}"))
        }
        None => Reply::lost(OUT_OF_STEP),
    })
}

/// The session is gone.
pub(super) fn lost(why: &str, ran: bool) -> Error {
    let message = if ran {
        format!("the session was lost with the statement: {why}")
    } else {
        format!("the session is gone: {why}")
    };
    Error::new(Code::SessionLost, message)
        .hint("Call the tool again; a new session is opened. Variables and temp views of the old one are lost.")
        .retry(Retry::Now)
}

/// What a running statement has shown so far.
struct Watch {
    heard_at: Instant,
    misses: u32,
    /// Since when it is over by its state and has no output.
    torn_at: Option<Instant>,
    told_at: Option<Instant>,
    told: Option<Progress>,
    /// The log's last line when it began: an older statement's.
    before: Option<String>,
}

impl Watch {
    fn new(before: Option<String>) -> Self {
        Self {
            heard_at: Instant::now(),
            misses: 0,
            torn_at: None,
            told_at: None,
            told: None,
            before,
        }
    }

    fn heard(&mut self) {
        self.heard_at = Instant::now();
        self.misses = 0;
    }

    /// Whether its state has been ahead of its output for too long.
    fn torn(&mut self, body: &StatementBody) -> bool {
        let torn = body.output.is_none()
            && body
                .state()
                .is_ok_and(|state| state == StatementState::Available);
        if !torn {
            self.torn_at = None;
            return false;
        }
        self.torn_at.get_or_insert_with(Instant::now).elapsed() >= OUTPUT_FOR
    }

    /// What is new, at most twice a second.
    fn progress(&mut self, body: &StatementBody, said: Option<String>) -> Option<Progress> {
        if self.told_at.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return None;
        }
        let phase = match (
            body.state().ok()?,
            said.filter(|line| Some(line) != self.before.as_ref()),
        ) {
            (StatementState::Waiting, _) => "waiting in the session".to_owned(),
            (StatementState::Cancelling, _) => "cancelling".to_owned(),
            (_, Some(line)) => format!("running: {line}"),
            (_, None) => "running".to_owned(),
        };
        let fraction = body.progress.filter(|done| *done > 0.0 && *done <= 1.0);
        let progress = Progress { phase, fraction };
        if self.told.as_ref() == Some(&progress) {
            return None;
        }
        self.told_at = Some(Instant::now());
        self.told = Some(progress.clone());
        Some(progress)
    }
}

#[cfg(test)]
mod tests;
