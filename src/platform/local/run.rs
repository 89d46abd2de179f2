//! One statement on a local session: SQL straight to the engine, Python through the worker, and the cancel ladder
//! that both share: ask → 5 s → kill the worker's process group → say that the session is lost.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::rewrite::{self, Rewritten};
use super::session::Live;
use super::{missing, paths};
use crate::model::{Batch, Code, Column, End, Error, Event, Result};
use crate::platform::{Params, Statement, Work};
use crate::python::{Cell, CellEvent, Status, lost};
use crate::spark_connect::{Decoder, FileFormat, Message, Outcome, Plan, Relation, RowCap};

/// From asking to killing. An interrupt that works, works in milliseconds.
const ASK_FOR: Duration = Duration::from_secs(5);
/// The user's code may catch one KeyboardInterrupt.
const ASK_AGAIN: Duration = Duration::from_secs(1);

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
    folder: Arc<Path>,
    events: mpsc::Sender<Event>,
) {
    let cancel = live.begin(&statement.id);
    let cap = RowCap {
        rows: statement.max_rows,
        bytes: statement.max_bytes,
    };
    let running = Running {
        live: &live,
        cancel: &cancel,
        events: &events,
        cap,
    };
    let ended = match statement.work {
        Work::Sql {
            text,
            params,
            files,
            reads,
        } => {
            let sql = running.sql(&text, &params, &files, reads, &folder);
            tokio::select! {
                ended = sql => ended,
                ended = running.killed_when_cancelled(None) => ended,
                exit = live.worker.gone() => crashed(&exit.reason),
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
            };
            let (interrupt, stop) = (CancellationToken::new(), CancellationToken::new());
            let _stop = stop.clone().drop_guard();
            tokio::spawn(interrupt_python(live.clone(), interrupt.clone(), stop));
            tokio::select! {
                ended = running.python(&cell) => ended,
                ended = running.killed_when_cancelled(Some(&interrupt)) => ended,
            }
        }
    };
    live.end();
    let _ = events
        .send(Event::End {
            end: ended.end,
            session_lost: ended.session_lost,
        })
        .await;
}

fn crashed(reason: &str) -> Ended {
    let exit = crate::python::Exit {
        reason: reason.to_owned(),
    };
    Ended {
        end: End::Failed(lost(&exit)),
        session_lost: Some(exit.reason),
    }
}

/// The first rung of the ladder for Python: KeyboardInterrupt now and each second again, and an interrupt of what the
/// code runs on the engine. Ends with `stop`.
async fn interrupt_python(live: Arc<Live>, asked: CancellationToken, stop: CancellationToken) {
    tokio::select! {
        () = asked.cancelled() => {}
        () = stop.cancelled() => return,
    }
    loop {
        live.worker.interrupt();
        let _ = live.spark.interrupt_all().await;
        tokio::select! {
            () = tokio::time::sleep(ASK_AGAIN) => {}
            () = stop.cancelled() => return,
        }
    }
}

struct Running<'a> {
    live: &'a Live,
    cancel: &'a CancellationToken,
    events: &'a mpsc::Sender<Event>,
    cap: RowCap,
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
        self.live.kill().await;
        Ended {
            end: End::Cancelled,
            session_lost: Some(format!(
                "a cancelled statement did not stop within {} s, so its worker was killed",
                ASK_FOR.as_secs()
            )),
        }
    }

    async fn say(&self, event: Event) {
        let _ = self.events.send(event).await;
    }

    async fn sql(
        &self,
        text: &str,
        params: &Params,
        files: &std::collections::BTreeMap<String, std::path::PathBuf>,
        reads: bool,
        folder: &Path,
    ) -> Ended {
        self.say(Event::Started).await;
        match self.sql_steps(text, params, files, reads, folder).await {
            Ok(end) => end.into(),
            Err(e) => End::Failed(e).into(),
        }
    }

    async fn sql_steps(
        &self,
        text: &str,
        params: &Params,
        files: &std::collections::BTreeMap<String, std::path::PathBuf>,
        reads: bool,
        folder: &Path,
    ) -> Result<End> {
        for (name, path) in files {
            let plan = Relation::file(path, file_format(path)?)?.temp_view(name);
            match self.execute(plan).await? {
                (End::Succeeded, _) => {}
                (End::Failed(e), _) => {
                    return Err(Error::new(
                        Code::InvalidArgument,
                        format!("{} cannot be read as {name}: {}", path.display(), e.message()),
                    )
                    .hint("Give a CSV file with a header, JSON lines or Parquet, with the ending .csv, .jsonl or .parquet."));
                }
                (end @ End::Cancelled, _) => return Ok(end),
            }
        }
        missing::check(paths::path_relations(text), folder).await?;
        let text = match rewrite::rewrite(text)? {
            Rewritten::Sql(text) => text,
            Rewritten::SetConfig { key, value } => {
                self.live.spark.set_config(&[(&key, &value)]).await?;
                self.say(setting(&key, &value)).await;
                return Ok(End::Succeeded);
            }
            Rewritten::UnsetConfig { key } => {
                self.live.spark.unset_config(&key).await?;
                return Ok(End::Succeeded);
            }
            Rewritten::ShowConfig { key } => {
                let value = self.live.spark.get_config(&key).await?;
                self.say(setting(&key, value.as_deref().unwrap_or("<undefined>")))
                    .await;
                return Ok(End::Succeeded);
            }
        };
        let relation = match params {
            Params::None => Relation::sql_positional(&text, &[]),
            Params::Named(values) => Relation::sql_named(&text, values),
            Params::Positional(values) => Relation::sql_positional(&text, values),
        }?;
        let one_more = self.cap.rows.saturating_add(1);
        let plan = if reads {
            relation.limit(one_more).rows()
        } else {
            relation.command()
        };
        match self.execute(plan).await? {
            (End::Succeeded, Some(rows)) => Ok(self.execute(rows.limit(one_more).rows()).await?.0),
            (end, _) => Ok(end),
        }
    }

    /// Executes one plan, sends its rows, and returns a command's relation if it gave one instead.
    async fn execute(&self, plan: Plan) -> Result<(End, Option<Relation>)> {
        let mut decoder = Decoder::new(self.cap);
        let mut relation = None;
        let mut sent = false;
        let mut messages = self.live.spark.execute(plan, self.cancel.clone());
        while let Some(message) = messages.recv().await {
            match message {
                Message::Schema(schema) => decoder.schema(&schema),
                Message::Arrow(data) => {
                    let batch = decoder.batch(data)?;
                    sent = true;
                    self.say(Event::Table(batch)).await;
                    if decoder.truncated() {
                        return Ok((End::Succeeded, None));
                    }
                }
                Message::Relation(rows) => relation = Some(*rows),
                Message::Progress(progress) => self.say(Event::Progress(progress)).await,
                Message::End(Outcome::Complete) => {
                    // A result without rows still has columns.
                    if let Some(columns) = decoder.columns().filter(|c| !sent && !c.is_empty()) {
                        self.say(Event::Table(Batch {
                            columns,
                            ..Batch::default()
                        }))
                        .await;
                        sent = true;
                    }
                    return Ok((End::Succeeded, relation.filter(|_| !sent)));
                }
                Message::End(Outcome::Cut | Outcome::Failed(_)) if self.cancel.is_cancelled() => {
                    return Ok((End::Cancelled, None));
                }
                Message::End(Outcome::Cut) => return Err(cut()),
                Message::End(Outcome::Failed(e)) => return Err(e),
            }
        }
        Err(cut())
    }

    async fn python(&self, cell: &Cell) -> Ended {
        let mut events = match self.start(cell).await {
            Ok(Some(events)) => events,
            Ok(None) => return End::Cancelled.into(),
            Err(e) => {
                let session_lost = self.live.worker.exit().map(|exit| exit.reason);
                return Ended {
                    end: End::Failed(e),
                    session_lost,
                };
            }
        };
        while let Some(event) = events.recv().await {
            match event {
                CellEvent::Started => self.say(Event::Started).await,
                CellEvent::Text(stream, text) => self.say(Event::Text { stream, text }).await,
                CellEvent::Answer(envelope) => {
                    let status = envelope.status;
                    let (events, error) = envelope.into_events();
                    for event in events {
                        self.say(event).await;
                    }
                    return match (status, error) {
                        (Status::Ok, _) => End::Succeeded,
                        (Status::Cancelled, _) => End::Cancelled,
                        // What the interrupt made the code raise is the cancel's doing.
                        (Status::Error, _) if self.cancel.is_cancelled() => End::Cancelled,
                        (Status::Error, Some(e)) => End::Failed(e),
                        (Status::Error, None) => {
                            End::Failed(Error::internal("the cell failed without a word why"))
                        }
                    }
                    .into();
                }
                CellEvent::Exited(exit) if self.cancel.is_cancelled() => {
                    return Ended {
                        end: End::Cancelled,
                        session_lost: Some(exit.reason),
                    };
                }
                CellEvent::Exited(exit) => return crashed(&exit.reason),
                CellEvent::Broken(e) => {
                    self.live.kill().await;
                    return Ended {
                        session_lost: Some(e.message().to_owned()),
                        end: End::Failed(e),
                    };
                }
            }
        }
        crashed("its answer was lost")
    }

    /// Waits for PySpark and starts the cell; `None` when it was cancelled before.
    async fn start(&self, cell: &Cell) -> Result<Option<mpsc::Receiver<CellEvent>>> {
        tokio::select! {
            ready = self.live.worker.ready() => ready?,
            () = self.cancel.cancelled() => return Ok(None),
        }
        self.live.worker.run(cell).await.map(Some)
    }
}

fn file_format(path: &Path) -> Result<FileFormat> {
    let ending = path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default();
    match ending.as_str() {
        "csv" | "tsv" => Ok(FileFormat::Csv),
        "jsonl" | "ndjson" | "json" => Ok(FileFormat::JsonLines),
        "parquet" => Ok(FileFormat::Parquet),
        _ => Err(Error::new(
            Code::InvalidArgument,
            format!("{} has no ending that names a format", path.display()),
        )
        .hint("Name it .csv, .jsonl or .parquet.")),
    }
}

fn setting(key: &str, value: &str) -> Event {
    Event::Table(Batch {
        columns: [Column::new("key", "string"), Column::new("value", "string")].into(),
        rows: vec![vec![Value::from(key), Value::from(value)]],
        truncated: false,
    })
}

fn cut() -> Error {
    Error::new(
        Code::StatementFailed,
        "the engine ended the statement without completing its result",
    )
    .hint("Call the tool again; nothing is known of how far the statement came.")
}
