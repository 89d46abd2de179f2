//! Which tables a pattern means, for catalogues that are searched here and not by their server. Pure.

use std::collections::BTreeMap;

use crate::model::{TableColumn, TableInfo, TableKind, TableName, TablesPage, TablesQuery};

/// Names that are shown where nothing matches: enough for a typing error, few enough to read.
const NEAR: usize = 5;

/// How like a name must be (Jaro-Winkler, 1 is equal) to be shown then.
const LIKE: f64 = 0.7;

/// The database in which Spark keeps views that all sessions of a process see.
pub(crate) const GLOBAL_TEMP: &str = "global_temp";

/// What a caller asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All.
    All,
    /// This one; in lower case.
    Only(String, String),
    /// Tables whose database and name look like this; in lower case, `*` stands for any characters.
    Named {
        /// `None`: any.
        database: Option<String>,
        /// Of the name alone.
        table: String,
    },
    /// Tables in whose names, columns or comments each of these words is found; in lower case.
    About(Vec<String>),
}

impl Wanted {
    /// What a query asks for.
    pub(crate) fn by(query: &TablesQuery) -> Self {
        match &query.only {
            Some(name) => Self::Only(name.database.to_lowercase(), name.table.to_lowercase()),
            None => Self::of(query.pattern.as_deref()),
        }
    }

    /// Reads a pattern, see [`TablesQuery::pattern`]. Backticks around names are no part of it.
    fn of(pattern: Option<&str>) -> Self {
        let text = pattern.unwrap_or_default().trim().to_lowercase();
        if text.chars().all(|c| c == '*') {
            return Self::All;
        }
        if !text.contains('*') {
            let words = text.replace('`', "");
            return Self::About(words.split_whitespace().map(str::to_owned).collect());
        }
        match text.split_once('.') {
            Some((database, table)) => Self::Named {
                database: Some(bare(database)),
                table: bare(table),
            },
            None => Self::Named {
                database: None,
                table: bare(&text),
            },
        }
    }

    /// Columns and comments matter, not the names alone.
    pub(crate) fn reads_text(&self) -> bool {
        matches!(self, Self::About(_))
    }

    /// Whether a table is meant. `text` are its comment and its columns' names and comments, where
    /// [`Wanted::reads_text`] says that they matter.
    pub(crate) fn means(&self, name: &TableName, text: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(database, table) => {
                name.database.to_lowercase() == *database && name.table.to_lowercase() == *table
            }
            Self::Named { database, table } => {
                database
                    .as_ref()
                    .is_none_or(|pattern| like(pattern, &name.database.to_lowercase()))
                    && like(table, &name.table.to_lowercase())
            }
            Self::About(words) => {
                let name = format!("{}.{}", name.database, name.table);
                let [name, text] = [name.as_str(), text].map(|t| t.to_lowercase().replace('`', ""));
                words
                    .iter()
                    .all(|word| name.contains(word) || text.contains(word))
            }
        }
    }

    /// How like a name is to what was asked for, from 0 to 1.
    fn likeness(&self, name: &TableName) -> f64 {
        let full = format!("{}.{}", name.database, name.table).to_lowercase();
        let table = name.table.to_lowercase();
        let near = |text: &str| {
            let text = text.replace('*', "");
            strsim::jaro_winkler(&text, &table).max(strsim::jaro_winkler(&text, &full))
        };
        match self {
            Self::All | Self::Only(..) => 0.0,
            Self::Named { table, .. } => near(table),
            Self::About(words) => words.iter().map(|word| near(word)).fold(0.0, f64::max),
        }
    }
}

/// A part of a name without the backticks that SQL wants around it.
fn bare(part: &str) -> String {
    let inside = part.strip_prefix('`').and_then(|p| p.strip_suffix('`'));
    inside.map_or_else(|| part.to_owned(), |inside| inside.replace("``", "`"))
}

/// Whether all of `text` is what `pattern` says.
fn like(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    // The first place of each part is the best one: it leaves the most for those behind it.
    for part in parts {
        let Some(at) = text.find(part) else {
            return false;
        };
        text = text.get(at + part.len()..).unwrap_or_default();
    }
    text.ends_with(last)
}

/// What a search reads of a table besides its name.
pub(crate) fn text_of(comment: Option<&str>, columns: &[TableColumn]) -> String {
    let columns = columns
        .iter()
        .flat_map(|c| [Some(c.name.as_str()), c.comment.as_deref()]);
    let all: Vec<&str> = std::iter::once(comment).chain(columns).flatten().collect();
    all.join("\n")
}

/// The order of a list: a session's own views first, then by name, without regard to case.
pub(crate) fn place(name: &TableName) -> (u8, String, String) {
    let rank = match name.database.as_str() {
        "" => 0,
        GLOBAL_TEMP => 1,
        _ => 2,
    };
    (
        rank,
        name.database.to_lowercase(),
        name.table.to_lowercase(),
    )
}

/// A page in the making: tables are shown to it in the order of [`place`], and it keeps those of the page.
#[derive(Debug)]
pub(crate) struct Gather<T> {
    wanted: Wanted,
    after: Option<(u8, String, String)>,
    limit: usize,
    /// What the page is made of.
    pub(crate) kept: Vec<T>,
    page: TablesPage,
    databases: BTreeMap<String, u64>,
    near: Vec<(f64, TableName)>,
}

impl<T> Gather<T> {
    /// An empty page.
    pub(crate) fn new(query: &TablesQuery) -> Self {
        Self {
            wanted: Wanted::by(query),
            after: query.after.as_ref().map(place),
            limit: query.limit.max(1),
            kept: Vec::new(),
            page: TablesPage::default(),
            databases: BTreeMap::new(),
            near: Vec::new(),
        }
    }

    /// What is looked for.
    pub(crate) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// A database that is there, whether it has tables or not.
    pub(crate) fn database(&mut self, name: &str) {
        if self.wanted == Wanted::All {
            self.databases.entry(name.to_owned()).or_default();
        }
    }

    /// The next table; `keep` makes what is kept of it, should it be one of the page's.
    pub(crate) fn table(&mut self, name: &TableName, text: &str, keep: impl FnOnce() -> T) {
        self.page.searched += 1;
        if !self.wanted.means(name, text) {
            if self.page.total == 0 {
                self.note_near(name);
            }
            return;
        }
        self.page.total += 1;
        *self.databases.entry(name.database.clone()).or_default() += 1;
        if self
            .after
            .as_ref()
            .is_some_and(|after| place(name) <= *after)
        {
            return;
        }
        if self.kept.len() < self.limit {
            self.kept.push(keep());
        } else {
            self.page.more = true;
        }
    }

    fn note_near(&mut self, name: &TableName) {
        let likeness = self.wanted.likeness(name);
        if likeness < LIKE {
            return;
        }
        let at = self.near.partition_point(|(other, _)| *other >= likeness);
        self.near.insert(at, (likeness, name.clone()));
        self.near.truncate(NEAR);
    }

    /// The page without its tables, and what was kept for them.
    pub(crate) fn finish(self) -> (TablesPage, Vec<T>) {
        let mut page = self.page;
        page.databases = self.databases.into_iter().collect();
        if page.total == 0 {
            page.near = self.near.into_iter().map(|(_, name)| name).collect();
        }
        (page, self.kept)
    }
}

/// A session's temp views in front of the catalogue's page. `views` in any order; `rest` makes the catalogue's page for
/// what is left of the query.
pub(crate) fn with_views(
    query: &TablesQuery,
    mut views: Vec<TableInfo>,
) -> (TablesPage, TablesQuery) {
    views.sort_by_cached_key(|view| place(&view.name));
    let mut gather = Gather::new(query);
    for view in views {
        debug_assert_eq!(view.kind, TableKind::TempView);
        let columns = view.columns.as_deref().unwrap_or_default();
        let text = text_of(view.comment.as_deref(), columns);
        gather.table(&view.name.clone(), &text, || view);
    }
    let (mut page, tables) = gather.finish();
    let rest = TablesQuery {
        limit: query.limit.saturating_sub(tables.len()),
        ..query.clone()
    };
    page.tables = tables;
    (page, rest)
}

/// The views' page with the catalogue's page, made for the same query, behind it.
pub(crate) fn joined(mut views: TablesPage, catalogue: TablesPage, limit: usize) -> TablesPage {
    let room = limit.saturating_sub(views.tables.len());
    views.more |= catalogue.more || catalogue.tables.len() > room;
    views.tables.extend(catalogue.tables.into_iter().take(room));
    views.total += catalogue.total;
    views.searched += catalogue.searched;
    views.databases.extend(catalogue.databases);
    views.unread += catalogue.unread;
    views.age = catalogue.age;
    views.notes.extend(catalogue.notes);
    views.near.extend(catalogue.near);
    views.near.truncate(NEAR);
    if views.total > 0 {
        views.near.clear();
    }
    views
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::all(None, "a", "b", true)]
    #[case::star("*", "a", "b", true)]
    #[case::blank("  ", "a", "b", true)]
    #[case::table("ord*", "sales", "Orders", true)]
    #[case::whole_name_only("rd*", "sales", "orders", false)]
    #[case::inside("*de*", "sales", "orders", true)]
    #[case::twice("o*r*s", "sales", "orders", true)]
    #[case::overlap("orders*orders", "sales", "orders", false)]
    #[case::database("sales.*", "Sales", "orders", true)]
    #[case::other_database("sales.*", "sales2", "orders", false)]
    #[case::database_pattern("s*.ord*", "sales", "orders", true)]
    #[case::quoted("`sales`.`two w*`", "sales", "two words", true)]
    #[case::wildcards_of_like("a_c*", "d", "abc1", false)]
    #[case::percent("%*", "d", "abc", false)]
    #[case::umlaut("GRÖ*", "d", "größe", true)]
    #[case::word("rder", "sales", "orders", true)]
    #[case::full("sales.orders", "sales", "orders", true)]
    #[case::full_quoted("sales.`two words`", "sales", "two words", true)]
    #[case::words("orders sales", "sales", "orders", true)]
    #[case::one_word_missing("orders nothing", "sales", "orders", false)]
    #[case::comment("KUNDEN", "sales", "orders", true)]
    #[case::backtick("a`b", "d", "a`b", true)]
    fn patterns_mean_what_they_say<'a>(
        #[case] pattern: impl Into<Option<&'a str>>,
        #[case] database: &str,
        #[case] table: &str,
        #[case] meant: bool,
    ) {
        let wanted = Wanted::of(pattern.into());
        let name = TableName::new(database, table);
        assert_eq!(wanted.means(&name, "die Kunden\nid"), meant, "{wanted:?}");
    }

    fn query(pattern: Option<&str>, limit: usize) -> TablesQuery {
        TablesQuery {
            pattern: pattern.map(str::to_owned),
            limit,
            ..TablesQuery::default()
        }
    }

    fn view(database: &str, table: &str) -> TableInfo {
        TableInfo::named(TableName::new(database, table), TableKind::TempView)
    }

    #[test]
    fn pages_meet_without_gap_or_repetition() {
        let names: Vec<TableName> = ["A", "b", "C", "d", "E"]
            .map(|table| TableName::new("db", table))
            .to_vec();
        let mut seen = Vec::new();
        let mut ask = query(None, 2);
        loop {
            let mut gather = Gather::new(&ask);
            gather.database("empty");
            for name in &names {
                gather.table(name, "", || name.clone());
            }
            let (page, kept) = gather.finish();
            assert_eq!((page.total, page.searched), (5, 5));
            assert_eq!(
                page.databases,
                [("db".to_owned(), 5), ("empty".to_owned(), 0)]
            );
            ask.after = kept.last().cloned();
            seen.extend(kept);
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, names);
    }

    #[test]
    fn nothing_found_names_the_nearest() {
        let mut gather = Gather::new(&query(Some("custmers"), 10));
        for name in ["customers", "orders", "customer_address"] {
            gather.table(&TableName::new("sales", name), "", || ());
        }
        let (page, _) = gather.finish();
        assert_eq!((page.total, page.searched), (0, 3));
        assert_eq!(
            page.near.first(),
            Some(&TableName::new("sales", "customers"))
        );
        assert!(!page.near.contains(&TableName::new("sales", "orders")));
    }

    #[test]
    fn views_of_a_session_stand_in_front() {
        let views = vec![view(GLOBAL_TEMP, "g"), view("", "z"), view("", "a")];
        let table = |name: &str| TableInfo {
            kind: TableKind::External,
            ..view("db", name)
        };
        let all = ["a", "z", "g", "one", "two"];
        for limit in 1..=6 {
            let mut seen = Vec::new();
            let mut ask = query(None, limit);
            loop {
                let (page, rest) = with_views(&ask, views.clone());
                let mut gather = Gather::new(&rest);
                for name in ["one", "two"] {
                    gather.table(&TableName::new("db", name), "", || table(name));
                }
                let (mut catalogue, tables) = gather.finish();
                catalogue.tables = tables;
                let page = joined(page, catalogue, limit);
                assert_eq!((page.total, page.searched), (5, 5));
                assert!(page.tables.len() <= limit);
                ask.after = page.tables.last().map(|t| t.name.clone());
                seen.extend(page.tables.into_iter().map(|t| t.name.table));
                if !page.more {
                    break;
                }
            }
            assert_eq!(seen, all, "limit {limit}");
        }
    }
}
