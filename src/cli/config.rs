//! `sparklease config`: the effective settings, the file's place, the schema. What settings are is in `config/`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::Context;
use crate::config::{Paths, rows, schema};
use crate::model::Result;

/// Arguments of `config`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Settings come from one TOML file, then from the environment (SPARKLEASE__SECTION__KEY), then from flags; all have defaults."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Action {
    /// Print every setting with its value and where that came from; secrets are masked.
    Show,
    /// Print the path of the configuration file and of the folders.
    Path,
    /// Print the JSON schema of the configuration file, for an editor.
    Schema,
}

/// Prints it.
pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode> {
    let output = &context.output;
    match args.action {
        Action::Show => {
            let rows = rows(&context.load()?);
            if output.is_json() {
                output.json(&rows)?;
            } else {
                let cells: Vec<_> = rows
                    .iter()
                    .map(|row| vec![row.key.clone(), row.text(), row.origin.clone()])
                    .collect();
                output.table(&["setting", "value", "origin"], &cells)?;
            }
        }
        Action::Path => {
            let paths = Paths::of(&context.environment, context.flags.config())?;
            let places = [
                ("config", &paths.config),
                ("data", &paths.data),
                ("cache", &paths.cache),
            ];
            let places =
                places.map(|(what, path)| (what, path.display().to_string(), path.exists()));
            if output.is_json() {
                let fields: serde_json::Map<_, _> = places
                    .into_iter()
                    .map(|(what, path, exists)| {
                        (what.to_owned(), json!({ "path": path, "exists": exists }))
                    })
                    .collect();
                output.json(&fields)?;
            } else {
                let cells = places.map(|(what, path, exists)| {
                    let state = if exists { "exists" } else { "not there" };
                    vec![what.to_owned(), path, state.to_owned()]
                });
                output.table(&["what", "path", "state"], &cells)?;
            }
        }
        Action::Schema => output.json(&schema())?,
    }
    Ok(ExitCode::SUCCESS)
}
