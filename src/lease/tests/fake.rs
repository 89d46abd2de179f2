//! A platform whose every await can be told how to end, and that knows what exists.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::model::{
    Code, Error, Event, Progress, Result, SessionId, StatementId, TablesPage, TablesQuery,
};
use crate::platform::{Capability, Platform, RemoteSession, Reporter, Statement};

/// How an await ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Well, at once.
    Ok,
    /// With an error, at once: an open has created the session all the same, a close has not deleted it. Only the
    /// first two times, so that the end can be reached.
    Err,
    /// Well, after [`SLOW`].
    Slow,
    /// Not at all, although an open has created the session.
    Never,
    /// In a panic, the first two times.
    Panic,
    /// An open: not before nobody wants it any more, and then with an error, although it has created the session.
    UntilUnwanted,
}

pub(super) const SLOW: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Seen {
    live: BTreeSet<SessionId>,
    opens: usize,
    closes: usize,
}

#[derive(Debug)]
pub(super) struct Fake {
    capability: Capability,
    open: Gate,
    close: Gate,
    seen: Mutex<Seen>,
}

impl Fake {
    pub(super) fn new(open: Gate, close: Gate) -> Self {
        let capability = Capability {
            local_files: false,
            costs_money: false,
            engine: "fake".to_owned(),
            poll: None,
            backstop: None,
            tables_in_session: false,
            carries: 0,
        };
        Self {
            capability,
            open,
            close,
            seen: Mutex::default(),
        }
    }

    /// Sessions that exist.
    pub(super) fn live(&self) -> usize {
        self.seen.lock().unwrap().live.len()
    }

    /// Opens that were begun.
    pub(super) fn opens(&self) -> usize {
        self.seen.lock().unwrap().opens
    }
}

impl fmt::Display for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fake")
    }
}

fn failed() -> Error {
    Error::new(Code::PlatformUnavailable, "no answer")
}

#[async_trait]
impl Platform for Fake {
    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn lost(&self, _: &RemoteSession) -> Option<String> {
        None
    }

    async fn open(&self, session: &RemoteSession, report: &Reporter) -> Result<()> {
        report.say(Progress::phase("starting the engine"));
        if self.open == Gate::Slow {
            tokio::time::sleep(SLOW).await;
        }
        let nth = {
            let mut seen = self.seen.lock().unwrap();
            seen.opens += 1;
            assert!(seen.live.insert(session.id.clone()), "opened once");
            seen.opens
        };
        match self.open {
            Gate::Err if nth <= 2 => Err(failed()),
            Gate::Panic if nth <= 2 => panic!("a fault in the platform's code"),
            Gate::Never => std::future::pending().await,
            Gate::UntilUnwanted => {
                report.unwanted().cancelled().await;
                Err(failed())
            }
            Gate::Ok | Gate::Slow | Gate::Err | Gate::Panic => Ok(()),
        }
    }

    async fn close(&self, session: &RemoteSession) -> Result<()> {
        if self.close == Gate::Slow {
            tokio::time::sleep(SLOW).await;
        }
        let nth = {
            let mut seen = self.seen.lock().unwrap();
            seen.closes += 1;
            seen.closes
        };
        match self.close {
            Gate::Err if nth <= 2 => return Err(failed()),
            Gate::Panic if nth <= 2 => panic!("a fault in the platform's code"),
            Gate::Never => std::future::pending().await,
            Gate::Ok | Gate::Slow | Gate::Err | Gate::Panic | Gate::UntilUnwanted => {}
        }
        self.seen.lock().unwrap().live.remove(&session.id);
        Ok(())
    }

    fn run(&self, _: &RemoteSession, _: Statement) -> BoxStream<'static, Event> {
        Box::pin(futures::stream::empty())
    }

    async fn cancel(&self, _: &RemoteSession, _: &StatementId) {}

    async fn tables(&self, _: Option<&RemoteSession>, _: &TablesQuery) -> Result<TablesPage> {
        Ok(TablesPage::default())
    }

    async fn shutdown(&self) {}
}
