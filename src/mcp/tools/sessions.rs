//! `open_session`, `list_sessions`, `close_session`.

use std::time::Duration;

use rmcp::RoleServer;
use rmcp::service::RequestContext;

use super::{Args, Failed};
use crate::gate::Answer;
use crate::mcp::Server;
use crate::mcp::progress::Notices;
use crate::platform::Reporter;

pub(super) async fn open(
    server: &Server,
    mut args: Args<'_>,
    context: &RequestContext<RoleServer>,
) -> Result<Answer, Failed> {
    let name = args.session_name("name");
    let target = args.target();
    args.finish()?;
    let (report, reports) = Reporter::new();
    let mut notices = Notices::new(context, server.gate.clone());
    let wait = Duration::from_secs(server.defaults.wait_s);
    let opened = server
        .service
        .open_session(&server.owner, target.as_ref(), name, wait, report);
    tokio::pin!(opened);
    loop {
        tokio::select! {
            session = &mut opened => return Ok(server.gate.session(&session?)),
            () = notices.due() => {
                let progress = reports.borrow().clone();
                notices.send("opening", progress.as_ref()).await;
            }
        }
    }
}

pub(super) async fn list(server: &Server, mut args: Args<'_>) -> Result<Answer, Failed> {
    let target = args.target();
    args.finish()?;
    let sessions = server
        .service
        .list_sessions(&server.owner, target.as_ref())
        .await?;
    Ok(server.gate.sessions(&sessions))
}

pub(super) async fn close(server: &Server, mut args: Args<'_>) -> Result<Answer, Failed> {
    let name = args.needed_session();
    args.finish()?;
    let session = server.service.close_session(&server.owner, &name).await?;
    Ok(server.gate.session(&session))
}
