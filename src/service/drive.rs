//! The one task that owns a statement: it waits for a lease, runs, cancels when asked or when time is up, and gives
//! the lease back. Nothing of it runs inside a caller's future.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::Tap;
use super::statements::{Record, Statements};
use crate::lease::{AcquireRequest, Lease, LeaseHandle, Outcome};
use crate::model::{Code, End, Error, Event, Result, Retry, SessionPhase, StatementState};
use crate::platform::{CANCEL_BOUND, Reporter, Statement};

/// How long a statement may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// For a session that others hold.
    pub(super) queue: Duration,
    /// For a session that is being opened; the first one installs the engine.
    pub(super) open: Duration,
    /// On the platform.
    pub(super) statement: Duration,
    /// What is left of that.
    pub(super) left: Duration,
}

/// What becomes of what a statement gives.
#[derive(Debug)]
pub(super) enum Keep {
    /// All rows are one result: SQL.
    OneResult {
        /// The text only reads: lost with its session, it may be run again.
        only_reads: bool,
    },
    /// Each table is a result; who reads the output as it comes, if anybody.
    Results(Option<Tap>),
}

/// Runs a statement to its end.
pub(super) async fn drive(
    statements: Statements,
    record: Arc<Record>,
    lease: LeaseHandle,
    statement: Statement,
    keep: Keep,
    waits: Waits,
) {
    let work = async {
        let mut others = OTHER_SESSIONS;
        let mut lost: Option<Loss> = None;
        loop {
            let mut waits = waits;
            if let Some(lost) = &lost {
                // What it may take, it may take in all.
                waits.left = waits.left.saturating_sub(lost.ran_for);
            }
            let ended = match acquire(&record, &lease, waits).await {
                Ok(Some(lease)) => {
                    run(&statements, &record, lease, statement.clone(), &keep, waits).await
                }
                Ok(None) => Ran::To(End::Cancelled),
                Err(e) => Ran::To(End::Failed(e)),
            };
            match ended {
                Ran::To(end) => break end,
                Ran::Not(_) if others > 0 => {
                    others -= 1;
                    record.update(|phase| phase.state = StatementState::Queued);
                }
                Ran::Not(e) => break End::Failed(e),
                Ran::Lost(loss) => match lost {
                    None => {
                        record.lock().begin_again(format!(
                            "its first session was lost ({}), so it was run again in another one",
                            loss.reason
                        ));
                        record.update(|phase| {
                            phase.state = StatementState::Queued;
                            phase.progress = None;
                        });
                        lost = Some(loss);
                    }
                    Some(first) => break End::Failed(lost_twice(&loss.error, &first.reason)),
                },
            }
        }
    };
    // A statement always ends, also by a bug of ours: callers wait for its state.
    let ended = AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| End::Failed(Error::internal("the statement's task panicked")));
    let (state, error) = match ended {
        End::Succeeded => (StatementState::Succeeded, None),
        End::Cancelled => (StatementState::Cancelled, None),
        End::Failed(e) => (StatementState::Failed, Some(e)),
    };
    record.weigh();
    record.update(|phase| {
        phase.state = state;
        phase.error = error;
        phase.progress = None;
        phase.ended = Some(Instant::now());
    });
    log(&record);
}

/// The user's code and its errors are never logged; a broken promise of ours is, under the id that the caller sees.
fn log(record: &Record) {
    let phase = record.watch().borrow().clone();
    let code = phase.error.as_ref().map(Error::code);
    if let (Some(Code::Internal), Some(error)) = (code, &phase.error) {
        tracing::error!(statement = %record.id, error = ?error, "statement failed by our fault");
    } else {
        tracing::debug!(statement = %record.id, state = phase.state.as_tool_word(), code = ?code, "statement ended");
    }
}

/// Whether a wait that ended was for a session that is being opened: a named one may as well be busy.
async fn on_its_way(record: &Record, lease: &LeaseHandle) -> bool {
    let Some(name) = record.session.clone() else {
        return true;
    };
    let found = lease.find(record.owner.clone(), name).await;
    found.is_ok_and(|session| session.phase == SessionPhase::Opening)
}

/// A lease on a session that is alive as far as is known; `None` when the statement was cancelled before.
async fn acquire(record: &Record, lease: &LeaseHandle, waits: Waits) -> Result<Option<Lease>> {
    let (report, mut reports) = Reporter::new();
    let mut deadline = Instant::now() + waits.queue;
    let opened_by = Instant::now() + waits.open;
    loop {
        let acquired = lease.acquire(AcquireRequest {
            owner: record.owner.clone(),
            target: record.target.clone(),
            session: record.session.clone(),
            deadline,
            report: report.clone(),
        });
        tokio::pin!(acquired);
        let acquired = loop {
            tokio::select! {
                acquired = &mut acquired => break acquired,
                () = record.cancel.cancelled() => return Ok(None),
                Ok(()) = reports.changed() => {
                    let progress = reports.borrow_and_update().clone();
                    record.update(|phase| phase.progress = progress);
                }
            }
        };
        let acquired = match acquired {
            Ok(acquired) => acquired,
            // The pool says `timeout` while a session is on its way, and that may take its own time.
            Err(e)
                if e.code() == Code::Timeout
                    && deadline < opened_by
                    && on_its_way(record, lease).await =>
            {
                deadline = opened_by;
                continue;
            }
            Err(e) => return Err(e),
        };
        let Some(reason) = acquired.lost() else {
            return Ok(Some(acquired));
        };
        // It died while it was free. The pool closes it; the next acquire gets another one, or for a name the
        // pool's own word that it is lost.
        acquired.release(Outcome::Lost(reason));
    }
}

/// How often a statement is given to another session because its session turned out to be dead before it began. Twice is
/// enough for what died while it was idle; more means that the platform is at fault.
const OTHER_SESSIONS: u32 = 2;

/// What became of a statement in one session.
enum Ran {
    /// It ended there.
    To(End),
    /// The session was dead already: nothing of it has run.
    Not(Error),
    /// The session died under it. It only reads, so it may be run again.
    Lost(Loss),
}

/// A session that was lost with the statement that ran in it.
struct Loss {
    error: Error,
    reason: String,
    /// How long the statement had run.
    ran_for: Duration,
}

/// Why a running statement is being ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    Asked,
    TimeIsUp,
}

async fn run(
    statements: &Statements,
    record: &Record,
    lease: Lease,
    statement: Statement,
    keep: &Keep,
    waits: Waits,
) -> Ran {
    record.update(|phase| {
        phase.state = StatementState::Running;
        phase.progress = None;
    });
    let mut events = lease.run(statement);
    let mut ending = Ending::No;
    let mut begun = false;
    let started = Instant::now();
    let mut deadline = started + waits.left;
    let (end, session_lost) = loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::End { end, session_lost }) => break (end, session_lost),
                Some(event) => {
                    begun = true;
                    if let (Event::Text { stream, text }, Keep::Results(Some(tap))) = (&event, keep) {
                        tokio::select! {
                            _ = tap.send((*stream, text.clone())) => {}
                            // A reader that stands still must not hold up a cancel.
                            () = record.cancel.cancelled() => {}
                            () = sleep_until(deadline) => {}
                        }
                    }
                    if let Err(e) = keep_event(statements, record, event, matches!(keep, Keep::OneResult { .. }))
                        && ending == Ending::No
                    {
                        // The rows have no place: the work is stopped, and the reason is the statement's.
                        record.update(|phase| phase.error = Some(e));
                        ending = Ending::Asked;
                        deadline = Instant::now() + CANCEL_BOUND;
                        lease.cancel(&record.id).await;
                    }
                }
                None => break (
                    End::Failed(Error::internal("the platform ended the statement without a word")),
                    Some("its platform lost it".to_owned()),
                ),
            },
            () = record.cancel.cancelled(), if ending == Ending::No => {
                ending = Ending::Asked;
                deadline = Instant::now() + CANCEL_BOUND;
                record.update(|phase| phase.state = StatementState::Cancelling);
                lease.cancel(&record.id).await;
            }
            () = sleep_until(deadline) => {
                if ending != Ending::No {
                    let lost = format!("it did not stop within {} s", CANCEL_BOUND.as_secs());
                    break (End::Cancelled, Some(lost));
                }
                ending = Ending::TimeIsUp;
                deadline = Instant::now() + CANCEL_BOUND;
                record.update(|phase| phase.state = StatementState::Cancelling);
                lease.cancel(&record.id).await;
            }
        }
    };
    drop(events);
    let only_reads = matches!(keep, Keep::OneResult { only_reads: true });
    if let Some(reason) = &session_lost {
        tracing::info!(session = %lease.session.id, reason, "session lost");
        if lease.named.is_some() || matches!(end, End::Cancelled) {
            record.lock().warning(format!(
                "the session is gone ({reason}); its variables and temp views are lost"
            ));
        }
    }
    let named = lease.named.clone();
    let target = lease.target.clone();
    let lost = session_lost.clone();
    lease.release(session_lost.map_or(Outcome::Healthy, Outcome::Lost));
    if let (End::Failed(e), Some(reason)) = (&end, &lost)
        && e.code() == Code::SessionLost
        && (ending, &named) == (Ending::No, &None)
    {
        if !begun {
            return Ran::Not(e.clone());
        }
        if only_reads {
            return Ran::Lost(Loss {
                error: e.clone(),
                reason: reason.clone(),
                ran_for: started.elapsed(),
            });
        }
    }
    let named_lost = named.clone().filter(|_| lost.is_some());
    let end = match (end, named) {
        (End::Failed(e), named) if lost.is_some() && e.code() == Code::SessionLost => {
            let e = match begun && !only_reads {
                true => perhaps_done(&e),
                false => e,
            };
            // A name is never bound to another session by itself.
            End::Failed(match named {
                Some(name) => e.retry(Retry::No).hint(format!(
                    "Call open_session(name=\"{name}\", target=\"{target}\") to start a new one; its variables and temp views are lost."
                )),
                None => e,
            })
        }
        (end, _) => end,
    };
    let unkept = record.watch().borrow().error.clone();
    Ran::To(match (ending, end, unkept) {
        (_, _, Some(e)) => End::Failed(e),
        (Ending::TimeIsUp, End::Cancelled | End::Failed(_), None) => {
            let reopen = named_lost
                .map(|name| format!("open_session(name=\"{name}\", target=\"{target}\")"));
            End::Failed(time_is_up(waits.statement, reopen.as_deref()))
        }
        (_, end, None) => end,
    })
}

/// The error of a statement that may write and was lost with its session: it is never run again by itself.
fn perhaps_done(error: &Error) -> Error {
    let message = format!("{}; it may have had effects before", error.message());
    Error::new(Code::SessionLost, message)
        .hint("Check what it has done, then call the tool again; a new session is opened. Variables and temp views of the old one are lost.")
        .retry(error.retry_kind())
        .source_error(error.clone())
}

/// The error of a statement whose second session was lost too.
fn lost_twice(error: &Error, first: &str) -> Error {
    let message = format!(
        "{}; it had been run again after its first session was lost too ({first})",
        error.message()
    );
    Error::new(Code::SessionLost, message)
        .hint(error.hint_text().to_owned())
        .retry(error.retry_kind())
        .source_error(error.clone())
}

/// `reopen` is the call that opens the named session anew which was lost with the statement.
fn time_is_up(limit: Duration, reopen: Option<&str>) -> Error {
    let limit = humantime::format_duration(limit);
    let ended = format!("the statement did not end within its limit of {limit} and was cancelled");
    match reopen {
        None => Error::new(Code::Timeout, ended).hint(
            "Ask for less, or pass a larger timeout_s (up to limits.statement of the target).",
        ),
        Some(call) => Error::new(
            Code::Timeout,
            format!("{ended}; its session had to be ended too, with its variables and temp views"),
        )
        .hint(format!(
            "Call {call} to start it anew; then ask for less, or pass a larger timeout_s."
        )),
    }
}

fn keep_event(
    statements: &Statements,
    record: &Record,
    event: Event,
    one_result: bool,
) -> Result<()> {
    match event {
        Event::Started => {}
        Event::Progress(progress) => record.update(|phase| phase.progress = Some(progress)),
        Event::Text { text, .. } => record.lock().text(&text),
        Event::Value(text) => record.lock().value = Some(text),
        Event::Warning(text) => record.lock().warning(text),
        Event::Table(batch) => record.lock().table(batch, &statements.folder, one_result)?,
        Event::Image(image) => record.lock().image(image),
        Event::Written(written) => record.lock().written = Some(written),
        Event::Tables(page) => record.lock().tables = Some(*page),
        // The loop has taken it.
        Event::End { .. } => {}
    }
    Ok(())
}
