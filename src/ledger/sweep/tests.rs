//! The delete loop against a place that does what it is told, with time that is not slept.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::ledger::store::Caps;
use crate::ledger::tag::{Host, Name};
use crate::model::TargetName;
use crate::platform::RemoteSession;
use crate::platform::remote::{Created, Tagged};

/// A place with sessions, and answers that are prepared for the next calls.
#[derive(Debug, Default)]
struct Fake {
    sessions: Mutex<Vec<Tagged>>,
    finds: Mutex<VecDeque<Result<()>>>,
    closes: Mutex<VecDeque<Result<Closed>>>,
    deleted: Mutex<Vec<String>>,
    /// This id is asked to go, and stays.
    immortal: Mutex<String>,
}

#[async_trait]
impl Remote for Fake {
    fn place(&self) -> Place {
        place()
    }

    fn release(&self, _session: &RemoteSession) -> Created {
        Created::Perhaps
    }

    async fn find_by_tag(&self, tag: &Tag) -> Result<Vec<String>> {
        if let Some(Err(error)) = self.finds.lock().unwrap().pop_front() {
            return Err(error);
        }
        let sessions = self.sessions.lock().unwrap();
        Ok(sessions
            .iter()
            .filter(|s| s.tag == *tag)
            .map(|s| s.id.clone())
            .collect())
    }

    async fn close_verified(&self, tag: &Tag, id: &str) -> Result<Closed> {
        if let Some(answer) = self.closes.lock().unwrap().pop_front() {
            return answer;
        }
        if *self.immortal.lock().unwrap() == id {
            return Ok(Closed::StillThere);
        }
        let mut sessions = self.sessions.lock().unwrap();
        if let Some(at) = sessions.iter().position(|s| s.id == id && s.tag == *tag) {
            sessions.remove(at);
            self.deleted.lock().unwrap().push(id.to_owned());
        }
        Ok(Closed::Gone)
    }

    async fn list_tagged(&self, prefix: &str) -> Result<Vec<Tagged>> {
        let sessions = self.sessions.lock().unwrap();
        Ok(sessions
            .iter()
            .filter(|s| s.tag.as_str().starts_with(prefix))
            .cloned()
            .collect())
    }
}

fn place() -> Place {
    Place {
        platform: "test".to_owned(),
        base: "http://somewhere".to_owned(),
        principal: "somebody".to_owned(),
    }
}

struct World {
    folder: tempfile::TempDir,
    fake: Arc<Fake>,
    sweeper: Sweeper,
    host: Host,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fake = Arc::new(Fake::default());
        let remotes: Vec<Arc<dyn Remote>> = vec![fake.clone()];
        let timing = Timing::default();
        let sweeper = Sweeper::new(folder.path().to_owned(), remotes, timing).unwrap();
        let host = super::super::guard::owner::host(folder.path(), true).unwrap();
        Self {
            folder,
            fake,
            sweeper,
            host: host.unwrap(),
        }
    }

    /// A row of an owner that is dead by now.
    async fn row(&self, owner: &Owner, id: Option<&str>) -> Row {
        let wall = crate::ledger::wall_now();
        let name = Name::new(&self.host, owner, wall, Duration::from_secs(60));
        let row = Row {
            tag: name.tag(),
            owner: owner.clone(),
            epoch: 1,
            target: TargetName::new("dev"),
            place: place(),
            remote_id: None,
            state: RowState::Intended,
            created: wall,
            expires: name.expires,
            attempts: 0,
            stuck: false,
            last_error: None,
        };
        let caps = Caps {
            sessions: 100,
            seconds_per_day: None,
        };
        self.sweeper.store.intend(row.clone(), caps).await.unwrap();
        match id {
            None => row,
            Some(id) => {
                let created = Change::Created(id.to_owned());
                self.sweeper
                    .store
                    .change(&row.tag, created, None)
                    .await
                    .unwrap()
            }
        }
    }

    fn owner(&self) -> (Owner, OwnerLock) {
        let lock = self.sweeper.owners.claim().unwrap();
        (lock.owner.clone(), lock)
    }

    fn session(&self, tag: &Tag, id: &str) {
        self.fake.sessions.lock().unwrap().push(Tagged {
            tag: tag.clone(),
            id: id.to_owned(),
        });
    }

    fn deleted(&self) -> Vec<String> {
        self.fake.deleted.lock().unwrap().clone()
    }

    async fn state(&self, tag: &Tag) -> RowState {
        self.sweeper.store.row(tag).await.unwrap().unwrap().state
    }
}

fn failed(code: Code, retry: Retry) -> Error {
    Error::new(code, "no").retry(retry)
}

#[tokio::test(start_paused = true)]
async fn an_id_under_another_name_is_not_deleted() {
    let world = World::new();
    let (owner, _lock) = world.owner();
    let row = world.row(&owner, Some("7")).await;
    world.session(&Tag::new("of somebody else"), "7");
    assert!(world.sweeper.remove(row.clone(), None).await.is_gone());
    assert_eq!(world.deleted(), Vec::<String>::new());
    assert_eq!(world.state(&row.tag).await, RowState::Gone);
}

#[tokio::test(start_paused = true)]
async fn a_create_without_an_answer_is_looked_for_until_it_is_settled() {
    let world = World::new();
    let (owner, _lock) = world.owner();
    let row = world.row(&owner, None).await;
    let begun = Instant::now();
    let removing = tokio::spawn({
        let (sweeper, row) = (world.sweeper.clone(), row.clone());
        async move { sweeper.remove(row, None).await }
    });
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert!(!removing.is_finished());
    assert_eq!(world.state(&row.tag).await, RowState::Deleting);
    world.session(&row.tag, "9");
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert_eq!(world.deleted(), ["9"], "within one look");
    // A middlebox that sent the create twice.
    world.session(&row.tag, "10");
    assert!(removing.await.unwrap().is_gone());
    assert_eq!(world.deleted(), ["9", "10"]);
    assert!(begun.elapsed() >= Timing::default().settle_for);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_refuses_is_obeyed_and_never_given_up() {
    let world = World::new();
    let (owner, _lock) = world.owner();
    let row = world.row(&owner, Some("7")).await;
    world.session(&row.tag, "7");
    let told = Duration::from_secs(77);
    {
        let mut closes = world.fake.closes.lock().unwrap();
        closes.push_back(Err(failed(Code::RateLimited, Retry::After(told))));
        closes.extend((0..40).map(|_| Err(failed(Code::PlatformUnavailable, Retry::Now))));
        closes.extend((0..5).map(|_| Ok(Closed::StillThere)));
    }
    let begun = Instant::now();
    let fate = world.sweeper.remove(row.clone(), None).await;
    assert!(fate.is_gone());
    assert!(begun.elapsed() > told + Timing::default().stuck_after);
    let row = world.sweeper.store.row(&row.tag).await.unwrap().unwrap();
    assert_eq!(
        (row.state, row.attempts, row.stuck),
        (RowState::Gone, 46, false)
    );
}

#[tokio::test(start_paused = true)]
async fn a_row_is_stuck_after_five_minutes_and_then_tried_rarely() {
    let world = World::new();
    let (owner, _lock) = world.owner();
    let row = world.row(&owner, Some("7")).await;
    world.session(&row.tag, "7");
    let refusals = (0..1000).map(|_| Err(failed(Code::PlatformUnavailable, Retry::No)));
    world.fake.closes.lock().unwrap().extend(refusals);
    let until = Some(Instant::now() + Duration::from_secs(3600));
    let fate = world.sweeper.remove(row.clone(), until).await;
    assert_eq!((fate.left, fate.stuck), (Some(Left::Trying), true));
    assert_eq!(fate.error.as_deref(), Some("platform_unavailable"));
    let row = world.sweeper.store.row(&row.tag).await.unwrap().unwrap();
    assert!(row.stuck);
    assert!(row.attempts < 60, "{} tries in an hour", row.attempts);
}

#[tokio::test(start_paused = true)]
async fn a_remembered_session_is_deleted_though_lists_fail() {
    let world = World::new();
    let (owner, _lock) = world.owner();
    let row = world.row(&owner, Some("7")).await;
    world.session(&row.tag, "7");
    let errors = (0..3).map(|_| Err(failed(Code::PlatformUnavailable, Retry::Now)));
    world.fake.finds.lock().unwrap().extend(errors);
    let removing = world.sweeper.remove(row, None);
    tokio::pin!(removing);
    assert!(
        tokio::time::timeout(Duration::from_millis(400), &mut removing)
            .await
            .is_err()
    );
    assert_eq!(world.deleted(), ["7"]);
    assert!(removing.await.is_gone());
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_row_is_tried_no_more() {
    let world = World::new();
    let (owner, _lock) = world.owner();
    let row = world.row(&owner, Some("7")).await;
    let refusals = (0..1000).map(|_| Err(failed(Code::PermissionDenied, Retry::No)));
    world.fake.closes.lock().unwrap().extend(refusals);
    let removing = tokio::spawn({
        let (sweeper, row) = (world.sweeper.clone(), row.clone());
        async move { sweeper.remove(row, None).await }
    });
    tokio::time::sleep(Duration::from_secs(400)).await;
    let refused = world.sweeper.forget(&row.tag).await;
    assert!(
        refused.is_ok(),
        "deleting, it is in nobody's use: {refused:?}"
    );
    assert!(removing.await.unwrap().is_gone());
}

#[tokio::test(start_paused = true)]
async fn a_session_in_use_cannot_be_forgotten() {
    let world = World::new();
    let (owner, _lock) = world.owner();
    let row = world.row(&owner, Some("7")).await;
    let error = world.sweeper.forget(&row.tag).await.unwrap_err();
    assert_eq!(error.code(), Code::PolicyDenied);
}

#[tokio::test]
async fn a_sweep_takes_the_dead_and_leaves_the_living() {
    let world = World::new();
    let (dead, dead_lock) = world.owner();
    let (living, _lock) = world.owner();
    let gone = world.row(&dead, Some("1")).await;
    let kept = world.row(&living, Some("2")).await;
    world.session(&gone.tag, "1");
    world.session(&kept.tag, "2");
    drop(dead_lock);
    let plan = world.sweeper.plan().await.unwrap();
    assert_eq!(
        plan.fates
            .iter()
            .map(|f| (&f.tag, f.left))
            .collect::<Vec<_>>(),
        [(&gone.tag, Some(Left::Planned))]
    );
    assert_eq!(world.deleted(), Vec::<String>::new(), "a plan does nothing");
    let report = world.sweeper.sweep_dead(None).await.unwrap();
    assert_eq!((report.gone(), report.is_clean()), (1, true));
    assert_eq!(world.deleted(), ["1"]);
    assert_eq!(world.state(&kept.tag).await, RowState::Created);
    assert_eq!(world.sweeper.owners.known().unwrap(), [living]);
}

#[tokio::test]
async fn what_no_target_can_delete_is_left_and_said() {
    let world = World::new();
    let (dead, lock) = world.owner();
    let row = world.row(&dead, Some("1")).await;
    drop(lock);
    let other = Sweeper::new(
        world.folder.path().to_owned(),
        Vec::new(),
        Timing::default(),
    )
    .unwrap();
    let report = other.sweep_dead(None).await.unwrap();
    assert_eq!(report.fates[0].left, Some(Left::NotConfigured));
    assert_eq!(world.state(&row.tag).await, RowState::Created);
    assert_eq!(
        world.sweeper.owners.known().unwrap(),
        [dead],
        "its file stays for who can"
    );
    assert!(world.sweeper.sweep_dead(None).await.unwrap().is_clean());
    assert!(world.sweeper.owners.known().unwrap().is_empty());
}

#[tokio::test]
async fn rows_without_an_owner_s_file_are_swept_too() {
    let world = World::new();
    let row = world.row(&Owner::random(), Some("1")).await;
    world.session(&row.tag, "1");
    assert!(world.sweeper.sweep_dead(None).await.unwrap().is_clean());
    assert_eq!(world.deleted(), ["1"]);
}

#[tokio::test]
async fn names_alone_tell_orphans_from_strangers() {
    let world = World::new();
    let (living, _lock) = world.owner();
    let used = world.row(&living, Some("1")).await;
    let late = world.row(&living, None).await;
    world
        .sweeper
        .store
        .change(&late.tag, Change::Gone, None)
        .await
        .unwrap();
    let wall = crate::ledger::wall_now();
    let name = |host: &Host, owner: &Owner| Name::new(host, owner, wall, Duration::ZERO).tag();
    let unknown = name(&world.host, &living);
    let orphan = name(&world.host, &Owner::random());
    let elsewhere = Host::of("other", 0, world.folder.path(), "");
    let stranger = name(&elsewhere, &Owner::random());
    for (id, tag) in [&used.tag, &late.tag, &unknown, &orphan, &stranger]
        .into_iter()
        .enumerate()
    {
        world.session(tag, &id.to_string());
    }
    let report = world.sweeper.sweep_strays(None).await.unwrap();
    assert!(report.is_clean());
    // The one that landed after its row had ended, and the one whose owner is dead.
    assert_eq!(world.deleted(), ["1", "3"]);
}

/// Each of those waits for minutes between its looks, and more of them than are asked about at once.
#[tokio::test(start_paused = true)]
async fn creates_without_an_answer_hold_up_no_delete_of_a_session_that_runs() {
    let world = World::new();
    let (owner, lock) = world.owner();
    for _ in 0..3 * AT_ONCE {
        let _ = world.row(&owner, None).await;
    }
    let running = world.row(&owner, Some("7")).await;
    world.session(&running.tag, "7");
    drop(lock);
    let sweep = world.sweeper.sweep_dead(None);
    let ended = tokio::time::timeout(Duration::from_secs(30), sweep).await;
    assert!(ended.is_err(), "the others are still looked for");
    assert_eq!(world.deleted(), ["7"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_does_not_go_holds_up_no_other_of_its_owner_s_names() {
    let world = World::new();
    let (owner, lock) = world.owner();
    let wall = crate::ledger::wall_now();
    for id in ["6", "7", "8"] {
        let name = Name::new(&world.host, &owner, wall, Duration::from_secs(60));
        world.session(&name.tag(), id);
    }
    *world.fake.immortal.lock().unwrap() = "6".to_owned();
    drop(lock);
    let sweep = world.sweeper.sweep_strays(None);
    let ended = tokio::time::timeout(Duration::from_secs(30), sweep).await;
    assert!(ended.is_err(), "the first is tried for ever");
    let mut deleted = world.deleted();
    deleted.sort();
    assert_eq!(deleted, ["7", "8"]);
}
