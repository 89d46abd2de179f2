//! Runs one program of the installation: its lines, its deadline, its end. Knows nothing of what it installs.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// The last lines are what an error is read from; uv and pip say why they failed within the last twenty.
const KEPT_LINES: usize = 200;
/// A longer line is cut: a progress bar without line ends must not fill the memory.
const LINE_BYTES: usize = 4096;
/// How often `tick` is called while a program says nothing.
const TICK: Duration = Duration::from_millis(250);

/// What a program of the installation sees: the user's environment, less what would change *what* is installed or *where*.
///
/// Where from (index, mirror, proxy, certificates, cache) stays the user's.
#[derive(Clone)]
pub(super) struct Environment(Vec<(OsString, OsString)>);

/// Names do, values may hold credentials of an index.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

/// Of pip's and uv's own variables only these pass. A prefix ends with `*`.
const PASSED: [&str; 40] = [
    "PIP_CACHE_DIR",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_CONFIG_FILE",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_INDEX_URL",
    "PIP_KEYRING_PROVIDER",
    "PIP_NO_CACHE_DIR",
    "PIP_NO_INDEX",
    "PIP_PROXY",
    "PIP_RESUME_RETRIES",
    "PIP_RETRIES",
    "PIP_TIMEOUT",
    "PIP_TRUSTED_HOST",
    "PIP_USE_DEPRECATED",
    "PIP_USE_FEATURE",
    "UV_AUTH*",
    "UV_CACHE_DIR",
    "UV_CONCURRENT_*",
    "UV_CONFIG_FILE",
    "UV_CREDENTIALS_DIR",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_HTTP_*",
    "UV_INDEX*",
    "UV_INSECURE_HOST",
    "UV_KEYRING_PROVIDER",
    "UV_LINK_MODE",
    "UV_MANAGED_PYTHON",
    "UV_NATIVE_TLS",
    "UV_NO_CACHE",
    "UV_NO_CONFIG",
    "UV_NO_INDEX",
    "UV_NO_MANAGED_PYTHON",
    "UV_OFFLINE",
    "UV_PYTHON_*",
    "UV_SYSTEM_CERTS",
];

impl Environment {
    /// Of these variables, those that may pass.
    pub(super) fn from(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(
            variables
                .into_iter()
                .filter(|(name, _)| passes(&name.to_string_lossy()))
                .collect(),
        )
    }

    /// Without the places that a private folder of wheels replaces.
    pub(super) fn without_links(&self) -> Self {
        let links = ["PIP_FIND_LINKS", "UV_FIND_LINKS"];
        Self(
            self.0
                .iter()
                .filter(|(name, _)| !links.iter().any(|link| name == *link))
                .cloned()
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_os_str())
    }

    /// A command that sees nothing else, cannot ask on the terminal, and never shares our stdout.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(self.0.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

fn passes(name: &str) -> bool {
    let listed = || {
        PASSED.iter().any(|rule| match rule.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *rule,
        })
    };
    let unwanted = ["PYTHON", "PIP_", "UV_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || ["VIRTUAL_ENV", "CONDA_PREFIX", "__PYVENV_LAUNCHER__"].contains(&name);
    !unwanted || listed()
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With code 0.
    Well,
    /// With another code or by a signal; its last lines.
    Badly(String),
    /// Not before the deadline; it was killed.
    TooLate,
    /// It could not be started.
    NotStarted(String),
}

/// Who looks at a program while it runs.
pub(super) trait Watch: Send {
    /// A line of either output.
    fn line(&mut self, line: &str);
    /// Some time has passed.
    fn tick(&mut self) {}
}

/// Nobody.
impl Watch for () {
    fn line(&mut self, _: &str) {}
}

/// All that was said.
impl Watch for String {
    fn line(&mut self, line: &str) {
        self.push_str(line);
        self.push('\n');
    }
}

/// Runs `command` to its end or to `deadline`.
///
/// # Cancel safety
/// Dropping the future kills the program and all it started.
pub(super) async fn run(mut command: Command, deadline: Instant, watch: &mut dyn Watch) -> Ended {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ended::NotStarted(error.to_string()),
    };
    let mut group = Group::of(&child);
    let mut out = Lines::new(child.stdout.take());
    let mut err = Lines::new(child.stderr.take());
    let mut kept = VecDeque::new();
    let mut ticks = tokio::time::interval(TICK);
    let mut status = None;
    while status.is_none() || out.open() || err.open() {
        let lines = tokio::select! {
            lines = out.read(), if out.open() => lines,
            lines = err.read(), if err.open() => lines,
            ended = child.wait(), if status.is_none() => {
                status = Some(ended);
                // What it left behind holds the pipes open, and must not outlive it.
                group.kill();
                continue;
            }
            _ = ticks.tick() => {
                watch.tick();
                continue;
            }
            () = tokio::time::sleep_until(deadline) => return Ended::TooLate,
        };
        for line in lines {
            watch.line(&line);
            if kept.len() == KEPT_LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    }
    match status {
        Some(Ok(status)) if status.success() => Ended::Well,
        Some(Err(error)) => Ended::NotStarted(error.to_string()),
        _ => Ended::Badly(Vec::from(kept).join("\n")),
    }
}

/// The standard output of a short command that ends well within `within`.
pub(super) async fn ask<A: AsRef<OsStr>>(
    environment: &Environment,
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    within: Duration,
) -> Option<String> {
    let mut command = environment.command(program);
    command.args(arguments).stderr(Stdio::null());
    let mut text = String::new();
    match run(command, Instant::now() + within, &mut text).await {
        Ended::Well => Some(text),
        _ => None,
    }
}

/// A process group that dies when this is dropped. A kill is one system call and waits for nothing.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// Once only: later the number may belong to another group.
    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // It may be gone already, which is what we want.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Cuts a stream of bytes into lines, at `\r` too.
struct Lines<R> {
    reader: Option<R>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(reader: Option<R>) -> Self {
        Self {
            reader,
            line: Vec::new(),
        }
    }

    fn open(&self) -> bool {
        self.reader.is_some()
    }

    /// The lines that the next bytes complete.
    ///
    /// # Cancel safety
    /// Safe: nothing is awaited after the bytes were taken.
    async fn read(&mut self) -> Vec<String> {
        let Some(reader) = &mut self.reader else {
            return Vec::new();
        };
        let mut buffer = [0_u8; 4096];
        let read = reader.read(&mut buffer).await.unwrap_or(0);
        let mut lines = Vec::new();
        for byte in buffer.iter().take(read) {
            match byte {
                b'\n' | b'\r' => self.end_line(&mut lines),
                byte if self.line.len() < LINE_BYTES => self.line.push(*byte),
                _ => {}
            }
        }
        if read == 0 {
            self.reader = None;
            self.end_line(&mut lines);
        }
        lines
    }

    fn end_line(&mut self, lines: &mut Vec<String>) {
        if !self.line.is_empty() {
            lines.push(String::from_utf8_lossy(&self.line).into_owned());
            self.line.clear();
        }
    }
}

#[cfg(test)]
mod tests;
