//! What goes into the core and what comes out of it. No decision lives here.

use std::time::Duration;

use crate::model::{Error, OwnerId, Progress, SessionId, SessionInfo, SessionName, TargetName};

/// An instant, on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Monotonic time since the start of the process. It stands still while the machine sleeps.
    pub mono: Duration,
    /// Wall time since 1970. It may jump.
    pub wall: Duration,
}

impl Moment {
    /// How long ago `earlier` was, by the clock that says more: a wrong early expiry costs a new session, a late
    /// one costs money.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        let mono = self.mono.saturating_sub(earlier.mono);
        let wall = self.wall.saturating_sub(earlier.wall);
        mono.max(wall)
    }
}

/// A call that waits for an answer. It gets exactly one, unless it is cancelled. A lease has the id of the call that
/// it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WaiterId(pub u64);

/// How a lease ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its statement is over, and the session can take another.
    Healthy,
    /// The session is dead or in an unknown state, and why.
    Lost(String),
    /// Nobody took the lease, so nothing ran.
    Unused,
}

/// What happened outside.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The server takes calls from now on: targets are kept warm.
    Start,
    /// A statement wants a session. `deadline` is monotonic time since start.
    Acquire {
        waiter: WaiterId,
        owner: OwnerId,
        target: TargetName,
        session: Option<SessionName>,
        deadline: Duration,
    },
    /// A caller wants a named session; without a name one is invented.
    Open {
        waiter: WaiterId,
        owner: OwnerId,
        target: TargetName,
        name: Option<SessionName>,
        deadline: Duration,
    },
    /// A caller wants a named session closed.
    Close {
        waiter: WaiterId,
        owner: OwnerId,
        name: SessionName,
        deadline: Duration,
    },
    /// An owner made a tool call.
    Touch { owner: OwnerId },
    /// The call no longer waits.
    Cancel { waiter: WaiterId },
    /// The platform says what an open is doing.
    OpenProgress {
        session: SessionId,
        progress: Progress,
    },
    /// An open ended well.
    Opened { session: SessionId },
    /// An open failed; something may exist all the same, unless the error is `sessions_exhausted`.
    OpenFailed { session: SessionId, error: Error },
    /// A close was verified.
    Closed { session: SessionId },
    /// A close could not be verified.
    CloseFailed { session: SessionId, error: Error },
    /// A free session turned out to be dead.
    Died { session: SessionId, reason: String },
    /// A lease ended.
    Release {
        session: SessionId,
        lease: WaiterId,
        outcome: Outcome,
    },
    /// A client vanished.
    OwnerGone { owner: OwnerId },
    /// The process ends.
    Shutdown,
    /// Time has passed.
    Tick,
}

/// What to do outside.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Open a session, in a task; then say `Opened` or `OpenFailed`.
    OpenSession {
        session: SessionId,
        target: TargetName,
    },
    /// Tell the open that it may end: nobody wants the session any more. It still says `Opened` or `OpenFailed`.
    GiveUpOpen { session: SessionId },
    /// Close a session, in a task; then say `Closed` or `CloseFailed`.
    CloseSession {
        session: SessionId,
        target: TargetName,
    },
    /// Hand out a lease.
    Grant {
        waiter: WaiterId,
        session: SessionId,
        owner: OwnerId,
        target: TargetName,
        named: Option<SessionName>,
    },
    /// Answer an open or a close.
    Inform {
        waiter: WaiterId,
        info: Box<SessionInfo>,
    },
    /// Answer with an error.
    Refuse { waiter: WaiterId, error: Error },
    /// Tell a waiting call what it waits for.
    Say {
        waiter: WaiterId,
        progress: Progress,
    },
}
