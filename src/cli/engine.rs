//! `sparklease engine`: the private Python environment of the local engine.

use std::process::ExitCode;

use clap::Subcommand;

use super::Context;
use crate::model::{Error, Result};

/// Arguments of `engine`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "The local engine is a private Python environment (pysail and PySpark, no JVM) under SPARKLEASE_CACHE_DIR. \
                  It is installed at first use; these commands do it beforehand, look at it, or remove it."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with it.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Action {
    /// Install it now, with uv if there is one, else with python3. Already installed is a success.
    #[command(
        after_help = "Without a network: set engine.wheels, or SPARKLEASE_ENGINE_WHEELS, to a folder of wheels."
    )]
    Install {
        /// Install it again even if it is there.
        #[arg(long)]
        force: bool,
    },
    /// Say what is installed, where, and how large it is.
    Status,
    /// Remove it; the next use installs it again.
    Remove,
}

/// Does it.
pub(crate) async fn run(_args: Args, _context: &Context) -> Result<ExitCode> {
    Err(Error::internal("not wired"))
}
