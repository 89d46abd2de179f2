//! A page of the list of tables, from the store alone.

use rusqlite::Connection;

use super::names::key;
use super::{Table, records};
use crate::model::{Result, TableDetail, TableInfo, TablesPage, TablesQuery};

/// The page that is asked for.
pub(super) fn page(db: &Connection, query: &TablesQuery) -> Result<TablesPage> {
    let databases = records::databases(db)?
        .into_iter()
        .map(|database| (database.name, 0))
        .collect();
    let all: Vec<Table> = records::all_tables(db)?
        .into_iter()
        .map(Table::from)
        .collect();
    let total = all.len() as u64;
    let behind = |table: &Table| {
        query.after.as_ref().is_none_or(|after| {
            (key(&table.name.database), key(&table.name.table))
                > (key(&after.database), key(&after.table))
        })
    };
    let mut rest = all.into_iter().filter(behind);
    let tables: Vec<TableInfo> = rest
        .by_ref()
        .take(query.limit)
        .map(|table| info(table, query.detail))
        .collect();
    Ok(TablesPage {
        tables,
        total,
        more: rest.next().is_some(),
        databases,
        ..TablesPage::default()
    })
}

fn info(table: Table, detail: TableDetail) -> TableInfo {
    let columns = detail != TableDetail::Names;
    TableInfo {
        name: table.name,
        kind: table.kind,
        format: Some(table.format),
        comment: table.comment,
        columns: columns.then_some(table.columns),
        rows: None,
        bytes: None,
        partitions: columns.then_some(table.partition_by),
        version: None,
        location: columns.then(|| table.location.display().to_string()),
    }
}
