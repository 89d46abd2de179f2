//! What became of the rows of a sweep.

use serde::Serialize;

use crate::ledger::row::Row;
use crate::model::{Tag, TargetName};

/// Why a session is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Left {
    /// No target of this configuration is at its place, as its identity: only who has that can delete it.
    NotConfigured,
    /// The time of the sweep was over; the next one goes on.
    Trying,
    /// It would be deleted.
    Planned,
}

impl Left {
    /// In words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::NotConfigured => "no target of this configuration can delete it",
            Self::Trying => "still there",
            Self::Planned => "would be deleted",
        }
    }
}

/// What became of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fate {
    /// Its name.
    pub tag: Tag,
    /// Its target; the place's address where only the name was known.
    pub target: TargetName,
    /// Why it is left; `None` says that it is gone, and that this is proved.
    pub left: Option<Left>,
    /// It could not be deleted for long.
    pub stuck: bool,
    /// The code of the last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Fate {
    pub(super) fn gone(row: &Row) -> Self {
        Self {
            tag: row.tag.clone(),
            target: row.target.clone(),
            left: None,
            stuck: false,
            error: None,
        }
    }

    pub(super) fn left(row: &Row, left: Left) -> Self {
        Self {
            left: Some(left),
            stuck: row.stuck,
            error: row.last_error.clone(),
            ..Self::gone(row)
        }
    }

    /// Whether it is proved to be gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.left.is_none()
    }
}

/// What became of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Report {
    /// In the order in which they ended.
    pub fates: Vec<Fate>,
}

impl Report {
    /// Whether nothing is left.
    pub(crate) fn is_clean(&self) -> bool {
        self.fates.iter().all(Fate::is_gone)
    }

    /// How many are gone.
    pub(crate) fn gone(&self) -> usize {
        self.fates.iter().filter(|fate| fate.is_gone()).count()
    }

    /// How many could not be deleted for long.
    pub(crate) fn stuck(&self) -> usize {
        self.fates.iter().filter(|fate| fate.stuck).count()
    }

    pub(super) fn names(&self, tag: &Tag) -> bool {
        self.fates.iter().any(|fate| fate.tag == *tag)
    }

    pub(super) fn add(&mut self, other: Self) {
        self.fates.extend(other.fates);
    }
}

impl Extend<Fate> for Report {
    fn extend<T: IntoIterator<Item = Fate>>(&mut self, fates: T) {
        self.fates.extend(fates);
    }
}

impl FromIterator<Fate> for Report {
    fn from_iter<T: IntoIterator<Item = Fate>>(fates: T) -> Self {
        Self {
            fates: fates.into_iter().collect(),
        }
    }
}

impl FromIterator<Report> for Report {
    fn from_iter<T: IntoIterator<Item = Self>>(reports: T) -> Self {
        reports
            .into_iter()
            .flat_map(|report| report.fates)
            .collect()
    }
}
