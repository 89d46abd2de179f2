//! The Livy test server as a child process, and its event log.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;

/// A delete of an idle session takes a second.
const EMPTY_WITHIN: Duration = Duration::from_secs(20);
/// For an event that is due: a session's start is the longest, on a machine that is busy.
const EVENT_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running one. It ends with its stdin, and kills what it started.
pub(crate) struct TestServer {
    pub(crate) url: String,
    child: Child,
    stdin: Option<ChildStdin>,
    /// Events that there were at the last look; their list grows with each poll.
    seen: Cell<usize>,
}

impl TestServer {
    pub(crate) fn start(python: &Path, run: &Path) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/livy/server.py");
        let mut child = Command::new(python)
            .arg(script)
            .args(["--engine", "sail"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(run.join("livy.log"))?)
            .spawn()?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line)?;
        Ok(Self {
            url: text(&ready, "url").ok_or("no address")?.to_owned(),
            child,
            stdin,
            seen: Cell::new(0),
        })
    }

    fn get(&self, path: &str) -> Result<Value> {
        let host = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        Ok(serde_json::from_str(body)?)
    }

    fn since(&self, first: usize) -> Result<Vec<Value>> {
        let found = self.get(&format!("/__test/events?since={first}"))?;
        Ok(found.as_array().ok_or("no list of events")?.clone())
    }

    /// How many events there are.
    pub(crate) fn events(&self) -> Result<usize> {
        let seen = self.seen.get() + self.since(self.seen.get())?.len();
        self.seen.set(seen);
        Ok(seen)
    }

    /// The wall time of the last event of a kind, among those from `first` on; waits until there is one.
    pub(crate) fn last_after(&self, first: usize, kind: &str) -> Result<f64> {
        self.find(first, |events| {
            events
                .iter()
                .rev()
                .find(|event| text(event, "event") == Some(kind))
                .and_then(wall)
        })
    }

    /// The wall time of the first request of this method whose path ends so.
    pub(crate) fn first_after(&self, first: usize, method: &str, end: &str) -> Result<f64> {
        self.find(first, |events| {
            events
                .iter()
                .find(|event| {
                    text(event, "event") == Some("request")
                        && text(event, "method") == Some(method)
                        && text(event, "path").is_some_and(|path| path.ends_with(end))
                })
                .and_then(wall)
        })
    }

    fn find(&self, first: usize, what: impl Fn(&[Value]) -> Option<f64>) -> Result<f64> {
        let deadline = Instant::now() + EVENT_WITHIN;
        loop {
            if let Some(found) = what(&self.since(first)?) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err("the server has no such event".into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until no session is left.
    pub(crate) fn empties(&self) -> Result<()> {
        let deadline = Instant::now() + EMPTY_WITHIN;
        loop {
            let sessions = self.get("/sessions")?;
            if sessions.get("total").and_then(Value::as_u64) == Some(0) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("sessions are left: {sessions}").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

fn wall(event: &Value) -> Option<f64> {
    event.get("wall")?.as_f64()
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stdin = None;
        let deadline = Instant::now() + EMPTY_WITHIN;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
