//! Ending a session: check the name, delete, look until it is gone. And finding sessions by their names.

use std::time::Duration;

use tokio::time::Instant;

use super::client::{Client, Trouble};
use super::wire::SessionState;
use crate::model::{Code, Error, Result, Retry, Tag};
use crate::platform::remote::{Closed, Tagged};

/// From a DELETE to its proof; the caller tries again.
const GONE_FOR: Duration = Duration::from_secs(45);
/// Between two looks at a session that goes.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Deletes a session and proves it: one round. A create without an answer is the ledger's to settle.
///
/// # Errors
/// When it cannot be proved; called again, it goes on.
pub(super) async fn close(client: &Client, tag: &Tag) -> Result<()> {
    match round(client, tag, None).await? {
        Closed::Gone => Ok(()),
        Closed::StillThere => Err(still_there(tag)),
    }
}

fn still_there(tag: &Tag) -> Error {
    Error::new(
        Code::Timeout,
        format!("the server still lists the session {tag} after its delete"),
    )
    .hint("It is tried again; call list_sessions() to see whether it is gone.")
    .retry(Retry::Now)
}

/// One round: look, delete, look until it is gone or time is up. A session of this id and another name is a
/// stranger's, since numbers start again with the server.
pub(super) async fn round(client: &Client, tag: &Tag, id: Option<&str>) -> Result<Closed> {
    let failed = |trouble: Trouble| client.error(&trouble, "delete a session");
    let Some(body) = client.session(tag).await.map_err(failed)? else {
        return Ok(Closed::Gone);
    };
    if let (Some(known), Some(found)) = (id, body.id())
        && known != found
    {
        // The name is ours and nobody else makes it: a create that was sent on by a gateway twice, for example.
        tracing::warn!(tag = %tag, known, found, "a session of ours has another number");
    }
    client.delete(tag).await.map_err(failed)?;
    let until = Instant::now() + GONE_FOR;
    loop {
        match client.session(tag).await.map_err(failed)? {
            None => return Ok(Closed::Gone),
            // Kept for a while by the server; nothing runs in it.
            Some(body) if body.state()?.is_some_and(SessionState::is_over) => {
                return Ok(Closed::Gone);
            }
            Some(_) if Instant::now() >= until => return Ok(Closed::StillThere),
            Some(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// The ids of sessions of exactly this name that have not ended: one at most, since the server keeps names apart.
pub(super) async fn find(client: &Client, tag: &Tag) -> Result<Vec<String>> {
    let failed = |trouble: Trouble| client.error(&trouble, "find a session");
    let found = client.session(tag).await.map_err(failed)?;
    let Some(body) = found else {
        return Ok(Vec::new());
    };
    match body.state()? {
        Some(state) if state.is_over() => Ok(Vec::new()),
        _ => Ok(vec![body.id().unwrap_or_default()]),
    }
}

/// All sessions whose names begin so and that have not ended.
pub(super) async fn list(client: &Client, prefix: &str) -> Result<Vec<Tagged>> {
    let failed = |trouble: Trouble| client.error(&trouble, "list sessions");
    let mut found = Vec::new();
    for body in client.sessions().await.map_err(failed)? {
        let Some(name) = body.name.clone().filter(|name| name.starts_with(prefix)) else {
            continue;
        };
        if !body.state()?.is_some_and(SessionState::is_over) {
            found.push(Tagged {
                tag: Tag::new(name),
                id: body.id().unwrap_or_default(),
            });
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}
