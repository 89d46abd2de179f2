//! Sweeping: making every session of a dead owner gone, and proving it. One procedure for the guardian, for every
//! start and for every minute; the delete loop of a row serves a living owner's own sessions too.
//!
//! Nothing here needs a write to the ledger to go on: a delete is sent first and written down when possible.

mod names;
pub(crate) mod pace;
mod report;

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{info, warn};
use uuid::Uuid;

use super::guard::owner::{OwnerLock, Owners};
use super::row::{Change, Row, RowState};
use super::store::Store;
use super::tag::Owner;
use crate::model::{Code, Error, Result, Retry, Tag};
use crate::platform::remote::{Closed, Place, Remote};
use pace::{Timing, Tried, next_look, next_wait};
pub(crate) use report::{Fate, Left, Report};

/// The longest that one call to a service may take: a delete has 15 s, and the looks after it a few more.
const CALL_FOR: Duration = Duration::from_secs(60);

/// How long a sweep waits for the ledger before it goes on without: a full or broken disk must not keep a session
/// alive.
const RECORD_FOR: Duration = Duration::from_secs(2);

/// Rows of a sweep that are asked about at once; more would only make a service answer 429. One that only waits for its
/// next look takes none of these places: others may be running and cost.
const AT_ONCE: usize = 8;

/// What sweeps: the ledger, the owners' locks, and the places that sessions can be deleted at.
#[derive(Clone, Debug)]
pub(crate) struct Sweeper {
    pub(super) store: Store,
    pub(super) owners: Owners,
    pub(super) remotes: Arc<[Arc<dyn Remote>]>,
    pub(super) timing: Timing,
}

/// What one round of a row came to.
enum Round {
    /// Nothing under this name is left, as far as can be seen.
    Clear,
    /// It was found or remembered, and does not go.
    StillThere,
    Failed(Error),
}

impl Sweeper {
    /// For a ledger's folder, which need not exist.
    ///
    /// # Errors
    /// `internal` when the system gives no thread.
    pub(crate) fn new(
        folder: PathBuf,
        remotes: Vec<Arc<dyn Remote>>,
        timing: Timing,
    ) -> Result<Self> {
        Ok(Self {
            owners: Owners::below(&folder),
            store: Store::start(folder)?,
            remotes: remotes.into(),
            timing,
        })
    }

    /// Where it can delete.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.remotes.iter().map(|remote| remote.place())
    }

    fn remote(&self, place: &Place) -> Option<Arc<dyn Remote>> {
        let mut remotes = self.remotes.iter();
        remotes.find(|remote| remote.place() == *place).cloned()
    }

    /// Makes one session gone: looks for its name, deletes, proves, and never gives up before `until`.
    ///
    /// A session whose create has no known answer is looked for until the settle time is over, counted from this
    /// call by a clock that does not jump, whatever shows up on the way.
    ///
    /// # Cancel safety
    /// Dropped, the session may be left. It runs in tasks of its own.
    pub(crate) async fn remove(&self, row: Row, until: Option<Instant>) -> Fate {
        self.remove_known(row, until, true, None).await
    }

    /// The same for one of this process whose row somebody else has ended: what the ledger says of it does not count.
    pub(super) async fn remove_again(&self, row: Row) -> Fate {
        self.remove_known(row, None, false, None).await
    }

    async fn remove_known(
        &self,
        row: Row,
        until: Option<Instant>,
        known: bool,
        turns: Option<&Semaphore>,
    ) -> Fate {
        let Some(remote) = self.remote(&row.place) else {
            return Fate::left(&row, Left::NotConfigured);
        };
        let begun = Instant::now();
        let answerless = row.remote_id.is_none();
        let mut row = row;
        let (mut failures, mut looks) = (0_u32, 0_u32);
        let mut failing_since: Option<Instant> = None;
        loop {
            if known && self.is_ended(&mut row).await {
                return Fate::gone(&row);
            }
            let turn = match turns {
                Some(turns) => turns.acquire().await.ok(),
                None => None,
            };
            // Before the look: what materialises during it may not show in it.
            let settled = !answerless || begun.elapsed() >= self.timing.settle_for;
            let round = self.round(&mut row, remote.as_ref()).await;
            drop(turn);
            let wait = match round {
                Round::Clear if settled => {
                    self.record(&row.tag, Change::Gone).await;
                    info!(tag = %row.tag, target = %row.target, "session gone");
                    return Fate::gone(&row);
                }
                Round::Clear => {
                    if row.state < RowState::Deleting {
                        self.record(&row.tag, Change::Deleting).await;
                        row.state = RowState::Deleting;
                    }
                    failing_since = None;
                    failures = 0;
                    looks += 1;
                    let rest = self.timing.settle_for.saturating_sub(begun.elapsed());
                    next_look(&self.timing, looks - 1).min(rest)
                }
                Round::StillThere | Round::Failed(_) => {
                    let error = match round {
                        Round::Failed(error) => Some(error),
                        _ => None,
                    };
                    failures = failures.saturating_add(1);
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    self.failed(&mut row, failures, since, error.as_ref()).await
                }
            };
            if until.is_some_and(|until| Instant::now() + wait >= until) {
                return Fate::left(&row, Left::Trying);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Whether somebody else has ended the row: another sweep, or a person. What the ledger knows by now is taken
    /// over.
    async fn is_ended(&self, row: &mut Row) -> bool {
        let read = tokio::time::timeout(RECORD_FOR, self.store.row(&row.tag)).await;
        let Ok(Ok(Some(now))) = read else {
            return false;
        };
        if row.remote_id.is_none() {
            row.remote_id = now.remote_id;
        }
        row.state = row.state.max(now.state);
        now.state == RowState::Gone
    }

    /// One round: every session of this name, found or remembered, is asked to go, whatever happens to the others.
    async fn round(&self, row: &mut Row, remote: &dyn Remote) -> Round {
        let found = called(remote.find_by_tag(&row.tag)).await;
        let (mut ids, mut failed) = match found {
            Ok(ids) => (ids, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        if row.remote_id.is_none()
            && let Some(id) = ids.first()
        {
            info!(tag = %row.tag, "a create without an answer turned up");
            self.record(&row.tag, Change::Created(id.clone())).await;
            row.remote_id = Some(id.clone());
        }
        ids.extend(row.remote_id.clone());
        ids.sort();
        ids.dedup();
        let mut there = false;
        for id in ids {
            match called(remote.close_verified(&row.tag, &id)).await {
                Ok(Closed::Gone) => {}
                Ok(Closed::StillThere) => there = true,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Round::Failed(error),
            None if there => Round::StillThere,
            None => Round::Clear,
        }
    }

    /// Notes a round that came to nothing; gives the wait before the next one.
    async fn failed(
        &self,
        row: &mut Row,
        failures: u32,
        since: Instant,
        error: Option<&Error>,
    ) -> Duration {
        let stuck = row.stuck || since.elapsed() >= self.timing.stuck_after;
        let code = error.map(Error::code);
        if stuck && !row.stuck {
            let code = code.map_or("still listed", Code::as_str);
            warn!(tag = %row.tag, target = %row.target, code, "a session cannot be deleted: it is stuck, and goes on being tried");
        }
        row.stuck = stuck;
        row.last_error = code.map(|code| code.as_str().to_owned());
        row.attempts = row.attempts.saturating_add(1);
        if row.state < RowState::Deleting {
            self.record(&row.tag, Change::Deleting).await;
            row.state = RowState::Deleting;
        }
        let note = self.store.attempted(&row.tag, code, stuck);
        let _ = tokio::time::timeout(RECORD_FOR, note).await;
        let told = match error.map(Error::retry_kind) {
            Some(Retry::After(told)) => Some(told),
            _ => None,
        };
        let rarely = stuck || code == Some(Code::PermissionDenied);
        let tried = Tried {
            failures,
            rarely,
            told,
        };
        next_wait(&self.timing, tried, jitter())
    }

    /// Writes a change down if that is possible soon. What is not written is found again by the next sweep.
    async fn record(&self, tag: &Tag, change: Change) {
        let written = tokio::time::timeout(RECORD_FOR, self.store.change(tag, change, None)).await;
        if let Ok(Err(error)) = written
            && error.code() != Code::SessionLost
        {
            warn!(%tag, %error, "a delete cannot be written down; it goes on");
        }
    }

    /// Makes all sessions of a dead owner gone, and its file with them. What is left keeps the file for the next sweep.
    ///
    /// # Cancel safety
    /// Dropped, the lock is free again, and the next sweep does the rest.
    pub(crate) async fn sweep(&self, lock: OwnerLock, until: Option<Instant>) -> Report {
        let report = self.sweep_owner(&lock.owner, until).await;
        let rows = self.store.rows().await;
        let done = rows.is_ok_and(|rows| {
            let mut open = rows.iter().filter(|row| row.state != RowState::Gone);
            !open.any(|row| row.owner == lock.owner)
        });
        if done && report.is_clean() {
            let owners = self.owners.clone();
            let _ = tokio::task::spawn_blocking(move || owners.remove(lock)).await;
        }
        report
    }

    async fn sweep_owner(&self, owner: &Owner, until: Option<Instant>) -> Report {
        let rows = match self.store.take_over(owner).await {
            Ok(rows) => Ok(rows),
            // What cannot be written can often still be read.
            Err(error) => {
                warn!(%error, "the ledger cannot be written; the sweep goes on");
                self.store.rows().await.map(|rows| open_of(rows, owner))
            }
        };
        let mut report = match rows {
            Ok(rows) => self.remove_all(rows, until, true).await,
            Err(error) => {
                warn!(%error, "the ledger cannot be read; sessions are looked for by their names");
                self.by_names(owner, true, until).await
            }
        };
        // An owner makes its file just before its first row, and ended rows are kept for days: one without any row has
        // lost them with a damaged file.
        let all = self.store.rows().await;
        if all.is_ok_and(|rows| rows.iter().all(|row| row.owner != *owner)) {
            report.add(self.by_names(owner, false, until).await);
        }
        report
    }

    /// All of them side by side. For those that were only listed, which are not `known`, what the ledger says of the
    /// name does not keep the session alive.
    async fn remove_all(&self, rows: Vec<Row>, until: Option<Instant>, known: bool) -> Report {
        let turns = Semaphore::new(AT_ONCE);
        let removals = rows
            .into_iter()
            .map(|row| self.remove_known(row, until, known, Some(&turns)));
        join_all(removals).await.into_iter().collect()
    }

    /// Sweeps every owner that is dead and not being swept.
    ///
    /// # Errors
    /// `configuration_invalid` when the owners' files cannot be read.
    pub(crate) async fn sweep_dead(&self, until: Option<Instant>) -> Result<Report> {
        let owners = self.owners.clone();
        let dead = blocking(move || owners.take_dead()).await?;
        let sweeps = dead.into_iter().map(|lock| {
            info!(owner = %lock.owner, "sweeping after a dead owner");
            self.sweep(lock, until)
        });
        let mut report: Report = join_all(sweeps).await.into_iter().collect();
        report.add(self.sweep_nameless(until).await?);
        Ok(report)
    }

    /// Rows whose owner has no file any more. An owner's file is made before its first row, so it is dead.
    async fn sweep_nameless(&self, until: Option<Instant>) -> Result<Report> {
        if !Store::exists(self.store.folder()) {
            return Ok(Report::default());
        }
        // In this order: an owner that begins in between has a file by then.
        let Ok(rows) = self.store.rows().await else {
            return Ok(Report::default());
        };
        let owners = self.owners.clone();
        let known = blocking(move || owners.known()).await?;
        let rows = rows
            .into_iter()
            .filter(|row| row.state != RowState::Gone && !known.contains(&row.owner));
        Ok(self.remove_all(rows.collect(), until, true).await)
    }

    /// What a sweep would delete now, without doing it.
    ///
    /// # Errors
    /// What keeps the ledger or the owners' files from being read.
    pub(crate) async fn plan(&self) -> Result<Report> {
        if !Store::exists(self.store.folder()) {
            return Ok(Report::default());
        }
        let rows = self.store.rows().await?;
        let owners = self.owners.clone();
        let held = blocking(move || owners.held()).await?;
        let open = rows
            .into_iter()
            .filter(|row| row.state != RowState::Gone && !held.contains(&row.owner));
        let mut report: Report = open
            .map(|row| match self.remote(&row.place) {
                Some(_) => Fate::left(&row, Left::Planned),
                None => Fate::left(&row, Left::NotConfigured),
            })
            .collect();
        for row in self.strays().await? {
            if !report.names(&row.tag) {
                report.extend([Fate::left(&row, Left::Planned)]);
            }
        }
        Ok(report)
    }
}

/// The rows of an owner that are not gone.
fn open_of(rows: Vec<Row>, owner: &Owner) -> Vec<Row> {
    let mut rows = rows;
    rows.retain(|row| row.owner == *owner && row.state != RowState::Gone);
    rows
}

/// A call with its deadline; one that panics has failed.
async fn called<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(CALL_FOR, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Error::internal("the code that deletes sessions failed")),
        Err(_) => Err(Error::new(
            Code::Timeout,
            format!("the service has not answered for {} s", CALL_FOR.as_secs()),
        )
        .retry(Retry::Now)),
    }
}

/// What may wait for a lock for some seconds runs beside the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(Error::internal(
            "the code that looks at owners' files failed",
        ))
    })
}

/// From 0 to 1.
fn jitter() -> f64 {
    let byte = Uuid::new_v4().into_bytes()[0];
    f64::from(byte) / 255.0
}

#[cfg(test)]
mod tests;
