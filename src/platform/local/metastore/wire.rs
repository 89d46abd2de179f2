//! The bodies that the engine sends and reads, as it spells them, and what they are to us.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::CATALOG;
use super::folders::Places;
use super::records::{Commit, Database, Record};
use crate::model::{Code, Error, Result, TableName};
use crate::platform::local::delta::schema;
use crate::platform::names::{self, refuse};
use crate::sql;

/// `POST /schemas`.
#[derive(Debug, Deserialize)]
pub(super) struct NewDatabase {
    name: String,
    pub(super) comment: Option<String>,
    #[serde(default)]
    properties: Option<BTreeMap<String, Value>>,
}

/// `POST /staging-tables`.
#[derive(Debug, Deserialize)]
pub(super) struct NewStaging {
    schema_name: String,
    name: String,
}

/// `POST /tables`.
#[derive(Debug, Deserialize)]
pub(super) struct NewTable {
    schema_name: String,
    name: String,
    table_type: String,
    data_source_format: String,
    storage_location: Option<String>,
    #[serde(default)]
    columns: Vec<NewColumn>,
    pub(super) comment: Option<String>,
    #[serde(default)]
    properties: Option<BTreeMap<String, Value>>,
}

#[derive(Debug, Deserialize)]
struct NewColumn {
    name: String,
    nullable: Option<bool>,
    type_json: Option<String>,
    comment: Option<String>,
    partition_index: Option<i64>,
}

/// `GET /delta/preview/commits`.
#[derive(Debug, Deserialize)]
pub(super) struct CommitsQuery {
    pub(super) table_id: String,
    #[serde(default)]
    pub(super) start_version: i64,
    pub(super) end_version: Option<i64>,
}

/// `POST /delta/preview/commits`.
#[derive(Debug, Deserialize)]
pub(super) struct NewCommit {
    pub(super) table_id: String,
    commit_info: CommitInfo,
}

#[derive(Debug, Deserialize)]
struct CommitInfo {
    version: i64,
    timestamp: i64,
    file_name: String,
    file_size: i64,
    file_modification_timestamp: i64,
}

impl NewDatabase {
    pub(super) fn name(&self) -> Result<String> {
        alone(&self.name)
    }

    pub(super) fn properties(&self) -> BTreeMap<String, String> {
        texts(self.properties.as_ref())
    }
}

impl NewStaging {
    pub(super) fn name(&self) -> Result<TableName> {
        Ok(TableName::new(
            alone(&self.schema_name)?,
            alone(&self.name)?,
        ))
    }
}

impl NewTable {
    pub(super) fn name(&self) -> Result<TableName> {
        Ok(TableName::new(
            alone(&self.schema_name)?,
            alone(&self.name)?,
        ))
    }

    /// In lower case.
    pub(super) fn format(&self) -> String {
        self.data_source_format.to_ascii_lowercase()
    }

    pub(super) fn is_managed(&self) -> bool {
        self.table_type.eq_ignore_ascii_case("MANAGED")
    }

    pub(super) fn has_columns(&self) -> bool {
        !self.columns.is_empty()
    }

    /// As the engine is to be told it, and as a path.
    pub(super) fn location(&self) -> Result<(String, PathBuf)> {
        let given = self.storage_location.as_deref().unwrap_or_default();
        match location(given) {
            Some(path) => Ok((given.to_owned(), path)),
            None => Err(Error::new(
                Code::InvalidArgument,
                format!("{given:?} is no absolute path on this machine"),
            )
            .hint("Give LOCATION '/an/absolute/folder', or leave it out.")),
        }
    }

    /// The columns as Spark's JSON of a struct, and those it is partitioned by.
    pub(super) fn schema(&self) -> Result<(Value, Vec<String>)> {
        names::check_columns(self.columns.iter().map(|column| column.name.as_str()))?;
        let mut partitions: Vec<(i64, &str)> = self
            .columns
            .iter()
            .filter_map(|column| Some((column.partition_index?, column.name.as_str())))
            .collect();
        partitions.sort_by_key(|(index, _)| *index);
        refuse(
            partitions
                .iter()
                .filter_map(|(_, name)| names::problem(names::NameOf::Partition, name))
                .collect(),
        )?;
        let fields: Result<Vec<Value>> = self.columns.iter().map(NewColumn::field).collect();
        Ok((
            json!({ "type": "struct", "fields": fields? }),
            partitions
                .into_iter()
                .map(|(_, name)| name.to_owned())
                .collect(),
        ))
    }

    pub(super) fn properties(&self) -> BTreeMap<String, String> {
        texts(self.properties.as_ref())
    }
}

impl NewColumn {
    fn field(&self) -> Result<Value> {
        let wrong = || {
            Error::new(
                Code::InvalidArgument,
                format!("the type of the column {:?} is not known", self.name),
            )
        };
        let text = self.type_json.as_deref().ok_or_else(wrong)?;
        let Ok(Value::Object(mut field)) = serde_json::from_str(text) else {
            return Err(wrong());
        };
        field.insert("name".to_owned(), self.name.clone().into());
        if let Some(nullable) = self.nullable {
            field.insert("nullable".to_owned(), nullable.into());
        }
        if let Some(comment) = &self.comment {
            let metadata = field
                .entry("metadata")
                .or_insert_with(|| Value::Object(Map::new()));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("comment".to_owned(), comment.clone().into());
            }
        }
        Ok(Value::Object(field))
    }
}

impl NewCommit {
    pub(super) fn commit(&self) -> Commit {
        let info = &self.commit_info;
        Commit {
            version: info.version,
            timestamp: info.timestamp,
            file_name: info.file_name.clone(),
            file_size: info.file_size,
            file_modified: info.file_modification_timestamp,
        }
    }
}

/// A database, as the engine reads it.
pub(super) fn database(database: &Database) -> Value {
    json!({
        "name": database.name,
        "catalog_name": CATALOG,
        "comment": database.comment,
        "properties": database.properties,
        "created_at": database.created_ms,
        "schema_id": database.id.to_string(),
    })
}

/// A table in a list: without its columns.
pub(super) fn listed(table: &Record, places: &Places) -> Value {
    let location = if table.owned {
        uri(&places.for_engine(&table.path))
    } else {
        table.uri.clone()
    };
    json!({
        "name": table.name.table,
        "catalog_name": CATALOG,
        "schema_name": table.name.database,
        "table_type": if table.catalog_managed { "MANAGED" } else { "EXTERNAL" },
        "data_source_format": table.format.to_ascii_uppercase(),
        "storage_location": location,
        "comment": table.comment,
        "created_at": table.created_ms,
        "table_id": table.id,
    })
}

/// A table with all that is known of it.
pub(super) fn table(table: &Record, places: &Places) -> Value {
    let mut whole = listed(table, places);
    let columns: Vec<Value> = schema::fields(&table.schema)
        .enumerate()
        .map(|(position, field)| column(position, field, &table.partition_by))
        .collect();
    if let Some(object) = whole.as_object_mut() {
        object.insert("columns".to_owned(), columns.into());
        object.insert("properties".to_owned(), json!(table.properties));
    }
    whole
}

fn column(position: usize, field: &Value, partition_by: &[String]) -> Value {
    let name = schema::field_name(field);
    let data_type = field.get("type").unwrap_or(&Value::Null);
    let word = data_type
        .as_str()
        .or_else(|| data_type.get("type")?.as_str())
        .unwrap_or_default();
    let type_name = match word {
        "integer" => "INT".to_owned(),
        _ if word.starts_with("decimal") => "DECIMAL".to_owned(),
        _ if word.starts_with("interval") => "INTERVAL".to_owned(),
        "void" => "NULL".to_owned(),
        other => other.to_ascii_uppercase(),
    };
    let mut column = json!({
        "name": name,
        "nullable": schema::nullable(field),
        "position": position,
        "type_name": type_name,
        "type_text": schema::type_text(data_type),
        "type_json": field.to_string(),
    });
    let mut set = |key: &str, value: Value| {
        if let Some(object) = column.as_object_mut() {
            object.insert(key.to_owned(), value);
        }
    };
    if let Some((precision, scale)) = decimal(word) {
        set("type_precision", precision.into());
        set("type_scale", scale.into());
    }
    if let Some(comment) = schema::comment(field) {
        set("comment", comment.into());
    }
    if let Some(index) = partition_by.iter().position(|partition| partition == name) {
        set("partition_index", index.into());
    }
    column
}

/// Precision and scale of `decimal(38,18)`.
fn decimal(word: &str) -> Option<(u8, i8)> {
    let (precision, scale) = word
        .strip_prefix("decimal(")?
        .strip_suffix(')')?
        .split_once(',')?;
    Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}

/// Commits from a version on, as the engine reads them.
pub(super) fn commits(commits: &[Commit], newest: Option<i64>) -> Value {
    let commits: Vec<Value> = commits
        .iter()
        .map(|commit| {
            json!({
                "version": commit.version,
                "timestamp": commit.timestamp,
                "file_name": commit.file_name,
                "file_size": commit.file_size,
                "file_modification_timestamp": commit.file_modified,
            })
        })
        .collect();
    json!({ "commits": commits, "latest_table_version": newest.unwrap_or(-1) })
}

/// The name of a database in a path: `catalogue.database`.
pub(super) fn database_name(text: &str) -> Result<String> {
    match <[String; 2]>::try_from(in_catalog(text)?) {
        Ok([_, database]) => Ok(database),
        Err(_) => Err(no_name(text)),
    }
}

/// The name of a table in a path: `catalogue.database.table`.
pub(super) fn table_name(text: &str) -> Result<TableName> {
    match <[String; 3]>::try_from(in_catalog(text)?) {
        Ok([_, database, table]) => Ok(TableName::new(database, table)),
        Err(_) => Err(no_name(text)),
    }
}

fn in_catalog(text: &str) -> Result<Vec<String>> {
    let parts = sql::parts(text).ok_or_else(|| no_name(text))?;
    match parts.first() {
        Some(first) if first.eq_ignore_ascii_case(CATALOG) => Ok(parts),
        _ => Err(Error::new(
            Code::NotFound,
            format!("there is no catalogue of that name in {text:?}"),
        )),
    }
}

/// A name that came alone. The engine quotes one that needs it.
pub(super) fn alone(text: &str) -> Result<String> {
    match sql::parts(text).map(<[String; 1]>::try_from) {
        Some(Ok([name])) => Ok(name),
        _ => Err(no_name(text)),
    }
}

fn no_name(text: &str) -> Error {
    Error::new(Code::InvalidArgument, format!("{text:?} is no name of a table or database"))
        .hint("Quote a name that is not of letters, digits and _ in backquotes, and a backquote by doubling it.")
}

/// Values that are no text are kept as their JSON.
fn texts(values: Option<&BTreeMap<String, Value>>) -> BTreeMap<String, String> {
    values
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (key.clone(), text)
        })
        .collect()
}

/// A path as the engine is told it, which reads no escapes: it is plain already.
pub(super) fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// The absolute path that a location names; `None` for a relative one, one elsewhere, and one that climbs.
pub(crate) fn location(text: &str) -> Option<PathBuf> {
    let path = match text.strip_prefix("file:") {
        Some(rest) => {
            let rest = rest
                .strip_prefix("//localhost/")
                .or_else(|| rest.strip_prefix("///"))
                .or_else(|| rest.strip_prefix('/').filter(|rest| !rest.starts_with('/')))?;
            let decoded = percent_decode_str(rest).decode_utf8().ok()?;
            PathBuf::from(format!("/{decoded}"))
        }
        None => PathBuf::from(text),
    };
    let climbs = path
        .components()
        .any(|part| matches!(part, Component::ParentDir));
    // A folder has a name: not the root itself. Trailing slashes go.
    (path.is_absolute() && !climbs && path.file_name().is_some())
        .then(|| path.components().collect())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/a/b", Some("/a/b"))]
    #[case("/a/b/", Some("/a/b"))]
    #[case("/a%20b", Some("/a%20b"))]
    #[case("file:///a/b", Some("/a/b"))]
    #[case("file:/a/b", Some("/a/b"))]
    #[case("file://localhost/a", Some("/a"))]
    #[case("file:///a%20b%25", Some("/a b%"))]
    #[case("file:///ü x", Some("/ü x"))]
    #[case("a/b", None)]
    #[case("file:a", None)]
    #[case("file://host/a", None)]
    #[case("s3://bucket/a", None)]
    #[case("/a/../b", None)]
    #[case("file:///a/%2e%2e/b", None)]
    #[case("/", None)]
    #[case("", None)]
    fn a_location_is_an_absolute_path_here(#[case] text: &str, #[case] path: Option<&str>) {
        assert_eq!(location(text), path.map(PathBuf::from));
    }

    #[test]
    fn names_in_paths_are_read_as_the_engine_quotes_them() {
        assert_eq!(
            table_name("SPARK_catalog.default.`a.b``c`").unwrap(),
            TableName::new("default", "a.b`c")
        );
        assert_eq!(database_name("spark_catalog.`x y`").unwrap(), "x y");
        assert_eq!(
            table_name("other.default.t").unwrap_err().code(),
            Code::NotFound
        );
        for wrong in [
            "t",
            "spark_catalog.t",
            "spark_catalog.a.b.c",
            "spark_catalog.`a",
        ] {
            assert!(table_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn columns_come_back_as_they_were_sent() {
        let sent = json!({
            "catalog_name": CATALOG, "schema_name": "default", "name": "`t x`", "table_type": "MANAGED",
            "data_source_format": "DELTA", "storage_location": "file:///x",
            "columns": [
                {"name": "id", "nullable": false, "position": 0, "partition_index": 0, "comment": "who",
                 "type_name": "LONG", "type_text": "long",
                 "type_json": "{\"name\":\"id\",\"type\":\"long\",\"nullable\":false,\"metadata\":{}}"},
                {"name": "d", "nullable": true, "position": 1, "type_name": "DECIMAL", "type_precision": 38,
                 "type_scale": 18, "type_text": "decimal(38,18)",
                 "type_json": "{\"name\":\"d\",\"type\":\"decimal(38,18)\",\"nullable\":true,\"metadata\":{}}"}],
        });
        let sent: NewTable = serde_json::from_value(sent).unwrap();
        assert_eq!(sent.name().unwrap(), TableName::new("default", "t x"));
        let (schema, partition_by) = sent.schema().unwrap();
        assert_eq!(partition_by, ["id"]);
        let columns: Vec<Value> = schema::fields(&schema)
            .enumerate()
            .map(|(position, field)| column(position, field, &partition_by))
            .collect();
        assert_eq!(columns[0]["type_name"], "LONG");
        assert_eq!(columns[0]["comment"], "who");
        assert_eq!(columns[0]["partition_index"], 0);
        assert_eq!(columns[0]["nullable"], false);
        assert_eq!(columns[1]["type_name"], "DECIMAL");
        assert_eq!(columns[1]["type_precision"], 38);
        assert_eq!(columns[1]["type_scale"], 18);
        assert_eq!(columns[1].get("partition_index"), None);
    }

    #[test]
    fn a_column_without_a_type_is_refused() {
        let sent: NewTable = serde_json::from_value(json!({
            "schema_name": "default", "name": "t", "table_type": "EXTERNAL", "data_source_format": "DELTA",
            "columns": [{"name": "id"}],
        }))
        .unwrap();
        assert_eq!(sent.schema().unwrap_err().code(), Code::InvalidArgument);
    }
}
