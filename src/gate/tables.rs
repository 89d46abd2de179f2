//! A list of tables as its caller sees it: how many there are, as many of them as fit, and how to go on. Names,
//! comments and columns come from the data: they are redacted, cleaned and fenced.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::answer::{Answer, Draft, seconds};
use super::clean;
use super::limit::{Limits, shortened};
use super::redact::{Redacted, Redaction, Redactor, add_counts};
use super::render::csv_cell;
use crate::model::{
    SessionName, TableDetail, TableInfo, TableKind, TableName, TablesPage, TargetName,
};

/// Bytes of a page of names, text and structured content together: under 2,000 tokens with names of common words. A
/// list of names is looked through for one of them, so it must not cost what an answer with data does.
const NAMES_BYTES: usize = 5_600;

/// Bytes of a page with columns, the same way: about 4,500 tokens, a dozen tables of common width.
const COLUMNS_BYTES: usize = 14_000;

/// The longest comment of a table, in characters: a sentence or two. A column's may be half of that.
const COMMENT_CHARS: usize = 240;

/// The longest type, in characters. Longer ones are structs of whole documents.
const TYPE_CHARS: usize = 500;

/// The longest name, in characters: what a catalogue keeps.
const NAME_CHARS: usize = 255;

/// Databases that a first page counts at most, in a fifth of its bytes; more would leave no room for tables.
const DATABASES: usize = 24;

/// What counting a database takes besides its name.
const DATABASE_BYTES: usize = 16;

/// What a caller asked for, as far as an answer repeats it.
#[derive(Clone, Debug)]
pub(crate) struct TablesAsk {
    /// Where.
    pub(crate) target: TargetName,
    /// The call named it, so that the next one must.
    pub(crate) target_given: bool,
    /// Whose temp views are listed too.
    pub(crate) session: Option<SessionName>,
    /// As the caller wrote it.
    pub(crate) pattern: Option<String>,
    /// How much of each.
    pub(crate) detail: TableDetail,
    /// It goes on with an earlier list.
    pub(crate) continued: bool,
}

/// Where a list goes on: what stands as `cursor` in `next`. It fits the list that it came from and no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TablesCursor {
    /// Behind this table.
    pub(crate) after: TableName,
    list: [u8; 4],
}

impl TablesCursor {
    /// Behind a table, in a list without pattern and session.
    pub(crate) fn behind(after: TableName) -> Self {
        Self {
            after,
            list: list_of(None, None),
        }
    }

    /// Reads what [`TablesCursor`]'s `Display` wrote.
    ///
    /// # Errors
    /// The reason, as a sentence fragment.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "it is none that this tool gave: take it from next as it stands".to_owned();
        let bytes = BASE64.decode(text.trim()).map_err(|_| wrong())?;
        let (list, name) = bytes.split_first_chunk::<4>().ok_or_else(wrong)?;
        let name = std::str::from_utf8(name).map_err(|_| wrong())?;
        let (database, table) = name.split_once('\0').ok_or_else(wrong)?;
        Ok(Self {
            after: TableName::new(database, table),
            list: *list,
        })
    }

    /// Whether it goes on with a list of this pattern and session.
    pub(crate) fn fits(&self, pattern: Option<&str>, session: Option<&SessionName>) -> bool {
        self.list == list_of(pattern, session)
    }
}

impl std::fmt::Display for TablesCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = format!("{}\0{}", self.after.database, self.after.table);
        f.write_str(&BASE64.encode([self.list.as_slice(), name.as_bytes()].concat()))
    }
}

/// What tells lists apart. The target is not in it: a name that stands in the order of one stands in that of all.
fn list_of(pattern: Option<&str>, session: Option<&SessionName>) -> [u8; 4] {
    let session = session.map_or("", SessionName::as_str);
    let text = format!("{}\0{session}", pattern.unwrap_or_default());
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let [a, b, c, d, ..] = digest;
    [a, b, c, d]
}

/// The answer for a page; as many of its tables as fit.
pub(super) fn answer(
    redactor: &Redactor,
    limits: &Limits,
    ask: &TablesAsk,
    page: &TablesPage,
) -> Answer {
    let list = List::new(redactor, limits, ask, page);
    let budget = list.budget();
    let mut shown = list.fitting(budget);
    let mut columns = usize::MAX;
    loop {
        let answer = list.compose(shown, columns);
        if answer.bytes() <= budget || (shown <= 1 && columns == 0) {
            return answer;
        }
        // A table that does not fit alone shows fewer of its columns.
        if shown > 1 {
            shown -= 1;
        } else {
            columns = list.columns_of_first().min(columns) / 2;
        }
    }
}

/// A table for the command line, whole: redacted, and clean for a terminal.
pub(super) fn table(redactor: &Redactor, table: &TableInfo) -> TableInfo {
    let mut shown = vec![table.clone()];
    tidy(redactor, &mut shown, &mut [], &mut Vec::new());
    shown.pop().unwrap_or_else(|| table.clone())
}

/// What a caller may see of a page.
struct List<'a> {
    ask: &'a TablesAsk,
    page: &'a TablesPage,
    limits: &'a Limits,
    redactor: &'a Redactor,
    target: String,
    tables: Vec<TableInfo>,
    databases: Vec<(String, u64)>,
    near: Vec<TableName>,
    counts: Vec<Redaction>,
}

impl<'a> List<'a> {
    fn new(
        redactor: &'a Redactor,
        limits: &'a Limits,
        ask: &'a TablesAsk,
        page: &'a TablesPage,
    ) -> Self {
        let mut counts = Vec::new();
        let mut tables = page.tables.clone();
        let mut near = page.near.clone();
        let mut databases: Vec<(String, u64)> = if ask.continued {
            Vec::new()
        } else {
            page.databases.iter().take(DATABASES).cloned().collect()
        };
        let mut names: Vec<&mut String> = near
            .iter_mut()
            .flat_map(|name| [&mut name.database, &mut name.table])
            .chain(databases.iter_mut().map(|(name, _)| name))
            .collect();
        tidy(redactor, &mut tables, &mut names, &mut counts);
        let target = redactor.redact(ask.target.as_str()).map(clean::line);
        let mut list = Self {
            ask,
            page,
            limits,
            redactor,
            target: shortened(target.into_string(), NAME_CHARS),
            tables,
            databases,
            near,
            counts,
        };
        let mut spent = 0;
        let room = list.budget() / 5;
        list.databases.retain(|(name, _)| {
            spent += 2 * name.len() + DATABASE_BYTES;
            spent <= room
        });
        list
    }

    /// Bytes of the answer.
    fn budget(&self) -> usize {
        let wanted = match self.ask.detail {
            TableDetail::Names => NAMES_BYTES,
            TableDetail::Columns | TableDetail::Stats => COLUMNS_BYTES,
        };
        wanted.min(self.limits.bytes())
    }

    /// About how many tables fit; at least one, if there is any.
    fn fitting(&self, budget: usize) -> usize {
        let mut spent = 0;
        let fits = self.tables.iter().take_while(|table| {
            let structured = if self.limits.structured_copy {
                structured(table, usize::MAX).to_string().len()
            } else {
                0
            };
            spent += structured + self.line(table, usize::MAX, true).len();
            spent <= budget
        });
        fits.count().max(1).min(self.tables.len())
    }

    fn columns_of_first(&self) -> usize {
        let first = self.tables.first();
        first.map_or(0, |t| t.columns.as_ref().map_or(0, Vec::len))
    }

    fn compose(&self, shown: usize, most_columns: usize) -> Answer {
        let tables = self.tables.get(..shown).unwrap_or(&self.tables);
        let more = self.page.more || shown < self.tables.len();
        let next = if more { self.call_on(shown) } else { None };
        let mut draft = Draft::default();
        draft.head.push(self.head_words(tables.len(), more));
        let databases = self.databases.len() > 1;
        if databases {
            let mut body = String::from("# database, tables\n");
            for (name, count) in &self.databases {
                csv_cell(&mut body, database_words(name));
                body.push_str(&format!(",{count}\n"));
            }
            let left_out = self.page.databases.len() - self.databases.len();
            if left_out > 0 {
                body.push_str(&format!("# and {left_out} more databases\n"));
            }
            draft.data.push(("databases".to_owned(), body));
        }
        if !tables.is_empty() {
            draft
                .data
                .push(("tables".to_owned(), self.body(tables, most_columns)));
        }
        if !self.near.is_empty() {
            let names: Vec<String> = self.near.iter().map(TableName::to_string).collect();
            draft
                .data
                .push(("nearest names".to_owned(), names.join("\n")));
        }
        self.notes(tables, most_columns, &mut draft);
        if let Some(next) = &next {
            draft.foot.push(format!("next: {next}"));
        }
        let mut counts = self.counts.clone();
        let text = self.redactor.redact(&draft.text());
        add_counts(&mut counts, text.counts());
        let text = text.into_string();

        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| {
            fields.insert(name.to_owned(), value);
        };
        put("target", json!(self.target));
        // The tables stand in the text too; the switch for clients that show both drops this copy.
        if self.limits.structured_copy {
            let tables: Vec<Value> = tables.iter().map(|t| structured(t, most_columns)).collect();
            put("tables", Value::Array(tables));
            if databases {
                let counts: Map<String, Value> = self
                    .databases
                    .iter()
                    .map(|(name, count)| (database_words(name).to_owned(), json!(count)))
                    .collect();
                put("databases", Value::Object(counts));
            }
        }
        put("total", json!(self.page.total));
        put("age_s", json!(seconds(self.page.age)));
        if !counts.is_empty() {
            counts.truncate(16);
            put("redactions", json!(counts));
        }
        if let Some(next) = next {
            put("next", json!(next));
        }
        Answer {
            text,
            structured: Value::Object(fields),
            images: Vec::new(),
            is_error: false,
        }
    }

    fn head_words(&self, shown: usize, more: bool) -> String {
        let page = self.page;
        let target = &self.target;
        let looked = format!(
            "the {} tables{} of {target}",
            page.searched,
            if self.ask.session.is_some() {
                " and temp views"
            } else {
                ""
            }
        );
        let asked = self.ask.pattern.as_deref().map(str::trim);
        if page.total == 0 {
            return match asked.filter(|pattern| !pattern.is_empty()) {
                None => format!("no tables on {target} yet: write_table or run_sql makes one"),
                Some(pattern) if pattern.contains('*') => format!(
                    "nothing matches: the pattern was compared with the names of {looked}; a word without * searches columns and comments too"
                ),
                Some(_) => format!(
                    "nothing found: the names, columns and comments of {looked} were searched"
                ),
            };
        }
        let tables = if page.total == 1 { "table" } else { "tables" };
        let what = match asked.filter(|pattern| !pattern.is_empty()) {
            Some(_) => format!(
                "{} {tables} of {} match on {target}",
                page.total, page.searched
            ),
            None => format!("{} {tables} on {target}", page.total),
        };
        let databases = match page.databases.len() {
            0 | 1 => String::new(),
            n => format!(" in {n} databases"),
        };
        let part = match (self.ask.continued, more) {
            (false, false) => String::new(),
            (false, true) => format!("; the first {shown} by name"),
            (true, true) => format!("; the next {shown} by name"),
            (true, false) => format!("; the last {shown} by name"),
        };
        let age = match page.age.as_secs() {
            0 => String::new(),
            age => format!("; as of {age} s ago"),
        };
        format!("{what}{databases}{part}{age}")
    }

    fn notes(&self, tables: &[TableInfo], most_columns: usize, draft: &mut Draft) {
        let wide = tables
            .iter()
            .filter_map(|t| t.columns.as_ref())
            .any(|columns| columns.len() > most_columns);
        if wide {
            draft.foot.push(format!(
                "columns: the first {most_columns} of a wide table are shown; query_sql(sql=\"describe table …\") lists all"
            ));
        }
        if self.page.unread > 0 {
            draft.foot.push(format!(
                "{} of these tables could not be read in time, or not at all: what is not shown of them is not known; query_sql says why",
                self.page.unread
            ));
        }
        draft.foot.extend(self.page.notes.iter().cloned());
        let narrow = self.page.more && !self.ask.continued;
        if narrow && self.ask.pattern.is_none() {
            draft.foot.push(
                "pattern narrows the list: a word searches names, columns and comments; sales.* or *orders* compares names"
                    .to_owned(),
            );
        }
        let bare = self.ask.detail == TableDetail::Names && !tables.is_empty();
        if bare && !self.ask.continued {
            draft.foot.push(
                "detail=\"columns\" shows columns, detail=\"stats\" rows and bytes too".to_owned(),
            );
        }
    }

    /// CSV: a line for each table.
    fn body(&self, tables: &[TableInfo], most_columns: usize) -> String {
        let mixed = tables
            .iter()
            .map(|t| kind_word(t.kind))
            .collect::<BTreeSet<_>>()
            .len()
            > 1;
        let mut head = vec!["table"];
        if mixed {
            head.push("kind");
        }
        if self.ask.detail == TableDetail::Stats {
            head.extend(["rows", "bytes", "partitioned by"]);
        }
        if self.ask.detail != TableDetail::Names {
            head.push("columns");
        }
        if commented(tables) {
            head.push("comment");
        }
        let mut body = format!("# {}\n", head.join(", "));
        let comments = commented(tables);
        for table in tables {
            let mut line = self.line(table, most_columns, mixed);
            if comments {
                line.push(',');
                if let Some(comment) = &table.comment {
                    csv_cell(&mut line, comment);
                }
            }
            line.push('\n');
            body.push_str(&line);
        }
        if !mixed && let Some(first) = tables.first() {
            body.push_str(&format!("# kind: {}\n", kind_word(first.kind)));
        }
        body
    }

    /// A table's line up to its comment.
    fn line(&self, table: &TableInfo, most_columns: usize, kind: bool) -> String {
        let mut line = String::new();
        csv_cell(&mut line, &table.name.to_string());
        if kind {
            line.push_str(&format!(",{}", kind_word(table.kind)));
        }
        let number = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
        if self.ask.detail == TableDetail::Stats {
            line.push_str(&format!(",{},{},", number(table.rows), number(table.bytes)));
            let partitions = table.partitions.as_deref().unwrap_or_default();
            if !partitions.is_empty() {
                csv_cell(&mut line, &partitions.join(", "));
            }
        }
        if self.ask.detail != TableDetail::Names {
            line.push(',');
            if let Some(columns) = &table.columns {
                let mut words: Vec<String> = columns
                    .iter()
                    .take(most_columns)
                    .map(|column| {
                        let name = TableName::new("", column.name.as_str());
                        let comment = column.comment.as_ref().map_or_else(String::new, |text| {
                            format!(" comment '{}'", text.replace('\'', "''"))
                        });
                        format!("{name} {}{comment}", column.data_type)
                    })
                    .collect();
                let left_out = columns.len().saturating_sub(most_columns);
                if left_out > 0 {
                    words.push(format!("…+{left_out}"));
                }
                csv_cell(&mut line, &words.join(", "));
            }
        }
        line
    }

    /// The literal call that goes on behind the first `shown` tables. A cursor holds a name: behind one that is
    /// secret, the call goes on a table earlier.
    fn call_on(&self, shown: usize) -> Option<String> {
        let last = self.page.tables.get(..shown)?.iter().rev();
        let mut calls = last.map(|last| self.redactor.redact(&self.call_behind(&last.name)));
        let clean = |call: &Redacted| call.counts().is_empty();
        let first = calls.next()?;
        let call = if clean(&first) {
            first
        } else {
            calls.find(clean).unwrap_or(first)
        };
        Some(call.into_string())
    }

    fn call_behind(&self, last: &TableName) -> String {
        let ask = self.ask;
        let text = |text: &str| Value::from(text).to_string();
        let cursor = TablesCursor {
            after: last.clone(),
            list: list_of(ask.pattern.as_deref(), ask.session.as_ref()),
        };
        let mut call = String::from("list_tables(");
        if let Some(pattern) = &ask.pattern {
            call.push_str(&format!("pattern={}, ", text(pattern)));
        }
        match ask.detail {
            TableDetail::Names => {}
            TableDetail::Columns => call.push_str("detail=\"columns\", "),
            TableDetail::Stats => call.push_str("detail=\"stats\", "),
        }
        if ask.target_given {
            call.push_str(&format!("target={}, ", text(ask.target.as_str())));
        }
        if let Some(session) = &ask.session {
            call.push_str(&format!("session={}, ", text(session.as_str())));
        }
        format!("{call}cursor=\"{cursor}\")")
    }
}

/// Takes out what is secret, also where it is spread over neighbours, and what acts on a reader; cuts what is too long.
fn tidy(
    redactor: &Redactor,
    tables: &mut [TableInfo],
    names: &mut [&mut String],
    counts: &mut Vec<Redaction>,
) {
    let mut texts: Vec<(&mut String, usize)> = Vec::new();
    for table in tables {
        texts.push((&mut table.name.database, NAME_CHARS));
        texts.push((&mut table.name.table, NAME_CHARS));
        texts.extend(table.comment.iter_mut().map(|c| (c, COMMENT_CHARS)));
        for column in table.columns.iter_mut().flatten() {
            texts.push((&mut column.name, NAME_CHARS));
            texts.push((&mut column.data_type, TYPE_CHARS));
            texts.extend(column.comment.iter_mut().map(|c| (c, COMMENT_CHARS / 2)));
        }
        let partitions = table.partitions.iter_mut().flatten();
        texts.extend(partitions.map(|name| (name, NAME_CHARS)));
        texts.extend(table.format.iter_mut().map(|f| (f, NAME_CHARS)));
    }
    texts.extend(names.iter_mut().map(|name| (&mut **name, NAME_CHARS)));
    let mut all: Vec<&mut String> = texts.iter_mut().map(|(text, _)| &mut **text).collect();
    let found = redactor.redact_neighbours(&mut all);
    add_counts(counts, &found);
    for (text, chars) in texts {
        *text = shortened(clean::line(text), chars);
    }
}

fn structured(table: &TableInfo, most_columns: usize) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    put("name", json!(table.name.to_string()));
    put("kind", json!(table.kind));
    if let Some(comment) = &table.comment {
        put("comment", json!(comment));
    }
    if let Some(columns) = &table.columns {
        let shown: Vec<Value> = columns
            .iter()
            .take(most_columns)
            .map(|c| json!(c))
            .collect();
        put("columns", Value::Array(shown));
    }
    if let Some(rows) = table.rows {
        put("rows", json!(rows));
    }
    if let Some(bytes) = table.bytes {
        put("bytes", json!(bytes));
    }
    if let Some(partitions) = &table.partitions {
        put("partitions", json!(partitions));
    }
    Value::Object(fields)
}

fn commented(tables: &[TableInfo]) -> bool {
    tables.iter().any(|table| table.comment.is_some())
}

/// The word of [`TableKind`]'s JSON.
fn kind_word(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Managed => "managed",
        TableKind::External => "external",
        TableKind::Table => "table",
        TableKind::View => "view",
        TableKind::TempView => "temp_view",
    }
}

/// The views of one session are in no database.
fn database_words(name: &str) -> &str {
    if name.is_empty() {
        "(temp views)"
    } else {
        name
    }
}
