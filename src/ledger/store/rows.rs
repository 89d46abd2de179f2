//! The tables, and what each command does to them. One transaction each; the time comes from outside.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::Writer;
use super::file::Fault;
use crate::ledger::row::{Change, Illegal, Row, RowState, step};
use crate::ledger::tag::Owner;
use crate::model::{Code, Error, Result, Retry, Tag, TargetName};
use crate::platform::remote::Place;

/// `charged_s` is the time up to which a session's seconds are in `seconds`; without an id nothing is charged.
pub(super) const SCHEMA: &str = "
CREATE TABLE sessions (
    tag TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    target TEXT NOT NULL,
    platform TEXT NOT NULL,
    base TEXT NOT NULL,
    principal TEXT NOT NULL,
    remote_id TEXT,
    state TEXT NOT NULL CHECK (state IN ('intended', 'created', 'deleting', 'gone')),
    created_s INTEGER NOT NULL,
    expires_s INTEGER NOT NULL,
    charged_s INTEGER NOT NULL,
    ended_s INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    stuck INTEGER NOT NULL DEFAULT 0,
    last_error TEXT
) STRICT;
CREATE INDEX open_sessions ON sessions (target) WHERE state <> 'gone';
CREATE TABLE seconds (
    target TEXT NOT NULL,
    day INTEGER NOT NULL,
    seconds INTEGER NOT NULL,
    PRIMARY KEY (target, day)
) STRICT;
CREATE TABLE audit (at_s INTEGER NOT NULL, what TEXT NOT NULL, tag TEXT NOT NULL, was TEXT NOT NULL) STRICT;
";

const COLUMNS: &str = "tag, owner, epoch, target, platform, base, principal, remote_id, state, created_s, \
                       expires_s, attempts, stuck, last_error";

const DAY: i64 = 24 * 3600;

/// How long an ended row is kept: for whoever asks what became of a session last week.
const KEEP_GONE: i64 = 7 * DAY;

/// From so many sessions of a target that cannot be deleted on, no more are created there: something is wrong that
/// each further one would make dearer. One alone may be a service's hiccup.
const STUCK_AT_MOST: i64 = 2;

/// When a call that waits for room looks for it again: one small read of the file each time.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// What a target allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caps {
    /// Rows that are not gone, of all processes of this user and machine.
    pub sessions: usize,
    /// Session-seconds on a UTC day, of the same; `None` is without limit.
    pub seconds_per_day: Option<u64>,
}

/// The UTC day of a wall time, counted from the epoch.
pub(crate) fn day_of(wall: Duration) -> i64 {
    whole(wall).div_euclid(DAY)
}

fn whole(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn time(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// The days of a stretch of time, with the seconds in each.
fn split(from: i64, to: i64) -> Vec<(i64, i64)> {
    let mut parts = Vec::new();
    let mut at = from;
    while at < to {
        let day = at.div_euclid(DAY);
        let end = to.min((day + 1) * DAY);
        parts.push((day, end - at));
        at = end;
    }
    parts
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Checks the caps and writes the row, in one transaction.
pub(super) fn intend(
    connection: &mut Connection,
    row: &Row,
    caps: &Caps,
    now: Duration,
) -> Result<(), Fault> {
    let transaction = begin(connection)?;
    let target = &row.target;
    let (open, stuck): (i64, i64) = transaction.query_row(
        "SELECT count(*), coalesce(sum(stuck), 0) FROM sessions WHERE target = ?1 AND state <> 'gone'",
        [target.as_str()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if stuck >= STUCK_AT_MOST {
        return Err(Error::new(
            Code::CapacityUnavailable,
            format!("{stuck} sessions on {target} cannot be deleted, so no more are opened there"),
        )
        .hint("Run `sparklease sessions` to see them and why, then `sparklease sweep`, or `sparklease sessions forget TAG --i-checked`.")
        .into());
    }
    if usize::try_from(open).unwrap_or(usize::MAX) >= caps.sessions {
        return Err(Error::new(
            Code::SessionsExhausted,
            format!(
                "{open} of the {} sessions that {target} allows are not yet gone (of all processes of this user)",
                caps.sessions
            ),
        )
        .hint(format!("Run `sparklease sessions` to see them, close one, or raise targets.{target}.limits.sessions."))
        .retry(Retry::After(AGAIN_AFTER))
        .into());
    }
    if let Some(budget) = caps.seconds_per_day {
        charge(&transaction, target, now)?;
        let spent = charged(&transaction, target, day_of(now))?;
        if spent >= budget {
            return Err(Error::new(
                Code::BudgetExceeded,
                format!("the sessions on {target} have been open for {spent} s today (UTC), and {budget} s are allowed"),
            )
            .hint(format!("Wait for the next day (UTC), or raise targets.{target}.limits.budget."))
            .into());
        }
    }
    put(&transaction, row, "INSERT")?;
    transaction.commit()?;
    Ok(())
}

/// Writes a row that a replaced file has lost; one that is there stays.
pub(super) fn insert(transaction: &Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    put(transaction, row, "INSERT OR IGNORE")
}

fn put(transaction: &Transaction<'_>, row: &Row, how: &str) -> rusqlite::Result<()> {
    transaction.execute(
        &format!(
            "{how} INTO sessions ({COLUMNS}, charged_s) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?10)"
        ),
        params![
            row.tag.as_str(),
            row.owner.as_str(),
            row.epoch,
            row.target.as_str(),
            row.place.platform,
            row.place.base,
            row.place.principal,
            row.remote_id,
            row.state.as_str(),
            whole(row.created),
            whole(row.expires),
            row.attempts,
            row.stuck,
            row.last_error,
        ],
    )?;
    Ok(())
}

/// Writes what happened; every way to another state leads through [`step`].
pub(super) fn change(
    connection: &mut Connection,
    tag: &Tag,
    change: &Change,
    writer: Option<&Writer>,
    now: Duration,
) -> Result<Row, Fault> {
    let transaction = begin(connection)?;
    let row = change_in(&transaction, tag, change, writer, now)?;
    transaction.commit()?;
    Ok(row)
}

fn change_in(
    transaction: &Transaction<'_>,
    tag: &Tag,
    change: &Change,
    writer: Option<&Writer>,
    now: Duration,
) -> Result<Row, Fault> {
    let Some(mut row) = one(transaction, tag)? else {
        return Err(lost(tag, "the ledger has no row of it").into());
    };
    if writer.is_some_and(|writer| writer.owner != row.owner || writer.epoch != row.epoch) {
        return Err(lost(tag, "it was taken over by a sweep").into());
    }
    let (state, id) =
        step(row.state, row.remote_id.as_deref(), change).map_err(|illegal| match illegal {
            Illegal::Ended => lost(tag, "it is gone already"),
            Illegal::OtherId => Error::internal(format!("session {tag} has another id already")),
            Illegal::WasCreated => Error::internal(format!("session {tag} was created")),
        })?;
    let ends = state == RowState::Gone && row.state != RowState::Gone;
    if ends {
        charge(transaction, &row.target, now)?;
    }
    transaction.execute(
        "UPDATE sessions SET state = ?2, remote_id = ?3, ended_s = CASE WHEN ?4 THEN ?5 ELSE ended_s END, \
         stuck = CASE WHEN ?4 THEN 0 ELSE stuck END WHERE tag = ?1",
        params![tag.as_str(), state.as_str(), id, ends, whole(now)],
    )?;
    row.state = state;
    row.remote_id = id;
    row.stuck &= !ends;
    Ok(row)
}

fn lost(tag: &Tag, why: &str) -> Error {
    Error::new(Code::SessionLost, format!("session {tag} is lost: {why}"))
        .hint("Call again: a new session is opened.")
}

/// Writes that a delete was tried. A row that is stuck stays so until it is gone.
pub(super) fn attempted(
    connection: &mut Connection,
    tag: &Tag,
    error: Option<Code>,
    stuck: bool,
) -> Result<(), Fault> {
    let transaction = begin(connection)?;
    transaction.execute(
        "UPDATE sessions SET attempts = attempts + 1, last_error = ?2, stuck = max(stuck, ?3) \
         WHERE tag = ?1 AND state <> 'gone'",
        params![tag.as_str(), error.map(Code::as_str), stuck],
    )?;
    transaction.commit()?;
    Ok(())
}

/// Raises the number of a dead owner's rows, and gives them.
pub(super) fn take_over(connection: &mut Connection, owner: &Owner) -> Result<Vec<Row>, Fault> {
    let transaction = begin(connection)?;
    transaction.execute(
        "UPDATE sessions SET epoch = epoch + 1 WHERE owner = ?1 AND state <> 'gone'",
        [owner.as_str()],
    )?;
    let taken = select(
        &transaction,
        "owner = ?1 AND state <> 'gone'",
        [owner.as_str()],
    )?;
    transaction.commit()?;
    Ok(taken)
}

pub(super) fn all(connection: &Connection) -> Result<Vec<Row>, Fault> {
    select(connection, "true", [])
}

pub(super) fn one(connection: &Connection, tag: &Tag) -> Result<Option<Row>, Fault> {
    Ok(select(connection, "tag = ?1", [tag.as_str()])?.pop())
}

fn select(
    connection: &Connection,
    which: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<Row>, Fault> {
    let mut statement = connection.prepare(&format!(
        "SELECT {COLUMNS} FROM sessions WHERE {which} ORDER BY created_s, tag"
    ))?;
    let mut found = statement.query(params)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        rows.push(read(row)?);
    }
    Ok(rows)
}

fn read(row: &rusqlite::Row<'_>) -> Result<Row, Fault> {
    let (owner, state): (String, String) = (row.get(1)?, row.get(8)?);
    let unreadable = |what: &str| Error::internal(format!("the ledger has a row with {what}"));
    Ok(Row {
        tag: Tag::new(row.get::<_, String>(0)?),
        owner: Owner::parse(&owner).ok_or_else(|| unreadable("an unknown kind of owner"))?,
        epoch: row.get(2)?,
        target: TargetName::new(row.get::<_, String>(3)?),
        place: Place {
            platform: row.get(4)?,
            base: row.get(5)?,
            principal: row.get(6)?,
        },
        remote_id: row.get(7)?,
        state: RowState::parse(&state).ok_or_else(|| unreadable("an unknown state"))?,
        created: time(row.get(9)?),
        expires: time(row.get(10)?),
        attempts: row.get(11)?,
        stuck: row.get(12)?,
        last_error: row.get(13)?,
    })
}

/// Each open session of a target that is known to exist, with the stretch that is not charged yet. A clock that jumps
/// ahead charges no more than a session's longest life.
fn uncharged(
    connection: &Connection,
    target: &TargetName,
    now: Duration,
) -> rusqlite::Result<Vec<(String, i64, i64)>> {
    let mut statement = connection.prepare(
        "SELECT tag, charged_s, min(expires_s, ?2) FROM sessions \
         WHERE target = ?1 AND state <> 'gone' AND remote_id IS NOT NULL AND charged_s < min(expires_s, ?2)",
    )?;
    let rows = statement.query_map(params![target.as_str(), whole(now)], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    rows.collect()
}

fn charge(
    transaction: &Transaction<'_>,
    target: &TargetName,
    now: Duration,
) -> rusqlite::Result<()> {
    for (tag, from, to) in uncharged(transaction, target, now)? {
        for (day, seconds) in split(from, to) {
            transaction.execute(
                "INSERT INTO seconds (target, day, seconds) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (target, day) DO UPDATE SET seconds = seconds + excluded.seconds",
                params![target.as_str(), day, seconds],
            )?;
        }
        transaction.execute(
            "UPDATE sessions SET charged_s = ?2 WHERE tag = ?1",
            params![tag, to],
        )?;
    }
    Ok(())
}

fn charged(connection: &Connection, target: &TargetName, day: i64) -> rusqlite::Result<u64> {
    let seconds: Option<i64> = connection
        .query_row(
            "SELECT seconds FROM seconds WHERE target = ?1 AND day = ?2",
            params![target.as_str(), day],
            |row| row.get(0),
        )
        .optional()?;
    Ok(u64::try_from(seconds.unwrap_or_default()).unwrap_or_default())
}

pub(super) fn seconds(
    connection: &Connection,
    target: &TargetName,
    day: i64,
    now: Duration,
) -> Result<u64, Fault> {
    let mut total = charged(connection, target, day)?;
    for (_, from, to) in uncharged(connection, target, now)? {
        let today = split(from, to).into_iter().filter(|(d, _)| *d == day);
        total += today
            .filter_map(|(_, seconds)| u64::try_from(seconds).ok())
            .sum::<u64>();
    }
    Ok(total)
}

/// Ends a row by a person's word.
pub(super) fn forget(connection: &mut Connection, tag: &Tag, now: Duration) -> Result<Row, Fault> {
    let transaction = begin(connection)?;
    let was = one(&transaction, tag)?.filter(|row| row.state != RowState::Gone);
    let Some(was) = was else {
        return Err(Error::new(
            Code::NotFound,
            format!("the ledger has no open session {tag}"),
        )
        .hint("Run `sparklease sessions` to see the names of all.")
        .into());
    };
    let row = change_in(&transaction, tag, &Change::Forgotten, None, now)?;
    let id = was.remote_id.as_deref().unwrap_or("no id");
    transaction.execute(
        "INSERT INTO audit (at_s, what, tag, was) VALUES (?1, 'forgotten', ?2, ?3)",
        params![
            whole(now),
            tag.as_str(),
            format!("{}, {id}, on {}", was.state.as_str(), was.target)
        ],
    )?;
    transaction.commit()?;
    Ok(row)
}

/// Removes rows that ended long ago.
pub(super) fn purge(transaction: &Transaction<'_>, now: Duration) -> rusqlite::Result<()> {
    transaction.execute(
        "DELETE FROM sessions WHERE state = 'gone' AND ended_s < ?1",
        [whole(now).saturating_sub(KEEP_GONE)],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_cut_at_midnight_utc() {
        assert_eq!(split(DAY - 5, DAY + 7), [(0, 5), (1, 7)]);
        assert_eq!(split(0, 3 * DAY), [(0, DAY), (1, DAY), (2, DAY)]);
        assert_eq!(split(10, 10), []);
        assert_eq!(split(10, 3), []);
    }
}
