//! A wrong address, a wrong sign-in, a server that is none: the tools and `doctor` name the cause and the setting.

use serde_json::json;
use uuid::Uuid;

use super::server::LivyServer;
use crate::common::{Server, Setup};

async fn refused(setup: Setup, code: &str) -> (String, String) {
    let server = Server::without_engine(setup).await;
    let answer = server
        .call("query_sql", json!({"sql": "select 1"}))
        .await
        .failed(code);
    let words = (answer.message().to_owned(), answer.hint().to_owned());
    server.end().await;
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_shown_nowhere() {
    let (right, wrong) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let livy = LivyServer::with(
        &["--interpreter", "scripted", "--auth", "basic"],
        &[("LIVY_TEST_SECRET", &format!("ann:{right}"))],
    )
    .await;
    // The server repeats what it was sent.
    livy.fault(json!({
        "fault": "answer", "status": 401, "times": 0, "path": "/.*",
        "json": {"msg": format!("no entry with {wrong}")},
    }))
    .await;
    let setup = livy
        .setup_with("auth = \"basic\"\nuser = \"ann\"")
        .variable("SPARKLEASE__TARGETS__DEV__SECRET", &wrong);
    let server = Server::without_engine(setup).await;
    let answer = server
        .call("query_sql", json!({"sql": "select 1"}))
        .await
        .failed("unauthenticated");
    assert!(
        answer.hint().contains("`targets.dev.auth`"),
        "{}",
        answer.text
    );
    let all = format!("{} {} {}", answer.text, answer.structured, server.log());
    assert!(!all.contains(&wrong), "{all}");
    server.end().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_and_headers_open_the_door() {
    let (token, key) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let livy = LivyServer::with(
        &[
            "--engine",
            "sail",
            "--csrf",
            "--auth",
            "bearer",
            "--base-path",
            "/gateway/livy",
            "--require-header",
            &format!("X-Key={key}"),
        ],
        &[("LIVY_TEST_SECRET", &token)],
    )
    .await;
    let setup = livy
        .setup_with(&format!(
            "auth = \"bearer\"\nheaders = {{ X-Key = \"{key}\" }}"
        ))
        .variable("SPARKLEASE__TARGETS__DEV__SECRET", &token);
    let server = Server::without_engine(setup).await;
    server.works().await;
    // Planted by the code itself, as it could read it from a file of the cluster.
    let answer = server.python(&format!("print('{token} {key}')")).await;
    assert!(
        !answer.text.contains(&token) && !answer.text.contains(&key),
        "{}",
        answer.text
    );
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_redirects_or_is_no_livy_or_is_not_there_is_named() {
    let livy = LivyServer::with(&["--interpreter", "scripted"], &[]).await;
    livy.fault(json!({
        "fault": "answer", "status": 301, "times": 0, "path": "/.*",
        "headers": {"Location": "https://livy.example/"},
    }))
    .await;
    let (message, hint) = refused(livy.setup(), "configuration_invalid").await;
    assert!(
        message.contains("redirects to https://livy.example/"),
        "{message}"
    );
    assert!(hint.contains("`targets.dev.url`"), "{hint}");
    livy.admin("DELETE", "/__test/faults", &json!(null)).await;
    livy.fault(json!({
        "fault": "answer", "status": 200, "times": 0, "path": "/.*",
        "text": "<html><title>Welcome to nginx</title></html>",
    }))
    .await;
    let (message, hint) = refused(livy.setup(), "configuration_invalid").await;
    assert!(
        message.contains("is no Livy server (status 200): Welcome to nginx"),
        "{message}"
    );
    assert!(hint.contains("`targets.dev.url`"), "{hint}");
    let setup = livy.setup();
    livy.end().await;
    let (message, hint) = refused(setup, "platform_unavailable").await;
    assert!(
        message.starts_with("nothing listens at http://127.0.0.1:"),
        "{message}"
    );
    assert!(hint.contains("`targets.dev.url`"), "{hint}");
}
