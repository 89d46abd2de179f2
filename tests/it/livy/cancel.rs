//! Cancels, each as it was recorded of a real server (`tests/cases/livy/cancel.jsonl`), and more: the statement is cancelled,
//! nothing of it runs on, and the next call works. Spark's work stops and its session stays; Python cannot be stopped by
//! a Livy server, so its session is given up.

use std::time::Duration;

use serde_json::{Value, json};

use super::recordings::cases;
use super::server::LivyServer;
use crate::common::Server;

/// What becomes of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    Stays,
    GivenUp,
}

/// Spark's work has 2 s to stop, or its session is given up; on a machine that is busy it may not get them at once.
const TRIES: usize = 3;

/// Cases whose one statement is cancelled while it runs, with code that stands for the recorded one where the test server
/// lacks what that needs.
const RUNNING: &[(&str, Option<&str>, Session)] = &[
    ("sleep", None, Session::GivenUp),
    ("loop", None, Session::GivenUp),
    // Without a JVM there are no RDDs: a function of Python in a job of Spark, as there.
    (
        "spark job",
        Some(
            "def slow(batches):\n    import time\n    time.sleep(20)\n    yield from batches\n\
             spark.range(4).mapInPandas(slow, 'id long').collect()",
        ),
        Session::Stays,
    ),
    ("spark sql", None, Session::Stays),
    ("catching", None, Session::GivenUp),
];

/// Cases with tests of their own below.
const APART: &[&str] = &[
    "open",
    "open again",
    "cancel a waiting one",
    "cancel a finished one",
];

/// Whether a recorded case is run here.
pub(super) fn knows(case: &str) -> bool {
    APART.contains(&case) || RUNNING.iter().any(|(name, _, _)| *name == case)
}

/// Cancels a statement while it runs, sees that the next call works, and says what became of the session.
async fn cancelled(livy: &LivyServer, server: &Server, tool: &str, arguments: Value) -> Session {
    let before = livy.sessions().await.len();
    let statement = server.launch(tool, arguments).await;
    server.reaches(&statement, "running").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answer = server
        .call("cancel_statement", json!({"statement": statement}))
        .await
        .ok();
    assert_eq!(answer.status(), "cancelled", "{}", answer.text);
    let answer = server.python("'alive'").await;
    assert_eq!(answer.data("value"), Some("'alive'\n"));
    // What the statement gave later belongs to nobody.
    let later = server.ended(&statement).await;
    assert_eq!(later.status(), "cancelled", "{}", later.text);
    assert!(!later.text.contains("caught"), "{}", later.text);
    match livy.sessions().await.len() - before {
        0 => Session::Stays,
        1 => Session::GivenUp,
        more => panic!("{more} sessions for one statement"),
    }
}

/// Cancels until the session is what it must be: at once where it is given up, in one of [`TRIES`] where it stays.
async fn expect(
    livy: &LivyServer,
    server: &Server,
    tool: &str,
    arguments: &Value,
    session: Session,
    case: &str,
) {
    for turn in 1..=TRIES {
        let became = cancelled(livy, server, tool, arguments.clone()).await;
        if became == session {
            return;
        }
        let may_be_slow = session == Session::Stays && turn < TRIES;
        assert!(may_be_slow, "{case}: {became:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_recorded_cancel_stops_the_statement_and_the_next_call_works() {
    let livy = LivyServer::start(&["--shutdown-timeout", "2"]).await;
    let server = livy.client().await;
    server.python("1").await;
    for (case, codes) in cases("cancel") {
        let Some((_, instead, session)) = RUNNING.iter().find(|(name, _, _)| *name == case) else {
            assert!(APART.contains(&case.as_str()), "nobody expects {case}");
            continue;
        };
        let code = instead.map_or_else(|| codes[0].0.clone(), str::to_owned);
        let arguments = json!({"code": code});
        expect(&livy, &server, "run_pyspark", &arguments, *session, &case).await;
    }
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_statement_that_is_cancelled_never_runs() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    server.call("open_session", json!({"name": "n"})).await.ok();
    let code = |code: &str| json!({"code": code, "session": "n"});
    let first = server
        .launch("run_pyspark", code("import time; time.sleep(3)"))
        .await;
    server.reaches(&first, "running").await;
    let second = server.launch("run_pyspark", code("waited = True")).await;
    let answer = server
        .call("cancel_statement", json!({"statement": second}))
        .await
        .ok();
    assert_eq!(answer.status(), "cancelled", "{}", answer.text);
    assert_eq!(server.ended(&first).await.status(), "succeeded");
    let answer = server.call("run_pyspark", code("'waited' in globals()"));
    assert_eq!(answer.await.ok().data("value"), Some("False\n"));
    assert_eq!(livy.sessions().await.len(), 1);
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_statement_keeps_its_result_when_it_is_cancelled() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    let answer = server.python("5").await;
    let statement = answer.statement().to_owned();
    let answer = server
        .call("cancel_statement", json!({"statement": statement}))
        .await;
    assert!(
        answer.is_error || answer.status() == "succeeded",
        "{}",
        answer.text
    );
    let answer = server.ended(&statement).await.ok();
    assert_eq!(answer.data("value"), Some("5\n"));
    server.works().await;
    assert_eq!(livy.sessions().await.len(), 1);
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_query_stops_and_keeps_its_session() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    server.python("1").await;
    // Hours of work that the engine lets go within milliseconds, also on a machine that is busy.
    let sql = json!({"sql": "select sum(id % 7) from range(100000000000000)"});
    expect(&livy, &server, "query_sql", &sql, Session::Stays, "query").await;
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_python_that_does_not_stop_loses_its_session_and_leaves_no_process() {
    let livy = LivyServer::start(&["--shutdown-timeout", "2"]).await;
    let server = livy.client().await;
    server.python("1").await;
    let code = "import subprocess\nsubprocess.Popen(['sleep', '600'])\nwhile True:\n    pass";
    let arguments = json!({"code": code});
    expect(
        &livy,
        &server,
        "run_pyspark",
        &arguments,
        Session::GivenUp,
        "child",
    )
    .await;
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_cancelled_while_its_session_starts_leaves_no_session() {
    let livy = LivyServer::start(&["--start-seconds", "3"]).await;
    let server = livy.client().await;
    let pending = server.begin("query_sql", json!({"sql": "select 1"})).await;
    let created = async {
        while livy.sessions().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::common::PATIENCE, created)
        .await
        .unwrap();
    pending.cancel().await;
    server.end().await;
    livy.empties().await;
    livy.end().await;
}
