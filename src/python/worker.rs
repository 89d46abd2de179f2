//! A worker: one Python process that hosts one engine server and runs the user's Python, seen from our side.
//!
//! Its stdin is one end of a socket pair and carries the control channel both ways; its stdout and stderr are pipes
//! that we drain for as long as it lives, so that neither C code that prints while it holds the GIL nor a
//! subprocess can block it, and the last words of a crash arrive.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use uuid::Uuid;

use super::Envelope;
use super::pipes::{Current, Running, read_control, read_text, watch_exit};
use super::text::Drain;
use crate::model::{Code, Error, Result, Retry, Stream, Tag};
use crate::sys::{processes, spawn};

/// From the spawn to a listening engine: 0.05 s when all is well; a cold disk on a busy machine gets time.
const LISTEN_FOR: Duration = Duration::from_secs(60);
/// From listening to an imported PySpark: about 0.6 s; the first import of a fresh installation compiles it.
const IMPORT_FOR: Duration = Duration::from_secs(120);
/// After the envelope, for text that is still in the pipes.
const DRAIN_FOR: Duration = Duration::from_secs(2);

/// How to start a worker.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// The environment's interpreter.
    pub python: PathBuf,
    /// `worker.py`, with the harness beside it.
    pub script: PathBuf,
    /// Stands in the command line, so that the process table tells whose it is.
    pub tag: Tag,
    /// The most memory it may take, in bytes.
    pub memory_bytes: u64,
    /// Where relative paths of the user's code start.
    pub folder: PathBuf,
    /// The whole environment: nothing else is passed on.
    pub environment: BTreeMap<OsString, OsString>,
}

/// Why a worker's process is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// In words, as a sentence fragment.
    pub reason: String,
}

impl Exit {
    pub(super) fn of(ended: processes::Ended) -> Self {
        let reason = match (ended.signal, ended.code) {
            (Some(9), _) => {
                "it was killed (SIGKILL): by a cancel, by the system for want of memory, or by hand"
                    .to_owned()
            }
            (Some(11), _) => "it crashed (segmentation fault)".to_owned(),
            (Some(6), _) => "it aborted (SIGABRT)".to_owned(),
            (Some(signal), _) => format!("it was ended by signal {signal}"),
            (None, Some(code)) => format!("it ended itself with exit code {code}"),
            (None, None) => "it ended".to_owned(),
        };
        Self { reason }
    }
}

/// A piece of Python to run.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Its text.
    pub code: String,
    /// The Spark session to join.
    pub spark_session: String,
    /// Variables stay for the next cell.
    pub keep_namespace: bool,
    /// Rows of each table.
    pub max_rows: u64,
    /// Bytes of each table's rows.
    pub max_bytes: u64,
    /// Instead of running the text: makes a variable of the kept namespace a temp view.
    pub view: Option<View>,
}

/// A temp view to be made of a variable.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// A name of the kept namespace.
    pub variable: String,
    /// The view's name.
    pub name: String,
}

/// What a running cell tells.
#[derive(Debug)]
pub(crate) enum CellEvent {
    /// It runs.
    Started,
    /// Output.
    Text(Stream, String),
    /// Its code asks for something and waits; see [`Worker::answer`].
    Asked {
        /// Which ask of this worker.
        id: u64,
        /// What it asks.
        body: serde_json::Value,
    },
    /// Its end.
    Answer(Box<Envelope>),
    /// The process is gone.
    Exited(Exit),
    /// The control channel holds what the protocol does not allow: nothing from this worker can be believed.
    Broken(Error),
}

/// A running worker. Dropping it kills its process group.
#[derive(Debug)]
pub(crate) struct Worker {
    pid: u32,
    port: u16,
    control: AsyncMutex<tokio::net::unix::OwnedWriteHalf>,
    current: Current,
    exited: watch::Receiver<Option<Exit>>,
    ready: watch::Receiver<Imported>,
}

/// Whether PySpark is imported, and why not; `None` while nothing is known.
pub(super) type Imported = Option<Result<(), String>>;

impl Worker {
    /// Starts a worker and returns when its engine listens: SQL needs only the port. Python needs [`Worker::import`]
    /// and [`Worker::ready`].
    ///
    /// # Errors
    /// `engine_unavailable` with the process's last words when it does not start.
    /// # Cancel safety
    /// Dropping the future kills the process.
    pub(crate) async fn start(launch: &Launch) -> Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(not_started)?;
        ours.set_nonblocking(true).map_err(not_started)?;
        let control = UnixStream::from_std(ours).map_err(not_started)?;
        let mut command = Command::new(&launch.python);
        command
            // -I ignores PYTHON* variables: what they would say is said here.
            .args(["-u", "-I", "-B", "-X", "utf8", "-X", "faulthandler"])
            .arg(&launch.script)
            .args(["--tag", launch.tag.as_str()])
            .args(["--parent", &std::process::id().to_string()])
            .args(["--memory-bytes", &launch.memory_bytes.to_string()])
            .current_dir(&launch.folder)
            .env_clear()
            .envs(&launch.environment)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = spawn::spawn(command).await.map_err(not_started)?;
        let pid = child
            .id()
            .ok_or_else(|| Error::internal("the worker ended before it was seen"))?;
        let group = KillOnDrop(Some(pid));

        let (read, write) = control.into_split();
        let current = Current::default();
        let drain = Drain::default();
        let (exit_sender, exited) = watch::channel(None);
        let (listen_sender, mut listening) = watch::channel(None);
        let (ready_sender, ready) = watch::channel(None);
        if let Some(pipe) = child.stdout.take() {
            tokio::spawn(read_text(
                pipe,
                Stream::Stdout,
                current.clone(),
                drain.clone(),
            ));
        }
        if let Some(pipe) = child.stderr.take() {
            tokio::spawn(read_text(
                pipe,
                Stream::Stderr,
                current.clone(),
                drain.clone(),
            ));
        }
        tokio::spawn(read_control(
            BufReader::new(read),
            current.clone(),
            listen_sender,
            ready_sender,
        ));
        tokio::spawn(watch_exit(child, pid, drain.clone(), exit_sender));

        let port = tokio::select! {
            biased;
            Some(Err(message)) = imported(ready.clone()) => return Err(no_start(&message, &drain)),
            seen = listening.wait_for(Option::is_some) => match seen.ok().and_then(|port| *port) {
                Some(port) => port,
                None => return Err(no_start("it closed its control channel", &drain)),
            },
            exit = gone(exited.clone()) => return Err(no_start(&exit.reason, &drain)),
            () = tokio::time::sleep(LISTEN_FOR) => {
                return Err(no_start(
                    &format!("its engine did not listen within {} s", LISTEN_FOR.as_secs()),
                    &drain,
                ));
            }
        };
        group.disarm();
        Ok(Self {
            pid,
            port,
            control: AsyncMutex::new(write),
            current,
            exited,
            ready,
        })
    }

    /// The process and its group.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its engine listens, on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Why it is gone, if it is. The kernel is asked too, so that one that died while idle is not used again.
    pub(crate) fn exit(&self) -> Option<Exit> {
        let known = self.exited.borrow().clone();
        known.or_else(|| processes::ended(self.pid).map(Exit::of))
    }

    /// Waits until it is gone.
    pub(crate) async fn gone(&self) -> Exit {
        gone(self.exited.clone()).await
    }

    /// Lets it import PySpark, once. Not at its start: beside the import the engine takes 140 instead of 65 ms to make
    /// its first Spark session, on two cores.
    ///
    /// # Errors
    /// `session_lost` when the process is gone.
    pub(crate) async fn import(&self) -> Result<()> {
        match self.send(&json!({"op": "import"})).await {
            Ok(()) => Ok(()),
            Err(e) => {
                tracing::debug!(error = %e, "the worker takes no request");
                Err(lost(&self.gone().await))
            }
        }
    }

    /// Waits until PySpark is imported.
    ///
    /// # Errors
    /// `engine_unavailable` when the import fails or takes more than two minutes; `session_lost` when the process ends.
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn ready(&self) -> Result<()> {
        tokio::select! {
            biased;
            imported = imported(self.ready.clone()) => match imported {
                Some(Ok(())) => Ok(()),
                Some(Err(message)) => Err(Error::new(
                    Code::EngineUnavailable,
                    format!("PySpark does not import in the engine's environment: {message}"),
                )
                .hint("Run `sparklease engine remove` and then `sparklease engine install`.")),
                None => Err(lost(&self.gone().await)),
            },
            exit = self.gone() => Err(lost(&exit)),
            () = tokio::time::sleep(IMPORT_FOR) => Err(Error::new(
                Code::EngineUnavailable,
                format!("PySpark did not import within {} s", IMPORT_FOR.as_secs()),
            )
            .hint("Call the tool again; if it stays so, run `sparklease doctor`.")
            .retry(Retry::Now)),
        }
    }

    /// Runs a cell. The last event is `Answer`, `Exited` or `Broken`; text comes before it.
    ///
    /// One cell at a time: the caller holds the session's lease.
    ///
    /// # Errors
    /// `session_lost` when the process is gone.
    pub(crate) async fn run(&self, cell: &Cell) -> Result<mpsc::Receiver<CellEvent>> {
        use base64::Engine as _;
        let (events, mut inner) = mpsc::channel(16);
        let (drained, mut drains) = watch::channel(0);
        let running = Running {
            nonce: Uuid::new_v4().simple().to_string(),
            mark: format!("<<sparklease-end:{}>>", Uuid::new_v4().simple()),
            events: events.clone(),
            drained,
        };
        let mut request = json!({
            "op": "run",
            "nonce": running.nonce,
            "mark": running.mark,
            "code": base64::engine::general_purpose::STANDARD.encode(&cell.code),
            "spark_session": cell.spark_session,
            "kept": cell.keep_namespace,
            "max_rows": cell.max_rows,
            "max_bytes": cell.max_bytes,
            "max_figures": MAX_FIGURES,
            "answers": true,
        });
        if let (Some(view), Some(fields)) = (&cell.view, request.as_object_mut()) {
            let view = json!({"variable": view.variable, "name": view.name});
            fields.insert("view".to_owned(), view);
        }
        self.current.set(Some(running));
        if let Err(e) = self.send(&request).await {
            self.current.set(None);
            tracing::debug!(error = %e, "the worker takes no request");
            return Err(lost(&self.gone().await));
        }
        // The end comes last: it is held back until both pipes have passed the mark.
        let (outer, receiver) = mpsc::channel(16);
        let current = self.current.clone();
        let exited = self.exited.clone();
        drop(events);
        tokio::spawn(async move {
            let mut end = None;
            let mut deadline = None;
            loop {
                let wait = async {
                    match deadline {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    // First what ends the cell: a process that it left behind may write for ever.
                    () = both(&mut drains), if end.is_some() => break,
                    () = wait => break,
                    event = inner.recv() => match event {
                        Some(
                            event @ (CellEvent::Text(..)
                            | CellEvent::Started
                            | CellEvent::Asked { .. }),
                        ) => {
                            let _ = outer.send(event).await;
                        }
                        Some(event) => {
                            end.get_or_insert(event);
                            deadline.get_or_insert(tokio::time::Instant::now() + DRAIN_FOR);
                        }
                        None => break,
                    },
                    exit = gone(exited.clone()), if end.is_none() => {
                        end = Some(CellEvent::Exited(exit));
                        deadline.get_or_insert(tokio::time::Instant::now() + DRAIN_FOR);
                    }
                }
            }
            current.set(None);
            while let Ok(event) = inner.try_recv() {
                if let CellEvent::Text(..) = event {
                    let _ = outer.send(event).await;
                }
            }
            let end = end.unwrap_or_else(|| {
                CellEvent::Broken(Error::internal("the worker's answer was lost"))
            });
            let _ = outer.send(end).await;
        });
        Ok(receiver)
    }

    /// Answers an ask of a cell. One whose cell has ended is dropped there; a worker that is gone needs none.
    pub(crate) async fn answer(&self, id: u64, answer: serde_json::Value) {
        let line = json!({"op": "answer", "id": id, "answer": answer});
        if let Err(e) = self.send(&line).await {
            tracing::debug!(error = %e, "the worker takes no answer");
        }
    }

    async fn send(&self, request: &serde_json::Value) -> std::io::Result<()> {
        let mut line = request.to_string();
        line.push('\n');
        self.control.lock().await.write_all(line.as_bytes()).await
    }

    /// Raises KeyboardInterrupt in the cell that runs; nothing happens between cells.
    pub(crate) fn interrupt(&self) {
        if self.exit().is_none() {
            processes::interrupt(self.pid);
        }
    }

    /// Kills the process group at once.
    pub(crate) fn kill(&self) {
        if self.exit().is_none() {
            processes::kill_group(self.pid);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// More figures than this in one cell are a loop that forgot `plt.close()`.
pub(crate) const MAX_FIGURES: u32 = 8;

/// Kills a half-started worker's group when its start fails.
struct KillOnDrop(Option<u32>);

impl KillOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            processes::kill_group(leader);
        }
    }
}

async fn imported(mut ready: watch::Receiver<Imported>) -> Imported {
    let seen = ready.wait_for(Option::is_some).await;
    seen.ok().and_then(|r| r.clone())
}

async fn gone(mut exited: watch::Receiver<Option<Exit>>) -> Exit {
    let seen = exited.wait_for(Option::is_some).await;
    seen.ok().and_then(|e| e.clone()).unwrap_or_else(|| Exit {
        reason: "it ended".to_owned(),
    })
}

/// Waits until both pipes have passed the mark or have ended.
async fn both(drains: &mut watch::Receiver<u8>) {
    let _ = drains.wait_for(|seen| *seen >= 2).await;
}

fn not_started(e: std::io::Error) -> Error {
    Error::new(
        Code::EngineUnavailable,
        format!("the worker process cannot be started: {e}"),
    )
    .hint("Run `sparklease doctor` to see what is wrong.")
    .source_error(e)
}

fn no_start(reason: &str, drain: &Drain) -> Error {
    let words = drain.last_words();
    let said = if words.is_empty() {
        String::new()
    } else {
        format!("; its last words: {words}")
    };
    Error::new(
        Code::EngineUnavailable,
        format!("the worker process did not start: {reason}{said}"),
    )
    .hint("Run `sparklease doctor` to see what is wrong.")
}

/// The session is gone with its process.
pub(crate) fn lost(exit: &Exit) -> Error {
    Error::new(
        Code::SessionLost,
        format!("the session's worker process is gone: {}", exit.reason),
    )
    .hint("Call the tool again; a new session is opened. Variables and temp views of the old one are lost.")
    .retry(Retry::Now)
}
