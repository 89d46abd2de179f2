//! Folders for what sessions leave lying around. They go with the session; what a killed process left is removed by
//! the next one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use uuid::Uuid;

use super::files::create_private_folder;

/// This process's folder under `<data>/scratch/`, held by a file lock that the kernel frees when the process dies.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes the folder, and removes those of dead processes.
    ///
    /// Creation, locking and removal happen under one registry lock: without it, a sweep can remove a folder that
    /// its owner has made but not yet locked.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn new(data_dir: &Path) -> io::Result<Self> {
        let root = data_dir.join("scratch");
        create_private_folder(&root)?;
        let registry = lock_file(&root.join(".registry"))?;
        registry.lock()?;
        sweep(&root);
        let folder = root.join(Uuid::new_v4().simple().to_string());
        create_private_folder(&folder)?;
        let lock = lock_file(&folder.join(".lock"))?;
        lock.lock()?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Removes it with all that is in it; twice is safe. What stays is removed by the next process.
    pub(crate) fn remove(&self) {
        let _ = fs::remove_dir_all(&self.folder);
    }

    /// A folder that is removed with the value.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn folder(&self) -> io::Result<TempDir> {
        tempfile::Builder::new()
            .prefix("session-")
            .tempdir_in(&self.folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

fn sweep(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    for folder in entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()) {
        let dead = match File::open(folder.join(".lock")) {
            Ok(lock) => !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
            Err(e) => e.kind() == io::ErrorKind::NotFound,
        };
        if dead && let Err(e) = fs::remove_dir_all(&folder) {
            tracing::warn!(error = %e, "a dead process's scratch folder stays");
        }
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_owner_s_folder_is_removed_and_a_living_one_s_is_not() {
        let data = tempfile::tempdir().unwrap();
        let living = Scratch::new(data.path()).unwrap();
        let kept = living.folder().unwrap();
        let dead = data.path().join("scratch").join("dead");
        create_private_folder(&dead).unwrap();
        fs::write(dead.join(".lock"), "").unwrap();
        fs::write(dead.join("left"), "x").unwrap();
        let next = Scratch::new(data.path()).unwrap();
        assert!(!dead.exists());
        assert!(kept.path().exists());
        drop(next);
        assert!(kept.path().exists());
    }
}
