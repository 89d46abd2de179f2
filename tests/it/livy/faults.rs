//! What is left behind in a session, sessions that die while idle, deletes under work, answers that are lost or late: nothing
//! of it reaches a caller as a result, and the next call works.

use std::time::Duration;

use serde_json::{Value, json};

use super::server::LivyServer;
use crate::common::{Answer, Server};

async fn ran(server: &Server, code: &str) -> Answer {
    server.call("run_pyspark", json!({"code": code})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_behind_and_writes_later_cannot_shift_an_answer() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    for code in [
        "import threading, time, os\ndef late():\n    for _ in range(20):\n        time.sleep(0.02); os.write(1, b'late\\n'); print('late')\nthreading.Thread(target=late).start()",
        "import subprocess; _ = subprocess.Popen(['sh', '-c', 'for i in 1 2 3 4 5; do sleep 0.05; echo late; done'])",
        "import os; os.close(1); os.close(2); os.close(0)",
        "import sys, io; sys.stdout = io.StringIO(); sys.stderr = None",
        "import base64, os; base64.b64decode = os.dup2 = None",
    ] {
        ran(&server, code).await.ok();
        for _ in 0..5 {
            server.works().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_spark_session_is_not_used_again() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    ran(&server, "spark.stop()").await.ok();
    server.works().await;
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_died_while_idle_is_replaced_without_a_word() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    server.works().await;
    for what in ["python", "driver"] {
        let session = livy.sessions().await.pop().unwrap();
        let path = format!(
            "/__test/sessions/{}/kill",
            session["name"].as_str().unwrap()
        );
        livy.admin("POST", &path, &json!({"what": what})).await;
        if what == "driver" {
            let dead = async {
                while livy.sessions().await.pop().unwrap()["state"] != "dead" {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::time::timeout(crate::common::PATIENCE, dead)
                .await
                .unwrap();
            server.works().await;
        } else {
            // The server notices a dead interpreter at the next statement only: that one is lost.
            ran(&server, "1").await.failed("session_lost");
            server.works().await;
        }
    }
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_closed_while_python_runs_leaves_no_process() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    server
        .call("open_session", json!({"name": "busy"}))
        .await
        .ok();
    let statement = server
        .launch(
            "run_pyspark",
            json!({"code": "while True: pass", "session": "busy"}),
        )
        .await;
    server.reaches(&statement, "running").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    server
        .call("close_session", json!({"session": "busy"}))
        .await
        .ok();
    livy.empties_within(Duration::from_secs(20)).await;
    server.end().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_lost_late_or_wrong_harm_nothing() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    // A lost answer to the create: the session is found by its name, and there is one.
    livy.fault(json!({"method": "POST", "path": "/sessions", "fault": "lose_reply"}))
        .await;
    server.works().await;
    assert_eq!(livy.sessions().await.len(), 1);
    // Polls that are lost, late, or answered by a proxy.
    for fault in [
        json!({"fault": "lose_reply"}),
        json!({"fault": "answer", "status": 502, "text": "<html><title>Bad Gateway</title></html>"}),
        json!({"fault": "delay_reply", "seconds": 0.5}),
        json!({"fault": "cut", "length": 20}),
    ] {
        let mut rule = fault;
        rule["method"] = json!("GET");
        rule["path"] = json!(".*/statements/.*");
        livy.fault(rule.clone()).await;
        let answer = ran(&server, "import time; time.sleep(0.3)\n'right'")
            .await
            .ok();
        assert_eq!(answer.data("value"), Some("'right'\n"), "{rule}");
        livy.admin("DELETE", "/__test/faults", &Value::Null).await;
    }
    assert_eq!(livy.sessions().await.len(), 1);
    // The answer to a statement's POST is lost: it may have run, so it is not sent again.
    livy.fault(json!({"method": "POST", "path": ".*/statements", "fault": "lose_reply"}))
        .await;
    let answer = ran(&server, "1").await.failed("session_lost");
    assert!(
        answer
            .message()
            .contains("nothing is known of how far it came"),
        "{}",
        answer.text
    );
    server.works().await;
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_ahead_of_its_output_is_looked_at_again() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    server.sql("select 1").await;
    livy.fault(json!({
        "method": "GET", "path": ".*/statements/[0-9]+", "times": 2,
        "fault": "state_word", "word": "available",
    }))
    .await;
    let answer = ran(&server, "import time; time.sleep(1)\n6 * 7").await.ok();
    assert_eq!(answer.data("value"), Some("42\n"));
    assert_eq!(livy.sessions().await.len(), 1);
    server.end().await;
    livy.empties().await;
    livy.end().await;
}
