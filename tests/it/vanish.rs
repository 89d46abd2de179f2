//! Ends: the client closes its pipes or is killed in each state, the server is told to end or is killed. Nothing is
//! left, in time.

use std::time::Duration;

use rstest::rstest;
use rustix::process::Signal;
use serde_json::json;

use crate::common::{
    ENDLESS_SQL, GONE_WITHIN, PATIENCE, Place, Raw, Server, Setup, cpu_time, group_of, kill,
    signal, wait_until,
};

/// What the server is doing when its client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    NotGreetedYet,
    Nothing,
    Queueing,
    Opening,
    Sql,
    StubbornPython,
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
fn announced(raw: &Raw, code: &str) -> serde_json::Value {
    let file = raw.process.work().join("runs");
    json!({"code": format!("open('{}', 'w').close()\n{code}", file.display())})
}

async fn runs(raw: &Raw) {
    let file = raw.process.work().join("runs");
    wait_until("the Python code runs", PATIENCE, || file.exists()).await;
}

/// Brings a server into this state.
async fn server_that_is(place: &Place, doing: Doing) -> Raw {
    // With a spare, since that is how servers are; the queue needs a limit that is reached.
    let sessions = if doing == Doing::Queueing { 1 } else { 4 };
    let setup = place.setup().spare().sessions(sessions);
    if doing == Doing::NotGreetedYet {
        return Raw::start(&setup);
    }
    let mut raw = Raw::greeted(&setup).await;
    match doing {
        Doing::NotGreetedYet | Doing::Nothing => {}
        Doing::Queueing => {
            let loops = announced(&raw, "while True: pass");
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
            place.has_sessions(&raw.process, 1).await;
        }
        Doing::Sql => {
            let statement = raw
                .launch("call", "query_sql", json!({"sql": ENDLESS_SQL}))
                .await;
            raw.says(&statement, "running for").await;
            if place.is_local() {
                wait_until("the engine works on it", PATIENCE, || {
                    let all = raw.process.workers();
                    all.iter().any(|w| cpu_time(*w) > Duration::from_secs(1))
                })
                .await;
            }
        }
        Doing::StubbornPython => {
            // Not launched but called: the client is waiting for the answer when it goes.
            let sum = announced(&raw, place.stubborn_python());
            raw.begin("call", "run_pyspark", sum).await;
            runs(&raw).await;
        }
        Doing::Cancelling => {
            let sum = announced(&raw, place.stubborn_python());
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
        Doing::StubbornPython,
        Doing::Cancelling,
        Doing::KeepingASession
    )]
    doing: Doing,
    #[values(Going::ClosesInput, Going::IsKilled)] going: Going,
) {
    goes(Place::local().await, doing, going).await;
}

#[rstest]
#[case(Doing::Nothing, Going::ClosesInput)]
#[case(Doing::Queueing, Going::IsKilled)]
#[case(Doing::Opening, Going::ClosesInput)]
#[case(Doing::Opening, Going::IsKilled)]
#[case(Doing::Sql, Going::IsKilled)]
#[case(Doing::StubbornPython, Going::ClosesInput)]
#[case(Doing::Cancelling, Going::IsKilled)]
#[case(Doing::KeepingASession, Going::ClosesInput)]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_leaves_no_session_on_livy(#[case] doing: Doing, #[case] going: Going) {
    goes(Place::livy().await, doing, going).await;
}

#[rstest]
#[case(Doing::Opening, Going::IsKilled)]
#[case(Doing::KeepingASession, Going::ClosesInput)]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_leaves_no_session_where_answers_are_lost(
    #[case] doing: Doing,
    #[case] going: Going,
) {
    goes(Place::faulty().await, doing, going).await;
}

#[rstest]
#[case(Doing::Opening, Going::ClosesInput)]
#[case(Doing::StubbornPython, Going::IsKilled)]
#[ignore = "takes a real Livy server: SPARKLEASE_TEST_LIVY_URL names it"]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_leaves_no_session_on_a_real_server(
    #[case] doing: Doing,
    #[case] going: Going,
) {
    goes(Place::real().await, doing, going).await;
}

async fn goes(place: Place, doing: Doing, going: Going) {
    let mut raw = server_that_is(&place, doing).await;
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
    place.end().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_end_leaves_nothing(
    #[values(Signal::TERM, Signal::INT, Signal::HUP)] told: Signal,
    #[values(Doing::Nothing, Doing::StubbornPython)] doing: Doing,
) {
    is_told(Place::local().await, told, doing).await;
}

#[rstest]
#[case(Signal::TERM, Doing::StubbornPython)]
#[case(Signal::INT, Doing::KeepingASession)]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_end_leaves_no_session_on_livy(
    #[case] told: Signal,
    #[case] doing: Doing,
) {
    is_told(Place::livy().await, told, doing).await;
}

async fn is_told(place: Place, told: Signal, doing: Doing) {
    let mut raw = server_that_is(&place, doing).await;
    signal(raw.process.pid(), told);
    let status = raw.process.gone_within(GONE_WITHIN).await;
    assert!(
        status.success(),
        "{status}; its log:\n{}",
        raw.process.log()
    );
    place.end().await;
}

/// What it cannot do any more, its guardian does.
#[rstest]
#[case(Doing::KeepingASession)]
#[case(Doing::StubbornPython)]
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_no_session_on_livy(#[case] doing: Doing) {
    let place = Place::livy().await;
    let mut raw = server_that_is(&place, doing).await;
    kill(raw.process.pid());
    let status = raw.process.gone_within(GONE_WITHIN).await;
    assert!(!status.success());
    place.end().await;
}

/// A thread that watches its parent would need the interpreter for it; the kernel does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_s_workers_are_gone_within_a_second() {
    let place = Place::local().await;
    let mut raw = server_that_is(&place, Doing::StubbornPython).await;
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
