//! `sparklease mcp`: the MCP server on stdin and stdout. The protocol itself is in `mcp/`.

use std::process::ExitCode;

use super::Context;
use crate::config::Flags;
use crate::model::{Error, Result};

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

/// Serves until stdin ends.
pub(crate) async fn run(_args: Args, _context: &Context) -> Result<ExitCode> {
    Err(Error::internal("not wired"))
}
