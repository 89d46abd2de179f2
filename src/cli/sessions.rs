//! `sparklease sessions`: what is open now.

use std::process::ExitCode;

use serde_json::json;

use super::{Context, words};
use crate::model::Result;
use crate::sys::processes;

/// Arguments of `sessions`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(
    long_about = "List the local sessions that are open now, of every sparklease of this user, as the process table has them: each is a process. \
                  A server keeps one spare ready after its first session; from outside it looks like one in use."
)]
pub(crate) struct Args {}

/// Lists them.
pub(crate) fn run(_: Args, context: &Context) -> Result<ExitCode> {
    let workers = processes::workers()?;
    let output = &context.output;
    if output.is_json() {
        output.json(&json!({ "sessions": workers }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if workers.is_empty() {
        output.text("0 sessions")?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = workers
        .into_iter()
        .map(|worker| {
            let owner = match (worker.left_behind, worker.parent_command) {
                (true, _) => "gone".to_owned(),
                (false, Some(command)) => command,
                (false, None) => "unknown".to_owned(),
            };
            vec![
                worker.pid.to_string(),
                words::age(worker.age_s),
                words::size(worker.memory_bytes),
                worker
                    .parent
                    .map_or_else(String::new, |pid| pid.to_string()),
                owner,
                worker.tag,
            ]
        })
        .collect();
    output.table(
        &["pid", "age", "memory", "owner", "started by", "tag"],
        &rows,
    )?;
    Ok(ExitCode::SUCCESS)
}
