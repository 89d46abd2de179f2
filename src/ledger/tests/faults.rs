//! A ledger that cannot be written, read or trusted: nothing is created, what exists is deleted, the error says why.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;

use super::place::{Client, Create};
use super::role::{Process, guardian_ends, intent, ledger, timing};
use super::service::{Answer, Service};
use super::wait_until;
use crate::ledger::store::Need;
use crate::ledger::{Change, RowState, Sweeper, day_of, wall_now};
use crate::model::{Code, Tag, TargetName};

const BEATEN: Duration = Duration::from_secs(120);

async fn open(ledger: &crate::ledger::Ledger, service: &Service) -> Tag {
    let permit = ledger.intend(intent(service.address, 4)).await.unwrap();
    let Create::Done(id) = Client(service.address).create(&permit.tag).await else {
        panic!("the service answers");
    };
    ledger.created(&permit.tag, &id).await.unwrap();
    permit.tag
}

/// What makes each write fail, and what the caller is told.
const UNWRITABLE: [(&str, Code, &str); 2] = [
    (
        "PRAGMA query_only = ON",
        Code::ConfigurationInvalid,
        "cannot be written",
    ),
    (
        "PRAGMA max_page_count = 1",
        Code::Internal,
        "the disk is full",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn without_a_write_nothing_is_created_and_everything_is_deleted() {
    for (fault, code, words) in UNWRITABLE {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start(folder.path());
        let ledger = ledger(folder.path(), service.address, BEATEN);
        let tag = open(&ledger, &service).await;
        // Rows until the pages that are there are used up.
        ledger.inner.store().sql(Need::Write, fault).await.unwrap();
        let mut refused = None;
        for _ in 0..500 {
            let mut intent = intent(service.address, 1000);
            intent.place.base.push_str(&"x".repeat(2000));
            match ledger.intend(intent).await {
                Ok(permit) => ledger.never_created(&permit.tag).await.unwrap_or_default(),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        let error = refused.expect("a ledger that cannot be written refuses");
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(words), "{error}");
        assert!(error.hint_text().contains("still deleted"), "{error:?}");
        assert_eq!(service.posts(), 1);
        ledger.remove(&tag).await.unwrap();
        assert_eq!(service.there(), Vec::<String>::new());
        ledger.stop().await;
        guardian_ends(folder.path());
    }
}

/// The system's own limit on the size of files stands for a full disk: it needs no rights.
#[test]
fn on_a_full_disk_an_owner_creates_nothing_and_its_guardian_deletes() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let mut first = Process::start(folder.path(), &service, BEATEN);
    first.says("BEGUN");
    first.order("intend");
    first.says("INTENDED");
    first.order("create");
    first.says("ANSWERED Done");
    first.order("note");
    first.says("NOTED");
    // The second one, and its guardian, can write a few kilobytes to each file.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""]);
    let command = Process::owner_command(folder.path(), &service);
    shell.arg(&command.program);
    let mut second = Process::start_by(shell, &command, folder.path());
    second.says("BEGUN");
    let mut made = 0;
    let error = loop {
        second.order("intend");
        match second.answer() {
            Ok(_) => made += 1,
            Err(error) => break error,
        }
        assert!(made < 4, "the cap would be reached");
        second.order("create");
        second.says("ANSWERED Done");
        // Beyond what may be written, without a row of its own.
        let wal = fs::metadata(folder.path().join("ledger.db-wal")).unwrap();
        if wal.len() < 64 * 512 {
            fill(folder.path());
        }
    };
    assert!(
        error.contains("cannot be written") || error.contains("disk"),
        "{error}"
    );
    assert_eq!(service.posts(), 1 + made);
    second.kill();
    first.kill();
    wait_until("nothing is left", || service.there().is_empty());
    guardian_ends(folder.path());
}

/// Makes the ledger's files longer by rows that have ended.
fn fill(folder: &Path) {
    let connection = Connection::open(folder.join("ledger.db")).unwrap();
    connection.busy_timeout(BEATEN).unwrap();
    for n in 0..60 {
        connection
            .execute(
                "INSERT INTO audit VALUES (0, 'filled', ?1, ?2)",
                (n, "x".repeat(900)),
            )
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_made_is_named_and_nothing_is_created() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let ledger = ledger(&file.join("ledger"), service.address, BEATEN);
    let error = ledger.intend(intent(service.address, 4)).await.unwrap_err();
    assert_eq!(error.code(), Code::ConfigurationInvalid);
    assert!(error.message().contains("file/ledger"), "{error}");
    assert!(error.hint_text().contains("SPARKLEASE_DATA_DIR"));
    assert_eq!(service.posts(), 0);
}

/// A damaged file is put aside. The living owner's rows are in the new one; a dead owner's sessions are found by name.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_ledger_is_replaced_and_loses_no_session() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let stranger = "sl1-aaaaaa-aaaaaaaa-aaaaaaaaaa-htjz4";
    service.stranger(stranger);
    let living = ledger(folder.path(), service.address, BEATEN);
    let tag = open(&living, &service).await;
    let dead = {
        let dead = Process::start(folder.path(), &service, BEATEN);
        dead.says("BEGUN");
        let mut dead = dead;
        dead.order("intend");
        let tag = dead.says("INTENDED");
        dead.order("create");
        dead.says("ANSWERED Done");
        damage(folder.path());
        dead.kill();
        tag
    };
    wait_until("the dead one's session is found by its name", || {
        !service.there().contains(&dead)
    });
    let rows = living.rows().await.unwrap();
    assert!(
        living.intend(intent(service.address, 4)).await.is_ok(),
        "{rows:?}"
    );
    let row = living.inner.store().row(&tag).await.unwrap().unwrap();
    assert_eq!(row.state, RowState::Created);
    assert!(row.remote_id.is_some());
    let kept = fs::read_dir(folder.path()).unwrap().flatten();
    let kept = kept.filter(|e| e.file_name().to_string_lossy().contains(".damaged-"));
    assert!(kept.count() >= 1, "the damaged file is kept");
    living.remove(&tag).await.unwrap();
    assert_eq!(service.there(), [stranger]);
    living.stop().await;
    guardian_ends(folder.path());
}

/// Writes nonsense over the pages of the file and its log.
fn damage(folder: &Path) {
    for name in ["ledger.db", "ledger.db-wal"] {
        let path = folder.join(name);
        let Ok(before) = fs::read(&path) else {
            continue;
        };
        // In place, as a disk would do it.
        use std::io::Write;
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all(&vec![0x5a; before.len()]).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_a_password_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let ledger = ledger(folder.path(), service.address, BEATEN);
    let mut intent = intent(service.address, 4);
    intent.place.base = "https://name:word@host/path".to_owned();
    let error = ledger.intend(intent).await.unwrap_err();
    assert!(!error.message().contains("word@"));
    assert_eq!(ledger.rows().await.unwrap(), []);
}

/// A lost answer, and the process lives on: its own removal settles it.
#[tokio::test(flavor = "multi_thread")]
async fn a_create_without_an_answer_is_settled_by_its_own_process() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let ledger = ledger(folder.path(), service.address, BEATEN);
    service.answers(Answer::LandsLate, Answer::Given);
    let permit = ledger.intend(intent(service.address, 4)).await.unwrap();
    let answer = Client(service.address).create(&permit.tag).await;
    assert_eq!(answer, Create::NoAnswer);
    ledger.remove(&permit.tag).await.unwrap();
    assert_eq!(service.all().len(), 1, "it did turn up");
    let today = day_of(wall_now());
    assert_eq!(service.there(), Vec::<String>::new());
    let sweeper = Sweeper::new(folder.path().to_owned(), Vec::new(), timing()).unwrap();
    let rows = sweeper.rows().await.unwrap();
    assert_eq!(rows[0].state, RowState::Gone);
    let spent = sweeper
        .seconds(&TargetName::new("dev"), today)
        .await
        .unwrap();
    assert!(spent < 60, "{spent} s");
    ledger.stop().await;
    guardian_ends(folder.path());
}

/// What was written is known in memory, too: a delete needs no ledger at all.
#[tokio::test(flavor = "multi_thread")]
async fn without_any_ledger_an_own_session_is_deleted_by_what_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let ledger = ledger(folder.path(), service.address, BEATEN);
    let tag = open(&ledger, &service).await;
    service.answers(Answer::Lost, Answer::Given);
    let answerless = ledger.intend(intent(service.address, 4)).await.unwrap();
    Client(service.address).create(&answerless.tag).await;
    ledger.inner.store().break_down();
    let error = ledger.intend(intent(service.address, 4)).await.unwrap_err();
    assert!(error.message().contains("thread has ended"), "{error}");
    assert_eq!(service.posts(), 2);
    ledger.remove(&tag).await.unwrap();
    ledger.remove(&answerless.tag).await.unwrap();
    assert_eq!(service.there(), Vec::<String>::new());
    let stranger = ledger.remove(&Tag::new("sl1-nobody")).await;
    assert!(stranger.is_err());
    ledger.stop().await;
    guardian_ends(folder.path());
}

/// Whoever ended the row has looked before the create came to life.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_row_somebody_else_has_ended_is_deleted_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let ledger = ledger(folder.path(), service.address, BEATEN);
    let permit = ledger.intend(intent(service.address, 4)).await.unwrap();
    let store = ledger.inner.store();
    store.change(&permit.tag, Change::Gone, None).await.unwrap();
    let Create::Done(id) = Client(service.address).create(&permit.tag).await else {
        panic!("the service answers");
    };
    let lost = ledger.created(&permit.tag, &id).await.unwrap_err();
    assert_eq!(lost.code(), Code::SessionLost);
    assert_eq!(service.there().len(), 1);
    ledger.remove(&permit.tag).await.unwrap();
    assert_eq!(service.there(), Vec::<String>::new());
    // It is ours no more: once again is nothing to do.
    let deletes = service.deletes();
    ledger.remove(&permit.tag).await.unwrap();
    assert_eq!(service.deletes(), deletes);
    ledger.stop().await;
    guardian_ends(folder.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_session_is_not_given_up_while_its_owner_lives_nor_one_that_is_being_opened() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let ledger = ledger(folder.path(), service.address, BEATEN);
    let permit = ledger.intend(intent(service.address, 4)).await.unwrap();
    let open = open(&ledger, &service).await;
    let person = Sweeper::new(folder.path().to_owned(), Vec::new(), timing()).unwrap();
    for tag in [&permit.tag, &open] {
        let error = person.forget(tag).await.unwrap_err();
        assert_eq!(error.code(), Code::PolicyDenied, "{error}");
    }
    ledger.remove(&open).await.unwrap();
    ledger.never_created(&permit.tag).await.unwrap();
    ledger.stop().await;
    guardian_ends(folder.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_stopped_opens_nothing_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let ledger = ledger(folder.path(), service.address, BEATEN);
    let tag = open(&ledger, &service).await;
    ledger.remove(&tag).await.unwrap();
    ledger.stop().await;
    let error = ledger.intend(intent(service.address, 4)).await.unwrap_err();
    assert_eq!(error.code(), Code::Cancelled);
    let rows = ledger.rows().await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    guardian_ends(folder.path());
}
