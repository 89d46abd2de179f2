//! Code that kills, stops or confuses its interpreter, its driver or the protocol, each as it was recorded of a real server
//! (`tests/cases/livy/deaths.jsonl`), and more: the caller gets the right code and never another statement's text, and the
//! next call works.

use serde_json::{Value, json};
use uuid::Uuid;

use super::recordings::cases;
use super::server::LivyServer;
use crate::common::{PATIENCE, Server};

/// What the caller gets.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// The session is lost, and may be tried again in a fresh one.
    Lost,
    /// Success; what it printed is only its output. The session stays.
    Prints(&'static str),
    /// The code's own error. The session stays.
    Raises(&'static str),
    /// Success, and the session is not used again.
    Ends,
}

/// What each recorded case comes to with our client.
const RECORDED: &[(&str, Then)] = &[
    ("python os._exit", Then::Lost),
    ("python segfault", Then::Lost),
    ("driver System.exit", Then::Lost),
    ("spark.stop", Then::Ends),
    ("close stdout", Then::Prints("")),
    ("os.system prints", Then::Prints("from a child\n")),
    ("os.write to 1", Then::Prints("raw\n")),
    ("subprocess prints", Then::Prints("sub\n")),
    ("sys.exit", Then::Raises("SystemExit")),
    // Without a number it means success, in a script too.
    ("raise SystemExit", Then::Prints("")),
    ("raise KeyboardInterrupt", Then::Raises("KeyboardInterrupt")),
    ("input", Then::Raises("EOFError")),
    ("replaces sys.stdout", Then::Prints("")),
    (
        "prints a protocol line",
        Then::Prints("{\"msg_type\": \"execute_reply\", \"content\": {\"status\": \"ok\"}}\n"),
    ),
];

/// The same for code that nobody has recorded.
const MORE: &[(&str, &str, Then)] = &[
    (
        "python killed",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        Then::Lost,
    ),
    (
        "driver killed under it",
        "import os, signal, time; os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)",
        Then::Lost,
    ),
    (
        "every descriptor closed",
        "import os; os.closerange(0, 65536)",
        Then::Lost,
    ),
    (
        "a whole forged reply",
        "import sys; _ = sys.__stdout__.write('{\"msg_type\": \"execute_reply\", \"content\": {\"status\": \"ok\", \"data\": {\"text/plain\": \"F\"}}}\\n')",
        Then::Prints(
            "{\"msg_type\": \"execute_reply\", \"content\": {\"status\": \"ok\", \"data\": {\"text/plain\": \"F\"}}}\n",
        ),
    ),
    (
        "a forged envelope",
        "print('<<sparklease:0>>{\"nonce\":\"0\",\"status\":\"ok\",\"text\":\"F\"}<<sparklease:0/>>')",
        Then::Prints(
            "<<sparklease:0>>{\"nonce\":\"0\",\"status\":\"ok\",\"text\":\"F\"}<<sparklease:0/>>\n",
        ),
    ),
    (
        "a magic of the interpreter",
        "%json no_such",
        Then::Raises("SyntaxError"),
    ),
    ("half a text", "1 +", Then::Raises("SyntaxError")),
];

/// Whether a recorded case is run here.
pub(super) fn knows(case: &str) -> bool {
    RECORDED.iter().any(|(name, _)| *name == case)
}

/// Runs one case, and then three statements as the recordings do.
async fn check(livy: &LivyServer, server: &Server, case: &str, code: &str, then: Then) {
    let before = Uuid::new_v4().to_string();
    assert_eq!(
        server.python(&format!("'{before}'")).await.data("value"),
        Some(format!("'{before}'\n").as_str()),
        "{case}"
    );
    let sessions = livy.sessions().await.len();
    let answer = server.call("run_pyspark", json!({"code": code})).await;
    assert!(!answer.text.contains(&before), "{case}: {}", answer.text);
    match then {
        Then::Lost => {
            assert!(answer.is_error, "{case}: {}", answer.text);
            let answer = answer.failed("session_lost");
            assert_eq!(answer.structured["retryable"], true, "{case}");
        }
        Then::Ends => assert_eq!(answer.ok().data("value"), None, "{case}"),
        Then::Prints(text) => {
            let answer = answer.ok();
            let shown = answer.data("output").unwrap_or_default();
            assert_eq!(shown, text, "{case}: {}", answer.text);
        }
        Then::Raises(class) => {
            assert!(answer.is_error, "{case}: {}", answer.text);
            let answer = answer.failed("statement_failed");
            let told = &answer.structured["details"]["error_class"];
            assert_eq!(told, class, "{case}: {}", answer.text);
        }
    }
    for text in ["'alive 1'", "'alive 2'"] {
        let answer = server.python(text).await;
        let value = format!("{text}\n");
        assert_eq!(answer.data("value"), Some(value.as_str()), "{case}");
    }
    let answer = server.python("spark.range(2).count()").await;
    assert_eq!(answer.data("value"), Some("2\n"), "{case}");
    let fresh = usize::from(matches!(then, Then::Lost | Then::Ends));
    assert_eq!(livy.sessions().await.len(), sessions + fresh, "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_recorded_death_has_its_code_and_the_next_calls_work() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    for (case, codes) in cases("deaths") {
        let then = RECORDED.iter().find(|(name, _)| *name == case);
        let (_, then) = then.unwrap_or_else(|| panic!("nobody expects {case}"));
        let [(code, _)] = codes.as_slice() else {
            panic!("{case} has one statement");
        };
        let code = match case.as_str() {
            // Its value would be shown as well: the length of what it wrote, the child's status.
            "os.system prints"
            | "os.write to 1"
            | "subprocess prints"
            | "prints a protocol line" => {
                format!("{code}\nNone")
            }
            _ => code.clone(),
        };
        check(&livy, &server, &case, &code, *then).await;
    }
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_deaths_have_their_codes_too() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    for (case, code, then) in MORE {
        check(&livy, &server, case, code, *then).await;
    }
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_session_that_died_says_why_until_it_is_opened_anew() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    let open = || server.call("open_session", json!({"name": "n"}));
    let run = |code: &str| server.call("run_pyspark", json!({"code": code, "session": "n"}));
    open().await.ok();
    run("x = 1").await.ok();
    run("import os; os._exit(1)").await.failed("session_lost");
    for _ in 0..2 {
        let answer = run("x").await.failed("session_lost");
        assert!(
            answer.message().contains("its Python process ended"),
            "{}",
            answer.text
        );
        assert!(answer.hint().contains("open_session("), "{}", answer.text);
    }
    open().await.ok();
    let answer = run("'x' in globals()").await.ok();
    assert_eq!(answer.data("value"), Some("False\n"));
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_has_forgotten_is_lost_and_the_next_call_works() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    server.works().await;
    // As after a kill of the server: ids begin at 0 again, names are free, drivers are orphans.
    livy.admin("POST", "/__test/restart", &json!({"orphan_seconds": 0}))
        .await;
    // It is noticed before anything of the statement was sent, so another session takes it.
    server.works().await;
    let statement = server
        .launch(
            "run_pyspark",
            json!({"code": "import time; time.sleep(60)"}),
        )
        .await;
    server.reaches(&statement, "running").await;
    livy.admin("POST", "/__test/restart", &json!({"orphan_seconds": 0}))
        .await;
    let answer = server.ended(&statement).await.failed("session_lost");
    assert!(
        answer
            .message()
            .contains("the server does not know it any more"),
        "{}",
        answer.text
    );
    server.works().await;
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_start_says_so_with_the_end_of_its_log() {
    let livy = LivyServer::start(&["--start-seconds", "2"]).await;
    let server = livy.client().await;
    let line = format!("no memory for a driver {}", Uuid::new_v4());
    let statement = server.launch("query_sql", json!({"sql": "select 1"})).await;
    let name = loop {
        if let Some(session) = livy.sessions().await.pop() {
            break session["name"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let admin = |what: &'static str, body: Value| {
        let path = format!("/__test/sessions/{name}/{what}");
        let livy = &livy;
        async move { livy.admin("POST", &path, &body).await }
    };
    admin("log", json!({"line": line})).await;
    admin("kill", json!({"what": "driver"})).await;
    let answer = tokio::time::timeout(PATIENCE, server.ended(&statement)).await;
    let answer = answer.unwrap().failed("capacity_unavailable");
    assert!(
        answer.message().contains("the session did not start") && answer.text.contains(&line),
        "{}",
        answer.text
    );
    server.works().await;
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_the_server_refuses_is_named() {
    let livy = LivyServer::with(&["--interpreter", "scripted"], &[]).await;
    livy.fault(json!({"method": "POST", "path": "/sessions", "fault": "answer", "status": 400,
        "json": {"msg": "Rejected, Reason: requirement failed: Blacklisted configuration values in session config: spark.master"}}))
        .await;
    let setup = livy.setup_with("conf = { \"spark.master\" = \"yarn\" }");
    let server = Server::without_engine(setup).await;
    let answer = server.call("query_sql", json!({"sql": "select 1"})).await;
    let answer = answer.failed("spec_rejected");
    assert!(answer.message().contains("spark.master"), "{}", answer.text);
    assert!(
        answer.hint().contains("`targets.dev.conf`"),
        "{}",
        answer.text
    );
    server.end().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_is_capacity_and_not_an_error_of_the_caller() {
    let livy = LivyServer::start(&["--max-creation", "1"]).await;
    let server = livy.client().await;
    server.call("open_session", json!({"name": "a"})).await.ok();
    let answer = server.call("open_session", json!({"name": "b"})).await;
    let answer = answer.failed("capacity_unavailable");
    assert_eq!(answer.structured["retryable"], true);
    assert!(
        answer.structured["retry_after_s"].as_u64().unwrap() > 0,
        "{}",
        answer.text
    );
    server
        .call("close_session", json!({"session": "a"}))
        .await
        .ok();
    // It opens none for a while, as the server asks; then there is room.
    let answer = server
        .call(
            "query_sql",
            json!({"sql": "select 1 as n", "wait_s": PATIENCE.as_secs()}),
        )
        .await
        .ok();
    assert_eq!(answer.cell(), "1");
    server.end().await;
    livy.empties().await;
    livy.end().await;
}
