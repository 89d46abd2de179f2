//! `sparklease sql`: one statement, its rows on stdout. How its arguments are read is here too.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::shot::Shot;
use super::{Context, report, source};
use crate::config::{Access, Loaded};
use crate::model::{Code, Error, Result, TargetName};
use crate::platform::Params;
use crate::service::{Place, SqlCall};

/// Rows that one result may have here: the most that the configuration allows to be kept.
pub(super) const MAX_ROWS: u64 = 1_000_000;

/// Arguments of `sql`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Run one SQL statement and print its rows: a table on a terminal, CSV in a pipe. A file becomes a temp view.",
    after_help = "Examples:\n  \
                  sparklease sql --file orders.csv \"select country, sum(amount) from orders group by country\"\n  \
                  sparklease sql --file o=2026/orders.parquet --param n=10 \"select * from o where amount > :n\"\n  \
                  sparklease sql - < report.sql > report.csv"
)]
pub(crate) struct Args {
    /// The statement; `-` reads it from stdin.
    #[arg(value_name = "SQL")]
    pub text: String,
    /// A CSV (with a header), JSON-lines or Parquet file or folder as a temp view: PATH, whose view is its stem, or
    /// NAME=PATH. Repeatable. Write ./a=b.csv for a path with `=` in it.
    #[arg(long = "file", short, value_name = "[NAME=]PATH", value_parser = named_file)]
    pub files: Vec<NamedFile>,
    /// A value for `:NAME` in the statement. JSON numbers, true, false and null are taken as such, all else is text;
    /// NAME='"5"' is the text 5. Repeatable.
    #[arg(long = "param", short, value_name = "NAME=VALUE", value_parser = parameter)]
    pub params: Vec<(String, Value)>,
    #[command(flatten)]
    pub common: Common,
}

/// What `sql` and `run` share.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Common {
    /// The target to run on [default: the configuration's default_target].
    #[arg(long, short, value_name = "NAME")]
    pub target: Option<String>,
    /// How rows are printed [default: table on a terminal, csv in a pipe, json with --json].
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<RowFormat>,
    /// Rows to print at most [default: server.rows of the configuration on a terminal, limits.rows in a pipe].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_ROWS))]
    pub max_rows: Option<u64>,
    /// How long the statement may run: 90s, 5m [default: the target's limits.statement].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RowFormat {
    /// Aligned columns for people.
    Table,
    /// RFC 4180.
    Csv,
    /// A Markdown table.
    Markdown,
    /// {"columns": […], "rows": [[…]]}.
    Json,
}

impl Common {
    /// The format that was asked for, or the one that fits where the rows go.
    pub(crate) fn row_format(&self, context: &Context) -> RowFormat {
        self.format.unwrap_or(if context.output.is_json() {
            RowFormat::Json
        } else if context.output.on_terminal() {
            RowFormat::Table
        } else {
            RowFormat::Csv
        })
    }

    /// Fits the settings to this one statement, and says where it runs and how many rows are printed.
    ///
    /// # Errors
    /// `not_found`; `invalid_argument` for a time that the target does not allow.
    pub(super) fn prepare(
        &self,
        loaded: &mut Loaded,
        context: &Context,
    ) -> Result<(TargetName, u64)> {
        let settings = &mut loaded.settings;
        // Nothing comes after this statement.
        settings.engine.spare = false;
        let name = match &self.target {
            Some(name) => TargetName::new(name.clone()),
            None => settings.default_target.clone(),
        };
        let names: Vec<&str> = settings.targets.keys().map(TargetName::as_str).collect();
        let names = names.join(", ");
        let Some(target) = settings.targets.get_mut(&name) else {
            return Err(Error::new(
                Code::NotFound,
                format!("there is no target {:?}", name.as_str()),
            )
            .hint(format!(
                "The targets are: {names}; `sparklease config path` says where they are configured."
            )));
        };
        let limits = &mut target.limits;
        if let Some(timeout) = self.timeout.filter(|timeout| *timeout > limits.statement) {
            return Err(Error::new(
                Code::InvalidArgument,
                format!(
                    "--timeout {} is longer than the {} that the target {name} allows",
                    humantime::format_duration(timeout),
                    humantime::format_duration(limits.statement)
                ),
            )
            .hint(format!(
                "Ask for less, or raise `targets.{name}.limits.statement` in the configuration."
            )));
        }
        // The engine is asked for no more rows than are printed, and one more to know that there are more.
        limits.rows = match self.max_rows {
            Some(rows) => rows,
            None if context.output.on_terminal() => settings.server.rows,
            None => limits.rows,
        };
        let rows = limits.rows;
        Ok((name, rows))
    }

    /// Where and how the statement runs.
    pub(super) fn place(&self, target: TargetName) -> Place {
        Place {
            target: Some(target),
            session: None,
            timeout: self.timeout,
        }
    }
}

/// A file and the name of its view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedFile {
    /// The view.
    pub name: String,
    /// As it was written.
    pub path: PathBuf,
}

/// `PATH` or `NAME=PATH`. What stands before `=` is a name only if it is a plain identifier.
fn named_file(text: &str) -> Result<NamedFile, String> {
    let identifier = |name: &str| {
        name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    let (name, path) = match text.split_once('=') {
        Some((name, path)) if identifier(name) => (name.to_owned(), path),
        _ => {
            let stem = Path::new(text).file_stem().and_then(|stem| stem.to_str());
            let stem = stem.ok_or("the path has no file name; write NAME=PATH")?;
            (stem.to_owned(), text)
        }
    };
    if path.is_empty() {
        return Err("the path is empty; write NAME=PATH".to_owned());
    }
    Ok(NamedFile {
        name,
        path: path.into(),
    })
}

/// `NAME=VALUE`; a value that is a JSON scalar is that, any other text is text.
fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("write NAME=VALUE")?;
    let value = match serde_json::from_str::<Value>(value) {
        Ok(scalar) if !scalar.is_array() && !scalar.is_object() => scalar,
        Ok(_) | Err(_) => Value::from(value),
    };
    Ok((name.to_owned(), value))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) | Err(_) => Err("write a duration with its unit, like 90s or 5m".to_owned()),
    }
}

/// Runs the statement.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode> {
    let text = if args.text == "-" {
        source::read(Path::new("-")).await?
    } else {
        args.text
    };
    let mut loaded = context.load()?;
    let (target, rows) = args.common.prepare(&mut loaded, context)?;
    let files = files(&args.files, context, &mut loaded)?;
    let params = params(args.params)?;
    let reads_only = loaded.settings.access(&target) == Access::ReadOnly;
    let shot = Shot::start(context, &loaded, rows)?;
    let call = SqlCall {
        sql: text,
        params,
        files,
        roots: Vec::new(),
        reads_only,
    };
    let place = args.common.place(target);
    let ended = async {
        let waiting = shot
            .app
            .service()
            .start_sql(&shot.owner, &place, call)
            .await?;
        let view = shot.wait(waiting, None).await?;
        report::rows(&shot, &view, args.common.row_format(context))
    };
    let ended = ended.await;
    shot.end(ended).await
}

/// Each file under its view's name; its folder is allowed, since a person named it.
fn files(
    named: &[NamedFile],
    context: &Context,
    loaded: &mut Loaded,
) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut problems = Vec::new();
    let mut code = Code::NotFound;
    for file in named {
        let shown = file.path.display();
        match context
            .environment
            .working_folder()
            .join(&file.path)
            .canonicalize()
        {
            Err(error) => problems.push(match error.kind() {
                ErrorKind::NotFound => format!("{shown} is not there"),
                _ => format!("{shown} cannot be read: {error}"),
            }),
            Ok(real) => {
                loaded
                    .settings
                    .files
                    .allowed
                    .extend(real.parent().map(Path::to_owned));
                let Some(text) = real.to_str() else {
                    code = Code::InvalidArgument;
                    problems.push(format!("{shown} has a path that is not UTF-8"));
                    continue;
                };
                if files.insert(file.name.clone(), text.to_owned()).is_some() {
                    code = Code::InvalidArgument;
                    problems.push(format!("{shown}: the view {} is there already", file.name));
                }
            }
        }
    }
    if problems.is_empty() {
        return Ok(files);
    }
    Err(Error::new(code, problems.join("; ")).hint(
        "Give each file as `--file PATH` or `--file NAME=PATH`, relative to the working folder.",
    ))
}

fn params(given: Vec<(String, Value)>) -> Result<Params> {
    if given.is_empty() {
        return Ok(Params::None);
    }
    let mut params = BTreeMap::new();
    for (name, value) in given {
        if params.insert(name.clone(), value).is_some() {
            return Err(Error::new(
                Code::InvalidArgument,
                format!("the parameter {name} is given twice"),
            )
            .hint("Give each `--param NAME=VALUE` once."));
        }
    }
    Ok(Params::Named(params))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("orders.csv", Some(("orders", "orders.csv")))]
    #[case("o=a/orders.csv", Some(("o", "a/orders.csv")))]
    #[case("o=a=b.csv", Some(("o", "a=b.csv")))]
    #[case("./dt=2024/x.csv", Some(("x", "./dt=2024/x.csv")))]
    #[case("a/my orders.csv", Some(("my orders", "a/my orders.csv")))]
    #[case("o=", None)]
    #[case("..", None)]
    fn a_file_has_a_name(#[case] text: &str, #[case] read: Option<(&str, &str)>) {
        let read = read.map(|(name, path)| NamedFile {
            name: name.to_owned(),
            path: path.into(),
        });
        assert_eq!(named_file(text).ok(), read);
    }

    #[rstest]
    #[case("n=5", json!(5))]
    #[case("n=5.50", json!(5.5))]
    #[case("n=true", json!(true))]
    #[case("n=null", json!(null))]
    #[case("n=abc", json!("abc"))]
    #[case("n=\"5\"", json!("5"))]
    #[case("n=a=b", json!("a=b"))]
    #[case("n=[1]", json!("[1]"))]
    #[case("n=", json!(""))]
    fn a_parameter_is_a_scalar_or_text(#[case] text: &str, #[case] value: Value) {
        assert_eq!(parameter(text), Ok(("n".to_owned(), value)));
    }

    #[rstest]
    #[case("=5")]
    #[case("n")]
    fn a_parameter_has_a_name(#[case] text: &str) {
        assert!(parameter(text).is_err());
    }
}
