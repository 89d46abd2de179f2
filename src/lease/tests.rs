//! The pool with a platform that may do anything, on paused time; afterwards the sessions are counted.

mod fake;

use std::sync::Arc;
use std::time::Duration;

use rstest::rstest;
use tokio::time::Instant;

use self::fake::{Fake, Gate, SLOW};
use super::*;
use crate::model::{Code, OwnerId, Result, SessionInfo, SessionName, SessionPhase, TargetName};
use crate::platform::Reporter;

const SECOND: Duration = Duration::from_secs(1);
/// Longer than every slow or repeated await of the fake.
const ENOUGH: Duration = Duration::from_secs(120);

struct Pool {
    handle: LeaseHandle,
    fake: Arc<Fake>,
}

fn ow(name: &str) -> OwnerId {
    OwnerId::new(name)
}

fn nm(name: &str) -> SessionName {
    SessionName::new(name)
}

fn request(owner: &str, session: Option<&str>, wait: Duration) -> AcquireRequest {
    AcquireRequest {
        owner: ow(owner),
        target: TargetName::new("dev"),
        session: session.map(nm),
        deadline: Instant::now() + wait,
        report: Reporter::new().0,
    }
}

impl Pool {
    fn new(open: Gate, close: Gate) -> Self {
        Self::with(
            open,
            close,
            Limits {
                sessions: 2,
                ..Limits::default()
            },
        )
    }

    fn with(open: Gate, close: Gate, limits: Limits) -> Self {
        let fake = Arc::new(Fake::new(open, close));
        let target = (
            Arc::clone(&fake) as Arc<dyn crate::platform::Platform>,
            limits,
        );
        let handle = LeaseHandle::start(Targets::from([(TargetName::new("dev"), target)]), None);
        Self { handle, fake }
    }

    async fn acquire(&self, owner: &str) -> Result<Lease> {
        self.handle.acquire(request(owner, None, ENOUGH)).await
    }

    async fn open(&self, owner: &str, name: &str) -> Result<SessionInfo> {
        let request = OpenRequest {
            owner: ow(owner),
            target: TargetName::new("dev"),
            name: Some(nm(name)),
            deadline: Instant::now() + ENOUGH,
            report: Reporter::new().0,
        };
        self.handle.open_named(request).await
    }

    /// Lets everything run that can run now. Each message is heard in order, so an answer proves that those before
    /// it were heard.
    async fn settled(&self) {
        for _ in 0..8 {
            tokio::task::yield_now().await;
            self.handle.list(ow("nobody"), None).await;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Healthy,
    Lost,
    Dropped,
    HeldThroughShutdown,
}

/// Every way in which open, close, caller and lease can end, together.
#[rstest]
#[tokio::test(start_paused = true)]
async fn nothing_is_left_whatever_happens(
    #[values(
        Gate::Ok,
        Gate::Err,
        Gate::Slow,
        Gate::Never,
        Gate::Panic,
        Gate::UntilUnwanted
    )]
    open: Gate,
    #[values(Gate::Ok, Gate::Err, Gate::Slow, Gate::Never, Gate::Panic)] close: Gate,
    #[values(End::Healthy, End::Lost, End::Dropped, End::HeldThroughShutdown)] end: End,
) {
    // A caller that goes away before it is heard, after, while the open runs, when the lease is on its way, or not.
    for patience in [Some(0), Some(1), Some(9), Some(11), None] {
        let pool = Pool::new(open, close);
        let mut acquire = Box::pin(pool.acquire("a"));
        let mut held = None;
        if let Some(patience) = patience {
            if patience > 0 {
                assert!(futures::poll!(&mut acquire).is_pending());
                tokio::time::sleep(patience * SECOND).await;
            }
            drop(acquire);
        } else {
            match acquire.await {
                Ok(lease) if end == End::Healthy => lease.release(Outcome::Healthy),
                Ok(lease) if end == End::Lost => lease.release(Outcome::Lost("it died".to_owned())),
                Ok(lease) if end == End::Dropped => drop(lease),
                Ok(lease) => held = Some(lease),
                Err(error) => {
                    let expected = match open {
                        Gate::Err => Code::PlatformUnavailable,
                        Gate::Panic => Code::Internal,
                        Gate::Ok | Gate::Slow | Gate::Never | Gate::UntilUnwanted => Code::Timeout,
                    };
                    assert_eq!(error.code(), expected);
                }
            }
        }
        let left = pool.handle.shutdown(ENOUGH).await;
        drop(held);
        let begun = patience != Some(0);
        let stuck = begun && (open == Gate::Never || close == Gate::Never);
        assert_eq!(left, usize::from(stuck), "patience {patience:?}");
        assert_eq!(
            pool.fake.live(),
            usize::from(stuck),
            "patience {patience:?}"
        );
    }
}

/// At every half second of a slow open: the caller goes away, and the next call gets that very session.
#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_loses_nothing() {
    for halves in 0..=24 {
        let pool = Pool::new(Gate::Slow, Gate::Ok);
        let mut gone = Box::pin(pool.acquire("a"));
        assert!(futures::poll!(&mut gone).is_pending());
        tokio::time::sleep(SECOND / 2 * halves).await;
        // Not polled since: from the twentieth on the lease lies in the channel.
        drop(gone);
        pool.settled().await;
        let lease = pool.acquire("a").await.unwrap();
        assert_eq!(pool.fake.opens(), 1, "after {halves} half seconds");
        lease.release(Outcome::Healthy);
        assert_eq!(pool.handle.shutdown(ENOUGH).await, 0);
        assert_eq!(pool.fake.live(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_released_session_is_used_again_and_a_dropped_one_is_closed() {
    let pool = Pool::new(Gate::Ok, Gate::Ok);
    let lease = pool.acquire("a").await.unwrap();
    let first = lease.session.id.clone();
    lease.release(Outcome::Healthy);
    let lease = pool.acquire("a").await.unwrap();
    assert_eq!(lease.session.id, first);
    drop(lease);
    pool.settled().await;
    assert_eq!(pool.fake.live(), 0);
    let lease = pool.acquire("a").await.unwrap();
    assert_ne!(lease.session.id, first);
}

#[tokio::test(start_paused = true)]
async fn a_named_session_whose_lease_was_dropped_says_why_it_is_gone() {
    let pool = Pool::new(Gate::Ok, Gate::Ok);
    pool.open("a", "x").await.unwrap();
    let lease = pool
        .handle
        .acquire(request("a", Some("x"), ENOUGH))
        .await
        .unwrap();
    assert_eq!(lease.named, Some(nm("x")));
    drop(lease);
    let error = pool
        .handle
        .acquire(request("a", Some("x"), ENOUGH))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::SessionLost);
    assert_eq!(
        error.message(),
        "session \"x\" is gone: the statement's task ended without giving the session back"
    );
    assert_eq!(pool.open("a", "x").await.unwrap().phase, SessionPhase::Free);
    let found = pool.handle.find(ow("a"), nm("x")).await.unwrap();
    assert_eq!(found.target, TargetName::new("dev"));
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_the_proof_or_says_that_it_is_under_way() {
    for (gate, phase) in [
        (Gate::Slow, SessionPhase::Closed),
        (Gate::Never, SessionPhase::Closing),
    ] {
        let pool = Pool::new(Gate::Ok, gate);
        pool.open("a", "x").await.unwrap();
        let closed = pool
            .handle
            .close(ow("a"), nm("x"), Instant::now() + ENOUGH)
            .await
            .unwrap();
        assert_eq!(closed.phase, phase);
        assert_eq!(closed.reason.as_deref(), Some("closed by close_session"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_that_nobody_wants_any_more_is_not_waited_for() {
    let pool = Pool::new(Gate::UntilUnwanted, Gate::Ok);
    let mut opens = Box::pin(pool.open("a", "x"));
    assert!(futures::poll!(&mut opens).is_pending());
    tokio::time::sleep(SECOND).await;
    let begun = Instant::now();
    let closed = pool.handle.close(ow("a"), nm("x"), begun + ENOUGH).await;
    assert_eq!(closed.unwrap().phase, SessionPhase::Closed);
    assert_eq!(opens.await.unwrap_err().code(), Code::SessionLost);
    let mut waits = Box::pin(pool.acquire("a"));
    assert!(futures::poll!(&mut waits).is_pending());
    pool.settled().await;
    assert_eq!(pool.fake.live(), 1);
    pool.handle.owner_gone(ow("a"));
    assert_eq!(waits.await.unwrap_err().code(), Code::Cancelled);
    pool.settled().await;
    assert_eq!((pool.fake.opens(), pool.fake.live()), (2, 0));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_warm_session_is_there_before_anybody_asks_and_is_not_opened_for_the_one_who_does() {
    let limits = Limits {
        sessions: 3,
        warm: 1,
        ..Limits::default()
    };
    let pool = Pool::with(Gate::Slow, Gate::Ok, limits);
    pool.handle.keep_warm();
    tokio::time::sleep(SLOW + SECOND).await;
    assert_eq!((pool.fake.opens(), pool.fake.live()), (1, 1));
    let begun = Instant::now();
    let lease = pool.acquire("a").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    tokio::time::sleep(SLOW + SECOND).await;
    assert_eq!(pool.fake.opens(), 2, "another one is opened");
    lease.release(Outcome::Healthy);
    assert_eq!(pool.handle.shutdown(ENOUGH).await, 0);
    assert_eq!(pool.fake.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_ends_at_its_deadline() {
    let limits = Limits {
        sessions: 1,
        ..Limits::default()
    };
    let pool = Pool::with(Gate::Ok, Gate::Ok, limits);
    let lease = pool.acquire("a").await.unwrap();
    let begun = Instant::now();
    let error = pool
        .handle
        .acquire(request("b", None, 25 * SECOND))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::SessionsExhausted);
    assert_eq!(begun.elapsed().as_secs(), 25);
    lease.release(Outcome::Healthy);
}

#[tokio::test(start_paused = true)]
async fn free_sessions_go_after_their_idle_limit_without_anybodys_doing() {
    let pool = Pool::new(Gate::Ok, Gate::Err);
    pool.acquire("a").await.unwrap().release(Outcome::Healthy);
    tokio::time::sleep(299 * SECOND).await;
    assert_eq!(pool.fake.live(), 1);
    // The close fails twice, and is tried again after 1 s and 2 s.
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(pool.fake.live(), 0);
    assert!(pool.handle.list(ow("a"), None).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_vanished_client_leaves_no_session() {
    let pool = Pool::new(Gate::Ok, Gate::Ok);
    let lease = pool.acquire("a").await.unwrap();
    pool.open("a", "x").await.unwrap();
    let mut waits = Box::pin(pool.acquire("a"));
    assert!(futures::poll!(&mut waits).is_pending());
    pool.handle.owner_gone(ow("a"));
    assert_eq!(waits.await.unwrap_err().code(), Code::Cancelled);
    pool.settled().await;
    assert_eq!(pool.fake.live(), 0);
    lease.release(Outcome::Healthy);
    assert!(pool.acquire("a").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_everything() {
    for open in [Gate::Ok, Gate::Slow] {
        let Pool { handle, fake } = Pool::new(open, Gate::Err);
        let mut asked = Box::pin(handle.acquire(request("a", None, ENOUGH)));
        assert!(futures::poll!(&mut asked).is_pending());
        tokio::time::sleep(SECOND).await;
        drop(asked);
        drop(handle);
        tokio::time::sleep(SLOW + 5 * SECOND).await;
        assert_eq!((fake.opens(), fake.live()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn progress_of_the_open_reaches_the_call_that_waits() {
    let pool = Pool::new(Gate::Slow, Gate::Ok);
    let (report, words) = Reporter::new();
    let request = AcquireRequest {
        report,
        ..request("a", None, ENOUGH)
    };
    let mut acquire = Box::pin(pool.handle.acquire(request));
    assert!(futures::poll!(&mut acquire).is_pending());
    tokio::time::sleep(SECOND).await;
    let said = words.borrow().clone().map(|p| p.phase);
    assert_eq!(said.as_deref(), Some("starting the engine"));
    acquire.await.unwrap().release(Outcome::Healthy);
}

#[tokio::test(start_paused = true)]
async fn shutdown_refuses_new_calls_and_twice_is_safe() {
    let pool = Pool::new(Gate::Ok, Gate::Slow);
    let _held = pool.acquire("a").await.unwrap();
    let (first, second) = tokio::join!(pool.handle.shutdown(ENOUGH), pool.handle.shutdown(SECOND));
    assert_eq!((first, second), (0, 1));
    assert_eq!(pool.acquire("a").await.unwrap_err().code(), Code::Cancelled);
}

/// Real threads: no session is ever with two owners or in two leases, and none is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_clients_at_once_share_nothing() {
    let limits = Limits {
        sessions: 3,
        ..Limits::default()
    };
    let pool = Pool::with(Gate::Ok, Gate::Ok, limits);
    let holders = Arc::new(std::sync::Mutex::new(std::collections::BTreeMap::new()));
    let clients = (0..8_u64).map(|n| {
        let (handle, holders) = (pool.handle.clone(), Arc::clone(&holders));
        tokio::spawn(async move {
            let owner = format!("owner-{n}");
            for round in 0..100_u64 {
                let asked = handle.acquire(request(&owner, None, ENOUGH));
                if round % 7 == n % 7 {
                    let mut asked = Box::pin(asked);
                    let _ = futures::poll!(&mut asked);
                    continue;
                }
                let lease = asked.await.unwrap();
                let id = lease.session.id.clone();
                {
                    let mut holders = holders.lock().unwrap();
                    let (of, leased) = holders.entry(id.clone()).or_insert((n, false));
                    assert_eq!((*of, *leased), (n, false));
                    *leased = true;
                }
                tokio::task::yield_now().await;
                holders.lock().unwrap().insert(id, (n, false));
                match round % 11 {
                    0 => drop(lease),
                    1 => lease.release(Outcome::Lost("it died".to_owned())),
                    _ => lease.release(Outcome::Healthy),
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert_eq!(pool.handle.shutdown(ENOUGH).await, 0);
    assert_eq!(pool.fake.live(), 0);
}
