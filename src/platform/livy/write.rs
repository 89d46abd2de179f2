//! A table is written in a session: what is there is looked at, everything is checked, and then one statement writes.
//! What fits what, and in which words it is refused, is the same as everywhere (`platform/write`).

mod rows;
mod statement;

use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use self::rows::Parts;
use super::run::{Ended, Job};
use super::tables;
use crate::model::{Code, End, Error, Event, Progress, Retry, TableName, WriteMode, Written};
use crate::platform::write::check::{self, Problems};
use crate::platform::write::plan::{self, Plan, There};
use crate::platform::write::said;
use crate::platform::write::wanted::Wanted;
use crate::platform::{Source, Write, names};
use crate::python::sql_error;
use crate::spark_connect::{Field, fields_of_json};

/// Bytes of a local file, or of rows as JSON, that travel along. They go through the server's memory and its line to the
/// driver, which both are made for code.
pub(super) const CARRIED: u64 = 8 << 20;

/// A table, as the session tells of it.
#[derive(Deserialize)]
struct Table {
    kind: Option<String>,
    format: Option<String>,
    partitions: Vec<String>,
    schema: Option<Value>,
}

/// The harness's answer to `look`.
#[derive(Deserialize)]
struct Looked {
    table: Option<Table>,
    /// All there are, where the table's own is not among them.
    databases: Option<Vec<String>>,
    zone: Option<String>,
    /// New tables can be Delta tables.
    delta: bool,
    /// Of these a commit's rows can be asked for.
    history: bool,
    schema: Option<Tried>,
    source: Option<Tried>,
}

/// Columns, or why there are none.
#[derive(Deserialize)]
struct Tried {
    fields: Option<Value>,
    error: Option<Value>,
}

/// Its answer to `prepare`.
#[derive(Deserialize)]
struct Prepared {
    checked: Vec<Vec<Vec<Value>>>,
    rows: Option<u64>,
}

/// Its answer to `write`.
#[derive(Deserialize)]
struct Done {
    /// Why nothing was done: it was refused before it began.
    refused: Option<Value>,
    format: Option<String>,
    location: Option<String>,
    version: Option<u64>,
    rows: Option<u64>,
}

/// A table that is there and can be written.
struct Existing {
    fields: Vec<Field>,
    partition_by: Vec<String>,
    format: String,
}

/// Rows that are there to be written.
struct Ready {
    fields: Vec<Field>,
    /// How many, where we have them ourselves.
    count: Option<u64>,
    /// They, where we have them ourselves.
    parts: Option<Parts>,
    /// Their types are already what the caller says.
    typed: bool,
}

struct Writer<'a> {
    job: &'a Job<'a>,
    write: &'a Write,
    /// Names our view, and our commit.
    mark: String,
}

/// Writes, and tells what was written.
pub(super) async fn run(job: &Job<'_>, write: &Write) -> Ended {
    let writer = Writer {
        job,
        write,
        mark: format!("sparklease_{}", Uuid::new_v4().simple()),
    };
    let done = Box::pin(writer.steps()).await;
    let lost = matches!(&done, Err((_, Some(_))));
    if !lost {
        let views = [writer.mark.clone(), writer.variable()];
        // Also after a cancel. What stays is a view that nobody sees.
        let quiet = Job::quiet(job.client, job.live);
        drop(quiet.ask("forget", json!({ "views": views })).await);
    }
    match done {
        Ok(written) => {
            job.say(Event::Written(written)).await;
            (End::Succeeded, None)
        }
        Err(ended) => ended,
    }
}

/// A request with further fields.
fn with(mut request: Value, more: Value) -> Value {
    if let (Value::Object(request), Value::Object(more)) = (&mut request, more) {
        request.extend(more);
    }
    request
}

fn failed(error: Error) -> Ended {
    (End::Failed(error), None)
}

impl Writer<'_> {
    async fn phase(&self, phase: &str) {
        self.job.say(Event::Progress(Progress::phase(phase))).await;
    }

    /// The view that a variable becomes.
    fn variable(&self) -> String {
        format!("{}_variable", self.mark)
    }

    async fn steps(&self) -> Result<Written, Ended> {
        let write = self.write;
        self.phase("looking at the source").await;
        let mut problems = Problems::default();
        // A file is looked at here, before the session is asked for anything.
        let local = rows::look(&write.source).await;
        let variable = match &write.source {
            Source::Variable(name) => self.view(name).await?.err(),
            _ => None,
        };
        let looked: Looked = tables::read(self.job.ask("look", self.question()).await?)?;
        let existing = self.existing(&looked, &mut problems);
        let schema = self.schema(&looked, &mut problems);
        let keeps = matches!(write.mode, WriteMode::Append | WriteMode::Merge);
        let wanted = Wanted {
            schema: schema.as_deref(),
            table: existing
                .as_ref()
                .filter(|_| keeps)
                .map(|existing| existing.fields.as_slice()),
        };
        let zone = looked
            .zone
            .as_deref()
            .and_then(|name| TimeZone::get(name).ok());
        let zone = zone.unwrap_or(TimeZone::UTC);
        let mut seen = Vec::new();
        let ready = match variable.map_or_else(|| self.source(&looked), |e| Some(Err(e))) {
            Some(Ok(fields)) => Ok(Ready {
                fields,
                count: None,
                parts: None,
                typed: false,
            }),
            Some(Err(e)) => Err(e),
            None => match local {
                Ok(local) => rows::ready(&write.source, local, &wanted, zone, &mut seen).await,
                Err(e) => Err(e),
            },
        };
        let ready = match ready {
            Ok(ready) => ready,
            Err(e) => {
                problems.error(&e);
                plan::names(write, wanted.table, &seen, &mut problems);
                return Err(failed(if problems.is_one() {
                    e
                } else {
                    problems.error_of()
                }));
            }
        };
        Box::pin(self.planned(ready, existing, schema, &looked, problems)).await
    }

    /// What is asked of the session before anything is decided.
    fn question(&self) -> Value {
        let write = self.write;
        let (sql, view) = match &write.source {
            Source::Sql(text) => (Some(text), None),
            Source::Variable(_) => (None, Some(self.variable())),
            Source::Rows { .. } | Source::File(_) => (None, None),
        };
        json!({
            "table": [write.table.database, write.table.table],
            "ddl": write.schema,
            "sql": sql,
            "view": view,
        })
    }

    /// Makes the variable a view of the session.
    async fn view(&self, name: &str) -> Result<Result<(), Error>, Ended> {
        let made = self.job.variable(name, &self.variable()).await?;
        Ok(made.map_err(|e| said::no_frame(&e, name)))
    }

    /// The table of that name, unless there is none; a database that is not there is a problem.
    fn existing(&self, looked: &Looked, problems: &mut Problems) -> Option<Existing> {
        let name = &self.write.table;
        let Some(table) = &looked.table else {
            if let Err(e) = names::check(name) {
                problems.error(&e);
            } else if let Some(databases) = &looked.databases {
                problems.error(&said::no_database(&name.database, databases));
            }
            self.new_table(looked, problems);
            return None;
        };
        if self.write.mode == WriteMode::Error {
            problems.error(&said::taken(name));
            return None;
        }
        let Some(schema) = table
            .schema
            .as_ref()
            .filter(|_| table.kind.as_deref() != Some("view"))
        else {
            problems.add(format!("{name} is a view"));
            return None;
        };
        let format = table.format.clone().unwrap_or_default();
        if format != "delta" && self.write.mode == WriteMode::Merge {
            problems.error(&no_merge(name, &format));
        }
        Some(Existing {
            fields: fields_of_json(schema),
            partition_by: table.partitions.clone(),
            format,
        })
    }

    fn new_table(&self, looked: &Looked, problems: &mut Problems) {
        // Its rows could be written, but never merged again.
        if self.write.mode == WriteMode::Merge && !looked.delta {
            problems.error(&no_merge(&self.write.table, "parquet"));
        }
    }

    /// The caller's schema, read by the session.
    fn schema(&self, looked: &Looked, problems: &mut Problems) -> Option<Vec<Field>> {
        let ddl = self.write.schema.as_ref()?;
        match looked.schema.as_ref()? {
            Tried {
                fields: Some(fields),
                ..
            } => {
                let fields = fields_of_json(fields);
                check::check_source(&fields, problems);
                check::check_ddl(ddl, &fields, problems);
                Some(fields)
            }
            Tried { error, .. } => {
                let error = error.as_ref().map(sql_error);
                let error = error.unwrap_or_else(|| Error::internal("a schema is neither"));
                problems.add(format!("schema: {}", error.message()));
                problems.hint(said::DDL);
                None
            }
        }
    }

    /// The columns of a query or a variable, as the session has them.
    fn source(&self, looked: &Looked) -> Option<Result<Vec<Field>, Error>> {
        let tried = looked.source.as_ref()?;
        Some(match (&tried.fields, &tried.error) {
            (Some(fields), _) => Ok(fields_of_json(fields)),
            (None, Some(error)) => {
                let error = sql_error(error);
                let hint = match self.write.source {
                    Source::Sql(_) => {
                        "Correct sql and call write_table again; nothing was written."
                    }
                    _ => "Make the frame anew in run_pyspark; nothing was written.",
                };
                Err(error.hint(hint))
            }
            (None, None) => Err(Error::internal("a source is neither")),
        })
    }

    async fn planned(
        &self,
        ready: Ready,
        existing: Option<Existing>,
        schema: Option<Vec<Field>>,
        looked: &Looked,
        mut problems: Problems,
    ) -> Result<Written, Ended> {
        self.phase("checking").await;
        let write = self.write;
        let there = existing.as_ref().map(|existing| There {
            name: &write.table,
            fields: &existing.fields,
            partition_by: &existing.partition_by,
        });
        // Of rows whose types are the session's own, what the caller says of them is a cast.
        let (cast, fields) = match (&schema, ready.typed) {
            (Some(schema), false) => {
                check::check_source(&ready.fields, &mut problems);
                let outputs = check::into_schema(schema, &ready.fields, &mut problems);
                (Some(outputs), schema.clone())
            }
            _ => (None, ready.fields.clone()),
        };
        let plan = plan::plan(write, &fields, there, schema.is_some(), problems).map_err(failed)?;
        let format = match &existing {
            Some(existing) => existing.format.clone(),
            None if looked.delta => "delta".to_owned(),
            None => "parquet".to_owned(),
        };
        let delta = format == "delta";
        let (parts, count) = (ready.parts, ready.count);
        let staged = parts.is_some();
        if let Some(parts) = parts {
            parts.send(self.job, &self.mark).await?;
        }
        let strict: Vec<&str> = plan
            .fields
            .iter()
            .filter(|field| !field.nullable)
            .map(|field| field.name.as_str())
            .collect();
        let strict: Vec<&str> = if existing.is_none() {
            strict
        } else {
            Vec::new()
        };
        let checks = statement::Checks::new(&plan, write.mode, &strict, &self.mark);
        let selects: Vec<Vec<String>> = cast
            .iter()
            .chain([&plan.outputs])
            .map(|outputs| outputs.iter().map(statement::output).collect())
            .collect();
        // Of a commit the table itself tells the rows. Afterwards a query may have others, if it reads the table.
        let counted = count.is_none() && !(delta && looked.history);
        let more = json!({
            "id": self.mark,
            "select": selects,
            "checks": checks.texts(),
            "count": counted,
            "keep": !staged && (counted || !checks.texts().is_empty()),
            "schema": staged.then(|| rows::schema(&ready.fields)),
        });
        let prepared = self.job.ask("prepare", with(self.question(), more)).await;
        let prepared: Prepared = tables::read(prepared.map_err(|ended| self.unwritten(ended))?)?;
        checks.judge(&plan, &prepared.checked).map_err(failed)?;
        self.phase("writing").await;
        let done = self.commit(&plan, existing.as_ref(), &format).await?;
        let rows = match (done.rows, count.or(prepared.rows)) {
            (Some(rows), _) | (None, Some(rows)) => Some(rows),
            // An engine without a history.
            (None, None) => self.count().await,
        };
        self.warn(existing.as_ref(), &plan, &format, &strict).await;
        Ok(Written {
            table: write.table.clone(),
            rows: rows.unwrap_or(0),
            mode: write.mode,
            format: done.format.unwrap_or(format),
            version: done.version,
            location: done.location,
            created: existing.is_none(),
        })
    }

    async fn commit(
        &self,
        plan: &Plan,
        existing: Option<&Existing>,
        format: &str,
    ) -> Result<Done, Ended> {
        let action = statement::Action::new(self.write, plan, existing, format, &self.mark);
        let more = json!({
            "id": self.mark,
            "table": [self.write.table.database, self.write.table.table],
            "format": format,
        });
        match self.job.ask("write", with(action.request(), more)).await {
            Ok(answer) => {
                let done: Done = tables::read(answer)?;
                match &done.refused {
                    Some(refused) => Err(self.unwritten(failed(sql_error(refused)))),
                    None => Ok(done),
                }
            }
            Err(ended) => Err(self.after(ended, format)),
        }
    }

    /// How many rows the prepared view has.
    async fn count(&self) -> Option<u64> {
        let question = json!({
            "id": format!("{}_variable", self.mark), "view": self.mark,
            "select": [], "checks": [], "count": true, "keep": false,
        });
        let answer = self.job.ask("prepare", question).await.ok()?;
        tables::read::<Prepared>(answer).ok()?.rows
    }

    /// What a caller should know of what was done.
    async fn warn(&self, existing: Option<&Existing>, plan: &Plan, format: &str, strict: &[&str]) {
        let table = &self.write.table;
        let mut warnings = Vec::new();
        if existing.is_none() && self.write.mode != WriteMode::Error {
            warnings.push(format!("the table {table} was not there; it was made"));
        }
        if existing.is_none() && format != "delta" {
            warnings.push(format!(
                "{table} is a {format} table, since this session has no Delta: mode merge does not work on it, and an overwrite is no one step"
            ));
        }
        if existing.is_some() && format != "delta" && self.write.mode == WriteMode::Overwrite {
            let how = if plan.keeps_columns {
                "its files were replaced one after another"
            } else {
                "it was dropped and made anew"
            };
            warnings.push(format!(
                "{table} is a {format} table: {how}, so who read it meanwhile may have seen a part"
            ));
        }
        if !strict.is_empty() {
            warnings.push(format!(
                "not null of {} was checked for these rows; the table does not keep it",
                strict.join(", ")
            ));
        }
        for warning in warnings {
            self.job.say(Event::Warning(warning)).await;
        }
    }

    /// An end before anything was written.
    fn unwritten(&self, ended: Ended) -> Ended {
        let (End::Failed(error), lost) = ended else {
            return ended;
        };
        if error.code() != Code::StatementFailed {
            return (End::Failed(error), lost);
        }
        let hint = match self.write.source {
            Source::Sql(_) => "Correct sql and call write_table again; nothing was written.",
            _ => "Nothing was written; correct the rows or the table, and call write_table again.",
        };
        (End::Failed(error.hint(hint)), lost)
    }

    /// An end in the middle of the writing itself.
    fn after(&self, ended: Ended, format: &str) -> Ended {
        let table = &self.write.table;
        match ended {
            (End::Failed(error), lost) if error.code() == Code::SessionLost => {
                let message = format!(
                    "{}; whether {table} was written is not known",
                    error.message()
                );
                let error = Error::new(Code::SessionLost, message)
                    .hint(format!("Look at it first: query_sql(sql=\"select count(*) from {table}\"); then call write_table again if it was not."))
                    .retry(Retry::No);
                (End::Failed(error), lost)
            }
            (End::Failed(error), lost) if error.message().contains("Concurrent") => {
                let hint = "Others write this table at the same time; call write_table again. Nothing was written.";
                (End::Failed(error.retry(Retry::Now).hint(hint)), lost)
            }
            (End::Failed(error), lost)
                if error.code() == Code::StatementFailed && format != "delta" =>
            {
                let hint = format!(
                    "Correct what it says; {table} is a {format} table, which may hold a part of the rows now: look with query_sql(sql=\"select count(*) from {table}\")."
                );
                (End::Failed(error.hint(hint)), lost)
            }
            ended => self.unwritten(ended),
        }
    }
}

fn no_merge(table: &TableName, format: &str) -> Error {
    let format = if format.is_empty() { "plain" } else { format };
    Error::new(
        Code::Unsupported,
        format!("{table} is a {format} table, or would be one: mode merge works on Delta tables only"),
    )
    .hint(format!(
        "Use mode=\"append\", or mode=\"overwrite\" with sql that joins the old rows with the new ones into another table; to make {table} a Delta table the cluster needs Delta Lake. Nothing was written."
    ))
}
