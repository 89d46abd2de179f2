//! The catalogue's file: SQLite, shared by all processes of the user. One plain thread writes and one reads, so that
//! a write that waits for the disk holds up no read.

use std::fmt;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use crate::model::{Code, Error, Result};

/// How long a write waits for another process's: writes take milliseconds, so this is a process that hangs.
const BUSY_FOR: Duration = Duration::from_secs(10);

/// How long an answer may take: a few writes in the queue before it, each with its own wait.
const ANSWER_FOR: Duration = Duration::from_secs(30);

/// The version of the tables in the file. A file of a newer one is left alone.
const VERSION: i64 = 1;

/// Names are compared by `key`, which is the name in lower case. `search` is what a search looks at, in lower case:
/// name, comment, columns and their comments. `version` is the Delta version that `schema` is of. A folder is in
/// `folders` from before it is made until a table has it, and in `trash` from when no table has it any more.
const SCHEMA: &str = "
CREATE TABLE databases (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    comment TEXT,
    properties TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE tables (
    id TEXT PRIMARY KEY,
    database INTEGER NOT NULL REFERENCES databases (id),
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    format TEXT NOT NULL,
    uri TEXT NOT NULL,
    path TEXT NOT NULL,
    owned INTEGER NOT NULL,
    catalog_managed INTEGER NOT NULL,
    comment TEXT,
    schema TEXT NOT NULL,
    partition_by TEXT NOT NULL,
    properties TEXT NOT NULL,
    version INTEGER,
    search TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (database, key)
) STRICT;
CREATE TABLE commits (
    table_id TEXT NOT NULL REFERENCES tables (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    file_name TEXT NOT NULL,
    file_size INTEGER NOT NULL,
    file_modified INTEGER NOT NULL,
    PRIMARY KEY (table_id, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE folders (
    path TEXT PRIMARY KEY,
    owner TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE trash (
    path TEXT PRIMARY KEY,
    since_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The file, open. Cheap to clone.
#[derive(Clone)]
pub(super) struct Store(Arc<Threads>);

struct Threads {
    write: Mutex<Option<Sender<Job>>>,
    read: Mutex<Option<Sender<Job>>>,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Store {
    /// Opens the file, and makes it if it is not there. Blocks on the disk; the caller keeps other openers out.
    ///
    /// # Errors
    /// `engine_unavailable` for a file that cannot be used.
    pub(super) fn open(file: &Path) -> Result<Self> {
        let writer = connect(file).map_err(|e| unusable(file, e))?;
        migrate(&writer, file)?;
        let reader = connect(file).map_err(|e| unusable(file, e))?;
        let (write, writing) = serve(writer, "catalogue-write")?;
        let (read, reading) = serve(reader, "catalogue-read")?;
        Ok(Self(Arc::new(Threads {
            write: Mutex::new(Some(write)),
            read: Mutex::new(Some(read)),
            running: Mutex::new(vec![writing, reading]),
        })))
    }

    /// Reads: all that `job` reads is of one moment.
    ///
    /// # Errors
    /// What `job` says; `platform_unavailable` when the file cannot be read.
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        ask(&self.0.read, move |connection| {
            let transaction = connection.transaction().map_err(trouble)?;
            job(&transaction)
        })
        .await
    }

    /// Writes: all or nothing, durable when it returns, one writer at a time among all processes.
    ///
    /// # Errors
    /// What `job` says, and then nothing is written; `platform_unavailable` when the file cannot be written.
    /// # Cancel safety
    /// A dropped future takes nothing back: the job runs to its end.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        ask(&self.0.write, move |connection| write_with(connection, job)).await
    }

    /// Sends a write whose end nobody waits for.
    pub(super) fn write_later(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> Result<()> + Send + 'static,
    ) {
        let sent = send(
            &self.0.write,
            Box::new(move |connection| {
                if let Err(e) = write_with(connection, job) {
                    tracing::warn!(error = %e, "the catalogue could not note something");
                }
            }),
        );
        if !sent {
            tracing::debug!("the catalogue is closed");
        }
    }

    /// Ends both threads, after what was sent before. Blocks; twice is safe.
    pub(super) fn close(&self) {
        for sender in [&self.0.write, &self.0.read] {
            *sender.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let running = std::mem::take(
            &mut *self
                .0
                .running
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for thread in running {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

fn write_with<T>(
    connection: &mut Connection,
    job: impl FnOnce(&Transaction<'_>) -> Result<T>,
) -> Result<T> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(trouble)?;
    let answer = job(&transaction)?;
    transaction.commit().map_err(trouble)?;
    Ok(answer)
}

fn send(sender: &Mutex<Option<Sender<Job>>>, job: Job) -> bool {
    sender
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()
        .is_some_and(|sender| sender.send(job).is_ok())
}

async fn ask<T: Send + 'static>(
    sender: &Mutex<Option<Sender<Job>>>,
    job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (reply, answer) = oneshot::channel();
    let sent = send(
        sender,
        Box::new(move |connection| {
            let _ = reply.send(job(connection));
        }),
    );
    let closed = || Error::new(Code::PlatformUnavailable, "the catalogue is closed");
    if !sent {
        return Err(closed());
    }
    match tokio::time::timeout(ANSWER_FOR, answer).await {
        Ok(answer) => answer.map_err(|_| closed())?,
        Err(_) => Err(Error::new(
            Code::PlatformUnavailable,
            format!("the catalogue did not answer within {} s", ANSWER_FOR.as_secs()),
        )
        .hint("Call the tool again; if it stays, end other sparklease processes or check the disk of SPARKLEASE_DATA_DIR.")),
    }
}

fn serve(mut connection: Connection, name: &str) -> Result<(Sender<Job>, JoinHandle<()>)> {
    let (sender, jobs) = channel::<Job>();
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            for job in jobs {
                job(&mut connection);
            }
        })
        .map_err(|e| Error::internal("the catalogue's thread cannot start").source_error(e))?;
    Ok((sender, thread))
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_FOR)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    // A statement of ours is prepared once; there are about thirty.
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn migrate(connection: &Connection, file: &Path) -> Result<()> {
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|e| unusable(file, e))?;
    match version {
        VERSION => Ok(()),
        0 => connection
            .execute_batch(&format!(
                "BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;"
            ))
            .map_err(|e| unusable(file, e)),
        newer => Err(Error::new(
            Code::EngineUnavailable,
            format!(
                "the catalogue {} is of version {newer}, made by a newer sparklease",
                file.display()
            ),
        )
        .hint("Update sparklease, or set SPARKLEASE_DATA_DIR to another folder.")),
    }
}

fn unusable(file: &Path, e: rusqlite::Error) -> Error {
    let corrupt = matches!(
        e.sqlite_error_code(),
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt)
    );
    Error::new(
        Code::EngineUnavailable,
        format!("the catalogue {} cannot be used: {e}", file.display()),
    )
    .hint(if corrupt {
        "Move metastore.db and the files metastore.db-* beside it away and call the tool again: a new catalogue knows no tables, their files stay in lake/tables."
    } else {
        "Set SPARKLEASE_DATA_DIR to a folder that you may write, on a local disk with room, and call the tool again."
    })
    .source_error(e)
}

/// What SQLite says, as ours.
pub(super) fn trouble(e: rusqlite::Error) -> Error {
    Error::new(
        Code::PlatformUnavailable,
        format!("the catalogue cannot be read or written: {e}"),
    )
    .hint("Call sparklease doctor: it checks the catalogue and the room on its disk.")
    .source_error(e)
}

#[cfg(test)]
mod tests;
