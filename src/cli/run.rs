//! `sparklease run`: a Python file or stdin, its output and tables on stdout.

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::sync::mpsc;

use super::shot::Shot;
use super::{Context, report, source, sql};
use crate::model::Result;

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

/// Pieces of output that wait to be printed: enough not to slow the code down by every write of ours.
const AHEAD: usize = 16;

/// Runs the code.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode> {
    let code = source::read(&args.file).await?;
    let mut loaded = context.load()?;
    let (target, rows) = args.common.prepare(&mut loaded, context)?;
    let folder = args.output.unwrap_or_default();
    let folder = context.environment.working_folder().join(folder);
    let shot = Shot::start(context, &loaded, rows)?;
    let place = args.common.place(target);
    // One JSON document has the output in it.
    let (sender, tap) = mpsc::channel(AHEAD);
    let (sender, tap) = match context.output.is_json() {
        true => (None, None),
        false => (Some(sender), Some(tap)),
    };
    let ended = async {
        let service = shot.app.service();
        let waiting = service
            .start_python(&shot.owner, &place, code, sender)
            .await?;
        let view = shot.wait(waiting, tap).await?;
        report::python(&shot, &view, args.common.row_format(context), &folder)
    };
    let ended = ended.await;
    shot.end(ended).await
}
