//! Sessions found by their names alone: for a ledger that is lost, and for creates that land after everybody has
//! stopped looking.
//!
//! Only names of this host count: who the others belong to, and whether they live, cannot be seen from here.

use tokio::time::Instant;
use tracing::warn;

use super::{Report, Sweeper, blocking, called};
use crate::ledger::guard::owner::host;
use crate::ledger::row::{Row, RowState};
use crate::ledger::sweep::pace::next_look;
use crate::ledger::tag::{Host, Name, Owner};
use crate::model::{Error, Result, TargetName};
use crate::platform::remote::{Place, Tagged};

impl Sweeper {
    fn host(&self) -> Result<Option<Host>> {
        host(self.store.folder(), false).map_err(|error| {
            Error::internal("it cannot be read whose names are ours").source_error(error)
        })
    }

    /// Deletes what is listed under a dead owner's names. `settle` goes on looking for creates without an answer,
    /// of which nothing else is known.
    pub(super) async fn by_names(
        &self,
        owner: &Owner,
        settle: bool,
        until: Option<Instant>,
    ) -> Report {
        let mut report = Report::default();
        let Ok(Some(host)) = self.host() else {
            return report;
        };
        let prefix = owner.prefix(&host);
        let begun = Instant::now();
        let mut looks = 0;
        loop {
            let settled = !settle || begun.elapsed() >= self.timing.settle_for;
            let (rows, complete) = self.listed(&prefix).await;
            report.add(self.remove_all(rows, until, false).await);
            // Without rows to go by, a list that failed is asked for again.
            if settled && (complete || !settle) {
                return report;
            }
            let wait = next_look(&self.timing, looks);
            looks += 1;
            if until.is_some_and(|until| Instant::now() + wait >= until) {
                return report;
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// What all places list under a prefix, and whether all have answered.
    async fn listed(&self, prefix: &str) -> (Vec<Row>, bool) {
        let mut rows = Vec::new();
        let mut complete = true;
        for remote in self.remotes.iter() {
            match called(remote.list_tagged(prefix)).await {
                Ok(listed) => {
                    let place = remote.place();
                    let ours = listed
                        .into_iter()
                        .filter(|tagged| tagged.tag.as_str().starts_with(prefix));
                    rows.extend(ours.filter_map(|tagged| row_of(tagged, &place)));
                }
                Err(error) => {
                    complete = false;
                    warn!(place = %remote.place().base, %error, "sessions cannot be listed");
                }
            }
        }
        (rows, complete)
    }

    /// Sessions with names of this host that no living owner can want: the owner is dead, or its row has ended.
    ///
    /// # Errors
    /// What keeps the owners' files from being read.
    pub(crate) async fn strays(&self) -> Result<Vec<Row>> {
        let Some(host) = self.host()? else {
            return Ok(Vec::new());
        };
        // In this order: whoever lives now has lived when its session was listed.
        let (listed, _) = self.listed(&host.prefix()).await;
        let owners = self.owners.clone();
        let held = blocking(move || owners.held()).await?;
        let mut strays = Vec::new();
        for row in listed {
            if !held.contains(&row.owner) {
                strays.push(row);
                continue;
            }
            let known = self.store.row(&row.tag).await;
            if known.is_ok_and(|known| known.is_some_and(|known| known.state == RowState::Gone)) {
                strays.push(row);
            }
        }
        Ok(strays)
    }

    /// Deletes them.
    ///
    /// # Errors
    /// See [`Sweeper::strays`].
    pub(crate) async fn sweep_strays(&self, until: Option<Instant>) -> Result<Report> {
        let strays = self.strays().await?;
        for row in &strays {
            warn!(tag = %row.tag, "a session without an owner is deleted");
        }
        Ok(self.remove_all(strays, until, false).await)
    }
}

/// A row for a session that was only listed. `None` for a name that we did not make.
fn row_of(tagged: Tagged, place: &Place) -> Option<Row> {
    let name = Name::parse(&tagged.tag)?;
    Some(Row {
        tag: tagged.tag,
        owner: name.owner,
        epoch: 0,
        target: TargetName::new(place.base.clone()),
        place: place.clone(),
        remote_id: Some(tagged.id),
        state: RowState::Created,
        created: std::time::Duration::ZERO,
        expires: name.expires,
        attempts: 0,
        stuck: false,
        last_error: None,
    })
}
