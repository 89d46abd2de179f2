//! The private Python environment of the local engine: made at first use from the pinned lock file, checked, removed.
//!
//! Starts no worker and knows no settings: a cache folder, perhaps a folder of wheels and a Python come in, an [`Engine`]
//! comes out. Everything is installed with `--require-hashes`, from the user's own package index.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Progress, Result};

mod build;
mod errors;
mod folder;
mod interpreter;
mod lockfile;
mod progress;
mod run;
mod words;

/// 188 MB of downloads, 640 MB in place, and pip's temporary copies between them. In bytes.
const ROOM: u64 = 1_200_000_000;

/// A download of 188 MB at 1.5 Mbit/s takes 17 minutes; who has less needs the folder of wheels.
const INSTALL_WITHIN: Duration = Duration::from_secs(20 * 60);

/// Another process gets its whole [`INSTALL_WITHIN`], and a minute to tidy up.
const WAIT_WITHIN: Duration = Duration::from_secs(21 * 60);

/// The kernel cannot wake a waiter of a file lock without a thread of its own; a look costs one system call.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The fact of an error that holds the last 200 lines of pip or uv, for who runs the installation by hand.
pub(crate) const SAID: &str = "said";

/// Makes, finds and removes the local engine.
#[derive(Clone, Debug)]
pub(crate) struct Installer {
    /// The engine lives in `engine/` below it.
    pub(crate) cache_dir: PathBuf,
    /// Take all files from this folder, and no network (`engine.wheels`, `SPARKLEASE_ENGINE_WHEELS`).
    pub(crate) wheels: Option<PathBuf>,
    /// Use this Python and no other (`engine.python`).
    pub(crate) python: Option<PathBuf>,
    variables: Vec<(OsString, OsString)>,
    room: u64,
    install_within: Duration,
    wait_within: Duration,
}

/// A complete engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Engine {
    /// Its folder.
    pub(crate) root: PathBuf,
    /// The interpreter to start workers with.
    pub(crate) python: PathBuf,
    /// `3.11.7`.
    pub(crate) python_version: String,
    /// Of pysail: `0.7.2`.
    pub(crate) engine_version: String,
}

/// What is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nothing that this binary can use.
    NotInstalled {
        /// Engines of other versions, or on a Python that is gone; `remove` deletes them.
        others: Vec<PathBuf>,
    },
    /// Ready to use.
    Installed {
        /// The engine.
        engine: Engine,
        /// Package → version.
        versions: BTreeMap<String, String>,
        /// On the disk, as counted when it was installed.
        bytes: u64,
        /// Engines that this binary does not use; `remove` deletes them too.
        others: Vec<PathBuf>,
    },
}

/// What an installation would use.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    /// `uv`, which is preferred.
    pub(crate) uv: Option<PathBuf>,
    /// The Python and its version, or why none does; uv could still fetch one.
    pub(crate) python: Result<(PathBuf, String)>,
}

impl Installer {
    /// An installer with the environment of this process.
    pub(crate) fn new(cache_dir: PathBuf) -> Self {
        Self {
            cache_dir,
            wheels: None,
            python: None,
            variables: std::env::vars_os().collect(),
            room: ROOM,
            install_within: INSTALL_WITHIN,
            wait_within: WAIT_WITHIN,
        }
    }

    /// What is installed. A few file reads; starts nothing.
    pub(crate) fn status(&self) -> Status {
        let folder = self.folder();
        let ready = folder.ready(self.python.as_deref());
        let mut others: Vec<PathBuf> = folder.all().into_iter().map(|(root, _)| root).collect();
        match ready {
            None => Status::NotInstalled { others },
            Some((engine, record)) => {
                others.retain(|root| *root != engine.root);
                Status::Installed {
                    engine,
                    versions: record.versions,
                    bytes: record.bytes,
                    others,
                }
            }
        }
    }

    /// The engine, installed first if need be.
    ///
    /// Where it is there already this takes a few file reads, reports nothing and starts nothing. Else it waits while
    /// another process installs (21 min at most) and takes that one's result, or installs by itself (20 min at most, about
    /// 5 s with uv and 25 s with pip on a fast network). `report` is called from this future, with a fraction that never
    /// shrinks.
    ///
    /// # Errors
    /// `engine_unavailable`, with a hint that holds the command to run: no fitting Python, no network, no room, a file that
    /// is not the pinned one, a folder that cannot be written, a deadline.
    /// # Cancel safety
    /// Safe: the installer and all it started are killed, and what it left unfinished is never taken for an engine; the next
    /// call deletes it.
    pub(crate) async fn ensure(&self, report: impl Fn(Progress) + Send + Sync) -> Result<Engine> {
        let folder = self.folder();
        if let Some((engine, _)) = folder.ready(self.python.as_deref()) {
            return Ok(engine);
        }
        // Boxed: a long future would sit inside every caller's, on the fast path too.
        Box::pin(self.install(&folder, &report, false)).await
    }

    /// The engine, made anew. The one that is there serves until the new one takes its place.
    ///
    /// # Errors
    /// As [`Installer::ensure`].
    /// # Cancel safety
    /// As [`Installer::ensure`].
    pub(crate) async fn again(&self, report: impl Fn(Progress) + Send + Sync) -> Result<Engine> {
        Box::pin(self.install(&self.folder(), &report, true)).await
    }

    /// What an installation would use: uv, and a fitting Python with its version. Runs each candidate; installs nothing.
    ///
    /// # Cancel safety
    /// Safe: a probe that runs is killed.
    pub(crate) async fn means(&self) -> Means {
        let environment = run::Environment::from(self.variables.iter().cloned());
        let uv = interpreter::find_uv(&environment).await;
        let found = interpreter::find(&environment, self.python.as_deref(), uv.is_none()).await;
        Means {
            uv,
            python: found
                .map(|python| (python.path, python.version))
                .map_err(|none| errors::no_python(&none, self.python.as_deref())),
        }
    }

    /// Room that an installation needs, in bytes.
    pub(crate) fn room(&self) -> u64 {
        self.room
    }

    /// Deletes all engines, those of other versions too, and says how many there were. Workers that run must have ended.
    ///
    /// # Errors
    /// `engine_unavailable` while another process installs, or where a file cannot be deleted.
    pub(crate) fn remove(&self) -> Result<usize> {
        let folder = self.folder();
        if !folder.path.exists() {
            return Ok(0);
        }
        let wrong = |error| errors::of_folder(error, &folder.path);
        let Some(_lock) = folder.try_lock().map_err(wrong)? else {
            return Err(errors::busy(&folder.path, Duration::ZERO));
        };
        folder.remove_all().map_err(wrong)
    }

    async fn install(
        &self,
        folder: &folder::Folder,
        report: &(dyn Fn(Progress) + Send + Sync),
        anew: bool,
    ) -> Result<Engine> {
        let _lock = self.lock(folder, report).await?;
        if let Some((engine, _)) = folder.ready(self.python.as_deref())
            && !anew
        {
            return Ok(engine);
        }
        let cleaned = folder.clone();
        let _ = tokio::task::spawn_blocking(move || cleaned.clean()).await;
        if let Some(wheels) = &self.wheels
            && !wheels.is_dir()
        {
            // So that the command of the hint finds it.
            folder
                .write_lock_copy()
                .map_err(|error| errors::of_folder(error, &folder.path))?;
            return Err(errors::no_wheels(wheels, &folder.path));
        }
        let free = crate::sys::disk::free_bytes(&folder.path)
            .map_err(|error| errors::of_folder(error, &folder.path))?;
        if free < self.room {
            return Err(errors::no_room(&folder.path, free, self.room));
        }
        let wheels = self.wheels.as_deref().map(absolute);
        build::Build {
            folder,
            environment: run::Environment::from(self.variables.iter().cloned()),
            wheels: wheels.as_deref(),
            only: self.python.as_deref(),
            anew,
            deadline: Instant::now() + self.install_within,
            within: self.install_within,
            report,
        }
        .run()
        .await
    }

    async fn lock(
        &self,
        folder: &folder::Folder,
        report: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<folder::Held> {
        let start = Instant::now();
        let mut told = false;
        loop {
            let lock = folder
                .try_lock()
                .map_err(|error| errors::of_folder(error, &folder.path))?;
            if let Some(lock) = lock {
                return Ok(lock);
            }
            if start.elapsed() >= self.wait_within {
                return Err(errors::busy(&folder.path, self.wait_within));
            }
            if !told {
                told = true;
                report(Progress::phase(
                    "waiting for another process that installs the engine",
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn folder(&self) -> folder::Folder {
        folder::Folder::new(&absolute(&self.cache_dir))
    }
}

/// Programs of the installation run in another folder than ours.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests;
