//! Where a test's statements run. The tests are the same everywhere: what differs between targets is data here.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PATIENCE, Process, Server, Setup, cpu_time, install_engine, wait_until};
use crate::livy::server::LivyServer;

/// The name of a target that is not the one which is there without configuration.
const TARGET: &str = "dev";

/// A target, and the server behind it.
pub(crate) struct Place {
    behind: Behind,
}

enum Behind {
    /// The machine itself.
    Local,
    /// The Livy test server, perhaps with faults that no client may mind.
    Livy(Box<LivyServer>),
    /// Somebody's Livy server: its address, and the sessions that were there before.
    Real(String, BTreeSet<String>),
}

impl Place {
    pub(crate) async fn local() -> Self {
        install_engine().await;
        Self {
            behind: Behind::Local,
        }
    }

    pub(crate) async fn livy() -> Self {
        Self::on_livy(&[]).await
    }

    /// The same where answers are lost, late, cut or made twice, and requests are refused for now.
    pub(crate) async fn faulty() -> Self {
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/livy/survivable.json");
        Self::on_livy(&["--faults", rules]).await
    }

    async fn on_livy(more: &[&str]) -> Self {
        // A driver that is busy is killed after a second, not ten.
        let mut flags = vec!["--shutdown-timeout", "1"];
        flags.extend(more);
        Self {
            behind: Behind::Livy(Box::new(LivyServer::start(&flags).await)),
        }
    }

    /// What `SPARKLEASE_TEST_LIVY_URL` names: a server without sign-in, on this machine, since tests look for files and
    /// processes of their code.
    pub(crate) async fn real() -> Self {
        let url = std::env::var("SPARKLEASE_TEST_LIVY_URL")
            .expect("SPARKLEASE_TEST_LIVY_URL names a Livy server");
        let url = url.trim_end_matches('/').to_owned();
        let before = names(&url).await;
        Self {
            behind: Behind::Real(url, before),
        }
    }

    /// A configuration whose default target this is.
    pub(crate) fn setup(&self) -> Setup {
        match &self.behind {
            Behind::Local => Setup::new(),
            Behind::Livy(server) => Setup::on_livy(TARGET, &server.url),
            Behind::Real(url, _) => Setup::on_livy(TARGET, url),
        }
    }

    /// A server of ours that works here.
    pub(crate) async fn server(&self) -> Server {
        Server::without_engine(self.setup()).await
    }

    /// What the target is called.
    pub(crate) fn target(&self) -> &'static str {
        if self.is_local() { "local" } else { TARGET }
    }

    /// Its sessions are processes of our server, and its Python runs where our server does.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.behind, Behind::Local)
    }

    /// A cancel stops Python that only calculates, and its session stays.
    pub(crate) fn interrupts_python(&self) -> bool {
        self.is_local()
    }

    /// Python that no cancel stops. On the machine itself also such that never gives the interpreter's lock back: the kernel
    /// ends it. Elsewhere nothing could, while native code holds the lock.
    pub(crate) fn stubborn_python(&self) -> &'static str {
        if self.is_local() {
            "sum(range(10**11))"
        } else {
            "while True: pass"
        }
    }

    /// Text that children of the engine print is the statement's.
    pub(crate) fn hears_the_engine(&self) -> bool {
        self.is_local()
    }

    /// A text of ours as it is where there is one target, called `local`.
    pub(crate) fn plain(&self, text: &str) -> String {
        if self.is_local() {
            return text.to_owned();
        }
        text.replace("targets dev, local", "targets local")
            .replace(", target=\"dev\"", "")
            .replace("\"dev\"", "\"local\"")
            .replace("out for dev", "out for local")
    }

    /// Why a session is lost whose Python process was killed.
    pub(crate) fn killed(&self) -> &'static str {
        if self.is_local() {
            "it was killed (SIGKILL)"
        } else {
            "its Python process ended"
        }
    }

    /// The sessions that are there for a server of ours, which is the only one.
    pub(crate) async fn sessions(&self, process: &Process) -> usize {
        match &self.behind {
            Behind::Local => process.workers().len(),
            Behind::Livy(livy) => livy.listed().await,
            Behind::Real(url, before) => names(url).await.difference(before).count(),
        }
    }

    /// Waits until as many sessions are there.
    pub(crate) async fn has_sessions(&self, process: &Process, count: usize) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.sessions(process).await != count {
            assert!(
                tokio::time::Instant::now() < deadline,
                "not {count} sessions"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the engine is at work for a server with one session, whose call is under way.
    pub(crate) async fn works_on_sql(&self, process: &Process) {
        if self.is_local() {
            let worker = process.worker();
            let before = cpu_time(worker);
            wait_until("the engine works on it", PATIENCE, || {
                cpu_time(worker) > before + Duration::from_millis(300)
            })
            .await;
        } else {
            // Elsewhere nobody sees it; too early is a case that has to work as well.
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Waits until nothing of ours is left behind the target.
    pub(crate) async fn empties(&self) {
        match &self.behind {
            Behind::Local => {}
            Behind::Livy(livy) => livy.empties_within(Duration::from_secs(20)).await,
            Behind::Real(url, before) => {
                let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
                loop {
                    let names = names(url).await;
                    let left: Vec<_> = names.difference(before).collect();
                    if left.is_empty() {
                        break;
                    }
                    assert!(tokio::time::Instant::now() < deadline, "left: {left:?}");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    /// The end of a test: nothing is left.
    pub(crate) async fn end(self) {
        self.empties().await;
        if let Behind::Livy(livy) = self.behind {
            livy.end().await;
        }
    }
}

/// The names of the sessions that a server lists.
async fn names(url: &str) -> BTreeSet<String> {
    let rest = url.strip_prefix("http://").expect("a server without TLS");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let slash = if path.is_empty() { "" } else { "/" };
    let request =
        format!("GET {slash}{path}/sessions?from=0&size=1000 HTTP/1.0\r\nHost: {host}\r\n\r\n");
    let mut stream = TcpStream::connect(host).await.expect("the server listens");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let listed: Value = serde_json::from_str(body).expect("a list");
    let sessions = listed["sessions"].as_array().expect("a list of sessions");
    sessions
        .iter()
        .map(|s| format!("{} {}", s["id"], s["name"]))
        .collect()
}

/// Makes tests of functions that take a [`Place`], one for each of the places: `on!([local livy]: a b);`. Such a test
/// is called `a::livy`.
macro_rules! on {
    ($places:tt: $($claim:ident)+) => {
        $(crate::common::on!(@claim $places $claim);)+
    };
    (@claim [$($place:ident)+] $claim:ident) => {
        mod $claim {
            $(crate::common::on!(@test $place $claim);)+
        }
    };
    (@test real $claim:ident) => {
        #[ignore = "takes a real Livy server: SPARKLEASE_TEST_LIVY_URL names it"]
        #[tokio::test(flavor = "multi_thread")]
        async fn real() {
            super::$claim(crate::common::Place::real().await).await;
        }
    };
    (@test $place:ident $claim:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $place() {
            super::$claim(crate::common::Place::$place().await).await;
        }
    };
}
pub(crate) use on;
