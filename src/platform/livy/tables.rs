//! What the catalogue of a session knows, asked in the session: names of all tables at once, and what is behind them for
//! those that a page shows. Which tables a pattern means is decided here, not there.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::run::{Ended, Job};
use crate::model::{
    End, Error, Event, Progress, TableColumn, TableDetail, TableInfo, TableKind, TableName,
    TablesPage, TablesQuery,
};
use crate::platform::pattern::{GLOBAL_TEMP, Gather, Wanted, place, text_of};

/// How long names are believed: the pages of one list are of one look, and are quick. What this server's own statements
/// change is seen at once; others' changes within this.
const FRESH_FOR: Duration = Duration::from_secs(45);
/// For the names of all databases: 10,000 tables of a slow catalogue.
const NAMES_FOR: Duration = Duration::from_secs(60);
/// For what is behind the tables of one page.
const DETAILS_FOR: Duration = Duration::from_secs(10);
/// For kinds and comments of a page of names, which is useful without.
const KINDS_FOR: Duration = Duration::from_secs(2);
/// Tables whose kinds and comments a page of names is worth: what an answer shows.
const KINDS: usize = 60;
/// Tables whose columns a search for words looks at, in [`DETAILS_FOR`] at most: each is a question to the catalogue.
const SEARCHED: usize = 500;

/// What a session's catalogue knew.
pub(super) struct Listing {
    asked_at: Instant,
    /// How many statements had changed something by then.
    changes: u64,
    databases: Vec<String>,
    /// Databases that could not be listed.
    failed: usize,
    /// In the order of a list; temp views are among them.
    names: Vec<(TableName, TableKind)>,
    /// What was told of tables since, and how much.
    known: HashMap<TableName, Known>,
}

#[derive(Clone)]
struct Known {
    detail: TableDetail,
    info: TableInfo,
}

/// The harness's answer to `names`.
#[derive(Deserialize)]
struct Names {
    databases: Vec<String>,
    tables: Vec<(String, String, bool)>,
    views: Vec<(String, String)>,
    failed: Vec<String>,
}

/// Its answer to `details`: `None` was not reached in time.
#[derive(Deserialize)]
struct Details {
    tables: Vec<Option<Told>>,
}

/// What it says of one table; nothing, where that cannot be read.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Told {
    kind: Option<String>,
    format: Option<String>,
    comment: Option<String>,
    location: Option<String>,
    partitions: Option<Vec<String>>,
    columns: Option<Vec<Column>>,
    rows: Option<u64>,
    bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
    comment: Option<String>,
    nullable: bool,
}

/// Reads a page, and tells it.
pub(super) async fn run(job: &Job<'_>, query: &TablesQuery, views: bool) -> Ended {
    match page(job, query, views).await {
        Ok(page) => {
            job.say(Event::Tables(Box::new(page))).await;
            (End::Succeeded, None)
        }
        Err(ended) => ended,
    }
}

async fn page(job: &Job<'_>, query: &TablesQuery, views: bool) -> Result<TablesPage, Ended> {
    let changes = job.client.changes.load(Ordering::Relaxed);
    let kept = job.live.take_listing().filter(|kept| {
        // A session's views may be those of a statement that nobody counted.
        !views && kept.changes == changes && kept.asked_at.elapsed() < FRESH_FOR
    });
    let mut listing = match kept {
        Some(listing) => listing,
        None => names(job, changes).await?,
    };
    let wanted = Wanted::by(query);
    let mut notes = Vec::new();
    if wanted.reads_text() {
        let unknown = listing.unread(&wanted, views);
        let some: Vec<TableName> = unknown.iter().take(SEARCHED).cloned().collect();
        listing
            .learn(job, &some, TableDetail::Columns, DETAILS_FOR)
            .await?;
        let unread = listing.unread(&wanted, views).len();
        if unread > 0 {
            notes.push(format!(
                "{unread} tables were searched by their names alone: their columns could not be read in time, or not at all; the next call goes on"
            ));
        }
    }
    let (mut page, shown) = listing.gather(query, views);
    let (few, within) = match query.detail {
        TableDetail::Names => (KINDS, KINDS_FOR),
        TableDetail::Columns | TableDetail::Stats => (shown.len(), DETAILS_FOR),
    };
    let few: Vec<TableName> = shown
        .iter()
        .take(few)
        .map(|(name, _)| name.clone())
        .collect();
    listing.learn(job, &few, query.detail, within).await?;
    for (name, kind) in shown {
        let known = listing.known.get(&name);
        let read = known.is_some_and(|known| covers(known.detail, query.detail));
        page.unread += u64::from(query.detail != TableDetail::Names && !read);
        page.tables.push(match known {
            Some(known) => known.told(query.detail),
            None => TableInfo::named(name, kind),
        });
    }
    if listing.failed > 0 {
        notes.push(format!(
            "databases whose tables could not be listed: {}; query_sql(sql=\"show tables in …\") says why",
            listing.failed
        ));
    }
    page.notes = notes;
    page.age = listing.asked_at.elapsed();
    job.live.keep_listing(listing);
    Ok(page)
}

/// Asks for all names.
async fn names(job: &Job<'_>, changes: u64) -> Result<Listing, Ended> {
    job.say(Event::Progress(Progress::phase("listing tables")))
        .await;
    let asked_at = Instant::now();
    let request = json!({ "seconds": NAMES_FOR.as_secs() });
    let names: Names = read(job.ask("names", request).await?)?;
    Ok(Listing::new(names, asked_at, changes))
}

/// An answer of the harness by its form.
pub(super) fn read<T: for<'de> Deserialize<'de>>(answer: serde_json::Value) -> Result<T, Ended> {
    serde_json::from_value(answer).map_err(|e| {
        let error = Error::internal("the harness's answer cannot be read").source_error(e);
        (End::Failed(error), None)
    })
}

/// Whether who knows the one knows the other.
fn covers(known: TableDetail, wanted: TableDetail) -> bool {
    let rank = |detail| match detail {
        TableDetail::Names => 0,
        TableDetail::Columns => 1,
        TableDetail::Stats => 2,
    };
    rank(known) >= rank(wanted)
}

fn is_temp(name: &TableName) -> bool {
    name.database.is_empty() || name.database == GLOBAL_TEMP
}

impl Listing {
    fn new(names: Names, asked_at: Instant, changes: u64) -> Self {
        let views = names.views.into_iter().map(|(database, view)| {
            let name = TableName::new(database, view);
            (name, TableKind::TempView)
        });
        let tables = names.tables.into_iter().map(|(database, table, view)| {
            let kind = if view {
                TableKind::View
            } else {
                TableKind::Table
            };
            (TableName::new(database, table), kind)
        });
        let mut all: Vec<(TableName, TableKind)> = views.chain(tables).collect();
        all.sort_by_cached_key(|(name, _)| place(name));
        Self {
            asked_at,
            changes,
            databases: names.databases,
            failed: names.failed.len(),
            names: all,
            known: HashMap::new(),
        }
    }

    /// Names in the order of a list, temp views only where they are asked for.
    fn all(&self, views: bool) -> impl Iterator<Item = &(TableName, TableKind)> {
        self.names
            .iter()
            .filter(move |(name, _)| views || !is_temp(name))
    }

    /// Tables that a search does not find by their names, and whose columns are not known.
    fn unread(&self, wanted: &Wanted, views: bool) -> Vec<TableName> {
        let unknown = |name: &TableName| {
            let known = self.known.get(name);
            !wanted.means(name, "")
                && !known.is_some_and(|known| covers(known.detail, TableDetail::Columns))
        };
        let names = self.all(views).map(|(name, _)| name);
        names.filter(|name| unknown(name)).cloned().collect()
    }

    /// The page without what is behind its tables, and these.
    fn gather(
        &self,
        query: &TablesQuery,
        views: bool,
    ) -> (TablesPage, Vec<(TableName, TableKind)>) {
        let mut gather = Gather::new(query);
        for database in &self.databases {
            gather.database(database);
        }
        for (name, kind) in self.all(views) {
            let text = match self.known.get(name) {
                Some(known) if gather.wanted().reads_text() => {
                    let columns = known.info.columns.as_deref().unwrap_or_default();
                    text_of(known.info.comment.as_deref(), columns)
                }
                _ => String::new(),
            };
            gather.table(name, &text, || (name.clone(), *kind));
        }
        gather.finish()
    }

    /// Asks what is behind those of `names` of which too little is known.
    async fn learn(
        &mut self,
        job: &Job<'_>,
        names: &[TableName],
        detail: TableDetail,
        within: Duration,
    ) -> Result<(), Ended> {
        let known = |name: &TableName| {
            let known = self.known.get(name);
            known.is_some_and(|known| covers(known.detail, detail))
        };
        let names: Vec<&TableName> = names.iter().filter(|name| !known(name)).collect();
        if names.is_empty() {
            return Ok(());
        }
        job.say(Event::Progress(Progress::phase(format!(
            "looking at {} tables",
            names.len()
        ))))
        .await;
        let pairs: Vec<(&str, &str)> = names
            .iter()
            .map(|name| (name.database.as_str(), name.table.as_str()))
            .collect();
        let word = match detail {
            TableDetail::Names => "names",
            TableDetail::Columns => "columns",
            TableDetail::Stats => "stats",
        };
        let request = json!({ "tables": pairs, "detail": word, "seconds": within.as_secs() });
        let details: Details = read(job.ask("details", request).await?)?;
        for (name, told) in names.into_iter().zip(details.tables) {
            let kind = self.names.iter().find(|(known, _)| known == name);
            let kind = kind.map_or(TableKind::Table, |(_, kind)| *kind);
            if let Some(told) = told {
                let known = told.known(name.clone(), kind, detail);
                self.known.insert(name.clone(), known);
            }
        }
        Ok(())
    }
}

impl Known {
    /// As much of it as was asked for: more may be known from another list.
    fn told(&self, detail: TableDetail) -> TableInfo {
        let mut info = self.info.clone();
        if !covers(detail, TableDetail::Columns) {
            info.columns = None;
        }
        if !covers(detail, TableDetail::Stats) {
            (info.rows, info.bytes, info.partitions) = (None, None, None);
        }
        info
    }
}

impl Told {
    fn known(self, name: TableName, listed: TableKind, detail: TableDetail) -> Known {
        let kind = match (listed, self.kind.as_deref()) {
            (TableKind::TempView, _) => TableKind::TempView,
            (_, Some("managed")) => TableKind::Managed,
            (_, Some("external")) => TableKind::External,
            (_, Some("view")) => TableKind::View,
            (listed, _) => listed,
        };
        // Of a table that cannot be read nothing more will be known soon, but its name is not its columns.
        let detail = if detail != TableDetail::Names && self.columns.is_none() {
            TableDetail::Names
        } else {
            detail
        };
        let columns = self.columns.map(|columns| {
            let column = |column: Column| TableColumn {
                name: column.name,
                data_type: column.data_type,
                comment: column.comment.filter(|text| !text.is_empty()),
                nullable: column.nullable,
            };
            columns.into_iter().map(column).collect()
        });
        let info = TableInfo {
            format: self.format,
            comment: self.comment.filter(|text| !text.is_empty()),
            columns,
            rows: self.rows,
            bytes: self.bytes,
            partitions: self.partitions,
            location: self.location,
            ..TableInfo::named(name, kind)
        };
        Known { detail, info }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        let names: Names = serde_json::from_value(json!({
            "databases": ["default", "sales"],
            "tables": [["sales", "Orders", false], ["sales", "a", true], ["default", "z", false]],
            "views": [["", "mine"], ["global_temp", "ours"]],
            "failed": ["secret"],
        }))
        .unwrap();
        Listing::new(names, Instant::now(), 0)
    }

    fn query(pattern: &str) -> TablesQuery {
        TablesQuery {
            pattern: Some(pattern.to_owned()),
            limit: 10,
            ..TablesQuery::default()
        }
    }

    #[test]
    fn temp_views_stand_in_front_and_only_where_they_are_asked_for() {
        let listing = listing();
        let of = |views| {
            let (page, shown) = listing.gather(
                &TablesQuery {
                    limit: 10,
                    ..TablesQuery::default()
                },
                views,
            );
            let names: Vec<String> = shown.iter().map(|(name, _)| name.to_string()).collect();
            (page.total, names)
        };
        assert_eq!(of(false).1, ["default.z", "sales.a", "sales.Orders"]);
        let (total, names) = of(true);
        assert_eq!((total, names.len()), (5, 5));
        assert_eq!(names[..2], ["mine", "global_temp.ours"]);
    }

    #[test]
    fn a_search_for_words_knows_which_columns_it_has_not_seen() {
        let mut listing = listing();
        let wanted = Wanted::by(&query("price"));
        assert_eq!(listing.unread(&wanted, false).len(), 3);
        assert_eq!(
            listing.unread(&Wanted::by(&query("orders")), false).len(),
            2
        );
        let name = TableName::new("sales", "Orders");
        let told: Told = serde_json::from_value(json!({
            "kind": "external",
            "columns": [{"name": "price", "type": "bigint", "comment": "", "nullable": true}],
        }))
        .unwrap();
        let known = told.known(name.clone(), TableKind::Table, TableDetail::Columns);
        assert_eq!(known.info.kind, TableKind::External);
        assert!(known.told(TableDetail::Names).columns.is_none());
        assert_eq!(known.told(TableDetail::Columns), known.info);
        listing.known.insert(name.clone(), known);
        assert_eq!(listing.unread(&wanted, false).len(), 2);
        let (page, shown) = listing.gather(&query("price"), false);
        assert_eq!((page.total, page.searched), (1, 3));
        assert_eq!(shown[0].0, name);
        // What cannot be read stays unknown.
        let known = Told::default().known(name, TableKind::View, TableDetail::Columns);
        assert!(!covers(known.detail, TableDetail::Columns));
        assert_eq!(known.info.kind, TableKind::View);
    }
}
