//! What every platform must do, checked on every place that we can have: the local engine, the Livy test server, the
//! same with faults that a client must survive, and any real Livy server that `SPARKLEASE_TEST_LIVY_URL` names.
//!
//! Here: what a claim works with, and who runs the claims. The claims are in the files of this folder, the places in
//! [`places`]; what differs between places is data in [`Facts`].

mod ends;
mod places;
mod remote;
mod sessions;
mod statements;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use serde_json::Value;
use uuid::Uuid;

use self::places::TestServer;
use super::remote::Remote;
use super::{Books, CANCEL_BOUND, Params, Platform, RemoteSession, Reporter, Statement, Work};
use crate::model::{
    End, Error, Event, Image, Result, Retry, SessionId, StatementId, Stream, TablesPage,
    TablesQuery, Tag,
};

/// No claim waits longer: whatever takes more hangs. A session of a real server takes up to a minute.
const PATIENCE: Duration = Duration::from_secs(180);

/// SQL that ends with the world: an engine that is not stopped goes on for days.
const ENDLESS_SQL: &str =
    "select count(*) from range(100000000) a, range(10000000) b where a.id + b.id = -1";

/// What differs between places.
#[derive(Clone, Copy, Debug)]
struct Facts {
    /// Python that only calculates is stopped by a cancel, and its session stays.
    interrupts_python: bool,
    /// matplotlib is there.
    figures: bool,
    /// pandas is there.
    pandas: bool,
}

/// A place with a platform that works on it.
struct Place {
    platform: Arc<dyn Platform>,
    /// Where its sessions outlive us.
    remote: Option<Arc<dyn Remote>>,
    facts: Facts,
    /// What the names of all its sessions begin with.
    prefix: String,
    /// The session of claims that need no other.
    shared: tokio::sync::Mutex<Option<Opened>>,
    server: Option<TestServer>,
    /// What the local platform's folders are in.
    folder: Option<tempfile::TempDir>,
}

/// A session, and what was said of it while it was opened.
#[derive(Clone, Debug)]
struct Opened {
    session: RemoteSession,
    /// The ids that the place gave, in order.
    ids: Vec<String>,
}

/// Remembers what it is told to write down.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

#[async_trait]
impl Books for Told {
    async fn created(&self, id: &str) -> Result<()> {
        self.0.lock().unwrap().push(id.to_owned());
        Ok(())
    }
}

/// Python in a fresh namespace.
fn python(code: &str) -> Work {
    Work::Python {
        code: code.to_owned(),
        keep_namespace: false,
    }
}

/// Python whose names are kept.
fn kept(code: &str) -> Work {
    Work::Python {
        code: code.to_owned(),
        keep_namespace: true,
    }
}

/// SQL with bound values.
fn bound(text: &str, params: Params) -> Work {
    Work::Sql {
        text: text.to_owned(),
        params,
        files: std::collections::BTreeMap::new(),
        keep_views: true,
        reads: text.trim_start().starts_with("select"),
    }
}

/// SQL.
fn sql(text: &str) -> Work {
    bound(text, Params::None)
}

impl Place {
    /// A name that nobody has.
    fn fresh(&self) -> RemoteSession {
        let random = Uuid::new_v4().simple();
        RemoteSession {
            id: SessionId::random(),
            tag: Tag::new(format!("{}{random}", self.prefix)),
        }
    }

    /// Opens a session of its own for a claim, which closes it.
    async fn open(&self) -> Opened {
        let session = self.fresh();
        let told = Arc::new(Told::default());
        let (report, _words) = Reporter::new();
        let report = report.with_books(told.clone());
        self.platform.open(&session, &report).await.unwrap();
        let ids = told.0.lock().unwrap().clone();
        Opened { session, ids }
    }

    /// Closes a session as a caller does: what could not be proved is done again.
    async fn close(&self, session: &RemoteSession) {
        for _ in 0..10 {
            match self.platform.close(session).await {
                Ok(()) => return,
                Err(error) => assert_ne!(error.retry_kind(), Retry::No, "{error:?}"),
            }
        }
        panic!("{} cannot be closed", session.tag);
    }

    /// The session that claims share; a new one if the last was lost.
    async fn session(&self) -> RemoteSession {
        let mut shared = self.shared.lock().await;
        if let Some(opened) = &*shared {
            if self.platform.lost(&opened.session).is_none() {
                return opened.session.clone();
            }
            self.close(&opened.session).await;
        }
        let opened = self.open().await;
        shared.insert(opened).session.clone()
    }

    /// Starts a statement with the limits of most.
    fn start(&self, session: &RemoteSession, work: Work) -> Running {
        self.start_within(session, work, 1_000, 1 << 20)
    }

    fn start_within(
        &self,
        session: &RemoteSession,
        work: Work,
        max_rows: u64,
        max_bytes: u64,
    ) -> Running {
        let id = StatementId::random();
        let statement = Statement {
            id: id.clone(),
            work,
            max_rows,
            max_bytes,
        };
        Running {
            id,
            events: self.platform.run(session, statement),
            seen: Vec::new(),
        }
    }

    /// Runs a statement on a session to its end.
    async fn run_on(&self, session: &RemoteSession, work: Work) -> Outcome {
        self.start(session, work).outcome().await
    }

    /// Runs a statement on the shared session to its end.
    async fn run(&self, work: Work) -> Outcome {
        self.run_on(&self.session().await, work).await
    }

    /// A page of the catalogue's tables and of the session's views, by the way that the platform has.
    async fn tables(&self, session: &RemoteSession, query: TablesQuery) -> TablesPage {
        if !self.platform.capability().tables_in_session {
            return self.platform.tables(Some(session), &query).await.unwrap();
        }
        let work = Work::Tables { query, views: true };
        let outcome = self.run_on(session, work).await.succeeded();
        outcome.tables.expect("a page of tables")
    }

    /// Fails unless SQL and Python work on this session.
    async fn works(&self, session: &RemoteSession) {
        let answer = self.run_on(session, sql("select 40 + 2 as n")).await;
        assert_eq!(answer.succeeded().rows, [[42]]);
        let answer = self.run_on(session, python("21 * 2")).await;
        assert_eq!(answer.succeeded().value(), "42");
    }

    /// What failed claims have left on a server that goes on.
    async fn tidy(&self) {
        let Some(remote) = &self.remote else { return };
        for left in remote.list_tagged(&self.prefix).await.unwrap_or_default() {
            let _ = remote.close_verified(&left.tag, &left.id).await;
        }
    }

    /// Closes what is open; nothing is left then.
    async fn end(self) {
        if let Some(opened) = self.shared.lock().await.take() {
            self.close(&opened.session).await;
        }
        if let Some(remote) = &self.remote {
            let left = remote.list_tagged(&self.prefix).await.unwrap();
            assert_eq!(left, [], "sessions are left");
        }
        self.platform.shutdown().await;
        if let Some(server) = self.server {
            server.end().await;
        }
        drop(self.folder);
    }
}

/// A statement on its way.
struct Running {
    id: StatementId,
    events: BoxStream<'static, Event>,
    seen: Vec<Event>,
}

impl Running {
    /// Waits until the platform has begun with it.
    async fn started(&mut self) {
        while !self.seen.iter().any(|e| matches!(e, Event::Started)) {
            let event = tokio::time::timeout(PATIENCE, self.events.next()).await;
            let event = event.expect("it starts in time").expect("an event");
            assert!(!matches!(event, Event::End { .. }), "{event:?}");
            self.seen.push(event);
        }
    }

    /// Waits for its end.
    async fn outcome(self) -> Outcome {
        self.outcome_within(PATIENCE).await
    }

    /// Waits for its end, which a cancel has asked for.
    async fn cancelled(self) -> Outcome {
        let outcome = self.outcome_within(CANCEL_BOUND).await;
        assert!(matches!(outcome.end, End::Cancelled), "{outcome:?}");
        outcome
    }

    async fn outcome_within(self, limit: Duration) -> Outcome {
        let rest = tokio::time::timeout(limit, self.events.collect::<Vec<_>>()).await;
        let mut events = self.seen;
        events.extend(rest.expect("it ends in time"));
        Outcome::of(events)
    }
}

/// What a statement came to.
#[derive(Debug)]
struct Outcome {
    started: bool,
    stdout: String,
    stderr: String,
    values: Vec<String>,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    truncated: bool,
    images: Vec<Image>,
    tables: Option<TablesPage>,
    end: End,
    lost: Option<String>,
}

impl Outcome {
    fn of(mut events: Vec<Event>) -> Self {
        let Some(Event::End { end, session_lost }) = events.pop() else {
            panic!("the last event is no end: {events:?}");
        };
        let mut outcome = Self {
            started: false,
            stdout: String::new(),
            stderr: String::new(),
            values: Vec::new(),
            columns: Vec::new(),
            rows: Vec::new(),
            truncated: false,
            images: Vec::new(),
            tables: None,
            end,
            lost: session_lost,
        };
        for event in events {
            match event {
                Event::Started => {
                    assert!(!outcome.started, "it starts once");
                    outcome.started = true;
                    continue;
                }
                Event::Progress(_) => continue,
                Event::Text {
                    stream: Stream::Stdout,
                    text,
                } => outcome.stdout += &text,
                Event::Text {
                    stream: Stream::Stderr,
                    text,
                } => outcome.stderr += &text,
                Event::Value(value) => outcome.values.push(value),
                Event::Warning(_) | Event::Written(_) => {}
                Event::Table(batch) => {
                    let columns = batch.columns.iter();
                    outcome.columns = columns
                        .map(|c| format!("{} {}", c.name, c.data_type))
                        .collect();
                    outcome.rows.extend(batch.rows);
                    outcome.truncated |= batch.truncated;
                }
                Event::Image(image) => outcome.images.push(image),
                Event::Tables(page) => outcome.tables = Some(*page),
                Event::End { .. } => panic!("it ends once: {outcome:?}"),
            }
            assert!(
                outcome.started,
                "what it gives comes after its start: {outcome:?}"
            );
        }
        outcome
    }

    /// This one, which succeeded and left its session as it was.
    fn succeeded(self) -> Self {
        assert!(
            matches!(self.end, End::Succeeded) && self.started && self.lost.is_none(),
            "{self:?}"
        );
        self
    }

    /// The error of this one.
    fn failed(&self) -> &Error {
        match &self.end {
            End::Failed(error) => error,
            end => panic!("it did not fail: {end:?}"),
        }
    }

    /// The one value.
    fn value(&self) -> &str {
        assert_eq!(self.values.len(), 1, "{self:?}");
        self.values[0].trim_end()
    }
}

/// A claim of this name.
type Claim = (&'static str, for<'a> fn(&'a Place) -> BoxFuture<'a, ()>);

/// A list of claims from the functions that check them.
macro_rules! claims {
    ($($claim:ident)*) => {
        pub(super) const CLAIMS: &[super::Claim] =
            &[$((stringify!($claim), |place| Box::pin($claim(place)))),*];
    };
}
use claims;

/// Checks each claim, then the place's end; says which failed, all of them.
async fn check(place: Place, claims: &[Claim]) {
    let mut failed = Vec::new();
    for (name, claim) in claims {
        let checked = tokio::time::timeout(PATIENCE, claim(&place));
        match AssertUnwindSafe(checked).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => failed.push(format!("{name}: not within {PATIENCE:?}")),
            Err(panic) => {
                let words = panic.downcast_ref::<String>().map(String::as_str);
                let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
                failed.push(format!("{name}: {}", words.unwrap_or("it panicked")));
            }
        }
        if failed.last().is_some_and(|last| last.starts_with(name)) {
            // Whatever it has left in the shared session is not for the next one.
            if let Some(opened) = place.shared.lock().await.take() {
                place.close(&opened.session).await;
            }
        }
    }
    let (count, all) = (failed.len(), claims.len());
    if count > 0 {
        place.tidy().await;
    }
    assert!(
        failed.is_empty(),
        "{count} of {all} claims:\n{}",
        failed.join("\n")
    );
    place.end().await;
}

/// A test for each place and group of claims.
macro_rules! on {
    ($place:ident: $($group:ident)*) => {
        mod $place {
            $(on!(@test $place $group);)*
        }
    };
    (@test real $group:ident) => {
        #[ignore = "takes a real Livy server: SPARKLEASE_TEST_LIVY_URL names it"]
        #[tokio::test(flavor = "multi_thread")]
        async fn $group() {
            super::check(super::places::real().await, super::$group::CLAIMS).await;
        }
    };
    (@test $place:ident $group:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $group() {
            super::check(super::places::$place().await, super::$group::CLAIMS).await;
        }
    };
}

on!(local: statements ends sessions);
on!(livy: statements ends sessions remote);
on!(faulty: statements ends sessions remote);
on!(real: statements ends sessions remote);
