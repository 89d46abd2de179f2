//! `sparklease sweep`: deletes what dead servers left on remote targets, and proves it.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::Context;
use crate::app::remotes;
use crate::ledger::{Fate, Report};
use crate::model::Result;

/// How long the command goes on: past the settle time of creates without an answer, with room for the deletes.
const SWEEP_FOR: Duration = Duration::from_secs(420);

/// Arguments of `sweep`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(
    long_about = "Delete the sessions that dead servers of this user left on remote targets, and look until each is gone. \
                  Servers do the same at their start and every minute; sessions of living ones are left alone. \
                  A create that never had an answer is looked for for 5 minutes. Ends with 1 when something is left."
)]
pub(crate) struct Args {
    /// Only say what would be deleted.
    #[arg(long)]
    dry_run: bool,
}

/// Sweeps once.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode> {
    let loaded = context.load()?;
    let sweeper = remotes::sweeper(&loaded, &context.secrets)?;
    let report = if args.dry_run {
        sweeper.plan().await?
    } else {
        let until = Some(Instant::now() + SWEEP_FOR);
        let mut report = sweeper.sweep_dead(until).await?;
        let strays = sweeper.sweep_strays(until).await?;
        report.extend(strays.fates);
        report
    };
    if let Some(warning) = sweeper.warning() {
        context.output.warning(&warning)?;
    }
    print(&report, args.dry_run, context)?;
    Ok(if args.dry_run || report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(report: &Report, dry_run: bool, context: &Context) -> Result<()> {
    let output = &context.output;
    let left = report.fates.len() - report.gone();
    if output.is_json() {
        return output.json(&json!({
            "dry_run": dry_run,
            "gone": report.gone(),
            "left": left,
            "stuck": report.stuck(),
            "sessions": report,
        }));
    }
    if !report.fates.is_empty() {
        let rows: Vec<Vec<String>> = report.fates.iter().map(row).collect();
        output.table(&["tag", "target", "outcome", "last error"], &rows)?;
    }
    output.text(&match (dry_run, left) {
        (true, _) => format!("would be deleted: {left}"),
        (false, 0) => format!("deleted: {}, left: 0", report.gone()),
        (false, _) => format!(
            "deleted: {}, left: {left} (stuck: {})",
            report.gone(),
            report.stuck()
        ),
    })
}

fn row(fate: &Fate) -> Vec<String> {
    let outcome = match fate.left {
        None => "gone",
        Some(_) if fate.stuck => "stuck",
        Some(left) => left.words(),
    };
    vec![
        fate.tag.to_string(),
        fate.target.to_string(),
        outcome.to_owned(),
        fate.error.clone().unwrap_or_default(),
    ]
}
