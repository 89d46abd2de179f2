//! Which tables there are: straight from the target's catalogue, with the temp views of a named session. No session is
//! opened for it, and none waits in a queue.

use std::time::Duration;

use super::Service;
use crate::model::{
    Code, Error, OwnerId, Result, SessionName, SessionPhase, TablesPage, TablesQuery, Tag,
    TargetName,
};
use crate::platform::RemoteSession;

/// How long a catalogue may take. The local one answers in milliseconds; one over a network that needs longer has
/// another trouble.
const TABLES_FOR: Duration = Duration::from_secs(20);

impl Service {
    /// A page of a target's tables, and of the temp views of `session`. Says which target it was.
    ///
    /// # Errors
    /// `not_found` (target, session), `session_lost`, `invalid_argument` for a session of another target, `timeout`;
    /// what the platform says.
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn tables(
        &self,
        owner: &OwnerId,
        target: Option<&TargetName>,
        session: Option<&SessionName>,
        query: &TablesQuery,
    ) -> Result<(TargetName, TablesPage)> {
        self.parts.lease.touch(owner.clone());
        let found = match session {
            Some(name) => Some(
                self.parts
                    .lease
                    .find(owner.clone(), name.clone())
                    .await
                    .map(|info| self.seen(info))?,
            ),
            None => None,
        };
        let wanted = target.or(found.as_ref().map(|info| &info.target));
        let (target_name, target) = self.target(wanted)?;
        let session = match (session, found) {
            (Some(name), Some(info)) => {
                if info.target != *target_name {
                    return Err(other_target(name, &info.target, target_name));
                }
                if let (SessionPhase::Lost, Some(reason)) = (info.phase, &info.reason) {
                    return Err(lost(name, reason));
                }
                // One that is still being opened has no views.
                (info.phase != SessionPhase::Opening).then(|| RemoteSession {
                    tag: Tag::for_session(&info.id),
                    id: info.id,
                })
            }
            _ => None,
        };
        let page = target.platform.tables(session.as_ref(), query);
        match tokio::time::timeout(TABLES_FOR, page).await {
            Ok(page) => Ok((target_name.clone(), page?)),
            Err(_) => Err(Error::new(
                Code::Timeout,
                format!(
                    "the catalogue of {target_name} did not answer within {} s",
                    TABLES_FOR.as_secs()
                ),
            )
            .hint(
                "Call list_tables again; query_sql(sql=\"show tables\") asks the engine instead.",
            )),
        }
    }
}

fn other_target(name: &SessionName, theirs: &TargetName, asked: &TargetName) -> Error {
    Error::new(
        Code::InvalidArgument,
        format!("session \"{name}\" is on target \"{theirs}\", not on \"{asked}\""),
    )
    .hint(format!(
        "Call list_tables(session=\"{name}\"), or leave the session out."
    ))
}

fn lost(name: &SessionName, reason: &str) -> Error {
    Error::new(
        Code::SessionLost,
        format!("session \"{name}\" is gone: {reason}"),
    )
    .hint(format!(
        "Call open_session(name=\"{name}\") to start it anew, or leave the session out: only its temp views are gone."
    ))
}
