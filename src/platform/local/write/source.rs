//! Where the rows of a write come from, as a relation of the engine with known columns.

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use tempfile::TempDir;

use super::engine::Engine;
use super::variable;
use crate::model::{Code, Error, Result};
use crate::platform::Source;
use crate::platform::local::session::Live;
use crate::platform::local::{missing, paths, rewrite};
use crate::platform::write::blocking;
use crate::platform::write::check::{self, Problems};
use crate::platform::write::file::{self, file_format};
use crate::platform::write::rows::{self, Rows};
use crate::platform::write::wanted::{Wanted, beside_unknown, check_names, check_schema_names};
use crate::spark_connect::{Field, FileFormat, Output, Relation, Type};

/// Rows of the engine, and what must be there as long as they are read.
pub(super) struct Ready {
    pub(super) relation: Relation,
    /// Its columns.
    pub(super) fields: Vec<Field>,
    /// Temp views that go when the write is done.
    pub(super) views: Vec<String>,
    /// Rows that we put aside as a file.
    pub(super) aside: Option<TempDir>,
}

impl Ready {
    fn new(relation: Relation, fields: Vec<Field>) -> Self {
        Self {
            relation,
            fields,
            views: Vec::new(),
            aside: None,
        }
    }
}

/// Makes the source a relation. The columns of rows and text files are in `seen` also when their values are wrong.
///
/// # Errors
/// `invalid_argument`, `not_found`, `statement_failed`.
pub(super) async fn ready(
    live: &Live,
    engine: Engine<'_>,
    source: &Source,
    wanted: &Wanted<'_>,
    (folder, mark): (&Path, &str),
    seen: &mut Vec<String>,
) -> Result<Ready> {
    match source {
        Source::Sql(text) => {
            missing::check(paths::path_relations(text), folder).await?;
            let rewrite::Rewritten::Sql(text) = rewrite::rewrite(text)? else {
                return Err(Error::new(Code::InvalidArgument, "sql is no query"));
            };
            let relation = Relation::sql_positional(&text, &[])?;
            engine_typed(engine, relation, wanted).await
        }
        Source::Rows { columns, rows } => {
            let rows = Rows {
                columns,
                rows,
                first: 0,
            };
            seen.clone_from(columns);
            check::few_columns(columns.len())?;
            check_schema_names(wanted, columns)?;
            let beside = |e| beside_unknown(e, wanted, columns);
            let known = wanted.index();
            let fields = rows.fields(|name| known.get(name)).map_err(beside)?;
            let zone = zone(engine, &fields).await?;
            let batch = rows.batch(&fields, &zone).map_err(beside)?;
            Ok(Ready::new(Relation::local(rows::stream(&batch)?), fields))
        }
        Source::File(path) => from_file(live, engine, path, wanted, seen).await,
        Source::Variable(name) => {
            let view = format!("{mark}_variable");
            variable::to_view(live, engine.cancel, name, &view).await?;
            let relation = Relation::table(&view);
            let mut ready = match engine_typed(engine, relation, wanted).await {
                Ok(ready) => ready,
                Err(e) => {
                    engine.drop_view(&view).await;
                    return Err(e);
                }
            };
            ready.views.push(view);
            Ok(ready)
        }
    }
}

/// Rows whose types are the engine's, cast to a schema where one is wanted.
async fn engine_typed(
    engine: Engine<'_>,
    relation: Relation,
    wanted: &Wanted<'_>,
) -> Result<Ready> {
    let fields = engine.schema(&relation).await?;
    let Some(schema) = wanted.schema else {
        return Ok(Ready::new(relation, fields));
    };
    let mut problems = Problems::default();
    check::check_source(&fields, &mut problems);
    let outputs = check::into_schema(schema, &fields, &mut problems);
    problems.finish()?;
    Ok(Ready::new(relation.select(&outputs), schema.to_vec()))
}

async fn from_file(
    live: &Live,
    engine: Engine<'_>,
    path: &Path,
    wanted: &Wanted<'_>,
    seen: &mut Vec<String>,
) -> Result<Ready> {
    let format = file_format(path)?;
    let looked = {
        let path = path.to_owned();
        let looking = blocking(move || file::look(&path, format));
        engine.or_cancelled(looking).await?
    };
    if format == FileFormat::Parquet {
        return engine_typed(engine, Relation::file(path, format)?, wanted).await;
    }
    seen.clone_from(&looked.columns);
    check_names(&looked.columns)?;
    check_schema_names(wanted, &looked.columns)?;
    let columns = looked.columns.clone();
    let beside = |e| beside_unknown(e, wanted, &columns);
    let known = wanted.index();
    let fields = looked.fields(|name| known.get(name)).map_err(beside)?;
    let put = put_aside(live, engine, path, format, (&columns, fields));
    put.await.map_err(beside)
}

/// Rows by our own reading: the engine looks at the first rows of a text file only, and makes NULL of what it cannot
/// read.
async fn put_aside(
    live: &Live,
    engine: Engine<'_>,
    path: &Path,
    format: FileFormat,
    (columns, fields): (&[String], Vec<Field>),
) -> Result<Ready> {
    if fields.is_empty() {
        return Err(
            Error::new(Code::InvalidArgument, "the source has no columns")
                .hint("Give the file's rows at least one column; nothing was written."),
        );
    }
    let zone = zone(engine, &fields).await?;
    let aside = live.scratch_folder()?;
    let target: PathBuf = aside.path().join("rows.parquet");
    let relation = {
        let (path, columns, fields) = (path.to_owned(), columns.to_vec(), fields.clone());
        let converting = blocking(move || {
            let to = std::fs::File::create(&target).map_err(|e| {
                Error::new(
                    Code::StatementFailed,
                    format!("rows cannot be put aside: {e}"),
                )
            })?;
            file::convert(&path, format, &columns, &fields, &zone, to)
        });
        engine.or_cancelled(converting).await?;
        Relation::file(&aside.path().join("rows.parquet"), FileFormat::Parquet)?
    };
    // The engine takes an instant that was written as such for what a clock shows, in some versions of Parquet.
    let found = engine.schema(&relation).await?;
    let found = check::Index::new(&found);
    let outputs: Vec<Output> = fields
        .iter()
        .map(|field| Output {
            name: field.name.clone(),
            from: Some(field.name.clone()),
            cast: found
                .get(&field.name)
                .is_some_and(|f| f.data_type != field.data_type)
                .then(|| field.data_type.clone()),
        })
        .collect();
    let mut ready = Ready::new(relation.select(&outputs), fields);
    ready.aside = Some(aside);
    Ok(ready)
}

/// The zone in which a timestamp without an offset is meant.
async fn zone(engine: Engine<'_>, fields: &[Field]) -> Result<TimeZone> {
    let instant = |f: &Field| f.data_type.holds(&|part| *part == Type::Timestamp);
    if !fields.iter().any(instant) {
        return Ok(TimeZone::UTC);
    }
    let key = "spark.sql.session.timeZone";
    let name = engine.or_cancelled(engine.spark.get_config(key)).await?;
    Ok(name
        .and_then(|name| TimeZone::get(&name).ok())
        .unwrap_or(TimeZone::UTC))
}
