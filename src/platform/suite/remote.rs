//! Claims about places whose sessions outlive us: what a ledger relies on.

use std::sync::Arc;

use super::{Place, claims};
use crate::model::Tag;
use crate::platform::remote::{Closed, Created, Remote, Tagged};

claims! {
    an_open_says_the_id_by_which_the_place_lists_it
    a_name_that_nobody_has_is_not_found
    sessions_are_listed_by_what_their_names_begin_with
    a_delete_is_proved_and_may_be_repeated
    a_stranger_s_session_is_left_alone
    a_released_session_is_forgotten_and_still_there
    a_place_is_the_same_each_time_it_is_asked
}

fn remote(place: &Place) -> &Arc<dyn Remote> {
    place
        .remote
        .as_ref()
        .expect("these claims are for remote places")
}

/// Rounds until it is proved: a round whose delete is lost on the way is an error, and is repeated.
async fn gone(place: &Place, tag: &Tag, id: &str) {
    for _ in 0..10 {
        if let Ok(closed) = remote(place).close_verified(tag, id).await {
            assert_eq!(closed, Closed::Gone);
            return;
        }
    }
    panic!("{tag} cannot be proved to be gone");
}

async fn an_open_says_the_id_by_which_the_place_lists_it(place: &Place) {
    let opened = place.open().await;
    let found = remote(place).find_by_tag(&opened.session.tag).await;
    assert_eq!(found.unwrap(), opened.ids, "told once");
    assert_eq!(opened.ids.len(), 1);
    place.close(&opened.session).await;
    let found = remote(place).find_by_tag(&opened.session.tag).await;
    assert_eq!(found.unwrap(), [""; 0]);
}

async fn a_name_that_nobody_has_is_not_found(place: &Place) {
    let found = remote(place).find_by_tag(&place.fresh().tag).await;
    assert_eq!(found.unwrap(), [""; 0]);
}

async fn sessions_are_listed_by_what_their_names_begin_with(place: &Place) {
    let before = remote(place).list_tagged(&place.prefix).await.unwrap();
    let (one, two) = tokio::join!(place.open(), place.open());
    let mut expected = before.clone();
    expected.extend([&one, &two].map(|opened| Tagged {
        tag: opened.session.tag.clone(),
        id: opened.ids[0].clone(),
    }));
    expected.sort();
    let mut all = remote(place).list_tagged(&place.prefix).await.unwrap();
    all.sort();
    assert_eq!(all, expected);
    let only = remote(place).list_tagged(one.session.tag.as_str()).await;
    assert_eq!(
        only.unwrap().iter().map(|t| &t.tag).collect::<Vec<_>>(),
        [&one.session.tag]
    );
    let none = format!("{}none-", place.prefix);
    assert_eq!(remote(place).list_tagged(&none).await.unwrap(), []);
    for opened in [one, two] {
        place.close(&opened.session).await;
    }
    let after = remote(place).list_tagged(&place.prefix).await;
    assert_eq!(after.unwrap(), before);
}

async fn a_delete_is_proved_and_may_be_repeated(place: &Place) {
    let opened = place.open().await;
    let (tag, id) = (&opened.session.tag, &opened.ids[0]);
    for _ in 0..2 {
        gone(place, tag, id).await;
        let found = remote(place).find_by_tag(tag).await.unwrap();
        assert_eq!(found, [""; 0]);
    }
    place.close(&opened.session).await;
}

/// Numbers start again when a server does: one that was ours may be anybody's.
async fn a_stranger_s_session_is_left_alone(place: &Place) {
    let stranger = place.open().await;
    let ours = place.fresh().tag;
    let id = &stranger.ids[0];
    let closed = remote(place).close_verified(&ours, id).await.unwrap();
    assert_eq!(closed, Closed::Gone, "ours is nowhere");
    let found = remote(place).find_by_tag(&stranger.session.tag).await;
    assert_eq!(found.unwrap(), stranger.ids);
    place.works(&stranger.session).await;
    place.close(&stranger.session).await;
}

async fn a_released_session_is_forgotten_and_still_there(place: &Place) {
    let opened = place.open().await;
    assert_eq!(remote(place).release(&opened.session), Created::Yes);
    assert!(place.platform.lost(&opened.session).is_some());
    let tag: &Tag = &opened.session.tag;
    let found = remote(place).find_by_tag(tag).await.unwrap();
    assert_eq!(found, opened.ids, "nothing was sent");
    gone(place, tag, &opened.ids[0]).await;
    // Of what this process has never seen, nobody knows.
    assert_eq!(remote(place).release(&place.fresh()), Created::Perhaps);
}

async fn a_place_is_the_same_each_time_it_is_asked(place: &Place) {
    let (one, two) = (remote(place).place(), remote(place).place());
    assert_eq!(one, two);
    assert_eq!(one.fingerprint(), two.fingerprint());
}
