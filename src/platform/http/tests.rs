//! Headers, retries, credentials and transport failures, against a server of a few lines.

use super::testing::{Scripted, told};
use super::*;

fn address(url: &str) -> Address {
    Address {
        target: TargetName::new("dev"),
        url: url.to_owned(),
        credential: Credential::None,
        headers: Vec::new(),
        ca_file: None,
    }
}

fn http(address: &Address) -> Http {
    Http::new(address, &SecretRegistry::default()).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn secret() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[tokio::test]
async fn every_request_has_what_servers_ask_for_and_the_sign_in() {
    let server = Scripted::start(vec![told(200, "{}")]).await;
    let (password, key) = (secret(), secret());
    let secrets = SecretRegistry::default();
    let http = Http::new(
        &Address {
            credential: Credential::Basic {
                user: "ann".to_owned(),
                secret: Source::Value(password.clone().into()),
            },
            headers: vec![("X-Gateway-Key".to_owned(), key.clone().into())],
            ..address(&server.url)
        },
        &secrets,
    )
    .unwrap();
    http.get("/sessions", soon()).await.unwrap();
    let seen = server.seen()[0].to_lowercase();
    let basic = BASE64.encode(format!("ann:{password}")).to_lowercase();
    for part in [
        "get /sessions http/1.1",
        "x-requested-by: sparklease",
        "accept: application/json",
        &format!("authorization: basic {basic}"),
        &format!("x-gateway-key: {key}"),
    ] {
        assert!(seen.contains(part), "{part} is not in {seen}");
    }
    let known: Vec<String> = secrets
        .snapshot()
        .iter()
        .map(|known| known.value.expose_secret().to_owned())
        .collect();
    assert!(known.contains(&password) && known.contains(&key));
    let shown = format!("{http:?} {:?}", http.credential);
    assert!(!shown.contains(&password), "{shown}");
}

#[tokio::test]
async fn a_get_is_repeated_while_the_server_says_later_and_a_post_never() {
    let later = (503, "Retry-After: 0\r\n".to_owned(), String::new());
    let server = Scripted::start(vec![
        later.clone(),
        (0, String::new(), String::new()),
        told(200, "1"),
        later,
        told(200, "2"),
    ])
    .await;
    let http = http(&address(&server.url));
    assert_eq!(http.get("/x", soon()).await.unwrap().body, "1");
    let post = http.send(Method::POST, "/y", Some(&Value::Null), ANSWER_FOR);
    assert_eq!(post.await.unwrap().status, 503);
    assert_eq!(server.asked(), ["GET /x", "GET /x", "GET /x", "POST /y"]);
}

#[tokio::test]
async fn a_post_whose_connection_broke_may_have_been_taken() {
    let server = Scripted::start(vec![(0, String::new(), String::new())]).await;
    let http = http(&address(&server.url));
    let post = http.send(Method::POST, "/y", Some(&Value::Null), ANSWER_FOR);
    assert!(post.await.unwrap_err().perhaps_sent);
}

#[tokio::test]
async fn where_nothing_listens_nothing_was_sent_and_the_setting_is_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let http = http(&address(&url));
    let post = http.send(Method::POST, "/y", Some(&Value::Null), ANSWER_FOR);
    let fault = post.await.unwrap_err();
    assert!(!fault.perhaps_sent);
    assert_eq!(fault.error.code(), Code::PlatformUnavailable);
    assert_eq!(fault.error.message(), format!("nothing listens at {url}"));
    assert_eq!(
        fault.error.hint_text(),
        "Start the server, or correct `targets.dev.url`."
    );
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    let to = "Location: https://elsewhere.example/\r\n".to_owned();
    let server = Scripted::start(vec![(302, to, String::new())]).await;
    let answer = http(&address(&server.url)).get("/x", soon()).await.unwrap();
    assert_eq!(answer.status, 302);
    assert_eq!(
        answer.location.as_deref(),
        Some("https://elsewhere.example/")
    );
}

#[tokio::test]
async fn a_refused_token_is_read_again_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let (old, new) = (secret(), secret());
    std::fs::write(&file, &old).unwrap();
    let server = Scripted::start(vec![told(401, ""), told(200, "{}"), told(401, "")]).await;
    let http = http(&Address {
        credential: Credential::Bearer(Source::File(file.clone())),
        ..address(&server.url)
    });
    std::fs::write(&file, format!("{new}\n")).unwrap();
    assert_eq!(http.get("/x", soon()).await.unwrap().status, 200);
    assert_eq!(http.get("/x", soon()).await.unwrap().status, 401);
    let tokens: Vec<bool> = server.seen().iter().map(|all| all.contains(&new)).collect();
    assert_eq!(tokens, [false, true, true]);
}

#[tokio::test]
async fn tls_where_there_is_none_says_so() {
    let server = Scripted::start(vec![told(400, "no")]).await;
    let url = server.url.replace("http://", "https://");
    let http = http(&address(&url));
    let once = http.send(Method::GET, "/x", None, ANSWER_FOR);
    let fault = once.await.unwrap_err();
    assert_eq!(
        (fault.error.code(), fault.error.message()),
        (
            Code::ConfigurationInvalid,
            format!("{url} does not speak TLS").as_str()
        ),
        "{:?}",
        fault.error
    );
}

#[test]
fn a_wrong_setting_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |address: Address| {
        let error = Http::new(&address, &SecretRegistry::default()).unwrap_err();
        assert_eq!(error.code(), Code::ConfigurationInvalid);
        error.message().to_owned()
    };
    let good = address("http://127.0.0.1:1");
    let message = refused(Address {
        ca_file: Some(folder.path().join("none.pem")),
        ..good.clone()
    });
    assert!(message.starts_with("`targets.dev.ca_file` ("), "{message}");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let message = refused(Address {
        ca_file: Some(empty),
        ..good.clone()
    });
    assert!(
        message.ends_with("holds no certificate in PEM form"),
        "{message}"
    );
    let message = refused(Address {
        headers: vec![("bad name".to_owned(), "x".to_owned().into())],
        ..good.clone()
    });
    assert!(
        message.starts_with("`targets.dev.headers` has"),
        "{message}"
    );
    let message = refused(Address {
        credential: Credential::Bearer(Source::File(folder.path().join("none"))),
        ..good
    });
    assert!(
        message.starts_with("`targets.dev.secret_file` ("),
        "{message}"
    );
}

#[test]
fn a_retry_after_is_seconds_or_a_date() {
    assert_eq!(delay("7"), Some(Duration::from_secs(7)));
    assert_eq!(delay("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
    assert_eq!(delay("soon"), None);
}
