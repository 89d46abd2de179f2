//! What is believed of a statement's answers.

use rstest::rstest;
use serde_json::json;

use super::super::POLL;
use super::*;

fn judged(body: Value) -> Option<Reply> {
    judge(&serde_json::from_value(body).unwrap(), "n1")
}

fn said(reply: Option<Reply>) -> String {
    match reply {
        None => "goes on".to_owned(),
        Some(Reply::Envelope(envelope)) => format!("envelope {:?}", envelope.status),
        Some(Reply::Raised(text)) => format!("raised {text}"),
        Some(Reply::Failed(e)) => format!("failed {}", e.code()),
        Some(Reply::Stopped(why)) => format!("stopped {why:?}"),
        Some(Reply::Lost { why, .. }) => format!("lost: {why}"),
    }
}

fn ok(text: &str) -> Value {
    json!({"state": "available", "output": {"status": "ok", "data": {"text/plain": text}}})
}

fn error(class: &str, text: &str) -> Value {
    json!({"state": "available", "output": {"status": "error", "ename": class, "evalue": text}})
}

#[rstest]
#[case(json!({"state": "waiting", "output": null}), "goes on")]
#[case(json!({"state": "running", "output": null}), "goes on")]
#[case(json!({"state": "cancelling", "output": null}), "goes on")]
#[case(json!({"state": "cancelled", "output": null}), "stopped None")]
#[case(json!({"state": "available", "output": null}), "goes on")]
#[case(
    ok("<<sparklease:n1>>{\"nonce\":\"n1\",\"status\":\"ok\"}<<sparklease:n1/>>"),
    "envelope Ok"
)]
#[case(ok(""), &format!("lost: {OUT_OF_STEP}"))]
#[case(ok("'F'"), &format!("lost: {OUT_OF_STEP}"))]
#[case(ok("<<sparklease:n0>>{\"nonce\":\"n0\",\"status\":\"ok\"}<<sparklease:n0/>>"), &format!("lost: {OUT_OF_STEP}"))]
#[case(ok("<<sparklease:n1>>{\"nonce\":\"n0\",\"status\":\"ok\"}<<sparklease:n1/>>"), &format!("lost: {OUT_OF_STEP}"))]
#[case(ok("<<sparklease:n1>>{\"nonce\":\"n1\",\"sta"), &format!("lost: {OUT_OF_STEP}"))]
#[case(json!({"state": "available", "output": {"status": "ok", "data": {"image/png": "x"}}}), &format!("lost: {OUT_OF_STEP}"))]
#[case(
    error("Error", "Interpreter died:\nsecret words"),
    "lost: its Python process ended"
)]
#[case(
    error(
        "com.fasterxml.jackson.core.exc.StreamConstraintsException",
        "String length"
    ),
    "failed result_too_large"
)]
#[case(
    error(
        "com.fasterxml.jackson.core.JsonParseException",
        "Unrecognized token 'hello'"
    ),
    "raised com.fasterxml.jackson.core.JsonParseException: Unrecognized token 'hello'"
)]
fn an_answer_is_believed_by_its_nonce_alone(#[case] body: Value, #[case] what: &str) {
    assert_eq!(said(judged(body)), what);
}

#[test]
fn a_state_that_is_not_known_ends_the_session() {
    let reply = said(judged(json!({"state": "dreaming"})));
    assert!(
        reply.starts_with("lost: the server says that the statement is \"dreaming\""),
        "{reply}"
    );
}

#[test]
fn progress_is_told_when_it_is_new() {
    let running = |progress: f64| -> StatementBody {
        serde_json::from_value(json!({"state": "running", "progress": progress})).unwrap()
    };
    let mut watch = Watch::new(Some("old line".to_owned()));
    let first = watch
        .progress(&running(0.0), Some("old line".to_owned()))
        .unwrap();
    assert_eq!((first.phase.as_str(), first.fraction), ("running", None));
    assert_eq!(watch.progress(&running(0.5), None), None);
    watch.told_at = None;
    let next = watch
        .progress(&running(0.5), Some("stage 1".to_owned()))
        .unwrap();
    assert_eq!(
        (next.phase.as_str(), next.fraction),
        ("running: stage 1", Some(0.5))
    );
    watch.told_at = None;
    assert_eq!(
        watch.progress(&running(0.5), Some("stage 1".to_owned())),
        None
    );
}

#[test]
fn polls_are_frequent_at_first_and_a_second_apart_at_last() {
    let after = |ms| POLL.after(Duration::from_millis(ms)).as_millis();
    assert_eq!(
        [after(0), after(200), after(10_000), after(200_000)],
        [10, 10, 100, 1_000]
    );
}
