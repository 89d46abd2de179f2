//! `sparklease mcp`: the MCP server on stdin and stdout. The protocol itself is in `mcp/`.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Context, logging};
use crate::app::App;
use crate::config::Flags;
use crate::mcp::serve_stdio;
use crate::model::{Error, OwnerId, Result};

/// Arguments of `mcp`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Offer only tools that read, on every target.
    #[arg(long)]
    pub read_only: bool,
    /// The target of calls that name none.
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
}

impl Args {
    /// What the flags say about settings.
    pub(super) fn apply(&self, flags: &mut Flags) {
        if self.read_only {
            flags.set("--read-only", "server.access", "read-only");
        }
        if let Some(target) = &self.target {
            flags.set("--target", "default_target", target);
        }
    }
}

/// Serves until stdin ends or a signal asks for the end; then closes everything that was opened.
pub(crate) async fn run(_: Args, context: &Context) -> Result<ExitCode> {
    let loaded = context.load()?;
    let app = App::start(&loaded, &context.secrets)?;
    let _logging = logging::start(&loaded, app.gate());
    let stop = stop_on_signals()?;
    let (input, output) = crate::mcp::stdio();
    serve_stdio(app.server(OwnerId::random()), input, output, stop).await;
    app.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// A token that SIGTERM, SIGINT and SIGHUP cancel.
///
/// # Errors
/// `internal` when the system lets no handler be set.
pub(super) fn stop_on_signals() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ] {
        let mut signals = signal(kind)
            .map_err(|e| Error::internal("signals cannot be handled").source_error(e))?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    Ok(stop)
}
