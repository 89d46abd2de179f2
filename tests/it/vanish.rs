//! Ends: the client closes its pipes or is killed in each state, the server is told to end or is killed. Nothing is
//! left, in time.

use std::time::Duration;

use rstest::rstest;
use rustix::process::Signal;
use serde_json::json;

use crate::common::{
    ENDLESS_SQL, GONE_WITHIN, PATIENCE, Raw, Server, Setup, cpu_time, group_of, kill, signal,
    wait_until,
};

/// What the server is doing when its client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    NotGreetedYet,
    Nothing,
    Queueing,
    Opening,
    Sql,
    PythonThatHoldsTheInterpreter,
    Cancelling,
    KeepingASession,
}

/// How its client goes.
#[derive(Clone, Copy, Debug)]
enum Going {
    ClosesInput,
    IsKilled,
}

/// Python that first says that it runs.
fn announced(code: &str) -> serde_json::Value {
    json!({"code": format!("open('runs', 'w').close()\n{code}")})
}

async fn runs(raw: &Raw) {
    let file = raw.process.work().join("runs");
    wait_until("the Python code runs", PATIENCE, || file.exists()).await;
}

/// Brings a server into this state.
async fn server_that_is(doing: Doing) -> Raw {
    // With a spare, since that is how servers are; the queue needs a limit that is reached.
    let sessions = if doing == Doing::Queueing { 1 } else { 4 };
    let setup = Setup::new().config("").sessions(sessions);
    if doing == Doing::NotGreetedYet {
        return Raw::start(&setup);
    }
    if doing != Doing::Nothing {
        // The engine is installed.
        Server::start().await.end().await;
    }
    let mut raw = Raw::greeted(&setup).await;
    match doing {
        Doing::NotGreetedYet | Doing::Nothing => {}
        Doing::Queueing => {
            let loops = announced("while True: pass");
            raw.launch("first", "run_pyspark", loops).await;
            runs(&raw).await;
            let second = raw
                .launch("second", "query_sql", json!({"sql": "select 1"}))
                .await;
            raw.says(&second, "queued for").await;
        }
        Doing::Opening => {
            raw.begin("call", "query_sql", json!({"sql": "select 1"}))
                .await;
            wait_until("a worker starts", PATIENCE, || {
                !raw.process.workers().is_empty()
            })
            .await;
        }
        Doing::Sql => {
            let statement = raw
                .launch("call", "query_sql", json!({"sql": ENDLESS_SQL}))
                .await;
            raw.says(&statement, "running for").await;
            wait_until("the engine works on it", PATIENCE, || {
                let all = raw.process.workers();
                all.iter().any(|w| cpu_time(*w) > Duration::from_secs(1))
            })
            .await;
        }
        Doing::PythonThatHoldsTheInterpreter => {
            // Not launched but called: the client is waiting for the answer when it goes.
            let sum = announced("sum(range(10**11))");
            raw.begin("call", "run_pyspark", sum).await;
            runs(&raw).await;
        }
        Doing::Cancelling => {
            let sum = announced("sum(range(10**11))");
            let statement = raw.launch("call", "run_pyspark", sum).await;
            runs(&raw).await;
            raw.begin(
                "cancel",
                "cancel_statement",
                json!({"statement": statement}),
            )
            .await;
            raw.says(&statement, "being cancelled").await;
        }
        Doing::KeepingASession => {
            raw.call("open", "open_session", json!({"name": "a"})).await;
            let result = raw
                .call(
                    "call",
                    "run_pyspark",
                    json!({"session": "a", "code": "x = 1"}),
                )
                .await;
            assert_eq!(result["isError"], false, "{result}");
        }
    }
    raw
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_leaves_nothing(
    #[values(
        Doing::NotGreetedYet,
        Doing::Nothing,
        Doing::Queueing,
        Doing::Opening,
        Doing::Sql,
        Doing::PythonThatHoldsTheInterpreter,
        Doing::Cancelling,
        Doing::KeepingASession
    )]
    doing: Doing,
    #[values(Going::ClosesInput, Going::IsKilled)] going: Going,
) {
    let mut raw = server_that_is(doing).await;
    match going {
        Going::ClosesInput => raw.close_input(),
        Going::IsKilled => raw.vanish().await,
    }
    let status = raw.process.gone_within(GONE_WITHIN).await;
    assert!(
        status.success(),
        "{status}; its log:\n{}",
        raw.process.log()
    );
    assert_eq!(
        std::fs::read_dir(raw.process.home().join("data/scratch")).map_or(0, |entries| entries
            .flatten()
            .filter(|e| e.path().is_dir())
            .count()),
        0,
        "nothing is left in its data folder"
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_end_leaves_nothing(
    #[values(Signal::TERM, Signal::INT, Signal::HUP)] told: Signal,
    #[values(Doing::Nothing, Doing::PythonThatHoldsTheInterpreter)] doing: Doing,
) {
    let mut raw = server_that_is(doing).await;
    signal(raw.process.pid(), told);
    let status = raw.process.gone_within(GONE_WITHIN).await;
    assert!(
        status.success(),
        "{status}; its log:\n{}",
        raw.process.log()
    );
}

/// A thread that watches its parent would need the interpreter for it; the kernel does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_s_workers_are_gone_within_a_second() {
    let mut raw = server_that_is(Doing::PythonThatHoldsTheInterpreter).await;
    wait_until("there is a spare too", PATIENCE, || {
        raw.process.workers().len() == 2
    })
    .await;
    for worker in raw.process.workers() {
        assert_eq!(
            group_of(worker),
            Some(worker),
            "each has a group of its own"
        );
    }
    kill(raw.process.pid());
    let status = raw.process.gone_within(Duration::from_secs(1)).await;
    assert!(!status.success());
}

/// `printf … | sparklease mcp` gets its answers.
#[tokio::test(flavor = "multi_thread")]
async fn input_that_ends_after_a_call_is_answered_first() {
    let server = Server::start().await;
    server.end().await;
    let mut raw = Raw::greeted(&Setup::new()).await;
    raw.begin("list", "list_sessions", json!({})).await;
    raw.close_input();
    let output = raw.whole_output().await;
    let output = String::from_utf8(output).unwrap();
    assert!(output.contains("no sessions"), "{output}");
    raw.process.gone_within(GONE_WITHIN).await;
}
