//! The commands for what is left: `sessions`, `sweep`, `sessions forget`. Their words are pinned.

use std::process::Output;

use serde_json::{Value, json};

use super::world::{World, kill_both};

/// What a command printed, with what is different each time replaced.
fn said(output: &Output, tag: &str) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8(text).unwrap().replace(tag, "TAG");
    let lines = text.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_deaths_left_is_shown_planned_and_swept() {
    let world = World::start().await;
    let empty = world.command(&["sweep", "--dry-run"]).await;
    assert_eq!(said(&empty, "no tag"), "would be deleted: 0");
    let server = world.server_with_session().await;
    let tag = world.rows().remove(0).tag;
    // A living owner's session is nobody's business.
    let planned = world.command(&["sweep", "--dry-run"]).await;
    assert_eq!(said(&planned, &tag), "would be deleted: 0");
    let swept = world.command(&["sweep"]).await;
    assert_eq!(said(&swept, &tag), "deleted: 0, left: 0");
    let forgotten = world
        .command(&["sessions", "forget", &tag, "--i-checked"])
        .await;
    assert!(!forgotten.status.success());
    assert_eq!(
        said(&forgotten, &tag),
        "error[policy_denied]: session TAG is in use: its owner lives\nhint: Close it with the tool close_session, or end the server \
         that has it; then run `sparklease sweep`."
    );
    kill_both(server.pid()).await;
    let listed = world.command(&["--json", "sessions"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let remote = &listed["remote"][0];
    assert_eq!(
        (
            &remote["tag"],
            &remote["target"],
            &remote["state"],
            &remote["id"]
        ),
        (&json!(tag), &json!("dev"), &json!("created"), &json!("3"))
    );
    assert_eq!(
        (&remote["stuck"], &remote["attempts"]),
        (&json!(false), &json!(0))
    );
    let listed = said(&world.command(&["sessions"]).await, &tag);
    // Before it stand the local sessions of whatever else runs on this machine.
    let at = listed.find("target state").expect("remote sessions");
    let listed = &listed[at..];
    assert!(
        listed.starts_with("target state age id tries last error tag\ndev created ")
            && listed.ends_with("s 3 0 TAG"),
        "{listed}"
    );
    let planned = world.command(&["sweep", "--dry-run"]).await;
    assert_eq!(planned.status.code(), Some(0));
    assert_eq!(
        said(&planned, &tag),
        "tag target outcome last error\nTAG dev would be deleted\nwould be deleted: 1"
    );
    assert_eq!(world.ours().await, [tag.as_str()], "only planned");
    let swept = world.command(&["sweep"]).await;
    assert_eq!(swept.status.code(), Some(0));
    assert_eq!(
        said(&swept, &tag),
        "tag target outcome last error\nTAG dev gone\ndeleted: 1, left: 0"
    );
    world.is_clean().await;
    let again = world.command(&["sweep"]).await;
    assert_eq!(said(&again, &tag), "deleted: 0, left: 0");
    world.end().await;
}

/// The target is no more in the configuration: its session cannot be deleted, is said to be left, and goes by a
/// person's word only.
#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_deleted_is_given_up_by_a_person_s_word_alone() {
    let world = World::start().await;
    let server = world.server_with_session().await;
    kill_both(server.pid()).await;
    let tag = world.rows().remove(0).tag;
    std::fs::write(world.home().join("config.toml"), "").unwrap();
    let planned = world.command(&["sweep", "--dry-run"]).await;
    assert_eq!(
        said(&planned, &tag),
        "tag target outcome last error\nTAG dev no target of this configuration can delete it\nwould be deleted: 1"
    );
    let swept = world.command(&["sweep"]).await;
    assert_eq!(swept.status.code(), Some(1));
    assert_eq!(
        said(&swept, &tag),
        "tag target outcome last error\nTAG dev no target of this configuration can delete it\ndeleted: 0, left: 1 \
         (stuck: 0)"
    );
    let unsure = world.command(&["sessions", "forget", &tag]).await;
    assert!(!unsure.status.success());
    assert_eq!(
        said(&unsure, &tag),
        "error[confirmation_required]: session TAG would be given up: if it still runs, it costs on and nobody deletes it\nhint: Look for that \
         name on the service itself; if nothing runs there, run `sparklease sessions forget TAG --i-checked`."
    );
    assert_eq!(world.rows()[0].state, "created");
    let unknown = world
        .command(&["sessions", "forget", "sl1-nobody", "--i-checked"])
        .await;
    assert_eq!(
        said(&unknown, "no tag"),
        "error[not_found]: the ledger has no open session sl1-nobody\nhint: Run `sparklease sessions` to see the names of all."
    );
    let forgotten = world
        .command(&["sessions", "forget", &tag, "--i-checked"])
        .await;
    assert_eq!(forgotten.status.code(), Some(0));
    assert_eq!(
        said(&forgotten, &tag),
        "forgotten: TAG on dev; the ledger keeps a line that says so"
    );
    let line: (String, String) = world
        .connection()
        .query_row(
            "SELECT what, was FROM audit WHERE tag = ?1",
            [&tag],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!(
        line,
        ("forgotten".to_owned(), "created, 3, on dev".to_owned())
    );
    let listed = world.command(&["--json", "sessions"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["remote"], json!([]));
    assert_eq!(world.ours().await, [tag.as_str()], "nobody has deleted it");
    // Back in the configuration, its name gives it away: its owner is dead.
    world.configure("");
    let swept = world.command(&["sweep"]).await;
    assert!(
        said(&swept, &tag).ends_with("deleted: 1, left: 0"),
        "{swept:?}"
    );
    world.is_clean().await;
    world.end().await;
}
