//! Sessions on a Livy server. [`dialect`] holds what differs between its kinds as data; [`client`] has the calls,
//! [`wire`] and [`error`] read the answers; [`open`], [`run`] and [`close`] are the life of a session; [`tables`] lists what its catalogue
//! knows, [`write`] writes one.

mod client;
mod close;
mod dialect;
mod error;
mod open;
mod run;
mod session;
mod tables;
mod wire;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use self::client::Client;
use self::dialect::{APACHE, Dialect};
use self::session::Live;
use super::http::{Address, Credential, Http};
use super::remote::{Closed, Created, Place, Remote, Tagged};
use super::{Capability, Platform, Poll, RemoteSession, Reporter, Statement};
use crate::model::{
    Code, End, Error, Event, Result, SecretRegistry, SessionId, StatementId, TablesPage,
    TablesQuery, Tag,
};

/// A statement's polls: from 10 ms, growing to 1 % of its age, a second at most. One of 10 s then waits 50 ms for us, a tenth of
/// what it waits for clients that look each second (`benches/livy`), and has cost the server 330 looks of 2 ms; with 5 % it
/// waited 400 ms. After 100 s it costs a look a second.
const POLL: Poll = Poll {
    first: Duration::from_millis(10),
    share: 0.01,
    most: Duration::from_secs(1),
};
/// At the end of the process: the deletes are sent, and the server goes on with them by itself.
const SHUTDOWN_FOR: Duration = Duration::from_millis(900);

/// What sessions are asked to be.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Whose rights they have, where the server may act for others.
    pub proxy_user: Option<String>,
    /// Spark's own settings. The server shows them to every user: no secret belongs here.
    pub conf: BTreeMap<String, String>,
    /// The server ends a session that nobody asked for so long, counted from its creation; in whole seconds.
    pub heartbeat: Duration,
    /// How long an open may take.
    pub open_for: Duration,
}

/// Long enough for a laptop's lost network, short enough for what an hour costs; counted while a session starts, too.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(120);

impl Default for Options {
    fn default() -> Self {
        Self {
            proxy_user: None,
            conf: BTreeMap::new(),
            heartbeat: HEARTBEAT,
            open_for: Duration::from_secs(600),
        }
    }
}

/// Sessions on one Livy server.
pub(crate) struct Livy {
    capability: Capability,
    dialect: &'static Dialect,
    address: Address,
    options: Options,
    secrets: SecretRegistry,
    client: OnceLock<Arc<Client>>,
    /// Those that exist, or may exist; `None` once the process ends.
    sessions: Mutex<Option<HashMap<SessionId, Arc<Live>>>>,
}

impl Livy {
    /// A platform that speaks to `address` when its first session is opened, not before.
    pub(crate) fn new(address: Address, options: Options, secrets: &SecretRegistry) -> Self {
        let dialect = &APACHE;
        Self {
            capability: Capability {
                local_files: false,
                costs_money: true,
                engine: format!("Apache Spark, through {}", dialect.product),
                poll: Some(POLL),
                backstop: dialect
                    .heartbeat
                    .map(|_| options.heartbeat + dialect.watchdog),
                tables_in_session: true,
                carries: write::CARRIED,
            },
            dialect,
            address,
            options,
            secrets: secrets.clone(),
            client: OnceLock::new(),
            sessions: Mutex::new(Some(HashMap::new())),
        }
    }

    /// The client, made at its first use. One that cannot be made is tried again: a file of a secret may come to be.
    fn client(&self) -> Result<Arc<Client>> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let client = Arc::new(Client {
            http: Http::new(&self.address, &self.secrets)?,
            dialect: self.dialect,
            changes: AtomicU64::new(0),
            poll: self.capability.poll.unwrap_or(POLL),
        });
        Ok(self.client.get_or_init(|| client).clone())
    }

    fn live(&self, session: &RemoteSession) -> Option<Arc<Live>> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.as_ref()?.get(&session.id).cloned()
    }

    /// Asks the server for its version and for a list, which takes a sign-in; returns the version's words.
    ///
    /// # Errors
    /// What is wrong with the address, the sign-in or the server.
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn check(&self) -> Result<String> {
        let client = self.client()?;
        let version = client.version().await?;
        client
            .sessions()
            .await
            .map_err(|trouble| client.error(&trouble, "list sessions"))?;
        Ok(match version {
            Some((_, text)) => format!("{} {text}", self.dialect.product),
            None => format!(
                "{} of a version that it does not tell",
                self.dialect.product
            ),
        })
    }
}

#[async_trait]
impl Platform for Livy {
    fn capability(&self) -> &Capability {
        &self.capability
    }

    async fn open(&self, session: &RemoteSession, report: &Reporter) -> Result<()> {
        let live = Arc::new(Live::new(session.tag.clone()));
        {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(sessions) = sessions.as_mut() else {
                return Err(Error::new(Code::Cancelled, "the server is shutting down"));
            };
            sessions.insert(session.id.clone(), live.clone());
        }
        // After it is known that nothing was sent: without a client nothing could be deleted either.
        let client = self.client()?;
        let opening = open::open(&client, &live, &self.options, report);
        tokio::pin!(opening);
        let about = tokio::select! {
            about = &mut opening => about,
            () = report.unwanted().cancelled() => {
                // It sees that between its steps: a create on its way must have its answer.
                live.over.cancel();
                opening.await
            }
        }?;
        tracing::info!(
            session = %session.id,
            python = about.python,
            spark = about.spark.as_deref().unwrap_or("none"),
            "the harness is installed"
        );
        Ok(())
    }

    fn lost(&self, session: &RemoteSession) -> Option<String> {
        match self.live(session) {
            Some(live) => live.lost(),
            None => Some("it was closed".to_owned()),
        }
    }

    async fn close(&self, session: &RemoteSession) -> Result<()> {
        if self.release(session) == Created::No {
            return Ok(());
        }
        close::close(&*self.client()?, &session.tag).await
    }

    fn run(&self, session: &RemoteSession, statement: Statement) -> BoxStream<'static, Event> {
        let (Some(live), Ok(client)) = (self.live(session), self.client()) else {
            let why = "it was closed";
            let end = Event::End {
                end: End::Failed(run::lost(why, false)),
                session_lost: Some(why.to_owned()),
            };
            return futures::stream::iter([end]).boxed();
        };
        let (events, receiver) = mpsc::channel(16);
        // Before the task runs: a cancel may come at once.
        let cancel = live.begin(&statement.id);
        tokio::spawn(run::run(client, live, statement, cancel, events));
        ReceiverStream::new(receiver).boxed()
    }

    async fn cancel(&self, session: &RemoteSession, statement: &StatementId) {
        if let Some(live) = self.live(session) {
            live.cancel(statement);
        }
    }

    async fn tables(
        &self,
        _session: Option<&RemoteSession>,
        _query: &TablesQuery,
    ) -> Result<TablesPage> {
        Err(Error::internal(
            "the catalogue was asked without a session's statement",
        ))
    }

    async fn shutdown(&self) {
        let all = {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.take().unwrap_or_default()
        };
        let Ok(client) = self.client() else { return };
        let deletes = all
            .into_values()
            .filter(|live| live.created() != Created::No)
            .map(|live| {
                live.lose("the server is shutting down");
                live.over.cancel();
                let client = client.clone();
                async move { client.delete(&live.tag).await }
            });
        let sent = tokio::time::timeout(SHUTDOWN_FOR, futures::future::join_all(deletes)).await;
        let failed = match &sent {
            Ok(all) => all.iter().filter(|deleted| deleted.is_err()).count(),
            Err(_) => 0,
        };
        if failed > 0 {
            tracing::warn!(failed, "sessions whose delete was not taken");
        }
    }
}

/// What the ledger asks, for sessions that outlive us.
#[async_trait]
impl Remote for Livy {
    fn place(&self) -> Place {
        let mut hash = Sha256::new();
        match &self.address.credential {
            Credential::None => hash.update("none"),
            Credential::Basic { user, .. } => {
                hash.update("basic");
                hash.update(user);
            }
            // Tokens change and the identity behind them does not: the target's name stands for it.
            Credential::Bearer(_) => {
                hash.update("bearer");
                hash.update(self.address.target.as_str());
            }
        }
        hash.update([0]);
        hash.update(self.options.proxy_user.as_deref().unwrap_or_default());
        Place {
            platform: "livy".to_owned(),
            base: self.address.url.trim().trim_end_matches('/').to_owned(),
            principal: hash
                .finalize()
                .iter()
                .take(8)
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        }
    }

    fn release(&self, session: &RemoteSession) -> Created {
        let live = {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.as_mut().and_then(|s| s.remove(&session.id))
        };
        // What this process has never seen, or has given up at its end, may exist all the same.
        let Some(live) = live else {
            return Created::Perhaps;
        };
        live.lose("it was closed");
        live.over.cancel();
        live.created()
    }

    async fn find_by_tag(&self, tag: &Tag) -> Result<Vec<String>> {
        close::find(&*self.client()?, tag).await
    }

    async fn close_verified(&self, tag: &Tag, id: &str) -> Result<Closed> {
        close::round(&*self.client()?, tag, Some(id)).await
    }

    async fn list_tagged(&self, prefix: &str) -> Result<Vec<Tagged>> {
        close::list(&*self.client()?, prefix).await
    }
}

impl fmt::Debug for Livy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Livy")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Livy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.dialect.product, self.address.url)
    }
}

#[cfg(test)]
mod tests;
