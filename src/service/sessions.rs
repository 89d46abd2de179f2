//! Sessions as their owner asks for them: open by name, list, close; what each has cost.

use std::time::Duration;

use tokio::time::Instant;

use super::Service;
use crate::lease::OpenRequest;
use crate::model::{OwnerId, Result, SessionInfo, SessionName, SessionPhase, Tag, TargetName};
use crate::platform::{RemoteSession, Reporter};

/// How long `close_session` waits for the proof that a session is gone. The close goes on after it.
const CLOSE_FOR: Duration = Duration::from_secs(20);

impl Service {
    /// Opens a named session and returns when it is ready, or after `wait` says that it is opening.
    ///
    /// # Errors
    /// `not_found` (target), what the platform says, `sessions_exhausted`, `timeout`.
    /// # Cancel safety
    /// Cancel-safe: the open goes on, and the name is taken.
    pub(crate) async fn open_session(
        &self,
        owner: &OwnerId,
        target: Option<&TargetName>,
        name: Option<SessionName>,
        wait: Duration,
        report: Reporter,
    ) -> Result<SessionInfo> {
        let (target_name, _) = self.target(target)?;
        self.parts.lease.touch(owner.clone());
        self.parts
            .lease
            .open_named(OpenRequest {
                owner: owner.clone(),
                target: target_name.clone(),
                name,
                deadline: Instant::now() + wait,
                report,
            })
            .await
            .map(|info| self.priced(info))
    }

    /// The owner's sessions, named and unnamed, and the named ones that went.
    ///
    /// # Errors
    /// `not_found` (target).
    pub(crate) async fn list_sessions(
        &self,
        owner: &OwnerId,
        target: Option<&TargetName>,
    ) -> Result<Vec<SessionInfo>> {
        if target.is_some() {
            self.target(target)?;
        }
        self.parts.lease.touch(owner.clone());
        let sessions = self.parts.lease.list(owner.clone(), target.cloned()).await;
        Ok(sessions
            .into_iter()
            .map(|info| self.seen(self.priced(info)))
            .collect())
    }

    /// A session that died while it was free shows as lost: nobody has asked it since.
    pub(super) fn seen(&self, mut info: SessionInfo) -> SessionInfo {
        let session = RemoteSession {
            tag: Tag::for_session(&info.id),
            id: info.id.clone(),
        };
        let target = self.parts.targets.get(&info.target);
        if info.phase == SessionPhase::Free
            && let Some(reason) = target.and_then(|t| t.platform.lost(&session))
        {
            info.phase = SessionPhase::Lost;
            info.reason = Some(reason);
        }
        info
    }

    /// With what its life has cost: all of it where sessions cost money.
    fn priced(&self, mut info: SessionInfo) -> SessionInfo {
        let target = self.parts.targets.get(&info.target);
        if target.is_some_and(|t| t.platform.capability().costs_money) {
            info.cost_for = info.opened_for;
        }
        info
    }

    /// Closes a named session, cancelling what runs in it.
    ///
    /// # Errors
    /// `not_found`.
    pub(crate) async fn close_session(
        &self,
        owner: &OwnerId,
        name: &SessionName,
    ) -> Result<SessionInfo> {
        self.parts.lease.touch(owner.clone());
        self.statements.cancel_session(owner, name);
        let deadline = Instant::now() + CLOSE_FOR;
        self.parts
            .lease
            .close(owner.clone(), name.clone(), deadline)
            .await
            .map(|info| self.priced(info))
    }
}
