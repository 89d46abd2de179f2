//! The local engine: one worker process for each session, and one spare that nobody has used yet.

mod asks;
mod delta;
mod environment;
mod metastore;
mod missing;
mod paths;
mod rewrite;
mod run;
mod session;
mod tables_sql;
mod views;
mod write;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{OnceCell, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

pub(crate) use self::metastore::Metastore;
use self::session::Live;
pub(crate) use self::session::Workshop;
use super::pattern::{self, Wanted};
use super::{Capability, Platform, RemoteSession, Reporter, Statement};
use crate::model::{
    Code, End, Error, Event, Progress, Result, SessionId, StatementId, TableDetail, TablesPage,
    TablesQuery, Tag,
};
use crate::python::install::{Engine, Installer};

/// Sessions on the machine itself. They die with the process, cost nothing, and read local files.
pub(crate) struct Local {
    capability: Capability,
    installer: Installer,
    workshop: Workshop,
    /// Opened at the first use, and then once.
    metastore: OnceCell<Metastore>,
    keep_spare: bool,
    /// `None` once the process ends.
    sessions: Mutex<Option<HashMap<SessionId, Arc<Live>>>>,
    spare: Arc<Mutex<Spare>>,
}

/// The worker that is ready, or on its way, for the next session.
#[derive(Debug, Default)]
enum Spare {
    #[default]
    None,
    Starting(JoinHandle<Option<Arc<Live>>>),
    Ready(Arc<Live>),
    /// The process ends: nothing starts any more.
    Closed,
}

impl Local {
    /// A platform that makes its sessions in `workshop`, installing the engine when the first one is opened.
    pub(crate) fn new(installer: Installer, workshop: Workshop, keep_spare: bool) -> Self {
        Self {
            capability: Capability {
                local_files: true,
                costs_money: false,
                engine: ENGINE.to_owned(),
                poll: None,
                backstop: None,
                tables_in_session: false,
                carries: 0,
            },
            installer,
            workshop,
            metastore: OnceCell::new(),
            keep_spare,
            sessions: Mutex::new(Some(HashMap::new())),
            spare: Arc::default(),
        }
    }

    /// The catalogue; opens it at the first call.
    async fn metastore(&self) -> Result<&Metastore> {
        let open = || async {
            let metastore = Metastore::open(&self.workshop.data).await?;
            self.workshop.secrets.register("token", metastore.bearer());
            Ok(metastore)
        };
        self.metastore.get_or_try_init(open).await
    }

    fn live(&self, session: &RemoteSession) -> Option<Arc<Live>> {
        self.sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()?
            .get(&session.id)
            .cloned()
    }

    fn take_spare(&self) -> Option<Arc<Live>> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *spare) {
            Spare::Ready(live) => Some(live).filter(|live| live.worker.exit().is_none()),
            other => {
                *spare = other;
                None
            }
        }
    }

    /// Starts a spare in the background, if none is there or on its way; not before `first` has imported PySpark,
    /// since the statement that it was opened for would share two cores with both.
    fn refill(&self, engine: Engine, metastore: Metastore, first: Arc<Live>) {
        if !self.keep_spare {
            return;
        }
        let mut place = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*place, Spare::None) {
            return;
        }
        let (spare, workshop) = (self.spare.clone(), self.workshop.clone());
        *place = Spare::Starting(tokio::spawn(async move {
            if let Err(e) = first.worker.ready().await {
                tracing::debug!(error = %e.code(), "the spare waited for a worker in vain");
            }
            drop(first);
            tokio::time::sleep(REFILL_AFTER).await;
            let wanted = |place: &Mutex<Spare>| {
                let place = place.lock().unwrap_or_else(PoisonError::into_inner);
                matches!(*place, Spare::Starting(_))
            };
            if !wanted(&spare) {
                return None;
            }
            let tag = Tag::for_session(&SessionId::random());
            let live = match Live::start(&workshop, &engine, &metastore, &tag).await {
                Ok(live) => Some(Arc::new(live)),
                Err(e) => {
                    tracing::warn!(error = %e, "no spare worker");
                    None
                }
            };
            let mut place = spare.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*place, Spare::Starting(_)) {
                *place = live.map_or(Spare::None, Spare::Ready);
                return None;
            }
            // The process ends: who ends it waits for this one, to kill it.
            live
        }));
    }
}

/// From a lease to the start of the next spare: the answer, and most first statements, are out by then. No one asks for
/// sessions faster than that for long.
const REFILL_AFTER: Duration = Duration::from_millis(200);

/// At the end of the process, for a spare that is just starting: it listens after 0.1 s on a quiet machine.
const START_OVER: Duration = Duration::from_millis(500);

/// The engine in words, as the lock file pins it.
const ENGINE: &str = "Sail 0.7.2, a Spark-compatible engine";

#[async_trait]
impl Platform for Local {
    fn capability(&self) -> &Capability {
        &self.capability
    }

    async fn open(&self, session: &RemoteSession, report: &Reporter) -> Result<()> {
        let engine = self
            .installer
            .ensure(|progress| report.say(progress))
            .await?;
        let metastore = self.metastore().await?;
        if report.unwanted().is_cancelled() {
            // The engine is there for the next one.
            return Err(Error::new(
                Code::Cancelled,
                "nobody wants the session any more",
            ));
        }
        let live = match self.take_spare() {
            Some(spare) => spare,
            None => {
                report.say(Progress::phase("starting a worker"));
                Arc::new(Live::start(&self.workshop, &engine, metastore, &session.tag).await?)
            }
        };
        let refused = {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            match sessions.as_mut() {
                Some(sessions) => {
                    sessions.insert(session.id.clone(), live.clone());
                    false
                }
                None => true,
            }
        };
        if refused {
            live.kill().await;
            return Err(Error::new(Code::Cancelled, "the server is shutting down"));
        }
        self.refill(engine, metastore.clone(), live);
        Ok(())
    }

    fn lost(&self, session: &RemoteSession) -> Option<String> {
        match self.live(session) {
            Some(live) => live.worker.exit().map(|exit| exit.reason),
            None => Some("it was closed".to_owned()),
        }
    }

    async fn close(&self, session: &RemoteSession) -> Result<()> {
        let live = self
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            .and_then(|sessions| sessions.remove(&session.id));
        if let Some(live) = live {
            live.kill().await;
        }
        Ok(())
    }

    fn run(&self, session: &RemoteSession, statement: Statement) -> BoxStream<'static, Event> {
        // Whoever has a session has the catalogue.
        let (Some(live), Some(metastore)) = (self.live(session), self.metastore.get().cloned())
        else {
            let lost = "it was closed".to_owned();
            let end = Event::End {
                end: End::Failed(
                    Error::new(Code::SessionLost, "the session is gone: it was closed")
                        .hint("Call the tool again; a new session is opened."),
                ),
                session_lost: Some(lost),
            };
            return futures::stream::iter([end]).boxed();
        };
        // A few events ahead of the reader; text comes in pieces of at most 64 KiB.
        let (events, receiver) = mpsc::channel(16);
        let folder = self.workshop.folder.as_path().into();
        // Before the task runs: a cancel may come at once.
        let cancel = live.begin(&statement.id);
        tokio::spawn(run::run(live, statement, cancel, folder, metastore, events));
        ReceiverStream::new(receiver).boxed()
    }

    async fn cancel(&self, session: &RemoteSession, statement: &StatementId) {
        if let Some(live) = self.live(session) {
            live.cancel(statement);
        }
    }

    async fn tables(
        &self,
        session: Option<&RemoteSession>,
        query: &TablesQuery,
    ) -> Result<TablesPage> {
        let views = match session.and_then(|session| self.live(session)) {
            Some(live) => {
                let reads_text = Wanted::by(query).reads_text();
                views::list(&live, reads_text || query.detail != TableDetail::Names).await?
            }
            None => Vec::new(),
        };
        let (views, rest) = pattern::with_views(query, views);
        let catalogue = self.metastore().await?.page(&rest).await?;
        Ok(pattern::joined(views, catalogue, query.limit))
    }

    async fn shutdown(&self) {
        let all: Vec<Arc<Live>> = {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.take().unwrap_or_default().into_values().collect()
        };
        let spare = std::mem::replace(
            &mut *self.spare.lock().unwrap_or_else(PoisonError::into_inner),
            Spare::Closed,
        );
        // The spare may be waiting for one of the sessions: these go first.
        futures::future::join_all(all.iter().map(|live| live.kill())).await;
        let spare = match spare {
            Spare::Ready(live) => Some(live),
            Spare::Starting(task) => {
                let stop = task.abort_handle();
                let started = tokio::time::timeout(START_OVER, task).await;
                // Dropped half-way, its worker is killed too.
                stop.abort();
                started.ok().and_then(Result::ok).flatten()
            }
            Spare::None | Spare::Closed => None,
        };
        if let Some(live) = spare {
            live.kill().await;
        }
        if let Some(metastore) = self.metastore.get() {
            metastore.close().await;
        }
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local")
            .field("workshop", &self.workshop)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ENGINE}, on this machine")
    }
}
