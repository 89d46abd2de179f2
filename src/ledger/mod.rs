//! The ledger: the durable record of every session that may exist, and everything that makes each of them gone.
//!
//! A row is written before its create is sent (`store`), under a name that finds the session again (`tag`). Who is dead
//! is known by locks (`guard::owner`), and cleaned up after by a guardian (`guard::guardian`), by every start and each
//! minute (`sweep`). No platform's name lives here: places are [`Remote`]s.
//!
//! ```text
//! intend ─▶ guardian READY ─▶ row durable ─▶ (create) ─▶ created(id) ─▶ … ─▶ remove: DELETE, look, again ─▶ gone
//! ```

pub(crate) mod guard;
mod recorded;
mod row;
mod store;
mod sweep;
mod tag;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::model::{Code, Error, Result, Tag, TargetName};
use crate::platform::remote::{Place, Remote};
use guard::owner::{OwnerLock, host};
use guard::watch::{Guard, GuardCommand};
pub(crate) use recorded::{Recorded, Terms};
pub(crate) use row::{Change, Row, RowState};
pub(crate) use store::{Caps, day_of, wall_now};
use store::{Store, Writer};
pub(crate) use sweep::pace::Timing;
pub(crate) use sweep::{Fate, Report, Sweeper};
pub(crate) use tag::Owner;
use tag::{Host, Name};

/// How often dead owners are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// From a start's first look for dead owners to its second: one that died a moment ago may hold its lock still, since
/// the kernel takes a process apart bit by bit.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A sweep beside the service's own work lets go of what it cannot delete after this, so that others may try.
const SWEEP_FOR: Duration = Duration::from_secs(600);

/// How often names without an owner are looked for: one listing of each place.
const NAMES_EVERY: u32 = 10;

/// How often one intent is written anew because the guardian died meanwhile. Once is a kill; three times is no accident.
const INTEND_AT_MOST: u32 = 3;

/// The epoch of a row that nobody has taken over.
const FIRST_EPOCH: i64 = 1;

/// Where the ledger of these data is.
pub(crate) fn folder(data: &Path) -> PathBuf {
    data.join("ledger")
}

/// What is to be opened.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    /// For which entry of the configuration.
    pub target: TargetName,
    /// Where, and as whom.
    pub place: Place,
    /// How long it will live at most: its name says when it is over.
    pub life_for: Duration,
    /// What the target allows.
    pub caps: Caps,
}

/// The right to send one create, and the name to send it with. It is durable that this may have happened.
#[derive(Debug)]
#[must_use = "a row that nobody uses counts as a session"]
pub(crate) struct Permit {
    /// The session's name.
    pub tag: Tag,
}

/// The ledger of this process, and its guardian. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sweeper: Sweeper,
    command: GuardCommand,
    alive: OnceCell<Alive>,
    stop: CancellationToken,
    /// Gone for certain, and not yet written down.
    unwritten: Mutex<BTreeSet<Tag>>,
    /// This process's own sessions, as they were written: a delete must not need a file that can be read.
    own: Mutex<BTreeMap<Tag, Row>>,
}

/// What this process has from its first create on.
#[derive(Debug)]
struct Alive {
    owner: Owner,
    host: Host,
    guard: Guard,
    lock: Mutex<Option<OwnerLock>>,
}

impl Ledger {
    /// A ledger in this folder. Nothing is made there and no process is started before the first [`Ledger::intend`],
    /// and nothing is swept before [`Ledger::watch_over`].
    ///
    /// # Errors
    /// `internal` when the system gives no thread.
    pub(crate) fn new(
        folder: PathBuf,
        remotes: Vec<Arc<dyn Remote>>,
        command: GuardCommand,
        timing: Timing,
    ) -> Result<Self> {
        Ok(Self {
            inner: Arc::new(Inner {
                sweeper: Sweeper::new(folder, remotes, timing)?,
                command,
                alive: OnceCell::new(),
                stop: CancellationToken::new(),
                unwritten: Mutex::default(),
                own: Mutex::default(),
            }),
        })
    }

    /// Writes down that a session may exist from now on: durable on return, with a guardian that has said READY.
    ///
    /// Called by the task that opens a session, once for each create, before a byte of it is sent.
    ///
    /// # Errors
    /// `sessions_exhausted`, `capacity_unavailable`, `budget_exceeded`: the caps. `configuration_invalid`,
    /// `timeout`, `internal`: the file cannot be written, or there is no guardian. Nothing may be created then.
    /// # Cancel safety
    /// Dropped, no row is left.
    pub(crate) async fn intend(&self, intent: Intent) -> Result<Permit> {
        let inner = &self.inner;
        if has_user_part(&intent.place.base) {
            return Err(Error::internal(
                "an address with a user part would be written to the ledger",
            ));
        }
        if inner.stop.is_cancelled() {
            return Err(stopping());
        }
        let alive = inner.alive.get_or_try_init(|| inner.begin()).await?;
        for _ in 0..INTEND_AT_MOST {
            alive.guard.ready().await?;
            let tag = self.write_intent(alive, &intent).await?;
            if inner.stop.is_cancelled() {
                // It stopped while we wrote. Its guardian may have looked already.
                let _ = self.never_created(&tag).await;
                return Err(stopping());
            }
            if alive.guard.is_ready() {
                return Ok(Permit { tag });
            }
            // It died while we wrote. What cannot be written now is written later.
            let _ = self.never_created(&tag).await;
        }
        Err(
            Error::internal("guardians die again and again, so no session is opened")
                .hint("Look for what kills `sparklease guard` on this machine, then call again."),
        )
    }

    /// Writes a row under a new name; gives the name.
    async fn write_intent(&self, alive: &Alive, intent: &Intent) -> Result<Tag> {
        let now = wall_now();
        let name = Name::new(&alive.host, &alive.owner, now, intent.life_for);
        let tag = name.tag();
        let row = Row {
            tag: tag.clone(),
            owner: alive.owner.clone(),
            epoch: FIRST_EPOCH,
            target: intent.target.clone(),
            place: intent.place.clone(),
            remote_id: None,
            state: RowState::Intended,
            created: now,
            expires: name.expires,
            attempts: 0,
            stuck: false,
            last_error: None,
        };
        self.inner.store().intend(row.clone(), intent.caps).await?;
        self.inner.own().insert(tag.clone(), row);
        Ok(tag)
    }

    /// Writes the id down. Called as soon as it is known, and before the session is used.
    ///
    /// # Errors
    /// `session_lost` when a sweep has taken the row or ended it. After any error the session must be
    /// [removed](Ledger::remove), not used.
    pub(crate) async fn created(&self, tag: &Tag, id: &str) -> Result<()> {
        if let Some(row) = self.inner.own().get_mut(tag) {
            row.remote_id = Some(id.to_owned());
        }
        self.change(tag, Change::Created(id.to_owned())).await
    }

    /// Writes down that the create was refused for certain (an answer that says so), or was never sent. A timeout, a
    /// reset and a 5xx say nothing for certain: [`Ledger::remove`] is for those.
    ///
    /// # Errors
    /// What keeps the file from being written; the row then counts until this process ends.
    pub(crate) async fn never_created(&self, tag: &Tag) -> Result<()> {
        self.ended(tag, Change::NeverCreated).await
    }

    /// Writes down that the session is proved to be gone. What cannot be written now is written later.
    ///
    /// # Errors
    /// What keeps the file from being written.
    pub(crate) async fn gone(&self, tag: &Tag) -> Result<()> {
        self.ended(tag, Change::Gone).await
    }

    /// Makes one session of this process gone, proved, whatever is known of it: by its id, or by its name when the
    /// create had no answer. Returns when it is; never gives up.
    ///
    /// # Errors
    /// `not_found` for a name that the ledger never had, `configuration_invalid` when no target is at its place.
    /// # Cancel safety
    /// It goes on when the caller goes away.
    pub(crate) async fn remove(&self, tag: &Tag) -> Result<()> {
        let (ledger, tag) = (self.clone(), tag.clone());
        let work = tokio::spawn(async move {
            let own = ledger.inner.own().get(&tag).cloned();
            let written = ledger.inner.store().row(&tag).await;
            let sweeper = &ledger.inner.sweeper;
            let fate = match (written, own) {
                // Somebody else has ended it while it is ours: a create under way may have come to life since.
                (Ok(Some(row)), Some(own)) if row.state == RowState::Gone => {
                    sweeper.remove_again(own).await
                }
                (Ok(Some(row)), _) => sweeper.remove(row, None).await,
                // The file is damaged, or was put aside: what we wrote into it we still know.
                (_, Some(own)) => sweeper.remove(own, None).await,
                (Err(error), None) => return Err(error),
                (Ok(None), None) => {
                    return Err(Error::new(
                        Code::NotFound,
                        format!("the ledger has no session {tag}"),
                    ));
                }
            };
            if !fate.is_gone() {
                return Err(Error::new(
                    Code::ConfigurationInvalid,
                    format!("no target of this configuration can delete session {tag}"),
                )
                .hint("Put the target back into the configuration, then run `sparklease sweep`."));
            }
            // The sweep has tried to write it. Where that failed, it is gone all the same.
            let _ = ledger.gone(&tag).await;
            Ok(())
        });
        work.await
            .unwrap_or_else(|_| Err(Error::internal("the code that deletes sessions failed")))
    }

    /// Every row, of all processes, those that ended in the last days too.
    ///
    /// # Errors
    /// What keeps the file from being read.
    pub(crate) async fn rows(&self) -> Result<Vec<Row>> {
        self.inner.sweeper.rows().await
    }

    /// Says that this process is not hung. Called by the pool's own task, at least each 10 s: a guardian that hears
    /// nothing for long kills us.
    pub(crate) fn beat(&self) {
        if let Some(alive) = self.inner.alive.get() {
            alive.guard.beat();
        }
    }

    /// Starts to sweep after dead owners: now, a moment later, and each minute until [`Ledger::stop`].
    pub(crate) fn watch_over(&self) {
        let inner = self.inner.clone();
        let stop = self.inner.stop.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            let mut rounds = 0_u32;
            loop {
                let names =
                    rounds % NAMES_EVERY == NAMES_EVERY - 1 || inner.store().take_replaced();
                // A task for each: one that takes long must not keep the next from its dead.
                let sweep = inner.clone();
                let stop = inner.stop.clone();
                tokio::spawn(stop.run_until_cancelled_owned(async move {
                    sweep.round(names).await;
                }));
                let first = rounds == 0;
                tokio::time::sleep(if first { LOOK_AGAIN } else { SWEEP_EVERY }).await;
                rounds = rounds.wrapping_add(1);
            }
        }));
    }

    /// Ends this process's part: the owner counts as dead, and its guardian deletes what is left.
    pub(crate) async fn stop(&self) {
        self.inner.stop.cancel();
        let Some(alive) = self.inner.alive.get() else {
            return;
        };
        let lock = alive
            .lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(lock) = lock else { return };
        let rows = tokio::time::timeout(Duration::from_millis(200), self.rows()).await;
        let nothing_left = matches!(rows, Ok(Ok(rows)) if rows
            .iter()
            .all(|row| row.owner != alive.owner || row.state == RowState::Gone));
        if nothing_left {
            let owners = self.inner.sweeper.owners.clone();
            let _ = tokio::task::spawn_blocking(move || owners.remove(lock)).await;
        }
    }

    fn writer(&self) -> Option<Writer> {
        self.inner.alive.get().map(|alive| Writer {
            owner: alive.owner.clone(),
            epoch: FIRST_EPOCH,
        })
    }

    async fn change(&self, tag: &Tag, change: Change) -> Result<()> {
        let store = self.inner.store();
        store.change(tag, change, self.writer()).await.map(drop)
    }

    async fn ended(&self, tag: &Tag, change: Change) -> Result<()> {
        self.inner.own().remove(tag);
        let written = self.inner.store().change(tag, change, None).await.map(drop);
        if let Err(error) = &written
            && error.code() != Code::SessionLost
        {
            let mut unwritten = self
                .inner
                .unwritten
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            unwritten.insert(tag.clone());
        }
        written
    }
}

impl Drop for Inner {
    /// Without it, what watches over the guardian would start another one for ever.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Nothing is opened any more.
fn stopping() -> Error {
    Error::new(Code::Cancelled, "the server is shutting down")
}

/// `https://name:password@host/…`: a secret that would be kept.
fn has_user_part(base: &str) -> bool {
    let authority = base.split_once("://").map_or(base, |(_, rest)| rest);
    authority
        .split(['/', '?', '#'])
        .next()
        .is_some_and(|a| a.contains('@'))
}

impl Inner {
    fn store(&self) -> &Store {
        &self.sweeper.store
    }

    fn own(&self) -> std::sync::MutexGuard<'_, BTreeMap<Tag, Row>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first create of this process: its lock, its names, its guardian.
    async fn begin(&self) -> Result<Alive> {
        let owners = self.sweeper.owners.clone();
        let folder = self.store().folder().to_owned();
        let (host, lock) = sweep::blocking(move || {
            let host = host(&folder, true).and_then(|host| {
                host.ok_or_else(|| std::io::Error::other("it was removed at once"))
            });
            let host = host.map_err(|error| {
                Error::new(
                    Code::ConfigurationInvalid,
                    format!("the ledger's folder {} cannot be used: {error}", folder.display()),
                )
                .hint("Set SPARKLEASE_DATA_DIR to a folder that you may write, on a local disk with free space.")
                .source_error(error)
            })?;
            Ok((host, owners.claim()?))
        })
        .await?;
        let owner = lock.owner.clone();
        Ok(Alive {
            guard: Guard::new(
                self.command.clone(),
                owner.clone(),
                self.sweeper.places().collect(),
                self.stop.clone(),
            ),
            owner,
            host,
            lock: Mutex::new(Some(lock)),
        })
    }

    /// One round of every minute.
    async fn round(&self, names: bool) {
        let until = Some(Instant::now() + SWEEP_FOR);
        let unwritten: Vec<Tag> = {
            let mut tags = self
                .unwritten
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tags).into_iter().collect()
        };
        for tag in unwritten {
            if let Err(error) = self.store().change(&tag, Change::Gone, None).await
                && error.code() != Code::SessionLost
            {
                let mut tags = self
                    .unwritten
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                tags.insert(tag);
            }
        }
        if let Err(error) = self.sweeper.sweep_dead(until).await {
            warn!(%error, "dead owners cannot be looked for");
        }
        if names && let Err(error) = self.sweeper.sweep_strays(until).await {
            warn!(%error, "sessions without an owner cannot be looked for");
        }
    }
}

impl Sweeper {
    /// Every row; none where there is no ledger yet.
    ///
    /// # Errors
    /// What keeps the file from being read.
    pub(crate) async fn rows(&self) -> Result<Vec<Row>> {
        if !Store::exists(self.store.folder()) {
            return Ok(Vec::new());
        }
        self.store.rows().await
    }

    /// Seconds that sessions of a target were open on a UTC day ([`day_of`]), up to now.
    ///
    /// # Errors
    /// What keeps the file from being read.
    pub(crate) async fn seconds(&self, target: &TargetName, day: i64) -> Result<u64> {
        if !Store::exists(self.store.folder()) {
            return Ok(0);
        }
        self.store.seconds(target, day).await
    }

    /// What a person should know of the file after a command has used it.
    pub(crate) fn warning(&self) -> Option<String> {
        self.store.take_replaced().then(|| {
            format!(
                "the ledger was damaged; the file is kept in {} beside the new one. Run `sparklease sweep`, which looks for sessions by their names too.",
                self.store.folder().display()
            )
        })
    }

    /// Gives a row up that can never be deleted, by a person's word. One that its living owner uses or opens is refused.
    ///
    /// # Errors
    /// `not_found`, `policy_denied`, and what keeps the file from being written.
    pub(crate) async fn forget(&self, tag: &Tag) -> Result<Row> {
        let no_row = || {
            Error::new(
                Code::NotFound,
                format!("the ledger has no open session {tag}"),
            )
            .hint("Run `sparklease sessions` to see the names of all.")
        };
        if !Store::exists(self.store.folder()) {
            return Err(no_row());
        }
        let row = self.store.row(tag).await?.ok_or_else(no_row)?;
        let owners = self.owners.clone();
        let held = sweep::blocking(move || owners.held()).await?;
        // Also one that is being opened: its create may be under way.
        if row.state < RowState::Deleting && held.contains(&row.owner) {
            return Err(Error::new(
                Code::PolicyDenied,
                format!("session {tag} is in use: its owner lives"),
            )
            .hint("Close it with the tool close_session, or end the server that has it; then run `sparklease sweep`."));
        }
        self.store.forget(tag).await
    }
}

#[cfg(test)]
mod tests;
