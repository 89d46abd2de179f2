//! A local session: one worker, one Spark session in it, one folder that goes with them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::environment;
use crate::model::{Code, Error, Result, StatementId, Tag};
use crate::python::install::Engine;
use crate::python::{Launch, Worker};
use crate::spark_connect::Client;
use crate::sys::files::create_private_folder;
use crate::sys::scratch::Scratch;

/// What every session of a process is made from.
#[derive(Clone, Debug)]
pub(crate) struct Workshop {
    /// Where relative paths of the user's code start.
    pub folder: PathBuf,
    /// Where the engine, the harness and matplotlib's fonts are cached.
    pub cache: PathBuf,
    /// The most memory of one worker, in bytes.
    pub memory_bytes: u64,
    /// Where the sessions' own folders are.
    pub scratch: Arc<Scratch>,
}

/// A session that runs.
pub(super) struct Live {
    pub(super) worker: Worker,
    pub(super) spark: Client,
    running: Mutex<Option<Running>>,
    folder: TempDir,
}

struct Running {
    statement: StatementId,
    cancel: CancellationToken,
}

impl Live {
    /// Starts a worker and a Spark session in it, ready for SQL.
    ///
    /// # Errors
    /// `engine_unavailable`, `platform_unavailable`.
    /// # Cancel safety
    /// Dropping the future kills the worker.
    pub(super) async fn start(workshop: &Workshop, engine: &Engine, tag: &Tag) -> Result<Self> {
        let folder = workshop.scratch.folder().map_err(no_folder)?;
        let launch = Launch {
            python: engine.python.clone(),
            script: harness(&workshop.cache)?,
            tag: tag.clone(),
            memory_bytes: workshop.memory_bytes,
            folder: workshop.folder.clone(),
            environment: environment::worker(
                std::env::vars_os(),
                folder.path(),
                &workshop.cache,
                workshop.memory_bytes,
            ),
        };
        let worker = Worker::start(&launch).await?;
        let spark = Client::connect(&format!("http://127.0.0.1:{}", worker.port())).await?;
        let warehouse = folder.path().join("warehouse").display().to_string();
        spark
            .set_config(&[
                ("spark.sql.warehouse.dir", &warehouse),
                ("spark.sql.sources.default", "delta"),
            ])
            .await?;
        Ok(Self {
            worker,
            spark,
            running: Mutex::new(None),
            folder,
        })
    }

    /// Remembers which statement runs, so that a cancel finds it.
    pub(super) fn begin(&self, statement: &StatementId) -> CancellationToken {
        let cancel = CancellationToken::new();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running {
            statement: statement.clone(),
            cancel: cancel.clone(),
        });
        cancel
    }

    /// Forgets it.
    pub(super) fn end(&self) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Asks the running statement to stop; another statement is left alone.
    pub(super) fn cancel(&self, statement: &StatementId) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.as_ref().filter(|r| r.statement == *statement) {
            running.cancel.cancel();
        }
    }

    /// Kills the worker's group and waits until the process table has it no more.
    pub(super) async fn kill(&self) {
        self.worker.kill();
        self.worker.gone().await;
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("pid", &self.worker.pid())
            .field("folder", &self.folder.path())
            .finish_non_exhaustive()
    }
}

const FILES: [(&str, &str); 7] = [
    ("cell.py", include_str!("../../python/cell.py")),
    (
        "engine_paths.py",
        include_str!("../../python/engine_paths.py"),
    ),
    (
        "engine_shims.py",
        include_str!("../../python/engine_shims.py"),
    ),
    ("streams.py", include_str!("../../python/streams.py")),
    ("tables.py", include_str!("../../python/tables.py")),
    ("values.py", include_str!("../../python/values.py")),
    ("worker.py", include_str!("../../python/worker.py")),
];

/// Writes the worker's Python into the cache, in a folder named by its content, and returns `worker.py`.
fn harness(cache: &Path) -> Result<PathBuf> {
    let mut hash = Sha256::new();
    for (name, text) in FILES {
        hash.update(name);
        hash.update([0]);
        hash.update(text);
    }
    let key: String = hash
        .finalize()
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect();
    let folder = cache.join("harness").join(key);
    create_private_folder(&folder).map_err(no_folder)?;
    for (name, text) in FILES {
        let path = folder.join(name);
        if std::fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
            continue;
        }
        let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(no_folder)?;
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(no_folder)?;
        file.persist(&path).map_err(|e| no_folder(e.error))?;
    }
    Ok(folder.join("worker.py"))
}

fn no_folder(e: std::io::Error) -> Error {
    Error::new(
        Code::EngineUnavailable,
        format!("a session's folder cannot be made: {e}"),
    )
    .hint("Set SPARKLEASE_DATA_DIR and SPARKLEASE_CACHE_DIR to folders that you may write.")
    .source_error(e)
}
