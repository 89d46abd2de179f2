//! Each failure of the installation, with the command that helps. Runs nothing; `words.rs` reads what pip and uv said.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::interpreter::{MINORS, NoneFits, Unfit};
use super::words::{Cause, last_words};
use crate::model::{Code, Error, Retry};

/// A broken network is rarely back sooner, and a caller should not wait longer to ask again.
const NETWORK_RETRY: Duration = Duration::from_secs(30);

/// The command that every hint of this module ends with.
const AGAIN: &str = "`sparklease engine install`";

/// What an error says besides its cause.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    /// `uv` or `pip`.
    pub(super) installer: &'static str,
    /// The engine's folder.
    pub(super) folder: &'a Path,
    /// The offline folder, if one is used.
    pub(super) wheels: Option<&'a Path>,
    /// `linux-x86_64`.
    pub(super) platform: &'a str,
    /// `3.11.7`.
    pub(super) python: &'a str,
}

/// The error of a failed installation.
pub(super) fn failed(cause: Cause, about: About<'_>) -> Error {
    let index = format!(
        "Check the network, or the package index and proxy of your {} configuration, then run {AGAIN}; \
         without a network set `engine.wheels` (SPARKLEASE_ENGINE_WHEELS) to a folder of wheels.",
        about.installer
    );
    let later = Retry::After(NETWORK_RETRY);
    match cause {
        Cause::Network => unavailable("cannot reach the package index to install the local engine")
            .hint(index)
            .retry(later),
        Cause::Name => unavailable("cannot resolve the name of the package index")
            .hint(index)
            .retry(later),
        Cause::Proxy => unavailable("the proxy does not let the package index through")
            .hint(format!(
                "Check HTTPS_PROXY and NO_PROXY in the environment, then run {AGAIN}."
            ))
            .retry(later),
        Cause::Tls => unavailable("the certificate of the package index is not trusted").hint(format!(
            "Behind a proxy that opens TLS, name its certificate: `export SSL_CERT_FILE=/path/ca.pem PIP_CERT=/path/ca.pem`, then run {AGAIN}."
        )),
        Cause::Denied => unavailable("the package index refuses access").hint(format!(
            "Renew the sign-in of your {} configuration for that index, then run {AGAIN}.",
            about.installer
        )),
        Cause::DiskFull => unavailable(format!("the disk of {} is full", about.folder.display()))
            .hint(room()),
        Cause::Hash(package) => unavailable(format!(
            "the file of {package} is not the one that was pinned (hash mismatch); nothing of it was used"
        ))
        .hint(match about.wheels {
            Some(folder) => fill(folder, about.folder),
            None => format!(
                "Ask who runs your package index why it serves another file; a damaged download goes away with `pip cache purge` or `uv cache clean`, then run {AGAIN}."
            ),
        }),
        Cause::Damaged(package) => unavailable(format!("the file of {package} is damaged")).hint(
            match about.wheels {
                Some(folder) => fill(folder, about.folder),
                None => format!("Run `pip cache purge` or `uv cache clean`, then {AGAIN}."),
            },
        ),
        Cause::NotOffered(package) => match about.wheels {
            Some(folder) => unavailable(format!(
                "the folder {} lacks a file of {package} for {} and Python {}",
                folder.display(),
                about.platform,
                about.python
            ))
            .hint(fill(folder, about.folder)),
            None => unavailable(format!(
                "the package index offers no file of {package} for {} and Python {}",
                about.platform, about.python
            ))
            .hint(format!(
                "Needed are Linux with glibc 2.28 or macOS, 64 bits; on those check that your index carries the package, then run {AGAIN}."
            )),
        },
        Cause::NotWritable => not_writable(about.folder),
        Cause::Other(words) => unavailable(format!(
            "{} could not install the local engine: {words}",
            about.installer
        ))
        .hint(format!("Run {AGAIN} to see all that it says.")),
    }
}

/// No candidate does; the most helpful reason decides.
pub(super) fn no_python(none: &NoneFits, only: Option<&Path>) -> Error {
    let range = format!("3.{} to 3.{}", MINORS.start(), MINORS.end());
    let get = format!(
        "Install Python {range}, for example `sudo apt install python3 python3-venv` or `brew install python@3.13`, then run {AGAIN}."
    );
    if let Some(path) = only {
        let why = none
            .0
            .first()
            .map_or_else(|| "it does not run".to_owned(), |(_, unfit)| why(unfit));
        return unavailable(format!(
            "the Python of the configuration, {}, does not do: {why}",
            path.display()
        ))
        .hint(format!(
            "Set `engine.python` to a Python {range}, or remove it, then run {AGAIN}."
        ));
    }
    let mut said = String::new();
    for (path, unfit) in &none.0 {
        let _ = write!(said, "; {}: {}", path.display(), why(unfit));
    }
    let no_venv = none.0.iter().find_map(|(_, unfit)| match unfit {
        Unfit::NoVenv(version) => Some(version),
        _ => None,
    });
    if let Some(version) = no_venv {
        let minor = version
            .rsplit_once('.')
            .map_or(version.as_str(), |(m, _)| m);
        return unavailable(format!(
            "Python {version} is there but cannot make a virtual environment: its modules venv and ensurepip are missing"
        ))
        .hint(format!(
            "On Debian and Ubuntu run `sudo apt install python{minor}-venv` (or `python3-venv`), then {AGAIN}."
        ))
        .with("candidates", said);
    }
    if none
        .0
        .iter()
        .any(|(_, unfit)| matches!(unfit, Unfit::Musl(_)))
    {
        return unavailable("the local engine has no build for musl Linux, such as Alpine").hint(
            "Use an image with glibc, for example `python:3.13-slim`, or configure a remote target.",
        );
    }
    if none.0.is_empty() {
        return unavailable(format!(
            "no Python found on the PATH; the local engine needs {range}"
        ))
        .hint(get);
    }
    unavailable(format!(
        "no fitting Python found; the local engine needs {range}{said}"
    ))
    .hint(get)
}

fn why(unfit: &Unfit) -> String {
    match unfit {
        Unfit::DoesNotRun => "does not run".to_owned(),
        Unfit::TooOld(version) => format!("too old ({version})"),
        Unfit::TooNew(version) => format!("too new ({version})"),
        Unfit::NotCPython(name) => format!("not CPython ({name})"),
        Unfit::Bits(bits) => format!("{bits} bits only"),
        Unfit::FreeThreaded(version) => format!("free-threaded build ({version})"),
        Unfit::Musl(version) => format!("built for musl ({version})"),
        Unfit::NoVenv(version) => format!("without venv and ensurepip ({version})"),
    }
}

/// Too little room, known before the download.
pub(super) fn no_room(folder: &Path, free: u64, needed: u64) -> Error {
    unavailable(format!(
        "not enough room for the local engine below {}: {:.1} GB free, {:.1} GB needed",
        folder.display(),
        gigabytes(free),
        gigabytes(needed)
    ))
    .hint(room())
}

#[allow(
    clippy::cast_precision_loss,
    reason = "one decimal of a size for people"
)]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

fn room() -> String {
    format!(
        "Free some room, or set SPARKLEASE_CACHE_DIR to a folder on a larger disk, then run {AGAIN}."
    )
}

/// The engine's folder cannot be made or changed.
pub(super) fn not_writable(folder: &Path) -> Error {
    unavailable(format!("cannot write to {}", folder.display())).hint(format!(
        "Make it writable for your user, or set SPARKLEASE_CACHE_DIR to a folder that is, then run {AGAIN}."
    ))
}

/// What the file system said of the engine's folder.
pub(super) fn of_folder(error: std::io::Error, folder: &Path) -> Error {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded => {
            unavailable(format!("the disk of {} is full", folder.display())).hint(room())
        }
        _ => not_writable(folder),
    }
    .source_error(error)
}

/// Another process installs for longer than we wait.
pub(super) fn busy(folder: &Path, waited: Duration) -> Error {
    unavailable(format!(
        "another process has been installing the local engine in {} for {}",
        folder.display(),
        words(waited)
    ))
    .hint(format!("Let it end, or end it, then run {AGAIN}."))
    .retry(Retry::Now)
}

/// The installation took too long and was stopped.
pub(super) fn too_late(phase: &str, after: Duration) -> Error {
    unavailable(format!(
        "the installation of the local engine was stopped after {} while {phase}",
        words(after)
    ))
    .hint(format!(
        "A slow network: run {AGAIN} again, what was downloaded is kept; or set `engine.wheels` (SPARKLEASE_ENGINE_WHEELS) to a folder of wheels."
    ))
    .retry(Retry::Now)
}

fn words(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

/// The offline folder is not there.
pub(super) fn no_wheels(wheels: &Path, folder: &Path) -> Error {
    unavailable(format!(
        "the folder of wheels {} is not there",
        wheels.display()
    ))
    .hint(fill(wheels, folder))
}

/// All is installed, yet does not load.
pub(super) fn does_not_load(output: &str, python: &str) -> Error {
    unavailable(format!(
        "the local engine was installed but does not load with Python {python}: {}",
        last_words(output)
    ))
    .hint(format!(
        "A system library may be missing or too old (glibc 2.28, libstdc++); name another Python with `engine.python`, then run {AGAIN}."
    ))
}

/// uv or pip ended well, but what lies there is not what the lock says.
pub(super) fn not_as_pinned(what: &str) -> Error {
    unavailable(format!("what was installed is not what was pinned: {what}")).hint(format!(
        "Remove options of your pip or uv configuration that choose versions or folders, then run {AGAIN}."
    ))
}

/// The command that fills an offline folder, on a machine with the same system and Python.
fn fill(wheels: &Path, folder: &Path) -> String {
    format!(
        "Fill it on a machine with a network, the same system and the same Python: `python3 -m pip download --require-hashes --no-deps --only-binary :all: --no-binary pyspark-client -r {} -d {}`, then run {AGAIN}.",
        folder.join(super::folder::LOCK_COPY).display(),
        wheels.display()
    )
}

fn unavailable(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Code::EngineUnavailable, message)
}

#[cfg(test)]
mod tests;
