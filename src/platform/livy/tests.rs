//! Open, close and find against a server that answers what it is told: lost answers, strangers, refusals. Everything that
//! needs a real interpreter behind the server is in `tests/it/livy`.

use serde_json::json;

use super::*;
use crate::model::TargetName;
use crate::platform::http::testing::{Scripted, Told, told};

const TAG: &str = "sl1-a-b";

async fn livy(answers: Vec<Told>) -> (Livy, Scripted) {
    let server = Scripted::start(answers).await;
    let address = Address {
        target: TargetName::new("dev"),
        url: server.url.clone(),
        credential: Credential::None,
        headers: Vec::new(),
        ca_file: None,
    };
    (
        Livy::new(address, Options::default(), &SecretRegistry::default()),
        server,
    )
}

fn session() -> RemoteSession {
    RemoteSession {
        id: SessionId::new("se_1"),
        tag: Tag::new(TAG),
    }
}

fn version() -> Told {
    told(200, r#"{"version":"0.9.0-incubating"}"#)
}

fn body(id: u64, name: &str, state: &str) -> Told {
    told(
        200,
        &json!({"id": id, "name": name, "state": state, "log": ["stdout: ", "no memory"]})
            .to_string(),
    )
}

fn gone() -> Told {
    told(404, r#"{"msg":"Session 'sl1-a-b' not found."}"#)
}

const LOST: Told = (0, String::new(), String::new());

async fn open(livy: &Livy) -> Error {
    let (report, _words) = Reporter::new();
    livy.open(&session(), &report).await.unwrap_err()
}

#[tokio::test]
async fn a_create_that_was_refused_leaves_nothing_to_close() {
    let rejected = r#"{"msg":"Rejected, Reason: Blacklisted configuration"}"#;
    let (livy, server) = livy(vec![version(), told(400, rejected)]).await;
    let error = open(&livy).await;
    assert_eq!(error.code(), Code::SpecRejected);
    livy.close(&session()).await.unwrap();
    assert_eq!(server.asked(), ["GET /version", "POST /sessions"]);
    let created = server.seen()[1].clone();
    assert!(created.contains(r#""name":"sl1-a-b""#), "{created}");
    assert!(
        created.contains(r#""heartbeatTimeoutInSecond":120"#),
        "{created}"
    );
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_found_by_its_name_and_never_sent_again() {
    let (livy, server) = livy(vec![
        version(),
        LOST,
        gone(),
        body(4, TAG, "starting"),
        body(4, TAG, "dead"),
        told(200, r#"{"log":["stdout: ","no memory"]}"#),
    ])
    .await;
    let error = open(&livy).await;
    assert_eq!(
        error.message(),
        "the session did not start: the server says it is dead; its log ends: no memory"
    );
    let asked = server.asked();
    let creates = asked.iter().filter(|asked| *asked == "POST /sessions");
    assert_eq!(creates.count(), 1, "{asked:?}");
    assert_eq!(asked[2], "GET /sessions/sl1-a-b");
}

#[tokio::test]
async fn a_name_that_is_taken_means_that_an_earlier_create_worked() {
    let duplicate =
        r#"{"msg":"Rejected, Reason: Duplicate session name: Some(sl1-a-b) for session 1"}"#;
    let (livy, _server) = livy(vec![
        version(),
        told(400, duplicate),
        body(1, TAG, "shutting_down"),
    ])
    .await;
    let error = open(&livy).await;
    assert_eq!(
        error.message(),
        "the session did not start: the server is ending it"
    );
}

#[tokio::test]
async fn a_server_without_room_says_when_to_come_again_and_nothing_is_there() {
    let full = (
        400,
        "Retry-After: 7\r\n".to_owned(),
        r#"{"msg":"Rejected, too many sessions are being created!"}"#.to_owned(),
    );
    let (livy, _server) = livy(vec![version(), full]).await;
    let error = open(&livy).await;
    assert_eq!(error.code(), Code::CapacityUnavailable);
    assert_eq!(
        error.retry_kind(),
        crate::model::Retry::After(Duration::from_secs(7))
    );
    livy.close(&session()).await.unwrap();
}

#[tokio::test]
async fn what_is_no_livy_server_is_told_before_anything_is_created() {
    for (answer, code) in [
        (
            told(200, "<html><title>Welcome</title></html>"),
            Code::ConfigurationInvalid,
        ),
        (told(401, ""), Code::Unauthenticated),
        (
            (
                301,
                "Location: https://x.example/\r\n".to_owned(),
                String::new(),
            ),
            Code::ConfigurationInvalid,
        ),
    ] {
        let (livy, server) = livy(vec![answer]).await;
        let error = open(&livy).await;
        assert_eq!(error.code(), code, "{error}");
        assert!(error.hint_text().contains("`targets.dev."), "{error:?}");
        assert_eq!(server.asked(), ["GET /version"]);
        livy.close(&session()).await.unwrap();
    }
}

#[tokio::test]
async fn a_delete_is_proved_and_asks_for_the_name_first() {
    let (livy, server) = livy(vec![
        body(3, TAG, "busy"),
        told(200, r#"{"msg":"deleted"}"#),
        body(3, TAG, "shutting_down"),
        gone(),
    ])
    .await;
    let closed = livy.close_verified(&Tag::new(TAG), "3").await.unwrap();
    assert_eq!(closed, Closed::Gone);
    assert_eq!(
        server.asked(),
        [
            "GET /sessions/sl1-a-b",
            "DELETE /sessions/sl1-a-b",
            "GET /sessions/sl1-a-b",
            "GET /sessions/sl1-a-b"
        ]
    );
}

#[tokio::test]
async fn a_stranger_s_session_is_not_touched() {
    let (livy, server) = livy(vec![body(3, "somebody", "idle")]).await;
    let closed = livy.close_verified(&Tag::new(TAG), "3").await.unwrap();
    assert_eq!(closed, Closed::Gone);
    assert_eq!(server.asked(), ["GET /sessions/sl1-a-b"]);
}

#[tokio::test]
async fn sessions_of_a_prefix_are_listed_over_all_pages_and_ended_ones_are_not() {
    let one = |id, name: &str, state: &str| json!({"id": id, "name": name, "state": state});
    let page = |sessions: serde_json::Value| {
        told(
            200,
            &json!({"from": 0, "total": 4, "sessions": sessions}).to_string(),
        )
    };
    let (livy, server) = livy(vec![
        page(json!([
            one(0, "sl1-a-b", "idle"),
            one(1, "other", "strange")
        ])),
        page(json!([
            one(2, "sl1-a-c", "dead"),
            one(3, "sl1-a-d", "starting")
        ])),
        told(200, r#"{"from":0,"sessions":[]}"#),
    ])
    .await;
    let found = livy.list_tagged("sl1-a-").await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|f| (f.tag.as_str(), f.id.as_str()))
        .collect();
    assert_eq!(found, [("sl1-a-b", "0"), ("sl1-a-d", "3")]);
    assert_eq!(
        server.asked(),
        [
            "GET /sessions?from=0&size=100",
            "GET /sessions?from=2&size=100"
        ]
    );
    // Without its total the list may be cut, and empty would then mean nothing.
    assert!(livy.list_tagged("sl1-a-").await.is_err());
}

#[test]
fn nothing_shows_a_secret() {
    let secret = uuid::Uuid::new_v4().to_string();
    let address = Address {
        target: TargetName::new("dev"),
        url: "https://livy.example".to_owned(),
        credential: Credential::Basic {
            user: "ann".to_owned(),
            secret: super::super::http::Source::Value(secret.clone().into()),
        },
        headers: vec![("X-Key".to_owned(), secret.clone().into())],
        ca_file: None,
    };
    let livy = Livy::new(address, Options::default(), &SecretRegistry::default());
    let shown = format!("{livy:?} {livy} {:?}", livy.place());
    assert!(!shown.contains(&secret), "{shown}");
    assert!(!livy.place().principal.contains("ann"));
}
