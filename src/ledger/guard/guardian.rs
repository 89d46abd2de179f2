//! The guardian: this binary once more, in a process group of its own, blocked on its owner's lock. It sweeps when the owner dies, ends an
//! owner that hangs, and exits.
//!
//! Its stdin carries the owner's beats, its stdout one line: READY. Its other side is in `watch.rs`.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::warn;

use super::owner::{OwnerLock, Owners, Watched};
use crate::ledger::sweep::{Report, Sweeper, blocking};
use crate::ledger::tag::Owner;
use crate::model::{Code, Error, Result};
use crate::sys::machine::Parent;

/// How long a guardian sweeps. What is left then is other processes' work: its sign-in may have ended, and while it
/// goes on it keeps those away that have a new one.
const SWEEP_FOR: Duration = Duration::from_secs(3600);

/// Looks at the owner's silence in the time that an owner may be silent.
const LOOKS: u32 = 60;

/// What a guardian is for.
#[derive(Clone, Debug)]
pub(crate) struct Duty {
    /// Whose death it waits for.
    pub owner: Owner,
    /// The owner's process.
    pub parent: u32,
    /// The [fingerprints](crate::platform::remote::Place::fingerprint) of the places that the owner has: it may
    /// have read another configuration than we have.
    pub places: Vec<String>,
}

/// The line that says READY for this owner.
pub(crate) fn ready_line(owner: &Owner) -> String {
    format!("READY {owner}")
}

/// Before the reason of a guardian that cannot be one.
const FAILED: &str = "FAILED ";

/// The line that says why there is no READY.
pub(crate) fn failed_line(error: &Error) -> String {
    let said = serde_json::json!({ "message": error.message(), "hint": error.hint_text() });
    format!("{FAILED}{said}")
}

/// What such a line says: message and hint.
pub(super) fn read_failed(line: &str) -> Option<(String, String)> {
    let said: serde_json::Value = serde_json::from_str(line.strip_prefix(FAILED)?).ok()?;
    let text = |name: &str| Some(said.get(name)?.as_str()?.to_owned());
    Some((text("message")?, text("hint")?))
}

/// Waits for the owner's death and sweeps; returns what became of its sessions.
///
/// `line` is said once the owner's lock was seen to be held. The death of the owner meanwhile is no error.
///
/// # Errors
/// `configuration_invalid` when the owner has places that we have not, and what keeps its file from being read.
pub(crate) async fn run(
    duty: Duty,
    sweeper: &Sweeper,
    line: &mut (dyn Write + Send),
) -> Result<Report> {
    let ours: Vec<String> = sweeper.places().map(|p| p.fingerprint()).collect();
    if duty.places.iter().any(|place| !ours.contains(place)) {
        return Err(Error::new(
            Code::ConfigurationInvalid,
            "the server has a target that the configuration has no more",
        )
        .hint("Start the server again, so that it reads the configuration."));
    }
    let parent = Parent::with_id(duty.parent);
    ignore_signals()?;
    let (owners, owner) = (sweeper.owners.clone(), duty.owner.clone());
    let lock = match blocking(move || owners.watch(&owner)).await? {
        Watched::Swept => return Ok(Report::default()),
        Watched::Dead(lock) => lock,
        Watched::Held(file) => {
            // Opened now, since it may not be possible any more when it counts. Names do without.
            if let Err(error) = sweeper.store.open().await {
                warn!(%error, "a guardian begins without a ledger");
            }
            let dead = death_of(&duty.owner, file)?;
            // An owner that dies now reads no line: the lock says so anyway.
            let _ = writeln!(line, "{}", ready_line(&duty.owner)).and_then(|()| line.flush());
            let silence_for = sweeper.timing.silence_for;
            tokio::select! {
                lock = dead => lock.unwrap_or_else(|_| Err(std::io::Error::other("the waiting thread is gone"))),
                never = end_when_silent(parent, silence_for) => match never {},
            }
            .map_err(|error| {
                Error::internal("the owner's lock cannot be waited for").source_error(error)
            })?
        }
    };
    let until = Instant::now() + SWEEP_FOR;
    Ok(sweeper.sweep(lock, Some(until)).await)
}

/// A thread that waits for the lock.
fn death_of(
    owner: &Owner,
    file: std::fs::File,
) -> Result<oneshot::Receiver<std::io::Result<OwnerLock>>> {
    let (send, dead) = oneshot::channel();
    let owner = owner.clone();
    std::thread::Builder::new()
        .name("sparklease-lock".to_owned())
        .spawn(move || send.send(Owners::wait_for_death(&owner, file)))
        .map_err(|error| Error::internal("a thread cannot be started").source_error(error))?;
    Ok(dead)
}

/// Counts the owner's silence and kills it when that is too long; the lock does the rest. One that a debugger holds is
/// left alone, and so is one that is not our parent.
///
/// What is counted are looks, not time: while we were stopped ourselves, nobody was silent.
async fn end_when_silent(parent: Parent, silence_for: Duration) -> std::convert::Infallible {
    let beats = Arc::new(AtomicU64::new(0));
    let heard = beats.clone();
    // It ends with the pipe, or with the process.
    std::thread::spawn(move || {
        let mut word = [0; 64];
        while let Ok(1..) = std::io::stdin().read(&mut word) {
            heard.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut looks = tokio::time::interval(silence_for / LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut silent) = (0, 0);
    loop {
        looks.tick().await;
        let now = beats.load(Ordering::Relaxed);
        silent = if now == last { silent + 1 } else { 0 };
        last = now;
        if silent > LOOKS && !parent.is_traced() {
            warn!("the owner hangs: it is killed, so that its sessions can be deleted");
            parent.kill();
            silent = 0;
        }
    }
}

/// What a terminal sends to everybody is not for us.
fn ignore_signals() -> Result<()> {
    for kind in [SignalKind::interrupt(), SignalKind::hangup()] {
        // Once a handler is set, the signal does nothing more, for as long as the process lives.
        let handler = signal(kind);
        drop(handler.map_err(|e| Error::internal("signals cannot be ignored").source_error(e))?);
    }
    Ok(())
}
