//! Eight clients at once on one server, in a process of its own so that its memory is the server's alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::{Environment, Flags};
use crate::mcp::serve_stdio;
use crate::sys::processes;

const CLIENTS: usize = 8;
const SEQUENCES: usize = 200;
/// What the issue allows over the second half.
const GROWTH_BYTES: i64 = 1024 * 1024;
/// The test starts itself again with this set, to the folder that it may use.
const CHILD: &str = "SPARKLEASE_TEST_SEQUENCES_IN";

/// Where all tests of this checkout keep their engine: `<target>/tmp/cache`.
fn cache() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let target = exe.ancestors().nth(3).unwrap();
    target.join("tmp").join("cache")
}

#[test]
fn eight_clients_never_share_a_session_and_leave_nothing() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(sequences(Path::new(&folder)));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let name = "app::tests::eight_clients_never_share_a_session_and_leave_nothing";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(
        child.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&child.stdout)
    );
    // Through our own stderr, so that the runner's log has the figures.
    std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes()).unwrap();
}

async fn sequences(folder: &Path) {
    let environment = Environment::fake(
        folder,
        [
            ("SPARKLEASE_CACHE_DIR", cache().to_str().unwrap()),
            ("SPARKLEASE_DATA_DIR", folder.join("data").to_str().unwrap()),
            // Each client keeps one session and may open another: room that moves between owners costs a new worker.
            ("SPARKLEASE__TARGETS__LOCAL__LIMITS__SESSIONS", "16"),
        ],
    );
    let loaded = crate::config::load(&environment, &Flags::new(None)).unwrap();
    let app = App::start(&loaded, &SecretRegistry::default()).unwrap();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (input, output) = tokio::io::split(theirs);
        let server = app.server(OwnerId::random());
        tokio::spawn(serve_stdio(server, input, output, CancellationToken::new()));
        clients.push(Client::connect(format!("client-{number}"), ours).await);
    }
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    let mut memory = Vec::new();
    for round in 0..SEQUENCES / CLIENTS {
        let each = clients.iter_mut().map(|client| client.sequence(round));
        for (client, markers) in futures::future::join_all(each).await {
            for marker in markers {
                let before = owners.insert(marker.clone(), client.clone());
                assert!(
                    before.is_none_or(|before| before == client),
                    "{marker} was seen by two owners"
                );
            }
        }
        memory.push(resident());
    }
    let grown = memory.last().unwrap() - memory.get(memory.len() / 2).unwrap();
    let figures = format!(
        "{SEQUENCES} sequences, {} sessions, resident memory grew {grown} bytes over the last half\n",
        owners.len()
    );
    std::io::Write::write_all(&mut std::io::stderr(), figures.as_bytes()).unwrap();
    assert!(owners.len() >= CLIENTS, "{owners:?}");
    assert!(grown < GROWTH_BYTES, "{grown} bytes: {memory:?}");
    drop(clients);
    app.shutdown().await;
    let own = std::process::id();
    let left: Vec<_> = processes::workers()
        .unwrap()
        .into_iter()
        .filter(|worker| worker.parent == Some(own))
        .collect();
    assert_eq!(left, []);
}

/// A client that speaks the protocol line by line.
struct Client {
    name: String,
    answers: BufReader<ReadHalf<DuplexStream>>,
    requests: WriteHalf<DuplexStream>,
    next: u64,
    random: u64,
}

impl Client {
    async fn connect(name: String, stream: DuplexStream) -> Self {
        let (read, requests) = tokio::io::split(stream);
        let random = name.bytes().fold(7, |sum, byte| sum * 31 + u64::from(byte));
        let mut client = Self {
            name,
            answers: BufReader::new(read),
            requests,
            next: 0,
            random,
        };
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": client.name, "version": "1"},
        });
        client.ask("initialize", hello).await;
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        client.send(&ready).await;
        client
    }

    /// Some calls in an order that the client's own numbers choose. Returns the marks of the processes it was in.
    async fn sequence(&mut self, round: usize) -> (String, Vec<String>) {
        let mut seen = Vec::new();
        let name = format!("s{round}");
        let named = self.choose(4) == 0;
        if named {
            self.call("open_session", json!({"name": name})).await;
        }
        for _ in 0..=self.choose(3) {
            let mut arguments = json!({"wait_s": 300});
            // One session at a time: who holds one and waits for another can wait for each other.
            if named {
                arguments["session"] = json!(name);
            }
            if self.choose(2) == 0 {
                arguments["sql"] = json!(format!("select {round}"));
                self.call("query_sql", arguments).await;
            } else {
                arguments["code"] = json!(MARK);
                let answer = self.call("run_pyspark", arguments).await;
                let text = answer["structuredContent"]["text"].as_str().unwrap();
                let mark = text
                    .lines()
                    .find_map(|line| line.strip_prefix("mark "))
                    .unwrap();
                seen.push(mark.to_owned());
            }
        }
        if named {
            self.call("close_session", json!({"session": name})).await;
        }
        (self.name.clone(), seen)
    }

    fn choose(&mut self, below: u64) -> u64 {
        // A linear congruence is random enough to mix orders, and the same in every run.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self
            .ask("tools/call", json!({"name": tool, "arguments": arguments}))
            .await;
        assert_ne!(answer["isError"], json!(true), "{tool}: {answer}");
        answer
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(&request).await;
        loop {
            let mut line = String::new();
            let count = self.answers.read_line(&mut line).await.unwrap();
            assert!(count > 0, "the server left during {method}");
            let mut message: Value = serde_json::from_str(&line).unwrap();
            if message["id"] == json!(id) {
                return message["result"].take();
            }
        }
    }

    async fn send(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.requests.write_all(line.as_bytes()).await.unwrap();
    }
}

/// A worker process's mark: made by the first who asks, read by all who come after.
const MARK: &str = "
import builtins, uuid
builtins.mark = getattr(builtins, 'mark', None) or uuid.uuid4().hex
print('mark', builtins.mark)
";

/// This process's resident memory, in bytes.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap();
    let kib: i64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
    kib * 1024
}
