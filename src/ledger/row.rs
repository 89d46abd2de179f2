//! A row and its states: `intended → created → deleting → gone`. Pure; what is written where is in `store/`.

use std::time::Duration;

use super::tag::Owner;
use crate::model::{Tag, TargetName};
use crate::platform::remote::Place;

/// What is durable of a session. Ready, leased and idle live in memory: they end with their owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RowState {
    /// A create may be sent, may be under way, or may have worked.
    Intended,
    /// The create worked, and its id is known.
    Created,
    /// It is to go.
    Deleting,
    /// Proved to be gone, or given up by a person.
    Gone,
}

impl RowState {
    /// All, in their order.
    pub(crate) const ALL: [Self; 4] = [Self::Intended, Self::Created, Self::Deleting, Self::Gone];

    /// As it is stored.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Created => "created",
            Self::Deleting => "deleting",
            Self::Gone => "gone",
        }
    }

    /// Reads what was stored.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What happened to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The create was answered with this id.
    Created(String),
    /// It is to go.
    Deleting,
    /// The service refused the create for certain, or it was never sent.
    NeverCreated,
    /// It is proved to be gone.
    Gone,
    /// A person has looked, and says that nothing is there to be deleted.
    Forgotten,
}

/// Why a change is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Illegal {
    /// The row has ended: whatever turns up under its name has to be deleted by that name.
    Ended,
    /// It has another id already. One create has one session.
    OtherId,
    /// What has an id was created.
    WasCreated,
}

/// The next state and id. Every change of a row goes through here, also when it is read back after a crash.
///
/// Repeating a change is legal: a sweep and an owner may both have seen it. A row may skip `deleting` on its way to
/// `gone`: a delete is carried out also while nothing can be written.
///
/// # Errors
/// The changes that are never right.
pub(crate) fn step(
    state: RowState,
    id: Option<&str>,
    change: &Change,
) -> Result<(RowState, Option<String>), Illegal> {
    use RowState::{Created, Deleting, Gone, Intended};
    let kept = id.map(str::to_owned);
    match (state, change) {
        (Gone, Change::Gone | Change::Forgotten | Change::NeverCreated) => Ok((Gone, kept)),
        (Gone, Change::Created(_) | Change::Deleting) => Err(Illegal::Ended),
        (_, Change::Created(new)) if id.is_some_and(|id| id != new) => Err(Illegal::OtherId),
        (Intended | Created, Change::Created(new)) => Ok((Created, Some(new.clone()))),
        // The answer came after all, too late: now the delete knows the id.
        (Deleting, Change::Created(new)) => Ok((Deleting, Some(new.clone()))),
        (_, Change::Deleting) => Ok((Deleting, kept)),
        (_, Change::NeverCreated) if id.is_some() => Err(Illegal::WasCreated),
        (_, Change::NeverCreated | Change::Gone | Change::Forgotten) => Ok((Gone, kept)),
    }
}

/// A session that may exist, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its name.
    pub tag: Tag,
    /// The process whose it is.
    pub owner: Owner,
    /// Counts the owners: who writes with an old number has lost the row.
    pub epoch: i64,
    /// The entry of the configuration it was opened for.
    pub target: TargetName,
    /// Where it is, and as whom.
    pub place: Place,
    /// The place's id of it.
    pub remote_id: Option<String>,
    /// What is durable of it.
    pub state: RowState,
    /// Wall time from the epoch; advisory, as is every time here.
    pub created: Duration,
    /// The same: nobody can still want it then.
    pub expires: Duration,
    /// Deletes that were tried.
    pub attempts: u32,
    /// It could not be deleted for [`Timing::stuck_after`](super::Timing).
    pub stuck: bool,
    /// Why not: a code of ours, never a service's text, which could hold a secret.
    pub last_error: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(RowState::Gone, None, Change::Created("7".into()), Illegal::Ended)]
    #[case(RowState::Gone, Some("7"), Change::Created("7".into()), Illegal::Ended)]
    #[case(RowState::Gone, None, Change::Deleting, Illegal::Ended)]
    #[case(RowState::Created, Some("7"), Change::Created("8".into()), Illegal::OtherId)]
    #[case(RowState::Deleting, Some("7"), Change::Created("8".into()), Illegal::OtherId)]
    #[case(
        RowState::Created,
        Some("7"),
        Change::NeverCreated,
        Illegal::WasCreated
    )]
    #[case(
        RowState::Deleting,
        Some("7"),
        Change::NeverCreated,
        Illegal::WasCreated
    )]
    fn what_is_never_right_is_refused(
        #[case] state: RowState,
        #[case] id: Option<&str>,
        #[case] change: Change,
        #[case] why: Illegal,
    ) {
        assert_eq!(step(state, id, &change), Err(why));
    }

    #[test]
    fn a_state_is_read_back_as_it_was_stored() {
        for state in RowState::ALL {
            assert_eq!(RowState::parse(state.as_str()), Some(state));
        }
        assert_eq!(RowState::parse("ready"), None);
    }

    fn any_change() -> impl Strategy<Value = Change> {
        prop_oneof![
            prop_oneof![Just("7"), Just("8")].prop_map(|id| Change::Created(id.to_owned())),
            Just(Change::Deleting),
            Just(Change::NeverCreated),
            Just(Change::Gone),
            Just(Change::Forgotten),
        ]
    }

    proptest! {
        /// The model believes three things: states only go on, an id that is known stays, and an end is one.
        #[test]
        fn states_only_go_on_and_an_id_stays(changes in prop::collection::vec(any_change(), 0..40)) {
            let (mut state, mut id) = (RowState::Intended, None::<String>);
            for change in changes {
                let before = (state, id.clone());
                let Ok(next) = step(state, id.as_deref(), &change) else {
                    let id_differs = matches!(&change, Change::Created(new) if id.as_ref().is_some_and(|id| id != new));
                    let denied = change == Change::NeverCreated && id.is_some();
                    prop_assert!(state == RowState::Gone || id_differs || denied, "{before:?} {change:?}");
                    continue;
                };
                (state, id) = next;
                prop_assert!(state >= before.0);
                prop_assert!(before.1.is_none() || id == before.1);
                prop_assert!(state != RowState::Created || id.is_some());
                if matches!(change, Change::Gone | Change::Forgotten | Change::NeverCreated) {
                    prop_assert_eq!(state, RowState::Gone);
                }
                prop_assert_eq!(step(state, id.as_deref(), &change), Ok((state, id.clone())), "again is the same");
            }
        }
    }
}
