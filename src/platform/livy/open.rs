//! Opening a session: create it once, settle a lost answer by its name, wait until it is ready, install the harness.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::Options;
use super::client::{Client, Trouble};
use super::run::{Job, Reply};
use super::session::{LOG_LINES, Live, ended, with_log};
use super::wire::{SessionBody, SessionState};
use crate::model::{Code, Error, Progress, Result, Retry};
use crate::platform::Reporter;
use crate::platform::remote::Created;
use crate::python::{About, harness};

/// Between two looks at a session that starts; most take 10 s to minutes.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After a lost answer of a create, how long its session may take to show up before the open gives up on it. The close
/// goes on looking for it.
const SHOW_UP: Duration = Duration::from_secs(10);

/// Opens the session and returns what it says of itself.
///
/// # Errors
/// What the server says; `timeout` after `options.open_for`.
pub(super) async fn open(
    client: &Arc<Client>,
    live: &Arc<Live>,
    options: &Options,
    report: &Reporter,
) -> Result<About> {
    let deadline = Instant::now() + options.open_for;
    report.say(Progress::phase("asking for a session"));
    // Tells a wrong address or sign-in before anything is created.
    tokio::select! {
        () = live.over.cancelled() => return Err(closing_down()),
        version = client.version() => version?,
    };
    live.note_created(Created::Perhaps);
    let body = create(client, live, options).await?;
    live.note(&body);
    if let Some(id) = body.id() {
        report.created(&id).await?;
    }
    tokio::spawn(super::session::beat(
        client.clone(),
        live.clone(),
        options.heartbeat,
    ));
    wait(client, live, body, deadline, options, report).await?;
    report.say(Progress::phase("preparing the session"));
    install(client, live, deadline, options).await
}

async fn create(client: &Client, live: &Live, options: &Options) -> Result<SessionBody> {
    let request = client.dialect.create(&live.tag, options);
    let trouble = match client.create(&request).await {
        // An answer of another name is a fault of the server; ours is looked for by name.
        Ok(body)
            if body
                .name
                .as_deref()
                .is_none_or(|name| name == live.tag.as_str()) =>
        {
            live.note_created(Created::Yes);
            return Ok(body);
        }
        Ok(_) => Trouble::Fault(crate::platform::http::Fault {
            perhaps_sent: true,
            error: Error::new(
                Code::PlatformUnavailable,
                "the server answered with a session of another name",
            )
            .hint("Run `sparklease doctor`."),
        }),
        Err(trouble) => trouble,
    };
    let perhaps = match &trouble {
        Trouble::Refused(refusal) => refusal.duplicate_name() || refusal.perhaps_done(),
        Trouble::Fault(fault) => fault.perhaps_sent,
    };
    if !perhaps {
        live.note_created(Created::No);
        return Err(client.error(&trouble, "open a session"));
    }
    // Never sent again: the name says whether it was done.
    let until = Instant::now() + SHOW_UP;
    loop {
        if let Ok(Some(body)) = client.session(&live.tag).await {
            live.note_created(Created::Yes);
            return Ok(body);
        }
        if Instant::now() >= until {
            return Err(client.error(&trouble, "open a session"));
        }
        tokio::select! {
            () = live.over.cancelled() => return Err(closing_down()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Looks at it until it is ready.
async fn wait(
    client: &Client,
    live: &Live,
    mut body: SessionBody,
    deadline: Instant,
    options: &Options,
    report: &Reporter,
) -> Result<()> {
    let failed = |why: String| {
        Error::new(
            Code::CapacityUnavailable,
            format!("the session did not start: {why}"),
        )
        .hint("Look at the server's log; `sparklease doctor` checks the target.")
    };
    let mut shown = String::new();
    loop {
        match body.state()? {
            Some(SessionState::Ready | SessionState::Busy) => return Ok(()),
            Some(SessionState::Starting) | None => {}
            Some(SessionState::Closing) => {
                return Err(failed("the server is ending it".to_owned()));
            }
            Some(SessionState::Closed | SessionState::Failed) => {
                let lines = client.last_lines(&live.tag, LOG_LINES).await;
                let state = body.state.unwrap_or_default();
                return Err(failed(with_log(
                    format!("the server says it is {state}"),
                    &lines,
                )));
            }
        }
        let state = body.state.as_deref().unwrap_or("starting");
        let phase = match live.said() {
            Some(line) => format!("session is {state}: {line}"),
            None => format!("session is {state}"),
        };
        if phase != shown {
            report.say(Progress::phase(phase.clone()));
            shown = phase;
        }
        if Instant::now() >= deadline {
            return Err(too_long(options, &ended(&body)));
        }
        tokio::select! {
            () = live.over.cancelled() => return Err(closing_down()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let looked = tokio::select! {
            () = live.over.cancelled() => return Err(closing_down()),
            looked = client.session(&live.tag) => looked,
        };
        body = match looked {
            Ok(Some(body)) => body,
            Ok(None) => return Err(failed("the server does not know it any more".to_owned())),
            // The server may be back before the deadline; the heartbeat runs by its own clock.
            Err(_) if Instant::now() < deadline => continue,
            Err(trouble) => return Err(client.error(&trouble, "open a session")),
        };
        live.note(&body);
    }
}

/// The harness's own first act, and the proof that its answers come back whole.
async fn install(
    client: &Arc<Client>,
    live: &Arc<Live>,
    deadline: Instant,
    options: &Options,
) -> Result<About> {
    let nonce = Uuid::new_v4().simple().to_string();
    let code = harness::bootstrap(&json!({
        "op": "install",
        "nonce": nonce,
        "move_protocol": client.dialect.repl_on_pipes,
    }))
    .map_err(|e| Error::internal("the harness cannot be packed").source_error(e))?;
    let job = Job::quiet(client, live);
    let answered = tokio::select! {
        () = live.over.cancelled() => return Err(closing_down()),
        answered = tokio::time::timeout_at(deadline, job.answer(&code, &nonce)) => answered,
    };
    let refused = |why: &str| {
        Error::new(
            Code::SpecRejected,
            format!("the session cannot run our Python: {why}"),
        )
        .hint("Give the session Python 3.9 or later (for example spark.pyspark.python in `conf`).")
    };
    match answered {
        Err(_) => Err(too_long(options, "its first statement did not end")),
        Ok(Reply::Envelope(envelope)) => envelope
            .about
            .ok_or_else(|| Error::internal("the harness said nothing of the session")),
        // Nothing of the user's has run yet: these words are the interpreter's own.
        Ok(Reply::Raised(text)) => Err(refused(&text)),
        Ok(Reply::Lost { why, .. }) => Err(refused(&why)),
        Ok(Reply::Failed(error)) => Err(error),
        Ok(Reply::Stopped(_)) => Err(refused("its first statement was cancelled")),
    }
}

fn too_long(options: &Options, last: &str) -> Error {
    Error::new(
        Code::Timeout,
        format!(
            "the session was not ready within {}: {last}",
            humantime::format_duration(options.open_for)
        ),
    )
    .hint("Call again later, or raise limits.open of the target.")
    .retry(Retry::Now)
}

fn closing_down() -> Error {
    Error::new(
        Code::Cancelled,
        "the session was closed while it was being opened",
    )
}
