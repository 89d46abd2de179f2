//! Servers are killed: at every point between ledger and delete, with every fault of an answer, and at random moments
//! in herds. The Livy server's own record says what is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::world::{World, guardian_of, kill_group, runs, stop, wall};
use crate::common::{Server, kill};

/// Where the server is when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The row is written, the create is not sent.
    Intended,
    /// The create is sent, its answer has not come.
    Posted,
    /// The answer has come, the id is not written.
    Answered,
    /// A statement runs.
    Busy,
    /// The delete is sent.
    Deleting,
}

/// What becomes of an answer; what was asked for is done all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Lost,
    Late,
    Failed,
    /// It fails at once, and what was asked for is done later.
    DoneLater,
}

const ANSWERS: [Answer; 4] = [
    Answer::Lost,
    Answer::Late,
    Answer::Failed,
    Answer::DoneLater,
];

impl Answer {
    /// A fault rule.
    fn to(self, method: &str, path: &str, times: u32) -> Value {
        let mut rule = match self {
            Self::Lost => json!({"fault": "lose_reply"}),
            Self::Late => json!({"fault": "delay_reply", "seconds": 1.2}),
            Self::Failed => {
                json!({"fault": "answer", "act": true, "status": 500, "json": "java.lang.IllegalStateException: boo"})
            }
            Self::DoneLater => {
                json!({"fault": "late_apply", "seconds": 1.2, "status": 500, "json": "java.util.concurrent.TimeoutException"})
            }
        };
        rule["method"] = json!(method);
        rule["path"] = json!(path);
        rule["times"] = json!(times);
        rule
    }
}

/// The session of that name, and what the guardian asks of it.
const OURS: &str = "/sessions/sl1-(?!aaaaaa).*";

/// Runs one server to its death; says when that was, and what is left then in the ledger.
async fn die(world: &World, at: At, answer: Answer) -> (f64, Server) {
    let slow_look =
        json!({"method": "GET", "path": OURS, "fault": "delay_request", "seconds": 0.7});
    let open = json!({"name": "ours"});
    match at {
        At::Intended => {
            world
                .livy
                .fault(json!({"path": "/version", "fault": "half_open"}))
                .await;
            let from = world.now().await;
            let server = world.server().await;
            let _open = server.begin("open_session", open).await;
            world.request(from, "GET", "/version").await;
            // What the guardian looks with is disturbed, too.
            world.livy.fault(answer.to("GET", OURS, 2)).await;
            let killed = kill_now(&server);
            assert_eq!(
                world.rows().len(),
                1,
                "the row is there before the create is sent"
            );
            assert_eq!(world.count("POST", "/sessions").await, 3, "strangers only");
            (killed, server)
        }
        At::Posted | At::Answered => {
            world.livy.fault(answer.to("POST", "/sessions", 1)).await;
            // Its own look by the name comes later than we act.
            world.livy.fault(slow_look).await;
            let from = world.now().await;
            let server = world.server().await;
            let _open = server.begin("open_session", open).await;
            let posted = world.request(from, "POST", "/sessions").await;
            if at == At::Posted {
                let killed = kill_now(&server);
                assert_eq!(world.rows()[0].id, None);
                return (killed, server);
            }
            // Nobody can write the id while we hold the file.
            let held = hold(world);
            let from = usize::try_from(posted["n"].as_u64().unwrap()).unwrap();
            answered(world, from).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
            let killed = kill_now(&server);
            assert_eq!(world.rows()[0].id, None, "the id is not written");
            drop(held);
            (killed, server)
        }
        At::Busy => {
            let server = world.server_with_session().await;
            let from = world.now().await;
            let poll = format!("{OURS}/statements/.*");
            world.livy.fault(answer.to("GET", &poll, 2)).await;
            let code = json!({"code": "sleep(60)", "session": "ours"});
            let _run = server.begin("run_pyspark", code).await;
            world
                .event("a poll goes wrong", from, |event| event["event"] == "fault")
                .await;
            (kill_now(&server), server)
        }
        At::Deleting => {
            let server = world.server_with_session().await;
            let from = world.now().await;
            let _close = server
                .begin("close_session", json!({"session": "ours"}))
                .await;
            world.request(from, "DELETE", "/sessions/sl1-*").await;
            (kill_now(&server), server)
        }
    }
}

fn kill_now(server: &Server) -> f64 {
    kill(server.pid());
    wall()
}

/// The ledger's write lock.
fn hold(world: &World) -> Connection {
    let connection = world.connection();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

/// Waits until an answer with the new session's id was sent: the create's own, or that of a look by the name.
async fn answered(world: &World, from: usize) {
    let asked = std::sync::Mutex::new(Vec::new());
    world
        .event("an answer with the id", from, |event| {
            let path = event["path"].as_str().unwrap_or_default();
            if event["event"] == "request"
                && (path == "/sessions" || path.starts_with("/sessions/sl1-"))
            {
                asked.lock().unwrap().push(event["request"].clone());
            }
            event["event"] == "answered"
                && [200, 201].contains(&event["status"].as_u64().unwrap())
                && asked.lock().unwrap().contains(&event["request"])
        })
        .await;
}

async fn killed_at(at: At) {
    let stories = ANSWERS.map(|answer| async move {
        let world = World::start().await;
        // The guardian's own deletes are disturbed, too.
        world.livy.fault(answer.to("DELETE", OURS, 2)).await;
        let (killed, _server) = die(&world, at, answer).await;
        world.empties().await;
        world.is_clean().await;
        let last = world.last_gone().await;
        let deletes = world.count("DELETE", "/sessions/sl1-*").await;
        let told = if last.is_nan() {
            "none was ever created".to_owned()
        } else {
            format!("last one gone {:.2} s after the kill", last - killed)
        };
        println!("killed at {at:?}, answer {answer:?}: 0 left, {told}, {deletes} deletes sent");
        assert_eq!(last.is_nan(), at == At::Intended);
        world.end().await;
    });
    join_all(stories).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_ledger_and_create_it_leaves_nothing() {
    killed_at(At::Intended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_create_and_answer_it_leaves_nothing() {
    killed_at(At::Posted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_answer_and_id_it_leaves_nothing() {
    killed_at(At::Answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_during_a_statement_it_leaves_nothing() {
    killed_at(At::Busy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_during_a_delete_it_leaves_nothing() {
    killed_at(At::Deleting).await;
}

/// What the settle time is for, and what is left when even that was too short: the guardian has ended, and the name
/// alone tells whose the session is.
#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_lands_after_all_have_stopped_looking_is_found_by_its_name() {
    let world = World::start().await;
    world.settles_after(0);
    let late = json!({
        "method": "POST", "path": "/sessions", "fault": "late_apply", "seconds": 4, "status": 500,
        "json": "java.util.concurrent.TimeoutException",
    });
    world.livy.fault(late).await;
    let from = world.now().await;
    let server = world.server().await;
    let _open = server.begin("open_session", json!({"name": "ours"})).await;
    world.request(from, "POST", "/sessions").await;
    kill(server.pid());
    world.quiet().await;
    assert_eq!(world.rows()[0].state, "gone");
    world
        .event("it lands", from, |event| event["event"] == "created")
        .await;
    assert_eq!(
        world.ours().await.len(),
        1,
        "this is what the settle time is for"
    );
    let swept = world.command(&["sweep"]).await;
    assert!(swept.status.success(), "{swept:?}");
    assert_eq!(world.ours().await, Vec::<String>::new());
    world.is_clean().await;
    world.end().await;
}

/// How many servers live at once.
const HERD: usize = 4;

/// SplitMix64: the same numbers from the same seed.
struct Numbers(AtomicU64);

impl Numbers {
    fn below(&self, limit: u64) -> u64 {
        let mut z = self
            .0
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
            .wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}

/// Opens, runs and closes without end, twice at once.
async fn live(server: &Server, numbers: &Numbers) {
    let lives = (0..2).map(|which| async move {
        for round in 0_u64.. {
            let name = format!("s{which}-{round}");
            let open = json!({"name": name});
            let code = format!("sleep(0.{:02})", numbers.below(20));
            let run = json!({"code": code, "session": name});
            let close = json!({"session": name});
            for (tool, arguments) in [
                ("open_session", open),
                ("run_pyspark", run),
                ("close_session", close),
            ] {
                if server.attempt(tool, arguments).await.is_none() {
                    return;
                }
            }
        }
    });
    join_all(lives).await;
}

/// Whose sessions these were, and when it was killed.
type Killed = Arc<Mutex<Vec<(String, f64)>>>;

async fn one_life(world: &World, numbers: &Numbers, with_guardian: bool, killed: &Killed) {
    let server = world.server().await;
    let life = Duration::from_millis(numbers.below(700));
    let _ = tokio::time::timeout(life, live(&server, numbers)).await;
    if with_guardian {
        // It has none before its first create.
        crate::common::wait_until("it has a guardian", super::world::BOUND, || {
            guardian_of(server.pid()).is_some()
        })
        .await;
    }
    // Where it is stopped, there it dies; meanwhile it is seen whose sessions it had.
    stop(server.pid()).await;
    let at = wall();
    let guardian = guardian_of(server.pid());
    if with_guardian {
        let pid = guardian.as_ref().expect("it had one").pid;
        kill(pid);
        crate::common::wait_until("the guardian has ended", super::world::BOUND, || !runs(pid))
            .await;
    }
    kill_group(server.pid());
    if let Some(guardian) = guardian {
        killed.lock().await.push((guardian.owner, at));
    }
}

/// The one at `share` of a sorted list.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index of a short list"
    )]
    let at = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Servers live in herds and are killed at random moments, each tenth with its guardian, while the Livy server loses,
/// delays and fails. `SPARKLEASE_TEST_KILLS` says how many, `SPARKLEASE_TEST_SEED` which numbers.
#[tokio::test(flavor = "multi_thread")]
async fn random_kills_leave_nothing() {
    let kills = usize::try_from(number_from("SPARKLEASE_TEST_KILLS").unwrap_or(200)).unwrap();
    let seed = number_from("SPARKLEASE_TEST_SEED").unwrap_or_else(|| wall().to_bits() % 1_000_000);
    println!("SPARKLEASE_TEST_SEED={seed} SPARKLEASE_TEST_KILLS={kills}");
    let flags = ["--interpreter", "scripted", "--seed", &seed.to_string()];
    let world = World::with(&flags, "limits.sessions = 64\nlimits.opening = 8").await;
    let mut faults = Vec::new();
    for (method, path) in [("POST", "/sessions"), ("DELETE", OURS)] {
        for (answer, chance) in [
            (Answer::Lost, 0.1),
            (Answer::Late, 0.05),
            (Answer::Failed, 0.1),
            (Answer::DoneLater, 0.05),
        ] {
            let mut rule = answer.to(method, path, 0);
            rule["chance"] = json!(chance);
            faults.push(rule);
        }
    }
    world.livy.fault(Value::Array(faults)).await;
    let begun = std::time::Instant::now();
    let numbers = Numbers(AtomicU64::new(seed));
    let (next, doubles) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let killed = Killed::default();
    let herd = (0..HERD).map(|_| async {
        while next.fetch_add(1, Ordering::Relaxed) < kills {
            let with_guardian = numbers.below(10) == 0;
            doubles.fetch_add(usize::from(with_guardian), Ordering::Relaxed);
            one_life(&world, &numbers, with_guardian, &killed).await;
        }
    });
    join_all(herd).await;
    let killing = begun.elapsed();
    world
        .livy
        .admin("DELETE", "/__test/faults", &Value::Null)
        .await;
    // The next start does what killed guardians have left; it opens nothing itself.
    let next = world.server().await;
    world.empties().await;
    next.end().await;
    world.quiet().await;
    // A guardian that was killed after its last delete has not closed its books.
    let swept = world.command(&["sweep"]).await;
    let said = String::from_utf8_lossy(&swept.stdout).into_owned();
    assert!(
        swept.status.success() && said.ends_with("left: 0\n"),
        "{said}"
    );
    world.is_clean().await;

    let deaths = killed.lock().await.clone();
    let (mut created, mut ages) = (0, Vec::new());
    let events = world.events().await;
    for event in events.iter().filter(|event| event["event"] == "created") {
        let name = event["name"].as_str().unwrap();
        let Some((_, death)) = deaths
            .iter()
            .find(|(owner, _)| name.split('-').nth(2) == Some(owner))
        else {
            continue;
        };
        created += 1;
        let gone = events
            .iter()
            .find(|e| e["event"] == "gone" && e["name"] == name);
        let gone = gone.expect("all are gone")["wall"].as_f64().unwrap();
        if gone > *death {
            ages.push(gone - death.max(event["wall"].as_f64().unwrap()));
        }
    }
    ages.sort_by(f64::total_cmp);
    println!(
        "{kills} kills, {} of them with the guardian, in {:.0} s; {created} sessions created, leaked: 0; {} orphans, \
         age p50 {:.2} s, p99 {:.2} s, max {:.2} s",
        doubles.load(Ordering::Relaxed),
        killing.as_secs_f64(),
        ages.len(),
        quantile(&ages, 0.5),
        quantile(&ages, 0.99),
        quantile(&ages, 1.0),
    );
    assert!(created >= kills / 4, "the servers had work: {created}");
    assert!(
        ages.iter()
            .all(|age| *age < super::world::BOUND.as_secs_f64())
    );
    world.end().await;
}
