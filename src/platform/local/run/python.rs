//! Python through the worker: a cell's events and answers, and the interrupts that stop it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::asks;
use super::super::session::Live;
use super::{Ended, Running};
use crate::model::{End, Error, Event, Result};
use crate::python::{Cell, CellEvent, Language, Status};

/// The user's code may catch one KeyboardInterrupt.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The first rung of the ladder for Python: KeyboardInterrupt now and each second again, and an interrupt of what the
/// code runs on the engine. Ends with `stop`.
pub(super) async fn interrupt_python(
    live: Arc<Live>,
    asked: CancellationToken,
    stop: CancellationToken,
) {
    tokio::select! {
        () = asked.cancelled() => {}
        () = stop.cancelled() => return,
    }
    while !stop.is_cancelled() {
        live.worker.interrupt();
        let _ = live.spark.interrupt_all().await;
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ASK_AGAIN) => {}
        }
    }
}

impl Running<'_> {
    pub(super) async fn python(&self, cell: &Cell) -> Ended {
        let mut events = match self.start(cell).await {
            Ok(Some(events)) => events,
            Ok(None) => return End::Cancelled.into(),
            Err(e) => {
                let session_lost = self.live.worker.exit().map(|exit| exit.reason);
                return Ended {
                    end: End::Failed(e),
                    session_lost,
                };
            }
        };
        let tables = &self.tables();
        let mut asks = FuturesUnordered::new();
        let mut started = false;
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                // What an answer waits for may print, so the events are read meanwhile.
                Some(()) = asks.next() => continue,
            };
            let Some(event) = event else {
                break;
            };
            match event {
                CellEvent::Asked { id, body } => asks.push(async move {
                    let answer = asks::answer(tables, &self.live.catalog, body).await;
                    self.live.worker.answer(id, answer).await;
                }),
                CellEvent::Started | CellEvent::Text(..) if !started => {
                    // Its text has pipes of its own, and may come before the word that it has begun.
                    started = true;
                    self.say(Event::Started).await;
                    if let CellEvent::Text(stream, text) = event {
                        self.say(Event::Text { stream, text }).await;
                    }
                }
                CellEvent::Started => {}
                CellEvent::Text(stream, text) => self.say(Event::Text { stream, text }).await,
                CellEvent::Answer(envelope) => {
                    // What a cancelled ask set going in the engine has to stop too, or the ladder's end comes.
                    while self.cancel.is_cancelled() && asks.next().await.is_some() {}
                    let status = envelope.status;
                    let (events, error) = envelope.into_events(Language::Python);
                    for event in events {
                        self.say(event).await;
                    }
                    return match (status, error) {
                        (Status::Ok, _) => End::Succeeded,
                        (Status::Cancelled, _) => End::Cancelled,
                        // What the interrupt made the code raise is the cancel's doing.
                        (Status::Error, _) if self.cancel.is_cancelled() => End::Cancelled,
                        (Status::Error, Some(e)) => End::Failed(e),
                        (Status::Error, None) => {
                            End::Failed(Error::internal("the cell failed without a word why"))
                        }
                    }
                    .into();
                }
                CellEvent::Exited(exit) => return self.crashed(&exit.reason),
                CellEvent::Broken(e) => {
                    self.live.kill().await;
                    return Ended {
                        session_lost: Some(e.message().to_owned()),
                        end: End::Failed(e),
                    };
                }
            }
        }
        self.crashed("its answer was lost")
    }

    /// Waits for PySpark and starts the cell; `None` when it was cancelled before.
    async fn start(&self, cell: &Cell) -> Result<Option<mpsc::Receiver<CellEvent>>> {
        tokio::select! {
            ready = self.live.worker.ready() => ready?,
            () = self.cancel.cancelled() => return Ok(None),
        }
        self.live.worker.run(cell).await.map(Some)
    }
}
