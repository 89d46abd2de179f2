//! A session that is deleted while its Python is busy: no process of it is left, whatever the code was doing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::world::{World, kill_group};
use crate::common::{PATIENCE, Server};

/// From the session's end on the server to the end of its last process.
const PROCESSES_GONE_WITHIN: Duration = Duration::from_secs(10);

/// Code that does not listen, and processes that nobody would end with it.
const BUSY: [(&str, &str); 3] = [
    ("sleeps", "import time\ntime.sleep(3600)"),
    ("spins", "while True:\n    pass"),
    (
        "breeds",
        "import subprocess\n\
         children = [subprocess.Popen(['sleep', '3600']) for _ in range(3)]\n\
         children.append(subprocess.Popen(['sh', '-c', 'sleep 3600 & sleep 3600'], start_new_session=True))\n\
         while True:\n    pass",
    ),
];

/// A server whose sessions run these.
async fn busy(world: &World) -> Server {
    let server = world.server().await;
    for (name, code) in BUSY {
        server
            .call("open_session", json!({"name": name}))
            .await
            .ok();
        let statement = server
            .launch("run_pyspark", json!({"code": code, "session": name}))
            .await;
        server.reaches(&statement, "running").await;
    }
    // Its children are there, too: driver, shell, three that sleep, a shell and two of it.
    let deadline = Instant::now() + PATIENCE;
    while alive(world).await.iter().max() < Some(&8) {
        assert!(Instant::now() < deadline, "{:?}", alive(world).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server
}

fn is_ours(session: &Value) -> bool {
    let name = session["name"].as_str().unwrap_or_default();
    name.starts_with("sl1-") && !name.starts_with("sl1-aaaaaa")
}

/// Living processes of each session of ours.
async fn alive(world: &World) -> Vec<usize> {
    let sessions = world.livy.sessions().await;
    let ours = sessions.iter().filter(|session| is_ours(session));
    ours.map(|session| session["alive"].as_array().map_or(0, Vec::len))
        .collect()
}

/// Waits until they are gone, on the server and as processes.
async fn nothing_is_left(world: &World, how: &str) {
    world.empties().await;
    let gone = Instant::now();
    loop {
        let left = alive(world).await;
        if left.iter().all(|count| *count == 0) {
            break;
        }
        assert!(
            gone.elapsed() < PROCESSES_GONE_WITHIN,
            "left after {PROCESSES_GONE_WITHIN:?}: {left:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!(
        "{how}: the last process was gone {:?} after the last session",
        gone.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_while_python_is_busy_no_process_of_it_is_left() {
    let world = World::with(&["--engine", "none"], "").await;
    let server = busy(&world).await;
    let closes = BUSY.map(|(name, _)| server.call("close_session", json!({"session": name})));
    for answer in futures::future::join_all(closes).await {
        answer.ok();
    }
    nothing_is_left(&world, "closed").await;
    server.end().await;
    world.is_clean().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_python_is_busy_no_process_of_it_is_left() {
    let world = World::with(&["--engine", "none"], "").await;
    let server = busy(&world).await;
    kill_group(server.pid());
    nothing_is_left(&world, "server killed").await;
    world.is_clean().await;
    world.end().await;
}
