//! A page of the list of tables: found in the catalogue's file, and what is asked for of each looked up in its log.
//!
//! # Why not LIKE
//! SQLite's knows no case beyond ASCII, and a user's `_` or `%` would mean something. Ten thousand names are compared
//! here in milliseconds.

use std::time::Duration;

use futures::StreamExt;
use rusqlite::Connection;
use tokio::time::Instant;

use super::records::{self, Record};
use super::store::{Store, trouble};
use super::{Table, fresh};
use crate::model::{Result, TableDetail, TableInfo, TableName, TablesPage, TablesQuery};
use crate::platform::local::delta;
use crate::platform::pattern::Gather;

/// How long the logs of a page are looked at, all together: a caller waits for a list, and a disk that is slower than
/// this is in trouble.
const LOOK_FOR: Duration = Duration::from_secs(5);

/// Logs that are read at once: they are small files, and disks like company.
const AT_ONCE: usize = 8;

/// The page that is asked for. What logs have that the file has not is noted in the file, some time later.
///
/// # Errors
/// `platform_unavailable` when the file cannot be read.
/// # Cancel safety
/// Cancel-safe.
pub(super) async fn page(store: &Store, query: &TablesQuery) -> Result<TablesPage> {
    let asked = query.clone();
    let (mut page, records) = store.read(move |db| select(db, &asked)).await?;
    let detail = query.detail;
    let deadline = Instant::now() + LOOK_FOR;
    let looked = futures::stream::iter(records).map(|record| async move {
        let known = Looked::known(&record, detail);
        if detail == TableDetail::Names || record.format != "delta" {
            return known;
        }
        let unread = Looked {
            unread: true,
            ..known
        };
        if Instant::now() >= deadline {
            return unread;
        }
        let look = tokio::task::spawn_blocking(move || look(record, detail));
        match tokio::time::timeout_at(deadline, look).await {
            Ok(Ok(Some(looked))) => looked,
            _ => unread,
        }
    });
    let looked: Vec<Looked> = looked.buffered(AT_ONCE).collect().await;
    let mut moved = Vec::new();
    for one in looked {
        page.unread += u64::from(one.unread);
        page.tables.push(one.info);
        moved.extend(one.moved);
    }
    if !moved.is_empty() {
        store.write_later(move |db| {
            moved
                .iter()
                .try_for_each(|record| records::note_columns(db, record))
        });
    }
    Ok(page)
}

/// All names are gone through, so that totals and counts are of the same moment as the page.
fn select(db: &Connection, query: &TablesQuery) -> Result<(TablesPage, Vec<Record>)> {
    let mut gather: Gather<String> = Gather::new(query);
    for database in records::databases(db)? {
        gather.database(&database.name);
    }
    let search = if gather.wanted().reads_text() {
        "t.search"
    } else {
        "''"
    };
    let sql = format!(
        "SELECT d.name, t.name, {search}, t.id FROM tables t JOIN databases d ON d.id = t.database \
         ORDER BY d.key, t.key"
    );
    let mut statement = db.prepare_cached(&sql).map_err(trouble)?;
    let mut rows = statement.query([]).map_err(trouble)?;
    while let Some(row) = rows.next().map_err(trouble)? {
        let text = |at| row.get_ref(at).and_then(|value| Ok(value.as_str()?));
        let name = TableName::new(text(0).map_err(trouble)?, text(1).map_err(trouble)?);
        let id = text(3).map_err(trouble)?;
        gather.table(&name, text(2).map_err(trouble)?, || id.to_owned());
    }
    let (page, ids) = gather.finish();
    let mut records = Vec::with_capacity(ids.len());
    for id in ids {
        records.extend(records::table_by_id(db, &id)?);
    }
    Ok((page, records))
}

/// What a list tells of a table.
struct Looked {
    info: TableInfo,
    /// Its log has moved on: the table as it is now.
    moved: Option<Record>,
    unread: bool,
}

impl Looked {
    /// What the catalogue's file knows.
    fn known(record: &Record, detail: TableDetail) -> Self {
        let table = Table::from(record.clone());
        let more = detail != TableDetail::Names;
        let info = TableInfo {
            name: table.name,
            kind: table.kind,
            format: Some(table.format),
            comment: table.comment,
            columns: more.then_some(table.columns),
            rows: None,
            bytes: None,
            partitions: (detail == TableDetail::Stats).then_some(table.partition_by),
            version: record.version,
            location: Some(table.location.display().to_string()),
        };
        Self {
            info,
            moved: None,
            unread: false,
        }
    }
}

/// What the log of a Delta table says; `None` where it cannot be read. Blocks on the disk.
fn look(record: Record, detail: TableDetail) -> Option<Looked> {
    if detail == TableDetail::Columns {
        let moved = fresh::moved(&record);
        let known = Looked::known(moved.as_ref().unwrap_or(&record), detail);
        return Some(Looked { moved, ..known });
    }
    let snapshot = match delta::snapshot(&record.path) {
        Ok(snapshot) => snapshot?,
        Err(e) => {
            tracing::debug!(code = %e.code(), "a table's log cannot be read");
            return None;
        }
    };
    let moved = Record {
        version: Some(snapshot.version),
        schema: snapshot.schema,
        partition_by: snapshot.partition_by,
        comment: snapshot.comment,
        ..record.clone()
    };
    let mut looked = Looked::known(&moved, detail);
    looked.info.rows = snapshot.rows;
    looked.info.bytes = Some(snapshot.bytes);
    looked.moved = (moved.version != record.version).then_some(moved);
    Some(looked)
}

#[cfg(test)]
mod tests;
