//! Claims about sessions beside each other.

use super::{Opened, Place, claims, kept, sql};
use crate::model::{TableDetail, TableKind, TablesQuery};

claims! {
    sessions_run_at_the_same_time
    what_one_session_has_another_has_not
    the_end_of_one_session_is_not_the_others_
    a_session_waits_for_its_next_statement
    views_of_a_session_are_listed_with_their_columns
}

async fn two(place: &Place) -> (Opened, Opened) {
    tokio::join!(place.open(), place.open())
}

async fn closed(place: &Place, sessions: (Opened, Opened)) {
    tokio::join!(
        place.close(&sessions.0.session),
        place.close(&sessions.1.session)
    );
}

async fn sessions_run_at_the_same_time(place: &Place) {
    let both = two(place).await;
    // Each says when it began and when it ended.
    let code = "import time\nbegun = time.time()\ntime.sleep(3)\nprint(begun, time.time())";
    let run = async |opened: &Opened| {
        let outcome = place.run_on(&opened.session, kept(code)).await.succeeded();
        let times = outcome.stdout.split_whitespace();
        let times: Vec<f64> = times.map(|t| t.parse().unwrap()).collect();
        (times[0], times[1])
    };
    let (one, two) = tokio::join!(run(&both.0), run(&both.1));
    assert!(one.0 < two.1 && two.0 < one.1, "{one:?} {two:?}");
    closed(place, both).await;
}

async fn what_one_session_has_another_has_not(place: &Place) {
    let both = two(place).await;
    let (one, other) = (&both.0.session, &both.1.session);
    place.run_on(one, kept("x = 1")).await.succeeded();
    let view = "create temporary view suite_own as select 1 as n";
    place.run_on(one, sql(view)).await.succeeded();
    let outcome = place.run_on(other, kept("x")).await;
    assert_eq!(
        outcome.failed().message(),
        "NameError: name 'x' is not defined"
    );
    let outcome = place.run_on(other, sql("select * from suite_own")).await;
    outcome.failed();
    place.works(other).await;
    closed(place, both).await;
}

async fn the_end_of_one_session_is_not_the_others_(place: &Place) {
    let both = two(place).await;
    let (one, other) = (&both.0.session, &both.1.session);
    place.run_on(other, kept("x = 'here'")).await.succeeded();
    let outcome = place.run_on(one, kept("import os\nos._exit(1)")).await;
    assert!(outcome.lost.is_some(), "{outcome:?}");
    assert_eq!(place.platform.lost(other), None);
    let outcome = place.run_on(other, kept("x")).await.succeeded();
    assert_eq!(outcome.value(), "'here'");
    place.close(one).await;
    place.works(other).await;
    closed(place, both).await;
}

async fn a_session_waits_for_its_next_statement(place: &Place) {
    let session = place.session().await;
    for round in 0..20 {
        let outcome = place.run_on(&session, kept(&format!("{round} * 2"))).await;
        assert_eq!(outcome.succeeded().value(), (round * 2).to_string());
    }
}

async fn views_of_a_session_are_listed_with_their_columns(place: &Place) {
    let session = place.session().await;
    let text = "create or replace temporary view suite_seen as select 1 as id, cast(2 as decimal(5,2)) as price";
    place.run_on(&session, sql(text)).await.succeeded();
    let query = |pattern: &str| TablesQuery {
        pattern: Some(pattern.to_owned()),
        detail: TableDetail::Columns,
        limit: 10,
        ..TablesQuery::default()
    };
    let page = place.tables(&session, query("suite_se*")).await;
    assert_eq!((page.tables.len(), page.total), (1, 1), "{page:?}");
    let view = &page.tables[0];
    assert_eq!(
        (view.name.to_string().as_str(), view.kind),
        ("suite_seen", TableKind::TempView)
    );
    let columns = view.columns.as_deref().unwrap_or_default();
    let columns: Vec<_> = columns
        .iter()
        .map(|c| (c.name.as_str(), c.data_type.as_str()))
        .collect();
    assert_eq!(columns, [("id", "int"), ("price", "decimal(5,2)")]);
    let page = place.tables(&session, query("suite_nowhere")).await;
    assert_eq!((page.tables.len(), page.total), (0, 0), "{page:?}");
}
