//! Owners' files. Each process with sessions holds a lock on its own; the kernel frees it at the moment of its death,
//! whatever that was. A lock that can be had says that its owner is dead.
//!
//! Every open with its lock, and every removal, happens under one short lock of the whole folder. Without it a sweep
//! can lock and remove a file that its owner has made but not yet locked; the owner then holds a lock on a file
//! without a name, and looks dead.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::warn;
use uuid::Uuid;

use crate::ledger::tag::{Host, Owner};
use crate::model::{Code, Error, Result};
use crate::sys::files::create_private_folder;
use crate::sys::machine;

/// How long the folder's lock is waited for. It is held for a few system calls; whoever holds it longer is stopped.
const REGISTRY_WAIT: Duration = Duration::from_secs(10);

/// How often it is tried: nobody holds it for much longer.
const REGISTRY_POLL: Duration = Duration::from_millis(2);

const ENDING: &str = "lock";

/// The folder of owners' files.
#[derive(Clone, Debug)]
pub(crate) struct Owners {
    folder: PathBuf,
}

/// A held lock. Dropped, the owner counts as dead; its file stays for the sweep.
#[derive(Debug)]
pub(crate) struct OwnerLock {
    /// Whose.
    pub owner: Owner,
    _file: File,
}

/// What a guardian finds of its owner.
#[derive(Debug)]
pub(crate) enum Watched {
    /// It lives: locking this file waits for its death.
    Held(File),
    /// It is dead, and the lock is ours.
    Dead(OwnerLock),
    /// It is dead, and swept already.
    Swept,
}

impl Owners {
    /// Below the ledger's folder, which need not exist yet.
    pub(crate) fn below(ledger: &Path) -> Self {
        Self {
            folder: ledger.join("owners"),
        }
    }

    /// Makes a new owner and takes its lock.
    ///
    /// # Errors
    /// `configuration_invalid` where the folder cannot be written.
    pub(crate) fn claim(&self) -> Result<OwnerLock> {
        let cannot = |error| self.cannot("no owner's file can be made", error);
        create_private_folder(&self.folder).map_err(cannot)?;
        let _registry = self.registry().map_err(cannot)?;
        let owner = Owner::random();
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.path(&owner))
            .map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(OwnerLock { owner, _file: file }),
            Err(error) => Err(cannot(error.into())),
        }
    }

    /// Looks at one owner without making anything.
    ///
    /// # Errors
    /// `configuration_invalid` where the folder cannot be read.
    pub(crate) fn watch(&self, owner: &Owner) -> Result<Watched> {
        let cannot = |error| self.cannot("the owner's file cannot be read", error);
        let _registry = self.registry().map_err(cannot)?;
        let file = match File::open(self.path(owner)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Watched::Swept),
            Err(error) => return Err(cannot(error)),
        };
        match file.try_lock() {
            Ok(()) => Ok(Watched::Dead(OwnerLock {
                owner: owner.clone(),
                _file: file,
            })),
            Err(TryLockError::WouldBlock) => Ok(Watched::Held(file)),
            Err(TryLockError::Error(error)) => Err(cannot(error)),
        }
    }

    /// Waits until the owner of a held file is dead. There is no deadline: it is what a guardian lives for.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn wait_for_death(owner: &Owner, file: File) -> io::Result<OwnerLock> {
        file.lock()?;
        Ok(OwnerLock {
            owner: owner.clone(),
            _file: file,
        })
    }

    /// Takes the locks of all dead owners that nobody sweeps yet.
    ///
    /// # Errors
    /// `configuration_invalid` where the folder cannot be read.
    pub(crate) fn take_dead(&self) -> Result<Vec<OwnerLock>> {
        let mut dead = Vec::new();
        for owner in self.known()? {
            match self.watch(&owner) {
                Ok(Watched::Dead(lock)) => dead.push(lock),
                Ok(Watched::Held(_) | Watched::Swept) => {}
                // One file that cannot be read must not keep the others' sessions alive.
                Err(error) => warn!(%owner, %error, "it cannot be seen whether an owner lives"),
            }
        }
        Ok(dead)
    }

    /// Owners whose locks somebody holds: they live, or are being swept.
    ///
    /// # Errors
    /// `configuration_invalid` where the folder cannot be read.
    pub(crate) fn held(&self) -> Result<BTreeSet<Owner>> {
        let mut held = BTreeSet::new();
        for owner in self.known()? {
            if let Watched::Held(_) = self.watch(&owner)? {
                held.insert(owner);
            }
        }
        Ok(held)
    }

    /// Every owner that has a file, dead or alive; none where there is no folder yet.
    ///
    /// # Errors
    /// `configuration_invalid` where the folder cannot be read.
    pub(crate) fn known(&self) -> Result<Vec<Owner>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.cannot("owners' files cannot be listed", error)),
        };
        Ok(entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == ENDING))
            .filter_map(|path| Owner::parse(path.file_stem()?.to_str()?))
            .collect())
    }

    /// Removes the file of an owner that is ours or dead; its sessions are all gone. What cannot be removed stays for
    /// the next sweep.
    pub(crate) fn remove(&self, lock: OwnerLock) {
        if let Ok(_registry) = self.registry() {
            let _ = fs::remove_file(self.path(&lock.owner));
            drop(lock);
        }
    }

    fn path(&self, owner: &Owner) -> PathBuf {
        self.folder.join(format!("{owner}.{ENDING}"))
    }

    /// The folder's lock.
    fn registry(&self) -> io::Result<File> {
        let path = self.folder.join("registry");
        let made = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        // On a disk that can only be read it is there, or there are no owners.
        let file = made.or_else(|error| File::open(&path).map_err(|_| error))?;
        lock_within(&file, REGISTRY_WAIT)?;
        Ok(file)
    }

    fn cannot(&self, what: &str, error: io::Error) -> Error {
        Error::new(
            Code::ConfigurationInvalid,
            format!("{what} in {}: {error}", self.folder.display()),
        )
        .hint("Set SPARKLEASE_DATA_DIR to a folder that you may write, on a local disk with free space.")
        .source_error(error)
    }
}

/// Takes a lock, for which others wait too, within a deadline.
///
/// # Errors
/// `TimedOut`, or what the system says.
pub(crate) fn lock_within(file: &File, limit: Duration) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= limit => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "another process holds the lock and does not go on",
                ));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(REGISTRY_POLL),
        }
    }
}

/// Whose names are ours: read from the ledger's folder, and written there at first. `create` makes it; without, a
/// folder that was never used has no host.
///
/// # Errors
/// What the file system says.
pub(crate) fn host(ledger: &Path, create: bool) -> io::Result<Option<Host>> {
    let path = ledger.join("host");
    let salt = match fs::read_to_string(&path) {
        Ok(salt) if !salt.trim().is_empty() => salt,
        Ok(_) | Err(_) if create => {
            create_private_folder(ledger)?;
            // Whole or not at all: another process may be doing the same, and the first one counts.
            let mut file = tempfile::NamedTempFile::new_in(ledger)?;
            io::Write::write_all(&mut file, Uuid::new_v4().simple().to_string().as_bytes())?;
            file.as_file().sync_all()?;
            match file.persist_noclobber(&path) {
                Ok(_) => {}
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.error),
            }
            File::open(ledger)?.sync_all()?;
            fs::read_to_string(&path)?
        }
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let folder = ledger.canonicalize()?;
    Ok(Some(Host::of(
        &machine::id(),
        machine::user(),
        &folder,
        salt.trim(),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners() -> (tempfile::TempDir, Owners) {
        let folder = tempfile::tempdir().unwrap();
        let owners = Owners::below(folder.path());
        (folder, owners)
    }

    #[test]
    fn an_owner_is_held_while_it_lives_dead_after_it_and_swept_when_removed() {
        let (_folder, owners) = owners();
        let lock = owners.claim().unwrap();
        let owner = lock.owner.clone();
        assert!(matches!(owners.watch(&owner).unwrap(), Watched::Held(_)));
        assert_eq!(owners.held().unwrap(), BTreeSet::from([owner.clone()]));
        assert!(owners.take_dead().unwrap().is_empty());
        drop(lock);
        assert!(matches!(owners.watch(&owner).unwrap(), Watched::Dead(_)));
        let mut dead = owners.take_dead().unwrap();
        assert_eq!(dead.len(), 1);
        assert!(
            owners.take_dead().unwrap().is_empty(),
            "one sweeper at a time"
        );
        owners.remove(dead.remove(0));
        assert!(matches!(owners.watch(&owner).unwrap(), Watched::Swept));
        assert!(owners.known().unwrap().is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_read_does_not_keep_the_other_dead_from_being_found() {
        let (folder, owners) = owners();
        drop(owners.claim().unwrap());
        let path = folder.path().join("owners/abcdefgh.lock");
        std::os::unix::fs::symlink(&path, &path).unwrap();
        assert_eq!(owners.known().unwrap().len(), 2);
        assert_eq!(owners.take_dead().unwrap().len(), 1);
    }

    #[test]
    fn a_folder_that_was_never_used_has_no_owners_and_no_host() {
        let (folder, owners) = owners();
        assert!(owners.take_dead().unwrap().is_empty());
        assert_eq!(host(folder.path(), false).unwrap(), None);
        let made = host(folder.path(), true).unwrap();
        assert!(made.is_some());
        assert_eq!(host(folder.path(), false).unwrap(), made);
        assert_eq!(host(folder.path(), true).unwrap(), made);
    }

    #[test]
    fn a_lock_that_is_never_freed_is_waited_for_within_a_deadline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().lock().unwrap();
        let other = File::open(file.path()).unwrap();
        let error = lock_within(&other, Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// Owners come and go while others sweep. Nobody who lives is ever found dead.
    #[test]
    fn a_living_owner_is_never_found_dead() {
        let (_folder, owners) = owners();
        let until = Instant::now() + Duration::from_secs(2);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while Instant::now() < until {
                        for dead in owners.take_dead().unwrap() {
                            owners.remove(dead);
                        }
                    }
                });
            }
            for _ in 0..3 {
                scope.spawn(|| {
                    while Instant::now() < until {
                        let lock = owners.claim().unwrap();
                        let owner = lock.owner.clone();
                        let seen = owners.watch(&owner).unwrap();
                        assert!(matches!(seen, Watched::Held(_)), "{seen:?}");
                        drop(lock);
                    }
                });
            }
        });
        for dead in owners.take_dead().unwrap() {
            owners.remove(dead);
        }
        assert!(owners.known().unwrap().is_empty());
    }
}
