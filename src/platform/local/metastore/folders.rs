//! Folders of tables: who makes one, which have become nobody's, and when files go.
//!
//! A folder is noted before it is made, with the process that made it as its owner; a table that takes it takes the
//! note away. An owner lives as long as the kernel holds its file lock. A dropped table's folder stays for a while,
//! since a query may be reading it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use tempfile::TempDir;
use uuid::Uuid;

use super::records::now_ms;
use super::store::{Store, trouble};
use crate::model::{Code, Error, Result, TableName};
use crate::platform::names::slug;
use crate::sys::files::create_private_folder;

/// How long a dropped table's files stay, from the drop: longer than nearly every query that may be reading them.
pub(super) const GRACE: Duration = Duration::from_secs(600);

/// How often a process looks for files whose time has come.
pub(super) const PURGE_EVERY: Duration = Duration::from_secs(60);

/// How long one process waits for another that is just opening the catalogue, which takes milliseconds.
const OPENING_FOR: Duration = Duration::from_secs(10);

/// Where everything of the catalogue lies.
///
/// The engine gets a path wrong that has a space or a letter beyond ASCII in it: it puts the log in one folder and the
/// rows in another, both with escapes in their names. So it is told of another way in, by a link, where the data
/// directory has such a path.
#[derive(Clone, Debug)]
pub(super) struct Places {
    root: PathBuf,
    /// The same, as the engine is told it.
    engine: PathBuf,
    /// Holds the link, where there is one.
    link: Arc<Mutex<Option<TempDir>>>,
}

/// This process, as an owner of folders.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) id: String,
    _lock: File,
}

/// Held while a process enters or looks who is alive: without it, an owner that has made its file and not yet locked
/// it would look dead.
#[derive(Debug)]
pub(super) struct Registry(File);

impl Places {
    /// Below the data directory; makes what is not there.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn new(data: &Path) -> io::Result<Self> {
        let root = data.join("lake");
        for folder in ["owners", "tables", "warehouse"] {
            create_private_folder(&root.join(folder))?;
        }
        // Locations are compared as text, so no link may be in them.
        let root = root.canonicalize()?;
        if root.to_str().is_none() {
            return Err(io::Error::other("its path is not UTF-8"));
        }
        if is_plain(&root) {
            return Ok(Self {
                engine: root.clone(),
                root,
                link: Arc::default(),
            });
        }
        let link = tempfile::Builder::new().prefix("sparklease-").tempdir()?;
        let engine = link.path().join("lake");
        if !is_plain(&engine) {
            return Err(io::Error::other(
                "the engine can read neither its path nor that of the folder for temporary files: both have a space \
                 or a letter beyond ASCII in it",
            ));
        }
        std::os::unix::fs::symlink(&root, &engine)?;
        Ok(Self {
            root,
            engine,
            link: Arc::new(Mutex::new(Some(link))),
        })
    }

    /// Removes the link; at the end of the process.
    pub(super) fn close(&self) {
        drop(
            self.link
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }

    /// A path as the engine is told it.
    pub(super) fn for_engine(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root)
            .map_or_else(|_| path.to_owned(), |below| self.engine.join(below))
    }

    /// The path that the engine means.
    pub(super) fn told_by_engine(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.engine)
            .map_or_else(|_| path.to_owned(), |below| self.root.join(below))
    }

    pub(super) fn file(&self) -> PathBuf {
        self.root.join("metastore.db")
    }

    /// Whether a path is one that the catalogue may have made.
    pub(super) fn is_ours(&self, path: &Path) -> bool {
        let plain = path
            .components()
            .all(|part| !matches!(part, std::path::Component::ParentDir));
        plain
            && ["tables", "warehouse"].iter().any(|folder| {
                path.starts_with(self.root.join(folder)) && path != self.root.join(folder)
            })
    }

    /// Where the engine puts tables that it finds a place for itself: a folder of this owner.
    pub(super) fn warehouse(&self, owner: &str) -> PathBuf {
        self.root.join("warehouse").join(owner)
    }

    /// Waits for the registry.
    ///
    /// # Errors
    /// What the file system says; `TimedOut` when another process does not let go.
    pub(super) fn registry(&self) -> io::Result<Registry> {
        let file = open_lock(&self.root.join("owners/.registry"))?;
        let deadline = Instant::now() + OPENING_FOR;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Registry(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "another process is opening it and does not end",
                    ));
                }
                Err(TryLockError::Error(e)) => return Err(e),
            }
        }
    }

    /// Enters this process among the owners.
    pub(super) fn enter(&self, _registry: &Registry) -> io::Result<Owner> {
        let id = Uuid::new_v4().simple().to_string();
        let lock = open_lock(&self.owner_file(&id))?;
        lock.lock()?;
        create_private_folder(&self.warehouse(&id))?;
        Ok(Owner { id, _lock: lock })
    }

    fn owner_file(&self, id: &str) -> PathBuf {
        self.root.join("owners").join(id)
    }

    /// Notes a folder for a table, and does not make it.
    pub(super) fn note(&self, db: &Connection, owner: &str, name: &TableName) -> Result<PathBuf> {
        let parent = self.root.join("tables").join(slug(&name.database));
        let path = loop {
            let id = Uuid::new_v4().simple().to_string();
            let mark = id.get(..8).unwrap_or(&id);
            let path = parent.join(format!("{}-{mark}", slug(&name.table)));
            if !path.exists() {
                break path;
            }
        };
        db.execute(
            "INSERT INTO folders (path, owner) VALUES (?1, ?2)",
            params![path.to_string_lossy(), owner],
        )
        .map_err(trouble)?;
        Ok(path)
    }

    /// Makes trash of the folders of dead owners that no table has taken, and forgets these owners.
    pub(super) fn sweep(&self, db: &Connection, _registry: &Registry) -> Result<()> {
        let entries =
            fs::read_dir(self.root.join("owners")).map_err(|e| unreadable(&self.root, e))?;
        let mut alive = Vec::new();
        for entry in entries.flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            if id.starts_with('.') {
                continue;
            }
            let lock = File::open(entry.path());
            if lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock))) {
                alive.push(id);
            } else {
                let _ = fs::remove_file(entry.path());
            }
        }
        let mut statement = db
            .prepare("SELECT path, owner FROM folders")
            .map_err(trouble)?;
        let noted: Vec<(String, String)> = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .map_err(trouble)?;
        for (path, owner) in noted {
            if !alive.contains(&owner) {
                throw(db, Path::new(&path), true)?;
            }
        }
        self.sweep_warehouse(db, &alive)
    }

    /// What the engine put down for a dead owner, and no table has.
    fn sweep_warehouse(&self, db: &Connection, alive: &[String]) -> Result<()> {
        let warehouse = self.root.join("warehouse");
        for owner in fs::read_dir(&warehouse)
            .map_err(|e| unreadable(&warehouse, e))?
            .flatten()
        {
            if alive.contains(&owner.file_name().to_string_lossy().into_owned()) {
                continue;
            }
            for folder in fs::read_dir(owner.path()).into_iter().flatten().flatten() {
                if !is_taken(db, &folder.path())? {
                    throw(db, &folder.path(), true)?;
                }
            }
            // Only an empty folder goes.
            let _ = fs::remove_dir(owner.path());
        }
        Ok(())
    }

    /// Deletes trash whose time has come. Another process may be doing the same.
    ///
    /// # Errors
    /// `platform_unavailable`. A folder that cannot be deleted stays trash.
    pub(super) async fn purge(&self, store: &Store, grace: Duration) -> Result<()> {
        let grace_ms = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
        let due = store
            .read(move |db| {
                let now = now_ms();
                let mut statement = db
                    // A clock that was set back must not keep a file for ever.
                    .prepare("SELECT path FROM trash WHERE abs(?1 - since_ms) >= ?2")
                    .map_err(trouble)?;
                statement
                    .query_map([now, grace_ms], |row| row.get::<_, String>(0))
                    .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
                    .map_err(trouble)
            })
            .await?;
        for path in due {
            let folder = PathBuf::from(&path);
            let ours = self.is_ours(&folder);
            let wanted = {
                let folder = folder.clone();
                store.read(move |db| is_taken(db, &folder)).await?
            };
            if ours && !wanted {
                let removed =
                    tokio::task::spawn_blocking(move || fs::remove_dir_all(&folder)).await;
                if let Ok(Err(e)) = removed
                    && e.kind() != io::ErrorKind::NotFound
                {
                    tracing::warn!(error = %e, "a dropped table's folder stays");
                    continue;
                }
            }
            store
                .write(move |db| {
                    db.execute("DELETE FROM trash WHERE path = ?1", [path])
                        .map_err(trouble)?;
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }
}

/// Whether the engine reads and writes a path as it is; tried for every sign of ASCII.
pub(super) fn is_plain(path: &Path) -> bool {
    path.to_str().is_some_and(|path| {
        path.chars()
            .all(|char| char.is_ascii_alphanumeric() || "/._-+=,@".contains(char))
    })
}

/// Makes trash of a folder: at once where nobody can be reading it, else after a while.
pub(super) fn throw(db: &Connection, path: &Path, at_once: bool) -> Result<()> {
    let path = path.to_string_lossy();
    let since = if at_once { 0 } else { now_ms() };
    db.execute("DELETE FROM folders WHERE path = ?1", [&path])
        .and_then(|_| {
            db.execute(
                "INSERT OR REPLACE INTO trash (path, since_ms) VALUES (?1, ?2)",
                params![path, since],
            )
        })
        .map_err(trouble)?;
    Ok(())
}

/// Whether a living owner has noted the folder and no table has taken it yet.
pub(super) fn is_noted(db: &Connection, path: &Path) -> Result<bool> {
    exists(
        db,
        "SELECT EXISTS (SELECT 1 FROM folders WHERE path = ?1)",
        path,
    )
}

/// Whether a table's files are there.
pub(super) fn is_taken(db: &Connection, path: &Path) -> Result<bool> {
    exists(
        db,
        "SELECT EXISTS (SELECT 1 FROM tables WHERE path = ?1)",
        path,
    )
}

fn exists(db: &Connection, sql: &str, path: &Path) -> Result<bool> {
    db.query_row(sql, [path.to_string_lossy()], |row| row.get(0))
        .map_err(trouble)
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
}

fn unreadable(path: &Path, e: io::Error) -> Error {
    Error::new(
        Code::EngineUnavailable,
        format!("{} cannot be read: {e}", path.display()),
    )
    .hint("Set SPARKLEASE_DATA_DIR to a folder that you may write, on a local disk.")
    .source_error(e)
}

impl Drop for Registry {
    fn drop(&mut self) {
        // At once: a child that is just starting holds a copy of the descriptor.
        let _ = self.0.unlock();
    }
}
