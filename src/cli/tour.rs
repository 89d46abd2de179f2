//! `sparklease try`: the main job once, through a real MCP client.

mod inputs;
mod stage;
mod steps;
mod tables;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;
use tokio::time::Instant;

use self::stage::Stage;
use self::steps::Steps;
use super::mcp::stop_on_signals;
use super::shot::INTERRUPTED;
use super::{Context, engine, words};
use crate::app::installer;
use crate::config::{Access, LOCAL, Loaded, create_private_folder};
use crate::mcp::Client;
use crate::model::{Code, Error, Result, TargetName};
use crate::sys::processes;

/// Arguments of `try`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(
    long_about = "Show everything once. It installs the local engine at first use, starts the server as a child process, \
                  connects to it as a real MCP client, and shows a query, PySpark with a figure, a table that is written, merged, listed and read \
                  by a second process, a cancel, and that nothing is left at the end. Its tables go with it; yours are not touched. Then it says how to connect each assistant. The first run needs a network, later ones do not."
)]
pub(crate) struct Args {
    /// A CSV, JSON-lines or Parquet file of your own to query [default: small files that are made for this].
    pub file: Option<PathBuf>,
    /// The folder that the figure is saved in [default: the working folder].
    #[arg(long, short, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
}

/// The kernel takes a moment to take ended processes from its table; longer than this is a leak.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// How often the table is read meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs the tour.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode> {
    let start = Instant::now();
    let loaded = context.load()?;
    if loaded.settings.access(&TargetName::new(LOCAL)) == Access::ReadOnly {
        return Err(
            Error::new(Code::PolicyDenied, "the configuration allows only reads on the target local, and the tour runs PySpark there")
                .hint("Set `server.access` and `targets.local.access` to \"read-write\", or name another file: `sparklease try --config FILE`."),
        );
    }
    let working = context.environment.working_folder();
    let folder = tempfile::Builder::new()
        .prefix("sparklease-try-")
        .tempdir()
        .map_err(|e| {
            Error::internal(format!("no temporary folder can be made: {e}")).source_error(e)
        })?;
    let input = match &args.file {
        Some(file) => inputs::own(working, file)?,
        None => inputs::orders(folder.path())?,
    };
    let figures = working.join(args.output.as_deref().unwrap_or(Path::new("")));
    create_private_folder(&loaded.paths.cache)?;
    engine::ensure(&installer(&loaded), false, context).await?;

    let stop = stop_on_signals()?;
    let allowed = [Some(folder.path()), input.path.parent()]
        .into_iter()
        .flatten();
    let allowed: Vec<&Path> = allowed.collect();
    let data = folder.path().join("data");
    let command = || server(context, &loaded, &allowed, &data);
    let second = || command();
    let first = command()?;
    let client = tokio::select! {
        client = Client::start(first) => client?,
        () = stop.cancelled() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let pid = client.pid();
    let mut stage = Stage::new(&context.output);
    stage.say(&format!(
        "A server of sparklease {} runs as a child process, and a real MCP client (protocol {}) talks to it over its stdin and stdout.",
        env!("CARGO_PKG_VERSION"),
        client.protocol()
    ))?;
    let ended = {
        let mut steps = Steps {
            client: &client,
            stage: &mut stage,
            input: &input,
            second: &second,
            output: &figures,
        };
        tokio::select! {
            ended = steps.run() => Some(ended),
            () = stop.cancelled() => None,
        }
    };
    client.close().await;
    let left = left(pid).await?;
    let figures = match ended {
        Some(Ok(figures)) => figures,
        Some(Err(error)) => {
            complain(context, &left)?;
            return Err(error);
        }
        None => {
            complain(context, &left)?;
            context.output.note("ended; 0 sessions, 0 processes left")?;
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    stage.heading("Everything is gone")?;
    complain(context, &left)?;
    stage.say("   0 sessions, 0 processes left (checked in the process table)")?;
    stage.heading("Connect an assistant")?;
    stage.say(&super::install::invitation(context)?)?;
    let took = start.elapsed();
    stage.say(&format!("\nDone in {}.", words::took(took)))?;
    if context.output.is_json() {
        context.output.json(&json!({
            "steps": stage.steps(),
            "figures": figures,
            "sessions_left": 0,
            "processes_left": 0,
            "elapsed_s": (took.as_secs_f64() * 10.0).round() / 10.0,
        }))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// This binary as a server with the same settings, but that the tour's files are allowed, `local` is the target, and
/// tables are kept in the tour's own folder.
fn server<'p>(
    context: &Context,
    loaded: &'p Loaded,
    allowed: &[&'p Path],
    data: &Path,
) -> Result<Command> {
    let binary = std::env::current_exe()
        .map_err(|e| Error::internal("the path of this binary is not known").source_error(e))?;
    let folders = loaded
        .settings
        .files
        .allowed
        .iter()
        .map(PathBuf::as_path)
        .chain(allowed.iter().copied());
    let folders = std::env::join_paths(folders).map_err(|error| {
        Error::new(
            Code::InvalidArgument,
            format!("a folder's name cannot be passed on: {error}"),
        )
        .hint("Move the file to a folder without `:` in its name.")
    })?;
    let log = match loaded.origin("server.log") {
        "flag --log" => loaded.settings.server.log.as_str(),
        _ => "error",
    };
    let mut command = Command::new(binary);
    command.args(["mcp", "--log", log, "--target", LOCAL]);
    if let Some(config) = context.flags.config() {
        command.arg("--config").arg(config);
    }
    command
        .env("SPARKLEASE__FILES__ALLOWED", folders)
        .env("SPARKLEASE_DATA_DIR", data)
        .kill_on_drop(true);
    Ok(command)
}

/// What is left of a server: itself, and workers that it started.
async fn left(server: u32) -> Result<Vec<u32>> {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        let mut left: Vec<u32> = processes::workers()?
            .into_iter()
            .filter(|worker| worker.started_by == Some(server))
            .map(|worker| worker.pid)
            .collect();
        left.extend(Some(server).filter(|pid| processes::is_there(*pid)));
        if left.is_empty() || Instant::now() >= deadline {
            return Ok(left);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn complain(context: &Context, left: &[u32]) -> Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    let pids: Vec<String> = left.iter().map(u32::to_string).collect();
    context.output.warning(&format!(
        "processes that should be gone: {}",
        pids.join(", ")
    ))?;
    Err(Error::internal(format!(
        "{} processes are left: {}",
        left.len(),
        pids.join(", ")
    )))
}
