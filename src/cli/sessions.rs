//! `sparklease sessions`: what is open now.

use std::process::ExitCode;

use super::Context;
use crate::model::{Error, Result};

/// Arguments of `sessions`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(
    long_about = "List the sessions that are open now, of every sparklease of this user, checked against the process table."
)]
pub(crate) struct Args {
    /// Only those of this target.
    #[arg(long, short, value_name = "NAME")]
    pub target: Option<String>,
}

/// Lists them.
pub(crate) async fn run(_args: Args, _context: &Context) -> Result<ExitCode> {
    Err(Error::internal("not wired"))
}
