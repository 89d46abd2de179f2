//! What a write asks of the engine, with its cancel: schemas, rows of a check, and commands.

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::model::{Code, Error, Result};
use crate::spark_connect::{Client, Decoder, Field, Message, Outcome, Plan, Relation, RowCap};

/// Rows and bytes of a check's answer: what fits an error's text.
const FEW: RowCap = RowCap {
    rows: 100,
    bytes: 100_000,
};

/// The engine of one session, for one statement.
#[derive(Clone, Copy)]
pub(super) struct Engine<'a> {
    pub(super) spark: &'a Client,
    pub(super) cancel: &'a CancellationToken,
}

/// A cancel in the middle; it never leaves this folder.
pub(super) fn cancelled() -> Error {
    Error::new(Code::Cancelled, "the write was cancelled")
}

impl Engine<'_> {
    /// A future's value, unless the statement is cancelled first.
    pub(super) async fn or_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(cancelled()),
            done = work => done,
        }
    }

    /// The columns of a relation, not run.
    pub(super) async fn schema(&self, relation: &Relation) -> Result<Vec<Field>> {
        self.or_cancelled(self.spark.schema(relation)).await
    }

    /// Runs a plan to its end.
    pub(super) async fn run(&self, plan: Plan) -> Result<()> {
        self.rows(plan).await.map(|_| ())
    }

    /// Runs a plan and takes the first of its rows.
    pub(super) async fn rows(&self, plan: Plan) -> Result<Vec<Vec<Value>>> {
        if self.cancel.is_cancelled() {
            return Err(cancelled());
        }
        let mut decoder = Decoder::new(FEW);
        let mut rows = Vec::new();
        let mut messages = self.spark.execute(plan, self.cancel.clone());
        while let Some(message) = messages.recv().await {
            match message {
                Message::Schema(schema) => decoder.schema(&schema),
                Message::Arrow(data) if !decoder.truncated() => {
                    rows.extend(decoder.batch(data)?.rows);
                }
                Message::Arrow(_) | Message::Relation(_) | Message::Progress(_) => {}
                Message::End(Outcome::Complete) => return Ok(rows),
                Message::End(_) if self.cancel.is_cancelled() => return Err(cancelled()),
                Message::End(Outcome::Failed(e)) => return Err(e),
                Message::End(Outcome::Cut) => break,
            }
        }
        Err(Error::new(
            Code::StatementFailed,
            "the engine ended the write without completing it",
        ))
    }

    /// Takes a temp view away, also after a cancel.
    pub(super) async fn drop_view(&self, name: &str) {
        let alone = CancellationToken::new();
        let engine = Engine {
            spark: self.spark,
            cancel: &alone,
        };
        if let Err(e) = engine.run(Relation::drop_temp_view(name).rows()).await {
            tracing::debug!(error = %e.code(), "a view stays");
        }
    }
}
