//! The owner's side of its guardian: started before the first create, fed with beats, replaced when it dies.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::guardian::{read_failed, ready_line};
use super::told;
use crate::config::Private;
use crate::ledger::tag::Owner;
use crate::model::{Code, Error, Result, Retry};
use crate::platform::remote::Place;

/// From its start to READY; it takes milliseconds, and on a machine that swaps some seconds.
const READY_FOR: Duration = Duration::from_secs(10);

/// How long a call waits for it: one that has just died, and its successor.
const WAIT_FOR: Duration = Duration::from_secs(15);

/// The first wait before another one is started, and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// What a beat may take; a pipe with room takes none.
const BEAT_FOR: Duration = Duration::from_secs(1);

/// Bytes before READY that are read at most: there should be none.
const BEFORE_READY: u64 = 16 * 1024;

/// How a guardian is started: this binary, the same configuration.
#[derive(Clone, Debug)]
pub(crate) struct GuardCommand {
    /// The program.
    pub program: PathBuf,
    /// What it calls itself in the process table.
    pub name: OsString,
    /// Its arguments; the owner's id, our process id and our places come after them.
    pub arguments: Vec<OsString>,
    /// Variables besides our own.
    pub variables: Vec<(OsString, OsString)>,
    /// Variables of ours that it does not get, or gets by its stdin.
    pub private: Private,
}

impl GuardCommand {
    /// This binary, also when its file was replaced since we began.
    pub(crate) fn of_this_binary(arguments: Vec<OsString>) -> Self {
        let running = PathBuf::from("/proc/self/exe");
        let file = std::env::current_exe().unwrap_or_else(|_| "sparklease".into());
        Self {
            program: if running.exists() {
                running
            } else {
                file.clone()
            },
            name: file.into(),
            arguments,
            variables: Vec::new(),
            private: Private::default(),
        }
    }
}

/// What is known of the guardian.
#[derive(Clone, Debug)]
enum State {
    Absent,
    Ready,
    Failed(Error),
}

/// The guardian of this process.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    state: Arc<watch::Sender<State>>,
    needed: Arc<Notify>,
    beat: Arc<Notify>,
}

impl Guard {
    /// Nothing is started before [`Guard::ready`]; `stop` ends the watching, not the guardian.
    pub(crate) fn new(
        command: GuardCommand,
        owner: Owner,
        places: Vec<Place>,
        stop: CancellationToken,
    ) -> Self {
        let mut command = command;
        let flags = places
            .iter()
            .flat_map(|p| ["--place".to_owned(), p.fingerprint()]);
        command.arguments.extend(flags.map(OsString::from));
        let guard = Self {
            state: Arc::new(watch::Sender::new(State::Absent)),
            needed: Arc::default(),
            beat: Arc::default(),
        };
        let keeper = guard.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            keeper.keep(&command, &owner).await;
        }));
        guard
    }

    /// Waits until it has said READY, and starts it if there is none.
    ///
    /// # Errors
    /// `internal` when it cannot be started: nothing may be created then.
    pub(crate) async fn ready(&self) -> Result<()> {
        let mut state = self.state.subscribe();
        if matches!(*state.borrow_and_update(), State::Ready) {
            return Ok(());
        }
        self.needed.notify_one();
        let ended = async {
            loop {
                if state.changed().await.is_err() {
                    return Err(Error::internal("nobody starts a guardian any more"));
                }
                match &*state.borrow_and_update() {
                    State::Absent => {}
                    State::Ready => return Ok(()),
                    State::Failed(error) => return Err(error.clone()),
                }
            }
        };
        tokio::time::timeout(WAIT_FOR, ended)
            .await
            .unwrap_or_else(|_| Err(absent("it is not ready in time")))
    }

    /// Whether it has said READY and lives, as far as is known.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(*self.state.borrow(), State::Ready)
    }

    /// Says that this process is not hung. Never waits.
    pub(crate) fn beat(&self) {
        self.beat.notify_one();
    }

    async fn keep(&self, command: &GuardCommand, owner: &Owner) {
        self.needed.notified().await;
        let mut wait = AGAIN.0;
        loop {
            match begin(command, owner).await {
                Ok((child, beats, line)) => {
                    info!(owner = %owner, "guardian ready");
                    wait = AGAIN.0;
                    self.state.send_replace(State::Ready);
                    self.until_its_end(child, beats, line).await;
                    self.state.send_replace(State::Absent);
                    warn!(
                        "the guardian has died; another one is started, and nothing is created meanwhile"
                    );
                }
                Err(error) => {
                    warn!(%error, "no guardian");
                    self.state.send_replace(State::Failed(error));
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.needed.notified() => {}
                    }
                    wait = (wait * 2).min(AGAIN.1);
                }
            }
        }
    }

    /// Passes beats on until the pipe says that the guardian is dead.
    async fn until_its_end(&self, mut child: Child, mut beats: ChildStdin, mut line: ChildStdout) {
        let mut byte = [0];
        loop {
            tokio::select! {
                read = line.read(&mut byte) => if matches!(read, Ok(0) | Err(_)) {
                    break;
                },
                () = self.beat.notified() => {
                    // A guardian that takes none will show at the other pipe.
                    let _ = tokio::time::timeout(BEAT_FOR, beats.write_all(b".")).await;
                }
            }
        }
        self.state.send_replace(State::Absent);
        let _ = child.kill().await;
    }
}

/// Starts one and waits for READY.
pub(super) async fn begin(
    command: &GuardCommand,
    owner: &Owner,
) -> Result<(Child, ChildStdin, ChildStdout)> {
    let mut guardian = Command::new(&command.program);
    guardian.arg0(&command.name).args(&command.arguments);
    told::hide(&mut guardian, &command.private);
    let mut child = guardian
        .args(["--owner", owner.as_str()])
        .args(["--parent", &std::process::id().to_string()])
        .envs(command.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // From its first moment: clients and terminals kill our group, and one that is just being started has to be
        // left to do what the killed one cannot.
        .process_group(0)
        .spawn()
        .map_err(|error| absent("it cannot be started").source_error(error))?;
    let (Some(mut beats), Some(line)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(absent("it has no pipes"));
    };
    told::tell(&mut beats, &command.private).await;
    match tokio::time::timeout(READY_FOR, hear(line, owner)).await {
        Ok(Ok(line)) => Ok((child, beats, line)),
        ended => {
            let _ = child.kill().await;
            Err(match ended {
                Ok(Err(why)) => why,
                _ => absent("it is not ready in time"),
            })
        }
    }
}

/// Reads up to READY. Not the name alone counts: it must be for this owner.
async fn hear(line: ChildStdout, owner: &Owner) -> Result<ChildStdout> {
    let mut lines = BufReader::new(line.take(BEFORE_READY)).lines();
    let ready = ready_line(owner);
    while let Ok(Some(said)) = lines.next_line().await {
        if said == ready {
            return Ok(lines.into_inner().into_inner().into_inner());
        }
        if let Some((why, hint)) = read_failed(&said) {
            return Err(absent(&why).hint(hint).retry(Retry::No));
        }
    }
    Err(absent("it has ended before it was ready"))
}

fn absent(why: &str) -> Error {
    Error::new(
        Code::Internal,
        format!("no guardian watches over this process ({why}), so no session is opened"),
    )
    .hint("Call again; if it stays so, run `sparklease doctor`, and look at the limit of processes: `ulimit -u`.")
    .retry(Retry::Now)
}
