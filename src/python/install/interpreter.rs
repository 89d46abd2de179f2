//! Finds `uv` and the best Python, by running each candidate. Installs nothing.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::run::{self, Environment};

/// The minor versions of Python 3 that the lock was resolved for.
pub(super) const MINORS: std::ops::RangeInclusive<u32> = 10..=14;

/// What `uv` is asked to fetch where no fitting Python is found: every package of the lock has had wheels for it for long.
pub(super) const TO_FETCH: &str = "3.13";

/// A healthy interpreter says its version in 0.1 s, through a slow shim on a cold network disk in a few seconds.
const PROBE_FOR: Duration = Duration::from_secs(15);

/// Valid in Python 3.4 and later, so that an old one can say how old it is. `ensurepip` is what Debian's plain `python3` lacks.
const PROBE: &str = r#"
import json, os, struct, sys, sysconfig
try:
    import ensurepip, venv
    has_venv = True
except ImportError:
    has_venv = False
print(json.dumps({
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "version": list(sys.version_info[:3]),
    "implementation": sys.implementation.name,
    "bits": struct.calcsize("P") * 8,
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "musl": "musl" in (sysconfig.get_config_var("SOABI") or ""),
    "has_venv": has_venv,
}))
"#;

#[derive(Debug, Deserialize)]
struct Answer {
    executable: PathBuf,
    version: (u32, u32, u32),
    implementation: String,
    bits: u32,
    free_threaded: bool,
    musl: bool,
    has_venv: bool,
}

/// A Python that can carry the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interpreter {
    /// The real file, past shims, links and virtual environments: a link that later moves to another minor version would break the engine.
    pub(super) path: PathBuf,
    /// `3.11.7`.
    pub(super) version: String,
}

/// Why a candidate does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Did not answer as Python does.
    DoesNotRun,
    /// Older than the oldest of [`MINORS`].
    TooOld(String),
    /// Newer than the newest of [`MINORS`].
    TooNew(String),
    /// PyPy and others: the engine is built for CPython.
    NotCPython(String),
    /// No package has 32-bit builds.
    Bits(u32),
    /// The engine's stable-ABI build does not load there.
    FreeThreaded(String),
    /// The engine has no musl build.
    Musl(String),
    /// Cannot make a virtual environment; the version for the name of Debian's package.
    NoVenv(String),
}

/// Candidates that do not do, in the order tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NoneFits(pub(super) Vec<(PathBuf, Unfit)>);

/// `uv` on the PATH, if it runs.
pub(super) async fn find_uv(environment: &Environment) -> Option<PathBuf> {
    for path in on_path(environment, "uv") {
        let answer = run::ask(environment, &path, ["--version"], PROBE_FOR).await;
        if answer.is_some_and(|text| text.starts_with("uv ")) {
            return Some(path);
        }
    }
    None
}

/// A Python that `uv` knows of off the PATH. Downloads nothing.
pub(super) async fn find_by_uv(environment: &Environment, uv: &Path) -> Option<Interpreter> {
    let range = format!(">=3.{},<3.{}", MINORS.start(), MINORS.end() + 1);
    let arguments = ["python", "find", "--no-python-downloads", range.as_str()];
    let path = run::ask(environment, uv, arguments, PROBE_FOR).await?;
    probe(environment, Path::new(path.trim()), false).await.ok()
}

/// The best Python: `only` where it is given, else the first that does of `python3.14` … `python3.10`, `python3`, `python`.
///
/// `needs_venv`: must be able to make a virtual environment with pip by itself.
///
/// # Cancel safety
/// Safe: a probe that runs is killed.
pub(super) async fn find(
    environment: &Environment,
    only: Option<&Path>,
    needs_venv: bool,
) -> Result<Interpreter, NoneFits> {
    let candidates = match only {
        Some(path) => vec![path.to_owned()],
        None => candidates(environment),
    };
    let mut unfit = Vec::new();
    for path in candidates {
        match probe(environment, &path, needs_venv).await {
            Ok(interpreter) => return Ok(interpreter),
            Err(why) => unfit.push((path, why)),
        }
    }
    Err(NoneFits(unfit))
}

fn candidates(environment: &Environment) -> Vec<PathBuf> {
    let names = MINORS
        .rev()
        .map(|minor| format!("python3.{minor}"))
        .chain(["python3".to_owned(), "python".to_owned()]);
    names.flat_map(|name| on_path(environment, &name)).collect()
}

fn on_path(environment: &Environment, name: &str) -> Vec<PathBuf> {
    let path: OsString = environment.get("PATH").unwrap_or_default().to_owned();
    // Only absolute entries: a program is never taken from the folder that an assistant happens to work in.
    let absolute = std::env::join_paths(std::env::split_paths(&path).filter(|p| p.is_absolute()));
    which::which_in_all(name, absolute.ok(), OsStr::new("/"))
        .map(|found| found.collect())
        .unwrap_or_default()
}

async fn probe(
    environment: &Environment,
    path: &Path,
    needs_venv: bool,
) -> Result<Interpreter, Unfit> {
    let text = run::ask(environment, path, ["-I", "-c", PROBE], PROBE_FOR)
        .await
        .ok_or(Unfit::DoesNotRun)?;
    let answer: Answer = text
        .lines()
        .next_back()
        .and_then(|line| serde_json::from_str(line).ok())
        .ok_or(Unfit::DoesNotRun)?;
    judge(answer, needs_venv)
}

fn judge(answer: Answer, needs_venv: bool) -> Result<Interpreter, Unfit> {
    let (major, minor, patch) = answer.version;
    let version = format!("{major}.{minor}.{patch}");
    if answer.implementation != "cpython" {
        return Err(Unfit::NotCPython(answer.implementation));
    }
    if (major, minor) < (3, *MINORS.start()) {
        return Err(Unfit::TooOld(version));
    }
    if (major, minor) > (3, *MINORS.end()) {
        return Err(Unfit::TooNew(version));
    }
    if answer.bits != 64 {
        return Err(Unfit::Bits(answer.bits));
    }
    if answer.free_threaded {
        return Err(Unfit::FreeThreaded(version));
    }
    if answer.musl {
        return Err(Unfit::Musl(version));
    }
    if needs_venv && !answer.has_venv {
        return Err(Unfit::NoVenv(version));
    }
    Ok(Interpreter {
        path: answer.executable,
        version,
    })
}
