//! The commands, run as a person or a script runs them: arguments and stdin in; stdout, stderr and exit code out.
//! Here: the user, with folders of their own, who looks after each command whether anything of it still runs.

mod run;
mod settings;
mod sql;
mod tables;
mod tour;
mod write;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::common::{PATIENCE, belonging_to, cache, install_engine, kill};

/// Variables that would lead a command to the real user's files.
const ELSEWHERE: [&str; 6] = [
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "CLAUDE_CONFIG_DIR",
    "COPILOT_HOME",
    "CODEX_HOME",
];

/// What both ways of installing and every client of HTTP take for the network, led to a port where nobody listens.
const NO_NETWORK: [(&str, &str); 8] = [
    ("http_proxy", "http://127.0.0.1:9"),
    ("https_proxy", "http://127.0.0.1:9"),
    ("HTTP_PROXY", "http://127.0.0.1:9"),
    ("HTTPS_PROXY", "http://127.0.0.1:9"),
    ("PIP_INDEX_URL", "http://127.0.0.1:9/simple"),
    ("PIP_RETRIES", "0"),
    ("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple"),
    ("UV_OFFLINE", "1"),
];

/// Somebody at a shell.
struct User {
    home: TempDir,
    variables: Vec<(String, String)>,
}

/// What a command gave.
#[derive(Debug, PartialEq)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl User {
    /// One whose engine is installed.
    async fn new() -> Self {
        install_engine().await;
        let home = tempfile::Builder::new()
            .prefix("sparklease-it-")
            .tempdir()
            .unwrap();
        std::fs::create_dir(home.path().join("work")).unwrap();
        let user = Self {
            home,
            variables: Vec::new(),
        };
        user.configure("[engine]\nspare = false\n");
        user
    }

    /// Writes the configuration file.
    fn configure(&self, text: &str) {
        std::fs::write(self.config(), text).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("config.toml")
    }

    /// With a variable from now on.
    fn export(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// With nothing of a network from now on.
    fn leave_the_network(&mut self) {
        for (name, value) in NO_NETWORK {
            self.export(name, value);
        }
    }

    /// A path in the working folder.
    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("work").join(name)
    }

    /// Writes a file there.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// The names in the working folder.
    fn files(&self) -> Vec<String> {
        names(&self.path(""))
    }

    /// Starts a command with all three pipes.
    fn start(&self, arguments: &[&str]) -> Child {
        let home = self.home.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sparklease"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let ours = text.starts_with("SPARKLEASE_") && text != "SPARKLEASE_ENGINE_WHEELS";
            if ours || ELSEWHERE.contains(&text.as_ref()) {
                command.env_remove(&name);
            }
        }
        command
            .args(arguments)
            .current_dir(home.join("work"))
            .env("HOME", home)
            .env("SPARKLEASE_CONFIG", self.config())
            .env("SPARKLEASE_DATA_DIR", home.join("data"))
            .env("SPARKLEASE_CACHE_DIR", cache())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts")
    }

    /// Runs a command whose stdin is empty.
    async fn run(&self, arguments: &[&str]) -> Ran {
        self.feed(arguments, "").await
    }

    /// Runs a command with this on stdin.
    async fn feed(&self, arguments: &[&str], stdin: impl AsRef<[u8]>) -> Ran {
        let mut child = self.start(arguments);
        let mut pipe = child.stdin.take().unwrap();
        // Less than a pipe holds. A command that never reads it may have closed it already.
        let _ = pipe.write_all(stdin.as_ref()).await;
        drop(pipe);
        self.ended(child).await
    }

    /// Waits for a command's end. Nothing that it started runs any more then.
    async fn ended(&self, child: Child) -> Ran {
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output = output.expect("the command ends").unwrap();
        assert_eq!(belonging_to(self.home.path()), [], "left of the command");
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // Only a test that fails has any.
        for (pid, _) in belonging_to(self.home.path()) {
            kill(pid);
        }
    }
}

impl Ran {
    /// What a command printed that went well and had nothing to add.
    fn printed(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self.stdout
    }

    /// The same, as JSON.
    fn json(self) -> Value {
        serde_json::from_str(&self.printed()).unwrap()
    }

    /// What stderr says of a command that failed and printed nothing, with its code.
    fn failed(self, exit: i32, code: &str) -> String {
        assert_eq!(
            (self.code, self.stdout.as_str()),
            (Some(exit), ""),
            "{self:?}"
        );
        let said = format!("error[{code}]: ");
        assert!(self.stderr.starts_with(&said), "{self:?}");
        self.stderr
    }
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A secret that nobody has seen before.
fn secret() -> String {
    let random = || Uuid::new_v4().simple().to_string();
    format!("Zq7{}Kw9{}", random(), random())
}
