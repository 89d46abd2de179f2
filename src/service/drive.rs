//! The one task that owns a statement: it waits for a lease, runs, cancels when asked or when time is up, and gives
//! the lease back. Nothing of it runs inside a caller's future.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::{Instant, sleep_until};

use super::Tap;
use super::statements::{Record, Statements};
use crate::lease::{AcquireRequest, Lease, LeaseHandle, Outcome};
use crate::model::{Code, End, Error, Event, Progress, Result, StatementState};
use crate::platform::{CANCEL_BOUND, Reporter, Statement};

/// An idle session may have died unnoticed; so often another is taken before the error is shown.
const TRIES: u32 = 3;

/// How long a statement may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// For a session.
    pub(super) queue: Duration,
    /// On the platform.
    pub(super) statement: Duration,
}

/// What becomes of what a statement gives.
#[derive(Debug)]
pub(super) enum Keep {
    /// All rows are one result: SQL.
    OneResult,
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
    let ended = match acquire(&record, &lease, waits.queue).await {
        Ok(Some(lease)) => run(&statements, &record, lease, statement, keep, waits).await,
        Ok(None) => End::Cancelled,
        Err(e) => End::Failed(e),
    };
    let (state, error) = match ended {
        End::Succeeded => (StatementState::Succeeded, None),
        End::Cancelled => (StatementState::Cancelled, None),
        End::Failed(e) => (StatementState::Failed, Some(e)),
    };
    record.update(|phase| {
        phase.state = state;
        phase.error = error;
        phase.progress = None;
        phase.ended = Some(Instant::now());
    });
    tracing::debug!(statement = %record.id, state = state.as_tool_word(), "statement ended");
}

/// A lease on a session that is alive as far as is known; `None` when the statement was cancelled before.
async fn acquire(record: &Record, lease: &LeaseHandle, queue: Duration) -> Result<Option<Lease>> {
    let (report, mut reports) = Reporter::new();
    let deadline = Instant::now() + queue;
    for _ in 0..TRIES {
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
                acquired = &mut acquired => break acquired?,
                () = record.cancel.cancelled() => return Ok(None),
                Ok(()) = reports.changed() => {
                    let progress = reports.borrow_and_update().clone();
                    record.update(|phase| phase.progress = progress);
                }
            }
        };
        let Some(reason) = acquired.lost() else {
            return Ok(Some(acquired));
        };
        let named = acquired.named.clone();
        acquired.release(Outcome::Lost(reason.clone()));
        if let Some(name) = named {
            return Err(Error::new(
                Code::SessionLost,
                format!("the session {name} is gone: {reason}"),
            )
            .hint(format!(
                "Call open_session(name=\"{name}\") to start a new one; its variables and temp views are lost."
            )));
        }
    }
    Err(Error::new(
        Code::SessionLost,
        format!("{TRIES} sessions in a row were dead before they could be used"),
    )
    .hint("Run `sparklease doctor` to see what is wrong."))
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
    keep: Keep,
    waits: Waits,
) -> End {
    record.update(|phase| {
        phase.state = StatementState::Running;
        phase.progress = Some(Progress::phase("running"));
    });
    let mut events = lease.run(statement);
    let mut ending = Ending::No;
    let mut deadline = Instant::now() + waits.statement;
    let (end, session_lost) = loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::End { end, session_lost }) => break (end, session_lost),
                Some(event) => {
                    if let (Event::Text { stream, text }, Keep::Results(Some(tap))) = (&event, &keep) {
                        tokio::select! {
                            _ = tap.send((*stream, text.clone())) => {}
                            // A reader that stands still must not hold up a cancel.
                            () = record.cancel.cancelled() => {}
                            () = sleep_until(deadline) => {}
                        }
                    }
                    if let Err(e) = keep_event(statements, record, event, matches!(keep, Keep::OneResult))
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
    if let Some(reason) = &session_lost {
        tracing::info!(session = %lease.session.id, reason, "session lost");
        if lease.named.is_some() || matches!(end, End::Cancelled) {
            record.lock().warning(format!(
                "the session is gone ({reason}); its variables and temp views are lost"
            ));
        }
    }
    lease.release(session_lost.map_or(Outcome::Healthy, Outcome::Lost));
    let unkept = record.watch().borrow().error.clone();
    match (ending, end, unkept) {
        (_, _, Some(e)) => End::Failed(e),
        (Ending::TimeIsUp, End::Cancelled | End::Failed(_), None) => {
            End::Failed(time_is_up(waits.statement))
        }
        (_, end, None) => end,
    }
}

fn time_is_up(limit: Duration) -> Error {
    Error::new(
        Code::Timeout,
        format!(
            "the statement did not end within its limit of {} and was cancelled",
            humantime::format_duration(limit)
        ),
    )
    .hint("Ask for less, or pass a larger timeout_s (up to limits.statement of the target).")
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
        // The loop has taken it.
        Event::End { .. } => {}
    }
    Ok(())
}
