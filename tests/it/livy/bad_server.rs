//! A wrong address, a wrong sign-in, a server that is none: the tools and `doctor` name the cause and the setting.

use std::path::Path;

use serde_json::{Value, json};
use uuid::Uuid;

use super::server::LivyServer;
use crate::common::{Server, Setup, cache};

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

/// What `doctor` says of the target `dev`, and whether all is well.
async fn doctor(config: &str, variables: &[(&str, &str)]) -> (bool, String) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.toml");
    std::fs::write(&file, config).unwrap();
    let ran = tokio::process::Command::new(env!("CARGO_BIN_EXE_sparklease"))
        .args(["doctor", "--target", "dev"])
        .env("SPARKLEASE_CONFIG", &file)
        .env("SPARKLEASE_DATA_DIR", home.path().join("data"))
        .env("SPARKLEASE_CACHE_DIR", cache())
        .envs(variables.iter().copied())
        .output()
        .await
        .unwrap();
    assert!(
        !home.path().join("data").exists(),
        "doctor makes nothing that stays"
    );
    let text = String::from_utf8(ran.stdout).unwrap() + &String::from_utf8(ran.stderr).unwrap();
    let config = file.to_str().unwrap();
    (ran.status.success(), text.replace(config, "CONFIG"))
}

/// A target at this address.
fn target(url: &str, more: &str) -> String {
    format!(
        "default_target = \"dev\"\n[targets.dev]\nplatform = \"livy\"\naccess = \"read-write\"\nurl = \"{url}\"\n{more}\n"
    )
}

/// What a query and `doctor` say of a configuration, in which something is wrong: each must name the same.
async fn said(config: &str, variables: &[(&str, &str)]) -> String {
    let setup = variables
        .iter()
        .fold(Setup::new().config(config), |setup, (name, value)| {
            setup.variable(name, value)
        });
    let server = Server::without_engine(setup).await;
    let answer = server
        .call("query_sql", json!({"sql": "select 1", "wait_s": 60}))
        .await;
    assert!(answer.is_error, "{}", answer.text);
    server.end().await;
    let (well, told) = doctor(config, variables).await;
    assert!(!well, "{told}");
    let failed: Vec<&str> = told
        .lines()
        .filter_map(|line| line.strip_prefix("FAIL  target dev: "))
        .collect();
    let [told] = failed.as_slice() else {
        panic!("one failure: {told}");
    };
    let code = answer.structured["code"].as_str().unwrap();
    let by_tool = format!("{} -> {}", answer.message(), answer.hint());
    if by_tool == **told {
        format!("{code}: {by_tool}")
    } else {
        format!("{code}: {by_tool}\n  doctor: {told}")
    }
}

/// The address with a word for its port, which is another one each time.
fn stable(text: &str, port: &str) -> String {
    text.replace(port, "PORT")
}

fn port_of(livy: &LivyServer) -> String {
    livy.url.rsplit(':').next().unwrap().to_owned()
}

async fn answers(livy: &LivyServer, rule: Value) {
    livy.admin("DELETE", "/__test/faults", &Value::Null).await;
    let mut whole = json!({"fault": "answer", "times": 0, "path": "/.*"});
    whole
        .as_object_mut()
        .unwrap()
        .extend(rule.as_object().unwrap().clone());
    livy.fault(whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_host_and_a_wrong_port_are_named() {
    // Where a proxy stands before everything, it is the one who does not know the host.
    let direct = [
        ("HTTP_PROXY", ""),
        ("HTTPS_PROXY", ""),
        ("http_proxy", ""),
        ("https_proxy", ""),
        ("NO_PROXY", "*"),
    ];
    let host = said(&target("http://livy.invalid:8998", ""), &direct).await;
    insta::assert_snapshot!(host, @r#"platform_unavailable: the host of http://livy.invalid:8998 is not known -> Correct `targets.dev.url`, or join the network that knows the host."#);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let nobody = said(&target(&format!("http://127.0.0.1:{port}"), ""), &[]).await;
    insta::assert_snapshot!(stable(&nobody, &port), @r#"platform_unavailable: nothing listens at http://127.0.0.1:PORT -> Start the server, or correct `targets.dev.url`."#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_path_is_named() {
    let livy = LivyServer::with(&["--interpreter", "scripted", "--base-path", "/livy"], &[]).await;
    let port = port_of(&livy).trim_end_matches("/livy").to_owned();
    let mut all = Vec::new();
    for path in ["", "/wrong", "/livy/ui"] {
        let url = format!("http://127.0.0.1:{port}{path}");
        all.push(stable(&said(&target(&url, ""), &[]).await, &port));
    }
    insta::assert_snapshot!(all.join("\n"), @r#"
    configuration_invalid: http://127.0.0.1:PORT is no Livy server (status 404): Error 404 Not Found -> Set `targets.dev.url` to the address below which /sessions is, with a gateway's path if there is one.
    configuration_invalid: http://127.0.0.1:PORT/wrong is no Livy server (status 404): Error 404 Not Found -> Set `targets.dev.url` to the address below which /sessions is, with a gateway's path if there is one.
    configuration_invalid: http://127.0.0.1:PORT/livy/ui is no Livy server (status 200) -> Set `targets.dev.url` to the address below which /sessions is, with a gateway's path if there is one.
    "#);
    assert_eq!(livy.sessions().await.len(), 0);
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_livy_server_is_named() {
    let livy = LivyServer::with(&["--interpreter", "scripted"], &[]).await;
    let port = port_of(&livy);
    let mut all = Vec::new();
    for (what, rule) in [
        (
            "a page",
            json!({"status": 200, "text": "<html><title>Welcome to nginx</title></html>"}),
        ),
        (
            "a page that is not found",
            json!({"status": 404, "text": "<html><title>404 Not Found</title></html>"}),
        ),
        (
            "another service's JSON",
            json!({"status": 200, "json": {"hello": "world"}}),
        ),
        (
            "another service's refusal",
            json!({"status": 404, "json": {"error": "no route"}}),
        ),
        ("a list", json!({"status": 200, "json": []})),
        (
            "text",
            json!({"status": 200, "text": "ok", "content_type": "text/plain"}),
        ),
        ("nothing", json!({"status": 200, "text": ""})),
        (
            "a redirect",
            json!({"status": 301, "headers": {"Location": "https://livy.example/"}}),
        ),
        (
            "a log-in page",
            json!({"status": 302, "headers": {"Location": "https://login.example/?back=livy"}}),
        ),
        (
            "a proxy without its server",
            json!({"status": 502, "text": "<html><title>502 Bad Gateway</title></html>"}),
        ),
        (
            "a proxy that is overloaded",
            json!({"status": 503, "text": "<html><title>503 Service Unavailable</title></html>", "headers": {"Retry-After": "120"}}),
        ),
        (
            "a proxy that wants a sign-in",
            json!({"status": 407, "text": "<html><title>Proxy</title></html>"}),
        ),
        (
            "a firewall's refusal",
            json!({"status": 403, "text": "<html><title>Blocked by policy</title></html>"}),
        ),
    ] {
        answers(&livy, rule).await;
        let words = said(&target(&livy.url, ""), &[]).await;
        all.push(format!("{what}: {}", stable(&words, &port)));
    }
    insta::assert_snapshot!(all.join("\n"), @r#"
    a page: configuration_invalid: http://127.0.0.1:PORT is no Livy server (status 200): Welcome to nginx -> Set `targets.dev.url` to the address below which /sessions is, with a gateway's path if there is one.
    a page that is not found: configuration_invalid: http://127.0.0.1:PORT is no Livy server (status 404): 404 Not Found -> Set `targets.dev.url` to the address below which /sessions is, with a gateway's path if there is one.
    another service's JSON: configuration_invalid: http://127.0.0.1:PORT is no Livy server: it tells no version -> Set `targets.dev.url` to the address below which /sessions is, with a gateway's path if there is one.
    another service's refusal: configuration_invalid: http://127.0.0.1:PORT is no Livy server (status 404): no route -> Set `targets.dev.url` to the address below which /sessions is, with a gateway's path if there is one.
    a list: configuration_invalid: http://127.0.0.1:PORT is no Livy server: it tells no version -> Set `targets.dev.url` to the address below which /sessions is, with a gateway's path if there is one.
    text: configuration_invalid: http://127.0.0.1:PORT is no Livy server (status 200): ok -> Set `targets.dev.url` to the address below which /sessions is, with a gateway's path if there is one.
    nothing: configuration_invalid: http://127.0.0.1:PORT is no Livy server (status 200) -> Set `targets.dev.url` to the address below which /sessions is, with a gateway's path if there is one.
    a redirect: configuration_invalid: http://127.0.0.1:PORT redirects to https://livy.example/, and a redirect would lose what is sent -> Set `targets.dev.url` to the address itself, with https:// if that is where it leads.
    a log-in page: configuration_invalid: http://127.0.0.1:PORT redirects to https://login.example/?back=livy, and a redirect would lose what is sent -> Set `targets.dev.url` to the address itself, with https:// if that is where it leads.
    a proxy without its server: platform_unavailable: a proxy at http://127.0.0.1:PORT does not reach the server (status 502): 502 Bad Gateway -> Call again later, or correct `targets.dev.url`.
    a proxy that is overloaded: capacity_unavailable: the server has no room now (status 503): 503 Service Unavailable -> Call again later.
    a proxy that wants a sign-in: platform_unavailable: a proxy on the way asks for a sign-in -> Set HTTPS_PROXY with a user, or NO_PROXY for this host.
    a firewall's refusal: permission_denied: the server does not allow this user to tell its version: Blocked by policy -> Ask for the right on the server, or check `targets.dev.user` and `proxy_user`.
    "#);
    assert_eq!(livy.sessions().await.len(), 0);
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_sign_in_is_named() {
    let (right, wrong) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let livy = LivyServer::with(
        &["--interpreter", "scripted", "--auth", "basic"],
        &[("LIVY_TEST_SECRET", &format!("ann:{right}"))],
    )
    .await;
    let port = port_of(&livy);
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let gone = folder.path().join("gone");
    let file = |path: &Path| format!("auth = \"bearer\"\nsecret_file = {path:?}");
    let secret = [("SPARKLEASE__TARGETS__DEV__SECRET", wrong.as_str())];
    let mut all = Vec::new();
    for (what, more, variables) in [
        ("no sign-in", String::new(), &[][..]),
        (
            "a wrong password",
            "auth = \"basic\"\nuser = \"ann\"".to_owned(),
            &secret[..],
        ),
        (
            "a token instead",
            "auth = \"bearer\"".to_owned(),
            &secret[..],
        ),
        ("a file that is not there", file(&gone), &[]),
        ("a folder for a file", file(folder.path()), &[]),
        ("an empty file", file(&empty), &[]),
        ("no certificate", format!("ca_file = {empty:?}"), &[]),
        (
            "a certificate that is not there",
            format!("ca_file = {gone:?}"),
            &[],
        ),
    ] {
        let words = said(&target(&livy.url, &more), variables).await;
        assert!(!words.contains(&wrong), "{words}");
        let words = words.replace(folder.path().to_str().unwrap(), "FOLDER");
        all.push(format!("{what}: {}", stable(&words, &port)));
    }
    insta::assert_snapshot!(all.join("\n"), @r#"
    no sign-in: unauthenticated: http://127.0.0.1:PORT refused the sign-in -> Check `targets.dev.auth`, `user` and `secret` (or `secret_file`), then run `sparklease doctor`.
    a wrong password: unauthenticated: http://127.0.0.1:PORT refused the sign-in -> Check `targets.dev.auth`, `user` and `secret` (or `secret_file`), then run `sparklease doctor`.
    a token instead: unauthenticated: http://127.0.0.1:PORT refused the sign-in -> Check `targets.dev.auth`, `user` and `secret` (or `secret_file`), then run `sparklease doctor`.
    a file that is not there: configuration_invalid: `targets.dev.secret_file` (FOLDER/gone) cannot be read: No such file or directory (os error 2) -> Name a file that holds the password or token and that you may read.
    a folder for a file: configuration_invalid: `targets.dev.secret_file` (FOLDER) cannot be read: Is a directory (os error 21) -> Name a file that holds the password or token and that you may read.
    an empty file: configuration_invalid: `targets.dev.secret_file` is empty -> Put the password or the token there.
    no certificate: configuration_invalid: `targets.dev.ca_file` (FOLDER/empty) holds no certificate in PEM form -> Correct it in the configuration, then run `sparklease doctor`.
    a certificate that is not there: configuration_invalid: `targets.dev.ca_file` (FOLDER/gone) cannot be read: No such file or directory (os error 2) -> Correct it in the configuration, then run `sparklease doctor`.
    "#);
    assert_eq!(livy.sessions().await.len(), 0);
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_named_before_anything_is_asked() {
    let mut all = Vec::new();
    let mut say = async |what: &str, config: String| {
        let (well, told) = doctor(&config, &[]).await;
        assert!(!well, "{told}");
        let failed = told.lines().skip_while(|line| !line.starts_with("FAIL"));
        let told: Vec<&str> = failed.take_while(|line| !line.starts_with("ok")).collect();
        all.push(format!("{what}:\n{}", told.join("\n")));
        // A server does not start with it, and says the same.
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("config.toml");
        std::fs::write(&file, &config).unwrap();
        let ran = tokio::process::Command::new(env!("CARGO_BIN_EXE_sparklease"))
            .arg("mcp")
            .env("SPARKLEASE_CONFIG", &file)
            .env("SPARKLEASE_DATA_DIR", home.path().join("data"))
            .output()
            .await
            .unwrap();
        assert_eq!((ran.status.code(), ran.stdout.len()), (Some(2), 0));
        let said = String::from_utf8(ran.stderr).unwrap();
        assert!(said.starts_with("error[configuration_invalid]: "), "{said}");
    };
    let base = "[targets.dev]\nplatform = \"livy\"\n";
    say("no access", format!("{base}url = \"http://127.0.0.1:1\"\n")).await;
    say("no address", format!("{base}access = \"read-only\"\n")).await;
    for (what, url) in [
        ("no scheme", "livy.example:8998"),
        ("a user in it", "https://ann:pw@livy.example"),
        ("one step too far", "https://livy.example/sessions"),
        ("no host", "https://:8998"),
    ] {
        say(what, target(url, "")).await;
    }
    for limits in [
        "sessions = 0",
        "sessions = 1000",
        "opening = 0",
        "life = \"0s\"",
        "life = \"100d\"",
        "idle = \"0s\"",
        "budget = \"0s\"",
        "budget = \"1000d\"",
        "rows = 0",
        "bytes = \"1TiB\"",
        "idle = \"9h\"",
        "statement = 30",
    ] {
        let more = format!("limits = {{ {limits} }}");
        say(limits, target("http://127.0.0.1:1", &more)).await;
    }
    say(
        "heartbeat",
        target("http://127.0.0.1:1", "heartbeat = \"0s\""),
    )
    .await;
    say(
        "heartbeat",
        target("http://127.0.0.1:1", "heartbeat = \"2d\""),
    )
    .await;
    say("auth", target("http://127.0.0.1:1", "auth = \"kerberos\"")).await;
    say(
        "no user",
        target(
            "http://127.0.0.1:1",
            "auth = \"basic\"\nsecret_file = \"x\"",
        ),
    )
    .await;
    say(
        "no secret",
        target("http://127.0.0.1:1", "auth = \"bearer\""),
    )
    .await;
    insta::assert_snapshot!(all.join("\n"), @r#"
    no access:
    FAIL  configuration: CONFIG, line 1: `targets.dev` has no access; add access = "read-only" or access = "read-write" -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    no address:
    FAIL  configuration: CONFIG, line 1: `targets.dev` has no url; add url = "https://HOST:8998" -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    no scheme:
    FAIL  configuration: CONFIG, line 5: `targets.dev.url` does not start with https:// or http:// -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    a user in it:
    FAIL  configuration: CONFIG, line 5: `targets.dev.url` holds a user; write it as `user`, and the password as `secret` -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    one step too far:
    FAIL  configuration: CONFIG, line 5: `targets.dev.url` ends with /sessions; leave that out -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    no host:
    FAIL  configuration: CONFIG, line 5: `targets.dev.url` names no host -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    sessions = 0:
    FAIL  configuration: CONFIG, line 6: `targets.dev.limits.sessions` is 0; it takes 1 to 64 -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    sessions = 1000:
    FAIL  configuration: CONFIG, line 6: `targets.dev.limits.sessions` is 1000; it takes 1 to 64 -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    opening = 0:
    FAIL  configuration: CONFIG, line 6: `targets.dev.limits.opening` is 0; it takes 1 to 16 -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    life = "0s":
    FAIL  configuration: CONFIG, line 6: `targets.dev.limits.life` is "0s"; it takes 1m to 7days -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    life = "100d":
    FAIL  configuration: CONFIG, line 6: `targets.dev.limits.life` is "100d"; it takes 1m to 7days -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    idle = "0s":
    FAIL  configuration: CONFIG, line 6: `targets.dev.limits.idle` is "0s"; it takes 1s to 1day -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    budget = "0s":
    FAIL  configuration: CONFIG, line 6: `targets.dev.limits.budget` is "0s"; it takes 1m to 64days -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    budget = "1000d":
    FAIL  configuration: CONFIG, line 6: `targets.dev.limits.budget` is "1000d"; it takes 1m to 64days -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    rows = 0:
    FAIL  configuration: CONFIG, line 6: `targets.dev.limits.rows` is 0; it takes 1 to 1000000 -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    bytes = "1TiB":
    FAIL  configuration: CONFIG, line 6: `targets.dev.limits.bytes` is "1TiB"; it takes 64KiB to 64MiB -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    idle = "9h":
    FAIL  configuration: CONFIG, line 6: `targets.dev.limits.idle` is 9h, longer than the session's life of 8h -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    statement = 30:
    FAIL  configuration: CONFIG, line 6: `targets.dev.limits.statement` is 30; it takes a duration with its unit, like "90s" or "5m" -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    heartbeat:
    FAIL  configuration: CONFIG, line 6: `targets.dev.heartbeat` is "0s"; it takes 10s to 1h -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    heartbeat:
    FAIL  configuration: CONFIG, line 6: `targets.dev.heartbeat` is "2d"; it takes 10s to 1h -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    auth:
    FAIL  configuration: CONFIG, line 6: `targets.dev.auth` is "kerberos"; it takes "none" or "basic" or "bearer" -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    no user:
    FAIL  configuration: CONFIG, line 6: `targets.dev.auth` is "basic" and there is no user; add user = "NAME" -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    no secret:
    FAIL  configuration: CONFIG, line 6: `targets.dev.auth` is "bearer" and there is no secret; add secret_file, or set SPARKLEASE__TARGETS__DEV__SECRET -> Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_version_backstop_and_what_is_wrong() {
    let livy = LivyServer::with(&["--interpreter", "scripted"], &[]).await;
    let config = target(&livy.url, "limits = { sessions = 3, budget = \"12h\" }");
    let (well, told) = doctor(&config, &[]).await;
    assert!(well, "{told}");
    let lines: Vec<&str> = told
        .lines()
        .filter(|line| {
            ["target dev", "ledger", "guardian"]
                .iter()
                .any(|what| line.get(6..).is_some_and(|rest| rest.starts_with(what)))
        })
        .map(|line| line.split(" after ").next().unwrap())
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    ok    target dev: Apache Livy 0.9.0-incubating answers
    ok    target dev: at most 3 sessions, 8h each; the server itself ends one within 3m of our last word
    ok    target dev: spending ceiling: should this machine die, 3 × 3m = 9m of session time at most
    ok    target dev: 0s of 12h session time used today (UTC)
    ok    target dev: read-write: code runs there with the rights of the sign-in
    ok    ledger: remote sessions that may exist: 0; none is stuck
    ok    guardian: one was started, said READY and ended
    "#);
    assert_eq!(livy.sessions().await.len(), 0, "it opens nothing");
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_what_was_spent_and_what_may_exist() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    server.works().await;
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let ran = tokio::process::Command::new(env!("CARGO_BIN_EXE_sparklease"))
        .args(["doctor", "--target", "dev"])
        .env("SPARKLEASE_CONFIG", server.home().join("config.toml"))
        .env("SPARKLEASE_DATA_DIR", server.home().join("data"))
        .env("SPARKLEASE_CACHE_DIR", cache())
        .output()
        .await
        .unwrap();
    let told = String::from_utf8(ran.stdout).unwrap();
    assert!(
        told.contains("ledger: remote sessions that may exist: 1; none is stuck"),
        "{told}"
    );
    let spent = told
        .lines()
        .find(|line| line.contains("session time used today"))
        .unwrap();
    assert!(!spent.contains(" 0s of"), "{spent}");
    server.end().await;
    livy.empties().await;
    livy.end().await;
}
