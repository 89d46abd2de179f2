//! Owners and guardians are killed at every point, while answers are lost, late or wrong. The service's own record says
//! what is left.

use std::time::{Duration, Instant};

use rstest::rstest;
use rustix::process::Signal;
use tokio::runtime::Runtime;

use super::place::{Client, place};
use super::role::{
    Process, guardian as last_guardian, guardian_ends, kill, ledger, runs, signal, stop, timing,
};
use super::service::{Answer, Service};
use super::{PATIENCE, wait_until};
use crate::ledger::guard::guardian::{self, Duty};
use crate::ledger::{Owner, RowState, Sweeper, Timing};
use crate::model::Code;

const BEATEN: Duration = Duration::from_secs(120);

/// Where the owner is when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The row is written, the create is not sent.
    Intended,
    /// The create is sent, its answer has not come.
    Posted,
    /// The answer has come, the id is not written.
    Answered,
    /// It is in use.
    Created,
    /// The delete is sent.
    Deleting,
}

/// A world of one test: a folder, a service, and strangers in it that look like us.
struct World {
    folder: tempfile::TempDir,
    service: Service,
    strangers: Vec<String>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start(folder.path());
        // The same pattern but for the host; a name that is no tag; a local session's.
        let strangers = [
            "sl1-aaaaaa-aaaaaaaa-aaaaaaaaaa-htjz4",
            "dashboard",
            "sparklease-se_1",
        ]
        .map(|name| {
            service.stranger(name);
            name.to_owned()
        });
        Self {
            folder,
            service,
            strangers: strangers.to_vec(),
        }
    }

    fn owner(&self, silence: Duration) -> Process {
        let process = Process::start(self.folder.path(), &self.service, silence);
        process.says("BEGUN");
        process
    }

    fn sweeper(&self, timing: Timing) -> Sweeper {
        let remote = std::sync::Arc::new(Client(self.service.address));
        Sweeper::new(self.folder.path().to_owned(), vec![remote], timing).unwrap()
    }

    fn only_strangers(&self) -> bool {
        self.service.there() == self.strangers
    }

    /// Nothing of ours is left: no session, no open row, no owner's file, no process; and every stranger is there.
    fn is_clean(&self) {
        wait_until("only strangers are left", || self.only_strangers());
        guardian_ends(self.folder.path());
        self.books_are_closed();
    }

    fn books_are_closed(&self) {
        assert!(self.only_strangers(), "{:?}", self.service.there());
        assert_eq!(self.service.creates_without_row(), 0);
        let rows = Runtime::new()
            .unwrap()
            .block_on(self.sweeper(timing()).rows())
            .unwrap();
        let open: Vec<_> = rows.iter().filter(|r| r.state != RowState::Gone).collect();
        assert!(open.is_empty(), "{open:?}");
        let owners = std::fs::read_dir(self.folder.path().join("owners")).unwrap();
        let names: Vec<_> = owners.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["registry"]);
    }
}

#[rstest]
fn killed_at_any_point_the_owner_leaves_nothing(
    #[values(At::Intended, At::Posted, At::Answered, At::Created, At::Deleting)] at: At,
    #[values(Answer::Lost, Answer::Late, Answer::Failed, Answer::LandsLate)] fault: Answer,
) {
    let world = World::new();
    let mut owner = world.owner(BEATEN);
    owner.order("intend");
    owner.says("INTENDED");
    if at != At::Intended {
        if at == At::Posted {
            world.service.answers(fault, Answer::Given);
        }
        owner.order("create");
        if at == At::Posted {
            wait_until("the create comes", || world.service.posts() == 1);
        } else {
            owner.says("ANSWERED Done");
        }
    }
    if matches!(at, At::Created | At::Deleting) {
        owner.order("note");
        owner.says("NOTED");
    }
    // From here on the guardian's own calls are disturbed too; a delete that lands late is none.
    let delete = if fault == Answer::LandsLate {
        Answer::Refused
    } else {
        fault
    };
    world.service.answers(Answer::Given, delete);
    if at == At::Deleting {
        owner.order("remove");
        wait_until("the delete comes", || world.service.deletes() > 0);
    }
    owner.kill();
    if at != At::Deleting && delete == Answer::Refused {
        if at != At::Intended {
            wait_until("a delete is refused", || world.service.deletes() > 0);
        }
        world.service.answers(Answer::Given, Answer::Given);
    } else if delete == Answer::Refused {
        world.service.answers(Answer::Given, Answer::Given);
    }
    world.is_clean();
}

#[test]
fn a_stranger_with_our_old_id_is_left_alone_after_a_restart_of_the_service() {
    let mut world = World::new();
    let mut owner = world.owner(BEATEN);
    owner.order("intend");
    owner.says("INTENDED");
    owner.order("create");
    owner.says("ANSWERED Done");
    owner.order("note");
    owner.says("NOTED");
    world.service.restart();
    world.strangers = (0..6).map(|n| format!("of somebody else {n}")).collect();
    for name in &world.strangers {
        world.service.stranger(name);
    }
    owner.kill();
    world.is_clean();
    assert_eq!(world.service.deletes(), 0);
}

/// An owner with one session; its guardian.
fn owner_with_session(world: &World, silence: Duration) -> Process {
    let mut owner = world.owner(silence);
    owner.order("intend");
    owner.says("INTENDED");
    owner.order("create");
    owner.says("ANSWERED Done");
    owner.order("note");
    owner.says("NOTED");
    owner
}

#[test]
fn an_owner_that_ends_in_order_takes_its_guardian_along() {
    let world = World::new();
    let mut owner = owner_with_session(&world, BEATEN);
    let guardian = owner.guardian();
    owner.order("remove");
    owner.says("REMOVED");
    owner.end();
    wait_until("the guardian ends", || !runs(guardian));
    world.is_clean();
}

#[test]
fn an_owner_that_ends_with_sessions_leaves_them_to_its_guardian() {
    let world = World::new();
    let mut owner = owner_with_session(&world, BEATEN);
    owner.end();
    world.is_clean();
}

#[test]
fn a_killed_owner_s_guardian_deletes_at_once() {
    let world = World::new();
    let mut owner = owner_with_session(&world, BEATEN);
    let killed = Instant::now();
    owner.kill();
    world.is_clean();
    let deleted = world
        .service
        .all()
        .iter()
        .filter_map(|s| s.deleted)
        .max()
        .unwrap();
    println!(
        "owner killed: last delete after {:?}",
        deleted.duration_since(killed)
    );
}

#[test]
fn a_killed_guardian_is_replaced_before_anything_is_created() {
    let world = World::new();
    let mut owner = owner_with_session(&world, BEATEN);
    let first = owner.guardian();
    let killed = Instant::now();
    kill(first);
    wait_until("another guardian begins", || owner.guardian() != first);
    println!("guardian killed: another one after {:?}", killed.elapsed());
    owner.order("intend");
    owner.says("INTENDED");
    let second = owner.guardian();
    assert!(runs(second) && !runs(first));
    owner.kill();
    world.is_clean();
    assert!(!runs(second));
}

#[test]
fn when_both_are_killed_the_next_start_deletes() {
    let world = World::new();
    let mut owner = owner_with_session(&world, BEATEN);
    let first = owner.guardian();
    // Stopped, it cannot start another one meanwhile.
    stop(owner.pid());
    kill(first);
    owner.kill();
    wait_until("the guardian is gone", || !runs(first));
    assert!(!world.only_strangers());
    let runtime = Runtime::new().unwrap();
    let begun = Instant::now();
    let next = {
        let _inside = runtime.enter();
        ledger(world.folder.path(), world.service.address, BEATEN)
    };
    runtime.block_on(async {
        next.watch_over();
        while !world.only_strangers() {
            assert!(begun.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        println!(
            "both killed: next start deletes after {:?}",
            begun.elapsed()
        );
        next.stop().await;
    });
    // It was stopped between its delete and what it writes, and its sweep lets go of the lock a moment later. The next
    // round closes the books.
    let sweeper = world.sweeper(timing());
    wait_until("the books are closed", || {
        let report = runtime.block_on(sweeper.sweep_dead(None));
        report.unwrap().is_clean() && sweeper.owners.known().unwrap().is_empty()
    });
    world.books_are_closed();
}

#[test]
fn a_stopped_owner_is_killed_and_swept() {
    let world = World::new();
    let silence = Duration::from_millis(600);
    let owner = owner_with_session(&world, silence);
    // While it beats it lives, for longer than it may be silent.
    std::thread::sleep(silence * 2);
    assert!(runs(owner.pid()));
    let stopped = Instant::now();
    signal(owner.pid(), Signal::STOP);
    wait_until("the owner is killed", || !runs(owner.pid()));
    println!(
        "owner stopped: killed after {:?} (limit {silence:?})",
        stopped.elapsed()
    );
    world.is_clean();
    let deleted = world.service.all().iter().filter_map(|s| s.deleted).max();
    println!(
        "owner stopped: last delete after {:?}",
        deleted.unwrap().duration_since(stopped)
    );
}

#[test]
fn what_a_terminal_sends_to_everybody_does_not_end_a_guardian() {
    let world = World::new();
    let mut owner = owner_with_session(&world, BEATEN);
    let guardian = owner.guardian();
    signal(guardian, Signal::INT);
    signal(guardian, Signal::HUP);
    std::thread::sleep(Duration::from_millis(100));
    assert!(runs(guardian));
    let pid = rustix::process::Pid::from_raw(guardian.cast_signed()).unwrap();
    let group = rustix::process::getpgid(Some(pid)).unwrap();
    assert_eq!(group, pid, "it leads a group of its own");
    owner.kill();
    world.is_clean();
}

#[test]
fn a_guardian_without_a_living_owner_never_says_ready() {
    let world = World::new();
    let mut owner = world.owner(BEATEN);
    owner.order("intend");
    owner.says("INTENDED");
    let first = owner.guardian();
    // Stopped, it cannot start another one meanwhile.
    stop(owner.pid());
    kill(first);
    owner.kill();
    let ids = std::fs::read_dir(world.folder.path().join("owners")).unwrap();
    let ids: Vec<String> = ids
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".lock").map(str::to_owned))
        .collect();
    assert_eq!(ids.len(), 1);
    for id in ids {
        let sweeper = world.sweeper(timing());
        let duty = Duty {
            owner: Owner::parse(&id).unwrap(),
            parent: 1,
            places: Vec::new(),
        };
        let mut said = Vec::new();
        let sweep = guardian::run(duty, &sweeper, &mut said);
        let report = Runtime::new().unwrap().block_on(sweep).unwrap();
        assert!(report.is_clean());
        assert_eq!(said, b"");
    }
    world.is_clean();
}

#[test]
fn a_guardian_that_cannot_delete_where_its_owner_creates_never_says_ready() {
    let world = World::new();
    let runtime = Runtime::new().unwrap();
    let sweeper = Sweeper::new(world.folder.path().to_owned(), Vec::new(), timing()).unwrap();
    let lock = sweeper.owners.claim().unwrap();
    let duty = Duty {
        owner: lock.owner.clone(),
        parent: 1,
        places: vec![place(world.service.address).fingerprint()],
    };
    let mut said = Vec::new();
    let ended = runtime.block_on(guardian::run(duty, &sweeper, &mut said));
    assert_eq!(ended.unwrap_err().code(), Code::ConfigurationInvalid);
    assert_eq!(said, b"");
}

/// Owners live and are killed at random moments, each tenth with its guardian, while the service loses, delays and
/// fails. What guardians could not do, the next start does.
#[test]
fn random_kills_leave_nothing() {
    const KILLS: u32 = 60;
    let world = World::new();
    let faults = [
        Answer::Given,
        Answer::Lost,
        Answer::Given,
        Answer::Late,
        Answer::Failed,
    ];
    let mut random = 7_u64;
    let mut next = move |below: u64| {
        // Numbers that look random and are the same in each run.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % below
    };
    for round in 0..KILLS {
        let fault = |n: u64| faults[usize::try_from(n).unwrap()];
        world.service.answers(fault(next(5)), fault(next(5)));
        let mut owner = world.owner(BEATEN);
        owner.order("live");
        let before = last_guardian(world.folder.path());
        if round % 10 == 9 {
            wait_until("its guardian begins", || {
                last_guardian(world.folder.path()) != before
            });
            let its = owner.guardian();
            std::thread::sleep(Duration::from_millis(next(60)));
            stop(owner.pid());
            kill(its);
        } else {
            std::thread::sleep(Duration::from_millis(next(120)));
        }
        owner.kill();
    }
    world.service.answers(Answer::Given, Answer::Given);
    let swept = Runtime::new()
        .unwrap()
        .block_on(world.sweeper(timing()).sweep_dead(None))
        .unwrap();
    assert!(swept.is_clean(), "{swept:?}");
    guardian_ends(world.folder.path());
    // Those whose lock a guardian held while we swept.
    let report = Runtime::new()
        .unwrap()
        .block_on(world.sweeper(timing()).sweep_dead(None));
    assert!(report.unwrap().is_clean());
    let all = world.service.all();
    println!(
        "{KILLS} kills, {} sessions created, {} left",
        all.len() - world.strangers.len(),
        world.service.there().len() - world.strangers.len()
    );
    world.books_are_closed();
}
