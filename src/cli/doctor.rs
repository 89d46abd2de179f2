//! `sparklease doctor`: what is wrong, and what to do about it.

use std::process::ExitCode;

use super::Context;
use crate::model::{Error, Result};

/// Arguments of `doctor`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(
    long_about = "Check the configuration, the engine and each target, and say what to do. It changes nothing. The exit code is 1 if anything is wrong."
)]
pub(crate) struct Args {
    /// Only this target.
    #[arg(long, short, value_name = "NAME")]
    pub target: Option<String>,
}

/// Checks.
pub(crate) async fn run(_args: Args, _context: &Context) -> Result<ExitCode> {
    Err(Error::internal("not wired"))
}
