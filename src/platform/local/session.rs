//! A local session: one worker, one Spark session in it, one folder that goes with them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::environment;
use super::metastore::{Door, Metastore};
use crate::model::{Code, Error, Result, SecretRegistry, StatementId, Tag};
use crate::python::install::Engine;
use crate::python::{Launch, Worker, harness};
use crate::spark_connect::Client;
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
    /// Where the catalogue is, and the tables' files.
    pub data: PathBuf,
    /// Where the catalogue's bearer is made known.
    pub secrets: SecretRegistry,
}

/// A session that runs.
pub(super) struct Live {
    pub(super) worker: Worker,
    pub(super) spark: Client,
    pub(super) catalog: Door,
    running: Mutex<Option<Running>>,
    /// Temp views that the `files` argument has made: it may replace these, and no view of the user's.
    views: Mutex<BTreeSet<String>>,
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
    pub(super) async fn start(
        workshop: &Workshop,
        engine: &Engine,
        metastore: &Metastore,
        tag: &Tag,
    ) -> Result<Self> {
        let folder = workshop.scratch.folder().map_err(no_folder)?;
        let catalog = metastore.door();
        let launch = Launch {
            python: engine.python.clone(),
            script: harness::write(&workshop.cache).map_err(no_folder)?,
            tag: tag.clone(),
            memory_bytes: workshop.memory_bytes,
            folder: workshop.folder.clone(),
            environment: environment::worker(
                std::env::vars_os(),
                folder.path(),
                &workshop.cache,
                &catalog.catalog_list(),
                workshop.memory_bytes,
            ),
        };
        let worker = Worker::start(&launch).await?;
        let spark = Client::connect(&format!("http://127.0.0.1:{}", worker.port())).await?;
        // A relative one would be the working directory's, and its tables empty from another directory.
        let warehouse = metastore.warehouse().display().to_string();
        spark
            .set_config(&[
                ("spark.sql.warehouse.dir", &warehouse),
                ("spark.sql.sources.default", "delta"),
            ])
            .await?;
        worker.import().await?;
        Ok(Self {
            worker,
            spark,
            catalog,
            running: Mutex::new(None),
            views: Mutex::default(),
            folder,
        })
    }

    /// A folder for files of one statement; it goes when it is dropped, or with the session.
    ///
    /// # Errors
    /// `engine_unavailable`.
    pub(super) fn scratch_folder(&self) -> Result<TempDir> {
        TempDir::new_in(self.folder.path()).map_err(no_folder)
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

    /// Whether a view of that name is ours to replace.
    pub(super) fn made_view(&self, name: &str) -> bool {
        self.views
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(name)
    }

    /// Remembers, or forgets, a view that `files` made.
    pub(super) fn note_view(&self, name: &str, there: bool) {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if there {
            views.insert(name.to_owned());
        } else {
            views.remove(name);
        }
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

fn no_folder(e: std::io::Error) -> Error {
    Error::new(
        Code::EngineUnavailable,
        format!("a session's folder cannot be made: {e}"),
    )
    .hint("Set SPARKLEASE_DATA_DIR and SPARKLEASE_CACHE_DIR to folders that you may write.")
    .source_error(e)
}
