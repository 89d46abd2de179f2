//! The ledger's file: opened with what makes a commit durable, checked, replaced when it is damaged, read as far as it
//! can be when it cannot be written.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use tracing::{error, warn};

use super::{Own, rows, wall_now};
use crate::ledger::guard::owner::lock_within;
use crate::ledger::row::Row;
use crate::model::{Code, Error, Result, Retry, Tag};
use crate::sys::disk;
use crate::sys::files::create_private_folder;

/// The file's name; SQLite keeps two more beside it.
pub(super) const NAME: &str = "ledger.db";

/// What SQLite adds to the name.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// How long SQLite waits for other processes. A commit takes milliseconds, but its waiters are not served in turn: 16
/// of them were seen to wait for 4 s.
const BUSY: Duration = Duration::from_secs(10);

/// The version of the tables; a file of a newer one is left alone.
const SCHEMA: i64 = 1;

/// What a command needs of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum Need {
    Read,
    Write,
}

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite's words.
    Sql(rusqlite::Error),
    /// Ours.
    Ours(Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl Fault {
    fn is_damage(&self) -> bool {
        let Self::Sql(error) = self else { return false };
        matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }
}

/// The open file, on the ledger's thread.
pub(super) struct Db {
    folder: PathBuf,
    open: Option<Open>,
    own: Own,
    /// Which file the last try to open it saw: it may be damaged, and be another one by the time it is put aside.
    seen: Option<(u64, u64)>,
    replaced: Arc<AtomicBool>,
}

struct Open {
    connection: Connection,
    /// Which file it is: another process may have put it aside.
    identity: (u64, u64),
    writable: bool,
}

impl Db {
    pub(super) fn new(folder: PathBuf, replaced: Arc<AtomicBool>) -> Self {
        Self {
            folder,
            open: None,
            own: Own::new(),
            seen: None,
            replaced,
        }
    }

    pub(super) fn own(&mut self, row: Row) {
        self.own.insert(row.tag.clone(), row);
    }

    pub(super) fn renew(&mut self, row: &Row) {
        if let Some(own) = self.own.get_mut(&row.tag) {
            own.clone_from(row);
        }
    }

    /// An id counts from the moment it is known, written or not.
    pub(super) fn learn(&mut self, tag: &Tag, id: &str) {
        if let Some(own) = self.own.get_mut(tag) {
            own.remote_id.get_or_insert_with(|| id.to_owned());
        }
    }

    pub(super) fn own_row(&self, tag: &Tag) -> Option<Row> {
        self.own.get(tag).cloned()
    }

    pub(super) fn disown(&mut self, tag: &Tag) {
        self.own.remove(tag);
    }

    /// Runs one command. A damaged file is put aside, and the command runs once more on a new one. Written, the file
    /// must still be the one that everybody sees.
    pub(super) fn run<T>(
        &mut self,
        need: Need,
        work: impl Fn(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T> {
        for last in [false, true] {
            let result = match self.opened(need) {
                Ok(open) => work(&mut open.connection),
                Err(fault) => Err(fault),
            };
            match result {
                Ok(value) if need == Need::Read || last || self.is_current() => return Ok(value),
                // Put aside by another process while we wrote: again, into the new one.
                Ok(_) => {}
                Err(fault) if fault.is_damage() && !last => self.put_aside()?,
                Err(fault) => return Err(self.error(fault)),
            }
        }
        Err(Error::internal("the ledger is replaced again and again"))
    }

    fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    fn is_current(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| identity(&self.path()).is_ok_and(|now| now == open.identity))
    }

    fn opened(&mut self, need: Need) -> Result<&mut Open, Fault> {
        let usable = self.is_current()
            && (need == Need::Read || self.open.as_ref().is_some_and(|open| open.writable));
        if !usable {
            if self.open.is_some() && !self.is_current() {
                // Put aside by another process: rows of the dead are missing for us, too.
                self.replaced.store(true, Ordering::Relaxed);
            }
            self.open = None;
            let open = match self.open_to_write() {
                Ok(open) => open,
                Err(fault) if need == Need::Write || fault.is_damage() => return Err(fault),
                // A full disk, or one that can only be read: what is there can still be deleted.
                Err(fault) => self.open_to_read().map_err(|_| fault)?,
            };
            self.open = Some(open);
        }
        self.open
            .as_mut()
            .ok_or_else(|| Error::internal("the ledger is not open").into())
    }

    fn open_to_write(&mut self) -> Result<Open, Fault> {
        create_private_folder(&self.folder).map_err(|error| self.unusable(&error))?;
        if let Ok(Some(kind)) = disk::network_file_system(&self.folder) {
            return Err(Error::new(
                Code::ConfigurationInvalid,
                format!(
                    "the ledger cannot be in {}: that is on {kind}, where locks and durable writes cannot be relied on",
                    self.folder.display()
                ),
            )
            .hint("Set SPARKLEASE_DATA_DIR to a folder on a local disk.")
            .into());
        }
        make_private(&self.folder).map_err(|error| self.unusable(&error))?;
        let _alone = self.alone()?;
        let path = self.path();
        self.seen = identity(&path).ok();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags)?;
        prepare(&connection)?;
        let mode: String = connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(Error::new(
                Code::ConfigurationInvalid,
                format!(
                    "the file system of {} cannot hold the ledger: SQLite has no WAL there",
                    self.folder.display()
                ),
            )
            .hint("Set SPARKLEASE_DATA_DIR to a folder on a local disk.")
            .into());
        }
        // FULL: a commit is on the disk before it returns. The other two have an effect on macOS only.
        connection.execute_batch(
            "PRAGMA synchronous=FULL; PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON;",
        )?;
        self.check(&connection)?;
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.migrate(&begun)?;
        for row in self.own.values() {
            rows::insert(&begun, row)?;
        }
        rows::purge(&begun, wall_now())?;
        begun.commit()?;
        // The name of a new file is durable only when its folder is.
        fs::File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| self.unusable(&error))?;
        let identity = identity(&path).map_err(|error| self.unusable(&error))?;
        Ok(Open {
            connection,
            identity,
            writable: true,
        })
    }

    /// Without a write: where that needs files that cannot be made, only what is in the main file shows.
    fn open_to_read(&self) -> Result<Open, Fault> {
        let path = self.path();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let readable = |connection: Connection| -> Result<Connection, Fault> {
            prepare(&connection)?;
            connection.query_row("SELECT count(*) FROM sessions", [], |_| Ok(()))?;
            Ok(connection)
        };
        let connection = Connection::open_with_flags(&path, flags)
            .map_err(Fault::from)
            .and_then(readable)
            .or_else(|fault| {
                if fs::metadata(beside(&path, "-wal")).is_ok_and(|wal| wal.len() > 0) {
                    return Err(fault);
                }
                let uri = format!("file:{}?immutable=1", uri_path(&path));
                Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
                    .map_err(Fault::from)
                    .and_then(readable)
            })?;
        let identity = identity(&path).map_err(|error| self.unusable(&error))?;
        Ok(Open {
            connection,
            identity,
            writable: false,
        })
    }

    fn check(&self, connection: &Connection) -> Result<(), Fault> {
        let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found == "ok" {
            return Ok(());
        }
        warn!(found, "the ledger is damaged");
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        Err(rusqlite::Error::SqliteFailure(code, Some(found)).into())
    }

    fn migrate(&self, transaction: &Transaction<'_>) -> Result<(), Fault> {
        let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match version {
            0 => {
                transaction.execute_batch(rows::SCHEMA)?;
                transaction.pragma_update(None, "user_version", SCHEMA)?;
                Ok(())
            }
            SCHEMA => Ok(()),
            newer => Err(Error::new(
                Code::ConfigurationInvalid,
                format!("the ledger in {} has version {newer}, and this sparklease knows {SCHEMA}", self.folder.display()),
            )
            .hint("Use the newer sparklease that wrote it, or set SPARKLEASE_DATA_DIR to another folder.")
            .into()),
        }
    }

    /// Opening, making and putting aside are one process's at a time.
    fn alone(&self) -> Result<fs::File, Error> {
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.folder.join("ledger.lock"))
            .map_err(|error| self.unusable(&error))?;
        lock_within(&file, BUSY).map_err(|error| self.unusable(&error))?;
        Ok(file)
    }

    /// Gives the damaged file another name; the next open makes a new one and writes our own rows into it.
    fn put_aside(&mut self) -> Result<()> {
        let ours = self.open.take().map(|open| open.identity).or(self.seen);
        let _alone = self.alone()?;
        let path = self.path();
        if ours.is_some_and(|ours| identity(&path).is_ok_and(|now| now != ours)) {
            // Another process was faster, and this is its new file.
            self.replaced.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let ending = format!(".damaged-{}", wall_now().as_millis());
        for part in PARTS {
            let from = beside(&path, part);
            let to = beside(&path, &format!("{ending}{part}"));
            match fs::rename(&from, &to) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.unusable(&error)),
            }
        }
        self.replaced.store(true, Ordering::Relaxed);
        error!(
            kept_as = %beside(&path, &ending).display(),
            "the ledger is damaged; a new one is begun, and sessions of dead owners are looked for by name"
        );
        Ok(())
    }

    fn unusable(&self, error: &io::Error) -> Error {
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        if full {
            return self.full();
        }
        Error::new(
            Code::ConfigurationInvalid,
            format!(
                "the ledger in {} cannot be used: {error}",
                self.folder.display()
            ),
        )
        .hint("Set SPARKLEASE_DATA_DIR to a folder that you may write, on a local disk; sessions that exist are still deleted.")
    }

    fn full(&self) -> Error {
        Error::new(
            Code::Internal,
            format!(
                "the ledger in {} cannot be written: the disk is full",
                self.folder.display()
            ),
        )
        .hint("Free some space there and call again; nothing is created without it, and sessions that exist are still deleted.")
    }

    fn error(&self, fault: Fault) -> Error {
        let error = match fault {
            Fault::Ours(error) => return error,
            Fault::Sql(error) => error,
        };
        let folder = self.folder.display();
        let (code, what, hint) = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => return self.full().source_error(error),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => (
                Code::ConfigurationInvalid,
                format!("the ledger in {folder} cannot be written"),
                "Set SPARKLEASE_DATA_DIR to a folder that you may write, on a local disk; sessions that exist are still deleted.",
            ),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                return Error::new(
                    Code::Timeout,
                    format!("the ledger in {folder} was busy for {} s", BUSY.as_secs()),
                )
                .hint(
                    "Call again; if it stays busy, look for a sparklease process that is stopped.",
                )
                .retry(Retry::Now)
                .source_error(error);
            }
            Some(ErrorCode::SystemIoFailure) => (
                Code::Internal,
                format!("the ledger in {folder} cannot be written: the disk fails or is full"),
                "Look at that disk and call again; nothing is created without it, and sessions that exist are still deleted.",
            ),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (
                Code::Internal,
                format!("the ledger in {folder} is damaged, and so is the one that took its place"),
                "Look at that disk, or set SPARKLEASE_DATA_DIR to another one.",
            ),
            _ => (
                Code::Internal,
                format!("the ledger in {folder} fails"),
                "Run `sparklease doctor` and report this with its output and the server's stderr.",
            ),
        };
        Error::new(code, what).hint(hint).source_error(error)
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// A path in an SQLite URI.
fn uri_path(path: &Path) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
    const SPECIAL: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');
    percent_encode(path.as_os_str().as_encoded_bytes(), SPECIAL).to_string()
}

/// The folder says what was opened where: nobody else's business.
fn make_private(folder: &Path) -> io::Result<()> {
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn db(folder: &Path) -> Db {
        Db::new(folder.to_owned(), Arc::default())
    }

    #[test]
    fn a_new_file_is_not_put_aside_for_the_damage_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        db(folder.path()).run(Need::Write, |_| Ok(())).unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, [0x5a; 8192]).unwrap();
        let (mut slow, mut fast) = (db(folder.path()), db(folder.path()));
        // Both see the damage; one of them is faster.
        let damage = slow.open_to_write().err().unwrap();
        assert!(damage.is_damage(), "{damage:?}");
        fast.run(Need::Write, |_| Ok(())).unwrap();
        let new = identity(&path).unwrap();
        slow.put_aside().unwrap();
        assert_eq!(identity(&path).unwrap(), new);
        assert!(
            slow.replaced.load(Ordering::Relaxed),
            "rows of the dead may be missing"
        );
        slow.run(Need::Write, |_| Ok(())).unwrap();
        assert!(fast.is_current() && slow.is_current());
    }
}
