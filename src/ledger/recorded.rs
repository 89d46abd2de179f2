//! A platform whose sessions are written down before they exist: what stands between the pool and a place whose
//! sessions outlive us. It opens by intent, and closes by proof.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::sync::Semaphore;

use super::{Caps, Intent, Ledger};
use crate::model::{
    Code, Error, Event, Progress, Result, SessionId, StatementId, TablesPage, TablesQuery, Tag,
    TargetName,
};
use crate::platform::remote::{Created, Remote};
use crate::platform::{Books, Capability, Platform, RemoteSession, Reporter, Statement};

/// What a target allows of sessions that outlive us.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The entry of the configuration.
    pub target: TargetName,
    /// How long a session lives at most.
    pub life_for: Duration,
    /// What the ledger counts.
    pub caps: Caps,
    /// Sessions that are being opened at once. Servers fail when many start together.
    pub opening: usize,
}

/// The platform, and its ledger.
pub(crate) struct Recorded<P> {
    inner: Arc<P>,
    ledger: Ledger,
    terms: Terms,
    opening: Semaphore,
    /// The names of sessions that may exist.
    tags: Mutex<HashMap<SessionId, Tag>>,
}

impl<P: Platform + Remote> Recorded<P> {
    /// Nothing is written before the first open.
    pub(crate) fn new(inner: Arc<P>, ledger: Ledger, terms: Terms) -> Self {
        Self {
            inner,
            ledger,
            opening: Semaphore::new(terms.opening),
            terms,
            tags: Mutex::default(),
        }
    }

    /// The session by the name that the ledger gave it.
    fn named(&self, session: &RemoteSession) -> Option<RemoteSession> {
        let tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        tags.get(&session.id).map(|tag| RemoteSession {
            id: session.id.clone(),
            tag: tag.clone(),
        })
    }

    /// For calls that must do something sensible with a session that is not there any more.
    fn named_or_own(&self, session: &RemoteSession) -> RemoteSession {
        self.named(session).unwrap_or_else(|| session.clone())
    }
}

#[deny(
    clippy::missing_trait_methods,
    reason = "a method that is not passed on would act on a session by another name"
)]
#[async_trait]
impl<P: Platform + Remote> Platform for Recorded<P> {
    fn capability(&self) -> &Capability {
        self.inner.capability()
    }

    async fn open(&self, session: &RemoteSession, report: &Reporter) -> Result<()> {
        if self.opening.available_permits() == 0 {
            report.say(Progress::phase("waiting for other sessions to be opened"));
        }
        let turn = tokio::select! {
            biased;
            () = report.unwanted().cancelled() => return Err(unwanted()),
            turn = self.opening.acquire() => turn,
        };
        let _turn = turn.map_err(|_| Error::internal("nothing opens any more"))?;
        let permit = self
            .ledger
            .intend(Intent {
                target: self.terms.target.clone(),
                place: self.inner.place(),
                life_for: self.terms.life_for,
                caps: self.terms.caps,
            })
            .await?;
        let named = RemoteSession {
            id: session.id.clone(),
            tag: permit.tag.clone(),
        };
        self.tags
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(session.id.clone(), permit.tag.clone());
        let books = Arc::new(Row {
            ledger: self.ledger.clone(),
            tag: permit.tag,
        });
        self.inner.open(&named, &report.with_books(books)).await
    }

    fn lost(&self, session: &RemoteSession) -> Option<String> {
        self.inner.lost(&self.named_or_own(session))
    }

    async fn close(&self, session: &RemoteSession) -> Result<()> {
        let Some(named) = self.named(session) else {
            // Nothing was ever written down, so nothing was sent.
            return Ok(());
        };
        match self.inner.release(&named) {
            // What cannot be written now is written later: there is nothing to delete.
            Created::No => drop(self.ledger.never_created(&named.tag).await),
            Created::Yes | Created::Perhaps => self.ledger.remove(&named.tag).await?,
        }
        self.tags
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&session.id);
        Ok(())
    }

    fn run(&self, session: &RemoteSession, statement: Statement) -> BoxStream<'static, Event> {
        self.inner.run(&self.named_or_own(session), statement)
    }

    async fn cancel(&self, session: &RemoteSession, statement: &StatementId) {
        let session = self.named_or_own(session);
        self.inner.cancel(&session, statement).await;
    }

    async fn tables(
        &self,
        session: Option<&RemoteSession>,
        query: &TablesQuery,
    ) -> Result<TablesPage> {
        let session = session.map(|session| self.named_or_own(session));
        self.inner.tables(session.as_ref(), query).await
    }

    async fn shutdown(&self) {
        self.inner.shutdown().await;
    }
}

/// Of an open that was given up before anything was written down.
fn unwanted() -> Error {
    Error::new(Code::Cancelled, "nobody wants the session any more")
}

impl<P: Platform> fmt::Debug for Recorded<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded")
            .field("inner", &self.inner)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}

impl<P: Platform> fmt::Display for Recorded<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

/// The row of a session that is being opened.
#[derive(Debug)]
struct Row {
    ledger: Ledger,
    tag: Tag,
}

#[async_trait]
impl Books for Row {
    async fn created(&self, id: &str) -> Result<()> {
        self.ledger.created(&self.tag, id).await
    }
}
