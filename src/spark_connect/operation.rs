//! One operation from its start to its release: the stream is read, reattached when it breaks, and released.
//!
//! A stream that ends without `ResultComplete` did not succeed: Sail ends an interrupted query with a clean end of
//! stream and no error.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::proto::{self, execute_plan_response::ResponseType};
use super::{Client, Plan, Relation, error};
use crate::model::{Error, Progress};

/// How often a broken stream is taken up again without a message in between. A server that lives answers the first.
const REATTACH_TRIES: u32 = 3;

/// Between two interrupts of one operation that goes on.
const INTERRUPT_EVERY: Duration = Duration::from_millis(250);

/// What an operation tells.
#[derive(Debug)]
pub(crate) enum Message {
    /// The result's columns.
    Schema(proto::DataType),
    /// A complete Arrow IPC stream.
    Arrow(Bytes),
    /// A command's result, to be executed as a plan of its own.
    Relation(Box<Relation>),
    /// Stages and tasks, where the server counts them.
    Progress(Progress),
    /// The last message.
    End(Outcome),
}

/// How an operation ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// `ResultComplete` was seen.
    Complete,
    /// The stream ended without it and the server knows the operation no more: it was interrupted.
    Cut,
    /// It failed.
    Failed(Error),
}

/// Runs an operation and sends its messages; ends by releasing it. When nobody listens, interrupts it first.
///
/// # Cancel safety
/// Runs in a task of its own and is never dropped.
pub(super) async fn drive(
    client: Client,
    plan: Plan,
    stop: CancellationToken,
    messages: mpsc::Sender<Message>,
) {
    let id = Uuid::new_v4();
    let mut reader = Reader {
        client: &client,
        id,
        last_response: None,
        messages: &messages,
        stop: &stop,
    };
    let outcome = tokio::select! {
        outcome = reader.run(&plan) => outcome,
        // The reading goes on while the server is asked: the end of the stream is the proof that it stopped.
        never = interrupt_when_stopped(&client, id, &stop) => match never {},
    };
    if messages.is_closed() {
        let _ = client.interrupt(id).await;
    }
    // The answer first: a round trip that only tidies up is not the caller's to wait for.
    let _ = messages.send(Message::End(outcome)).await;
    if let Err(e) = client.release(id).await {
        tracing::debug!(operation = %id, error = %e, "operation not released");
    }
}

async fn interrupt_when_stopped(
    client: &Client,
    id: Uuid,
    stop: &CancellationToken,
) -> std::convert::Infallible {
    stop.cancelled().await;
    loop {
        // Once is not enough: a server that does not know the operation yet answers as if nothing were wrong.
        if let Err(e) = client.interrupt(id).await {
            tracing::debug!(operation = %id, error = %e, "interrupt not heard");
        }
        tokio::time::sleep(INTERRUPT_EVERY).await;
    }
}

struct Reader<'a> {
    client: &'a Client,
    stop: &'a CancellationToken,
    id: Uuid,
    last_response: Option<String>,
    messages: &'a mpsc::Sender<Message>,
}

/// Why the reading of one stream stopped.
enum Stop {
    Complete,
    NobodyListens,
    EndOfStream,
    Broken(tonic::Status),
}

impl Reader<'_> {
    async fn run(&mut self, plan: &Plan) -> Outcome {
        let mut stream = match self.client.start(self.id, plan).await {
            Ok(stream) => stream,
            Err(status) => return Outcome::Failed(error::from_status(&status, plan.text())),
        };
        let mut tries = 0;
        loop {
            let seen = self.last_response.clone();
            let stop = self.read(&mut stream).await;
            let broken = match stop {
                Stop::Complete => return Outcome::Complete,
                Stop::NobodyListens => return Outcome::Cut,
                Stop::EndOfStream if self.stop.is_cancelled() => return Outcome::Cut,
                Stop::EndOfStream => None,
                Stop::Broken(status) if error::is_transport(&status) => Some(status),
                Stop::Broken(status) => {
                    return Outcome::Failed(error::from_status(&status, plan.text()));
                }
            };
            tries = if self.last_response == seen {
                tries + 1
            } else {
                0
            };
            if tries >= REATTACH_TRIES {
                return broken.map_or(Outcome::Cut, |status| {
                    Outcome::Failed(error::from_status(&status, plan.text()))
                });
            }
            match self
                .client
                .reattach(self.id, self.last_response.clone())
                .await
            {
                Ok(next) => stream = next,
                Err(status) if error::is_transport(&status) => {
                    return Outcome::Failed(error::from_status(&status, plan.text()));
                }
                // The server lives and does not know the operation: it was interrupted.
                Err(_) => return Outcome::Cut,
            }
        }
    }

    async fn read(&mut self, stream: &mut tonic::Streaming<proto::ExecutePlanResponse>) -> Stop {
        loop {
            let response = tokio::select! {
                response = stream.message() => response,
                () = self.messages.closed() => return Stop::NobodyListens,
            };
            let response = match response {
                Ok(Some(response)) => response,
                Ok(None) => return Stop::EndOfStream,
                Err(status) => return Stop::Broken(status),
            };
            if !response.response_id.is_empty() {
                self.last_response = Some(response.response_id);
            }
            if let Some(schema) = response.schema
                && self.send(Message::Schema(schema)).await.is_err()
            {
                return Stop::NobodyListens;
            }
            let message = match response.response_type {
                Some(ResponseType::ResultComplete(_)) => return Stop::Complete,
                Some(ResponseType::ArrowBatch(batch)) => Message::Arrow(batch.data),
                Some(ResponseType::SqlCommandResult(result)) => match result.relation {
                    Some(relation) => Message::Relation(Box::new(Relation::from_proto(relation))),
                    None => continue,
                },
                Some(ResponseType::ExecutionProgress(progress)) => match stages(&progress) {
                    Some(progress) => Message::Progress(progress),
                    None => continue,
                },
                // Heartbeats and what we have not asked for.
                _ => continue,
            };
            if self.send(message).await.is_err() {
                return Stop::NobodyListens;
            }
        }
    }

    async fn send(&self, message: Message) -> Result<(), ()> {
        self.messages.send(message).await.map_err(|_| ())
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a share of tasks, shown in whole percent"
)]
fn stages(progress: &proto::execute_plan_response::ExecutionProgress) -> Option<Progress> {
    let tasks: i64 = progress.stages.iter().map(|s| s.num_tasks).sum();
    let done: i64 = progress.stages.iter().map(|s| s.num_completed_tasks).sum();
    if tasks <= 0 {
        return None;
    }
    Some(Progress {
        phase: format!(
            "{done} of {tasks} tasks in {} stages",
            progress.stages.len()
        ),
        fraction: Some((done as f64 / tasks as f64).clamp(0.0, 1.0)),
    })
}
