//! Leases: an owner's exclusive right to a session until it expires; nothing but a lease can run code.
//!
//! [`core`] decides (a pure state machine), [`actor`] does (the one task that owns it, and the tasks that open and
//! close), [`handle`] asks, [`lease`] is what a statement holds. No platform's name, no statement and no rendering lives here.
//!
//! ```text
//! LeaseHandle ──message──▶ actor ──Event──▶ core::State::step ──Effect──▶ actor ──▶ platform.open / close, in tasks
//! ```

mod actor;
mod core;
mod handle;
#[expect(
    clippy::module_inception,
    reason = "the map of the crate calls the guard's file lease.rs"
)]
mod lease;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use handle::{AcquireRequest, LeaseHandle, OpenRequest};
pub(crate) use lease::{Lease, Outcome};

use crate::model::TargetName;
use crate::platform::Platform;

/// What the pool works on.
pub(crate) type Targets = BTreeMap<TargetName, (Arc<dyn Platform>, Limits)>;

/// What a target allows. Every duration counts elapsed monotonic or wall time, whichever is longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Sessions at once, of all owners; named, opening and closing ones count, until their close is verified.
    pub sessions: usize,
    /// Sessions kept ready that nobody has used yet, within `sessions`.
    pub warm: usize,
    /// Calls of one owner that may wait for a session, and for one named session. Each owner has its own queue, so
    /// that a busy one cannot shut the others out.
    pub queue: usize,
    /// How long an unnamed session stays free, from its last statement's end.
    pub idle_for: Duration,
    /// How long an owner may make no tool call; a running statement counts as one until its end.
    pub silence_for: Duration,
    /// How long a session lives at most, from the start of its open; a running statement ends first.
    pub life_for: Duration,
}

impl Default for Limits {
    /// 4 sessions, none of them warm, 64 waiting calls, 5 min idle, 15 min of silence, 8 h of life.
    fn default() -> Self {
        const MINUTE: u64 = 60;
        Self {
            sessions: 4,
            warm: 0,
            queue: 64,
            idle_for: Duration::from_secs(5 * MINUTE),
            silence_for: Duration::from_secs(15 * MINUTE),
            life_for: Duration::from_secs(8 * 60 * MINUTE),
        }
    }
}
