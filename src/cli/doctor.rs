//! `sparklease doctor`: what is wrong, and what to do about it.

mod remote;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::shot::Shot;
use super::{Context, words};
use crate::app::installer;
use crate::config::{Access, Loaded, Platform};
use crate::model::{Code, Error, Result, TargetName};
use crate::platform::Params;
use crate::platform::local::Metastore;
use crate::python::install::{Installer, Status};
use crate::service::{Place, SqlCall};
use crate::sys::disk::free_bytes;
use crate::sys::processes;

/// Arguments of `doctor`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(
    long_about = "Check the configuration, the engine and each target, and say what to do. It installs nothing and leaves nothing behind. The exit code is 1 if anything is wrong."
)]
pub(crate) struct Args {
    /// Only this target.
    #[arg(long, short, value_name = "NAME")]
    pub target: Option<String>,
}

/// Below this a session's spilled results and a figure may not find room, in bytes.
const LITTLE_ROOM: u64 = 500_000_000;

/// How sure a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    verdict: Verdict,
    what: String,
    found: String,
    /// What to do; empty where nothing is to be done.
    advice: String,
}

impl Check {
    fn new(
        verdict: Verdict,
        what: &str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            verdict,
            what: what.to_owned(),
            found: found.into(),
            advice: advice.into(),
        }
    }

    fn ok(what: &str, found: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, what, found, "")
    }

    fn of_error(what: &str, error: &Error) -> Self {
        Self::new(Verdict::Fail, what, error.message(), error.hint_text())
    }
}

/// Checks.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode> {
    let mut checks = Vec::new();
    match context.load() {
        Err(error) => checks.push(Check::of_error("configuration", &error)),
        Ok(loaded) => {
            let names = chosen(args.target.as_deref(), &loaded)?;
            let file = loaded.paths.config.display();
            checks.push(Check::ok(
                "configuration",
                match loaded.paths.config.exists() {
                    true => file.to_string(),
                    false => format!("{file} is not there, so the defaults hold"),
                },
            ));
            checks.push(folder(
                "data folder",
                &loaded.paths.data,
                LITTLE_ROOM,
                "SPARKLEASE_DATA_DIR",
            ));
            checks.push(catalogue(&loaded.paths.data).await);
            let installer = installer(&loaded);
            let installed = matches!(installer.status(), Status::Installed { .. });
            let room = if installed {
                LITTLE_ROOM
            } else {
                installer.room()
            };
            checks.push(folder(
                "cache folder",
                &loaded.paths.cache,
                room,
                "SPARKLEASE_CACHE_DIR",
            ));
            engine(&installer, &mut checks).await;
            for name in &names {
                target(name, &loaded, installed, context, &mut checks).await;
            }
            let outlive = |name: &TargetName| {
                let target = loaded.settings.targets.get(name);
                target.is_some_and(|target| target.platform != Platform::Local)
            };
            if names.iter().any(outlive) {
                remote::accounts(&loaded, context, &mut checks).await;
            }
        }
    }
    checks.push(left_behind());
    let failed = checks.iter().any(|check| check.verdict == Verdict::Fail);
    print(&checks, failed, context)?;
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print(checks: &[Check], failed: bool, context: &Context) -> Result<()> {
    if context.output.is_json() {
        return context
            .output
            .json(&json!({ "ok": !failed, "checks": checks }));
    }
    for check in checks {
        let word = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        let mut line = format!("{word:4}  {}: {}", check.what, check.found);
        if !check.advice.is_empty() {
            line += &format!(" -> {}", check.advice);
        }
        context.output.text(&line)?;
    }
    Ok(())
}

fn chosen(asked: Option<&str>, loaded: &Loaded) -> Result<Vec<TargetName>> {
    let all: Vec<TargetName> = loaded.settings.targets.keys().cloned().collect();
    let Some(asked) = asked else { return Ok(all) };
    match all.iter().find(|name| name.as_str() == asked) {
        Some(name) => Ok(vec![name.clone()]),
        None => {
            let names: Vec<&str> = all.iter().map(TargetName::as_str).collect();
            Err(
                Error::new(Code::NotFound, format!("there is no target {asked:?}"))
                    .hint(format!("The targets are: {}.", names.join(", "))),
            )
        }
    }
}

/// Whether we may write there, or make it, and the room on its disk. Writes and makes nothing that stays.
fn folder(what: &str, path: &Path, needed: u64, variable: &str) -> Check {
    let shown = path.display();
    let advice = format!("make it writable, or set {variable} to another folder");
    // Where it is not there yet, the nearest parent must let it be made.
    let Some(there) = path.ancestors().find(|folder| folder.exists()) else {
        return Check::new(
            Verdict::Fail,
            what,
            format!("{shown} cannot be made"),
            advice,
        );
    };
    if let Err(error) = tempfile::tempfile_in(there) {
        return Check::new(
            Verdict::Fail,
            what,
            format!("{shown} cannot be written: {error}"),
            advice,
        );
    }
    let is_there = if there == path {
        ""
    } else {
        ", made at the first use"
    };
    match free_bytes(there) {
        Ok(free) if free < needed => Check::new(
            Verdict::Warn,
            what,
            format!(
                "{shown}: {} free, {} needed",
                words::size(free),
                words::size(needed)
            ),
            format!("free some room, or set {variable} to a folder on a larger disk"),
        ),
        Ok(free) => Check::ok(
            what,
            format!("{shown}, {} free{is_there}", words::size(free)),
        ),
        Err(error) => Check::new(
            Verdict::Warn,
            what,
            format!("{shown}: its free room is not known: {error}"),
            "",
        ),
    }
}

/// Whether the catalogue of tables can be opened and written. Makes none.
async fn catalogue(data: &Path) -> Check {
    match Metastore::look(data).await {
        Ok(Some((databases, tables))) => Check::ok(
            "catalogue",
            format!("{tables} tables in {databases} databases"),
        ),
        Ok(None) => Check::ok("catalogue", "made at the first use"),
        Err(error) => Check::of_error("catalogue", &error),
    }
}

async fn engine(installer: &Installer, checks: &mut Vec<Check>) {
    if let Status::Installed { engine, bytes, .. } = installer.status() {
        checks.push(Check::ok(
            "engine",
            format!(
                "Sail {} on Python {}, {} in {}",
                engine.engine_version,
                engine.python_version,
                words::size(bytes),
                engine.root.display()
            ),
        ));
        return;
    }
    let means = installer.means().await;
    let by = match &means.uv {
        Some(uv) => format!("uv ({})", uv.display()),
        None => "pip".to_owned(),
    };
    checks.push(match (means.python, means.uv) {
        (Ok((python, version)), _) => Check::new(
            Verdict::Warn,
            "engine",
            format!(
                "not installed; the first use installs it by {by} on Python {version} ({})",
                python.display()
            ),
            "`sparklease engine install` does it now",
        ),
        (Err(_), Some(_)) if installer.python.is_none() => Check::new(
            Verdict::Warn,
            "engine",
            format!(
                "not installed, and no fitting Python is there; the first use installs both by {by}"
            ),
            "`sparklease engine install` does it now",
        ),
        (Err(error), _) => Check::of_error("engine", &error),
    });
}

async fn target(
    name: &TargetName,
    loaded: &Loaded,
    installed: bool,
    context: &Context,
    checks: &mut Vec<Check>,
) {
    let what = format!("target {name}");
    let Some(settings) = loaded.settings.targets.get(name) else {
        return;
    };
    match settings.platform {
        Platform::Local => {
            if installed {
                checks.push(answers(&what, name, loaded, context).await);
            } else {
                checks.push(Check::new(
                    Verdict::Warn,
                    &what,
                    "not tried: the engine is not installed",
                    "`sparklease engine install`, then `sparklease doctor` again",
                ));
            }
            checks.push(match loaded.settings.access(name) {
                Access::ReadWrite => Check::new(
                    Verdict::Warn,
                    &what,
                    "run_pyspark runs with your own rights on this machine",
                    "let assistants ask before they call it, or set `server.access` to \"read-only\"",
                ),
                Access::ReadOnly => Check::ok(&what, "read-only: no code of others runs here, only SQL that reads"),
            });
            checks.push(Check::ok(
                &what,
                format!(
                    "at most {} sessions with {} memory each; they cost nothing",
                    settings.limits.sessions, loaded.settings.engine.memory
                ),
            ));
        }
        Platform::Livy => remote::server(&what, name, settings, loaded, context, checks).await,
    }
}

/// Starts a worker as a statement would, asks it something, and ends it.
async fn answers(what: &str, name: &TargetName, loaded: &Loaded, context: &Context) -> Check {
    let mut loaded = loaded.clone();
    loaded.settings.engine.spare = false;
    let start = Instant::now();
    let tried = async {
        let shot = Shot::start(context, &loaded, 1)?;
        let ended = async {
            let call = SqlCall {
                sql: "select 1".to_owned(),
                params: Params::None,
                files: BTreeMap::new(),
                roots: Vec::new(),
                reads_only: true,
            };
            let place = Place {
                target: Some(name.clone()),
                session: None,
                timeout: None,
            };
            let waiting = shot
                .app
                .service()
                .start_sql(&shot.owner, &place, call)
                .await?;
            let view = shot.wait(waiting, None).await?;
            match (view.error, view.page) {
                (Some(error), _) => Err(error),
                (None, Some(page)) if page.batch.rows == [[json!(1)]] => Ok(ExitCode::SUCCESS),
                (None, _) => Err(Error::internal("`select 1` did not answer 1")),
            }
        };
        let ended = ended.await.map(|code| (code, start.elapsed()));
        let took = ended.as_ref().map(|(_, took)| *took).unwrap_or_default();
        shot.end(ended.map(|(code, _)| code)).await.map(|_| took)
    };
    match tried.await {
        Ok(took) => Check::ok(
            what,
            format!(
                "a new session answered `select 1` after {}",
                words::took(took)
            ),
        ),
        Err(error) => Check::of_error(what, &error),
    }
}

/// Workers whose server is gone: there should be none, since the kernel ends them with it.
fn left_behind() -> Check {
    let what = "processes";
    let workers = match processes::workers() {
        Ok(workers) => workers,
        Err(error) => return Check::of_error(what, &error),
    };
    let left: Vec<String> = workers
        .iter()
        .filter(|worker| worker.left_behind)
        .map(|worker| worker.pid.to_string())
        .collect();
    if left.is_empty() {
        return Check::ok(
            what,
            format!(
                "{} sessions open now, none left by a dead process",
                workers.len()
            ),
        );
    }
    let left = left.join(" ");
    Check::new(
        Verdict::Fail,
        what,
        format!("left by dead processes: {left}"),
        format!("end them: `kill -9 {left}`"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_judged_by_its_parent_and_not_made() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let check = folder("data folder", &path, 1, "SPARKLEASE_DATA_DIR");
        assert_eq!(check.verdict, Verdict::Ok);
        assert!(
            check.found.ends_with("free, made at the first use"),
            "{}",
            check.found
        );
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_the_way_fails_and_little_room_warns() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        let check = folder("data folder", &file.join("x"), 1, "SPARKLEASE_DATA_DIR");
        assert_eq!(check.verdict, Verdict::Fail);
        let check = folder(
            "data folder",
            parent.path(),
            u64::MAX,
            "SPARKLEASE_DATA_DIR",
        );
        assert_eq!(check.verdict, Verdict::Warn);
    }
}
