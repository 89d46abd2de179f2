//! `sparklease engine`: the private Python environment of the local engine.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use tokio::time::Instant;

use super::mcp::stop_on_signals;
use super::{Bar, Context, words};
use crate::app::installer;
use crate::config::create_private_folder;
use crate::model::{Code, Error, Result};
use crate::platform::Reporter;
use crate::python::install::{Engine, Installer, SAID, Status};
use crate::sys::processes;

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
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode> {
    let loaded = context.load()?;
    let installer = installer(&loaded);
    match args.action {
        Action::Install { force } => {
            create_private_folder(&loaded.paths.cache)?;
            let was_there = matches!(installer.status(), Status::Installed { .. });
            let start = Instant::now();
            ensure(&installer, force, context).await?;
            let done = match (was_there && !force, context.output.is_json()) {
                (_, true) => None,
                (true, _) => Some("the engine was installed already".to_owned()),
                (false, _) => Some(format!("installed in {}", words::took(start.elapsed()))),
            };
            if let Some(done) = done {
                context.output.note(&done)?;
            }
            status(&installer, context)
        }
        Action::Status => status(&installer, context),
        Action::Remove => {
            let left: Vec<_> = processes::workers()?
                .iter()
                .map(|w| w.pid.to_string())
                .collect();
            if !left.is_empty() {
                context.output.warning(&format!(
                    "sessions are open, and fail now if they run on it: processes {}",
                    left.join(", ")
                ))?;
            }
            let removed = installer.remove()?;
            if context.output.is_json() {
                context.output.json(&json!({ "removed": removed }))?;
            } else {
                context.output.text(&match removed {
                    0 => "no engine was installed".to_owned(),
                    1 => "removed 1 engine; the next use installs it again".to_owned(),
                    n => format!("removed {n} engines; the next use installs it again"),
                })?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The engine, installed with a bar if need be, or `anew`. What pip or uv said in vain is printed too.
///
/// # Errors
/// `engine_unavailable`; `cancelled` by a signal, and then nothing half made is left.
pub(super) async fn ensure(installer: &Installer, anew: bool, context: &Context) -> Result<Engine> {
    let stop = stop_on_signals()?;
    let (report, said) = Reporter::new();
    let installed = async move {
        let report = |progress| report.say(progress);
        if anew {
            installer.again(report).await
        } else {
            installer.ensure(report).await
        }
    };
    let both = async {
        let (installed, shown) = tokio::join!(installed, Bar::new(&context.output).follow(said));
        shown?;
        installed
    };
    let installed = tokio::select! {
        installed = both => installed,
        () = stop.cancelled() => Err(Error::new(
            Code::Cancelled,
            "the installation was cancelled; nothing of it is used",
        )
        .hint("Run `sparklease engine install` again; what was downloaded is kept.")),
    };
    if let Err(error) = &installed {
        for (_, said) in error.context().iter().filter(|(fact, _)| *fact == SAID) {
            context.output.note(said)?;
        }
    }
    installed
}

fn status(installer: &Installer, context: &Context) -> Result<ExitCode> {
    let output = &context.output;
    let status = installer.status();
    let others = match &status {
        Status::NotInstalled { others } | Status::Installed { others, .. } => others,
    };
    match &status {
        Status::NotInstalled { .. } if output.is_json() => {
            output.json(&json!({ "installed": false, "others": others }))?;
        }
        Status::NotInstalled { .. } => {
            output.text(
                "not installed; `sparklease engine install` installs it, and so does the first use",
            )?;
        }
        Status::Installed {
            engine,
            versions,
            bytes,
            ..
        } => {
            if output.is_json() {
                output.json(&json!({
                    "installed": true,
                    "folder": engine.root,
                    "python": engine.python,
                    "python_version": engine.python_version,
                    "engine_version": engine.engine_version,
                    "bytes": bytes,
                    "packages": versions,
                    "others": others,
                }))?;
            } else {
                let mut rows = vec![
                    row("engine", &format!("Sail {}", engine.engine_version)),
                    row("python", &engine.python_version),
                    row("size", &words::size(*bytes)),
                    row("folder", &engine.root.display().to_string()),
                ];
                let shown = ["pyspark-client", "pandas", "pyarrow", "numpy", "matplotlib"];
                rows.extend(
                    shown
                        .iter()
                        .filter_map(|name| Some(row(name, versions.get(*name)?))),
                );
                output.table(&["what", "value"], &rows)?;
            }
        }
    }
    if !others.is_empty() && !output.is_json() {
        output.note(&format!(
            "{} more that this version does not use; `sparklease engine remove` deletes all",
            others.len()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(what: &str, value: &str) -> Vec<String> {
    vec![what.to_owned(), value.to_owned()]
}
