//! The order of the system calls of the built binary: no byte of a create leaves before its row is synced to the disk
//! and a guardian is READY. `strace` writes them down.

use std::collections::HashMap;

use serde_json::json;

use super::world::{BOUND, World};
use crate::common::Server;

/// What one line of a trace means to us; the number is its line.
#[derive(Debug, PartialEq)]
enum Step {
    /// These bytes went to the ledger's log.
    Logged(String),
    /// The log was synced, and the system has said so.
    Synced,
    /// A guardian has said that it is ready.
    Ready,
    /// The first bytes of a create left.
    Create(String),
}

/// Reads a trace: `PID call(descriptor<file>, "bytes", …) = result`. A call that another one interrupts has two lines,
/// and is over with the second.
fn steps(trace: &str) -> Vec<Step> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut steps = Vec::new();
    for line in trace.lines() {
        let Some((pid, call)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let call = call.trim_start();
        let resumed = call.starts_with("<... ");
        // What is sent counts from its begin, what is written or synced from its end.
        if !resumed && let Some((_, create)) = call.split_once("POST /sessions HTTP/1.1") {
            steps.push(Step::Create(create.to_owned()));
        }
        if call.ends_with("<unfinished ...>") {
            begun.insert(pid, call);
            continue;
        }
        let whole = if resumed {
            begun.remove(pid)
        } else {
            Some(call)
        };
        let well = call
            .rsplit(" = ")
            .next()
            .is_some_and(|result| !result.starts_with('-'));
        let Some(whole) = whole.filter(|_| well) else {
            continue;
        };
        if whole.contains("/ledger.db-wal>") {
            let synced = whole.starts_with("fsync(") || whole.starts_with("fdatasync(");
            steps.push(if synced {
                Step::Synced
            } else {
                Step::Logged(whole.to_owned())
            });
        } else if whole.starts_with("write(1") && whole.contains("\"READY ") {
            steps.push(Step::Ready);
        }
    }
    steps
}

/// Every create, by its name, with what was missing before it.
fn creates(trace: &str) -> Vec<(String, Vec<&'static str>)> {
    let steps = steps(trace);
    let sent = steps
        .iter()
        .enumerate()
        .filter_map(|(at, step)| match step {
            Step::Create(bytes) => Some((at, bytes)),
            _ => None,
        });
    sent.map(|(at, bytes)| {
        let from = bytes.find("sl1-").expect("a create has our name");
        let name: String = bytes[from..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect();
        let before = &steps[..at];
        let logged = before
            .iter()
            .position(|step| matches!(step, Step::Logged(bytes) if bytes.contains(&name)));
        let mut missing = Vec::new();
        match logged {
            None => missing.push("its row in the log"),
            Some(logged) if !before[logged..].contains(&Step::Synced) => {
                missing.push("a sync after its row");
            }
            Some(_) => {}
        }
        if !before.contains(&Step::Ready) {
            missing.push("READY");
        }
        (name, missing)
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_create_is_sent_after_its_row_is_synced_and_a_guardian_is_ready() {
    let version = std::process::Command::new("strace").arg("-V").output();
    assert!(
        version.is_ok_and(|said| said.status.success()),
        "strace is missing: apt-get install strace"
    );
    let world = World::start().await;
    let file = world.home().join("trace");
    let setup = world.setup().by(&[
        "strace",
        // The tracer stands aside: the server stays our child.
        "-D",
        "--follow-forks",
        "--decode-fds=path",
        // A page of the log, and a create with its body.
        "--string-limit=5000",
        "--trace=fsync,fdatasync,write,writev,pwrite64,pwritev,sendto,sendmsg",
        "--output",
        file.to_str().unwrap(),
    ]);
    let server = Server::without_engine(setup).await;
    let both = ["one", "two"].map(|name| server.call("open_session", json!({"name": name})));
    for answer in futures::future::join_all(both).await {
        answer.ok();
    }
    server
        .call("open_session", json!({"name": "three"}))
        .await
        .ok();
    for name in ["one", "two", "three"] {
        server
            .call("close_session", json!({"session": name}))
            .await
            .ok();
    }
    world.empties().await;
    let pid = server.pid();
    drop(server);
    crate::common::wait_until("the server has ended", BOUND, || !super::world::runs(pid)).await;
    world.is_clean().await;
    let trace = std::fs::read_to_string(&file).unwrap();
    let found = creates(&trace);
    println!(
        "{} system calls, {} creates: {found:?}",
        trace.lines().count(),
        found.len()
    );
    let mut names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let mut rows: Vec<String> = world.rows().into_iter().map(|row| row.tag).collect();
    rows.sort_unstable();
    assert_eq!(names, rows, "each create is in the trace");
    assert!(
        found.iter().all(|(_, missing)| missing.is_empty()),
        "{found:?}"
    );

    // The trace would tell: without its syncs, or without its rows, each create is wrong.
    for (without, what) in [
        ("sync(", "a sync after its row"),
        ("pwrite64(", "its row in the log"),
    ] {
        let lines = trace.lines().filter(|line| !line.contains(without));
        let doctored = creates(&lines.collect::<Vec<_>>().join("\n"));
        assert_eq!(doctored.len(), 3);
        assert!(
            doctored.iter().all(|(_, missing)| missing.contains(&what)),
            "{doctored:?}"
        );
    }
    world.end().await;
}
