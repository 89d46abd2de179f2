//! `sparklease sql`: one statement, its rows on stdout. How its arguments are read is here too.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::Context;
use crate::model::{Error, Result};

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
    /// Rows to print at most [default: the configuration's server.rows].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
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

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) | Err(_) => Err("write a duration with its unit, like 90s or 5m".to_owned()),
    }
}

/// Runs the statement.
pub(crate) async fn run(_args: Args, _context: &Context) -> Result<ExitCode> {
    Err(Error::internal("not wired"))
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
