//! Sessions that are opened before anybody asks.

use super::*;

fn warm(sessions: usize, warm: usize) -> Pool {
    Pool::with(Limits {
        sessions,
        warm,
        queue: 3,
        ..Limits::default()
    })
}

fn opened(n: u64) -> Event {
    Event::Opened { session: se(n) }
}

#[test]
fn nothing_is_opened_before_the_server_takes_calls() {
    let mut pool = warm(4, 2);
    assert_eq!(pool.step(Event::Tick), [""; 0]);
    // A command that runs one statement never says that it takes calls.
    let event = pool.any("a");
    assert_eq!(pool.step(event), ["open se_t_1"]);
    let mut pool = warm(4, 2);
    assert_eq!(pool.step(Event::Start), ["open se_t_1", "open se_t_2"]);
    assert_eq!(pool.step(Event::Start), [""; 0]);
}

#[test]
fn whoever_asks_first_gets_it_for_ever_and_another_one_is_opened() {
    let mut pool = warm(4, 1);
    pool.step(Event::Start);
    pool.step(opened(1));
    let event = pool.any("a");
    assert_eq!(pool.step(event), ["1 gets se_t_1", "open se_t_2"]);
    pool.released(1, WaiterId(1), Outcome::Healthy);
    pool.step(opened(2));
    let event = pool.any("b");
    assert_eq!(pool.step(event), ["2 gets se_t_2", "open se_t_3"]);
    let owners = [1, 2, 3].map(|n| pool.state.sessions[&se(n)].owner.clone());
    assert_eq!(owners, [Some(ow("a")), Some(ow("b")), None]);
}

#[test]
fn nobody_sees_a_warm_session() {
    let mut pool = warm(4, 1);
    pool.step(Event::Start);
    pool.step(opened(1));
    assert!(pool.state.list(pool.at, &ow("a"), None).is_empty());
}

#[test]
fn a_call_takes_the_one_that_is_ready_and_else_the_one_that_opens() {
    let mut pool = warm(2, 2);
    pool.step(Event::Start);
    pool.step(opened(2));
    let event = pool.any("a");
    assert_eq!(pool.step(event), ["1 gets se_t_2"]);
    let event = pool.any("a");
    assert_eq!(pool.step(event), [""; 0]);
    assert_eq!(pool.step(opened(1)), ["2 gets se_t_1"]);
}

#[test]
fn a_named_session_takes_a_warm_one_with_all_that_wait_for_it() {
    let mut pool = warm(2, 1);
    pool.step(Event::Start);
    let event = pool.open("a", Some("x"));
    // Its own place in the queue is given up with the number two.
    assert_eq!(pool.step(event), ["open se_t_3"]);
    let event = pool.acquire("a", Some("x"));
    assert_eq!(pool.step(event), [""; 0]);
    assert_eq!(pool.step(opened(1)), ["1 hears x Free", "2 gets se_t_1"]);
    pool.step(opened(3));
    let event = pool.open("b", Some("x"));
    assert_eq!(pool.step(event), ["3 hears x Free"]);
    let event = pool.acquire("b", Some("x"));
    assert_eq!(pool.step(event), ["4 gets se_t_3"]);
}

#[test]
fn warm_sessions_only_take_room_that_nobody_wants() {
    let mut pool = warm(2, 1);
    pool.step(Event::Start);
    pool.step(opened(1));
    let event = pool.any("a");
    assert_eq!(pool.step(event), ["1 gets se_t_1", "open se_t_2"]);
    let event = pool.any("b");
    assert_eq!(pool.step(event), [""; 0]);
    assert_eq!(pool.step(opened(2)), ["2 gets se_t_2"]);
    // Full: none is opened, and none is closed for it.
    assert_eq!(pool.released(1, WaiterId(1), Outcome::Healthy), [""; 0]);
    assert_eq!(pool.pass(SECOND), [""; 0]);
    // There is room again.
    let lost = Outcome::Lost("it died".to_owned());
    assert_eq!(pool.released(2, WaiterId(2), lost), ["close se_t_2"]);
    assert_eq!(pool.step(Event::Closed { session: se(2) }), ["open se_t_3"]);
}

#[test]
fn a_warm_session_ends_with_its_life_and_not_by_idling() {
    let mut pool = Pool::with(Limits {
        sessions: 2,
        warm: 1,
        life_for: 10 * MINUTE,
        ..Limits::default()
    });
    pool.step(Event::Start);
    pool.step(opened(1));
    assert_eq!(pool.pass(9 * MINUTE), [""; 0]);
    assert_eq!(pool.pass(MINUTE), ["close se_t_1", "open se_t_2"]);
}

#[test]
fn a_target_that_nobody_uses_is_not_kept_warm_and_the_next_call_warms_it_again() {
    let mut pool = warm(3, 1);
    pool.step(Event::Start);
    pool.step(opened(1));
    assert_eq!(pool.state.next_wake(), Some(pool.at.mono + 15 * MINUTE));
    assert_eq!(pool.pass(15 * MINUTE), ["close se_t_1"]);
    assert_eq!(pool.step(Event::Closed { session: se(1) }), [""; 0]);
    assert_eq!(pool.state.next_wake(), None);
    let event = pool.any("a");
    assert_eq!(pool.step(event), ["open se_t_2", "open se_t_3"]);
}

#[test]
fn a_running_statement_keeps_its_target_warm() {
    let mut pool = warm(3, 1);
    pool.step(Event::Start);
    pool.step(opened(1));
    let event = pool.any("a");
    pool.step(event);
    pool.step(opened(2));
    assert_eq!(pool.pass(60 * MINUTE), [""; 0]);
    pool.released(1, WaiterId(1), Outcome::Healthy);
    assert_eq!(pool.pass(5 * MINUTE), ["close se_t_1"], "by its idle limit");
    assert_eq!(pool.pass(10 * MINUTE), ["close se_t_2"]);
}

#[test]
fn a_failed_open_for_nobody_is_tried_again_more_and_more_slowly() {
    let mut pool = warm(3, 1);
    pool.step(Event::Start);
    for (n, wait) in (1..).zip([10, 20, 40, 80, 160, 320]) {
        let error = failed(Retry::No);
        let effects = pool.step(Event::OpenFailed {
            session: se(n),
            error,
        });
        assert_eq!(effects, [format!("close se_t_{n}")]);
        assert_eq!(pool.step(Event::Closed { session: se(n) }), [""; 0]);
        assert_eq!(pool.pass(wait * SECOND - SECOND), [""; 0]);
        assert_eq!(pool.pass(SECOND), [format!("open se_t_{}", n + 1)]);
    }
    pool.step(opened(7));
    let event = pool.any("a");
    assert_eq!(pool.step(event), ["1 gets se_t_7", "open se_t_8"]);
    let error = failed(Retry::No);
    pool.step(Event::OpenFailed {
        session: se(8),
        error,
    });
    pool.step(Event::Closed { session: se(8) });
    assert_eq!(pool.pass(10 * SECOND), ["open se_t_9"], "from the start");
}

#[test]
fn while_the_platform_asks_for_patience_or_others_have_all_nothing_is_opened_for_nobody() {
    for error in [
        failed(Retry::After(60 * SECOND)),
        Error::new(Code::SessionsExhausted, "others have all"),
    ] {
        let mut pool = warm(3, 1);
        pool.step(Event::Start);
        let made = error.code() != Code::SessionsExhausted;
        pool.step(Event::OpenFailed {
            session: se(1),
            error,
        });
        if made {
            pool.step(Event::Closed { session: se(1) });
            assert_eq!(pool.pass(59 * SECOND), [""; 0]);
            assert_eq!(pool.pass(SECOND), ["open se_t_2"]);
        } else {
            assert_eq!(pool.pass(9 * SECOND), [""; 0]);
            assert_eq!(pool.pass(SECOND), ["open se_t_2"]);
            // A call need not wait for that.
            let error = Error::new(Code::SessionsExhausted, "others have all");
            pool.step(Event::OpenFailed {
                session: se(2),
                error,
            });
            let event = pool.any("a");
            assert_eq!(pool.step(event), ["open se_t_3"]);
        }
    }
}

#[test]
fn a_dead_warm_session_is_replaced() {
    let mut pool = warm(3, 1);
    pool.step(Event::Start);
    pool.step(opened(1));
    let reason = "the server does not know it any more".to_owned();
    let effects = pool.step(Event::Died {
        session: se(1),
        reason,
    });
    assert_eq!(effects, ["close se_t_1", "open se_t_2"]);
}

#[test]
fn shutdown_ends_warm_sessions_and_opens_none() {
    let mut pool = warm(3, 2);
    pool.step(Event::Start);
    pool.step(opened(1));
    assert_eq!(
        pool.step(Event::Shutdown),
        ["close se_t_1", "give up se_t_2"]
    );
    let error = Error::new(Code::Cancelled, "nobody wants it");
    pool.step(Event::OpenFailed {
        session: se(2),
        error,
    });
    for n in [1, 2] {
        assert_eq!(pool.step(Event::Closed { session: se(n) }), [""; 0]);
    }
    assert_eq!(pool.state.session_count(), 0);
}

#[test]
fn a_vanished_client_leaves_the_warm_ones() {
    let mut pool = warm(3, 1);
    pool.step(Event::Start);
    pool.step(opened(1));
    let event = pool.any("a");
    pool.step(event);
    pool.step(opened(2));
    let effects = pool.step(Event::OwnerGone { owner: ow("a") });
    assert_eq!(effects, ["close se_t_1"]);
    let event = pool.any("b");
    assert_eq!(pool.step(event), ["2 gets se_t_2", "open se_t_3"]);
}
