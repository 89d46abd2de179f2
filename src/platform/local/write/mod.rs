//! A table is written: its source is looked at and everything is checked first; then one commit makes the rows
//! visible, all of them or none.
//!
//! Tables that are made here are external Delta tables in folders of the catalogue. A new one is filled before its
//! name is published, so that a process that is killed leaves a folder that nobody knows. One that is there is
//! written by its path, or by its name where the catalogue keeps its commits.

mod again;
mod commit;
mod engine;
mod merge;
mod source;
mod variable;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(in crate::platform::local) use self::again::is_conflict;
use self::again::{Pause, is_outdated};
use self::commit::Commit;
use self::engine::Engine;
use self::source::Ready;
use super::delta::{self, NewTable};
use super::metastore::{Metastore, Publish, Table};
use super::session::Live;
use crate::model::{
    Code, End, Error, Event, Progress, Result, Retry, StatementId, TableKind, WriteMode, Written,
};
pub(in crate::platform::local) use crate::platform::write::check::statistics;
use crate::platform::write::check::{self, Problems, same};
use crate::platform::write::plan::{self, Plan, There};
use crate::platform::write::said::{DDL, no_database, taken};
use crate::platform::write::wanted::Wanted;
use crate::platform::write::{blocking, rows};
use crate::platform::{Write, names};
use crate::spark_connect::{Destination, Field, Relation, Save, SaveMode, schema_json};
use crate::sql::quote;

/// How often a table may be another one in the end than at the beginning, because others make, drop or replace it.
const RACES: u32 = 4;
/// What a write works with.
pub(super) struct Writer<'a> {
    pub(super) live: &'a Live,
    pub(super) cancel: &'a CancellationToken,
    pub(super) events: &'a mpsc::Sender<Event>,
    pub(super) metastore: &'a Metastore,
    pub(super) folder: &'a Path,
    pub(super) statement: &'a StatementId,
    pub(super) write: &'a Write,
}

/// A table that is there.
struct Existing {
    table: Table,
    /// As the engine reads them now.
    fields: Vec<Field>,
}

impl Existing {
    fn there(&self) -> There<'_> {
        There {
            name: &self.table.name,
            fields: &self.fields,
            partition_by: &self.table.partition_by,
        }
    }
}

/// What makes the commit.
enum Action {
    Save(Box<Relation>, Save),
    Merge {
        target: String,
        view: String,
        columns: Vec<Field>,
        keys: Vec<String>,
    },
}

impl Writer<'_> {
    /// Writes, and says what was written.
    ///
    /// # Errors
    /// `invalid_argument`, `not_found`, `already_exists`, `unsupported`, `statement_failed`.
    pub(super) async fn run(&self) -> Result<End> {
        for _ in 0..RACES {
            match self.steps().await {
                Ok(written) => {
                    self.say(Event::Written(written)).await;
                    return Ok(End::Succeeded);
                }
                Err(e) if e.code() == Code::Cancelled && self.cancel.is_cancelled() => {
                    return Ok(End::Cancelled);
                }
                // Somebody else has just made or replaced the table: now it is there.
                Err(e)
                    if e.code() == Code::AlreadyExists && self.write.mode != WriteMode::Error => {}
                Err(e) => return Err(e),
            }
        }
        Err(self.outdated())
    }

    async fn say(&self, event: Event) {
        let _ = self.events.send(event).await;
    }

    async fn phase(&self, phase: &str) {
        self.say(Event::Progress(Progress::phase(phase))).await;
    }

    fn engine(&self) -> Engine<'_> {
        Engine {
            spark: &self.live.spark,
            cancel: self.cancel,
        }
    }

    /// A path as the engine is to be told it.
    fn told(&self, path: &Path) -> Result<String> {
        text_of(&self.metastore.for_engine(path)).map(str::to_owned)
    }

    /// Which names of the statement are ours: a commit's mark, and a view's name that nobody guesses.
    fn mark(&self) -> String {
        format!("sparklease_{}", self.statement)
    }

    async fn steps(&self) -> Result<Written> {
        let write = self.write;
        self.phase("looking at the source").await;
        let mut problems = Problems::default();
        let existing = self.existing(&mut problems).await?;
        let schema = self.schema(&mut problems).await?;
        let keeps = matches!(write.mode, WriteMode::Append | WriteMode::Merge);
        let wanted = Wanted {
            schema: schema.as_deref(),
            table: existing
                .as_ref()
                .filter(|_| keeps)
                .map(|existing| existing.fields.as_slice()),
        };
        let mark = self.mark();
        let mut seen = Vec::new();
        let looking = source::ready(
            self.live,
            self.engine(),
            &write.source,
            &wanted,
            (self.folder, &mark),
            &mut seen,
        );
        let ready = Box::pin(looking).await;
        let ready = match ready {
            Ok(ready) => ready,
            Err(e) if e.code() == Code::Cancelled => return Err(e),
            Err(e) => {
                problems.error(&e);
                plan::names(write, wanted.table, &seen, &mut problems);
                return Err(if problems.is_one() {
                    e
                } else {
                    problems.error_of()
                });
            }
        };
        let done = Box::pin(self.planned(&ready, existing, schema.is_some(), problems)).await;
        for view in &ready.views {
            self.engine().drop_view(view).await;
        }
        done
    }

    /// The table of that name, unless there is none; a database that is not there is a problem.
    async fn existing(&self, problems: &mut Problems) -> Result<Option<Existing>> {
        let name = &self.write.table;
        if let Err(e) = names::check(name) {
            problems.error(&e);
            if names::problem(names::NameOf::Database, &name.database).is_none() {
                self.check_database(problems).await?;
            }
            return Ok(None);
        }
        let found = self.metastore.find(name).await?;
        let Some(table) = found else {
            self.check_database(problems).await?;
            return Ok(None);
        };
        if self.write.mode == WriteMode::Error {
            problems.error(&taken(&table.name));
            return Ok(None);
        }
        if matches!(table.kind, TableKind::View | TableKind::TempView) {
            problems.add(format!("{} is a view", table.name));
            return Ok(None);
        }
        let delta = table.format == "delta";
        if !delta && self.write.mode != WriteMode::Append {
            problems.error(
                &Error::new(
                    Code::Unsupported,
                    format!(
                        "{} is a {} table, which takes mode append only",
                        table.name, table.format
                    ),
                )
                .hint(format!(
                    "Write a new table, then call run_sql(sql=\"drop table {}\").",
                    table.name
                )),
            );
            return Ok(None);
        }
        let relation = match by_path(&table) {
            true => Relation::delta(&self.told(&table.location)?),
            false => Relation::table(&table.name.to_string()),
        };
        let mut pause = Pause::default();
        let fields = loop {
            match self.engine().schema(&relation).await {
                Err(e) if is_conflict(&e) && pause.next(self.engine()).await? => {}
                done => break done?,
            }
        };
        Ok(Some(Existing { table, fields }))
    }

    async fn check_database(&self, problems: &mut Problems) -> Result<()> {
        let name = &self.write.table.database;
        let databases = self.metastore.databases().await?;
        if !databases.iter().any(|d| same(d, name)) {
            problems.error(&no_database(name, &databases));
        }
        Ok(())
    }

    /// The caller's schema, read by the engine.
    async fn schema(&self, problems: &mut Problems) -> Result<Option<Vec<Field>>> {
        let Some(ddl) = &self.write.schema else {
            return Ok(None);
        };
        let engine = self.engine();
        match engine.or_cancelled(engine.spark.parse_ddl(ddl)).await {
            Ok(Some(fields)) => {
                check::check_source(&fields, problems);
                check::check_ddl(ddl, &fields, problems);
                Ok(Some(fields))
            }
            Ok(None) => {
                problems.add(format!("schema: {ddl:?} names no columns"));
                problems.hint(DDL);
                Ok(None)
            }
            Err(e) if e.code() == Code::StatementFailed => {
                problems.add(format!("schema: {}", e.message()));
                problems.hint(DDL);
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    async fn planned(
        &self,
        ready: &Ready,
        existing: Option<Existing>,
        typed: bool,
        problems: Problems,
    ) -> Result<Written> {
        self.phase("checking").await;
        let plan = plan::plan(
            self.write,
            &ready.fields,
            existing.as_ref().map(Existing::there),
            typed,
            problems,
        )?;
        let rows = ready.relation.clone().select(&plan.outputs);
        self.full_partitions(&rows, &plan).await?;
        match (existing, self.write.mode) {
            (None, WriteMode::Merge) => {
                let view = self.view(rows.clone()).await?;
                let checked = merge::check_keys(self.engine(), &view, &plan.keys).await;
                self.engine().drop_view(&view).await;
                checked?;
                self.make(rows, &plan).await
            }
            (None, _) => self.make(rows, &plan).await,
            (Some(existing), WriteMode::Merge) => self.merge(rows, &plan, &existing.table).await,
            (Some(existing), WriteMode::Append) => {
                let save = self.save(SaveMode::Append, &plan, Some(&existing.table))?;
                let counted = match existing.table.format.as_str() {
                    "delta" => None,
                    _ => Some(self.count(&rows).await?),
                };
                let action = Action::Save(Box::new(rows), save);
                let mut written = self.committed(&existing.table, &action).await?;
                written.rows = counted.unwrap_or(written.rows);
                Ok(written)
            }
            (Some(existing), _) => self.overwrite(rows, &plan, &existing).await,
        }
    }

    /// A new table: filled first, then published.
    async fn make(&self, rows: Relation, plan: &Plan) -> Result<Written> {
        let (folder, commit) = self.fill(rows, plan, None).await?;
        let name = &self.write.table;
        let published = self.metastore.publish(name, folder, None, Publish::Create);
        let table = published.await?;
        if self.write.mode != WriteMode::Error {
            self.say(Event::Warning(format!(
                "the table {} was not there; it was made",
                table.name
            )))
            .await;
        }
        Ok(self.written(&table, commit, true))
    }

    /// A folder of the catalogue with these columns and rows, which nobody knows yet.
    async fn fill(
        &self,
        rows: Relation,
        plan: &Plan,
        comment: Option<String>,
    ) -> Result<(super::metastore::NewFolder, Commit)> {
        self.phase("writing").await;
        let folder = self.metastore.new_folder(&self.write.table).await?;
        let new = NewTable {
            schema: schema_json(&plan.fields),
            partition_by: plan.partition_by.clone(),
            comment,
            properties: check::statistics(&plan.fields)
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        };
        let path = folder.path().to_owned();
        blocking(move || delta::create(&path, &new)).await?;
        let save = Save {
            to: Destination::Path(self.told(folder.path())?),
            ..self.save(SaveMode::Append, plan, None)?
        };
        let saved = self.engine().run(rows.save(save)).await;
        saved.map_err(|e| self.unwritten(e))?;
        let commit = commit::of(folder.path(), Some(0), &self.mark()).await?;
        if commit.is_none() {
            // Rows that only the engine finds are somewhere else.
            let read = Relation::delta(&self.told(folder.path())?).limit(1);
            if !self.engine().rows(read.rows()).await?.is_empty() {
                return Err(delta::strayed(folder.path()));
            }
        }
        // Of no rows the engine makes no commit.
        let commit = commit.unwrap_or(Commit {
            version: 0,
            rows: 0,
        });
        Ok((folder, commit))
    }

    fn save(&self, mode: SaveMode, plan: &Plan, table: Option<&Table>) -> Result<Save> {
        let to = match table {
            Some(table) if by_path(table) => Destination::Path(self.told(&table.location)?),
            Some(table) => Destination::Table(table.name.to_string()),
            None => Destination::Table(String::new()),
        };
        Ok(Save {
            to,
            mode,
            partition_by: plan.partition_by.clone(),
            overwrite_schema: false,
            mark: self.mark(),
        })
    }

    async fn overwrite(&self, rows: Relation, plan: &Plan, existing: &Existing) -> Result<Written> {
        let table = &existing.table;
        let save = self.save(SaveMode::Overwrite, plan, Some(table))?;
        if plan.keeps_columns {
            return self
                .committed(table, &Action::Save(Box::new(rows), save))
                .await;
        }
        let floats = check::statistics(&plan.fields)
            .is_some_and(|(key, value)| table.properties.get(&key) != Some(&value));
        // The engine changes columns by a path only, and never properties.
        if !by_path(table) || (floats && table.owned) {
            let (folder, commit) = self.fill(rows, plan, table.comment.clone()).await?;
            let replace = Publish::Replace(table.id.clone());
            let comment = table.comment.clone();
            let published = self
                .metastore
                .publish(&table.name, folder, comment, replace);
            return Ok(self.written(&published.await?, commit, false));
        }
        // Beside a row that may be NULL, a column may be NULL: the engine takes the columns of the rows.
        let none = rows::batch(&plan.fields, empty(&plan.fields), 0)?;
        let rows = Relation::local(rows::stream(&none)?).union(rows);
        let save = Save {
            overwrite_schema: true,
            ..save
        };
        self.committed(table, &Action::Save(Box::new(rows), save))
            .await
    }

    async fn merge(&self, rows: Relation, plan: &Plan, table: &Table) -> Result<Written> {
        let columns = plan
            .outputs
            .iter()
            .filter_map(|output| check::find(&plan.fields, &output.name).cloned())
            .collect();
        let target = match by_path(table) {
            true => format!("delta.{}", quote(&self.told(&table.location)?)),
            false => table.name.to_string(),
        };
        let view = self.view(rows).await?;
        let action = Action::Merge {
            target,
            view: view.clone(),
            columns,
            keys: plan.keys.clone(),
        };
        let done = async {
            merge::check_keys(self.engine(), &view, &plan.keys).await?;
            self.committed(table, &action).await
        };
        let done = done.await;
        self.engine().drop_view(&view).await;
        done
    }

    /// The rows as a temp view of a name that is ours.
    async fn view(&self, rows: Relation) -> Result<String> {
        let view = self.mark();
        self.engine().run(rows.temp_view(&view, true)).await?;
        Ok(view)
    }

    /// How many rows there are, for tables whose commits do not say it.
    async fn count(&self, rows: &Relation) -> Result<u64> {
        let view = self.view(rows.clone()).await?;
        let sql = format!("select count(*) from {view}");
        let query = Relation::sql_positional(&sql, &[])?.without_place().rows();
        let counted = self.engine().rows(query).await;
        self.engine().drop_view(&view).await;
        let cell = counted?.into_iter().flatten().next();
        Ok(cell.and_then(|cell| cell.as_u64()).unwrap_or(0))
    }

    async fn act(&self, action: &Action) -> Result<()> {
        let engine = self.engine();
        match action {
            Action::Save(rows, save) => engine.run(Relation::clone(rows).save(save.clone())).await,
            Action::Merge {
                target,
                view,
                columns,
                keys,
            } => merge::merge(engine, target, view, columns, keys).await,
        }
    }

    /// Writes to a table that is there until there is a commit: where another writer came first, again, with growing,
    /// random pauses.
    async fn committed(&self, table: &Table, action: &Action) -> Result<Written> {
        self.phase("writing").await;
        let path = &table.location;
        let delta = table.format == "delta";
        let before = if delta {
            commit::newest(path).await?
        } else {
            None
        };
        let mut pause = Pause::default();
        loop {
            let done = self.act(action).await;
            // What the log has is true, whatever the engine said.
            let found = if delta {
                commit::of(path, before, &self.mark()).await?
            } else {
                None
            };
            match (done, found) {
                (_, Some(commit)) => return self.confirmed(table, before, commit).await,
                (Ok(()), None) => {
                    // Of no rows the engine makes no commit.
                    let version = if delta {
                        commit::newest(path).await?
                    } else {
                        None
                    };
                    let commit = Commit {
                        version: version.unwrap_or(0),
                        rows: 0,
                    };
                    return self.confirmed(table, before, commit).await;
                }
                (Err(e), None) if is_outdated(&e) => return Err(self.outdated()),
                (Err(e), None) if !is_conflict(&e) => {
                    // Of a table that is gone the engine says many things.
                    let now = self.metastore.find(&self.write.table).await?;
                    return Err(match now {
                        Some(now) if now.location == table.location => self.unwritten(e),
                        Some(_) => self.outdated(),
                        None => verify::dropped(&self.write.table),
                    });
                }
                (Err(e), None) => {
                    if !pause.next(self.engine()).await? {
                        return Err(e.retry(Retry::Now).hint(
                            "Others write this table all the time; call write_table again. Nothing was written.",
                        ));
                    }
                }
            }
        }
    }

    fn written(&self, table: &Table, commit: Commit, created: bool) -> Written {
        let delta = table.format == "delta";
        Written {
            table: table.name.clone(),
            rows: commit.rows,
            mode: self.write.mode,
            format: table.format.clone(),
            version: delta.then_some(commit.version),
            location: Some(table.location.display().to_string()),
            created,
        }
    }
}

/// The table's commits are files alone: the catalogue has no part in them.
fn by_path(table: &Table) -> bool {
    table.format == "delta" && !table.catalog_managed
}

fn text_of(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::new(
            Code::ConfigurationInvalid,
            "the data directory's path is not UTF-8",
        )
        .hint("Set SPARKLEASE_DATA_DIR to a folder whose path is UTF-8.")
    })
}

fn empty(fields: &[Field]) -> Vec<arrow_array::ArrayRef> {
    fields
        .iter()
        .map(|f| arrow_array::new_empty_array(&f.data_type.arrow()))
        .collect()
}
