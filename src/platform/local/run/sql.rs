//! SQL straight to the engine: rewritten where it needs it, its plans executed one after another, its rows sent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::super::rewrite::{self, Rewritten};
use super::super::tables_sql::{Did, Target};
use super::super::{missing, paths};
use super::Running;
use crate::model::{Batch, Code, Column, End, Error, Event, Result};
use crate::platform::Params;
use crate::platform::write::file::file_format;
use crate::spark_connect::{Decoder, Message, Outcome, Plan, Relation};

/// What one plan came to.
enum Done {
    /// It ran, and gave this relation if it was a command with a result that is still to be executed.
    Complete(Option<Box<Relation>>),
    /// It was stopped.
    Cancelled,
}

impl Running<'_> {
    pub(super) async fn sql_steps(
        &self,
        text: &str,
        params: &Params,
        files: &BTreeMap<String, PathBuf>,
        reads: bool,
        folder: &Path,
    ) -> Result<End> {
        let original = text;
        missing::check(paths::path_relations(text), folder).await?;
        let rewritten = rewrite::rewrite(text)?;
        if reads && rewritten.writes() {
            return Err(Error::internal(
                "a text that only reads became a statement that writes",
            ));
        }
        for (name, path) in files {
            let relation = Relation::file(path, file_format(path)?)?;
            let plan = relation.temp_view(name, self.live.made_view(name));
            match self.execute(plan).await {
                Ok(Done::Complete(_)) => self.live.note_view(name, true),
                Ok(Done::Cancelled) => return Ok(End::Cancelled),
                Err(e) if e.code() == Code::StatementFailed => {
                    return Err(unreadable(name, path, &e));
                }
                Err(e) => return Err(e),
            }
        }
        let text = match rewritten {
            Rewritten::Sql(text) => text,
            Rewritten::SetConfig { key, value } => {
                self.live.spark.set_config(&[(&key, &value)]).await?;
                self.say(setting(&key, &value)).await;
                return Ok(End::Succeeded);
            }
            Rewritten::UnsetConfig { key } => {
                self.live.spark.unset_config(&key).await?;
                return Ok(End::Succeeded);
            }
            Rewritten::ShowConfig { key } => {
                let value = self.live.spark.get_config(&key).await?;
                self.say(setting(&key, value.as_deref().unwrap_or("<undefined>")))
                    .await;
                return Ok(End::Succeeded);
            }
            Rewritten::Own(statement) => match self.tables().run(&statement, params).await? {
                Did::Sql(text) => text,
                Did::Engine => original.to_owned(),
                did => return Ok(self.tell(did).await),
            },
        };
        let same = text == original;
        let relation = match params {
            Params::None => Relation::sql_positional(&text, &[]),
            Params::Named(values) => Relation::sql_named(&text, values),
            Params::Positional(values) => Relation::sql_positional(&text, values),
        }?;
        // A place in a rewritten text is not one in the user's.
        let relation = if same {
            relation
        } else {
            relation.without_place()
        };
        let one_more = self.cap.rows.saturating_add(1);
        let plan = if reads {
            relation.limit(one_more).rows()
        } else {
            relation.command()
        };
        if let Some(table) = rewrite::miscounted(&text) {
            return self.change(plan, &table).await;
        }
        let done = match self.execute(plan).await? {
            Done::Complete(Some(rows)) => self.execute(rows.limit(one_more).rows()).await?,
            done => done,
        };
        Ok(match done {
            Done::Complete(_) => End::Succeeded,
            Done::Cancelled => End::Cancelled,
        })
    }

    async fn tell(&self, did: Did) -> End {
        match did {
            Did::Cancelled => return End::Cancelled,
            Did::Rows(batch) => self.say(Event::Table(self.within_cap(batch))).await,
            Did::Nothing | Did::Sql(_) | Did::Engine => {}
        }
        End::Succeeded
    }

    /// As many of our own rows as the engine's decoder would let through.
    fn within_cap(&self, mut batch: Batch) -> Batch {
        let mut bytes = 0_u64;
        let fit = batch.rows.iter().take_while(|row| {
            let row: usize = row.iter().map(|cell| cell.to_string().len()).sum();
            bytes = bytes.saturating_add(u64::try_from(row).unwrap_or(u64::MAX));
            bytes <= self.cap.bytes
        });
        let fit = fit
            .count()
            .min(usize::try_from(self.cap.rows).unwrap_or(usize::MAX));
        batch.truncated = fit < batch.rows.len();
        batch.rows.truncate(fit);
        batch
    }

    /// DELETE, UPDATE and MERGE: the count of changed rows is the log's, where it tells, and not the engine's.
    async fn change(&self, plan: Plan, table: &Target) -> Result<End> {
        let before = self.tables().before(table).await;
        let relation = match self.execute(plan).await? {
            Done::Complete(relation) => relation,
            Done::Cancelled => return Ok(End::Cancelled),
        };
        let counted = match before {
            Some(before) => before.after().await,
            None => None,
        };
        if let Some(did) = counted {
            return Ok(self.tell(did).await);
        }
        if let Some(rows) = relation {
            self.execute(rows.limit(1).rows()).await?;
        }
        self.say(Event::Warning(
            "the local engine's count of changed rows is not reliable; count them with query_sql"
                .to_owned(),
        ))
        .await;
        Ok(End::Succeeded)
    }

    /// Takes away the views of `files`: in a session without a name nothing should rely on what was before.
    pub(super) async fn drop_views(&self, files: &BTreeMap<String, PathBuf>) {
        for name in files.keys().filter(|name| self.live.made_view(name)) {
            let drop = Relation::drop_temp_view(name).rows();
            // A stop of its own: a cancelled statement's views go too.
            let mut messages = self.live.spark.execute(drop, CancellationToken::new());
            while let Some(message) = messages.recv().await {
                if let Message::End(Outcome::Failed(e)) = message {
                    tracing::debug!(error = %e.code(), "a view stays");
                }
            }
            self.live.note_view(name, false);
        }
    }

    /// Executes one plan, sends its rows, and returns a command's relation if it gave one instead.
    async fn execute(&self, plan: Plan) -> Result<Done> {
        if self.cancel.is_cancelled() {
            return Ok(Done::Cancelled);
        }
        let mut decoder = Decoder::new(self.cap);
        let mut relation = None;
        let mut sent = false;
        // What was refused before was another statement's.
        self.live.catalog.take_refusal();
        let mut messages = self.live.spark.execute(plan, self.cancel.clone());
        while let Some(message) = messages.recv().await {
            match message {
                Message::Schema(schema) => decoder.schema(&schema),
                Message::Arrow(data) => {
                    let batch = decoder.batch(data)?;
                    sent = true;
                    self.say(Event::Table(batch)).await;
                    if decoder.truncated() {
                        return Ok(Done::Complete(None));
                    }
                }
                Message::Relation(rows) => relation = Some(rows),
                Message::Progress(progress) => self.say(Event::Progress(progress)).await,
                Message::End(Outcome::Complete) => {
                    // A result without rows still has columns.
                    if let Some(columns) = decoder.columns().filter(|c| !sent && !c.is_empty()) {
                        self.say(Event::Table(Batch {
                            columns,
                            ..Batch::default()
                        }))
                        .await;
                        sent = true;
                    }
                    return Ok(Done::Complete(relation.filter(|_| !sent)));
                }
                Message::End(Outcome::Cut | Outcome::Failed(_)) if self.cancel.is_cancelled() => {
                    return Ok(Done::Cancelled);
                }
                Message::End(Outcome::Cut) => return Err(cut()),
                Message::End(Outcome::Failed(e)) => return Err(self.with_reason(e)),
            }
        }
        Err(cut())
    }
}

/// Why a file could not become a view: it is not what its name says, or the name is taken by a view of the user's.
fn unreadable(name: &str, path: &Path, e: &Error) -> Error {
    let hint = if e.message().contains("already exists") {
        format!(
            "Choose another view name than {name} in files: the session has a view of that name."
        )
    } else {
        "Give a CSV file with a header, JSON lines or Parquet, with the ending .csv, .jsonl or .parquet."
            .to_owned()
    };
    Error::new(
        Code::InvalidArgument,
        format!(
            "{} cannot be read as {name}: {}",
            path.display(),
            e.message()
        ),
    )
    .hint(hint)
}

fn setting(key: &str, value: &str) -> Event {
    Event::Table(Batch {
        columns: [Column::new("key", "string"), Column::new("value", "string")].into(),
        rows: vec![vec![Value::from(key), Value::from(value)]],
        truncated: false,
    })
}

fn cut() -> Error {
    Error::new(
        Code::StatementFailed,
        "the engine ended the statement without completing its result",
    )
    .hint("Call the tool again; nothing is known of how far the statement came.")
}
