//! `sparklease write`: a table from a file or a query.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::shot::Shot;
use super::sql::{Common, duration};
use super::{Context, report};
use crate::model::{Code, Error, Result, TableName, WriteMode};
use crate::service::{WriteCall, WriteSource, table_name};

/// Arguments of `write`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Write a table from a file or a query, all of it or nothing. Everything is checked before: the columns against the table's, keys, each line of the file.",
    after_help = "Examples:\n  \
                  sparklease write orders orders.csv\n  \
                  sparklease write sales.orders new.parquet --mode merge --keys id\n  \
                  sparklease write totals --sql \"select country, sum(amount) as amount from orders group by country\" --mode overwrite"
)]
pub(crate) struct Args {
    /// The table: NAME or DATABASE.NAME, with backquotes around a part that holds a dot.
    #[arg(value_name = "TABLE", value_parser = table)]
    pub table: TableName,
    /// A CSV (with a header), JSON-lines or Parquet file, or a folder of Parquet files.
    #[arg(value_name = "FILE", required_unless_present = "sql")]
    pub file: Option<PathBuf>,
    /// The rows of this query instead of a file.
    #[arg(long, value_name = "QUERY", conflicts_with = "file")]
    pub sql: Option<String>,
    /// What becomes of a table that is there.
    #[arg(long, short, value_enum, value_name = "MODE", default_value = "error")]
    pub mode: Mode,
    /// For a merge: the columns whose values name a row.
    #[arg(
        long,
        value_name = "COLUMNS",
        value_delimiter = ',',
        required_if_eq("mode", "merge")
    )]
    pub keys: Vec<String>,
    /// The columns that a new table is partitioned by.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub partition_by: Vec<String>,
    /// The columns' types: "id bigint, price decimal(10,2)".
    #[arg(long, value_name = "DDL")]
    pub schema: Option<String>,
    /// The target to write on [default: the configuration's default_target].
    #[arg(long, short, value_name = "NAME")]
    pub target: Option<String>,
    /// How long the write may take: 90s, 5m [default: the target's limits.statement].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// What becomes of a table that is there; one that is not is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// It is an error.
    Error,
    /// Rows are added.
    Append,
    /// Rows take the place of all that are there.
    Overwrite,
    /// Rows of equal keys are replaced, the others are added.
    Merge,
}

impl From<Mode> for WriteMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Error => Self::Error,
            Mode::Append => Self::Append,
            Mode::Overwrite => Self::Overwrite,
            Mode::Merge => Self::Merge,
        }
    }
}

fn table(text: &str) -> Result<TableName, String> {
    table_name(text).ok_or_else(|| {
        "write NAME or DATABASE.NAME, with backquotes around a part that holds a dot".to_owned()
    })
}

/// Writes the table.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode> {
    let mode = WriteMode::from(args.mode);
    if mode != WriteMode::Merge && !args.keys.is_empty() {
        return Err(Error::new(
            Code::InvalidArgument,
            format!("--keys is for --mode merge, not for {}", mode.as_word()),
        )
        .hint("Leave --keys out, or pass `--mode merge`."));
    }
    let common = Common {
        target: args.target,
        timeout: args.timeout,
        ..Common::default()
    };
    let mut loaded = context.load()?;
    let (target, rows) = common.prepare(&mut loaded, context)?;
    let source = match (args.sql, args.file) {
        (Some(sql), _) => WriteSource::Sql(sql),
        (None, Some(file)) => {
            let shown = file.display().to_string();
            let wrong = |code, why: &str| {
                Error::new(code, format!("{shown} {why}"))
                    .hint("Name a file relative to the working folder.")
            };
            let full = context.environment.working_folder().join(&file);
            let real = full.canonicalize().map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound => wrong(Code::NotFound, "is not there"),
                _ => wrong(Code::InvalidArgument, &format!("cannot be read: {e}")),
            })?;
            // A person named it.
            let folder = real.parent().map(std::path::Path::to_owned);
            loaded.settings.files.allowed.extend(folder);
            let text = real.to_str();
            let text =
                text.ok_or_else(|| wrong(Code::InvalidArgument, "has a path that is not UTF-8"))?;
            WriteSource::File(text.to_owned())
        }
        (None, None) => return Err(Error::internal("neither a file nor a query")),
    };
    let call = WriteCall {
        table: args.table,
        mode,
        source,
        schema: args.schema,
        keys: args.keys,
        partition_by: args.partition_by,
        roots: Vec::new(),
    };
    let shot = Shot::start(context, &loaded, rows)?;
    let place = common.place(target);
    let ended = async {
        let service = shot.app.service();
        let waiting = service.start_write(&shot.owner, &place, call).await?;
        let view = shot.wait(waiting, None).await?;
        report::written(&shot, &view)
    };
    let ended = ended.await;
    shot.end(ended).await
}
