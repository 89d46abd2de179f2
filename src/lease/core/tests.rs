//! The pool's transitions one by one, and the texts that callers read.

mod crowded;
mod warm;

use insta::assert_snapshot;
use rstest::rstest;

use super::*;
use crate::model::{Code, Retry};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A pool on one or two targets, and what it said last.
struct Pool {
    state: State,
    at: Moment,
    waiters: u64,
}

fn ow(n: &str) -> OwnerId {
    OwnerId::new(n)
}

fn dev() -> TargetName {
    TargetName::new("dev")
}

fn se(n: u64) -> SessionId {
    SessionId::new(format!("se_t_{n}"))
}

fn nm(name: &str) -> SessionName {
    SessionName::new(name)
}

fn failed(retry: Retry) -> Error {
    Error::new(Code::CapacityUnavailable, "the platform has no room").retry(retry)
}

/// One effect in words, so that tables can be read.
fn words(effect: &Effect) -> String {
    match effect {
        Effect::OpenSession { session, .. } => format!("open {session}"),
        Effect::GiveUpOpen { session } => format!("give up {session}"),
        Effect::CloseSession { session, .. } => format!("close {session}"),
        Effect::Grant {
            waiter, session, ..
        } => format!("{} gets {session}", waiter.0),
        Effect::Inform { waiter, info } => {
            let name = info.name.as_ref().map_or("-", |n| n.as_str());
            format!("{} hears {name} {:?}", waiter.0, info.phase)
        }
        Effect::Refuse { waiter, error } => format!("{} refused {}", waiter.0, error.code()),
        Effect::Say { waiter, progress } => format!("{} told {}", waiter.0, progress.phase),
    }
}

impl Pool {
    fn new(sessions: usize) -> Self {
        Self::with(Limits {
            sessions,
            queue: 3,
            ..Limits::default()
        })
    }

    fn with(limits: Limits) -> Self {
        Self {
            state: State::new("t", [(dev(), limits)]),
            at: Moment {
                mono: SECOND,
                wall: 1000 * SECOND,
            },
            waiters: 0,
        }
    }

    fn next(&mut self) -> WaiterId {
        self.waiters += 1;
        WaiterId(self.waiters)
    }

    /// What the event leads to, without the notices.
    fn step(&mut self, event: Event) -> Vec<String> {
        let effects = self.state.step(self.at, event);
        let silent = |e: &&Effect| !matches!(e, Effect::Say { .. });
        effects.iter().filter(silent).map(words).collect()
    }

    fn error(&mut self, event: Event) -> Error {
        let effects = self.state.step(self.at, event);
        let error = effects.into_iter().find_map(|e| match e {
            Effect::Refuse { error, .. } => Some(error),
            _ => None,
        });
        error.expect("a refusal")
    }

    fn any(&mut self, owner: &str) -> Event {
        self.acquire(owner, None)
    }

    fn acquire(&mut self, owner: &str, session: Option<&str>) -> Event {
        Event::Acquire {
            waiter: self.next(),
            owner: ow(owner),
            target: dev(),
            session: session.map(nm),
            deadline: self.at.mono + 25 * SECOND,
        }
    }

    fn open(&mut self, owner: &str, name: Option<&str>) -> Event {
        Event::Open {
            waiter: self.next(),
            owner: ow(owner),
            target: dev(),
            name: name.map(nm),
            deadline: self.at.mono + 25 * SECOND,
        }
    }

    fn close(&mut self, owner: &str, name: &str) -> Event {
        Event::Close {
            waiter: self.next(),
            owner: ow(owner),
            name: nm(name),
            deadline: self.at.mono + 25 * SECOND,
        }
    }

    /// A call of this owner that has its session, the `n`th.
    fn leased(&mut self, owner: &str, n: u64) -> WaiterId {
        let event = self.any(owner);
        self.step(event);
        self.step(Event::Opened { session: se(n) });
        WaiterId(self.waiters)
    }

    fn named(&mut self, owner: &str, name: &str, n: u64) {
        let event = self.open(owner, Some(name));
        self.step(event);
        self.step(Event::Opened { session: se(n) });
    }

    fn released(&mut self, n: u64, lease: WaiterId, outcome: Outcome) -> Vec<String> {
        self.step(Event::Release {
            session: se(n),
            lease,
            outcome,
        })
    }

    fn pass(&mut self, time: Duration) -> Vec<String> {
        self.at.mono += time;
        self.at.wall += time;
        self.step(Event::Tick)
    }

    fn stage(&self, n: u64) -> Option<&Stage> {
        self.state.sessions.get(&se(n)).map(|s| &s.stage)
    }
}

#[test]
fn first_call_opens_and_the_next_reuses() {
    let mut pool = Pool::new(2);
    let event = pool.any("a");
    assert_eq!(pool.step(event), ["open se_t_1"]);
    assert_eq!(
        pool.step(Event::Opened { session: se(1) }),
        ["1 gets se_t_1"]
    );
    assert_eq!(pool.released(1, WaiterId(1), Outcome::Healthy), [""; 0]);
    let event = pool.any("a");
    assert_eq!(pool.step(event), ["2 gets se_t_1"]);
}

#[test]
fn a_second_session_opens_while_the_first_is_busy_and_the_third_call_queues() {
    let mut pool = Pool::new(2);
    pool.leased("a", 1);
    pool.leased("a", 2);
    let event = pool.any("a");
    assert_eq!(pool.step(event), [""; 0]);
    assert_eq!(
        pool.released(2, WaiterId(2), Outcome::Healthy),
        ["3 gets se_t_2"]
    );
}

#[test]
fn the_last_used_session_is_taken_first() {
    let mut pool = Pool::new(2);
    let (first, second) = (pool.leased("a", 1), pool.leased("a", 2));
    pool.released(2, second, Outcome::Healthy);
    pool.at.mono += SECOND;
    pool.released(1, first, Outcome::Healthy);
    let event = pool.any("a");
    assert_eq!(pool.step(event), ["3 gets se_t_1"]);
}

#[test]
fn another_owners_longest_free_session_makes_room() {
    let mut pool = Pool::new(2);
    let (first, second) = (pool.leased("a", 1), pool.leased("a", 2));
    pool.released(2, second, Outcome::Healthy);
    pool.at.mono += SECOND;
    pool.released(1, first, Outcome::Healthy);
    let event = pool.any("b");
    assert_eq!(pool.step(event), ["close se_t_2"]);
    assert_eq!(pool.step(Event::Closed { session: se(2) }), ["open se_t_3"]);
    assert_eq!(
        pool.step(Event::Opened { session: se(3) }),
        ["3 gets se_t_3"]
    );
    assert_eq!(pool.stage(1), Some(&Stage::Idle));
}

#[rstest]
#[case::own("a")]
#[case::anothers("b")]
fn a_free_named_session_is_never_closed_to_make_room(#[case] who: &str) {
    let mut pool = Pool::new(1);
    pool.named("a", "x", 1);
    let event = pool.any(who);
    assert_eq!(pool.step(event), [""; 0]);
    assert_eq!(pool.pass(25 * SECOND), ["2 refused sessions_exhausted"]);
    assert_eq!(pool.stage(1), Some(&Stage::Idle));
}

#[test]
fn a_session_that_others_wait_for_goes_at_the_end_of_its_statement() {
    let mut pool = Pool::new(1);
    let lease = pool.leased("a", 1);
    for who in ["a", "b"] {
        let event = pool.any(who);
        assert_eq!(pool.step(event), [""; 0]);
    }
    assert_eq!(pool.released(1, lease, Outcome::Healthy), ["close se_t_1"]);
    assert_eq!(pool.step(Event::Closed { session: se(1) }), ["open se_t_2"]);
    assert_eq!(
        pool.step(Event::Opened { session: se(2) }),
        ["3 gets se_t_2"]
    );
    // And back again.
    assert_eq!(
        pool.released(2, WaiterId(3), Outcome::Healthy),
        ["close se_t_2"]
    );
    assert_eq!(pool.step(Event::Closed { session: se(2) }), ["open se_t_3"]);
    assert_eq!(
        pool.step(Event::Opened { session: se(3) }),
        ["2 gets se_t_3"]
    );
}

#[test]
fn a_named_session_runs_one_statement_at_a_time_in_order() {
    let mut pool = Pool::new(3);
    pool.named("a", "x", 1);
    let event = pool.acquire("a", Some("x"));
    assert_eq!(pool.step(event), ["2 gets se_t_1"]);
    for _ in 0..2 {
        let event = pool.acquire("a", Some("x"));
        assert_eq!(pool.step(event), [""; 0]);
    }
    assert_eq!(
        pool.released(1, WaiterId(2), Outcome::Healthy),
        ["3 gets se_t_1"]
    );
    assert_eq!(
        pool.released(1, WaiterId(3), Outcome::Healthy),
        ["4 gets se_t_1"]
    );
}

#[test]
fn a_statement_for_a_session_that_is_opening_waits_for_it() {
    let mut pool = Pool::new(1);
    let event = pool.open("a", Some("x"));
    assert_eq!(pool.step(event), ["open se_t_1"]);
    let event = pool.acquire("a", Some("x"));
    assert_eq!(pool.step(event), [""; 0]);
    assert_eq!(
        pool.step(Event::Opened { session: se(1) }),
        ["1 hears x Free", "2 gets se_t_1"]
    );
}

#[test]
fn opening_a_live_name_is_answered_with_the_live_session() {
    let mut pool = Pool::new(2);
    pool.named("a", "x", 1);
    let event = pool.open("a", Some("x"));
    assert_eq!(pool.step(event), ["2 hears x Free"]);
    let event = pool.acquire("a", Some("x"));
    pool.step(event);
    let event = pool.open("a", Some("x"));
    assert_eq!(pool.step(event), ["4 hears x Busy"]);
}

#[test]
fn names_belong_to_their_owner() {
    let mut pool = Pool::new(2);
    pool.named("a", "x", 1);
    let event = pool.acquire("b", Some("x"));
    assert_eq!(pool.step(event), ["2 refused not_found"]);
    let event = pool.close("b", "x");
    assert_eq!(pool.step(event), ["3 refused not_found"]);
    let event = pool.open("b", Some("x"));
    assert_eq!(pool.step(event), ["open se_t_2"]);
}

#[test]
fn invented_names_are_free_and_never_used_twice() {
    let mut pool = Pool::new(3);
    pool.named("a", "session-1", 1);
    let event = pool.open("a", None);
    pool.step(event);
    assert_eq!(
        pool.step(Event::Opened { session: se(2) }),
        ["2 hears session-2 Free"]
    );
    let event = pool.close("a", "session-2");
    assert_eq!(pool.step(event), ["close se_t_2"]);
    assert_eq!(
        pool.step(Event::Closed { session: se(2) }),
        ["3 hears session-2 Closed"]
    );
    let event = pool.open("a", None);
    pool.step(event);
    assert_eq!(
        pool.step(Event::Opened { session: se(3) }),
        ["4 hears session-3 Free"]
    );
}

#[test]
fn a_lost_name_says_so_until_it_is_opened_anew() {
    let mut pool = Pool::new(2);
    pool.named("a", "x", 1);
    let events = [pool.acquire("a", Some("x")), pool.acquire("a", Some("x"))];
    for event in events {
        pool.step(event);
    }
    let lost = Outcome::Lost("the worker was killed".to_owned());
    assert_eq!(
        pool.released(1, WaiterId(2), lost),
        ["close se_t_1", "3 refused session_lost"]
    );
    for _ in 0..2 {
        let event = pool.acquire("a", Some("x"));
        assert_eq!(pool.error(event).code(), Code::SessionLost);
    }
    pool.named("a", "x", 2);
    let event = pool.acquire("a", Some("x"));
    assert_eq!(pool.step(event), ["7 gets se_t_2"]);
}

#[test]
fn a_lost_name_is_remembered_for_an_hour() {
    let mut pool = Pool::new(2);
    pool.named("a", "x", 1);
    let event = pool.close("a", "x");
    pool.step(event);
    pool.step(Event::Closed { session: se(1) });
    let event = pool.close("a", "x");
    assert_eq!(pool.step(event), ["3 hears x Closed"]);
    pool.pass(60 * MINUTE);
    let event = pool.close("a", "x");
    assert_eq!(pool.step(event), ["4 refused not_found"]);
    let event = pool.acquire("a", Some("x"));
    assert_eq!(pool.step(event), ["5 refused not_found"]);
}

#[test]
fn a_hundred_lost_names_are_remembered() {
    let mut pool = Pool::new(1);
    for n in 1..=101 {
        pool.named("a", &format!("x{n}"), n);
        let event = pool.close("a", &format!("x{n}"));
        pool.step(event);
        pool.step(Event::Closed { session: se(n) });
    }
    let codes = ["x1", "x2", "x101"].map(|name| {
        let found = pool.state.find(pool.at, &ow("a"), &nm(name));
        found.unwrap_err().code()
    });
    assert_eq!(
        codes,
        [Code::NotFound, Code::SessionLost, Code::SessionLost]
    );
}

#[test]
fn close_ends_a_running_statements_session_and_waits_for_the_proof() {
    let mut pool = Pool::new(1);
    pool.named("a", "x", 1);
    let event = pool.acquire("a", Some("x"));
    pool.step(event);
    let event = pool.close("a", "x");
    assert_eq!(pool.step(event), ["close se_t_1"]);
    let event = pool.close("a", "x");
    assert_eq!(pool.step(event), [""; 0]);
    // The statement's own end changes nothing any more.
    assert_eq!(pool.released(1, WaiterId(2), Outcome::Healthy), [""; 0]);
    let heard = ["3 hears x Closed", "4 hears x Closed"];
    assert_eq!(pool.step(Event::Closed { session: se(1) }), heard);
}

#[test]
fn close_answers_at_its_deadline_that_it_is_under_way() {
    let mut pool = Pool::new(1);
    pool.named("a", "x", 1);
    let event = pool.close("a", "x");
    pool.step(event);
    assert_eq!(pool.pass(25 * SECOND), ["2 hears x Closing"]);
}

#[test]
fn close_of_a_session_that_opens_waits_for_the_end_of_its_open() {
    let mut pool = Pool::new(1);
    let event = pool.open("a", Some("x"));
    pool.step(event);
    let event = pool.close("a", "x");
    assert_eq!(
        pool.step(event),
        ["give up se_t_1", "1 refused session_lost"]
    );
    assert_eq!(
        pool.step(Event::Opened { session: se(1) }),
        ["close se_t_1"]
    );
    assert_eq!(
        pool.step(Event::Closed { session: se(1) }),
        ["2 hears x Closed"]
    );
}

#[test]
fn close_of_a_session_that_waits_for_room_takes_it_out_of_the_queue() {
    let mut pool = Pool::new(1);
    pool.leased("a", 1);
    let event = pool.open("a", Some("x"));
    assert_eq!(pool.step(event), [""; 0]);
    let event = pool.close("a", "x");
    assert_eq!(
        pool.step(event),
        ["2 refused session_lost", "3 hears x Lost"]
    );
    assert_eq!(pool.released(1, WaiterId(1), Outcome::Healthy), [""; 0]);
    let event = pool.acquire("a", Some("x"));
    assert_eq!(pool.step(event), ["4 refused not_found"]);
}

#[test]
fn open_answers_at_its_deadline_that_it_is_under_way() {
    let mut pool = Pool::new(1);
    let event = pool.open("a", Some("x"));
    pool.step(event);
    assert_eq!(pool.pass(25 * SECOND), ["1 hears x Opening"]);
    assert_eq!(pool.step(Event::Opened { session: se(1) }), [""; 0]);
    let event = pool.acquire("a", Some("x"));
    assert_eq!(pool.step(event), ["2 gets se_t_1"]);
}

#[test]
fn an_open_without_room_is_given_up_at_its_deadline() {
    let mut pool = Pool::new(1);
    let lease = pool.leased("b", 1);
    let event = pool.open("a", Some("x"));
    pool.step(event);
    assert_eq!(pool.pass(25 * SECOND), ["2 refused sessions_exhausted"]);
    assert_eq!(pool.released(1, lease, Outcome::Healthy), [""; 0]);
    assert!(pool.state.names.is_empty());
}

#[test]
fn own_free_unnamed_session_makes_room_for_a_named_one() {
    let mut pool = Pool::new(1);
    let lease = pool.leased("a", 1);
    pool.released(1, lease, Outcome::Healthy);
    let event = pool.open("a", Some("x"));
    assert_eq!(pool.step(event), ["close se_t_1"]);
    assert_eq!(pool.step(Event::Closed { session: se(1) }), ["open se_t_2"]);
}

#[test]
fn a_failed_open_refuses_the_first_call_and_the_next_gets_another_try() {
    let mut pool = Pool::new(1);
    let events = [pool.any("a"), pool.any("a")];
    for event in events {
        pool.step(event);
    }
    let error = failed(Retry::Now);
    // It may exist all the same, so it is closed before there is room again.
    let effects = pool.step(Event::OpenFailed {
        session: se(1),
        error,
    });
    assert_eq!(effects, ["1 refused capacity_unavailable", "close se_t_1"]);
    assert_eq!(pool.step(Event::Closed { session: se(1) }), ["open se_t_2"]);
    assert_eq!(
        pool.step(Event::Opened { session: se(2) }),
        ["2 gets se_t_2"]
    );
}

#[test]
fn an_error_that_stays_is_everybodys() {
    let mut pool = Pool::new(1);
    let events = [pool.any("a"), pool.any("a"), pool.any("b")];
    for event in events {
        pool.step(event);
    }
    let error = failed(Retry::No);
    let effects = pool.step(Event::OpenFailed {
        session: se(1),
        error,
    });
    let all = [
        "1 refused capacity_unavailable",
        "close se_t_1",
        "2 refused capacity_unavailable",
    ];
    assert_eq!(effects, all);
    assert_eq!(pool.step(Event::Closed { session: se(1) }), ["open se_t_2"]);
}

#[test]
fn opens_wait_as_long_as_the_platform_asks() {
    let mut pool = Pool::new(2);
    let event = pool.any("a");
    pool.step(event);
    let error = failed(Retry::After(10 * SECOND));
    pool.step(Event::OpenFailed {
        session: se(1),
        error,
    });
    pool.step(Event::Closed { session: se(1) });
    let event = pool.any("a");
    assert_eq!(pool.step(event), [""; 0]);
    assert_eq!(pool.pass(9 * SECOND), [""; 0]);
    assert_eq!(pool.pass(SECOND), ["open se_t_2"]);
}

#[test]
fn a_call_that_ends_meanwhile_hears_what_the_platform_said() {
    let mut pool = Pool::new(2);
    let event = pool.any("a");
    pool.step(event);
    let error = failed(Retry::After(40 * SECOND));
    pool.step(Event::OpenFailed {
        session: se(1),
        error,
    });
    let event = pool.any("a");
    pool.step(event);
    pool.at.mono += 25 * SECOND;
    let error = pool.error(Event::Tick);
    assert_eq!(error.code(), Code::CapacityUnavailable);
    assert_eq!(error.retry_kind(), Retry::After(15 * SECOND));
}

#[test]
fn a_failed_open_of_a_name_leaves_no_name() {
    let mut pool = Pool::new(1);
    let events = [pool.open("a", Some("x")), pool.acquire("a", Some("x"))];
    for event in events {
        pool.step(event);
    }
    let error = failed(Retry::Now);
    let effects = pool.step(Event::OpenFailed {
        session: se(1),
        error,
    });
    let all = [
        "1 refused capacity_unavailable",
        "2 refused capacity_unavailable",
        "close se_t_1",
    ];
    assert_eq!(effects, all);
    let event = pool.acquire("a", Some("x"));
    assert_eq!(pool.step(event), ["3 refused not_found"]);
}

#[test]
fn a_close_is_tried_again_more_and_more_slowly_and_for_ever() {
    let mut pool = Pool::new(1);
    let lease = pool.leased("a", 1);
    pool.released(1, lease, Outcome::Lost("it crashed".to_owned()));
    for wait in [1, 2, 4, 8, 16, 30, 30, 30] {
        let error = Error::new(Code::PlatformUnavailable, "no answer");
        assert_eq!(
            pool.step(Event::CloseFailed {
                session: se(1),
                error
            }),
            [""; 0]
        );
        let due = pool.at.mono + wait * SECOND;
        assert_eq!(pool.state.next_wake(), Some(due));
        assert_eq!(pool.pass(wait * SECOND - Duration::from_millis(1)), [""; 0]);
        assert_eq!(pool.pass(Duration::from_millis(1)), ["close se_t_1"]);
    }
    assert!(matches!(
        pool.stage(1),
        Some(Stage::Retiring { failed: 8, .. })
    ));
    assert_eq!(pool.state.session_count(), 1);
    pool.step(Event::Closed { session: se(1) });
    assert_eq!(pool.state.session_count(), 0);
    assert_eq!(pool.state.next_wake(), None);
}

/// Both clocks count, the one that says more decides.
#[rstest]
#[case::monotonic(5 * MINUTE, Duration::ZERO)]
#[case::wall_while_the_machine_slept(Duration::ZERO, 5 * MINUTE)]
fn a_free_unnamed_session_goes_after_its_idle_limit(
    #[case] mono: Duration,
    #[case] wall: Duration,
) {
    let mut pool = Pool::new(2);
    let lease = pool.leased("a", 1);
    pool.named("a", "x", 2);
    pool.released(1, lease, Outcome::Healthy);
    pool.step(Event::Tick);
    assert_eq!(pool.state.next_wake(), Some(pool.at.mono + 5 * MINUTE));
    pool.at.mono += mono;
    pool.at.wall += wall;
    assert_eq!(pool.step(Event::Tick), ["close se_t_1"]);
    assert_eq!(pool.stage(2), Some(&Stage::Idle));
}

#[test]
fn a_wall_clock_that_goes_back_revives_nothing() {
    let mut pool = Pool::new(2);
    let lease = pool.leased("a", 1);
    pool.released(1, lease, Outcome::Healthy);
    pool.at.mono += 5 * MINUTE;
    pool.at.wall = Duration::ZERO;
    assert_eq!(pool.step(Event::Tick), ["close se_t_1"]);
}

#[test]
fn silence_closes_named_sessions_and_a_tool_call_prevents_it() {
    let mut pool = Pool::new(2);
    pool.named("a", "x", 1);
    pool.pass(14 * MINUTE);
    pool.step(Event::Touch { owner: ow("a") });
    assert_eq!(pool.pass(14 * MINUTE), [""; 0]);
    assert_eq!(pool.pass(MINUTE), ["close se_t_1"]);
    let event = pool.acquire("a", Some("x"));
    assert_snapshot!(pool.error(event), @r#"
    session_lost: session "x" is gone: its lease expired after 15m without a tool call
    "#);
}

#[test]
fn a_running_statement_holds_all_of_its_owners_sessions_and_silence_counts_from_its_end() {
    let mut pool = Pool::new(2);
    pool.named("a", "x", 1);
    let lease = pool.leased("a", 2);
    assert_eq!(pool.pass(60 * MINUTE), [""; 0]);
    pool.released(2, lease, Outcome::Healthy);
    assert_eq!(pool.pass(5 * MINUTE), ["close se_t_2"]);
    assert_eq!(pool.pass(9 * MINUTE), [""; 0]);
    assert_eq!(pool.pass(MINUTE), ["close se_t_1"]);
}

#[test]
fn life_ends_a_free_session_now_and_a_leased_one_after_its_statement() {
    let mut pool = Pool::with(Limits {
        life_for: 10 * MINUTE,
        ..Limits::default()
    });
    let lease = pool.leased("a", 1);
    pool.named("a", "x", 2);
    assert_eq!(pool.pass(10 * MINUTE), ["close se_t_2"]);
    assert_eq!(pool.stage(1), Some(&Stage::Leased(lease)));
    assert_eq!(pool.released(1, lease, Outcome::Healthy), ["close se_t_1"]);
}

#[test]
fn a_vanished_client_leaves_nothing() {
    let mut pool = Pool::new(3);
    pool.leased("a", 1);
    pool.named("a", "x", 2);
    let event = pool.open("a", Some("y"));
    pool.step(event);
    let event = pool.any("a");
    pool.step(event);
    let effects = pool.step(Event::OwnerGone { owner: ow("a") });
    let all = [
        "3 refused cancelled",
        "4 refused cancelled",
        "close se_t_1",
        "close se_t_2",
        "give up se_t_3",
    ];
    assert_eq!(effects, all);
    assert_eq!(
        pool.step(Event::Opened { session: se(3) }),
        ["close se_t_3"]
    );
    for n in 1..=3 {
        pool.step(Event::Closed { session: se(n) });
    }
    assert_eq!(pool.state.session_count(), 0);
    assert!(pool.state.owners.is_empty());
}

#[test]
fn shutdown_refuses_everything_and_closes_everything() {
    let mut pool = Pool::new(1);
    pool.leased("a", 1);
    let event = pool.any("b");
    pool.step(event);
    assert_eq!(
        pool.step(Event::Shutdown),
        ["2 refused cancelled", "close se_t_1"]
    );
    let events = [pool.any("a"), pool.open("a", None)];
    for event in events {
        assert_eq!(pool.error(event).code(), Code::Cancelled);
    }
    assert_eq!(pool.step(Event::Shutdown), [""; 0]);
    assert_eq!(pool.step(Event::Closed { session: se(1) }), [""; 0]);
    assert_eq!(pool.state.session_count(), 0);
}

#[test]
fn a_lease_nobody_took_counts_as_no_statement() {
    let mut pool = Pool::new(1);
    let lease = pool.leased("a", 1);
    pool.released(1, lease, Outcome::Unused);
    let event = pool.any("a");
    pool.step(event);
    pool.released(1, WaiterId(2), Outcome::Healthy);
    let listed = pool.state.list(pool.at, &ow("a"), None);
    assert_eq!(listed.iter().map(|i| i.statements).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_cancelled_call_gives_up_its_place_and_its_session_opens_for_the_next() {
    let mut pool = Pool::new(1);
    let event = pool.any("a");
    pool.step(event);
    assert_eq!(
        pool.step(Event::Cancel {
            waiter: WaiterId(1)
        }),
        [""; 0]
    );
    assert_eq!(pool.step(Event::Opened { session: se(1) }), [""; 0]);
    let event = pool.any("a");
    assert_eq!(pool.step(event), ["2 gets se_t_1"]);
}

#[test]
fn each_owner_has_its_own_bounded_queue() {
    let mut pool = Pool::new(1);
    pool.leased("a", 1);
    for _ in 0..3 {
        let event = pool.any("a");
        assert_eq!(pool.step(event), [""; 0]);
    }
    let event = pool.any("a");
    assert_eq!(pool.error(event).code(), Code::SessionsExhausted);
    let event = pool.any("b");
    assert_eq!(pool.step(event), [""; 0]);
}

#[test]
fn progress_of_an_open_goes_to_those_who_wait_for_it() {
    let mut pool = Pool::new(1);
    let events = [pool.any("a"), pool.any("a")];
    for event in events {
        pool.step(event);
    }
    let progress = crate::model::Progress::phase("starting");
    let effects = pool.state.step(
        pool.at,
        Event::OpenProgress {
            session: se(1),
            progress,
        },
    );
    assert_eq!(
        effects.iter().map(words).collect::<Vec<_>>(),
        ["1 told starting"]
    );
}

#[test]
fn list_shows_an_owners_sessions_and_why_names_went() {
    let mut pool = Pool::new(3);
    pool.named("a", "x", 1);
    pool.named("a", "y", 2);
    pool.leased("b", 3);
    let event = pool.close("a", "x");
    pool.step(event);
    let phases = |pool: &Pool| -> Vec<String> {
        let all = pool.state.list(pool.at, &ow("a"), Some(&dev()));
        let line = |i: &SessionInfo| {
            let name = i.name.as_ref().map_or("-", |n| n.as_str()).to_owned();
            format!(
                "{name} {:?} {}",
                i.phase,
                i.reason.as_deref().unwrap_or("-")
            )
        };
        all.iter().map(line).collect()
    };
    assert_eq!(
        phases(&pool),
        ["x Closing closed by close_session", "y Free -"]
    );
    pool.step(Event::Closed { session: se(1) });
    assert_eq!(
        phases(&pool),
        ["y Free -", "x Closed closed by close_session"]
    );
}

/// What a caller reads, whole.
fn read(error: &Error) -> String {
    format!("{error}\n{}", error.hint_text())
}

#[test]
fn errors_hold_the_literal_next_call() {
    let mut pool = Pool::new(2);
    let event = pool.acquire("a", Some("x"));
    assert_snapshot!(read(&pool.error(event)), @r#"
    not_found: no session is named "x"; you have no named session
    Call open_session(name="x") to open it.
    "#);
    pool.named("a", "orders", 1);
    let event = pool.acquire("a", Some("x"));
    assert_snapshot!(read(&pool.error(event)), @r#"
    not_found: no session is named "x"; your sessions are "orders"
    Call open_session(name="x") to open it.
    "#);
    let event = pool.close("a", "x");
    assert_snapshot!(read(&pool.error(event)), @r#"
    not_found: no session is named "x"; your sessions are "orders"
    Call close_session(session="orders") if you meant that one.
    "#);
    pool.leased("b", 2);
    let event = pool.any("a");
    pool.step(event);
    pool.at.mono += 25 * SECOND;
    assert_snapshot!(read(&pool.error(Event::Tick)), @r#"
    sessions_exhausted: no session of target "dev" became free within 25s: 1 of 2 busy, 1 free but kept under their names
    Call close_session(session="orders") to make room (its variables are lost), or call again later.
    "#);
    let event = pool.any("c");
    pool.step(event);
    pool.at.mono += 25 * SECOND;
    assert_snapshot!(read(&pool.error(Event::Tick)), @r#"
    sessions_exhausted: no session of target "dev" became free within 25s: 1 of 2 busy, 1 free but kept under their names
    Call again later, cancel a statement with cancel_statement, or raise limits.sessions of target "dev".
    "#);
    let event = pool.acquire("a", Some("orders"));
    pool.step(event);
    let event = pool.acquire("a", Some("orders"));
    pool.step(event);
    pool.at.mono += 25 * SECOND;
    assert_snapshot!(read(&pool.error(Event::Tick)), @r#"
    timeout: the wait for session "orders" ended after 25s: it runs one statement at a time and is not free yet
    Call again later, or leave session="orders" out to run beside it in another session.
    "#);
    let lease = WaiterId(pool.waiters - 1);
    pool.released(1, lease, Outcome::Lost("its process was killed".to_owned()));
    let event = pool.acquire("a", Some("orders"));
    assert_snapshot!(read(&pool.error(event)), @r#"
    session_lost: session "orders" is gone: its process was killed
    Call open_session(name="orders") to start it anew; its variables and temp views are gone.
    "#);
}

#[test]
fn a_call_that_ends_while_its_session_opens_says_so() {
    let mut pool = Pool::new(1);
    let event = pool.any("a");
    pool.step(event);
    pool.at.mono += 25 * SECOND;
    assert_snapshot!(read(&pool.error(Event::Tick)), @r#"
    timeout: the wait for a session of target "dev" ended after 25s while one was being opened
    Call again: the session goes on opening and is yours when it is ready.
    "#);
}

#[test]
fn full_queues_say_what_waits() {
    let mut pool = Pool::new(1);
    pool.named("a", "x", 1);
    for _ in 0..4 {
        let event = pool.acquire("a", Some("x"));
        pool.step(event);
    }
    let event = pool.acquire("a", Some("x"));
    assert_snapshot!(read(&pool.error(event)), @r#"
    sessions_exhausted: 3 calls already wait for session "x"
    Call again later, or leave session="x" out to run beside it in another session.
    "#);
    for _ in 0..3 {
        let event = pool.any("a");
        pool.step(event);
    }
    let event = pool.any("a");
    assert_snapshot!(read(&pool.error(event)), @r#"
    sessions_exhausted: 3 calls already wait for a session of target "dev": 1 of 1 busy
    Call close_session(session="x") to make room (its variables are lost), or call again later.
    "#);
}

#[test]
fn a_name_on_another_target_is_not_mistaken() {
    let prod = TargetName::new("prod");
    let mut pool = Pool::new(1);
    pool.state = State::new(
        "t",
        [
            (dev(), Limits::default()),
            (prod.clone(), Limits::default()),
        ],
    );
    pool.named("a", "x", 1);
    let deadline = pool.at.mono + SECOND;
    let (waiter, owner) = (pool.next(), ow("a"));
    let session = Some(nm("x"));
    let target = prod.clone();
    let event = Event::Acquire {
        waiter,
        owner,
        target,
        session,
        deadline,
    };
    assert_snapshot!(read(&pool.error(event)), @r#"
    invalid_argument: session "x" is on target "dev", not on "prod"
    Call again with session="x" and target="dev".
    "#);
    let (waiter, owner, name) = (pool.next(), ow("a"), Some(nm("x")));
    let event = Event::Open {
        waiter,
        owner,
        target: prod.clone(),
        name,
        deadline,
    };
    assert_snapshot!(read(&pool.error(event)), @r#"
    already_exists: session "x" is already open on target "dev"
    Call open_session(target="prod") for another name, or close_session(session="x") first.
    "#);
    let (waiter, owner, session) = (pool.next(), ow("a"), Some(nm("y")));
    let event = Event::Acquire {
        waiter,
        owner,
        target: prod,
        session,
        deadline,
    };
    assert_snapshot!(read(&pool.error(event)), @r#"
    not_found: no session is named "y"; your sessions are "x"
    Call open_session(name="y", target="prod") to open it.
    "#);
    let (waiter, owner, target) = (pool.next(), ow("a"), TargetName::new("pord"));
    let event = Event::Acquire {
        waiter,
        owner,
        target,
        session: None,
        deadline,
    };
    assert_snapshot!(read(&pool.error(event)), @r#"
    not_found: no target is named "pord"
    Call again with target="dev" or target="prod".
    "#);
}
