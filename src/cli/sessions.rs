//! `sparklease sessions`: what is open now; `sessions forget` gives up what can never be deleted.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Context, words};
use crate::app::remotes;
use crate::config::Paths;
use crate::ledger::{Row, RowState, Sweeper, wall_now};
use crate::model::{Code, Error, Result, Tag};
use crate::sys::processes::{self, WorkerProcess};

/// Arguments of `sessions`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(
    long_about = "List the sessions that are open now, of every sparklease of this user. Local ones are as the process table has them: each is a \
                  process. A server keeps one spare ready after its first session; from outside it looks like one in use. Remote ones are as the \
                  ledger has them: each may cost money until it is gone."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Give up a remote session that can never be deleted, since its workspace or your rights are gone.
    Forget(Forget),
}

/// Arguments of `sessions forget`.
#[derive(Clone, Debug, clap::Args)]
struct Forget {
    /// Its tag, as `sparklease sessions` shows it.
    tag: String,
    /// You have looked on the service itself: nothing of this name runs and costs there.
    #[arg(long)]
    i_checked: bool,
}

/// Lists them, or forgets one.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode> {
    match args.command {
        None => list(context).await,
        Some(Command::Forget(args)) => forget(args, context).await,
    }
}

async fn list(context: &Context) -> Result<ExitCode> {
    let workers = processes::workers()?;
    let ledger = ledger(context)?;
    let mut rows = ledger.rows().await?;
    rows.retain(|row| row.state != RowState::Gone);
    let output = &context.output;
    if let Some(warning) = ledger.warning() {
        output.warning(&warning)?;
    }
    if output.is_json() {
        let remote: Vec<Value> = rows.iter().map(remote_json).collect();
        output.json(&json!({ "sessions": workers, "remote": remote }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if workers.is_empty() && rows.is_empty() {
        output.text("0 sessions")?;
        return Ok(ExitCode::SUCCESS);
    }
    if !workers.is_empty() {
        let workers: Vec<Vec<String>> = workers.into_iter().map(local).collect();
        output.table(
            &["pid", "age", "memory", "owner", "started by", "tag"],
            &workers,
        )?;
    }
    if !rows.is_empty() {
        let rows: Vec<Vec<String>> = rows.iter().map(remote).collect();
        output.table(
            &["target", "state", "age", "id", "tries", "last error", "tag"],
            &rows,
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn ledger(context: &Context) -> Result<Sweeper> {
    let paths = Paths::of(&context.environment, context.flags.config())?;
    remotes::ledger_of(&paths)
}

fn local(worker: WorkerProcess) -> Vec<String> {
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
}

/// Its state; a stuck one is nothing but that to a person.
fn state(row: &Row) -> &'static str {
    if row.stuck {
        "stuck"
    } else {
        row.state.as_str()
    }
}

fn age_s(row: &Row) -> u64 {
    wall_now().saturating_sub(row.created).as_secs()
}

fn remote(row: &Row) -> Vec<String> {
    vec![
        row.target.to_string(),
        state(row).to_owned(),
        words::age(age_s(row)),
        row.remote_id.clone().unwrap_or_default(),
        row.attempts.to_string(),
        row.last_error.clone().unwrap_or_default(),
        row.tag.to_string(),
    ]
}

fn remote_json(row: &Row) -> Value {
    json!({
        "tag": row.tag,
        "target": row.target,
        "state": row.state,
        "stuck": row.stuck,
        "id": row.remote_id,
        "age_s": age_s(row),
        "expires_in_s": row.expires.saturating_sub(wall_now()).as_secs(),
        "attempts": row.attempts,
        "last_error": row.last_error,
    })
}

async fn forget(args: Forget, context: &Context) -> Result<ExitCode> {
    if !args.i_checked {
        return Err(Error::new(
            Code::ConfirmationRequired,
            format!(
                "session {} would be given up: if it still runs, it costs on and nobody deletes it",
                args.tag
            ),
        )
        .hint(format!(
            "Look for that name on the service itself; if nothing runs there, run `sparklease sessions forget {} --i-checked`.",
            args.tag
        )));
    }
    let row = ledger(context)?.forget(&Tag::new(args.tag)).await?;
    let output = &context.output;
    if output.is_json() {
        output.json(&json!({ "forgotten": row.tag, "target": row.target, "id": row.remote_id }))?;
    } else {
        output.text(&format!(
            "forgotten: {} on {}; the ledger keeps a line that says so",
            row.tag, row.target
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
