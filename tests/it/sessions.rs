//! Sessions as their caller has them: named ones keep what they hold, unnamed ones start clean, limits queue.

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{ENDLESS_SQL, PATIENCE, Place, Server, has_ended, kill, on, wait_until};

on!([local livy faulty real]:
    a_named_session_keeps_variables_and_views_and_an_unnamed_one_starts_clean
    progress_grows_and_says_what_is_going_on
);
on!([local livy real]:
    a_session_opened_without_a_name_is_given_one
    two_calls_at_once_use_two_sessions_and_one_after_another_one
    one_call_more_than_sessions_waits_and_is_told_what_to_do_in_the_end
    a_session_closed_while_busy_ends_its_statement
    a_lost_name_stays_lost_until_it_is_opened_anew
    sessions_are_listed_with_what_they_do
    owners_on_one_target_share_nothing_and_end_only_their_own
    an_unnamed_session_is_closed_when_it_was_idle_for_its_time
);
on!([local livy]:
    a_figure_comes_back_as_an_image
);

fn sessions(structured: &Value) -> Vec<(Option<&str>, &str)> {
    let list = structured["sessions"].as_array().unwrap();
    list.iter()
        .map(|s| (s["session"].as_str(), s["state"].as_str().unwrap()))
        .collect()
}

async fn a_named_session_keeps_variables_and_views_and_an_unnamed_one_starts_clean(place: Place) {
    let server = place.server().await;
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
    place.end().await;
}

async fn a_session_opened_without_a_name_is_given_one(place: Place) {
    let server = place.server().await;
    let opened = server.call("open_session", json!({})).await.ok();
    let name = opened.structured["session"].as_str().unwrap().to_owned();
    let run = |code: &str| server.call("run_pyspark", json!({"code": code, "session": name}));
    run("x = 'kept'").await.ok();
    assert_eq!(run("x").await.ok().data("value"), Some("'kept'\n"));
    server.end().await;
    place.end().await;
}

async fn two_calls_at_once_use_two_sessions_and_one_after_another_one(place: Place) {
    let server = place.server().await;
    server.works().await;
    server.works().await;
    assert_eq!(place.sessions(&server).await, 1);
    // Each of the two ends only when both run.
    let folder = server.work().to_str().unwrap().to_owned();
    let code = |me: &str, other: &str| {
        json!({"wait_s": PATIENCE.as_secs(), "code": format!(
            "import os, time\nopen('{folder}/{me}', 'w').close()\n\
             while not os.path.exists('{folder}/{other}'): time.sleep(0.01)\nos.getpid()"
        )})
    };
    let one = server.begin("run_pyspark", code("one", "two")).await;
    let two = server.begin("run_pyspark", code("two", "one")).await;
    let (one, two) = (one.answer().await.ok(), two.answer().await.ok());
    assert_ne!(one.data("value"), two.data("value"));
    assert_eq!(place.sessions(&server).await, 2);
    server.end().await;
    place.end().await;
}

async fn one_call_more_than_sessions_waits_and_is_told_what_to_do_in_the_end(place: Place) {
    // Two sessions, and a queue that is given up soon: a cancel takes up to 4 s elsewhere.
    let wait = if place.is_local() { "1s" } else { "8s" };
    let limits = format!("sessions = 2\nqueue_wait = \"{wait}\"");
    let server = Server::without_engine(place.setup().limits(&limits)).await;
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
        format!(
            "no session of target \"{}\" became free within {wait}: 2 of 2 busy",
            place.target()
        )
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
        format!(
            "the wait for session \"a\" ended after {wait}: it runs one statement at a time and is not free yet"
        )
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
    place.end().await;
}

async fn a_session_closed_while_busy_ends_its_statement(place: Place) {
    let server = place.server().await;
    server.call("open_session", json!({"name": "a"})).await.ok();
    let (statement, worker) = server
        .launch_python(place.stubborn_python(), json!({"session": "a"}))
        .await;
    let listed = server.call("list_sessions", json!({})).await.ok();
    assert_eq!(sessions(&listed.structured), [(Some("a"), "busy")]);
    server
        .call("close_session", json!({"session": "a"}))
        .await
        .ok();
    wait_until("its process has ended", PATIENCE, || has_ended(worker)).await;
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
    place.end().await;
}

async fn a_lost_name_stays_lost_until_it_is_opened_anew(place: Place) {
    let server = place.server().await;
    server.call("open_session", json!({"name": "a"})).await.ok();
    let run = |code: &str| server.call("run_pyspark", json!({"session": "a", "code": code}));
    let use_it = || run("x = 1\nx");
    let answer = run("import os\nos.getpid()").await.ok();
    let pid = answer.data("value").unwrap().trim().parse().unwrap();
    kill(pid);
    wait_until("its process has ended", PATIENCE, || has_ended(pid)).await;
    // Any number of times: nothing rebinds it silently.
    for _ in 0..3 {
        let answer = use_it().await.failed("session_lost");
        assert!(
            answer.hint().starts_with("Call open_session(name=\"a\""),
            "{}",
            answer.text
        );
        assert!(answer.message().contains(place.killed()), "{}", answer.text);
    }
    let mut listed = server.call("list_sessions", json!({})).await.ok();
    let patience = std::time::Instant::now() + PATIENCE;
    while sessions(&listed.structured) != [(Some("a"), "lost")] {
        // Its close is being proved.
        assert_eq!(sessions(&listed.structured), [(Some("a"), "closing")]);
        assert!(std::time::Instant::now() < patience, "{}", listed.text);
        listed = server.call("list_sessions", json!({})).await.ok();
    }
    assert!(listed.text.contains(place.killed()), "{}", listed.text);
    server.works().await;
    server.call("open_session", json!({"name": "a"})).await.ok();
    assert_eq!(use_it().await.ok().data("value"), Some("1\n"));
    server.end().await;
    place.end().await;
}

async fn sessions_are_listed_with_what_they_do(place: Place) {
    let server = place.server().await;
    let none = server.call("list_sessions", json!({})).await.ok();
    assert_eq!(none.text, "no sessions\n");
    server.works().await;
    server.call("open_session", json!({"name": "b"})).await.ok();
    let (statement, _) = server
        .launch_python("while True: pass", json!({"session": "b"}))
        .await;
    let listed = server
        .call("list_sessions", json!({"target": place.target()}))
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
    place.end().await;
}

async fn owners_on_one_target_share_nothing_and_end_only_their_own(place: Place) {
    let (one, other) = (place.server().await, place.server().await);
    let run = async |server: &Server, code: &str| {
        let arguments = json!({"code": code, "session": "a"});
        server.call("run_pyspark", arguments).await
    };
    for (server, code) in [(&one, "x = 'one'"), (&other, "x = 'other'")] {
        server.call("open_session", json!({"name": "a"})).await.ok();
        run(server, code).await.ok();
    }
    assert_eq!(run(&one, "x").await.ok().data("value"), Some("'one'\n"));
    let answer = run(&other, "x").await.ok();
    assert_eq!(answer.data("value"), Some("'other'\n"));
    let statement = json!({"statement": answer.statement()});
    one.call("get_statement", statement.clone())
        .await
        .failed("not_found");
    one.call("cancel_statement", statement)
        .await
        .failed("not_found");
    let listed = one.call("list_sessions", json!({})).await.ok();
    assert_eq!(sessions(&listed.structured), [(Some("a"), "free")]);
    one.end().await;
    let answer = run(&other, "x").await.ok();
    assert_eq!(answer.data("value"), Some("'other'\n"));
    other.end().await;
    place.end().await;
}

/// Named ones are kept for their names' sake, until their owner has been silent for too long.
async fn an_unnamed_session_is_closed_when_it_was_idle_for_its_time(place: Place) {
    let setup = place.setup().limits("idle = \"1s\"");
    let server = Server::without_engine(setup).await;
    server.call("open_session", json!({"name": "a"})).await.ok();
    server.works().await;
    place.has_sessions(&server, 1).await;
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
    place.end().await;
}

async fn progress_grows_and_says_what_is_going_on(place: Place) {
    let server = place.server().await;
    let code = "import time\ntime.sleep(4)";
    let answer = server.python(code).await;
    assert!(answer.took >= Duration::from_secs(4));
    let told = server.progress();
    // The first after half a second, the next 3 s later.
    assert!(told.len() >= 2, "{told:?}");
    assert!(told.is_sorted_by(|a, b| a.0 < b.0), "{told:?}");
    assert!(told[told.len() - 1].1.starts_with("running, "), "{told:?}");
    server.end().await;
    place.end().await;
}

async fn a_figure_comes_back_as_an_image(place: Place) {
    let server = place.server().await;
    let code = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.title('a figure')";
    let answer = server.python(code).await;
    assert_eq!(answer.images.len(), 1, "{}", answer.text);
    assert_eq!(answer.images[0].0, "image/png");
    // The signature of PNG files, in base64.
    assert!(answer.images[0].1.starts_with("iVBORw0KGgo"));
    server.end().await;
    place.end().await;
}
