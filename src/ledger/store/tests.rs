//! The store alone: what is durable, what the caps refuse, what is counted.

use super::*;
use crate::ledger::row::RowState;
use crate::platform::remote::Place;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path().join("ledger")).unwrap();
    (folder, store)
}

fn caps(sessions: usize) -> Caps {
    Caps {
        sessions,
        seconds_per_day: None,
    }
}

fn row(tag: &str) -> Row {
    row_of(tag, "dev", "aaaaaaaa")
}

fn row_of(tag: &str, target: &str, owner: &str) -> Row {
    Row {
        tag: Tag::new(tag),
        owner: Owner::parse(owner).unwrap(),
        epoch: 1,
        target: TargetName::new(target),
        place: Place {
            platform: "test".to_owned(),
            base: "http://somewhere".to_owned(),
            principal: "somebody".to_owned(),
        },
        remote_id: None,
        state: RowState::Intended,
        created: wall_now(),
        expires: wall_now() + Duration::from_secs(3600),
        attempts: 0,
        stuck: false,
        last_error: None,
    }
}

fn created(id: &str) -> Change {
    Change::Created(id.to_owned())
}

#[tokio::test]
async fn an_intent_is_in_the_file_when_it_returns() {
    let (folder, store) = store();
    let row = row("a");
    store.intend(row.clone(), caps(4)).await.unwrap();
    let file = folder.path().join("ledger/ledger.db");
    assert!(has_row(&file, "a"));
    assert!(!has_row(&file, "b"));
    assert_eq!(
        store.rows().await.unwrap(),
        [row].map(|expected| Row {
            created: Duration::from_secs(expected.created.as_secs()),
            expires: Duration::from_secs(expected.expires.as_secs()),
            ..expected
        })
    );
}

#[tokio::test]
async fn commits_are_durable_and_the_folder_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, store) = store();
    store.open().await.unwrap();
    let settings = store
        .call(|db| {
            db.run(Need::Read, |connection| {
                let ask = |name: &str| {
                    connection.query_row(&format!("PRAGMA {name}"), [], |row| {
                        row.get::<_, rusqlite::types::Value>(0)
                    })
                };
                Ok([
                    ask("journal_mode")?,
                    ask("synchronous")?,
                    ask("fullfsync")?,
                    ask("busy_timeout")?,
                ])
            })
        })
        .await
        .unwrap();
    let number = rusqlite::types::Value::Integer;
    let wal = rusqlite::types::Value::Text("wal".to_owned());
    assert_eq!(settings, [wal, number(2), number(1), number(10_000)]);
    let metadata = std::fs::metadata(folder.path().join("ledger")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn the_cap_counts_every_row_that_is_not_gone() {
    let (_folder, store) = store();
    store.intend(row("a"), caps(2)).await.unwrap();
    store
        .intend(row_of("b", "dev", "bbbbbbbb"), caps(2))
        .await
        .unwrap();
    store
        .change(&Tag::new("b"), Change::Deleting, None)
        .await
        .unwrap();
    let error = store.intend(row("c"), caps(2)).await.unwrap_err();
    assert_eq!(error.code(), Code::SessionsExhausted);
    store
        .intend(row_of("d", "other", "aaaaaaaa"), caps(2))
        .await
        .unwrap();
    store
        .change(&Tag::new("b"), Change::Gone, None)
        .await
        .unwrap();
    store.intend(row("c"), caps(2)).await.unwrap();
}

#[tokio::test]
async fn two_stuck_rows_close_their_target_and_no_other() {
    let (_folder, store) = store();
    for tag in ["a", "b"] {
        store.intend(row(tag), caps(9)).await.unwrap();
    }
    store
        .attempted(&Tag::new("a"), Some(Code::PermissionDenied), true)
        .await
        .unwrap();
    store.intend(row("c"), caps(9)).await.unwrap();
    store.attempted(&Tag::new("b"), None, true).await.unwrap();
    let error = store.intend(row("d"), caps(9)).await.unwrap_err();
    assert_eq!(error.code(), Code::CapacityUnavailable);
    assert!(
        error
            .hint_text()
            .contains("sessions forget TAG --i-checked")
    );
    store
        .intend(row_of("e", "other", "aaaaaaaa"), caps(9))
        .await
        .unwrap();
    let forgotten = store.forget(&Tag::new("a")).await.unwrap();
    assert_eq!((forgotten.state, forgotten.stuck), (RowState::Gone, false));
    store.intend(row("d"), caps(9)).await.unwrap();
    let again = store.forget(&Tag::new("a")).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
    let lines = store
        .call(|db| {
            db.run(Need::Read, |connection| {
                Ok(
                    connection.query_row("SELECT count(*), min(tag) FROM audit", [], |row| {
                        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
                    })?,
                )
            })
        })
        .await
        .unwrap();
    assert_eq!(lines, (1, "a".to_owned()));
}

#[tokio::test]
async fn seconds_count_from_the_intent_of_what_was_created_and_the_budget_ends_a_day() {
    let (_folder, store) = store();
    let today = day_of(wall_now());
    let begun = |tag, seconds_ago| Row {
        created: wall_now() - Duration::from_secs(seconds_ago),
        ..row(tag)
    };
    // Long enough ago to be over midnight in no test's way: both days are added up.
    let spent = async |store: &Store| {
        let target = TargetName::new("dev");
        let days = [today - 1, today, today + 1].map(|day| store.seconds(&target, day));
        let seconds = futures::future::join_all(days).await;
        seconds.into_iter().map(Result::unwrap).sum::<u64>()
    };
    store.intend(begun("a", 100), caps(9)).await.unwrap();
    assert_eq!(spent(&store).await, 0, "nothing is known to exist");
    store
        .change(&Tag::new("a"), created("7"), None)
        .await
        .unwrap();
    let running = spent(&store).await;
    assert!((100..110).contains(&running), "{running}");
    store
        .change(&Tag::new("a"), Change::Gone, None)
        .await
        .unwrap();
    let ended = spent(&store).await;
    assert!((100..110).contains(&ended), "{ended}");
    store.intend(begun("b", 50), caps(9)).await.unwrap();
    store
        .change(&Tag::new("b"), Change::NeverCreated, None)
        .await
        .unwrap();
    assert_eq!(spent(&store).await, ended);
    let budget = |seconds| Caps {
        sessions: 9,
        seconds_per_day: Some(seconds),
    };
    store.intend(row("c"), budget(100_000)).await.unwrap();
    let error = store.intend(row("d"), budget(0)).await.unwrap_err();
    assert_eq!(error.code(), Code::BudgetExceeded);
}

#[tokio::test]
async fn a_clock_that_jumps_charges_no_more_than_a_session_s_life() {
    let (_folder, store) = store();
    let old = Row {
        created: Duration::from_secs(1000),
        expires: Duration::from_secs(1060),
        ..row("a")
    };
    store.intend(old, caps(9)).await.unwrap();
    store
        .change(&Tag::new("a"), created("7"), None)
        .await
        .unwrap();
    store
        .change(&Tag::new("a"), Change::Gone, None)
        .await
        .unwrap();
    let target = TargetName::new("dev");
    assert_eq!(store.seconds(&target, 0).await.unwrap(), 60);
    assert_eq!(store.seconds(&target, day_of(wall_now())).await.unwrap(), 0);
}

#[tokio::test]
async fn who_has_lost_a_row_can_write_to_it_no_more() {
    let (_folder, store) = store();
    store.intend(row("a"), caps(4)).await.unwrap();
    let writer = Some(Writer {
        owner: row("a").owner,
        epoch: 1,
    });
    store
        .change(&Tag::new("a"), created("7"), writer.clone())
        .await
        .unwrap();
    let taken = store.take_over(&row("a").owner).await.unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].epoch, 2);
    let error = store
        .change(&Tag::new("a"), Change::Deleting, writer)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::SessionLost);
}

#[tokio::test]
async fn an_intent_that_nobody_waits_for_is_taken_back() {
    let (_folder, store) = store();
    store.open().await.unwrap();
    {
        let intent = store.intend(row("a"), caps(4));
        tokio::pin!(intent);
        // Sent, and given up before an answer can be there.
        assert!(futures::poll!(&mut intent).is_pending());
    }
    let row = store.row(&Tag::new("a")).await.unwrap();
    assert!(row.is_none_or(|row| row.state == RowState::Gone));
    assert!(
        store
            .rows()
            .await
            .unwrap()
            .iter()
            .all(|row| row.state == RowState::Gone)
    );
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_left_alone() {
    let (folder, store) = store();
    store
        .sql(Need::Write, "PRAGMA user_version = 7")
        .await
        .unwrap();
    let other = Store::start(folder.path().join("ledger")).unwrap();
    let error = other.intend(row("a"), caps(4)).await.unwrap_err();
    assert_eq!(error.code(), Code::ConfigurationInvalid);
    assert!(error.message().contains("version 7"), "{error}");
}

#[tokio::test]
async fn two_processes_that_begin_at_once_share_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let stores: Vec<Store> = (0..8)
        .map(|_| Store::start(folder.path().to_owned()).unwrap())
        .collect();
    let intents = stores
        .iter()
        .enumerate()
        .map(|(n, store)| store.intend(row(&n.to_string()), caps(5)));
    let made = futures::future::join_all(intents).await;
    let refused = made.iter().filter_map(|made| made.as_ref().err());
    let codes: Vec<Code> = refused.map(Error::code).collect();
    assert_eq!(codes, [Code::SessionsExhausted; 3]);
    assert_eq!(stores[0].rows().await.unwrap().len(), 5);
}

#[tokio::test]
async fn another_process_s_new_file_gets_our_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path().to_owned()).unwrap();
    store.intend(row("a"), caps(4)).await.unwrap();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        let _ = std::fs::rename(
            folder.path().join(name),
            folder.path().join(format!("{name}.old")),
        );
    }
    store.intend(row("b"), caps(4)).await.unwrap();
    let file = folder.path().join("ledger.db");
    assert!(has_row(&file, "a") && has_row(&file, "b"));
    assert!(store.take_replaced(), "rows of the dead are missing");
    assert!(!store.take_replaced());
}

/// The answer has come, and nobody takes it any more: nobody can have sent the create.
#[tokio::test]
async fn an_intent_whose_caller_goes_away_at_the_last_moment_is_taken_back() {
    let (folder, store) = store();
    let file = folder.path().join("ledger/ledger.db");
    let mut intent = Box::pin(store.intend(row("a"), caps(1)));
    assert!(futures::poll!(&mut intent).is_pending());
    let begun = std::time::Instant::now();
    while !has_row(&file, "a") {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(5));
    }
    // A job after it: by now its answer waits to be taken.
    store.open().await.unwrap();
    drop(intent);
    store.open().await.unwrap();
    let row = store.row(&Tag::new("a")).await.unwrap().unwrap();
    assert_eq!(row.state, RowState::Gone);
    store.intend(self::row("b"), caps(1)).await.unwrap();
}
