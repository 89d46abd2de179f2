//! The server's process in folders of its own, and the guard that nothing of it outlives its test.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{PATIENCE, table};

/// After the server is gone its workers are gone within this: the kernel kills them.
const ORPHANS_GONE_WITHIN: Duration = Duration::from_secs(1);

/// How a server is to be started.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    config: String,
    target: String,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    home: Option<PathBuf>,
    before: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: "[engine]\nspare = false\n".to_owned(),
            target: "local".to_owned(),
            variables: Vec::new(),
            arguments: vec!["mcp".to_owned()],
            home: None,
            before: Vec::new(),
        }
    }
}

impl Setup {
    /// One without a spare worker: each worker of the process table is then a session's.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One whose default target is a Livy server.
    pub(crate) fn on_livy(target: &str, url: &str) -> Self {
        let mut setup = Self::new().config(&format!(
            "default_target = \"{target}\"\n[engine]\nspare = false\n[targets.{target}]\nplatform = \"livy\"\n\
             url = \"{url}\"\naccess = \"read-write\"\nconf = {{ \"spark.sql.session.timeZone\" = \"UTC\" }}\n"
        ));
        target.clone_into(&mut setup.target);
        // A real one takes a minute for a session: calls that are to give an answer wait for it.
        setup.variable("SPARKLEASE__SERVER__WAIT", "2m")
    }

    /// The configuration file.
    pub(crate) fn file(&self) -> &str {
        &self.config
    }

    /// With this whole configuration file.
    pub(crate) fn config(mut self, text: &str) -> Self {
        text.clone_into(&mut self.config);
        self
    }

    /// With one more setting of the configuration file.
    pub(crate) fn set(mut self, table: &str, setting: &str) -> Self {
        self.config.push_str(&format!("[{table}]\n{setting}\n"));
        self
    }

    /// With limits of the target.
    pub(crate) fn limits(self, settings: &str) -> Self {
        let table = format!("targets.{}.limits", self.target);
        self.set(&table, settings)
    }

    /// At most so many sessions at a time.
    pub(crate) fn sessions(self, count: usize) -> Self {
        self.limits(&format!("sessions = {count}"))
    }

    /// With a spare worker where there are such, as servers have it.
    pub(crate) fn spare(mut self) -> Self {
        self.config = self.config.replace("spare = false", "spare = true");
        self
    }

    /// With a variable in the server's environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// In this folder, which several servers may share and whose owner looks after what is left there; its
    /// `config.toml` is the configuration. The server leads a process group of its own.
    pub(crate) fn home(mut self, folder: &Path) -> Self {
        self.home = Some(folder.to_owned());
        self
    }

    /// Started by another program, which becomes it: its words come before ours.
    pub(crate) fn by(mut self, before: &[&str]) -> Self {
        self.before = before.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// With further arguments after `mcp`.
    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|&a| a.to_owned()));
        self
    }
}

/// A running server. Dropping it kills what is left and fails the test if that was anything but the server.
pub(crate) struct Process {
    child: Child,
    pid: u32,
    home: PathBuf,
    /// The same folder where it is this server's alone.
    own: Option<TempDir>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Process {
    /// Starts one and hands out its pipes.
    pub(crate) fn start(setup: &Setup) -> (Self, ChildStdin, ChildStdout) {
        let own = setup.home.is_none().then(|| {
            let folder = tempfile::Builder::new().prefix("sparklease-it-").tempdir();
            folder.unwrap()
        });
        let home = own.as_ref().map(|own| own.path().to_owned());
        let home = home.or_else(|| setup.home.clone()).unwrap();
        let work = home.join("work");
        std::fs::create_dir_all(&work).unwrap();
        let config = home.join("config.toml");
        if own.is_some() {
            std::fs::write(&config, &setup.config).unwrap();
        }
        let mut words = setup.before.clone();
        words.push(env!("CARGO_BIN_EXE_sparklease").to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        if own.is_none() {
            command.process_group(0);
        }
        // Whatever the person who runs the tests has configured is none of their business.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SPARKLEASE_")
                && name != "SPARKLEASE_ENGINE_WHEELS"
            {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(&setup.arguments)
            .current_dir(&work)
            .env("SPARKLEASE_CONFIG", &config)
            .env("SPARKLEASE_DATA_DIR", home.join("data"))
            .env("SPARKLEASE_CACHE_DIR", cache())
            .envs(setup.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut pipe = child.stderr.take().unwrap();
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let log = stderr.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
                log.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        let process = Self {
            pid: child.id().expect("it was not waited for yet"),
            child,
            home,
            own,
            stderr,
        };
        (process, stdin, stdout)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The folder that all of this server's folders are in.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Its working folder, where relative paths start.
    pub(crate) fn work(&self) -> PathBuf {
        self.home.join("work")
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    /// Its workers, by pid.
    pub(crate) fn workers(&self) -> Vec<u32> {
        table::workers_of(self.pid)
    }

    /// The one worker that it has.
    pub(crate) fn worker(&self) -> u32 {
        let workers = self.workers();
        assert_eq!(workers.len(), 1, "{workers:?}");
        workers[0]
    }

    /// Every process of this server: itself, its workers, and what they started.
    pub(crate) fn all(&self) -> Vec<(u32, String)> {
        table::belonging_to(&self.home)
    }

    /// The same without guardians: these outlive a server until what it opened elsewhere is gone.
    fn all_but_guardians(&self) -> Vec<(u32, String)> {
        let mut all = self.all();
        all.retain(|(_, command)| !command.contains(" guard --"));
        all
    }

    /// Waits for the end of the server and of everything that it started, and then of its guardian.
    ///
    /// # Panics
    /// When anything but a guardian is left after `limit`, or a guardian after [`PATIENCE`].
    pub(crate) async fn gone_within(&mut self, limit: Duration) -> ExitStatus {
        let begun = Instant::now();
        let status = tokio::time::timeout(limit, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| {
            panic!(
                "the server runs {limit:?} after it should have ended; {:?}; its log:\n{}",
                self.all(),
                self.log()
            )
        });
        if self.own.is_none() {
            return status.unwrap();
        }
        super::wait_until(
            "nothing of the server is left",
            limit.saturating_sub(begun.elapsed()),
            || self.all_but_guardians().is_empty(),
        )
        .await;
        super::wait_until("its guardian has ended", PATIENCE, || self.all().is_empty()).await;
        status.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            table::kill(self.pid);
        }
        if self.own.is_none() {
            if std::thread::panicking() {
                println!("the server's log:\n{}", self.log());
            }
            return;
        }
        let deadline = Instant::now() + ORPHANS_GONE_WITHIN;
        while !self.all_but_guardians().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let deadline = Instant::now() + PATIENCE;
        while !std::thread::panicking() && !self.all().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let left = self.all();
        for (pid, _) in &left {
            table::kill(*pid);
        }
        if std::thread::panicking() {
            println!("the server's log:\n{}", self.log());
        } else {
            assert!(left.is_empty(), "left of the server: {left:?}");
        }
    }
}

/// Where the engine is installed, once for a checkout.
pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}
