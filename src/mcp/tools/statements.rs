//! `query_sql`, `run_sql`, `run_pyspark`, `get_statement`, `cancel_statement`: start, wait, answer.

use std::time::Duration;

use rmcp::RoleServer;
use rmcp::service::RequestContext;
use tokio::time::{Instant, sleep_until};

use super::{Args, Failed};
use crate::gate::{Answer, Ask, Cursor};
use crate::mcp::progress::Notices;
use crate::mcp::{Server, roots};
use crate::model::StatementId;
use crate::platform::CANCEL_BOUND;
use crate::service::{SqlCall, Waiting};

/// How a call wants its answer.
pub(super) struct Wish {
    wait: Duration,
    offset: u64,
    ask: Ask,
}

impl Wish {
    /// For an answer without rows.
    pub(super) fn plain(args: &mut Args<'_>, server: &Server) -> Self {
        Self {
            wait: args.wait(server.defaults.wait_s),
            offset: 0,
            ask: Ask::default(),
        }
    }

    fn read(args: &mut Args<'_>, server: &Server) -> Self {
        Self {
            wait: args.wait(server.defaults.wait_s),
            offset: 0,
            ask: Ask {
                max_rows: args.max_rows(server.defaults.rows),
                format: args.format(),
                ..Ask::default()
            },
        }
    }
}

pub(super) async fn sql(
    server: &Server,
    mut args: Args<'_>,
    context: &RequestContext<RoleServer>,
    reads_only: bool,
) -> Result<Answer, Failed> {
    let sql = args.text("sql");
    let params = args.params();
    let files = args.files();
    let place = args.place();
    let wish = Wish::read(&mut args, server);
    args.finish()?;
    let roots = if files.is_empty() {
        Vec::new()
    } else {
        roots::ask(context).await
    };
    let call = SqlCall {
        sql,
        params,
        files,
        roots,
        reads_only,
    };
    let waiting = server
        .service
        .start_sql(&server.owner, &place, call)
        .await?;
    wait(server, waiting, wish, context).await
}

pub(super) async fn python(
    server: &Server,
    mut args: Args<'_>,
    context: &RequestContext<RoleServer>,
) -> Result<Answer, Failed> {
    let code = args.text("code");
    let place = args.place();
    let wish = Wish::read(&mut args, server);
    args.finish()?;
    let waiting = server
        .service
        .start_python(&server.owner, &place, code, None)
        .await?;
    wait(server, waiting, wish, context).await
}

pub(super) async fn get(
    server: &Server,
    mut args: Args<'_>,
    context: &RequestContext<RoleServer>,
) -> Result<Answer, Failed> {
    let id = args.statement();
    let cursor = args.cursor();
    let mut wish = Wish::read(&mut args, server);
    args.finish()?;
    match cursor {
        Some(Cursor::Rows(offset)) => wish.offset = offset,
        Some(Cursor::Output(from)) => wish.ask.output_from = Some(from),
        None => {}
    }
    let mut waiting = server.service.waiting(&server.owner, &id)?;
    let mut notices = Notices::new(context, server.gate.clone());
    let deadline = Instant::now() + wish.wait;
    loop {
        tokio::select! {
            () = waiting.ended() => break,
            () = sleep_until(deadline) => break,
            // Giving up looking cancels nothing: only cancel_statement, or the call that started it, does.
            () = context.ct.cancelled() => break,
            () = notices.due() => tell(&notices, &waiting).await,
        }
    }
    answer(server, &id, &wish)
}

pub(super) async fn cancel(
    server: &Server,
    mut args: Args<'_>,
    context: &RequestContext<RoleServer>,
) -> Result<Answer, Failed> {
    let id = args.statement();
    args.finish()?;
    let mut waiting = server.service.cancel(&server.owner, &id)?;
    let mut notices = Notices::new(context, server.gate.clone());
    let deadline = Instant::now() + CANCEL_BOUND;
    loop {
        tokio::select! {
            () = waiting.ended() => break,
            () = sleep_until(deadline) => break,
            () = notices.due() => tell(&notices, &waiting).await,
        }
    }
    let wish = Wish {
        wait: Duration::ZERO,
        offset: 0,
        ask: Ask {
            max_rows: server.defaults.rows,
            ..Ask::default()
        },
    };
    answer(server, &id, &wish)
}

/// Waits for a statement that this call has started. The client's cancel cancels it.
pub(super) async fn wait(
    server: &Server,
    mut waiting: Waiting,
    wish: Wish,
    context: &RequestContext<RoleServer>,
) -> Result<Answer, Failed> {
    let id = waiting.id().clone();
    let mut notices = Notices::new(context, server.gate.clone());
    let mut deadline = Instant::now() + wish.wait;
    let mut cancelled = false;
    loop {
        tokio::select! {
            () = waiting.ended() => break,
            () = sleep_until(deadline) => break,
            () = context.ct.cancelled(), if !cancelled => {
                cancelled = true;
                deadline = Instant::now() + CANCEL_BOUND;
                let _ = server.service.cancel(&server.owner, &id);
            }
            () = notices.due() => tell(&notices, &waiting).await,
        }
    }
    answer(server, &id, &wish)
}

async fn tell(notices: &Notices, waiting: &Waiting) {
    let (state, progress) = waiting.now();
    if !state.is_final() {
        notices.send(state.as_tool_word(), progress.as_ref()).await;
    }
}

fn answer(server: &Server, id: &StatementId, wish: &Wish) -> Result<Answer, Failed> {
    let view = server
        .service
        .view(&server.owner, id, wish.offset, wish.ask.max_rows)
        .map_err(|error| Failed {
            error,
            statement: Some(id.clone()),
        })?;
    Ok(server.gate.statement(&view, &wish.ask))
}
