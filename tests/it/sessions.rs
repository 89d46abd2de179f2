//! Sessions as their caller has them: named ones keep what they hold, unnamed ones start clean, limits queue.

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{ENDLESS_SQL, PATIENCE, Server, Setup, has_ended, kill, wait_until};

/// Two sessions, and a queue that is given up after its shortest time.
fn two_sessions() -> Setup {
    Setup::new().set("targets.local.limits", "sessions = 2\nqueue_wait = \"1s\"")
}

fn sessions(structured: &Value) -> Vec<(Option<&str>, &str)> {
    let list = structured["sessions"].as_array().unwrap();
    list.iter()
        .map(|s| (s["session"].as_str(), s["state"].as_str().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_session_keeps_variables_and_views_and_an_unnamed_one_starts_clean() {
    let server = Server::start().await;
    let opened = server.call("open_session", json!({"name": "a"})).await.ok();
    assert_eq!(opened.structured["session"], "a");
    assert_eq!(opened.structured["state"], "free");
    let run = |code: &str, session: Option<&str>| {
        let mut arguments = json!({"code": code});
        if let Some(session) = session {
            arguments["session"] = json!(session);
        }
        server.call("run_pyspark", arguments)
    };
    run("x = 41", Some("a")).await.ok();
    let kept = run("x + 1", Some("a")).await.ok();
    assert_eq!(kept.data("value"), Some("42\n"));
    assert_eq!(kept.structured["session"], "a");

    // A view made by SQL is seen by Python, and the other way round.
    server
        .call(
            "run_sql",
            json!({"session": "a", "sql": "create temp view from_sql as select 7 as n"}),
        )
        .await
        .ok();
    let seen = run("spark.table('from_sql').collect()[0].n", Some("a")).await;
    assert_eq!(seen.ok().data("value"), Some("7\n"));
    run(
        "spark.range(3).createOrReplaceTempView('from_python')",
        Some("a"),
    )
    .await
    .ok();
    let seen = server
        .call(
            "query_sql",
            json!({"session": "a", "sql": "select count(*) from from_python"}),
        )
        .await
        .ok();
    assert_eq!(seen.cell(), "3");

    // Elsewhere neither is there.
    let failed = run("x", None).await.failed("statement_failed");
    assert_eq!(failed.message(), "NameError: name 'x' is not defined");
    run("y = 1", None).await.ok();
    let failed = run("y", None).await.failed("statement_failed");
    assert_eq!(failed.message(), "NameError: name 'y' is not defined");
    server
        .call("query_sql", json!({"sql": "select * from from_sql"}))
        .await
        .failed("statement_failed");

    let closed = server
        .call("close_session", json!({"session": "a"}))
        .await
        .ok();
    assert_eq!(closed.structured["session"], "a");
    let gone = run("x", Some("a")).await;
    assert!(gone.is_error, "{}", gone.text);
    server.works().await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_opened_without_a_name_is_given_one() {
    let server = Server::start().await;
    let opened = server.call("open_session", json!({})).await.ok();
    let name = opened.structured["session"].as_str().unwrap().to_owned();
    let run = |code: &str| server.call("run_pyspark", json!({"code": code, "session": name}));
    run("x = 'kept'").await.ok();
    assert_eq!(run("x").await.ok().data("value"), Some("'kept'\n"));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_calls_at_once_use_two_sessions_and_one_after_another_one() {
    let server = Server::start().await;
    server.works().await;
    server.works().await;
    assert_eq!(server.workers().len(), 1);
    // Each of the two ends only when both run.
    let code = |me: &str, other: &str| {
        json!({"code": format!(
            "import os, time\nopen('{me}', 'w').close()\n\
             while not os.path.exists('{other}'): time.sleep(0.01)\nos.getpid()"
        )})
    };
    let one = server.begin("run_pyspark", code("one", "two")).await;
    let two = server.begin("run_pyspark", code("two", "one")).await;
    let (one, two) = (one.answer().await.ok(), two.answer().await.ok());
    assert_ne!(one.data("value"), two.data("value"));
    assert_eq!(server.workers().len(), 2);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_more_than_sessions_waits_and_is_told_what_to_do_in_the_end() {
    let server = Server::with(two_sessions()).await;
    // Opened beforehand: the deadline of this test is for the queue alone.
    server.call("open_session", json!({"name": "a"})).await.ok();
    let (first, _) = server
        .launch_python("while True: pass", json!({"session": "a"}))
        .await;
    let second = server
        .launch("query_sql", json!({"sql": ENDLESS_SQL}))
        .await;
    server.reaches(&second, "running").await;

    let third = server.call("query_sql", json!({"sql": "select 3"})).await;
    let third = third.failed("sessions_exhausted");
    assert_eq!(
        third.message(),
        "no session of target \"local\" became free within 1s: 2 of 2 busy"
    );
    assert_eq!(
        third.hint(),
        "Call close_session(session=\"a\") to make room (its variables are lost), or call again later."
    );
    assert_eq!(third.structured["retryable"], true);

    // In the named session the wait is for that one.
    let behind = server
        .call("run_pyspark", json!({"code": "1", "session": "a"}))
        .await
        .failed("timeout");
    assert_eq!(
        behind.message(),
        "the wait for session \"a\" ended after 1s: it runs one statement at a time and is not free yet"
    );

    // What waits gets the session that becomes free.
    let waiting = server.begin("query_sql", json!({"sql": "select 4"})).await;
    server
        .call("cancel_statement", json!({"statement": second}))
        .await
        .ok();
    assert_eq!(waiting.answer().await.ok().cell(), "4");
    server
        .call("cancel_statement", json!({"statement": first}))
        .await
        .ok();
    server.works().await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_closed_while_busy_ends_its_statement() {
    let server = Server::start().await;
    server.call("open_session", json!({"name": "a"})).await.ok();
    let (statement, worker) = server
        .launch_python("sum(range(10**11))", json!({"session": "a"}))
        .await;
    let listed = server.call("list_sessions", json!({})).await.ok();
    assert_eq!(sessions(&listed.structured), [(Some("a"), "busy")]);
    server
        .call("close_session", json!({"session": "a"}))
        .await
        .ok();
    assert!(!server.workers().contains(&worker));
    let ended = server.ended(&statement).await;
    assert!(
        ended.status() == "cancelled" || ended.is_error,
        "{}",
        ended.text
    );
    let listed = server.call("list_sessions", json!({})).await.ok();
    assert!(
        !sessions(&listed.structured)
            .iter()
            .any(|(_, state)| *state == "busy" || *state == "free"),
        "{}",
        listed.text
    );
    // Closing what is closed names what to do.
    let again = server.call("close_session", json!({"session": "a"})).await;
    assert!(
        !again.is_error || again.structured["code"] == "not_found",
        "{}",
        again.text
    );
    server.works().await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_name_stays_lost_until_it_is_opened_anew() {
    let server = Server::start().await;
    server.call("open_session", json!({"name": "a"})).await.ok();
    let use_it = || server.call("run_pyspark", json!({"session": "a", "code": "x = 1\nx"}));
    use_it().await.ok();
    let worker = server.worker();
    kill(worker);
    wait_until("the worker has ended", PATIENCE, || has_ended(worker)).await;
    // Any number of times: nothing rebinds it silently.
    for _ in 0..3 {
        let answer = use_it().await.failed("session_lost");
        assert!(
            answer.hint().starts_with("Call open_session(name=\"a\""),
            "{}",
            answer.text
        );
        assert!(
            answer.message().contains("it was killed (SIGKILL)"),
            "{}",
            answer.text
        );
    }
    let mut listed = server.call("list_sessions", json!({})).await.ok();
    let patience = std::time::Instant::now() + PATIENCE;
    while sessions(&listed.structured) != [(Some("a"), "lost")] {
        // Its close is being proved.
        assert_eq!(sessions(&listed.structured), [(Some("a"), "closing")]);
        assert!(std::time::Instant::now() < patience, "{}", listed.text);
        listed = server.call("list_sessions", json!({})).await.ok();
    }
    assert!(
        listed.text.contains("it was killed (SIGKILL)"),
        "{}",
        listed.text
    );
    server.works().await;
    server.call("open_session", json!({"name": "a"})).await.ok();
    assert_eq!(use_it().await.ok().data("value"), Some("1\n"));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_with_what_they_do() {
    let server = Server::start().await;
    let none = server.call("list_sessions", json!({})).await.ok();
    assert_eq!(none.text, "no sessions\n");
    server.works().await;
    server.call("open_session", json!({"name": "b"})).await.ok();
    let (statement, _) = server
        .launch_python("while True: pass", json!({"session": "b"}))
        .await;
    let listed = server
        .call("list_sessions", json!({"target": "local"}))
        .await
        .ok();
    let mut all = sessions(&listed.structured);
    all.sort_unstable();
    assert_eq!(all, [(None, "free"), (Some("b"), "busy")]);
    server
        .call("cancel_statement", json!({"statement": statement}))
        .await
        .ok();
    server.end().await;
}

/// Named ones are kept for their names' sake, until their owner has been silent for too long.
#[tokio::test(flavor = "multi_thread")]
async fn an_unnamed_session_is_closed_when_it_was_idle_for_its_time() {
    let setup = Setup::new().set("targets.local.limits", "idle = \"1s\"");
    let server = Server::with(setup).await;
    server.call("open_session", json!({"name": "a"})).await.ok();
    let named = server.worker();
    server.works().await;
    wait_until("one worker is left", PATIENCE, || {
        server.workers() == [named]
    })
    .await;
    loop {
        let listed = server.call("list_sessions", json!({})).await.ok();
        match sessions(&listed.structured)[..] {
            [(Some("a"), "free")] => break,
            // Its process is gone a moment before the session is.
            [_, _] => assert!(listed.text.contains("closing"), "{}", listed.text),
            _ => panic!("{}", listed.text),
        }
    }
    server.works().await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_grows_and_says_what_is_going_on() {
    let server = Server::start().await;
    let code = "import time\ntime.sleep(4)";
    let answer = server.python(code).await;
    assert!(answer.took >= Duration::from_secs(4));
    let told = server.progress();
    // The first after half a second, the next 3 s later.
    assert!(told.len() >= 2, "{told:?}");
    assert!(told.is_sorted_by(|a, b| a.0 < b.0), "{told:?}");
    assert!(told[told.len() - 1].1.starts_with("running, "), "{told:?}");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_figure_comes_back_as_an_image() {
    let server = Server::start().await;
    let code = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.title('a figure')";
    let answer = server.python(code).await;
    assert_eq!(answer.images.len(), 1, "{}", answer.text);
    assert_eq!(answer.images[0].0, "image/png");
    // The signature of PNG files, in base64.
    assert!(answer.images[0].1.starts_with("iVBORw0KGgo"));
    server.end().await;
}
