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

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_trusted_only_where_the_configuration_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let paths = [&certificate, &key].map(|path| path.to_str().unwrap().to_owned());
    let livy = LivyServer::with(
        &[
            "--engine",
            "sail",
            "--tls-cert",
            &paths[0],
            "--tls-key",
            &paths[1],
        ],
        &[],
    )
    .await;
    let port = livy
        .url
        .rsplit(':')
        .next()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    let setup = |scheme: &str, more: &str| {
        Setup::new().config(&format!(
            "default_target = \"dev\"\n[targets.dev]\nplatform = \"livy\"\naccess = \"read-write\"\nurl = \"{scheme}://localhost:{port}\"\n{more}\n"
        ))
    };
    let (message, hint) = refused(setup("https", ""), "configuration_invalid").await;
    assert!(
        message.contains("is not trusted: it is self-signed"),
        "{message}"
    );
    assert!(hint.contains("`targets.dev.ca_file`"), "{hint}");
    let (_, hint) = refused(setup("http", ""), "platform_unavailable").await;
    assert!(hint.contains("https://"), "{hint}");
    let server =
        Server::without_engine(setup("https", &format!("ca_file = \"{}\"", paths[0]))).await;
    server.works().await;
    server.end().await;
    livy.end().await;
}

/// What `doctor` says of the target, and whether all is well.
async fn doctor(url: &str) -> (bool, String) {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config.toml");
    let text =
        format!("[targets.dev]\nplatform = \"livy\"\naccess = \"read-only\"\nurl = \"{url}\"\n");
    std::fs::write(&config, text).unwrap();
    let ran = tokio::process::Command::new(env!("CARGO_BIN_EXE_sparklease"))
        .args(["doctor", "--target", "dev"])
        .env("SPARKLEASE_CONFIG", &config)
        .env("SPARKLEASE_DATA_DIR", home.path().join("data"))
        .env("SPARKLEASE_CACHE_DIR", crate::common::cache())
        .output()
        .await
        .unwrap();
    (ran.status.success(), String::from_utf8(ran.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_version_backstop_and_what_is_wrong() {
    let livy = LivyServer::with(&["--interpreter", "scripted"], &[]).await;
    let (well, said) = doctor(&livy.url).await;
    assert!(well, "{said}");
    assert!(
        said.contains("target dev: Apache Livy 0.9.0-incubating answers after"),
        "{said}"
    );
    assert!(
        said.contains("the server itself ends one within 3m of our last word"),
        "{said}"
    );
    assert_eq!(livy.listed().await, 0, "it opens nothing");
    let url = livy.url.clone();
    livy.end().await;
    let (well, said) = doctor(&url).await;
    assert!(!well, "{said}");
    assert!(
        said.contains("FAIL  target dev: nothing listens at"),
        "{said}"
    );
    assert!(said.contains("`targets.dev.url`"), "{said}");
}
