//! A variable of a named session as a temp view: a Spark or a pandas frame, by the session's own Python.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::engine::cancelled;
use crate::model::{Error, Result};
use crate::platform::local::session::Live;
use crate::platform::write::said;
use crate::python::{Cell, CellEvent, Language, Status, View, lost};

/// Between two interrupts of a conversion that goes on.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Makes the variable `name` the temp view `view`.
///
/// # Errors
/// `not_found` where there is no such variable, with the frames that there are; `invalid_argument` for one that is no
/// frame; `statement_failed` for a frame that makes no table.
pub(super) async fn to_view(
    live: &Live,
    cancel: &CancellationToken,
    name: &str,
    view: &str,
) -> Result<()> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(cancelled()),
        ready = live.worker.ready() => ready?,
    }
    let cell = Cell {
        code: String::new(),
        spark_session: live.spark.session_id().to_owned(),
        keep_namespace: true,
        max_rows: 0,
        max_bytes: 0,
        view: Some(View {
            variable: name.to_owned(),
            name: view.to_owned(),
        }),
    };
    let mut events = live.worker.run(&cell).await?;
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = asked_again(cancel) => {
                live.worker.interrupt();
                let _ = live.spark.interrupt_all().await;
                continue;
            }
        };
        match event {
            Some(CellEvent::Answer(envelope)) => {
                let status = envelope.status;
                let (_, error) = envelope.into_events(Language::Python);
                return match (status, error) {
                    (Status::Ok, _) => Ok(()),
                    _ if cancel.is_cancelled() => Err(cancelled()),
                    (_, Some(e)) => Err(said::no_frame(&e, name)),
                    (_, None) => Err(Error::internal("the variable failed without a word why")),
                };
            }
            Some(CellEvent::Exited(exit)) => return Err(lost(&exit)),
            Some(CellEvent::Broken(e)) => return Err(e),
            // Our own code asks for nothing; what a frame's own code would, is not there now.
            Some(CellEvent::Asked { id, .. }) => {
                let refused = json!({"error": {"code": "unsupported", "message": "a frame that is being written runs no statements", "hint": ""}});
                live.worker.answer(id, refused).await;
            }
            Some(CellEvent::Started | CellEvent::Text(..)) => {}
            None => return Err(Error::internal("the worker's answer was lost")),
        }
    }
}

async fn asked_again(cancel: &CancellationToken) {
    if cancel.is_cancelled() {
        tokio::time::sleep(ASK_AGAIN).await;
    } else {
        cancel.cancelled().await;
    }
}
