//! `sparklease install`: a client's entry for this binary, printed or written into the client's file.

mod client;
mod merge;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use self::client::{Entry, Syntax, quoted};
use self::merge::Outcome;
use super::Context;
use crate::config::Environment;
use crate::model::{Code, Error, Result};
use crate::sys::files::replace_file;

use self::client::Client;

/// Arguments of `install`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Connect an assistant. Prints the entry with the real path of this binary, the file that it belongs in, and the client's own \
                  command that adds it. With --write it merges the entry into that file: all else stays, and a copy of the file is kept beside it.",
    after_help = "Examples:\n  \
                  sparklease install --client claude-code\n  \
                  sparklease install --client vscode --project . --write"
)]
pub(crate) struct Args {
    /// The assistant to connect.
    #[arg(long, short, value_enum)]
    client: Client,
    /// Write the entry instead of printing it.
    #[arg(long)]
    write: bool,
    /// The server's name in the client.
    #[arg(long, default_value = "sparklease", value_name = "NAME", value_parser = server_name)]
    name: String,
    /// Only for the project in this folder [default: for all of yours].
    #[arg(long, value_name = "FOLDER")]
    project: Option<PathBuf>,
}

/// Prints or writes the entry.
pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode> {
    let binary = std::env::current_exe().map_err(|error| {
        Error::internal(format!("the path of this binary is not known: {error}"))
            .source_error(error)
    })?;
    let plan = Plan::new(&args, &context.environment, &binary, context.flags.config())?;
    if args.write {
        let done = plan.write()?;
        if context.output.is_json() {
            context.output.json(&plan.json(Some(&done))?)?;
        } else {
            context.output.text(&plan.report(&done))?;
        }
    } else if context.output.is_json() {
        context.output.json(&plan.json(None)?)?;
    } else {
        context.output.text(&plan.advice()?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How to connect each client, and one entry in full.
///
/// # Errors
/// `internal` where this binary's path is not known.
pub(super) fn invitation(context: &Context) -> Result<String> {
    let binary = std::env::current_exe().map_err(|error| {
        Error::internal(format!("the path of this binary is not known: {error}"))
            .source_error(error)
    })?;
    let mut text = String::new();
    for client in Client::value_variants() {
        let args = Args {
            client: *client,
            write: true,
            name: "sparklease".to_owned(),
            project: None,
        };
        let plan = Plan::new(&args, &context.environment, &binary, context.flags.config())?;
        text += &format!("   {:18}  {}\n", client.label(), plan.own_command());
        if *client == Client::ClaudeCode
            && let Some(command) = plan.entry.add_command(false)
        {
            text += &format!("   {:18}  or: {command}\n", "");
        }
    }
    let plan = Plan::new(
        &Args {
            client: Client::Cursor,
            write: false,
            name: "sparklease".to_owned(),
            project: None,
        },
        &context.environment,
        &binary,
        context.flags.config(),
    )?;
    text += &format!(
        "\n   What is written, for example into {}:\n",
        plan.file.display()
    );
    for line in plan.entry.text()?.lines() {
        text += &format!("     {line}\n");
    }
    Ok(text)
}

/// The name ends up in tool names and in the keys of files.
fn server_name(text: &str) -> Result<String, String> {
    let good = (1..=64).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if good {
        Ok(text.to_owned())
    } else {
        Err("a server's name has 1 to 64 letters, digits, `-` and `_`".to_owned())
    }
}

/// What is to be put where.
#[derive(Debug)]
struct Plan {
    entry: Entry,
    file: PathBuf,
    project: Option<PathBuf>,
}

/// What was written.
#[derive(Debug, PartialEq)]
struct Done {
    outcome: Outcome,
    backup: Option<PathBuf>,
}

impl Plan {
    fn new(
        args: &Args,
        environment: &Environment,
        binary: &Path,
        config: Option<&Path>,
    ) -> Result<Self> {
        let text = |path: &Path| {
            path.to_str().map(str::to_owned).ok_or_else(|| {
                Error::new(
                    Code::ConfigurationInvalid,
                    format!(
                        "the path {} is not UTF-8, so no client can hold it",
                        path.display()
                    ),
                )
                .hint("Move it to a folder with a plain name.")
            })
        };
        let mut server = vec!["mcp".to_owned()];
        if let Some(config) = config {
            // The client starts us in a folder of its own choice.
            server.push("--config".to_owned());
            server.push(text(&environment.working_folder().join(config))?);
        }
        let project = match &args.project {
            None => None,
            Some(folder) => {
                let folder = environment.working_folder().join(folder);
                let real = folder.canonicalize().ok().filter(|real| real.is_dir());
                Some(real.ok_or_else(|| {
                    Error::new(
                        Code::InvalidArgument,
                        format!("--project {} is not a folder", folder.display()),
                    )
                    .hint("Name the project's folder: `--project .` is the working folder.")
                })?)
            }
        };
        let entry = Entry {
            client: args.client,
            name: args.name.clone(),
            command: text(binary)?,
            args: server,
        };
        let file = args.client.file(environment, project.as_deref())?;
        Ok(Self {
            entry,
            file,
            project,
        })
    }

    fn scope(&self) -> String {
        match &self.project {
            Some(folder) => format!("for the project {}", folder.display()),
            None => "for all your projects".to_owned(),
        }
    }

    fn own_command(&self) -> String {
        let mut words = vec![
            quoted(&self.entry.command),
            "install --client".to_owned(),
            self.entry.client.word().to_owned(),
        ];
        if self.entry.name != "sparklease" {
            words.push(format!("--name {}", self.entry.name));
        }
        if let Some(folder) = &self.project {
            words.push(format!("--project {}", quoted(&folder.to_string_lossy())));
        }
        words.push("--write".to_owned());
        words.join(" ")
    }

    /// What to do, for people.
    fn advice(&self) -> Result<String> {
        let label = self.entry.client.label();
        let mut text = format!(
            "{label}, {}: put this into {}\n\n{}\n",
            self.scope(),
            self.file.display(),
            self.entry.text()?
        );
        text += "or let it be merged there, all else kept:\n\n";
        text += &format!("  {}\n\n", self.own_command());
        if let Some(command) = self.entry.add_command(self.project.is_some()) {
            text += &format!("or use {label}'s own command");
            if self.project.is_some() {
                text += " in that folder";
            }
            text += &format!(":\n\n  {command}\n\n");
        }
        text += self.entry.client.next();
        Ok(text)
    }

    fn report(&self, done: &Done) -> String {
        let (label, name, file) = (
            self.entry.client.label(),
            &self.entry.name,
            self.file.display(),
        );
        let mut text = match done.outcome {
            Outcome::Added => format!("Added {name} to {file} ({label}, {}).", self.scope()),
            Outcome::Replaced => format!("Replaced {name} in {file} ({label}, {}).", self.scope()),
            Outcome::Unchanged => {
                return format!(
                    "{file} has {name} already; nothing was written.\n{}",
                    self.entry.client.next()
                );
            }
        };
        if let Some(backup) = &done.backup {
            text += &format!("\nThe file as it was: {}", backup.display());
        }
        if self.project.is_some() {
            text += "\nThe entry names this machine's path of sparklease: others of the project run the same command.";
        }
        text + "\n" + self.entry.client.next()
    }

    fn json(&self, done: Option<&Done>) -> Result<Value> {
        Ok(json!({
            "client": self.entry.client.word(),
            "name": self.entry.name,
            "scope": if self.project.is_some() { "project" } else { "user" },
            "file": self.file.display().to_string(),
            "syntax": match self.entry.client.syntax() { Syntax::Json => "json", Syntax::Toml => "toml" },
            "text": self.entry.text()?,
            "server": self.entry.fields(),
            "add_command": self.entry.add_command(self.project.is_some()),
            "outcome": done.map(|done| match done.outcome {
                Outcome::Added => "added",
                Outcome::Replaced => "replaced",
                Outcome::Unchanged => "unchanged",
            }),
            "backup": done.and_then(|done| done.backup.as_ref()).map(|path| path.display().to_string()),
        }))
    }

    /// Merges the entry into the file.
    fn write(&self) -> Result<Done> {
        let by_hand = || match self.entry.add_command(self.project.is_some()) {
            Some(command) => format!(
                "Run `{command}`, or add the entry by hand: `{}`.",
                self.own_command().replace(" --write", "")
            ),
            None => format!(
                "Add the entry by hand: `{}` prints it.",
                self.own_command().replace(" --write", "")
            ),
        };
        let place = |error: Error| {
            Error::new(
                error.code(),
                format!("{} {}", self.file.display(), error.message()),
            )
            .hint(by_hand())
            .source_error(error)
        };
        let failed = |what: &str, error: io::Error| {
            Error::new(
                Code::ConfigurationInvalid,
                format!("{what} {}: {error}", self.file.display()),
            )
            .hint(by_hand())
            .source_error(error)
        };
        let before = read(&self.file).map_err(|error| failed("cannot read", error))?;
        let (text, outcome) =
            merge::merge(before.as_deref().unwrap_or_default(), &self.entry).map_err(place)?;
        if outcome == Outcome::Unchanged {
            return Ok(Done {
                outcome,
                backup: None,
            });
        }
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| failed("cannot make the folder of", error))?;
        }
        let backup = match before {
            Some(_) => {
                Some(back_up(&self.file).map_err(|error| failed("cannot keep a copy of", error))?)
            }
            None => None,
        };
        // A client that runs writes its file whenever it likes.
        if read(&self.file).map_err(|error| failed("cannot read", error))? != before {
            return Err(Error::new(
                Code::ConfigurationInvalid,
                format!("{} changed while it was being merged", self.file.display()),
            )
            .hint(format!(
                "Close {}, then run `{}` again.",
                self.entry.client.label(),
                self.own_command()
            )));
        }
        replace_file(&self.file, text.as_bytes()).map_err(|error| failed("cannot write", error))?;
        Ok(Done { outcome, backup })
    }
}

fn read(file: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A copy beside the file, with its rights, under a name that nothing has.
fn back_up(file: &Path) -> io::Result<PathBuf> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".sparklease-backup");
    let mut copy = file.with_file_name(&name);
    let mut number = 1_u32;
    while copy.symlink_metadata().is_ok() {
        number = number.saturating_add(1);
        let mut numbered = name.clone();
        numbered.push(format!("-{number}"));
        copy = file.with_file_name(numbered);
    }
    std::fs::copy(file, &copy)?;
    Ok(copy)
}

#[cfg(test)]
mod tests;
