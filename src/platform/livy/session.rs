//! A session that we opened: what is known of it, what runs in it, and the heartbeat that keeps the server from
//! ending it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Trouble};
use super::tables::Listing;
use super::wire::{SessionBody, SessionState};
use crate::model::{StatementId, Tag};
use crate::platform::remote::Created;

/// Lines of its log that an error repeats.
pub(super) const LOG_LINES: usize = 5;

/// One session.
pub(super) struct Live {
    pub(super) tag: Tag,
    created: Mutex<Created>,
    /// The server's id, once it is known.
    id: Mutex<Option<String>>,
    lost: Mutex<Option<String>>,
    running: Mutex<Option<Running>>,
    /// The last line of its log, as the last look at it showed.
    said: Mutex<Option<String>>,
    /// What its catalogue knew when it was last asked.
    listing: Mutex<Option<Listing>>,
    /// Its heartbeat, and its open, end with this.
    pub(super) over: CancellationToken,
}

struct Running {
    statement: StatementId,
    cancel: CancellationToken,
}

impl Live {
    pub(super) fn new(tag: Tag) -> Self {
        Self {
            tag,
            created: Mutex::new(Created::No),
            id: Mutex::default(),
            lost: Mutex::default(),
            running: Mutex::default(),
            said: Mutex::default(),
            listing: Mutex::default(),
            over: CancellationToken::new(),
        }
    }

    /// What is known of its create.
    pub(super) fn created(&self) -> Created {
        *lock(&self.created)
    }

    /// Remembers it.
    pub(super) fn note_created(&self, created: Created) {
        *lock(&self.created) = created;
    }

    /// The server's id.
    pub(super) fn id(&self) -> Option<String> {
        lock(&self.id).clone()
    }

    /// Remembers what an answer tells.
    pub(super) fn note(&self, body: &SessionBody) {
        if let Some(id) = body.id() {
            lock(&self.id).get_or_insert(id);
        }
        if let Some(line) = body.last_lines(1).pop() {
            *lock(&self.said) = Some(brief(&line));
        }
    }

    /// The last line of its log.
    pub(super) fn said(&self) -> Option<String> {
        lock(&self.said).clone()
    }

    /// Takes what its catalogue knew when it was last asked.
    pub(super) fn take_listing(&self) -> Option<Listing> {
        lock(&self.listing).take()
    }

    /// Remembers it.
    pub(super) fn keep_listing(&self, listing: Listing) {
        *lock(&self.listing) = Some(listing);
    }

    /// Why it cannot be used any more.
    pub(super) fn lost(&self) -> Option<String> {
        lock(&self.lost).clone()
    }

    /// It cannot be used any more. The first reason stays.
    pub(super) fn lose(&self, reason: impl Into<String>) {
        lock(&self.lost).get_or_insert_with(|| reason.into());
    }

    /// Remembers which statement runs, so that a cancel finds it.
    pub(super) fn begin(&self, statement: &StatementId) -> CancellationToken {
        let cancel = CancellationToken::new();
        *lock(&self.running) = Some(Running {
            statement: statement.clone(),
            cancel: cancel.clone(),
        });
        cancel
    }

    /// Forgets it.
    pub(super) fn end(&self) {
        *lock(&self.running) = None;
    }

    fn is_busy(&self) -> bool {
        lock(&self.running).is_some()
    }

    /// Asks the running statement to stop; another statement is left alone.
    pub(super) fn cancel(&self, statement: &StatementId) {
        if let Some(running) = lock(&self.running)
            .as_ref()
            .filter(|running| running.statement == *statement)
        {
            running.cancel.cancel();
        }
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("tag", &self.tag)
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// Keeps a session alive until it is over: the server ends one that nobody asked for within its heartbeat.
pub(super) async fn beat(client: Arc<Client>, live: Arc<Live>, heartbeat: Duration) {
    // A third, so that one lost request and a slow one after it do no harm.
    let mut ticks = tokio::time::interval(heartbeat / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            () = live.over.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let looked = tokio::select! {
            () = live.over.cancelled() => return,
            looked = once(&client, &live) => looked,
        };
        if let Err(trouble) = looked {
            tracing::debug!(tag = %live.tag, error = %client.error(&trouble, "tell of a session"), "no heartbeat");
        }
        if live.lost().is_some() {
            return;
        }
    }
}

/// One beat: a look, which the server counts as a sign of life; for a busy session one that counts as activity too.
pub(super) async fn once(client: &Client, live: &Live) -> Result<(), Trouble> {
    let body = if live.is_busy() {
        client.touch(&live.tag).await?
    } else {
        client.session(&live.tag).await?
    };
    match body {
        None => live.lose("the server does not know it any more"),
        Some(body) => {
            live.note(&body);
            match body.state() {
                Ok(Some(SessionState::Closing)) => live.lose("the server is ending it"),
                Ok(Some(state)) if state.is_over() => live.lose(ended(&body)),
                Ok(_) => {}
                Err(e) => live.lose(e.message()),
            }
        }
    }
    Ok(())
}

/// Why a session is over, with the last lines of its log.
pub(super) fn ended(body: &SessionBody) -> String {
    let state = body.state.as_deref().unwrap_or("over");
    with_log(
        format!("the server says it is {state}"),
        &body.last_lines(LOG_LINES),
    )
}

/// A reason, and what the log says.
pub(super) fn with_log(reason: String, lines: &[String]) -> String {
    if lines.is_empty() {
        return reason;
    }
    /// Log lines hold whole Java stacks and paths.
    const LINE_MOST: usize = 200;
    let lines: Vec<String> = lines
        .iter()
        .map(|line| line.chars().take(LINE_MOST).collect())
        .collect();
    format!("{reason}; its log ends: {}", lines.join(" | "))
}

/// A line of a log as a progress notice shows it: without its time, and short.
fn brief(line: &str) -> String {
    /// A terminal's line, with room for what stands before it.
    const MOST: usize = 100;
    let stamp =
        |c: char| c.is_ascii_digit() || matches!(c, '/' | '-' | ':' | '.' | ',' | ' ' | 'T' | 'Z');
    let text = match line.chars().next() {
        Some(first) if first.is_ascii_digit() => line.trim_start_matches(stamp),
        _ => line,
    };
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_log_is_short_and_without_its_time() {
        assert_eq!(
            brief("26/11/21 16:28:15 INFO SparkEntries: Starting"),
            "INFO SparkEntries: Starting"
        );
        assert_eq!(brief("2026-11-21T16:28:15.123Z WARN x"), "WARN x");
        assert_eq!(brief("no time at 5"), "no time at 5");
        assert_eq!(brief(&"é".repeat(300)).chars().count(), 101);
    }
}
