//! The pool on a Livy server: warm sessions, how many are opened at once, what other processes have, budgets, what is run
//! again and what never, opens that nobody wants any more.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::LivyServer;
use crate::common::{PATIENCE, Server, wait_until};

/// Real Python without Spark: a session starts in a fraction of a second.
async fn without_spark(flags: &[&str]) -> LivyServer {
    LivyServer::with(flags, &[]).await
}

/// The events of one kind, in order.
async fn events(livy: &LivyServer, kind: &str) -> Vec<Value> {
    let mut all = livy.events().await;
    all.retain(|event| event["event"] == kind);
    all
}

/// Waits for so many events of a kind and gives the last of them.
async fn nth_event(livy: &LivyServer, kind: &str, count: usize) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = events(livy, kind).await;
        if let Some(event) = found.get(count - 1) {
            return event.clone();
        }
        assert!(Instant::now() < deadline, "{} {kind}", found.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn mono(event: &Value) -> f64 {
    event["mono"].as_f64().unwrap()
}

/// The number of the session with this Python.
async fn session_of(livy: &LivyServer, pid: &str) -> u64 {
    let sessions = livy.sessions().await;
    let pid: u32 = pid.trim().parse().unwrap();
    let found = sessions.iter().find(|s| s["pids"]["python"] == json!(pid));
    found.unwrap_or_else(|| panic!("{pid}: {sessions:?}"))["id"]
        .as_u64()
        .unwrap()
}

async fn kill(livy: &LivyServer, session: u64, what: &str) {
    let path = format!("/__test/sessions/{session}/kill");
    livy.admin("POST", &path, &json!({"what": what})).await;
}

const MY_PID: &str = "import os; os.getpid()";

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_session_is_there_before_the_first_call_and_goes_to_who_asks() {
    let livy = without_spark(&["--start-seconds", "2"]).await;
    let setup = livy.setup_with("heartbeat = \"10s\"\nlimits = { sessions = 4, warm = 1 }");
    let server = Server::without_engine(setup).await;
    // The harness is its first statement.
    nth_event(&livy, "statement_ended", 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answer = server.python(MY_PID).await;
    let warm = answer.took;
    let pid = answer.data("value").unwrap().to_owned();
    assert_eq!(session_of(&livy, &pid).await, 0);
    // The next one is opened behind it, and a name takes that while it opens.
    nth_event(&livy, "created", 2).await;
    server
        .call("open_session", json!({"name": "mine"}))
        .await
        .ok();
    let answer = server
        .call("run_pyspark", json!({"code": MY_PID, "session": "mine"}))
        .await
        .ok();
    assert_eq!(
        session_of(&livy, answer.data("value").unwrap()).await,
        1,
        "the one that was warm"
    );
    // The caller's own session is still its own.
    let again = server.python(MY_PID).await;
    assert_eq!(again.data("value"), Some(pid.as_str()));
    // A third one is warm now. It dies, and is replaced without anybody's asking.
    nth_event(&livy, "statement_ended", 6).await;
    kill(&livy, 2, "driver").await;
    let died = nth_event(&livy, "driver_lost", 1).await;
    let replaced = nth_event(&livy, "created", 4).await;
    println!(
        "warm: first call answered {warm:?} after it was made (its session took 2 s to start before); a dead one replaced after {:.1} s",
        mono(&replaced) - mono(&died)
    );
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_runs_one_statement_keeps_nothing_warm() {
    let livy = without_spark(&[]).await;
    let home = tempfile::tempdir().unwrap();
    let (config, file) = (home.path().join("config.toml"), home.path().join("a.py"));
    let text = format!(
        "[targets.dev]\nplatform = \"livy\"\naccess = \"read-write\"\nurl = \"{}\"\nlimits = {{ warm = 2 }}\n",
        livy.url
    );
    std::fs::write(&config, text).unwrap();
    std::fs::write(&file, "print(6 * 7)").unwrap();
    let ran = tokio::process::Command::new(env!("CARGO_BIN_EXE_sparklease"))
        .args(["run", "--target", "dev"])
        .arg(&file)
        .env("SPARKLEASE_CONFIG", &config)
        .env("SPARKLEASE_DATA_DIR", home.path().join("data"))
        .env("SPARKLEASE_CACHE_DIR", crate::common::cache())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(PATIENCE, ran).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "42\n", "{ran:?}");
    assert_eq!(livy.sessions().await.len(), 1);
    wait_until("its guardian has ended", PATIENCE, || {
        crate::common::belonging_to(home.path()).is_empty()
    })
    .await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_sessions_are_opened_at_once_than_the_target_says() {
    let livy = without_spark(&["--start-seconds", "1"]).await;
    let setup = livy.setup_with("limits = { sessions = 6, opening = 2 }");
    let server = Server::without_engine(setup).await;
    let go = server.work().join("go");
    let code = format!(
        "import os, time\nwhile not os.path.exists({:?}): time.sleep(0.05)",
        go.to_str().unwrap()
    );
    let mut statements = Vec::new();
    for _ in 0..6 {
        let code = json!({"code": code});
        statements.push(server.launch("run_pyspark", code).await);
    }
    // Ours and theirs, in each session.
    nth_event(&livy, "statement_started", 12).await;
    std::fs::write(&go, "").unwrap();
    for statement in statements {
        server.ended(&statement).await.ok();
    }
    // From its create to the end of its first statement, which is ours, a session is being opened.
    let all = livy.events().await;
    let mut steps = Vec::new();
    for session in 0..6 {
        let of = |kind: &str| {
            let event = all
                .iter()
                .find(|e| e["event"] == kind && e["session"] == json!(session));
            mono(event.unwrap_or_else(|| panic!("{kind} of {session}")))
        };
        steps.extend([(of("created"), 1), (of("statement_ended"), -1)]);
    }
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut open = 0;
    let most = steps.iter().map(|(_, step)| {
        open += step;
        open
    });
    assert_eq!(most.max(), Some(2), "{steps:?}");
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

/// Two servers of one user share the limit. One that finds no room waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_a_session_that_another_process_has() {
    let livy = without_spark(&[]).await;
    let shared = tempfile::tempdir().unwrap();
    let data = shared.path().to_str().unwrap();
    let setup = |limits: &str| {
        let limits = format!("limits = {{ sessions = 1, idle = \"1s\", {limits} }}");
        livy.setup_with(&limits)
            .variable("SPARKLEASE_DATA_DIR", data)
    };
    let first = Server::without_engine(setup("queue_wait = \"1m\"")).await;
    let second = Server::without_engine(setup("queue_wait = \"1m\"")).await;
    let hasty = Server::without_engine(setup("queue_wait = \"1s\"")).await;
    first.python("1").await;
    let busy = first
        .launch(
            "run_pyspark",
            json!({"code": "import time; time.sleep(8)\n'first'"}),
        )
        .await;
    first.reaches(&busy, "running").await;
    let waits = second
        .launch("run_pyspark", json!({"code": "'second'"}))
        .await;
    let refused = hasty
        .call("run_pyspark", json!({"code": "'hasty'"}))
        .await
        .failed("sessions_exhausted");
    assert!(
        refused.message().starts_with(
            "no session of target \"dev\" became free within 1s: 1 of the 1 sessions "
        ),
        "{}",
        refused.text
    );
    assert_eq!(refused.structured["retryable"], true);
    assert_eq!(refused.structured["retry_after_s"], 5);
    assert!(
        refused.hint().contains("targets.dev.limits.sessions"),
        "{}",
        refused.text
    );
    let waiting = second
        .call("get_statement", json!({"statement": waits, "wait_s": 0}))
        .await
        .ok();
    assert_eq!(waiting.status(), "queued", "{}", waiting.text);
    assert!(
        waiting.text.contains("waiting for other processes"),
        "{}",
        waiting.text
    );
    first.ended(&busy).await.ok();
    let answer = second.ended(&waits).await.ok();
    assert_eq!(answer.data("value"), Some("'second'\n"));
    let (created, gone) = (events(&livy, "created").await, events(&livy, "gone").await);
    assert_eq!(created.len(), 2);
    println!(
        "other process's session gone → ours created: {:.1} s",
        mono(&created[1]) - mono(&gone[0])
    );
    assert!(mono(&created[1]) > mono(&gone[0]), "never two");
    for server in [first, second, hasty] {
        server.end().await;
    }
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_opens_nothing_more_and_names_its_setting() {
    let livy = without_spark(&[]).await;
    let setup =
        livy.setup_with("limits = { sessions = 13, opening = 12, budget = \"1m\", open = \"1m\" }");
    let server = Server::without_engine(setup).await;
    let mut opens = Vec::new();
    for n in 0..12 {
        opens.push(
            server
                .begin("open_session", json!({"name": format!("s{n}")}))
                .await,
        );
    }
    for open in opens {
        open.answer().await.ok();
    }
    // Twelve sessions spend a minute in five seconds.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let answer = server
        .call("open_session", json!({"name": "more"}))
        .await
        .failed("budget_exceeded");
    assert!(
        answer.hint().contains("targets.dev.limits.budget"),
        "{}",
        answer.text
    );
    assert_eq!(livy.sessions().await.len(), 12);
    // Those that are open stay.
    let answer = server
        .call("run_pyspark", json!({"code": "1 + 1", "session": "s3"}))
        .await
        .ok();
    assert_eq!(answer.data("value"), Some("2\n"));
    server.end().await;
    livy.empties_within(Duration::from_secs(30)).await;
    livy.end().await;
}

/// The texts that were sent as statements, ours not counted.
async fn sent(livy: &LivyServer) -> usize {
    let posted = |e: &&Value| {
        e["method"] == "POST"
            && e["path"].as_str().unwrap().ends_with("/statements")
            // Ours, which installs the harness, is too long to be kept.
            && e["body"].is_string()
    };
    events(livy, "request").await.iter().filter(posted).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_session_is_lost_under_it_is_run_again_and_says_so() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    server.sql("select 1").await;
    let ended = events(&livy, "statement_ended").await.len();
    let slow = "select count(*) as n from range(40000) a, range(50000) b where a.id + b.id >= 0";
    let statement = server.launch("query_sql", json!({"sql": slow})).await;
    nth_event(&livy, "statement_started", ended + 1).await;
    kill(&livy, 0, "driver").await;
    let answer = server.ended(&statement).await.ok();
    assert_eq!(answer.cell(), "2000000000");
    let warnings = answer.structured["warnings"].to_string();
    assert!(
        warnings.contains("its first session was lost (")
            && warnings.contains("RPC error")
            && warnings.contains("so it was run again in another one"),
        "{}",
        answer.text
    );
    assert_eq!(livy.sessions().await.len(), 2);
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_loses_two_sessions_says_so_and_is_not_tried_a_third_time() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    server.sql("select 1").await;
    let before = sent(&livy).await;
    let lost = json!({"method": "POST", "path": ".*/statements", "body": "\"code\": *\"_sparklease\\(",
        "fault": "lose_reply", "times": 2});
    livy.fault(lost.clone()).await;
    let answer = server
        .call("query_sql", json!({"sql": "select 2"}))
        .await
        .failed("session_lost");
    assert!(
        answer
            .message()
            .contains("it had been run again after its first session was lost too"),
        "{}",
        answer.text
    );
    assert_eq!(sent(&livy).await, before + 2);
    server.works().await;
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_write_is_never_run_again_and_says_that_it_may_have_done_something() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    server.sql("select 1").await;
    // Python that has done something, and dies with its driver.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    let code = format!(
        "import time\nwith open({:?}, 'a') as f:\n    print('done', file=f)\ntime.sleep(60)",
        file.to_str().unwrap()
    );
    let statement = server.launch("run_pyspark", json!({"code": code})).await;
    wait_until("the code has written", PATIENCE, || {
        std::fs::read_to_string(&file).is_ok_and(|text| text == "done\n")
    })
    .await;
    kill(&livy, 0, "driver").await;
    let answer = server.ended(&statement).await.failed("session_lost");
    assert!(
        answer.message().contains("it may have had effects before")
            && answer.message().contains("RPC error"),
        "{}",
        answer.text
    );
    assert!(
        answer.hint().starts_with("Check what it has done"),
        "{}",
        answer.text
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "done\n");
    // SQL whose answer was lost on the way: it has run.
    server.sql("select 1").await;
    let before = sent(&livy).await;
    livy.fault(json!({"method": "POST", "path": ".*/statements", "fault": "lose_reply"}))
        .await;
    let answer = server
        .call(
            "run_sql",
            json!({"sql": "create or replace temp view v as select 1"}),
        )
        .await
        .failed("session_lost");
    assert!(
        answer.message().contains("it may have had effects before"),
        "{}",
        answer.text
    );
    assert_eq!(sent(&livy).await, before + 1);
    server.works().await;
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

/// A cluster without room lets a session start for many minutes.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_that_nobody_wants_any_more_ends_at_once() {
    let livy = without_spark(&["--start-seconds", "100"]).await;
    let server = livy.client().await;
    let opens = server.begin("open_session", json!({"name": "slow"})).await;
    nth_event(&livy, "created", 1).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let closed = server
        .call("close_session", json!({"session": "slow"}))
        .await
        .ok();
    assert_eq!(closed.structured["state"], "closed", "{}", closed.text);
    println!("closed while it started: after {:?}", closed.took);
    opens.answer().await.failed("session_lost");
    livy.empties().await;
    // The same at the client's end.
    let statement = server.launch("run_pyspark", json!({"code": "1"})).await;
    nth_event(&livy, "created", 2).await;
    assert!(!statement.is_empty());
    let begun = Instant::now();
    server.end().await;
    livy.empties().await;
    println!(
        "client gone while it started: deleted after {:?}",
        begun.elapsed()
    );
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_does_not_start_shows_the_end_of_its_log() {
    let livy = without_spark(&["--start-seconds", "1"]).await;
    // No JVM starts with that.
    let setup = livy.setup_with("conf = { \"spark.driver.memory\" = \"1m\" }");
    let server = Server::without_engine(setup).await;
    let answer = server
        .call("run_pyspark", json!({"code": "1"}))
        .await
        .failed("capacity_unavailable");
    assert!(
        answer.message().contains("Too small maximum heap"),
        "{}",
        answer.text
    );
    server.end().await;
    livy.empties().await;
    livy.end().await;
}
