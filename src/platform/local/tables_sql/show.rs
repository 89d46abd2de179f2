//! `SHOW CREATE TABLE`, `SHOW TBLPROPERTIES`, `SHOW PARTITIONS`, `DESCRIBE HISTORY`, `DESCRIBE DETAIL`.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value};

use super::engine::blocking;
use super::locate::Found;
use super::statement::Target;
use super::{Did, Step, Tables, rows};
use crate::model::{Code, Error, TableColumn};
use crate::platform::local::delta;
use crate::sql::quote;

/// Versions that a history shows at most when no LIMIT is given: as many as an answer would ever show.
const HISTORY: u64 = 1000;

/// A table as its makers see it.
struct Shown {
    columns: Vec<TableColumn>,
    partition_by: Vec<String>,
    comment: Option<String>,
    properties: BTreeMap<String, String>,
    format: String,
}

impl Shown {
    async fn of(found: &Found) -> Step<Self> {
        if found.is_delta() {
            let log = found.snapshot("this").await?;
            let properties = log.properties.into_iter();
            return Ok(Self {
                columns: log.columns,
                partition_by: log.partition_by,
                comment: log.comment,
                properties: properties.map(|(k, v)| (k, text(v))).collect(),
                format: "delta".to_owned(),
            });
        }
        let Some(table) = found.table.clone() else {
            return Err(Error::internal("a table without a name is Delta").into());
        };
        Ok(Self {
            columns: table.columns,
            partition_by: table.partition_by,
            comment: table.comment,
            properties: table.properties,
            format: table.format,
        })
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// A literal as Spark reads it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

impl Tables<'_> {
    pub(super) async fn show_create(&self, target: &Target) -> Step<Did> {
        let found = self.find(target).await?;
        let shown = Shown::of(&found).await?;
        let columns: Vec<String> = shown
            .columns
            .iter()
            .map(|column| {
                let data_type = capitals(&column.data_type);
                let mut line = format!("  {} {data_type}", plain(&column.name));
                if !column.nullable {
                    line.push_str(" NOT NULL");
                }
                if let Some(comment) = &column.comment {
                    let _ = write!(line, " COMMENT {}", literal(comment));
                }
                line
            })
            .collect();
        let name = match &found.table {
            Some(table) => table.name.to_string(),
            None => found.sql_name(),
        };
        let mut ddl = format!(
            "CREATE TABLE {name} (\n{})\nUSING {}\n",
            columns.join(",\n"),
            shown.format
        );
        if !shown.partition_by.is_empty() {
            let columns: Vec<String> = shown.partition_by.iter().map(|c| plain(c)).collect();
            let _ = writeln!(ddl, "PARTITIONED BY ({})", columns.join(", "));
        }
        if let Some(comment) = &shown.comment {
            let _ = writeln!(ddl, "COMMENT {}", literal(comment));
        }
        if found.table.as_ref().is_some_and(|table| !table.owned) {
            let _ = writeln!(
                ddl,
                "LOCATION {}",
                literal(&found.location.to_string_lossy())
            );
        }
        if !shown.properties.is_empty() {
            let properties: Vec<String> = shown
                .properties
                .iter()
                .map(|(key, value)| format!("  {} = {}", literal(key), literal(value)))
                .collect();
            let _ = writeln!(ddl, "TBLPROPERTIES (\n{})", properties.join(",\n"));
        }
        Ok(rows(
            &[("createtab_stmt", "string")],
            vec![vec![ddl.into()]],
        ))
    }

    pub(super) async fn show_properties(&self, target: &Target, key: Option<&str>) -> Step<Did> {
        let found = self.find(target).await?;
        let shown = Shown::of(&found).await?;
        let list = match key {
            None => shown
                .properties
                .into_iter()
                .map(|(key, value)| vec![key.into(), value.into()])
                .collect(),
            Some(key) => {
                let value = shown.properties.get(key).cloned().unwrap_or_else(|| {
                    format!("Table {} does not have property: {key}", found.spoken())
                });
                vec![vec![key.into(), value.into()]]
            }
        };
        Ok(rows(&[("key", "string"), ("value", "string")], list))
    }

    pub(super) async fn show_partitions(&self, target: &Target) -> Step<Did> {
        let found = self.find(target).await?;
        let shown = Shown::of(&found).await?;
        if shown.partition_by.is_empty() {
            return Err(Error::new(
                Code::InvalidArgument,
                format!("{} is not partitioned", found.spoken()),
            )
            .hint("DESCRIBE DETAIL shows by which columns a table is partitioned.")
            .into());
        }
        let parts: Vec<String> = shown
            .partition_by
            .iter()
            .map(|column| {
                format!(
                    "{}, coalesce(cast({} AS string), '__HIVE_DEFAULT_PARTITION__')",
                    literal(&format!("{column}=")),
                    quote(column)
                )
            })
            .collect();
        Ok(Did::Sql(format!(
            "SELECT DISTINCT concat({}) AS `partition` FROM {} ORDER BY 1",
            parts.join(", '/', "),
            found.sql_name()
        )))
    }

    pub(super) async fn history(&self, target: &Target, limit: Option<u64>) -> Step<Did> {
        let found = self.find(target).await?;
        found.check_delta("DESCRIBE HISTORY")?;
        let limit = usize::try_from(limit.unwrap_or(HISTORY).min(HISTORY)).unwrap_or(usize::MAX);
        let location = found.location.clone();
        let commits = blocking(move || delta::history(&location, limit)).await?;
        if commits.is_empty() && limit > 0 {
            found.snapshot("DESCRIBE HISTORY").await?;
        }
        let list = commits
            .into_iter()
            .map(|commit| {
                vec![
                    commit.version.into(),
                    moment(commit.timestamp_ms),
                    commit.operation.into(),
                    texts(commit.parameters),
                    texts(commit.metrics),
                    commit.user_metadata.into(),
                ]
            })
            .collect();
        Ok(rows(
            &[
                ("version", "bigint"),
                ("timestamp", "timestamp"),
                ("operation", "string"),
                ("operationParameters", "map<string,string>"),
                ("operationMetrics", "map<string,string>"),
                ("userMetadata", "string"),
            ],
            list,
        ))
    }

    pub(super) async fn detail(&self, target: &Target) -> Step<Did> {
        let found = self.find(target).await?;
        let log = found.snapshot("DESCRIBE DETAIL").await?;
        let name = found.table.as_ref().map(|table| table.name.to_string());
        Ok(rows(
            &[
                ("format", "string"),
                ("name", "string"),
                ("description", "string"),
                ("location", "string"),
                ("partitionColumns", "array<string>"),
                ("numFiles", "bigint"),
                ("sizeInBytes", "bigint"),
                ("numRows", "bigint"),
                ("version", "bigint"),
                ("properties", "map<string,string>"),
            ],
            vec![vec![
                "delta".into(),
                name.into(),
                log.comment.into(),
                found.location.to_string_lossy().into(),
                log.partition_by.into(),
                log.files.into(),
                log.bytes.into(),
                log.rows.into(),
                log.version.into(),
                texts(log.properties),
            ]],
        ))
    }
}

/// A name in quotes only where it needs them, as Spark shows it.
fn plain(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    if name.starts_with(starts) && name.chars().all(bare) {
        name.to_owned()
    } else {
        quote(name)
    }
}

/// A map of texts.
fn texts(map: Map<String, Value>) -> Value {
    let texts = map
        .into_iter()
        .map(|(key, value)| (key, text(value).into()));
    Value::Object(texts.collect())
}

/// As the engine's timestamps are shown.
fn moment(milliseconds: i64) -> Value {
    match jiff::Timestamp::from_millisecond(milliseconds) {
        Ok(at) => at
            .strftime("%Y-%m-%d %H:%M:%S%.3f+00:00")
            .to_string()
            .into(),
        Err(_) => Value::Null,
    }
}

/// A type in capitals, as Spark shows it here; names inside of structs stay as they are.
fn capitals(data_type: &str) -> String {
    if data_type.contains("struct<") {
        data_type.to_owned()
    } else {
        data_type.to_uppercase()
    }
}
