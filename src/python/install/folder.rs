//! What lies in the engine's folder: complete engines by key, unfinished ones, the lock between processes. Starts nothing.
//!
//! ```text
//! <cache>/engine/.lock        held while anything here changes
//! <cache>/engine/engine.lock  a copy of the requirements, for filling an offline folder
//! <cache>/engine/.new-XXXX/   unfinished; whoever holds the lock may delete it
//! <cache>/engine/<key>/       complete: renamed there after everything else, its record included
//! ```
//!
//! An engine is made beside its final place and renamed, so nothing that is half made ever bears a key. A virtual
//! environment can be moved when it is used by its `bin/python` alone: that finds itself by `pyvenv.cfg`, and what names the
//! old path are the scripts in `bin/`, which we delete. Rejected: building at the final path under a marker (a reader must
//! then trust the marker's removal to be ordered after 20,000 files), and rewriting paths (`uv venv --relocatable` does it
//! only for uv's scripts, and nobody runs them).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::Engine;
use super::interpreter::Interpreter;
use super::lockfile;

const RECORD: &str = "engine.json";
const LOCK: &str = ".lock";
const UNFINISHED: &str = ".new-";
const REPLACED: &str = ".old-";
/// The requirements as a file: for pip, for uv, and for whoever fills an offline folder.
pub(super) const LOCK_COPY: &str = "engine.lock";

/// Once per process: the text is 118 KB, and this stands on every fast path.
static LOCK_HASH: LazyLock<String> = LazyLock::new(|| lockfile::hash(lockfile::LOCK));

/// The folder's lock, given back when dropped.
///
/// Unlocked rather than only closed: a child that another thread is just starting has a copy of the descriptor until
/// its exec, and would hold the lock for that long.
pub(super) struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// What was installed; written last, so that an engine without it is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Hash of the lock file.
    pub(super) lock: String,
    /// `linux-x86_64`.
    pub(super) platform: String,
    /// The interpreter that carries it: the real file.
    pub(super) base: PathBuf,
    /// Other names by which a configuration asked for it: a shim's own path leads nowhere near `base`.
    pub(super) asked: BTreeSet<PathBuf>,
    /// `3.11.7`.
    pub(super) python_version: String,
    /// Package → version.
    pub(super) versions: BTreeMap<String, String>,
    /// On the disk.
    pub(super) bytes: u64,
}

/// The engine's folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Hash of the lock file of this binary.
    pub(super) lock: String,
    pub(super) platform: String,
}

impl Folder {
    pub(super) fn new(cache: &Path) -> Self {
        Self {
            path: cache.join("engine"),
            lock: LOCK_HASH.clone(),
            platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }

    /// Complete engines, of this binary's lock or another's.
    pub(super) fn all(&self) -> Vec<(PathBuf, Record)> {
        let Ok(entries) = std::fs::read_dir(&self.path) else {
            return Vec::new();
        };
        let mut engines: Vec<_> = entries
            .flatten()
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
            .filter_map(|entry| {
                let root = entry.path();
                let record = std::fs::read(root.join(RECORD)).ok()?;
                Some((root, serde_json::from_slice(&record).ok()?))
            })
            .collect();
        engines.sort_by(|a, b| a.0.cmp(&b.0));
        engines
    }

    /// The complete engine that this binary uses: of its lock and platform, on a Python that is still there; of `only` where
    /// it is given, else on the newest. A few file reads.
    pub(super) fn ready(&self, only: Option<&Path>) -> Option<(Engine, Record)> {
        let asked = only.map(|path| {
            (
                path,
                path.canonicalize().unwrap_or_else(|_| path.to_owned()),
            )
        });
        self.all()
            .into_iter()
            .filter(|(root, record)| {
                self.usable(root, record)
                    && asked.as_ref().is_none_or(|(path, real)| {
                        *real == record.base || record.asked.contains(*path)
                    })
            })
            .max_by_key(|(_, record)| numbers(&record.python_version))
            .map(|(root, record)| (engine(root, &record), record))
    }

    fn usable(&self, root: &Path, record: &Record) -> bool {
        record.lock == self.lock
            && record.platform == self.platform
            // Follows the link: false when the Python below was removed.
            && python(root).is_file()
    }

    /// The engine that stands on this interpreter already, under another name; notes the name. Only under the lock.
    pub(super) fn adopt(&self, base: &Interpreter, asked: &Path) -> Option<Engine> {
        let root = self.place(&base.path, &base.version);
        let text = std::fs::read(root.join(RECORD)).ok()?;
        let mut record: Record = serde_json::from_slice(&text).ok()?;
        if !self.usable(&root, &record) {
            return None;
        }
        record.asked.insert(asked.to_owned());
        let mut file = tempfile::NamedTempFile::new_in(&root).ok()?;
        file.write_all(&serde_json::to_vec_pretty(&record).ok()?)
            .ok()?;
        file.persist(root.join(RECORD)).ok()?;
        Some(engine(root, &record))
    }

    /// Where an engine on this interpreter ends up. Two interpreters of one minor version do not share it, since either may
    /// go away, and a running worker must not lose its files to a change of the configuration.
    pub(super) fn place(&self, base: &Path, version: &str) -> PathBuf {
        let minor = version.rsplit_once('.').map_or(version, |(minor, _)| minor);
        let text = format!(
            "{}\n{minor}\n{}\n{}",
            self.lock,
            self.platform,
            base.display()
        );
        let hash = lockfile::hash(&text);
        let short = hash.get(..16).unwrap_or(&hash);
        self.path.join(format!("py{minor}-{short}"))
    }

    /// Makes the folder, if need be, and takes its lock if it is free.
    ///
    /// The lock is the kernel's: it ends with the process that holds it, however that ends.
    pub(super) fn try_lock(&self) -> io::Result<Option<Held>> {
        std::fs::create_dir_all(&self.path)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Held(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Deletes what dead installers left. Only under the lock. What cannot be deleted now is tried again next time.
    pub(super) fn clean(&self) {
        for path in self.unfinished() {
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::warn!(path = %path.display(), %error, "unfinished engine not deleted");
            }
        }
    }

    fn unfinished(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.path) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.starts_with(UNFINISHED) || name.starts_with(REPLACED)
            })
            .map(|entry| entry.path())
            .collect()
    }

    /// A new folder to build in. Only under the lock.
    pub(super) fn begin(&self) -> io::Result<PathBuf> {
        let path = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&self.path)?
            .keep();
        std::fs::create_dir(temporary(&path))?;
        Ok(path)
    }

    /// Writes the copy of the requirements.
    pub(super) fn write_lock_copy(&self) -> io::Result<PathBuf> {
        let mut file = tempfile::Builder::new()
            .prefix(".lock-copy-")
            .tempfile_in(&self.path)?;
        file.write_all(lockfile::LOCK.as_bytes())?;
        let path = self.path.join(LOCK_COPY);
        file.persist(&path).map_err(|error| error.error)?;
        Ok(path)
    }

    /// Makes a built engine the one at `place`: all of it durable first, then its record, then the name.
    pub(super) fn finish(
        &self,
        built: &Path,
        place: PathBuf,
        record: &Record,
    ) -> io::Result<Engine> {
        std::fs::remove_dir_all(temporary(built))?;
        drop_scripts(built)?;
        let text = serde_json::to_vec_pretty(record)?;
        std::fs::write(built.join(RECORD), text)?;
        crate::sys::disk::flush(built)?;
        if place.exists() {
            // Unusable, or it would have been taken. Out of the way in one step: it is never half there.
            let old = tempfile::Builder::new()
                .prefix(REPLACED)
                .tempdir_in(&self.path)?
                .keep();
            std::fs::rename(&place, old.join("engine"))?;
        }
        std::fs::rename(built, &place)?;
        File::open(&self.path)?.sync_all()?;
        self.clean();
        Ok(engine(place, record))
    }

    /// Deletes all engines and leftovers, and says how many complete ones there were. Only under the lock.
    pub(super) fn remove_all(&self) -> io::Result<usize> {
        let engines = self.all().len();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name() == LOCK {
                continue;
            }
            let path = entry.path();
            if !entry.file_type()?.is_dir() {
                std::fs::remove_file(path)?;
            } else if entry.file_name().to_string_lossy().starts_with('.') {
                std::fs::remove_dir_all(path)?;
            } else {
                // Renamed first: a deletion that is broken off must not leave half an engine under a good name.
                let old = self
                    .path
                    .join(format!("{REPLACED}{}", entry.file_name().to_string_lossy()));
                std::fs::rename(path, &old)?;
                std::fs::remove_dir_all(old)?;
            }
        }
        Ok(engines)
    }
}

/// The environment's interpreter.
pub(super) fn python(root: &Path) -> PathBuf {
    root.join("bin").join("python")
}

/// Where pip and uv put their temporary files: on the disk whose room was checked, and gone with the rest.
pub(super) fn temporary(root: &Path) -> PathBuf {
    root.join(".tmp")
}

/// The folder of installed packages.
pub(super) fn site_packages(root: &Path, version: &str) -> PathBuf {
    let minor = version.rsplit_once('.').map_or(version, |(minor, _)| minor);
    root.join("lib")
        .join(format!("python{minor}"))
        .join("site-packages")
}

/// Package → version, as the metadata folders are named.
pub(super) fn installed(site_packages: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    for entry in std::fs::read_dir(site_packages)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if let Some((package, version)) = name
            .strip_suffix(".dist-info")
            .and_then(|stem| stem.split_once('-'))
        {
            versions.insert(lockfile::normal(package), version.to_owned());
        }
    }
    Ok(versions)
}

/// Bytes of all files below.
pub(super) fn size(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sum += size(&entry.path())?;
        } else if kind.is_file() {
            sum += entry.metadata()?.len();
        }
    }
    Ok(sum)
}

fn engine(root: PathBuf, record: &Record) -> Engine {
    Engine {
        python: python(&root),
        root,
        python_version: record.python_version.clone(),
        engine_version: record.versions.get("pysail").cloned().unwrap_or_default(),
    }
}

/// They name the folder that the engine was built in.
fn drop_scripts(root: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(root.join("bin"))? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with("python") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .filter_map(|part| part.parse().ok())
        .collect()
}
