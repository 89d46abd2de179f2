//! The tasks that read from a worker's process for as long as it lives: its two pipes of text, its control channel,
//! and its end.

use std::os::unix::process::ExitStatusExt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};

use super::text::{Decoder, Drain};
use super::worker::Imported;
use super::{CellEvent, Envelope, Exit};
use crate::model::{Code, Error, Stream};
use crate::sys::processes;

/// The longest line of the control channel, in bytes: the kept rows (`limits.bytes`, at most 64 MiB) with room for
/// JSON's escapes, and figures.
const MAX_LINE_BYTES: u64 = 256 * 1024 * 1024;

/// The cell that runs, for the three tasks that read from the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Current(Arc<Mutex<Option<Running>>>);

#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) nonce: String,
    pub(super) mark: String,
    pub(super) events: mpsc::Sender<CellEvent>,
    /// Both pipes have passed the mark.
    pub(super) drained: watch::Sender<u8>,
}

impl Current {
    fn get(&self) -> Option<Running> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set(&self, running: Option<Running>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = running;
    }
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Told {
    Listening { port: u16 },
    Ready,
    Failed { message: String },
    Started { nonce: String },
    Asked { nonce: String, id: u64, body: Value },
}

pub(super) async fn read_text(
    mut pipe: impl tokio::io::AsyncRead + Unpin,
    stream: Stream,
    current: Current,
    drain: Drain,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut decoder = Decoder::default();
    loop {
        let count = match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        let Some(chunk) = buffer.get(..count) else {
            break;
        };
        let Some(running) = current.get() else {
            drain.keep(&decoder.push(chunk, None).text);
            continue;
        };
        let piece = decoder.push(chunk, Some(&running.mark));
        if !piece.text.is_empty() {
            drain.keep(&piece.text);
            let _ = running
                .events
                .send(CellEvent::Text(stream, piece.text))
                .await;
        }
        if piece.marked {
            running.drained.send_modify(|seen| *seen += 1);
        }
    }
    // What was held back in case it was a mark's beginning.
    let rest = decoder.finish();
    if let Some(running) = current.get() {
        if !rest.is_empty() {
            let _ = running.events.send(CellEvent::Text(stream, rest)).await;
        }
        running.drained.send_modify(|seen| *seen += 1);
    }
}

pub(super) async fn read_control(
    mut control: BufReader<tokio::net::unix::OwnedReadHalf>,
    current: Current,
    listening: watch::Sender<Option<u16>>,
    ready: watch::Sender<Imported>,
) {
    loop {
        let mut line = Vec::new();
        match (&mut control)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&line);
        let running = current.get();
        let told = match running.as_ref().map(|r| Envelope::parse(&line, &r.nonce)) {
            Some(Ok(Some(envelope))) => Some(CellEvent::Answer(Box::new(envelope))),
            Some(Err(e)) => Some(CellEvent::Broken(e)),
            Some(Ok(None)) | None => match serde_json::from_str::<Told>(&line) {
                Ok(Told::Listening { port }) => {
                    listening.send_replace(Some(port));
                    None
                }
                Ok(Told::Ready) => {
                    ready.send_replace(Some(Ok(())));
                    None
                }
                Ok(Told::Failed { message }) => {
                    ready.send_replace(Some(Err(message)));
                    None
                }
                Ok(Told::Started { nonce }) => running
                    .as_ref()
                    .filter(|r| r.nonce == nonce)
                    .map(|_| CellEvent::Started),
                Ok(Told::Asked { nonce, id, body }) => running
                    .as_ref()
                    .filter(|r| r.nonce == nonce)
                    .map(|_| CellEvent::Asked { id, body }),
                Err(_) => Some(CellEvent::Broken(
                    Error::new(
                        Code::SessionLost,
                        "something other than the worker wrote to its control channel",
                    )
                    .hint("Call the tool again; a new session is opened."),
                )),
            },
        };
        if let (Some(event), Some(running)) = (told, running) {
            let _ = running.events.send(event).await;
        }
    }
}

pub(super) async fn watch_exit(
    mut child: Child,
    pid: u32,
    drain: Drain,
    exited: watch::Sender<Option<Exit>>,
) {
    let status = child.wait().await;
    // What the user's code started in the group goes with it.
    processes::kill_group(pid);
    let exit = match status {
        Ok(status) => Exit::of(processes::Ended {
            signal: status.signal(),
            code: status.code(),
        }),
        Err(e) => Exit {
            reason: format!("its end could not be read ({e})"),
        },
    };
    let (reason, last_words) = (&exit.reason, drain.len());
    tracing::debug!(pid, reason, last_words, "worker ended");
    exited.send_replace(Some(exit));
}
