//! The Livy test server as a child process: started with flags, asked over its own routes what is left.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};

use crate::common::{PATIENCE, Server, Setup, cache, install_engine};

/// A running test server. It ends with its stdin and kills all that it started.
pub(crate) struct LivyServer {
    pub(crate) url: String,
    child: Child,
    stdin: Option<ChildStdin>,
}

/// The Python of the installed engine: it has pysail and the client.
fn python() -> PathBuf {
    let engines = cache().join("engine");
    let found = std::fs::read_dir(engines).expect("the engine is installed");
    found
        .map(|entry| entry.unwrap().path().join("bin/python"))
        .find(|path| path.exists())
        .expect("the engine has a Python")
}

impl LivyServer {
    /// Starts one with real Python and a real engine.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        install_engine().await;
        let mut all = vec!["--engine", "sail"];
        all.extend(flags);
        Self::with(&all, &[]).await
    }

    /// Starts one with these flags and variables.
    pub(crate) async fn with(flags: &[&str], variables: &[(&str, &str)]) -> Self {
        install_engine().await;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/livy/server.py");
        let mut child = Command::new(python())
            .arg(script)
            .args(flags)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the test server starts");
        let stdin = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let line = line.expect("it listens in time").unwrap().expect("a line");
        let ready: Value = serde_json::from_str(&line).unwrap();
        Self {
            url: ready["url"].as_str().unwrap().to_owned(),
            child,
            stdin,
        }
    }

    /// A configuration whose default target is this server.
    pub(crate) fn setup(&self) -> Setup {
        self.setup_with("")
    }

    /// The same with further settings of the target.
    pub(crate) fn setup_with(&self, more: &str) -> Setup {
        Setup::new().config(&format!(
            "default_target = \"dev\"\n[targets.dev]\nplatform = \"livy\"\nurl = \"{}\"\naccess = \"read-write\"\n{more}\n",
            self.url
        ))
    }

    /// A server of ours that works on it.
    pub(crate) async fn client(&self) -> Server {
        Server::without_engine(self.setup()).await
    }

    /// Asks one of the routes that a real server has not.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: &Value) -> Value {
        let rest = self.url.strip_prefix("http://").unwrap();
        let host = rest.split('/').next().unwrap();
        let mut stream = TcpStream::connect(host).await.unwrap();
        let body = body.to_string();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nX-Requested-By: test\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").expect("an answer");
        serde_json::from_str(body).unwrap_or(Value::Null)
    }

    /// Adds a fault.
    pub(crate) async fn fault(&self, rule: Value) {
        self.admin("POST", "/__test/faults", &rule).await;
    }

    /// All that has happened so far, in order.
    pub(super) async fn events(&self) -> Vec<Value> {
        let found = self.admin("GET", "/__test/events", &Value::Null).await;
        let list = found.get("events").unwrap_or(&found);
        list.as_array().expect("a list").clone()
    }

    /// Every session that ever was.
    pub(crate) async fn sessions(&self) -> Vec<Value> {
        let found = self.admin("GET", "/__test/sessions", &Value::Null).await;
        let list = found.get("sessions").unwrap_or(&found);
        list.as_array().expect("a list").clone()
    }

    /// Sessions that the server still lists.
    pub(crate) async fn listed(&self) -> usize {
        let sessions = self.sessions().await;
        sessions
            .iter()
            .filter(|s| s["listed"] == json!(true))
            .count()
    }

    /// Waits until the server lists no session and no process of one is left.
    pub(crate) async fn empties(&self) {
        self.empties_within(Duration::from_secs(10)).await;
    }

    /// The same with another limit.
    pub(crate) async fn empties_within(&self, limit: Duration) {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let sessions = self.sessions().await;
            let left: Vec<&Value> = sessions
                .iter()
                .filter(|s| {
                    s["listed"] == json!(true)
                        || s["alive"].as_array().is_some_and(|all| !all.is_empty())
                })
                .collect();
            if left.is_empty() {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "left after {limit:?}: {left:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends it, which fails if a process of it could not be ended.
    pub(crate) async fn end(mut self) {
        drop(self.stdin.take());
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        assert!(status.expect("it ends in time").unwrap().success());
    }
}
