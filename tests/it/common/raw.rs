//! A client that writes and reads bytes: for lines that no real client would send, for every byte that comes back,
//! and for ends that no real client makes.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::task::JoinHandle;

use super::{PATIENCE, Process, Setup};

/// A running server with its bare pipes.
pub(crate) struct Raw {
    pub(crate) process: Process,
    stdin: Option<ChildStdin>,
    output: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Raw {
    /// Starts a server and says nothing yet.
    pub(crate) fn start(setup: &Setup) -> Self {
        let (process, stdin, stdout) = Process::start(setup);
        let output = Arc::new(Mutex::new(Vec::new()));
        let reader = tokio::spawn(read(stdout, output.clone()));
        Self {
            process,
            stdin: Some(stdin),
            output,
            reader,
        }
    }

    /// The same, greeted as clients of 2025-11-25 do.
    pub(crate) async fn greeted(setup: &Setup) -> Self {
        let mut raw = Self::start(setup);
        raw.send(
            &json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"}}}),
        )
        .await;
        raw.response("hello").await;
        raw.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .await;
        raw
    }

    /// Sends one message.
    pub(crate) async fn send(&mut self, message: &Value) {
        let mut line = message.to_string();
        line.push('\n');
        self.send_bytes(line.as_bytes()).await;
    }

    /// Sends bytes as they are.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("not closed yet");
        stdin.write_all(bytes).await.unwrap();
        stdin.flush().await.unwrap();
    }

    /// Calls a tool without waiting.
    pub(crate) async fn begin(&mut self, id: &str, tool: &str, arguments: Value) {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments}}))
            .await;
    }

    /// Calls a tool and gives the result.
    pub(crate) async fn call(&mut self, id: &str, tool: &str, arguments: Value) -> Value {
        self.begin(id, tool, arguments).await;
        let response = self.response(id).await;
        response["result"].clone()
    }

    /// Starts a statement and gives its id.
    pub(crate) async fn launch(&mut self, id: &str, tool: &str, mut arguments: Value) -> String {
        arguments["wait_s"] = json!(0);
        let result = self.call(id, tool, arguments).await;
        let statement = result["structuredContent"]["statement"].as_str();
        statement.unwrap_or_else(|| panic!("{result}")).to_owned()
    }

    /// Waits until a statement's text says this.
    pub(crate) async fn says(&mut self, statement: &str, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        for turn in 0.. {
            let id = format!("{statement}-{words}-{turn}");
            let arguments = json!({"statement": statement, "wait_s": 0});
            let result = self.call(&id, "get_statement", arguments).await;
            let text = result["content"][0]["text"].as_str().unwrap();
            if text.contains(words) {
                return;
            }
            assert!(Instant::now() < deadline, "not {words:?}: {text}");
        }
    }

    /// Waits for the response with this id.
    pub(crate) async fn response(&self, id: &str) -> Value {
        let found = || {
            let messages = self.lines();
            messages
                .iter()
                .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
                .find(|m| m["id"] == id && m.get("method").is_none())
        };
        super::wait_until(&format!("a response to {id}"), PATIENCE, || {
            found().is_some()
        })
        .await;
        found().unwrap()
    }

    /// Every complete line of stdout so far.
    pub(crate) fn lines(&self) -> Vec<Vec<u8>> {
        let output = self.output.lock().unwrap();
        let complete = output
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        output[..complete]
            .split_inclusive(|b| *b == b'\n')
            .map(|line| line[..line.len() - 1].to_vec())
            .collect()
    }

    /// Closes the server's input and reads on.
    pub(crate) fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Closes both pipes at once, as the kernel does for a client that was killed.
    pub(crate) async fn vanish(&mut self) {
        self.reader.abort();
        self.stdin = None;
        let _ = (&mut self.reader).await;
    }

    /// Every byte of stdout, once the server has closed it.
    pub(crate) async fn whole_output(&mut self) -> Vec<u8> {
        tokio::time::timeout(PATIENCE, &mut self.reader)
            .await
            .expect("the server closes its output")
            .unwrap();
        self.output.lock().unwrap().clone()
    }
}

async fn read(mut stdout: ChildStdout, output: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = stdout.read(&mut buffer).await {
        output.lock().unwrap().extend_from_slice(&buffer[..count]);
    }
}
