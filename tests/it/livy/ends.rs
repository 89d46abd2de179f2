//! When sessions end by themselves: the server's heartbeat and its own limit, ours for idle sessions, for life and for
//! silent clients. Times are printed, and only the promise is asserted.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::server::LivyServer;
use crate::common::{PATIENCE, Server, signal};

/// Real Python without Spark: a session starts in a fraction of a second.
async fn without_spark(flags: &[&str]) -> LivyServer {
    LivyServer::with(flags, &[]).await
}

/// How a session went, in seconds of the server's clock.
struct Lived {
    /// From its create to its end.
    whole: f64,
    /// From the end of its last statement, which may be ours.
    unused: f64,
    why: String,
}

async fn lived(livy: &LivyServer, session: u64, within: Duration) -> Lived {
    let deadline = Instant::now() + within;
    loop {
        let all = livy.events().await;
        let last = |kind: &str| {
            all.iter()
                .rfind(|e| e["event"] == kind && e["session"] == json!(session))
        };
        if let (Some(created), Some(used), Some(gone)) =
            (last("created"), last("statement_ended"), last("deleting"))
        {
            let at = |event: &Value| event["mono"].as_f64().unwrap();
            return Lived {
                whole: at(gone) - at(created),
                unused: at(gone) - at(used),
                why: gone["why"].as_str().unwrap().to_owned(),
            };
        }
        assert!(Instant::now() < deadline, "not gone within {within:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn opened(server: &Server, name: &str) {
    server
        .call("open_session", json!({"name": name}))
        .await
        .ok();
}

async fn used(server: &Server, name: &str) -> crate::common::Answer {
    server
        .call("run_pyspark", json!({"code": "1", "session": name}))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_session_outlives_the_server_s_heartbeat_and_its_idle_limit() {
    let flags = ["--watchdog-seconds", "1", "--gc-seconds", "1"];
    let livy = without_spark(&[&flags[..], &["--session-timeout", "12"]].concat()).await;
    let setup = livy.setup_with("heartbeat = \"10s\"");
    let mut server = Server::without_engine(setup).await;
    // Polls do not hold off the server's own idle limit.
    let answer = server
        .call(
            "run_pyspark",
            json!({"code": "import time; time.sleep(16)\n'kept'", "wait_s": 60}),
        )
        .await
        .ok();
    assert_eq!(answer.data("value"), Some("'kept'\n"));
    // Killed, our server deletes nothing any more; its guardian does, or Livy itself.
    crate::common::kill(server.pid());
    server.gone_within(Duration::from_secs(10)).await;
    livy.empties_within(Duration::from_secs(40)).await;
    let Lived { whole, why, .. } = lived(&livy, 0, PATIENCE).await;
    println!(
        "busy 16 s, the server's heartbeat 10 s and idle limit 12 s, then we are killed: lived {whole:.1} s, ended by {why}"
    );
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_loses_its_session_by_heartbeat_and_goes_on_with_a_new_one() {
    let livy = without_spark(&["--watchdog-seconds", "1"]).await;
    let setup = livy.setup_with("heartbeat = \"10s\"");
    let server = Server::without_engine(setup).await;
    server.python("1").await;
    opened(&server, "mine").await;
    signal(server.pid(), Signal::STOP);
    let stopped = Instant::now();
    let (first, second) = (
        lived(&livy, 0, PATIENCE).await,
        lived(&livy, 1, PATIENCE).await,
    );
    println!(
        "heartbeat 10 s, SIGSTOP: deleted {:.1} s later by {}",
        stopped.elapsed().as_secs_f64(),
        first.why
    );
    signal(server.pid(), Signal::CONT);
    assert_eq!([first.why, second.why], ["heartbeat", "heartbeat"]);
    server.python("1").await;
    let lost = used(&server, "mine").await.failed("session_lost");
    assert!(
        lost.hint().starts_with("Call open_session(name=\"mine\""),
        "{}",
        lost.text
    );
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unnamed_session_goes_after_its_idle_limit_and_a_named_one_stays() {
    let livy = without_spark(&[]).await;
    let server = Server::without_engine(livy.setup_with("limits = { idle = \"2s\" }")).await;
    server.python("1").await;
    opened(&server, "mine").await;
    let Lived { unused, why, .. } = lived(&livy, 0, PATIENCE).await;
    println!("idle limit 2 s: deleted {unused:.2} s after its last statement, by {why}");
    used(&server, "mine").await.ok();
    assert_eq!(livy.listed().await, 1);
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

/// All that takes a minute, at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn life_and_silence_end_sessions_and_a_running_statement_holds_them() {
    let (life, silence, busy, warm) = tokio::join!(
        without_spark(&[]),
        without_spark(&[]),
        without_spark(&[]),
        without_spark(&[])
    );
    tokio::join!(
        ends_with_its_life(&life),
        ends_with_silence(&silence),
        is_held_by_a_statement(&busy),
        is_not_kept_warm_for_nobody(&warm)
    );
    for livy in [life, silence, busy, warm] {
        livy.empties().await;
        livy.end().await;
    }
}

async fn ends_with_its_life(livy: &LivyServer) {
    let limits = "limits = { life = \"1m\", idle = \"30s\", statement = \"30s\" }";
    let server = Server::without_engine(livy.setup_with(limits)).await;
    opened(&server, "mine").await;
    // Used all the time: only its age ends it.
    while livy.listed().await == 1 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        server.call("list_sessions", json!({})).await.ok();
    }
    let Lived { whole, why, .. } = lived(livy, 0, PATIENCE).await;
    println!("life 1 min: deleted {whole:.1} s after its create, by {why}");
    let lost = used(&server, "mine").await.failed("session_lost");
    assert!(
        lost.message().contains("it reached its longest life of 1m"),
        "{}",
        lost.text
    );
    server.end().await;
}

/// The client's end of the pipe stays open all the while.
async fn ends_with_silence(livy: &LivyServer) {
    let setup = livy.setup().set("server", "silence = \"1m\"");
    let server = Server::without_engine(setup).await;
    opened(&server, "mine").await;
    let silent = Instant::now();
    let Lived { why, .. } = lived(livy, 0, PATIENCE).await;
    println!(
        "silence 1 min: deleted {:.1} s after the last call's answer, by {why}",
        silent.elapsed().as_secs_f64()
    );
    let lost = used(&server, "mine").await.failed("session_lost");
    assert!(
        lost.message()
            .contains("its lease expired after 1m without a tool call"),
        "{}",
        lost.text
    );
    server.end().await;
}

async fn is_held_by_a_statement(livy: &LivyServer) {
    let setup = livy.setup().set("server", "silence = \"1m\"");
    let server = Server::without_engine(setup).await;
    opened(&server, "mine").await;
    let code = "import time; time.sleep(66)\nkept = 'kept'";
    let statement = server
        .launch("run_pyspark", json!({"code": code, "session": "mine"}))
        .await;
    tokio::time::sleep(Duration::from_secs(64)).await;
    assert_eq!(livy.listed().await, 1, "64 s without a call");
    server.ended(&statement).await.ok();
    let answer = server
        .call("run_pyspark", json!({"code": "kept", "session": "mine"}))
        .await
        .ok();
    assert_eq!(answer.data("value"), Some("'kept'\n"));
    server.end().await;
}

async fn is_not_kept_warm_for_nobody(livy: &LivyServer) {
    let setup = livy
        .setup_with("limits = { warm = 1 }")
        .set("server", "silence = \"1m\"");
    let server = Server::without_engine(setup).await;
    let Lived { whole, why, .. } = lived(livy, 0, PATIENCE).await;
    println!("warm, silence 1 min, nobody calls: deleted {whole:.1} s after its create, by {why}");
    assert_eq!(livy.sessions().await.len(), 1, "none follows it");
    server.python("1").await;
    server.end().await;
}
