//! One statement on a local session: its start, its end, and the cancel ladder that SQL and Python share: ask → 5 s →
//! kill the worker's process group → say that the session is lost.

mod python;
mod sql;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::python::interrupt_python;
use super::metastore::Metastore;
use super::session::Live;
use super::tables_sql::{self, Tables};
use super::write::Writer;
use crate::model::{Code, End, Error, Event, Result};
use crate::platform::{Statement, Work};
use crate::python::{Cell, Exit, lost};
use crate::spark_connect::RowCap;

/// From asking to killing. An interrupt that works, works in milliseconds.
const ASK_FOR: Duration = Duration::from_secs(5);

/// From the break of a connection to the sight of its process's end.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// How a statement ended, and whether its session can be used again.
struct Ended {
    end: End,
    session_lost: Option<String>,
}

impl From<End> for Ended {
    fn from(end: End) -> Self {
        Self {
            end,
            session_lost: None,
        }
    }
}

/// Runs a statement to its end and sends what it tells. Runs in a task of its own; a receiver that is gone changes
/// nothing but the sending.
pub(super) async fn run(
    live: Arc<Live>,
    statement: Statement,
    cancel: CancellationToken,
    folder: Arc<Path>,
    metastore: Metastore,
    events: mpsc::Sender<Event>,
) {
    let cap = RowCap {
        rows: statement.max_rows,
        bytes: statement.max_bytes,
    };
    let running = Running {
        live: &live,
        metastore: &metastore,
        cancel: &cancel,
        events: &events,
        cap,
        killed: AtomicBool::new(false),
    };
    let ended = match statement.work {
        Work::Sql {
            text,
            params,
            files,
            keep_views,
            reads,
        } => {
            let sql = running.steps(running.sql_steps(&text, &params, &files, reads, &folder));
            tokio::select! {
                ended = sql => {
                    let failed = !matches!(ended.end, End::Succeeded);
                    running.settle(failed).await;
                    if !keep_views {
                        running.drop_views(&files).await;
                    }
                    ended
                }
                ended = running.killed_when_cancelled(None) => ended,
                exit = live.worker.gone() => running.crashed(&exit.reason),
            }
        }
        Work::Tables { .. } => Ended {
            end: End::Failed(Error::internal("the catalogue needs no session here")),
            session_lost: None,
        },
        Work::Write(write) => {
            let writer = Writer {
                live: &live,
                cancel: &cancel,
                events: &events,
                metastore: &metastore,
                folder: &folder,
                statement: &statement.id,
                write: &write,
            };
            tokio::select! {
                ended = running.steps(Box::pin(writer.run())) => ended,
                ended = running.killed_when_cancelled(None) => ended,
                exit = live.worker.gone() => running.crashed(&exit.reason),
            }
        }
        Work::Python {
            code,
            keep_namespace,
        } => {
            let cell = Cell {
                code,
                spark_session: live.spark.session_id().to_owned(),
                keep_namespace,
                max_rows: cap.rows,
                max_bytes: cap.bytes,
                view: None,
            };
            let (interrupt, stop) = (CancellationToken::new(), CancellationToken::new());
            let ladder = tokio::spawn(interrupt_python(
                live.clone(),
                interrupt.clone(),
                stop.clone(),
            ));
            let ended = tokio::select! {
                ended = running.python(&cell) => ended,
                ended = running.killed_when_cancelled(Some(&interrupt)) => ended,
            };
            // An interrupt that is still on its way would hit the session's next statement.
            stop.cancel();
            let _ = ladder.await;
            running.settle(false).await;
            ended
        }
    };
    // The killed worker's end may be seen before the kill returns; why it ended is known all the same.
    let ended = if running.killed.load(Ordering::SeqCst) {
        killed()
    } else {
        ended
    };
    live.end();
    let _ = events
        .send(Event::End {
            end: ended.end,
            session_lost: ended.session_lost,
        })
        .await;
}

fn killed() -> Ended {
    Ended {
        end: End::Cancelled,
        session_lost: Some(format!(
            "a cancelled statement did not stop within {} s, so its worker was killed",
            ASK_FOR.as_secs()
        )),
    }
}

struct Running<'a> {
    live: &'a Live,
    metastore: &'a Metastore,
    cancel: &'a CancellationToken,
    events: &'a mpsc::Sender<Event>,
    cap: RowCap,
    /// The ladder's last rung was taken.
    killed: AtomicBool,
}

impl Running<'_> {
    /// The last rungs: waits for the cancel, asks, and kills when nothing has stopped in time.
    async fn killed_when_cancelled(&self, ask: Option<&CancellationToken>) -> Ended {
        self.cancel.cancelled().await;
        let deadline = Instant::now() + ASK_FOR;
        if let Some(ask) = ask {
            ask.cancel();
        }
        tokio::time::sleep_until(deadline).await;
        self.killed.store(true, Ordering::SeqCst);
        self.live.kill().await;
        killed()
    }

    /// The end of a statement whose worker is gone: its own failure, unless its end was asked for.
    fn crashed(&self, reason: &str) -> Ended {
        let exit = Exit {
            reason: reason.to_owned(),
        };
        let end = if self.cancel.is_cancelled() {
            End::Cancelled
        } else {
            End::Failed(lost(&exit))
        };
        Ended {
            end,
            session_lost: Some(exit.reason),
        }
    }

    async fn say(&self, event: Event) {
        let _ = self.events.send(event).await;
    }

    /// What the engine's work came to, seen beside its process.
    async fn steps(&self, work: impl Future<Output = Result<End>> + Send) -> Ended {
        self.say(Event::Started).await;
        match work.await {
            Ok(end) => end.into(),
            // The wire breaks a moment before the process is seen to be gone.
            Err(e) if e.code() == Code::PlatformUnavailable => {
                match tokio::time::timeout(SEEN_WITHIN, self.live.worker.gone()).await {
                    Ok(exit) => self.crashed(&exit.reason),
                    Err(_) => Ended {
                        end: End::Failed(e),
                        session_lost: Some("its engine does not answer".to_owned()),
                    },
                }
            }
            Err(e) => End::Failed(e).into(),
        }
    }

    fn tables(&self) -> Tables<'_> {
        Tables {
            metastore: self.metastore,
            spark: &self.live.spark,
            cancel: self.cancel,
        }
    }

    /// A table that was made at a place of the user's and not written gets its first version.
    async fn settle(&self, failed: bool) {
        if let Err(e) = self.live.catalog.settle(failed).await {
            let warning = format!("a table was made and cannot be written: {}", e.message());
            self.say(Event::Warning(warning)).await;
        }
    }

    /// The catalogue's own reason, where the engine only tells that it was refused.
    fn with_reason(&self, e: Error) -> Error {
        match self.live.catalog.take_refusal() {
            Some(refusal) if e.message().contains("HTTP status") => refusal,
            _ => tables_sql::of_bound(e),
        }
    }
}
