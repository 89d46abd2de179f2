//! Room that other processes have taken, owners who take turns, and opens that nobody wants any more.

use super::*;

/// What the ledger says when other processes have all sessions.
fn crowded() -> Error {
    Error::new(
        Code::SessionsExhausted,
        "dev has 1 session of this user, and 1 is allowed",
    )
    .hint("Run `sparklease sessions` to see them.")
    .retry(Retry::After(2 * SECOND))
}

fn no_room(n: u64) -> Event {
    Event::OpenFailed {
        session: se(n),
        error: crowded(),
    }
}

#[test]
fn a_call_waits_while_other_processes_have_all_sessions_and_is_served_when_one_goes() {
    let mut pool = Pool::new(1);
    let event = pool.any("a");
    assert_eq!(pool.step(event), ["open se_t_1"]);
    assert_eq!(pool.step(no_room(1)), [""; 0]);
    assert_eq!(pool.state.session_count(), 0, "nothing was made");
    assert_eq!(pool.state.next_wake(), Some(pool.at.mono + 2 * SECOND));
    assert_eq!(pool.pass(2 * SECOND), ["open se_t_2"]);
    assert_eq!(pool.step(no_room(2)), [""; 0]);
    assert_eq!(pool.pass(2 * SECOND), ["open se_t_3"]);
    assert_eq!(
        pool.step(Event::Opened { session: se(3) }),
        ["1 gets se_t_3"]
    );
}

#[test]
fn at_its_deadline_the_call_hears_who_has_them_also_during_a_try() {
    for during in [false, true] {
        let mut pool = Pool::new(1);
        let event = pool.any("a");
        pool.step(event);
        pool.step(no_room(1));
        pool.at.mono += 24 * SECOND;
        assert_eq!(pool.step(Event::Tick), ["open se_t_2"]);
        if !during {
            pool.step(no_room(2));
        }
        pool.at.mono += SECOND;
        let error = pool.error(Event::Tick);
        insta::allow_duplicates! {
            assert_snapshot!(read(&error), @r#"
            sessions_exhausted: no session of target "dev" became free within 25s: dev has 1 session of this user, and 1 is allowed
            Run `sparklease sessions` to see them.
            "#);
        }
        assert_eq!(error.retry_kind(), Retry::After(5 * SECOND));
    }
}

#[test]
fn a_named_session_that_finds_no_room_keeps_its_name_its_place_and_those_who_wait() {
    let mut pool = Pool::new(2);
    let event = pool.open("a", Some("x"));
    assert_eq!(pool.step(event), ["open se_t_1"]);
    let event = pool.acquire("a", Some("x"));
    pool.step(event);
    assert_eq!(pool.step(no_room(1)), [""; 0]);
    let event = pool.any("a");
    assert_eq!(pool.step(event), [""; 0]);
    // It was there first.
    assert_eq!(pool.pass(2 * SECOND), ["open se_t_1", "open se_t_2"]);
    assert_eq!(
        pool.step(Event::Opened { session: se(1) }),
        ["1 hears x Free", "2 gets se_t_1"]
    );
}

#[test]
fn a_named_session_without_room_that_nobody_waits_for_is_given_up() {
    let mut pool = Pool::new(1);
    let event = pool.open("a", Some("x"));
    pool.step(event);
    pool.step(Event::Cancel {
        waiter: WaiterId(1),
    });
    assert_eq!(pool.step(no_room(1)), [""; 0]);
    assert!(pool.state.sessions.is_empty() && pool.state.names.is_empty());
    assert!(pool.state.owners.is_empty());
}

/// What is free here is of more use to somebody who waits.
#[test]
fn a_free_session_of_ours_makes_room_that_others_have_not_left() {
    let mut pool = Pool::new(4);
    let lease = pool.leased("a", 1);
    pool.released(1, lease, Outcome::Healthy);
    let event = pool.open("a", Some("x"));
    assert_eq!(pool.step(event), ["open se_t_2"]);
    assert_eq!(pool.step(no_room(2)), ["close se_t_1"]);
    // At once: the room is ours.
    assert_eq!(pool.step(Event::Closed { session: se(1) }), ["open se_t_2"]);
}

#[test]
fn two_owners_alternate_over_one_session() {
    let mut pool = Pool::new(1);
    let mut served = Vec::new();
    let mut holder = (pool.leased("a", 1), 1);
    for who in ["a", "a", "a", "b", "b", "b"] {
        let event = pool.any(who);
        pool.step(event);
    }
    let names = [(2..=4, "a"), (5..=7, "b")];
    for _ in 0..6 {
        let (lease, n) = holder;
        pool.released(n, lease, Outcome::Healthy);
        pool.step(Event::Closed { session: se(n) });
        let next = pool.state.sessions.keys().next_back().cloned();
        let next = next.expect("there is one again");
        pool.step(Event::Opened {
            session: next.clone(),
        });
        let Some(Stage::Leased(lease)) = pool.state.sessions.get(&next).map(|s| &s.stage) else {
            panic!("nobody was served");
        };
        let who = names.iter().find(|(ids, _)| ids.contains(&lease.0));
        served.push(who.expect("a call that waited").1);
        let n = next.as_str().rsplit('_').next().unwrap().parse().unwrap();
        holder = (*lease, n);
    }
    assert_eq!(served, ["b", "a", "b", "a", "b", "a"]);
}

#[test]
fn an_open_that_nobody_wants_any_more_is_given_up_once_and_its_end_closes_it() {
    let mut pool = Pool::new(2);
    let event = pool.open("a", Some("x"));
    pool.step(event);
    let event = pool.close("a", "x");
    assert_eq!(
        pool.step(event),
        ["give up se_t_1", "1 refused session_lost"]
    );
    assert_eq!(
        pool.step(Event::OwnerGone { owner: ow("a") }),
        ["2 refused cancelled"]
    );
    let error = Error::new(Code::Cancelled, "nobody wants it");
    assert_eq!(
        pool.step(Event::OpenFailed {
            session: se(1),
            error
        }),
        ["close se_t_1"]
    );
    pool.step(Event::Closed { session: se(1) });
    assert!(pool.state.owners.is_empty() && pool.state.sessions.is_empty());
}

#[test]
fn a_free_session_that_died_is_closed_and_its_name_says_why() {
    let mut pool = Pool::new(2);
    pool.named("a", "x", 1);
    let died = |n| Event::Died {
        session: se(n),
        reason: "the server does not know it any more".to_owned(),
    };
    assert_eq!(pool.step(died(1)), ["close se_t_1"]);
    assert_eq!(pool.step(died(1)), [""; 0]);
    let event = pool.acquire("a", Some("x"));
    assert_snapshot!(pool.error(event), @r#"session_lost: session "x" is gone: the server does not know it any more"#);
    pool.leased("a", 2);
    assert_eq!(pool.step(died(2)), [""; 0], "its statement will say so");
}
