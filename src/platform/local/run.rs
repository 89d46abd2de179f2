//! One statement on a local session: SQL straight to the engine, Python through the worker, and the cancel ladder
//! that both share: ask → 5 s → kill the worker's process group → say that the session is lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
use crate::python::{Cell, CellEvent, Exit, Language, Status, lost};
use crate::spark_connect::{Decoder, FileFormat, Message, Outcome, Plan, Relation, RowCap};

/// From asking to killing. An interrupt that works, works in milliseconds.
const ASK_FOR: Duration = Duration::from_secs(5);
/// The user's code may catch one KeyboardInterrupt.
const ASK_AGAIN: Duration = Duration::from_secs(1);

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
    events: mpsc::Sender<Event>,
) {
    let cap = RowCap {
        rows: statement.max_rows,
        bytes: statement.max_bytes,
    };
    let running = Running {
        live: &live,
        cancel: &cancel,
        events: &events,
        cap,
        killed: AtomicBool::new(false),
    };
    running.say(Event::Started).await;
    let ended = match statement.work {
        Work::Sql {
            text,
            params,
            files,
            keep_views,
            reads,
        } => {
            let sql = running.sql(&text, &params, &files, reads, &folder);
            tokio::select! {
                ended = sql => {
                    if !keep_views {
                        running.drop_views(&files).await;
                    }
                    ended
                }
                ended = running.killed_when_cancelled(None) => ended,
                exit = live.worker.gone() => running.crashed(&exit.reason),
            }
        }
        Work::Write(write) => End::Failed(Error::new(
            Code::Unsupported,
            format!("{} cannot be written yet", write.table),
        ))
        .into(),
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

/// The first rung of the ladder for Python: KeyboardInterrupt now and each second again, and an interrupt of what the
/// code runs on the engine. Ends with `stop`.
async fn interrupt_python(live: Arc<Live>, asked: CancellationToken, stop: CancellationToken) {
    tokio::select! {
        () = asked.cancelled() => {}
        () = stop.cancelled() => return,
    }
    while !stop.is_cancelled() {
        live.worker.interrupt();
        let _ = live.spark.interrupt_all().await;
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ASK_AGAIN) => {}
        }
    }
}

/// What one plan came to.
enum Done {
    /// It ran, and gave this relation if it was a command with a result that is still to be executed.
    Complete(Option<Box<Relation>>),
    /// It was stopped.
    Cancelled,
}

struct Running<'a> {
    live: &'a Live,
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

    async fn sql(
        &self,
        text: &str,
        params: &Params,
        files: &BTreeMap<String, PathBuf>,
        reads: bool,
        folder: &Path,
    ) -> Ended {
        self.say(Event::Started).await;
        match self.sql_steps(text, params, files, reads, folder).await {
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

    async fn sql_steps(
        &self,
        text: &str,
        params: &Params,
        files: &BTreeMap<String, PathBuf>,
        reads: bool,
        folder: &Path,
    ) -> Result<End> {
        let original = text;
        missing::check(paths::path_relations(text), folder).await?;
        let rewritten = rewrite::rewrite(text)?;
        for (name, path) in files {
            let relation = Relation::file(path, file_format(path)?)?;
            let plan = relation.temp_view(name, self.live.made_view(name));
            match self.execute(plan).await {
                Ok(Done::Complete(_)) => self.live.note_view(name, true),
                Ok(Done::Cancelled) => return Ok(End::Cancelled),
                Err(e) if e.code() == Code::StatementFailed => {
                    return Err(unreadable(name, path, &e));
                }
                Err(e) => return Err(e),
            }
        }
        let text = match rewritten {
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
        let same = text == original;
        let relation = match params {
            Params::None => Relation::sql_positional(&text, &[]),
            Params::Named(values) => Relation::sql_named(&text, values),
            Params::Positional(values) => Relation::sql_positional(&text, values),
        }?;
        // A place in a rewritten text is not one in the user's.
        let relation = if same {
            relation
        } else {
            relation.without_place()
        };
        let one_more = self.cap.rows.saturating_add(1);
        let plan = if reads {
            relation.limit(one_more).rows()
        } else {
            relation.command()
        };
        let done = match self.execute(plan).await? {
            Done::Complete(Some(rows)) => self.execute(rows.limit(one_more).rows()).await?,
            done => done,
        };
        if rewrite::count_is_doubtful(original) {
            self.say(Event::Warning(
                "the local engine's count of changed rows is not reliable; count them with query_sql".to_owned(),
            ))
            .await;
        }
        Ok(match done {
            Done::Complete(_) => End::Succeeded,
            Done::Cancelled => End::Cancelled,
        })
    }

    /// Takes away the views of `files`: in a session without a name nothing should rely on what was before.
    async fn drop_views(&self, files: &BTreeMap<String, PathBuf>) {
        for name in files.keys().filter(|name| self.live.made_view(name)) {
            let drop = Relation::drop_temp_view(name).rows();
            // A stop of its own: a cancelled statement's views go too.
            let mut messages = self.live.spark.execute(drop, CancellationToken::new());
            while let Some(message) = messages.recv().await {
                if let Message::End(Outcome::Failed(e)) = message {
                    tracing::debug!(error = %e.code(), "a view stays");
                }
            }
            self.live.note_view(name, false);
        }
    }

    /// Executes one plan, sends its rows, and returns a command's relation if it gave one instead.
    async fn execute(&self, plan: Plan) -> Result<Done> {
        if self.cancel.is_cancelled() {
            return Ok(Done::Cancelled);
        }
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
                        return Ok(Done::Complete(None));
                    }
                }
                Message::Relation(rows) => relation = Some(rows),
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
                    return Ok(Done::Complete(relation.filter(|_| !sent)));
                }
                Message::End(Outcome::Cut | Outcome::Failed(_)) if self.cancel.is_cancelled() => {
                    return Ok(Done::Cancelled);
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
                    let (events, error) = envelope.into_events(Language::Python);
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
                CellEvent::Exited(exit) => return self.crashed(&exit.reason),
                CellEvent::Broken(e) => {
                    self.live.kill().await;
                    return Ended {
                        session_lost: Some(e.message().to_owned()),
                        end: End::Failed(e),
                    };
                }
            }
        }
        self.crashed("its answer was lost")
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
        "csv" => Ok(FileFormat::Csv),
        "jsonl" | "ndjson" | "json" => Ok(FileFormat::JsonLines),
        "parquet" => Ok(FileFormat::Parquet),
        _ => Err(Error::new(
            Code::InvalidArgument,
            format!("{} has no ending that names a format", path.display()),
        )
        .hint("Name it .csv, .jsonl or .parquet.")),
    }
}

/// Why a file could not become a view: it is not what its name says, or the name is taken by a view of the user's.
fn unreadable(name: &str, path: &Path, e: &Error) -> Error {
    let hint = if e.message().contains("already exists") {
        format!(
            "Choose another view name than {name} in files: the session has a view of that name."
        )
    } else {
        "Give a CSV file with a header, JSON lines or Parquet, with the ending .csv, .jsonl or .parquet."
            .to_owned()
    };
    Error::new(
        Code::InvalidArgument,
        format!(
            "{} cannot be read as {name}: {}",
            path.display(),
            e.message()
        ),
    )
    .hint(hint)
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
