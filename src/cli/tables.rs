//! `sparklease tables`: what is in a target's catalogue, whole.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::shot::Shot;
use super::{Context, words};
use crate::model::{
    Result, TableColumn, TableDetail, TableInfo, TableKind, TablesQuery, TargetName,
};
use crate::platform::Reporter;

/// Tables of one page: as many as one look at their files bears, few enough to be interrupted between.
const PAGE: usize = 500;

/// For a session to ask the catalogue in, and for its answer. What a cluster needs to start one.
const WAIT: Duration = Duration::from_secs(900);

/// Arguments of `tables`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(
    long_about = "List the tables of a target's catalogue: names, kinds and comments, and on demand columns, rows and bytes. On the local engine no session is opened; on a server the catalogue is asked in one.",
    after_help = "Examples:\n  \
                  sparklease tables\n  \
                  sparklease tables customer        names, columns and comments that say customer\n  \
                  sparklease tables \"sales.*\" --columns"
)]
pub(crate) struct Args {
    /// With * a pattern of names: `sales.*`, `*orders*`. Else words to search names, columns and comments for.
    #[arg(value_name = "PATTERN")]
    pub pattern: Option<String>,
    /// Show columns with types and comments.
    #[arg(long)]
    pub columns: bool,
    /// Show rows, bytes and partition columns.
    #[arg(long)]
    pub stats: bool,
    /// The target whose tables are listed [default: the configuration's default_target].
    #[arg(long, short, value_name = "NAME")]
    pub target: Option<String>,
}

/// Lists them.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode> {
    let loaded = context.load()?;
    let shot = Shot::start(context, &loaded, u64::MAX)?;
    let ended = list(&args, &shot).await;
    shot.end(ended).await
}

async fn list(args: &Args, shot: &Shot<'_>) -> Result<ExitCode> {
    let asked = args.target.clone().map(TargetName::new);
    let mut query = TablesQuery {
        pattern: args.pattern.clone(),
        detail: match (args.columns, args.stats) {
            (false, false) => TableDetail::Names,
            (true, false) => TableDetail::Columns,
            (_, true) => TableDetail::Stats,
        },
        limit: PAGE,
        ..TablesQuery::default()
    };
    let (mut tables, mut unread) = (Vec::new(), 0);
    let (target, page) = loop {
        let service = shot.app.service();
        let (target, _) = service.target(asked.as_ref())?;
        let (report, reports) = Reporter::new();
        let listed = service.tables(&shot.owner, Some(target), None, &query, WAIT, &report);
        let (target, mut page) = shot.until_stopped(listed, &reports).await?;
        query.after = page.tables.last().map(|table| table.name.clone());
        unread += page.unread;
        tables.append(&mut page.tables);
        if !page.more || query.after.is_none() {
            break (target, page);
        }
    };
    let output = shot.output;
    let shown: Vec<TableInfo> = tables.iter().map(|t| shot.app.gate().table(t)).collect();
    if output.is_json() {
        let tables: Vec<Value> = tables.iter().map(|t| document(t, args)).collect();
        let document = json!({ "target": target, "tables": tables, "total": tables.len() });
        output.exact(&shot.app.gate().document(&document))?;
    } else if shown.is_empty() {
        let near: Vec<String> = page.near.iter().map(ToString::to_string).collect();
        let mut words = match &args.pattern {
            Some(pattern) => format!(
                "nothing is found for {pattern:?} among {} tables of {target}",
                page.searched
            ),
            None => format!("0 tables on {target}"),
        };
        if !near.is_empty() {
            words = format!("{words}; the nearest names are {}", near.join(", "));
        }
        output.note(&words)?;
    } else {
        print(args, shot, &shown)?;
        if output.on_terminal() {
            let databases = match page.databases.len() {
                0 | 1 => String::new(),
                n => format!(" in {n} databases"),
            };
            let tables = if shown.len() == 1 { "table" } else { "tables" };
            output.note(&format!("{} {tables}{databases}", shown.len()))?;
        }
    }
    if unread > 0 {
        output.warning(&format!(
            "{unread} tables could not be read, or not in time: of these only names are sure; `sparklease sql \"select * from …\"` says why"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for each table, or with `--columns` for each column.
fn print(args: &Args, shot: &Shot<'_>, tables: &[TableInfo]) -> Result<()> {
    let commented = tables.iter().any(|t| t.comment.is_some());
    let mut head = vec!["table", "kind"];
    if args.stats {
        head.extend(["rows", "size", "partitioned by"]);
    }
    if args.columns {
        head.extend(["column", "type", "column comment"]);
    }
    if commented {
        head.push("comment");
    }
    let terminal = shot.output.on_terminal();
    let mut rows = Vec::new();
    for table in tables {
        let none: &[TableColumn] = &[];
        let columns = table.columns.as_deref().unwrap_or(none);
        let lines = if args.columns {
            columns.len().max(1)
        } else {
            1
        };
        for at in 0..lines {
            // People read a name once; a program that reads lines wants it on each.
            let first = at == 0 || !terminal;
            let once = |text: String| if first { text } else { String::new() };
            let mut row = vec![
                once(table.name.to_string()),
                once(kind(table.kind).to_owned()),
            ];
            if args.stats {
                let size = |bytes: u64| match terminal {
                    true => words::size(bytes),
                    false => bytes.to_string(),
                };
                row.push(once(table.rows.map_or_else(String::new, |n| n.to_string())));
                row.push(once(table.bytes.map_or_else(String::new, size)));
                row.push(once(
                    table.partitions.clone().unwrap_or_default().join(", "),
                ));
            }
            if args.columns {
                let column = columns.get(at);
                let text = |of: fn(&TableColumn) -> String| column.map_or_else(String::new, of);
                row.push(text(|c| c.name.clone()));
                row.push(text(|c| c.data_type.clone()));
                row.push(text(|c| c.comment.clone().unwrap_or_default()));
            }
            if commented {
                row.push(once(table.comment.clone().unwrap_or_default()));
            }
            rows.push(row);
        }
    }
    shot.output.table(&head, &rows)
}

/// Raw: the gate redacts the document.
fn document(table: &TableInfo, args: &Args) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    put("name", json!(table.name.to_string()));
    put("database", json!(table.name.database));
    put("table", json!(table.name.table));
    put("kind", json!(table.kind));
    put("format", json!(table.format));
    put("comment", json!(table.comment));
    put("location", json!(table.location));
    if args.columns || args.stats {
        put("columns", json!(table.columns));
    }
    if args.stats {
        put("rows", json!(table.rows));
        put("bytes", json!(table.bytes));
        put("partitions", json!(table.partitions));
        put("version", json!(table.version));
    }
    Value::Object(fields)
}

fn kind(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Managed => "managed",
        TableKind::External => "external",
        TableKind::Table => "table",
        TableKind::View => "view",
        TableKind::TempView => "temp view",
    }
}
