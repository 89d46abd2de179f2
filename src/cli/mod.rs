//! The commands: one file for each. Here: the arguments that all share, what a command gets, and how the process ends.
//!
//! Everything is printed through `output.rs`; stdout belongs to the answer, stderr to notes, progress and errors.

mod completions;
mod config;
mod doctor;
mod engine;
mod guard;
mod install;
mod logging;
mod mcp;
mod output;
mod progress;
mod report;
mod run;
mod sessions;
mod shot;
mod source;
mod sql;
mod sweep;
mod tables;
mod tour;
mod words;
mod write;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::config::{Environment, Flags, Loaded};
use crate::gate::{self, Gate};
use crate::model::{Code, Error, Result, SecretRegistry};
use clap::{CommandFactory, Parser, Subcommand};
use output::Output;
#[doc(hidden)]
pub use output::Redact;
use progress::Bar;

/// Spark for AI assistants: SQL and PySpark on leased sessions that are always deleted.
#[derive(Debug, Parser)]
#[command(
    name = "sparklease",
    version,
    about,
    long_about = "Spark for AI assistants: an MCP server that runs SQL and PySpark on leased, ephemeral Spark sessions.\n\n\
                  Without a command it serves MCP when its stdin is not a terminal (as a client starts it), else it prints this help.",
    after_help = "First: `sparklease try` shows everything once; `sparklease install --client claude-code` connects an assistant.",
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
struct Shared {
    /// The configuration file [default: SPARKLEASE_CONFIG, else ~/.config/sparklease/config.toml].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON document; errors are JSON too.
    #[arg(long, global = true)]
    json: bool,
    /// What is logged to stderr: off, error, warn, info, debug, trace, or a list like info,sparklease::lease=debug.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// Print no notes and no progress; warnings and errors stay.
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show everything once: install the engine, connect as a real MCP client, query, run PySpark, clean up.
    Try(tour::Args),
    /// Serve MCP on stdin and stdout; this is what assistants start.
    Mcp(mcp::Args),
    /// Run one SQL statement and print its rows.
    Sql(sql::Args),
    /// Write a table from a file or a query.
    Write(write::Args),
    /// Run a Python file, or stdin, with `spark` ready.
    Run(run::Args),
    /// List the tables of a target's catalogue.
    Tables(tables::Args),
    /// List the sessions that are open now, of every sparklease of this user.
    Sessions(sessions::Args),
    /// Delete the sessions that dead servers left on remote targets.
    Sweep(sweep::Args),
    /// Wait for a server's death, then delete its sessions; started by the server itself.
    #[command(hide = true)]
    Guard(guard::Args),
    /// Check the engine, the configuration and each target, and say what to do.
    Doctor(doctor::Args),
    /// Show the effective settings and where each came from.
    Config(config::Args),
    /// Install, inspect or remove the local engine.
    Engine(engine::Args),
    /// Connect an assistant: print its configuration entry, or write it.
    Install(install::Args),
    /// Print a completion script for a shell.
    Completions(completions::Args),
}

/// What a command gets.
pub(crate) struct Context {
    /// Where it prints.
    pub output: Output,
    /// The process environment.
    pub environment: Environment,
    /// Every secret that is known; whoever meets another one registers it.
    pub secrets: SecretRegistry,
    /// `--config`, `--log` and what a command's own flags say about settings.
    pub flags: Flags,
}

impl Context {
    /// The effective settings.
    ///
    /// # Errors
    /// `configuration_invalid`.
    pub(crate) fn load(&self) -> Result<Loaded> {
        crate::config::load(&self.environment, &self.flags)
    }
}

/// Parses the arguments, runs the command, prints its error. 0 is success, 1 failure, 2 usage or configuration.
pub fn main() -> ExitCode {
    let environment = Environment::of_process();
    let secrets = SecretRegistry::default();
    crate::config::secrets::register_environment(&secrets, environment.vars());
    start(
        std::env::args_os().collect(),
        std::io::stdin().is_terminal(),
        environment,
        secrets.clone(),
        |json, quiet| Output::of_process(json, quiet, redactor(secrets)),
    )
}

/// Takes every known value out, in every disguise. Public for `benches/` only.
#[doc(hidden)]
#[must_use]
pub fn redactor(secrets: SecretRegistry) -> Redact {
    let gate = Gate::new(secrets, gate::Limits::default());
    Arc::new(move |text| gate.text(text).into_string())
}

fn start(
    arguments: Vec<OsString>,
    stdin_is_terminal: bool,
    environment: Environment,
    secrets: SecretRegistry,
    output: impl FnOnce(bool, bool) -> Output,
) -> ExitCode {
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse_usage(&error, &arguments, output),
    };
    let mut flags = Flags::new(cli.shared.config);
    if let Some(filter) = cli.shared.log {
        flags.set("--log", "server.log", filter);
    }
    let context = Context {
        output: output(cli.shared.json, cli.shared.quiet),
        environment,
        secrets,
        flags,
    };
    let command = match cli.command {
        Some(command) => command,
        None if stdin_is_terminal => {
            let help = Cli::command().render_long_help();
            return finish(
                &context.output,
                context
                    .output
                    .text(&help.to_string())
                    .map(|()| ExitCode::SUCCESS),
            );
        }
        None => Command::Mcp(mcp::Args::default()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("sparklease")
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let (ended, context) = runtime.block_on(async {
                let mut context = context;
                let ended = dispatch(command, &mut context).await;
                (ended, context)
            });
            // A command has awaited its own work. What may be left is a read of stdin, which cannot be ended.
            runtime.shutdown_background();
            return finish(&context.output, ended);
        }
        Err(error) => Err(Error::new(
            Code::Internal,
            format!("the process cannot start its threads: {error}"),
        )
        .hint("Raise the limit of processes: `ulimit -u`.")
        .source_error(error)),
    };
    finish(&context.output, ended)
}

async fn dispatch(command: Command, context: &mut Context) -> Result<ExitCode> {
    match command {
        Command::Try(args) => tour::run(args, context).await,
        Command::Mcp(args) => {
            args.apply(&mut context.flags);
            mcp::run(args, context).await
        }
        Command::Sql(args) => sql::run(args, context).await,
        Command::Write(args) => write::run(args, context).await,
        Command::Run(args) => run::run(args, context).await,
        Command::Tables(args) => tables::run(args, context).await,
        Command::Sessions(args) => sessions::run(args, context).await,
        Command::Sweep(args) => sweep::run(args, context).await,
        Command::Guard(args) => guard::run(args, context).await,
        Command::Doctor(args) => doctor::run(args, context).await,
        Command::Config(args) => config::run(args, context),
        Command::Engine(args) => engine::run(args, context).await,
        Command::Install(args) => install::run(args, context),
        Command::Completions(args) => completions::run(args, context),
    }
}

/// Help and version are no failure. The flags are not parsed then, so `--json` is looked for by hand.
fn refuse_usage(
    error: &clap::Error,
    arguments: &[OsString],
    output: impl FnOnce(bool, bool) -> Output,
) -> ExitCode {
    let json = arguments.iter().any(|argument| argument == "--json");
    let output = output(json, false);
    if !error.use_stderr() {
        return finish(&output, output.usage(error).map(|()| ExitCode::SUCCESS));
    }
    if json {
        let text = error.render().to_string();
        let message = text
            .trim_start_matches("error: ")
            .lines()
            .next()
            .unwrap_or_default();
        let error = Error::new(Code::InvalidArgument, message.to_owned())
            .hint("Run `sparklease --help`, or `sparklease COMMAND --help`.");
        return finish(&output, Err(error));
    }
    finish(&output, output.usage(error).map(|()| ExitCode::from(2)))
}

/// The one end of every command. An error that cannot even be printed is in the exit code.
fn finish(output: &Output, ended: Result<ExitCode>) -> ExitCode {
    match ended {
        Ok(code) => code,
        Err(error) => {
            let code = output::exit_code(&error);
            match output.error(&error) {
                Ok(()) | Err(_) => ExitCode::from(code),
            }
        }
    }
}

#[cfg(test)]
mod tests;
