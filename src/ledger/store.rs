//! The ledger's file, behind one plain thread: commands go in by a channel, answers come back when they are durable.
//!
//! What a command does is in `rows.rs`, how the file is opened, doubted and replaced in `file.rs`.

mod file;
mod rows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use super::row::{Change, Row, RowState};
use super::tag::Owner;
use crate::model::{Code, Error, Result, Retry, Tag, TargetName};
use file::Db;
pub(super) use file::Need;
pub(crate) use rows::{Caps, day_of};

/// How long a command is waited for: a full wait for other processes, twice, and its own work.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

type Job = Box<dyn FnOnce(&mut Db) + Send>;

/// The ledger. Cheap to clone; the thread ends with the last of them.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    jobs: mpsc::Sender<Job>,
    replaced: Arc<AtomicBool>,
    folder: Arc<Path>,
}

/// Who writes: whoever has lost a row to another one must not.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    /// The process.
    pub owner: Owner,
    /// The number that its rows have.
    pub epoch: i64,
}

/// Wall time, from the epoch; advisory.
pub(crate) fn wall_now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

impl Store {
    /// A ledger in this folder. The file is opened, and made, by the first command; one that cannot be opened is
    /// tried again by each further command.
    ///
    /// # Errors
    /// `internal` when the system gives no thread.
    pub(crate) fn start(folder: PathBuf) -> Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let replaced = Arc::new(AtomicBool::new(false));
        let path: Arc<Path> = folder.clone().into();
        let mut db = Db::new(folder, replaced.clone());
        // It ends with the last sender. A panic ends it too, and every later command fails: nothing is created then.
        std::thread::Builder::new()
            .name("sparklease-ledger".to_owned())
            .spawn(move || {
                for job in inbox {
                    job(&mut db);
                }
            })
            .map_err(|error| {
                Error::internal("the ledger's thread cannot be started").source_error(error)
            })?;
        Ok(Self {
            jobs,
            replaced,
            folder: path,
        })
    }

    /// Whether there is a ledger at all: nothing is made by asking.
    pub(crate) fn exists(folder: &Path) -> bool {
        folder.join(file::NAME).exists()
    }

    /// The folder of the ledger.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether a damaged file was put aside, by whomever, since the last call: rows of other processes are missing then, and
    /// sessions have to be looked for by their names.
    pub(crate) fn take_replaced(&self) -> bool {
        self.replaced.swap(false, Ordering::Relaxed)
    }

    /// Opens the file now, for whoever has to know that it can be opened.
    ///
    /// # Errors
    /// See [`Store::rows`].
    pub(crate) async fn open(&self) -> Result<()> {
        self.call(|db| db.run(Need::Read, |_| Ok(()))).await
    }

    /// Writes a row before its create is sent: durable on return. The caps are checked in the same transaction.
    ///
    /// # Errors
    /// `sessions_exhausted`, `capacity_unavailable` (too many that cannot be deleted), `budget_exceeded`, and what
    /// keeps the file from being written: `configuration_invalid`, `timeout`, `internal`.
    /// # Cancel safety
    /// Dropped, or late, the row is taken back: nobody can have sent the create.
    pub(crate) async fn intend(&self, row: Row, caps: Caps) -> Result<()> {
        let tag = row.tag.clone();
        self.call_or_undo(
            move |db| {
                db.run(Need::Write, |connection| {
                    rows::intend(connection, &row, &caps, wall_now())
                })?;
                db.own(row);
                Ok(())
            },
            move |db| {
                let never =
                    |c: &mut _| rows::change(c, &tag, &Change::NeverCreated, None, wall_now());
                if db.run(Need::Write, never).is_ok() {
                    db.disown(&tag);
                }
            },
        )
        .await
    }

    /// Writes what happened to a session.
    ///
    /// # Errors
    /// `session_lost` when the row has ended or belongs to somebody else by now, and see [`Store::intend`].
    pub(crate) async fn change(
        &self,
        tag: &Tag,
        change: Change,
        writer: Option<Writer>,
    ) -> Result<Row> {
        let tag = tag.clone();
        self.call(move |db| {
            if let Change::Created(id) = &change {
                db.learn(&tag, id);
            }
            let row = db.run(Need::Write, |connection| {
                rows::change(connection, &tag, &change, writer.as_ref(), wall_now())
            })?;
            if row.state == RowState::Gone {
                db.disown(&tag);
            } else {
                db.renew(&row);
            }
            Ok(row)
        })
        .await
    }

    /// Writes that a delete was tried.
    ///
    /// # Errors
    /// See [`Store::intend`].
    pub(crate) async fn attempted(
        &self,
        tag: &Tag,
        error: Option<Code>,
        stuck: bool,
    ) -> Result<()> {
        let tag = tag.clone();
        self.call(move |db| {
            db.run(Need::Write, |connection| {
                rows::attempted(connection, &tag, error, stuck)
            })
        })
        .await
    }

    /// Takes over the rows of a dead owner that are not gone, so that it can write to them no more.
    ///
    /// # Errors
    /// See [`Store::intend`]; the rows can then still be read.
    pub(crate) async fn take_over(&self, owner: &Owner) -> Result<Vec<Row>> {
        let owner = owner.clone();
        self.call(move |db| {
            db.run(Need::Write, |connection| {
                rows::take_over(connection, &owner)
            })
        })
        .await
    }

    /// Every row, ended ones of the last days too, oldest first. Works while the file can only be read.
    ///
    /// # Errors
    /// What keeps the file from being read: `configuration_invalid`, `timeout`, `internal`.
    pub(crate) async fn rows(&self) -> Result<Vec<Row>> {
        self.call(|db| db.run(Need::Read, |connection| rows::all(connection)))
            .await
    }

    /// One row; `None` for a name that the ledger does not have.
    ///
    /// # Errors
    /// See [`Store::rows`].
    pub(crate) async fn row(&self, tag: &Tag) -> Result<Option<Row>> {
        let tag = tag.clone();
        self.call(move |db| {
            let read = db.run(Need::Read, |connection| rows::one(connection, &tag));
            let own = db.own_row(&tag);
            match (read, own) {
                // What could not be written down yet.
                (Ok(Some(mut row)), Some(own)) => {
                    row.remote_id = row.remote_id.or(own.remote_id);
                    Ok(Some(row))
                }
                (Ok(None) | Err(_), Some(own)) => Ok(Some(own)),
                (read, None) => read,
            }
        })
        .await
    }

    /// Seconds that the sessions of a target have been open on a UTC day, counted from the epoch; those that are open
    /// now count up to now.
    ///
    /// # Errors
    /// See [`Store::rows`].
    pub(crate) async fn seconds(&self, target: &TargetName, day: i64) -> Result<u64> {
        let target = target.clone();
        self.call(move |db| {
            db.run(Need::Read, |connection| {
                rows::seconds(connection, &target, day, wall_now())
            })
        })
        .await
    }

    /// Ends a row by a person's word, with a line that says so.
    ///
    /// # Errors
    /// `not_found`, and see [`Store::intend`].
    pub(crate) async fn forget(&self, tag: &Tag) -> Result<Row> {
        let tag = tag.clone();
        self.call(move |db| {
            let row = db.run(Need::Write, |connection| {
                rows::forget(connection, &tag, wall_now())
            })?;
            db.disown(&tag);
            Ok(row)
        })
        .await
    }

    /// Runs SQL on the ledger's own connection: faults are made by it.
    #[cfg(test)]
    pub(super) async fn sql(&self, need: Need, sql: &'static str) -> Result<()> {
        self.call(move |db| db.run(need, |connection| Ok(connection.execute_batch(sql)?)))
            .await
    }

    /// Ends the thread, as a fault in it would.
    #[cfg(test)]
    pub(super) fn break_down(&self) {
        let fault: Job = Box::new(|_| panic!("the test wants the thread to end"));
        self.jobs.send(fault).unwrap();
    }

    async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Db) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.call_or_undo(job, |_| ()).await
    }

    /// `undo` runs after a success that nobody has taken.
    async fn call_or_undo<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Db) -> Result<T> + Send + 'static,
        undo: impl FnOnce(&mut Db) + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let mut awaited = Awaited {
            answer,
            undo: Arc::new(Mutex::new(Some(Box::new(undo)))),
            jobs: self.jobs.clone(),
        };
        let undo = awaited.undo.clone();
        let job: Job = Box::new(move |db| {
            if let Err(Ok(_)) = reply.send(job(db))
                && let Some(undo) = take(&undo)
            {
                undo(db);
            }
        });
        let ended =
            || Error::internal("the ledger's thread has ended, so nothing can be created any more");
        #[cfg(test)]
        let _held = hold_clock();
        self.jobs.send(job).map_err(|_| ended())?;
        match tokio::time::timeout(ANSWER_WAIT, &mut awaited.answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ended()),
            Err(_) => Err(Error::new(
                Code::Timeout,
                format!(
                    "the ledger has not answered for {} s",
                    ANSWER_WAIT.as_secs()
                ),
            )
            .hint("Look at the disk of SPARKLEASE_DATA_DIR, then try again.")
            .retry(Retry::Now)),
        }
    }
}

/// An answer that somebody waits for. Dropped with a success in it that came a moment too late, it is undone.
struct Awaited<T> {
    answer: oneshot::Receiver<Result<T>>,
    undo: Arc<Mutex<Option<Job>>>,
    jobs: mpsc::Sender<Job>,
}

fn take(undo: &Mutex<Option<Job>>) -> Option<Job> {
    undo.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl<T> Drop for Awaited<T> {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(_)) = self.answer.try_recv()
            && let Some(undo) = take(&self.undo)
        {
            // The thread has ended: nothing is created any more, and the next sweep ends the row.
            let _ = self.jobs.send(undo);
        }
    }
}

/// Rows that this process has opened and that are not gone: written again when the file had to be replaced.
type Own = BTreeMap<Tag, Row>;

/// A clock that a test has paused jumps ahead whenever all tasks wait, also for our thread. It does not while there is
/// work beside the runtime: this is some, until it is dropped.
#[cfg(test)]
fn hold_clock() -> mpsc::Sender<()> {
    let (held, wait) = mpsc::channel();
    tokio::task::spawn_blocking(move || wait.recv());
    held
}

/// Whether an intent of this name is durable: asked of the file, as another process sees it.
#[cfg(test)]
pub(super) fn has_row(file: &Path, tag: &str) -> bool {
    let Ok(connection) = rusqlite::Connection::open(file) else {
        return false;
    };
    let wait = connection.busy_timeout(Duration::from_secs(5));
    let state = connection.query_row("SELECT state FROM sessions WHERE tag = ?1", [tag], |row| {
        row.get::<_, String>(0)
    });
    wait.is_ok() && state.is_ok_and(|state| state == "intended" || state == "deleting")
}

#[cfg(test)]
mod tests;
