//! Makes one engine: environment, build back end, packages, check. Under the folder's lock, which its caller holds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::Instant;

use super::errors::{self, About};
use super::folder::{self, Folder, Record};
use super::interpreter::{self, Interpreter};
use super::progress::Meter;
use super::run::{self, Ended, Environment};
use super::words::{self, Cause};
use super::{Engine, SAID, lockfile};
use crate::model::{Progress, Result};

/// Imports everything once: a missing system library shows here and not in the first session. Bytecode is written on the way.
const CHECK: &str =
    "import pysail.spark, pyspark.sql.connect.session, pandas, pyarrow, numpy, matplotlib";

/// Everything that one installation is made from.
pub(super) struct Build<'a> {
    pub(super) folder: &'a Folder,
    pub(super) environment: Environment,
    pub(super) wheels: Option<&'a Path>,
    pub(super) only: Option<&'a Path>,
    /// Also where an engine is there already.
    pub(super) anew: bool,
    pub(super) deadline: Instant,
    /// What the deadline was counted as, for its error.
    pub(super) within: Duration,
    pub(super) report: &'a (dyn Fn(Progress) + Send + Sync),
}

/// Who installs, and on what.
enum Way {
    Uv(PathBuf, Option<Interpreter>),
    Pip(Interpreter),
}

impl Way {
    fn installer(&self) -> &'static str {
        match self {
            Self::Uv(..) => "uv",
            Self::Pip(_) => "pip",
        }
    }
}

/// A failure, and whether pip may do what uv could not.
struct Failure {
    error: crate::model::Error,
    may_be_the_installers: bool,
}

impl From<crate::model::Error> for Failure {
    fn from(error: crate::model::Error) -> Self {
        Self {
            error,
            may_be_the_installers: false,
        }
    }
}

impl Build<'_> {
    /// Installs by uv where it is found, else by pip; and by pip too where uv fails for what may lie in uv itself: it knows
    /// neither pip's configuration of index and certificates, nor did old versions know every option.
    pub(super) async fn run(&self) -> Result<Engine> {
        let mut meter = Meter::new(self.report, lockfile::pins(lockfile::LOCK).len());
        if let Some(uv) = interpreter::find_uv(&self.environment).await {
            let python = match interpreter::find(&self.environment, self.only, false).await {
                Ok(python) => Some(python),
                Err(none) if self.only.is_some() => {
                    return Err(errors::no_python(&none, self.only));
                }
                Err(_) => interpreter::find_by_uv(&self.environment, &uv).await,
            };
            match self.attempt(&Way::Uv(uv, python), &mut meter).await {
                Ok(engine) => return Ok(engine),
                Err(failure) if !failure.may_be_the_installers => return Err(failure.error),
                Err(failure) => {
                    let Ok(python) = interpreter::find(&self.environment, self.only, true).await
                    else {
                        return Err(failure.error);
                    };
                    tracing::warn!(error = %failure.error, "uv could not install the engine, trying pip");
                    return self
                        .attempt(&Way::Pip(python), &mut meter)
                        .await
                        .map_err(|failure| failure.error);
                }
            }
        }
        let python = interpreter::find(&self.environment, self.only, true)
            .await
            .map_err(|none| errors::no_python(&none, self.only))?;
        self.attempt(&Way::Pip(python), &mut meter)
            .await
            .map_err(|failure| failure.error)
    }

    async fn attempt(&self, way: &Way, meter: &mut Meter<'_>) -> Result<Engine, Failure> {
        if let (Some(asked), Way::Uv(_, Some(found)) | Way::Pip(found)) = (self.only, way)
            && !self.anew
            && let Some(engine) = self.folder.adopt(found, asked)
        {
            return Ok(engine);
        }
        let root = self
            .folder
            .begin()
            .map_err(|error| errors::of_folder(error, &self.folder.path))?;
        let made = self.make(way, &root, meter).await;
        if made.is_err() {
            // Room first: a full disk is the likeliest reason to be here with half a gigabyte.
            let folder = self.folder.clone();
            let _ = tokio::task::spawn_blocking(move || folder.clean()).await;
        }
        made
    }

    async fn make(&self, way: &Way, root: &Path, meter: &mut Meter<'_>) -> Result<Engine, Failure> {
        let pins = lockfile::pins(lockfile::LOCK);
        meter.begin(folder::temporary(root));
        let python = folder::python(root);

        meter.making_environment(match way {
            Way::Uv(_, Some(found)) | Way::Pip(found) => &found.version,
            Way::Uv(_, None) => interpreter::TO_FETCH,
        });
        self.step(way, "", self.environment_command(way, root), meter)
            .await?;
        // Also tells which Python uv fetched.
        let base = match way {
            Way::Uv(_, Some(found)) | Way::Pip(found) => found.clone(),
            Way::Uv(_, None) => interpreter::find(&self.environment, Some(&python), false)
                .await
                .map_err(|none| errors::no_python(&none, Some(&python)))?,
        };
        let site_packages = folder::site_packages(root, &base.version);

        let back_end = folder::temporary(root).join("build.lock");
        let io = |error| errors::of_folder(error, &self.folder.path);
        std::fs::write(
            &back_end,
            lockfile::entry(lockfile::LOCK, lockfile::BUILD_BACKEND),
        )
        .map_err(io)?;
        let all = self.folder.write_lock_copy().map_err(io)?;
        let command = self.install_command(way, root, &back_end);
        self.step(way, &base.version, command, meter).await?;
        meter.installs_into(site_packages.clone());
        let command = self.install_command(way, root, &all);
        self.step(way, &base.version, command, meter).await?;

        meter.checking();
        let versions = folder::installed(&site_packages).map_err(io)?;
        as_pinned(&pins, &versions).map_err(|what| errors::not_as_pinned(&what))?;
        self.check(root, &base.version, meter).await?;

        let (engines, root) = (self.folder.clone(), root.to_owned());
        let asked = self.only.map(Path::to_owned).into_iter().collect();
        let finished = tokio::task::spawn_blocking(move || {
            let record = Record {
                asked,
                lock: engines.lock.clone(),
                platform: engines.platform.clone(),
                base: base.path.clone(),
                python_version: base.version.clone(),
                versions,
                bytes: folder::size(&root)?,
            };
            let place = engines.place(&base.path, &base.version);
            engines.finish(&root, place, &record)
        });
        let engine = finished
            .await
            .map_err(|_| crate::model::Error::internal("finishing the engine broke off"))?
            .map_err(io)?;
        meter.done();
        Ok(engine)
    }

    fn command(&self, program: &Path, root: &Path) -> Command {
        let mut command = match self.wheels {
            Some(_) => self.environment.without_links().command(program),
            None => self.environment.command(program),
        };
        // Not the folder that the assistant works in: its pyproject.toml or uv.toml is none of ours.
        command
            .current_dir(root)
            .env("TMPDIR", folder::temporary(root));
        command
    }

    fn environment_command(&self, way: &Way, root: &Path) -> Command {
        match way {
            Way::Uv(uv, found) => {
                let mut command = self.command(uv, root);
                command.args([
                    "venv",
                    "--allow-existing",
                    "--no-project",
                    "--color",
                    "never",
                ]);
                command.arg("--python");
                match found {
                    Some(found) => command.arg(&found.path),
                    None => command.arg(interpreter::TO_FETCH),
                };
                command.arg(root);
                command
            }
            Way::Pip(found) => {
                let mut command = self.command(&found.path, root);
                command.args(["-I", "-m", "venv"]).arg(root);
                command
            }
        }
    }

    fn install_command(&self, way: &Way, root: &Path, requirements: &Path) -> Command {
        let python = folder::python(root);
        let mut command = match way {
            Way::Uv(uv, _) => {
                let mut command = self.command(uv, root);
                command.args(["pip", "install", "--color", "never", "--python"]);
                command.arg(python);
                if self.wheels.is_some() {
                    command.arg("--offline");
                }
                command
            }
            Way::Pip(_) => {
                let mut command = self.command(&python, root);
                command.args(["-I", "-m", "pip", "install", "--no-input", "--no-color"]);
                command.args(["--progress-bar", "off", "--disable-pip-version-check"]);
                // Without it pip before 23.1 would run setup.py itself, and want `wheel` as well.
                command.args(["--no-user", "--no-warn-script-location", "--use-pep517"]);
                command
            }
        };
        command.args(["--require-hashes", "--no-deps", "--no-build-isolation"]);
        command.args([
            "--only-binary",
            ":all:",
            "--no-binary",
            lockfile::FROM_SOURCE,
        ]);
        if let Some(wheels) = self.wheels {
            command.arg("--no-index").arg("--find-links").arg(wheels);
        }
        command.arg("-r").arg(requirements);
        command
    }

    async fn step(
        &self,
        way: &Way,
        version: &str,
        command: Command,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        let (cause, said) = match run::run(command, self.deadline, meter).await {
            Ended::Well => return Ok(()),
            Ended::TooLate => return Err(errors::too_late(meter.phase(), self.within).into()),
            Ended::Badly(output) => (words::read(&output), output),
            Ended::NotStarted(words) => (Cause::Other(words.clone()), words),
        };
        let may_be_the_installers = cause.may_be_the_installers(self.wheels.is_some());
        let about = About {
            installer: way.installer(),
            folder: &self.folder.path,
            wheels: self.wheels,
            platform: &self.folder.platform,
            python: version,
        };
        Err(Failure {
            error: errors::failed(cause, about).with(SAID, said),
            may_be_the_installers,
        })
    }

    async fn check(&self, root: &Path, version: &str, meter: &mut Meter<'_>) -> Result<()> {
        let mut command = self.command(&folder::python(root), root);
        command
            .args(["-I", "-c", CHECK])
            // pyspark-client looks for it when it is not started from a file; any value does.
            .env("SPARK_HOME", root)
            .env("MPLBACKEND", "Agg")
            .env("MPLCONFIGDIR", folder::temporary(root));
        match run::run(command, self.deadline, &mut ()).await {
            Ended::Well => Ok(()),
            Ended::TooLate => Err(errors::too_late(meter.phase(), self.within)),
            Ended::Badly(words) | Ended::NotStarted(words) => {
                Err(errors::does_not_load(&words, version).with(SAID, words))
            }
        }
    }
}

/// Hashes were checked by the installer; this finds a user's option that led it elsewhere.
fn as_pinned(
    pins: &std::collections::BTreeMap<String, std::collections::BTreeSet<String>>,
    installed: &std::collections::BTreeMap<String, String>,
) -> std::result::Result<(), String> {
    for root in lockfile::ROOTS {
        if !installed.contains_key(root) {
            return Err(format!("{root} is missing"));
        }
    }
    for (package, version) in installed {
        if pins.get(package).is_some_and(|set| !set.contains(version)) {
            return Err(format!("{package} is {version}"));
        }
    }
    Ok(())
}
