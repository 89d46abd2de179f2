//! Sessions that look like ours and are not: another host's names, and our old number after the Livy server has begun
//! anew.

use serde_json::json;

use super::world::{World, guardian_of, kill_both, kill_group};

/// Sessions of others that got the numbers from 0 on.
fn others() -> Vec<String> {
    (0..6).map(|n| format!("of somebody else {n}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_with_our_old_number_is_left_alone_by_the_guardian() {
    let mut world = World::start().await;
    let server = world.server_with_session().await;
    let row = world.rows().remove(0);
    assert_eq!(row.id.as_deref(), Some("3"), "after three strangers");
    world.restart(&others()).await;
    kill_group(server.pid());
    world.is_clean().await;
    assert_eq!(world.count("DELETE", "/sessions*").await, 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_with_our_old_number_is_left_alone_by_a_sweep_and_by_the_living_server() {
    let mut world = World::start().await;
    let dead = world.server_with_session().await;
    kill_both(dead.pid()).await;
    let living = world.server().await;
    world.empties().await;
    let opened = living
        .call("open_session", json!({"name": "mine"}))
        .await
        .ok();
    assert!(guardian_of(living.pid()).is_some(), "{}", opened.text);
    world.restart(&others()).await;
    // Ours is gone, and nobody else's is taken for it.
    let code = json!({"code": "1", "session": "mine"});
    let answer = living.call("run_pyspark", code).await;
    answer.failed("session_lost");
    living
        .call("close_session", json!({"session": "mine"}))
        .await;
    let swept = world.command(&["sweep"]).await;
    assert!(swept.status.success(), "{swept:?}");
    // A new one is ours again, with a number of its own.
    living
        .call("open_session", json!({"name": "next"}))
        .await
        .ok();
    assert_eq!(world.ours().await.len(), 1);
    let deletes = world.count("DELETE", "/sessions/sl1-*").await;
    living.end().await;
    world.is_clean().await;
    assert!(world.count("DELETE", "/sessions/sl1-*").await > deletes);
    world.end().await;
}

/// The ledger is lost, so only names tell what is whose.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_ledger_our_dead_sessions_are_found_by_name_and_those_of_another_host_are_not() {
    let world = World::start().await;
    let dead = world.server_with_session().await;
    kill_both(dead.pid()).await;
    let name = world.rows().remove(0).tag;
    for part in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        let _ = std::fs::remove_file(world.ledger().join(part));
    }
    let planned = world.command(&["sweep", "--dry-run"]).await;
    let said = String::from_utf8_lossy(&planned.stdout).into_owned();
    assert_eq!(
        world.ours().await,
        [name.as_str()],
        "nothing was done: {said}"
    );
    let swept = world.command(&["sweep"]).await;
    let said = String::from_utf8_lossy(&swept.stdout).into_owned();
    assert!(swept.status.success() && said.contains(&name), "{said}");
    assert_eq!(world.ours().await, Vec::<String>::new());
    // No row is left to compare with: strangers are counted by hand.
    assert_eq!(world.livy.listed().await, 3);
    assert_eq!(world.count("DELETE", "/sessions*").await, 1);
    world.quiet().await;
    world.end().await;
}
