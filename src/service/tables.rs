//! Which tables there are: straight from the target's catalogue, with the temp views of a named session; no session is
//! opened for it, and none waits in a queue. Where a catalogue can only be asked in a session, by a statement of its
//! own, which goes on when its call is over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::statements::Record;
use super::{Place, Service, Target, Waiting, drive};
use crate::model::{
    Code, Error, OwnerId, Result, Retry, SessionName, SessionPhase, StatementState, TableDetail,
    TablesPage, TablesQuery, Tag, TargetName,
};
use crate::platform::{RemoteSession, Reporter, Work};

/// How long a catalogue may take. The local one answers in milliseconds; one over a network that needs longer has
/// another trouble.
const TABLES_FOR: Duration = Duration::from_secs(20);

/// The same in a session: a first look at 10,000 tables of a slow catalogue, and at what is behind some of them.
const LIST_FOR: Duration = Duration::from_secs(120);

/// A list that nobody has fetched is kept for the next call of the same words. Later it would be asked anew anyway.
const UNFETCHED_FOR: Duration = Duration::from_secs(60);

/// After so long it is worth asking again: a session takes 10 s to minutes to be opened.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Between two words of what a list waits for.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// Lists in sessions that run, or that nobody has fetched. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Listings(Arc<Mutex<Vec<Listing>>>);

#[derive(Clone, Debug)]
struct Listing {
    asked: Asked,
    record: Arc<Record>,
}

/// What a list was asked for, by whom and where.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    owner: OwnerId,
    target: TargetName,
    session: Option<SessionName>,
    query: TablesQuery,
}

impl Asked {
    fn same_place(&self, other: &Self) -> bool {
        (&self.owner, &self.target, &self.session) == (&other.owner, &other.target, &other.session)
    }
}

impl Service {
    /// Whether a list of this target's tables needs no session, so that nothing is opened and paid for by it.
    pub(crate) fn lists_without_session(&self, target: Option<&TargetName>) -> bool {
        self.target(target)
            .is_ok_and(|(_, target)| !target.platform.capability().tables_in_session)
    }

    /// A page of a target's tables, and of the temp views of `session`. Says which target it was. `wait` is for a list
    /// that needs a session: for this and for its answer; `report` hears what it waits for.
    ///
    /// # Errors
    /// `not_found` (target, session), `session_lost`, `invalid_argument` for a session of another target, `timeout`,
    /// which is worth another call when it says so; what the platform says.
    /// # Cancel safety
    /// Cancel-safe: a list in a session goes on, and the next call of the same words gets it.
    pub(crate) async fn tables(
        &self,
        owner: &OwnerId,
        target: Option<&TargetName>,
        session: Option<&SessionName>,
        query: &TablesQuery,
        wait: Duration,
        report: &Reporter,
    ) -> Result<(TargetName, TablesPage)> {
        self.parts.lease.touch(owner.clone());
        let found = match session {
            Some(name) => Some(
                self.parts
                    .lease
                    .find(owner.clone(), name.clone())
                    .await
                    .map(|info| self.seen(info))?,
            ),
            None => None,
        };
        let wanted = target.or(found.as_ref().map(|info| &info.target));
        let (target_name, target) = self.target(wanted)?;
        if target.platform.capability().tables_in_session {
            if let (Some(name), Some(info)) = (session, &found)
                && info.target != *target_name
            {
                return Err(other_target(name, &info.target, target_name));
            }
            let asked = Asked {
                owner: owner.clone(),
                target: target_name.clone(),
                session: session.cloned(),
                query: query.clone(),
            };
            let page = self.in_session(target, asked, wait, report).await?;
            return Ok((target_name.clone(), page));
        }
        let session = match (session, found) {
            (Some(name), Some(info)) => {
                if info.target != *target_name {
                    return Err(other_target(name, &info.target, target_name));
                }
                if let (SessionPhase::Lost, Some(reason)) = (info.phase, &info.reason) {
                    return Err(lost(name, reason));
                }
                // One that is still being opened has no views.
                (info.phase != SessionPhase::Opening).then(|| RemoteSession {
                    tag: Tag::for_session(&info.id),
                    id: info.id,
                })
            }
            _ => None,
        };
        let page = target.platform.tables(session.as_ref(), query);
        match tokio::time::timeout(TABLES_FOR, page).await {
            Ok(page) => Ok((target_name.clone(), page?)),
            Err(_) => Err(Error::new(
                Code::Timeout,
                format!(
                    "the catalogue of {target_name} did not answer within {} s",
                    TABLES_FOR.as_secs()
                ),
            )
            .hint(
                "Call list_tables again; query_sql(sql=\"show tables\") asks the engine instead.",
            )),
        }
    }
}

impl Service {
    async fn in_session(
        &self,
        target: &Target,
        asked: Asked,
        wait: Duration,
        report: &Reporter,
    ) -> Result<TablesPage> {
        let deadline = Instant::now() + wait;
        loop {
            let listing = self.listing(target, &asked);
            let mut waiting = Waiting {
                phase: listing.record.watch(),
                record: listing.record.clone(),
            };
            let ended = async {
                loop {
                    if let (_, Some(progress)) = waiting.now() {
                        report.say(progress);
                    }
                    let told = tokio::time::timeout(TELL_EVERY, waiting.ended());
                    if told.await.is_ok() {
                        return;
                    }
                }
            };
            if timeout_at(deadline, ended).await.is_err() {
                return Err(still(&asked, waiting.now().0));
            }
            // Another list of this place is over: now it is this one's turn, in the session that is free now.
            if listing.asked == asked {
                return self.listings.fetch(&listing);
            }
        }
    }

    /// The list that is to be waited for: the same one if there is one, another one that runs in the same place, so that
    /// no second session is opened for a list, or a new one.
    fn listing(&self, target: &Target, asked: &Asked) -> Listing {
        let mut all = self.listings.lock();
        all.retain(|listing| {
            let ended = listing.record.watch().borrow().ended;
            ended.is_none_or(|at| at.elapsed() < UNFETCHED_FOR)
        });
        let same = all.iter().find(|listing| listing.asked == *asked);
        let other = || {
            all.iter().find(|listing| {
                listing.asked.same_place(asked) && !listing.record.state().is_final()
            })
        };
        if let Some(listing) = same.or_else(other) {
            return listing.clone();
        }
        let place = Place {
            target: Some(asked.target.clone()),
            session: asked.session.clone(),
            timeout: Some(LIST_FOR),
        };
        let work = Work::Tables {
            query: asked.query.clone(),
            views: asked.session.is_some(),
        };
        let keep = drive::Keep::OneResult { only_reads: true };
        let started = self.start(&asked.owner, &asked.target, target, &place, work, keep);
        let listing = Listing {
            asked: asked.clone(),
            record: started.record,
        };
        all.push(listing.clone());
        listing
    }
}

impl Listings {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Listing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a list that has ended gave. The next call of the same words asks anew.
    fn fetch(&self, listing: &Listing) -> Result<TablesPage> {
        self.lock()
            .retain(|other| !Arc::ptr_eq(&other.record, &listing.record));
        let phase = listing.record.watch().borrow().clone();
        if let Some(error) = phase.error {
            return Err(error);
        }
        if phase.state == StatementState::Cancelled {
            return Err(
                Error::new(Code::Cancelled, "the list of tables was cancelled")
                    .hint("Call list_tables again."),
            );
        }
        let page = listing.record.lock().tables.clone();
        let mut page = page.ok_or_else(|| Error::internal("a list of tables gave none"))?;
        page.age += phase.ended.map_or(Duration::ZERO, |at| at.elapsed());
        Ok(page)
    }
}

/// A list that goes on.
fn still(asked: &Asked, state: StatementState) -> Error {
    let (target, again) = (&asked.target, AGAIN_AFTER.as_secs());
    let message = match state {
        StatementState::Queued => format!(
            "the tables of {target} are asked for in a session, which is still being opened or waited for"
        ),
        _ => format!("the catalogue of {target} is still answering"),
    };
    Error::new(Code::Timeout, message)
        .hint(format!(
            "Call {} again in {again} s: this goes on meanwhile.",
            call(asked)
        ))
        .retry(Retry::After(AGAIN_AFTER))
}

/// The same call, as a client writes it; a cursor is left to the client.
fn call(asked: &Asked) -> String {
    let text = |text: &str| Value::from(text).to_string();
    let mut words = Vec::new();
    if let Some(pattern) = &asked.query.pattern {
        words.push(format!("pattern={}", text(pattern)));
    }
    match asked.query.detail {
        TableDetail::Names => {}
        TableDetail::Columns => words.push("detail=\"columns\"".to_owned()),
        TableDetail::Stats => words.push("detail=\"stats\"".to_owned()),
    }
    words.push(format!("target={}", text(asked.target.as_str())));
    if let Some(session) = &asked.session {
        words.push(format!("session={}", text(session.as_str())));
    }
    if asked.query.after.is_some() {
        words.push("cursor=…".to_owned());
    }
    format!("list_tables({})", words.join(", "))
}

fn other_target(name: &SessionName, theirs: &TargetName, asked: &TargetName) -> Error {
    Error::new(
        Code::InvalidArgument,
        format!("session \"{name}\" is on target \"{theirs}\", not on \"{asked}\""),
    )
    .hint(format!(
        "Call list_tables(session=\"{name}\"), or leave the session out."
    ))
}

fn lost(name: &SessionName, reason: &str) -> Error {
    Error::new(
        Code::SessionLost,
        format!("session \"{name}\" is gone: {reason}"),
    )
    .hint(format!(
        "Call open_session(name=\"{name}\") to start it anew, or leave the session out: only its temp views are gone."
    ))
}
