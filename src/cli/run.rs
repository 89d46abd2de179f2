//! `sparklease run`: a Python file or stdin, its output and tables on stdout.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Context, sql};
use crate::model::{Error, Result};

/// Arguments of `run`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Run a Python file, or stdin, with `spark` ready. What it prints, the value of its last expression and its figures come back. \
                  On the target `local` it runs with your own rights.",
    after_help = "Examples:\n  \
                  sparklease run transform.py\n  \
                  echo 'spark.range(3)' | sparklease run -"
)]
pub(crate) struct Args {
    /// The file; `-` reads stdin.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The folder that figures are saved in [default: the working folder].
    #[arg(long, short, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub common: sql::Common,
}

/// Runs the code.
pub(crate) async fn run(_args: Args, _context: &Context) -> Result<ExitCode> {
    Err(Error::internal("not wired"))
}
