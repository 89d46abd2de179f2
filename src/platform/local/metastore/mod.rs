//! The catalogue of the local engine: which tables there are, what they are made of, where their files lie. One
//! SQLite file under the data directory, shared by all processes of the user; to the engine it speaks as a Unity
//! Catalog would, on loopback.

mod commits;
mod folders;
mod fresh;
mod list;
mod own_commit;
mod records;
mod server;
mod store;
mod tables;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::folders::{Owner, Places};
use self::store::Store;
pub(crate) use self::wire::location as place_of;
use super::delta;
use crate::model::{
    Code, DEFAULT_DATABASE, Error, Result, TableColumn, TableKind, TableName, TablesPage,
    TablesQuery,
};

/// The catalogue's name in SQL: Spark's own, so that `spark_catalog.default.t` means what it means elsewhere.
pub(crate) const CATALOG: &str = "spark_catalog";

/// How long the end of the process waits for what the catalogue is just writing.
const CLOSE_FOR: Duration = Duration::from_millis(500);

/// The catalogue. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Metastore(Arc<Core>);

struct Core {
    store: Store,
    places: Places,
    owner: Owner,
    bearer: String,
    port: u16,
    /// Why the last call of each worker was refused that was.
    refusals: Mutex<HashMap<String, Error>>,
    /// Delta tables without a log, by the worker that is making them: the same statement may write them.
    empty: Mutex<HashMap<String, Vec<tables::Empty>>>,
    /// The server, and what purges.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// The catalogue as one worker has it.
#[derive(Debug)]
pub(crate) struct Door {
    metastore: Metastore,
    worker: String,
}

impl Door {
    /// The value of `SAIL_CATALOG__LIST`; it holds the bearer of this process.
    pub(crate) fn catalog_list(&self) -> String {
        format!(
            r#"[{{type="unity", name="{CATALOG}", uri="{}", default_catalog="{CATALOG}", token="{}"}}]"#,
            self.uri(),
            self.metastore.bearer()
        )
    }

    /// Where the engine and the harness reach it.
    pub(crate) fn uri(&self) -> String {
        format!(
            "http://{}:{}/{}{}",
            Ipv4Addr::LOCALHOST,
            self.metastore.0.port,
            self.worker,
            server::BASE
        )
    }

    /// Why the catalogue refused what this worker asked last, once; the engine's own words have the status only.
    pub(crate) fn take_refusal(&self) -> Option<Error> {
        self.metastore.refusals().remove(&self.worker)
    }

    /// Gives version 0 to the external Delta tables that this worker's statement has made and not written: without it
    /// nobody could write them. Those of a statement that has failed, and those that only their writer could have
    /// given it, are taken out of the catalogue again. To be called when a statement has ended.
    ///
    /// # Errors
    /// `statement_failed` for a place that cannot be written.
    /// # Cancel safety
    /// A dropped future leaves some of them without.
    pub(crate) async fn settle(&self, failed: bool) -> Result<()> {
        let ended = match failed {
            true => tables::Settle::Failed,
            false => tables::Settle::Whole,
        };
        self.metastore.settle(&self.worker, ended).await
    }

    /// The same for what a statement inside of a cell has made: the cell goes on and may use it.
    ///
    /// # Errors
    /// As [`Door::settle`].
    /// # Cancel safety
    /// As [`Door::settle`].
    pub(crate) async fn settle_part(&self) -> Result<()> {
        self.metastore
            .settle(&self.worker, tables::Settle::Part)
            .await
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.metastore.refusals().remove(&self.worker);
        self.metastore.empty().remove(&self.worker);
    }
}

/// A table, as the catalogue knows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    /// Never changes; a table that replaces another has one of its own.
    pub id: String,
    /// As it was made.
    pub name: TableName,
    /// Managed where the catalogue owns the files, else external.
    pub kind: TableKind,
    /// Its commits go through the catalogue (Delta's feature `catalogManaged`): it is read and written by its name
    /// only, and a commit may meet another's.
    pub catalog_managed: bool,
    /// In lower case: `delta`, `parquet`.
    pub format: String,
    /// Where its files are: an absolute path.
    pub location: PathBuf,
    /// The catalogue made the folder, and deletes it with the table.
    pub owned: bool,
    /// What its maker said of it.
    pub comment: Option<String>,
    /// In order, partition columns included; of a Delta table as its log has them now.
    pub columns: Vec<TableColumn>,
    /// The columns it is partitioned by.
    pub partition_by: Vec<String>,
    /// As its maker set them.
    pub properties: BTreeMap<String, String>,
}

/// A folder for a table's files that no table has yet. Dropped before [`Metastore::publish`], it is deleted; left
/// behind by a process that was killed, it is deleted by the next one.
#[derive(Debug)]
pub(crate) struct NewFolder {
    path: PathBuf,
    /// `None` once a table has it.
    store: Option<Store>,
}

impl NewFolder {
    /// Where it is: an absolute path to an empty folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if let Some(store) = self.store.take() {
            let path = std::mem::take(&mut self.path);
            store.write_later(move |db| {
                // What cannot be deleted now is trash, for later.
                folders::throw(db, &path, true)?;
                let _ = std::fs::remove_dir_all(&path);
                Ok(())
            });
        }
    }
}

/// What [`Metastore::publish`] does where the name is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Publish {
    /// An error.
    Create,
    /// Takes its place, if it is still this table (its id): in one step, so that each reader sees the old or the new one.
    /// The old files go when no reader can need them any more.
    Replace(String),
}

impl Metastore {
    /// Opens the catalogue under the data directory `data`, makes it and the default database at the first time, and
    /// starts to answer the engine on loopback.
    ///
    /// # Errors
    /// `engine_unavailable` when the folder or the file cannot be used.
    /// # Cancel safety
    /// Dropping the future may leave an empty catalogue behind, which does no harm.
    pub(crate) async fn open(data: &Path) -> Result<Self> {
        Self::open_with(data, folders::GRACE).await
    }

    /// The same, with another time for which dropped tables' files stay.
    async fn open_with(data: &Path, grace: Duration) -> Result<Self> {
        let unusable = {
            let data = data.to_owned();
            move |e: std::io::Error| {
                Error::new(
                    Code::EngineUnavailable,
                    format!("the catalogue in {} cannot be opened: {e}", data.display()),
                )
                .hint("Set SPARKLEASE_DATA_DIR to a folder that you may write, on a local disk.")
                .source_error(e)
            }
        };
        let opened = {
            let (data, unusable) = (data.to_owned(), unusable.clone());
            tokio::task::spawn_blocking(move || {
                let places = Places::new(&data).map_err(&unusable)?;
                let registry = places.registry().map_err(&unusable)?;
                let store = Store::open(&places.file())?;
                let owner = places.enter(&registry).map_err(&unusable)?;
                Ok::<_, Error>((places, registry, store, owner))
            })
        };
        let (places, registry, store, owner) = opened.await.map_err(|e| {
            Error::internal("the catalogue's opening was stopped").source_error(e)
        })??;
        {
            let places = places.clone();
            store
                .write(move |db| {
                    if records::find_database(db, DEFAULT_DATABASE)?.is_none() {
                        records::add_database(db, DEFAULT_DATABASE, None, &BTreeMap::new())?;
                    }
                    places.sweep(db, &registry)
                })
                .await?;
        }
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(&unusable)?;
        let port = listener.local_addr().map_err(&unusable)?.port();
        // 244 random bits.
        let bearer = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let metastore = Self(Arc::new(Core {
            store,
            places,
            owner,
            bearer,
            port,
            refusals: Mutex::default(),
            empty: Mutex::default(),
            tasks: Mutex::default(),
        }));
        metastore.start(listener, grace);
        Ok(metastore)
    }

    /// Opens the catalogue, if there is one, and closes it again: how many databases and tables it has.
    ///
    /// # Errors
    /// As [`Metastore::open`].
    /// # Cancel safety
    /// As [`Metastore::open`].
    pub(crate) async fn look(data: &Path) -> Result<Option<(usize, u64)>> {
        if !data.join("lake/metastore.db").exists() {
            return Ok(None);
        }
        let metastore = Self::open(data).await?;
        let databases = metastore.databases().await;
        let page = metastore.page(&TablesQuery::default()).await;
        metastore.close().await;
        Ok(Some((databases?.len(), page?.total)))
    }

    fn start(&self, listener: tokio::net::TcpListener, grace: Duration) {
        // Small answers go out at once: a dozen of them stand in the way of each INSERT.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let routes = server::routes(self.clone());
        let serving = tokio::spawn(async move {
            if let Err(e) = axum::serve(listener, routes).await {
                tracing::error!(error = %e, "the catalogue answers the engine no more");
            }
        });
        let (places, store) = (self.0.places.clone(), self.0.store.clone());
        let purging = tokio::spawn(async move {
            loop {
                if let Err(e) = places.purge(&store, grace).await {
                    tracing::warn!(error = %e, "dropped tables' files stay for now");
                }
                tokio::time::sleep(folders::PURGE_EVERY.min(grace)).await;
            }
        });
        self.0
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend([serving, purging]);
    }

    /// Ends it: the engine gets no more answers, and what was accepted is written. Twice is safe.
    pub(crate) async fn close(&self) {
        let tasks =
            std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            task.abort();
        }
        let store = self.0.store.clone();
        let closed = tokio::task::spawn_blocking(move || store.close());
        let _ = tokio::time::timeout(CLOSE_FOR, closed).await;
        self.0.places.close();
    }

    /// A way in for a worker.
    pub(crate) fn door(&self) -> Door {
        Door {
            metastore: self.clone(),
            worker: Uuid::new_v4().simple().to_string(),
        }
    }

    /// A path of a table as the engine is to be told it: it cannot read each path that we can.
    pub(crate) fn for_engine(&self, path: &Path) -> PathBuf {
        self.0.places.for_engine(path)
    }

    fn places(&self) -> &Places {
        &self.0.places
    }

    fn refusals(&self) -> MutexGuard<'_, HashMap<String, Error>> {
        self.0
            .refusals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn empty(&self) -> MutexGuard<'_, HashMap<String, Vec<tables::Empty>>> {
        self.0.empty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_refusal(&self, worker: String, error: Error) {
        self.refusals().insert(worker, error);
    }

    /// What a caller of [`Door::uri`] must show. A secret.
    pub(crate) fn bearer(&self) -> &str {
        &self.0.bearer
    }

    /// Where the engine puts tables that it finds a place for itself: an absolute path, of this process.
    pub(crate) fn warehouse(&self) -> PathBuf {
        self.for_engine(&self.0.places.warehouse(&self.0.owner.id))
    }

    /// The names of all databases, in order.
    ///
    /// # Errors
    /// `platform_unavailable` when the catalogue cannot be read.
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn databases(&self) -> Result<Vec<String>> {
        let databases = self.all_databases().await?;
        Ok(databases
            .into_iter()
            .map(|database| database.name)
            .collect())
    }

    /// A table by its name, compared as Spark does.
    ///
    /// # Errors
    /// As [`Metastore::databases`].
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn find(&self, name: &TableName) -> Result<Option<Table>> {
        Ok(self.record(name.clone()).await?.map(Table::from))
    }

    /// A page of the list.
    ///
    /// # Errors
    /// As [`Metastore::databases`].
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn page(&self, query: &TablesQuery) -> Result<TablesPage> {
        list::page(&self.0.store, query).await
    }

    /// Checks that a table may have this name, and makes a folder for its files.
    ///
    /// # Errors
    /// `invalid_argument` for a name that the engine cannot keep; `not_found` for a database that is not there.
    /// # Cancel safety
    /// A dropped future may leave a folder, which the next process deletes.
    pub(crate) async fn new_folder(&self, name: &TableName) -> Result<NewFolder> {
        let path = self.stage(name.clone()).await?;
        let folder = NewFolder {
            path,
            store: Some(self.0.store.clone()),
        };
        crate::sys::files::create_private_folder(&folder.path).map_err(|e| {
            Error::new(
                Code::PlatformUnavailable,
                format!("a table's folder cannot be made: {e}"),
            )
            .hint("Call sparklease doctor: it checks the data folder and the room on its disk.")
            .source_error(e)
        })?;
        Ok(folder)
    }
}

impl From<records::Record> for Table {
    fn from(record: records::Record) -> Self {
        Self {
            kind: if record.owned {
                TableKind::Managed
            } else {
                TableKind::External
            },
            columns: delta::schema::columns(&record.schema),
            id: record.id,
            name: record.name,
            catalog_managed: record.catalog_managed,
            format: record.format,
            location: record.path,
            owned: record.owned,
            comment: record.comment,
            partition_by: record.partition_by,
            properties: record.properties,
        }
    }
}

impl fmt::Debug for Metastore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metastore")
            .field("places", &self.0.places)
            .field("port", &self.0.port)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
