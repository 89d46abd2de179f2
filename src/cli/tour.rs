//! `sparklease try`: the main job once, through a real MCP client.

use std::path::PathBuf;
use std::process::ExitCode;

use super::Context;
use crate::model::{Error, Result};

/// Arguments of `try`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(
    long_about = "Show everything once. It installs the local engine at first use, starts the server as a child process, \
                  connects to it as a real MCP client, and shows a query, PySpark with a figure, a cancel, and that nothing is left \
                  at the end. Then it says how to connect each assistant. The first run needs a network, later ones do not."
)]
pub(crate) struct Args {
    /// A CSV, JSON-lines or Parquet file of your own to query [default: small files that are made for this].
    pub file: Option<PathBuf>,
    /// The folder that the figure is saved in [default: the working folder].
    #[arg(long, short, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
}

/// Runs the tour.
pub(crate) async fn run(_args: Args, _context: &Context) -> Result<ExitCode> {
    Err(Error::internal("not wired"))
}
