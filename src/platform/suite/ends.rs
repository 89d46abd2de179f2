//! Claims about ends: cancelled statements, closed sessions, code that takes its session with it.

use std::time::Duration;

use super::{ENDLESS_SQL, Outcome, Place, claims, kept, python, sql};
use crate::model::{Code, End, StatementId};
use crate::platform::{RemoteSession, Work};

claims! {
    a_cancelled_query_ends
    cancelled_python_ends
    a_cancel_at_once_ends_a_statement_too
    a_cancel_of_a_statement_that_has_ended_changes_nothing
    a_cancel_of_another_statement_leaves_the_running_one_alone
    a_session_is_closed_twice
    a_session_that_was_never_opened_is_closed
    a_closed_session_runs_nothing
    a_session_closed_while_busy_ends_its_statement
    code_that_ends_its_process_loses_the_session_and_says_so
    sessions_end_with_the_platform
}

/// Once it surely runs.
async fn cancelled(place: &Place, session: &RemoteSession, work: Work, after: Duration) -> Outcome {
    let mut running = place.start(session, work);
    if !after.is_zero() {
        running.started().await;
        tokio::time::sleep(after).await;
    }
    place.platform.cancel(session, &running.id).await;
    // Twice is safe.
    place.platform.cancel(session, &running.id).await;
    running.cancelled().await
}

/// What a statement's end says of its session is so.
async fn is_as_said(place: &Place, session: &RemoteSession, outcome: &Outcome) {
    assert_eq!(place.platform.lost(session), outcome.lost);
    if outcome.lost.is_none() {
        place.works(session).await;
    }
}

async fn a_cancelled_query_ends(place: &Place) {
    let session = place.session().await;
    place.run(kept("x = 'here'")).await.succeeded();
    for _ in 0..2 {
        let after = Duration::from_millis(700);
        let outcome = cancelled(place, &session, sql(ENDLESS_SQL), after).await;
        is_as_said(place, &session, &outcome).await;
        if outcome.lost.is_some() {
            // A busy machine's engine may not stop in time.
            return;
        }
    }
    assert_eq!(place.run(kept("x")).await.succeeded().value(), "'here'");
}

async fn cancelled_python_ends(place: &Place) {
    for code in ["while True: pass", "import time\ntime.sleep(600)"] {
        let session = place.session().await;
        let after = Duration::from_millis(500);
        let outcome = cancelled(place, &session, python(code), after).await;
        assert_eq!(
            outcome.lost.is_none(),
            place.facts.interrupts_python,
            "{code}: {outcome:?}"
        );
        is_as_said(place, &session, &outcome).await;
    }
}

async fn a_cancel_at_once_ends_a_statement_too(place: &Place) {
    for work in [python("while True: pass"), sql(ENDLESS_SQL)] {
        let session = place.session().await;
        let outcome = cancelled(place, &session, work, Duration::ZERO).await;
        is_as_said(place, &session, &outcome).await;
    }
}

async fn a_cancel_of_a_statement_that_has_ended_changes_nothing(place: &Place) {
    let session = place.session().await;
    let ended = place.start(&session, python("x = 1"));
    let id = ended.id.clone();
    ended.outcome().await.succeeded();
    place.platform.cancel(&session, &id).await;
    place.works(&session).await;
    place.platform.cancel(&session, &id).await;
    place.works(&session).await;
}

async fn a_cancel_of_another_statement_leaves_the_running_one_alone(place: &Place) {
    let session = place.session().await;
    let code = "import time\ntime.sleep(1)\n'whole'";
    let mut running = place.start(&session, python(code));
    running.started().await;
    let other = StatementId::random();
    place.platform.cancel(&session, &other).await;
    assert_eq!(running.outcome().await.succeeded().value(), "'whole'");
}

async fn a_session_is_closed_twice(place: &Place) {
    let session = place.open().await.session;
    assert_eq!(place.platform.lost(&session), None);
    place.close(&session).await;
    assert!(place.platform.lost(&session).is_some());
    place.close(&session).await;
}

async fn a_session_that_was_never_opened_is_closed(place: &Place) {
    let session = place.fresh();
    place.close(&session).await;
    assert!(place.platform.lost(&session).is_some());
}

async fn a_closed_session_runs_nothing(place: &Place) {
    let session = place.open().await.session;
    place.close(&session).await;
    for work in [sql("select 1"), python("1")] {
        let outcome = place.run_on(&session, work).await;
        assert_eq!(outcome.failed().code(), Code::SessionLost, "{outcome:?}");
        assert!(outcome.lost.is_some() && !outcome.started, "{outcome:?}");
    }
    // A cancel of nothing is nothing.
    let statement = StatementId::random();
    place.platform.cancel(&session, &statement).await;
}

async fn a_session_closed_while_busy_ends_its_statement(place: &Place) {
    for work in [python("while True: pass"), sql(ENDLESS_SQL)] {
        let words = format!("{work:?}");
        let session = place.open().await.session;
        let mut running = place.start(&session, work);
        running.started().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        place.close(&session).await;
        let outcome = running.outcome().await;
        match &outcome.end {
            End::Cancelled => {}
            End::Failed(error) => assert_eq!(error.code(), Code::SessionLost, "{words}"),
            End::Succeeded => panic!("{words}: {outcome:?}"),
        }
        assert!(outcome.lost.is_some(), "{words}: {outcome:?}");
        assert!(place.platform.lost(&session).is_some(), "{words}");
    }
}

async fn code_that_ends_its_process_loses_the_session_and_says_so(place: &Place) {
    for code in [
        "import os\nos._exit(3)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    ] {
        let session = place.session().await;
        let outcome = place.run_on(&session, python(code)).await;
        assert_eq!(outcome.failed().code(), Code::SessionLost, "{outcome:?}");
        assert!(outcome.started, "it may have run: {outcome:?}");
        is_as_said(place, &session, &outcome).await;
        assert!(outcome.lost.is_some_and(|why| !why.is_empty()), "{code}");
    }
}

async fn sessions_end_with_the_platform(place: &Place) {
    // Last: nothing opens any more then.
    let session = place.open().await.session;
    let running = place.start(&session, python("while True: pass"));
    place.platform.shutdown().await;
    let outcome = running.outcome().await;
    assert!(!matches!(outcome.end, End::Succeeded), "{outcome:?}");
    assert!(outcome.lost.is_some(), "{outcome:?}");
    let (report, _words) = crate::platform::Reporter::new();
    let refused = place.platform.open(&place.fresh(), &report).await;
    assert_eq!(refused.unwrap_err().code(), Code::Cancelled);
    if let Some(remote) = &place.remote {
        // The deletes were sent; the server goes on with them by itself.
        let gone = async {
            while !remote
                .find_by_tag(&session.tag)
                .await
                .unwrap_or_default()
                .is_empty()
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let gone = tokio::time::timeout(super::CANCEL_BOUND, gone).await;
        assert!(gone.is_ok(), "the server still has it");
    }
}
