//! The places: how each is made, and what differs between them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::{Facts, PATIENCE, Place};
use crate::model::{SecretRegistry, TargetName};
use crate::platform::Platform;
use crate::platform::http::{Address, Credential};
use crate::platform::livy::{Livy, Options};
use crate::platform::local::{Local, Workshop};
use crate::platform::remote::Remote;
use crate::python::install::{Engine, Installer};
use crate::sys::scratch::Scratch;

/// The most memory of a worker; no claim needs a tenth of it.
const MEMORY: u64 = 4 << 30;

/// Where all tests of this checkout keep their engine: `<target>/tmp/cache`.
fn cache() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.ancestors().nth(3).unwrap().join("tmp").join("cache")
}

async fn engine() -> Engine {
    Installer::new(cache()).ensure(|_| ()).await.unwrap()
}

fn prefix() -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("sl1-suite-{}-", &random[..8])
}

/// The local engine.
pub(super) async fn local() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let workshop = Workshop {
        folder: folder.path().to_owned(),
        cache: cache(),
        memory_bytes: MEMORY,
        scratch: Arc::new(Scratch::new(&data).unwrap()),
        data,
        secrets: SecretRegistry::default(),
    };
    Place {
        platform: Arc::new(Local::new(Installer::new(cache()), workshop, false)),
        remote: None,
        facts: Facts {
            interrupts_python: true,
            figures: true,
            pandas: true,
        },
        prefix: prefix(),
        shared: tokio::sync::Mutex::default(),
        server: None,
        folder: Some(folder),
    }
}

/// The Livy test server.
pub(super) async fn livy() -> Place {
    livy_with(&[]).await
}

/// The same where a client must put up with a lot: answers are lost, late, cut or made twice, and requests are refused
/// for now. What is lost of a statement's own POST is not among these: nobody can know then whether it ran.
pub(super) async fn faulty() -> Place {
    livy_with(&[
        "--faults",
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/livy/survivable.json"),
    ])
    .await
}

async fn livy_with(flags: &[&str]) -> Place {
    let server = TestServer::start(flags).await;
    let facts = Facts {
        interrupts_python: false,
        figures: true,
        pandas: true,
    };
    on_livy(server.url.clone(), Some(server), facts)
}

/// A server that somebody else has started.
pub(super) async fn real() -> Place {
    let url = std::env::var("SPARKLEASE_TEST_LIVY_URL")
        .expect("SPARKLEASE_TEST_LIVY_URL names a Livy server");
    let facts = Facts {
        interrupts_python: false,
        figures: false,
        pandas: false,
    };
    let mut place = on_livy(url, None, facts);
    let session = place.session().await;
    let code = "import importlib.util as u\n[u.find_spec(m) is not None for m in ('matplotlib', 'pandas')]";
    let found = place.run_on(&session, super::python(code)).await;
    let found = found.succeeded();
    place.facts.figures = found.value().starts_with("[True");
    place.facts.pandas = found.value().ends_with("True]");
    place
}

fn on_livy(url: String, server: Option<TestServer>, facts: Facts) -> Place {
    let address = Address {
        target: TargetName::new("dev"),
        url,
        credential: Credential::None,
        headers: Vec::new(),
        ca_file: None,
    };
    let options = Options {
        conf: BTreeMap::from([("spark.sql.session.timeZone".to_owned(), "UTC".to_owned())]),
        ..Options::default()
    };
    let livy = Arc::new(Livy::new(address, options, &SecretRegistry::default()));
    Place {
        platform: livy.clone() as Arc<dyn Platform>,
        remote: Some(livy as Arc<dyn Remote>),
        facts,
        prefix: prefix(),
        shared: tokio::sync::Mutex::default(),
        server,
        folder: None,
    }
}

/// The Livy test server as a child process. It ends with its stdin and kills all that it started.
pub(super) struct TestServer {
    url: String,
    child: Child,
}

impl TestServer {
    async fn start(flags: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/livy/server.py");
        let mut child = Command::new(engine().await.python)
            .arg(script)
            // A busy driver is killed after a second, not ten: the claims close busy sessions.
            .args(["--engine", "sail", "--shutdown-timeout", "1"])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let line = line.expect("it listens in time").unwrap().expect("a line");
        let ready: Value = serde_json::from_str(&line).unwrap();
        let url = ready["url"].as_str().unwrap().to_owned();
        Self { url, child }
    }

    /// Every session that ever was.
    async fn sessions(&self) -> Vec<Value> {
        let host = self.url.strip_prefix("http://").unwrap();
        let host = host.trim_end_matches('/');
        let mut stream = TcpStream::connect(host).await.unwrap();
        let request = format!("GET /__test/sessions HTTP/1.0\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let found: Value = serde_json::from_str(body).unwrap();
        let list = found.get("sessions").unwrap_or(&found);
        list.as_array().expect("a list").clone()
    }

    /// Ends it once no session and no process of one is left; it fails itself if it could not end one.
    pub(super) async fn end(mut self) {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(15);
        loop {
            let sessions = self.sessions().await;
            let left = |s: &&Value| {
                s["listed"] == true || s["alive"].as_array().is_some_and(|pids| !pids.is_empty())
            };
            let left: Vec<_> = sessions.iter().filter(left).collect();
            if left.is_empty() {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "left: {left:?}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        drop(self.child.stdin.take());
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        assert!(status.expect("it ends in time").unwrap().success());
    }
}
