//! What is asked of the engine on the way: a plan run to its end, a handful of rows.

use serde_json::Value;

use super::{Step, Stop, Tables};
use crate::model::{Code, Error};
use crate::spark_connect::{Decoder, Message, Outcome, Plan, Relation, RowCap};

/// What is asked on the way is one value.
const FEW: RowCap = RowCap {
    rows: 10,
    bytes: 64 * 1024,
};

impl Tables<'_> {
    /// Runs a plan and returns its first rows.
    pub(super) async fn execute(&self, plan: Plan) -> Step<Vec<Vec<Value>>> {
        if self.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let mut decoder = Decoder::new(FEW);
        let mut rows = Vec::new();
        let mut messages = self.spark.execute(plan, self.cancel.clone());
        while let Some(message) = messages.recv().await {
            match message {
                Message::Schema(schema) => decoder.schema(&schema),
                Message::Arrow(data) => rows.extend(decoder.batch(data)?.rows),
                Message::Relation(_) | Message::Progress(_) => {}
                Message::End(Outcome::Complete) => return Ok(rows),
                Message::End(_) if self.cancel.is_cancelled() => return Err(Stop::Cancelled),
                Message::End(Outcome::Failed(e)) => return Err(of_bound(e).into()),
                Message::End(Outcome::Cut) => break,
            }
        }
        Err(Error::new(
            Code::StatementFailed,
            "the engine ended the statement without completing it",
        )
        .hint("Run the statement again; the table is as it was.")
        .into())
    }

    /// The database that a name without one means in this session.
    pub(super) async fn current_database(&self) -> Step<String> {
        let ask = Relation::sql_positional("SELECT current_database()", &[])?;
        let rows = self.execute(ask.rows()).await?;
        let name = rows.first().and_then(|row| row.first()?.as_str());
        name.map(str::to_owned)
            .ok_or_else(|| Error::internal("the engine told no current database").into())
    }
}

/// The engine's error for values bound in a statement that writes, in words that say what to do (pysail 0.7.2).
pub(crate) fn of_bound(e: Error) -> Error {
    if !e.message().contains("command with parameters") {
        return e;
    }
    Error::new(
        Code::Unsupported,
        "the local engine binds no values in INSERT, DELETE, UPDATE and MERGE",
    )
    .hint("Write the values into the statement's text as literals, with \\' for a ' inside of one.")
    .source_error(e)
}

/// Runs what blocks on the disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> crate::model::Result<T> + Send + 'static,
) -> crate::model::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal("work on the disk did not end").source_error(e))?
}
