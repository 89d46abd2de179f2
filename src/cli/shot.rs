//! One statement from the command line: it is started, waited for, shown while it runs, cancelled by Ctrl-C, and
//! everything that it opened is gone when the command returns. What is printed of it is in `report.rs`.

use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::logging::{self, Logging};
use super::mcp::stop_on_signals;
use super::{Bar, Context, Output};
use crate::app::App;
use crate::config::Loaded;
use crate::gate::{Gate, RedactStream};
use crate::model::{Code, Error, OwnerId, Progress, Result, StatementState, StatementView, Stream};
use crate::service::Waiting;

/// What is over sooner shows no progress: it would only flicker, or fill a log.
const QUIET_FOR: Duration = Duration::from_millis(700);

/// The same where nobody watches: a script's log need not say that each statement runs.
const QUIET_IN_A_LOG_FOR: Duration = Duration::from_secs(5);

/// How often a progress is looked at: smooth to the eye, no load.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a shell takes for "ended by Ctrl-C": 128 + SIGINT.
pub(super) const INTERRUPTED: u8 = 130;

/// Everything that one statement needs.
pub(super) struct Shot<'a> {
    pub(super) app: App,
    pub(super) owner: OwnerId,
    pub(super) output: &'a Output,
    /// Rows that were asked for.
    pub(super) rows: u64,
    stop: CancellationToken,
    _logging: Option<Logging>,
}

impl<'a> Shot<'a> {
    /// Wires it. Logs are written only where `--log` asks for them.
    ///
    /// # Errors
    /// `configuration_invalid` when our folders cannot be made.
    pub(super) fn start(context: &'a Context, loaded: &Loaded, rows: u64) -> Result<Self> {
        let app = App::start(loaded, &context.secrets)?;
        let asked = loaded.origin("server.log") == "flag --log";
        Ok(Self {
            _logging: asked.then(|| logging::start(loaded, app.gate())),
            app,
            owner: OwnerId::random(),
            output: &context.output,
            rows,
            stop: stop_on_signals()?,
        })
    }

    /// Waits for the statement's end, which the first signal brings about, and prints what it prints as it comes.
    ///
    /// # Errors
    /// The statement's own; `cancelled`; `internal` where the output cannot be written.
    pub(super) async fn wait(
        &self,
        mut waiting: Waiting,
        mut tap: Option<mpsc::Receiver<(Stream, String)>>,
    ) -> Result<StatementView> {
        let id = waiting.id().clone();
        let mut printed = Printed::default();
        let mut bar = Some(Bar::new(self.output));
        let mut look = tokio::time::interval(LOOK_EVERY);
        let quiet_for = match self.output.notes_on_terminal() {
            true => QUIET_FOR,
            false => QUIET_IN_A_LOG_FOR,
        };
        let show_from = Instant::now() + quiet_for;
        let mut asked = false;
        loop {
            let live = tap.is_some();
            let text = async {
                match &mut tap {
                    Some(tap) => tap.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                text = text => match text {
                    Some((stream, text)) => {
                        // Cleared first: both may be the same terminal.
                        bar = None;
                        printed.print(self.output, self.app.gate(), stream, &text)?;
                    }
                    None => {
                        printed.finish(self.output, self.app.gate())?;
                        tap = None;
                    }
                },
                () = waiting.ended(), if !live => break,
                () = self.stop.cancelled(), if !asked => {
                    asked = true;
                    self.app.service().cancel(&self.owner, &id)?;
                    Bar::new(self.output).show(&Progress::phase("cancelling"))?;
                }
                _ = look.tick() => {
                    let (_, progress) = waiting.now();
                    if let (Some(bar), Some(progress)) = (&mut bar, progress)
                        && Instant::now() >= show_from
                    {
                        bar.show(&progress)?;
                    }
                }
            }
        }
        drop(bar);
        let view = self.app.service().view(&self.owner, &id, 0, u64::MAX)?;
        if asked && view.state != StatementState::Succeeded {
            return Err(Error::new(
                Code::Cancelled,
                "the statement was cancelled and has stopped",
            ));
        }
        Ok(view)
    }

    /// Waits for work that is no statement of the caller's, which the first signal leaves, and shows what it waits for.
    ///
    /// # Errors
    /// The work's own; `cancelled`.
    pub(super) async fn until_stopped<T>(
        &self,
        work: impl Future<Output = Result<T>>,
        reports: &watch::Receiver<Option<Progress>>,
    ) -> Result<T> {
        let mut bar = Bar::new(self.output);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let show_from = Instant::now() + QUIET_FOR;
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = self.stop.cancelled() => {
                    return Err(Error::new(Code::Cancelled, "the command was stopped"));
                }
                _ = look.tick() => {
                    let progress = reports.borrow().clone();
                    if let Some(progress) = progress.filter(|_| Instant::now() >= show_from) {
                        bar.show(&progress)?;
                    }
                }
            }
        }
    }

    /// Closes everything that was opened, then says how the command ended.
    ///
    /// # Errors
    /// The command's own.
    pub(super) async fn end(self, ended: Result<ExitCode>) -> Result<ExitCode> {
        let interrupted = self.stop.is_cancelled();
        let output = self.output;
        self.app.shutdown().await;
        match ended {
            Err(error) if interrupted && error.code() == Code::Cancelled => {
                if output.is_json() {
                    output.error(&error)?;
                } else {
                    output.note(&format!("cancelled: {}", error.message()))?;
                }
                Ok(ExitCode::from(INTERRUPTED))
            }
            Err(error) => Err(in_words_of_commands(error)),
            Ok(code) => Ok(code),
        }
    }
}

/// Hints name tools; here a person types commands.
fn in_words_of_commands(error: Error) -> Error {
    match error.code() {
        Code::Timeout => error.hint(
            "Ask for less, or allow more time: `--timeout 2h`, up to limits.statement of the target.",
        ),
        Code::SessionLost => error.hint("Run the command again; it opens a new session."),
        Code::StatementFailed => {
            let hint = error.hint_text();
            let hint = hint
                .replace("call the tool again", "run the command again")
                .replace("call run_pyspark again", "run the command again")
                .replace(
                    "query_sql(sql=\"show tables\")",
                    "`sparklease sql \"show tables\"`",
                )
                .replace("by the files argument", "by --file")
                .replace("by the params argument", "by --param");
            error.hint(hint)
        }
        _ => error,
    }
}

/// Output of the user's code on its way out: its stdout to ours, its stderr to ours.
#[derive(Default)]
struct Printed {
    stdout: RedactStream,
    stderr: RedactStream,
    /// Nothing on stdout ends without a newline, so that what follows starts on a line of its own.
    open_line: bool,
}

impl Printed {
    fn print(&mut self, output: &Output, gate: &Gate, stream: Stream, text: &str) -> Result<()> {
        let held = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let settled = gate.push(held, text);
        self.write(output, gate, stream, settled)
    }

    fn finish(&mut self, output: &Output, gate: &Gate) -> Result<()> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = match stream {
                Stream::Stdout => gate.finish(&mut self.stdout),
                Stream::Stderr => gate.finish(&mut self.stderr),
            };
            self.write(output, gate, stream, rest)?;
        }
        if self.open_line && output.on_terminal() {
            output.text("\n")?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        output: &Output,
        gate: &Gate,
        stream: Stream,
        text: crate::gate::Redacted,
    ) -> Result<()> {
        let Some(last) = text.as_str().chars().next_back() else {
            return Ok(());
        };
        let clean = |terminal: bool, text| {
            if terminal {
                gate.for_terminal(text)
            } else {
                text
            }
        };
        match stream {
            Stream::Stdout => {
                self.open_line = last != '\n';
                output.exact(&clean(output.on_terminal(), text))
            }
            Stream::Stderr => output.exact_to_stderr(&clean(output.notes_on_terminal(), text)),
        }
    }
}
