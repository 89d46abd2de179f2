//! `list_tables`.

use std::time::Duration;

use rmcp::RoleServer;
use rmcp::service::RequestContext;

use super::{Args, Failed};
use crate::gate::{Answer, TablesAsk};
use crate::mcp::Server;
use crate::mcp::progress::Notices;
use crate::model::{TableDetail, TablesQuery};
use crate::platform::Reporter;

/// Tables that are asked for: more than an answer can hold, so that it is the answer's size that decides.
pub(super) const NAMES: usize = 200;

/// The same where the files of each may be looked at.
const COLUMNS: usize = 48;

pub(super) async fn list(
    server: &Server,
    mut args: Args<'_>,
    context: &RequestContext<RoleServer>,
) -> Result<Answer, Failed> {
    let pattern = args.pattern();
    let detail = args.detail();
    let target = args.target();
    let session = args.session_name("session");
    let cursor = args.tables_cursor(pattern.as_deref(), session.as_ref());
    args.finish()?;
    let query = TablesQuery {
        pattern: pattern.clone(),
        only: None,
        detail,
        after: cursor.map(|cursor| cursor.after),
        limit: match detail {
            TableDetail::Names => NAMES,
            TableDetail::Columns | TableDetail::Stats => COLUMNS,
        },
    };
    let (report, reports) = Reporter::new();
    let mut notices = Notices::new(context, server.gate.clone());
    let listed = server.service.tables(
        &server.owner,
        target.as_ref(),
        session.as_ref(),
        &query,
        Duration::from_secs(server.defaults.wait_s),
        &report,
    );
    tokio::pin!(listed);
    let (name, page) = loop {
        tokio::select! {
            listed = &mut listed => break listed?,
            () = notices.due() => {
                let progress = reports.borrow().clone();
                notices.send("listing", progress.as_ref()).await;
            }
        }
    };
    let ask = TablesAsk {
        target: name,
        target_given: target.is_some(),
        session: session.clone(),
        pattern,
        detail,
        continued: query.after.is_some(),
    };
    Ok(server.gate.tables(&ask, &page))
}
