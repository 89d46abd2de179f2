//! The server dies, its guardian dies, both die, the server hangs: how soon that is seen, and how soon the last session
//! is gone. Times are printed; what is asserted is that nothing is left.

use std::fs::File;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::world::{
    BOUND, SILENCE_MS, World, guardian_of, kill_both, kill_group, runs, stop, wall,
};
use crate::common::{has_ended, kill, signal, wait_until};

/// Seconds from `since` to the first request that a guardian or a sweep sends, and to the last session's end.
async fn told(world: &World, from: usize, since: f64) -> String {
    let events = world.events().await;
    let first = events.iter().skip(from).find(|event| {
        let path = event["path"].as_str().unwrap_or_default();
        event["event"] == "request" && path.starts_with("/sessions")
    });
    let seen = first.map_or(f64::NAN, |event| event["wall"].as_f64().unwrap() - since);
    let gone = world.last_gone().await - since;
    format!("first call of the sweep after {seen:.3} s, last session gone after {gone:.3} s")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_s_guardian_deletes_at_once() {
    let world = World::start().await;
    let server = world.server_with_session().await;
    let guardian = guardian_of(server.pid()).unwrap();
    let from = world.now().await;
    let killed = wall();
    kill_group(server.pid());
    world.empties().await;
    println!("server killed: {}", told(&world, from, killed).await);
    world.is_clean().await;
    assert!(!runs(guardian.pid));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_guardian_is_replaced_and_nothing_is_created_meanwhile() {
    let world = World::start().await;
    let server = world.server_with_session().await;
    let first = guardian_of(server.pid()).unwrap();
    let creates = world.count("POST", "/sessions").await;
    // No guardian can see that its owner lives while we hold the folder's lock.
    let registry = File::open(world.ledger().join("owners/registry")).unwrap();
    registry.lock().unwrap();
    kill(first.pid);
    wait_until("the guardian has ended", BOUND, || !runs(first.pid)).await;
    let pending = server
        .begin("open_session", json!({"name": "second"}))
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        world.count("POST", "/sessions").await,
        creates,
        "no create without a guardian"
    );
    let freed = Instant::now();
    drop(registry);
    pending.answer().await.ok();
    println!(
        "guardian killed: its successor let a session be opened {:?} after it could begin",
        freed.elapsed()
    );
    assert_eq!(world.count("POST", "/sessions").await, creates + 1);
    let second = guardian_of(server.pid()).unwrap();
    assert!(second != first && second.owner == first.owner);
    // Once more, undisturbed: how soon there is another one.
    let killed = Instant::now();
    kill(second.pid);
    wait_until("another guardian", BOUND, || {
        guardian_of(server.pid()).is_some_and(|now| now.pid != second.pid && runs(now.pid))
    })
    .await;
    println!(
        "guardian killed: another one runs after {:?}",
        killed.elapsed()
    );
    kill_group(server.pid());
    world.is_clean().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_both_are_killed_the_next_start_deletes() {
    let world = World::start().await;
    let server = world.server_with_session().await;
    kill_both(server.pid()).await;
    assert_eq!(world.ours().await.len(), 1, "nobody is there to delete it");
    let (from, begun) = (world.now().await, wall());
    let next = world.server().await;
    world.empties().await;
    println!(
        "both killed: from the next start on, {}",
        told(&world, from, begun).await
    );
    next.end().await;
    world.is_clean().await;
    world.end().await;
}

/// An owner that died a moment ago may hold its lock still when the next one starts, and that one looks again long
/// before its next minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_looks_a_second_time_for_an_owner_that_was_just_dying() {
    let world = World::start().await;
    let server = world.server_with_session().await;
    let guardian = kill_both(server.pid()).await;
    let name = format!("owners/{}.lock", guardian.owner);
    let lock = File::open(world.ledger().join(name)).unwrap();
    wait_until("the kernel has freed it", BOUND, || lock.try_lock().is_ok()).await;
    let next = world.server().await;
    // Its first look is over by now: the file is held, as by a process that is being taken apart.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.ours().await.len(), 1);
    let freed = Instant::now();
    drop(lock);
    world.empties().await;
    let took = freed.elapsed();
    println!("the second look of a start: gone {took:?} after the lock was free");
    assert!(
        took < Duration::from_secs(30),
        "not its next minute: {took:?}"
    );
    next.end().await;
    world.is_clean().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_killed_and_swept() {
    let world = World::start().await;
    let server = world.server_with_session().await;
    let (from, stopped) = (world.now().await, wall());
    stop(server.pid()).await;
    wait_until("the server is killed", BOUND, || !runs(server.pid())).await;
    let killed = wall() - stopped;
    world.empties().await;
    let limit = Duration::from_millis(SILENCE_MS);
    println!(
        "server stopped: killed after {killed:.1} s (silent for {limit:?}); {}",
        told(&world, from, stopped).await
    );
    world.is_clean().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lives_is_not_killed_and_its_end_ends_its_guardian() {
    let world = World::start().await;
    let server = world.server_with_session().await;
    let guardian = guardian_of(server.pid()).unwrap();
    // Longer than it may be silent, by far longer than between two words of it.
    tokio::time::sleep(Duration::from_millis(SILENCE_MS * 3 / 2)).await;
    assert!(runs(server.pid()) && runs(guardian.pid));
    // What a terminal sends to everybody is not for a guardian.
    signal(guardian.pid, Signal::INT);
    signal(guardian.pid, Signal::HUP);
    let server_pid = server.pid();
    server.end().await;
    assert!(has_ended(server_pid));
    let ended = Instant::now();
    wait_until("the guardian ends, too", BOUND, || !runs(guardian.pid)).await;
    println!(
        "server ended: its guardian after {:?} more",
        ended.elapsed()
    );
    world.is_clean().await;
    world.end().await;
}

/// The guardian has read the configuration, so it still deletes; another one could not, so nothing is opened any more.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_target_in_the_configuration_nothing_is_opened_and_everything_is_deleted() {
    let world = World::start().await;
    let server = world.server_with_session().await;
    let config = world.home().join("config.toml");
    let whole = std::fs::read(&config).unwrap();
    let creates = world.count("POST", "/sessions").await;
    for (text, message, hint) in [
        (
            "",
            "no guardian watches over this process (the server has a target that the configuration has no more), so no \
             session is opened",
            "Start the server again, so that it reads the configuration.",
        ),
        (
            "[targets.dev]\nplatform = \"livy\"\n",
            "`targets.dev` has no url; add url = ",
            "Correct this, then run `sparklease config show`",
        ),
    ] {
        std::fs::write(&config, text).unwrap();
        let guardian = guardian_of(server.pid());
        if let Some(guardian) = guardian {
            kill(guardian.pid);
            wait_until("the guardian has ended", BOUND, || !runs(guardian.pid)).await;
        }
        let answer = server
            .call("open_session", json!({"name": "second"}))
            .await
            .failed("internal");
        let told = format!("{} {}", answer.message(), answer.hint());
        assert!(
            told.contains(message) && told.contains(hint),
            "{}",
            answer.text
        );
    }
    assert_eq!(world.count("POST", "/sessions").await, creates);
    server
        .call("close_session", json!({"session": "ours"}))
        .await
        .ok();
    world.empties().await;
    std::fs::write(&config, whole).unwrap();
    // Back again, it goes on by itself.
    let answer = server.call("open_session", json!({"name": "second"})).await;
    answer.ok();
    let guardian = guardian_of(server.pid()).unwrap();
    std::fs::write(&config, "").unwrap();
    kill_group(server.pid());
    wait_until("the guardian has ended", BOUND, || !runs(guardian.pid)).await;
    world.is_clean().await;
    world.end().await;
}
