//! What the tests of kills share: one folder for many servers, a Livy server that keeps the books, and strangers on it
//! that look like us.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::server::LivyServer;
use crate::common::{Server, Setup, belonging_to, cache, kill, signal};

/// What is promised, with room for a busy machine: from a death to the last delete. The settle time of these worlds is
/// 3 s, and no answer is later than half of it.
pub(super) const BOUND: Duration = Duration::from_secs(60);

/// The timing of these worlds, in milliseconds: in life 300 s, 15 s, 0.5 s and 120 s.
pub(super) const SETTLE_MS: u64 = 3000;
pub(super) const SILENCE_MS: u64 = 12_000;

/// Names of others: our pattern with another host, what a person calls a session, one of a local server.
const STRANGERS: [&str; 3] = [
    "sl1-aaaaaa-aaaaaaaa-aaaaaaaaaa-htjz4",
    "dashboard",
    "sparklease-se_1",
];

/// Answers as our harness does, and takes as long as a `sleep(…)` in the code says.
const HARNESS: &str = r#"
import base64, json, re

def answer(code, _match):
    request = {}
    for text in reversed(re.findall(r'"([A-Za-z0-9+/=]+)"', code)):
        try:
            request = json.loads(base64.b64decode(text))
        except ValueError:
            continue
        if isinstance(request, dict) and "nonce" in request:
            break
    envelope = {"nonce": request["nonce"], "status": "ok", "tables": [], "figures": [], "warnings": []}
    if request["op"] == "install":
        envelope["about"] = {"python": "3.11.0", "spark": None}
    asked = base64.b64decode(request.get("code") or "").decode()
    sleep = re.search(r"sleep\((.+?)\)", asked)
    mark = "sparklease:" + request["nonce"]
    text = "<<" + mark + ">>" + json.dumps(envelope) + "<<" + mark + "/>>"
    return {"text": text, "seconds": float(sleep[1]) if sleep else 0.0}
"#;

/// Seconds since 1970, as the events have them.
pub(super) fn wall() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs_f64()
}

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) tag: String,
    pub(super) state: String,
    pub(super) id: Option<String>,
}

/// A Livy server, and the folder of the servers that work on it.
pub(super) struct World {
    pub(super) livy: LivyServer,
    home: Home,
    strangers: Vec<String>,
}

impl World {
    /// One whose sessions are no processes.
    pub(super) async fn start() -> Self {
        Self::with(&["--interpreter", "scripted"], "").await
    }

    /// With these flags of the Livy server, and further settings of the target.
    pub(super) async fn with(flags: &[&str], more: &str) -> Self {
        let livy = LivyServer::with(flags, &[]).await;
        let script = json!([{"match": "_sparklease", "python": HARNESS}]);
        livy.admin("POST", "/__test/script", &script).await;
        let home = tempfile::Builder::new()
            .prefix("sparklease-it-")
            .tempdir()
            .unwrap();
        let world = Self {
            livy,
            home: Home(home),
            strangers: STRANGERS.map(str::to_owned).to_vec(),
        };
        world.configure(more);
        std::fs::create_dir_all(world.ledger()).unwrap();
        world.settles_after(SETTLE_MS);
        for name in &world.strangers {
            world.stranger(name).await;
        }
        world
    }

    /// Writes the configuration.
    pub(super) fn configure(&self, more: &str) {
        let text = format!(
            "default_target = \"dev\"\n[targets.dev]\nplatform = \"livy\"\nurl = \"{}\"\naccess = \"read-write\"\n{more}\n",
            self.livy.url
        );
        std::fs::write(self.home.path().join("config.toml"), text).unwrap();
    }

    /// How long a create without an answer is looked for, by whoever begins from now on.
    pub(super) fn settles_after(&self, ms: u64) {
        let timing = json!({
            "settle_for": ms, "look_every": 200, "first_wait": 50, "silence_for": SILENCE_MS,
        });
        let file = self.ledger().join("timing-for-tests.json");
        std::fs::write(file, timing.to_string()).unwrap();
    }

    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(super) fn ledger(&self) -> PathBuf {
        self.home.path().join("data/ledger")
    }

    pub(super) fn setup(&self) -> Setup {
        Setup::new().home(self.home.path())
    }

    /// A server of ours in this folder.
    pub(super) async fn server(&self) -> Server {
        Server::without_engine(self.setup()).await
    }

    /// A server with one session that is ready.
    pub(super) async fn server_with_session(&self) -> Server {
        let server = self.server().await;
        let named = json!({"name": "ours"});
        server.call("open_session", named).await.ok();
        server
    }

    /// Opens a session that is not ours.
    pub(super) async fn stranger(&self, name: &str) {
        let created = self
            .livy
            .admin(
                "POST",
                "/sessions",
                &json!({"kind": "pyspark", "name": name}),
            )
            .await;
        assert_eq!(created["name"], name, "{created}");
    }

    /// After a restart of the Livy server: it knows nobody any more, and these strangers have the numbers.
    pub(super) async fn restart(&mut self, strangers: &[String]) {
        let none = json!({"orphan_seconds": 0});
        self.livy.admin("POST", "/__test/restart", &none).await;
        self.strangers = strangers.to_vec();
        for name in strangers {
            self.stranger(name).await;
        }
    }

    /// Runs another command of the binary in this folder.
    pub(super) async fn command(&self, arguments: &[&str]) -> Output {
        let command = tokio::process::Command::new(env!("CARGO_BIN_EXE_sparklease"))
            .args(arguments)
            .env("SPARKLEASE_CONFIG", self.home.path().join("config.toml"))
            .env("SPARKLEASE_DATA_DIR", self.home.path().join("data"))
            .env("SPARKLEASE_CACHE_DIR", cache())
            .kill_on_drop(true)
            .output();
        tokio::time::timeout(BOUND, command)
            .await
            .expect("the command ends in time")
            .unwrap()
    }

    /// Everything that happened on the Livy server, from event `first` on.
    pub(super) async fn events(&self) -> Vec<Value> {
        let all = self
            .livy
            .admin("GET", "/__test/events?since=0", &Value::Null)
            .await;
        all.as_array().expect("a list").clone()
    }

    /// Waits for an event that fits, among those from number `first` on.
    pub(super) async fn event(
        &self,
        what: &str,
        first: usize,
        fits: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + BOUND;
        let mut next = first;
        loop {
            let path = format!("/__test/events?since={next}&wait=1");
            let found = self.livy.admin("GET", &path, &Value::Null).await;
            let found = found.as_array().expect("a list");
            if let Some(event) = found.iter().find(|event| fits(event)) {
                return event.clone();
            }
            next += found.len();
            assert!(Instant::now() < deadline, "not within {BOUND:?}: {what}");
        }
    }

    /// Waits for a request.
    pub(super) async fn request(&self, first: usize, method: &str, path: &str) -> Value {
        self.event(&format!("{method} {path}"), first, |event| {
            is_request(event, method, path)
        })
        .await
    }

    /// How many such requests have come.
    pub(super) async fn count(&self, method: &str, path: &str) -> usize {
        let events = self.events().await;
        let found = events
            .iter()
            .filter(|event| is_request(event, method, path));
        found.count()
    }

    /// The number of the next event.
    pub(super) async fn now(&self) -> usize {
        self.events().await.len()
    }

    /// Sessions of ours that the Livy server lists.
    pub(super) async fn ours(&self) -> Vec<String> {
        let mut ours = self.listed().await;
        ours.retain(|name| !self.strangers.contains(name));
        ours
    }

    async fn listed(&self) -> Vec<String> {
        let sessions = self.livy.sessions().await;
        let listed = sessions.iter().filter(|s| s["listed"] == json!(true));
        listed
            .map(|s| s["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// The rows of the ledger; none where there is none.
    pub(super) fn rows(&self) -> Vec<Row> {
        let path = self.ledger().join("ledger.db");
        if !path.exists() {
            return Vec::new();
        }
        let connection = self.connection();
        let mut statement = connection
            .prepare("SELECT tag, state, remote_id FROM sessions ORDER BY created_s, tag")
            .unwrap();
        let rows = statement.query_map([], |row| {
            Ok(Row {
                tag: row.get(0)?,
                state: row.get(1)?,
                id: row.get(2)?,
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// The ledger's file, as another process sees it.
    pub(super) fn connection(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(self.ledger().join("ledger.db"), flags).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection
    }

    /// The files of owners.
    pub(super) fn owners(&self) -> Vec<String> {
        let Ok(found) = std::fs::read_dir(self.ledger().join("owners")) else {
            return Vec::new();
        };
        let names = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut owners: Vec<String> = names.filter(|name| name != "registry").collect();
        owners.sort();
        owners
    }

    /// Waits until no session of ours is listed.
    pub(super) async fn empties(&self) {
        let deadline = Instant::now() + BOUND;
        loop {
            let ours = self.ours().await;
            if ours.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left after {BOUND:?}: {ours:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until no process of this folder runs.
    pub(super) async fn quiet(&self) {
        let deadline = Instant::now() + BOUND;
        loop {
            let left = belonging_to(self.home.path());
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left after {BOUND:?}: {left:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until nothing of ours is left, counted on the Livy server: no session, no process, no open row, no owner's
    /// file. Strangers are all there, and nobody has asked for their end. Every session that ever was has a row, and was
    /// ended by us and not by a timeout of the server.
    pub(super) async fn is_clean(&self) {
        self.quiet().await;
        // Whatever was still under way has had its time: nothing more comes to life.
        let ours = self.ours().await;
        assert!(ours.is_empty(), "left on the server: {ours:?}");
        let rows = self.rows();
        let open: Vec<&Row> = rows.iter().filter(|row| row.state != "gone").collect();
        assert!(open.is_empty(), "{open:?}");
        assert_eq!(self.owners(), Vec::<String>::new());
        self.books_are_right(&rows).await;
    }

    async fn books_are_right(&self, rows: &[Row]) {
        let mut listed = self.listed().await;
        let mut strangers = self.strangers.clone();
        listed.sort();
        strangers.sort();
        assert_eq!(listed, strangers, "strangers are left alone");
        for event in self.events().await {
            let name = event["name"].as_str().unwrap_or_default();
            let ours = name.starts_with("sl1-") && !STRANGERS.contains(&name);
            match event["event"].as_str().unwrap() {
                "created" if ours => {
                    let known = rows.iter().any(|row| row.tag == name);
                    assert!(known, "{name} was created without a row");
                }
                "gone" if ours => assert_eq!(event["why"], "request", "{event}"),
                "request" if event["method"] == "DELETE" => {
                    let path = event["path"].as_str().unwrap();
                    let name = path.strip_prefix("/sessions/").expect("by name");
                    assert!(rows.iter().any(|row| row.tag == name), "{event}");
                }
                "bug" => panic!("{event}"),
                _ => {}
            }
        }
    }

    /// Ends the Livy server, which fails if that left anything.
    pub(super) async fn end(self) {
        self.livy.end().await;
    }

    /// When the last session of ours was gone, in seconds since 1970.
    pub(super) async fn last_gone(&self) -> f64 {
        let events = self.events().await;
        let gone = events.iter().filter(|e| e["event"] == "gone");
        gone.filter_map(|e| e["wall"].as_f64())
            .fold(f64::NAN, f64::max)
    }
}

/// A folder; when it goes, no process of it stays.
struct Home(TempDir);

impl Home {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for (pid, _) in belonging_to(self.path()) {
            kill(pid);
        }
    }
}

/// Whether an event is this request: a path that ends with `*` is a beginning.
fn is_request(event: &Value, method: &str, path: &str) -> bool {
    let asked = event["path"].as_str().unwrap_or_default();
    let fits = match path.strip_suffix('*') {
        Some(beginning) => asked.starts_with(beginning),
        None => asked == path,
    };
    event["event"] == "request" && event["method"] == method && fits
}

/// A guardian: its process, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guardian {
    pub(super) pid: u32,
    pub(super) owner: String,
}

/// The guardian of a server, if it has one.
pub(super) fn guardian_of(server: u32) -> Option<Guardian> {
    let parent = server.to_string();
    let processes = std::fs::read_dir("/proc").unwrap();
    processes.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let words: Vec<&str> = line
            .split(|byte| *byte == 0)
            .filter_map(|word| std::str::from_utf8(word).ok())
            .collect();
        let after = |flag: &str| {
            let at = words.iter().position(|word| *word == flag)?;
            words.get(at + 1).copied()
        };
        let its = words.contains(&"guard") && after("--parent") == Some(parent.as_str());
        its.then(|| {
            Some(Guardian {
                pid,
                owner: after("--owner")?.to_owned(),
            })
        })?
    })
}

/// One letter: how a process is, as the system has it; `None` when it is gone.
pub(super) fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    stat.rsplit(") ").next()?.chars().next()
}

/// Whether it has not ended; one that only waits for its parent has.
pub(super) fn runs(pid: u32) -> bool {
    !matches!(state_of(pid), None | Some('Z' | 'X'))
}

/// Stops a process, and returns when all of it stands still.
pub(super) async fn stop(pid: u32) {
    signal(pid, Signal::STOP);
    crate::common::wait_until("the process stands still", BOUND, || {
        matches!(state_of(pid), None | Some('T' | 'Z'))
    })
    .await;
}

/// SIGKILL to all of a process group.
pub(super) fn kill_group(leader: u32) {
    let group = Pid::from_raw(leader.cast_signed()).unwrap();
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
}

/// SIGKILL to a server and to its guardian, so that neither can do anything for what is left.
pub(super) async fn kill_both(server: u32) -> Guardian {
    // Stopped, it cannot start another one meanwhile.
    stop(server).await;
    let guardian = guardian_of(server).expect("it has a guardian");
    kill(guardian.pid);
    crate::common::wait_until("the guardian has ended", BOUND, || !runs(guardian.pid)).await;
    kill_group(server);
    // Its lock is free when it has ended, and not before.
    crate::common::wait_until("the server has ended", BOUND, || !runs(server)).await;
    guardian
}
