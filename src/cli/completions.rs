//! `sparklease completions`: a script for a shell.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Context};
use crate::model::{Error, Result};

/// Arguments of `completions`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
                  sparklease completions bash > ~/.local/share/bash-completion/completions/sparklease\n  \
                  sparklease completions fish > ~/.config/fish/completions/sparklease.fish")]
pub(crate) struct Args {
    /// The shell.
    pub shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sparklease", &mut script);
    let script = String::from_utf8(script).map_err(|error| {
        Error::internal("the completion script is not UTF-8").source_error(error)
    })?;
    context.output.script(&script)?;
    Ok(ExitCode::SUCCESS)
}
