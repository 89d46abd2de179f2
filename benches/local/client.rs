//! Both sides of each comparison as processes: our server, driven over MCP on its stdin and stdout by lines of JSON,
//! and the reference. Dropping one ends its process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Result, processes};

/// A server closes its sessions within a second after its input.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Where a bench's processes keep their files.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    /// The engine; stays between runs.
    pub cache: PathBuf,
    /// Goes with the run.
    pub run: PathBuf,
}

/// A child with a line-based dialogue.
pub(crate) struct Dialogue {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Dialogue {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or("no stdout")?;
        Ok(Self {
            child,
            input,
            output: BufReader::new(output).lines(),
        })
    }

    pub(crate) fn say(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().ok_or("no stdin")?;
        input.write_all(format!("{line}\n").as_bytes())?;
        Ok(input.flush()?)
    }

    pub(crate) fn hear(&mut self) -> Result<String> {
        Ok(self.output.next().ok_or("the process ended its output")??)
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        self.input = None;
        let deadline = Instant::now() + END_WITHIN;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `sparklease mcp`.
pub(crate) struct Server {
    dialogue: Dialogue,
    next: u64,
}

impl Server {
    /// Starts the process; it is greeted by [`Server::hello`].
    pub(crate) fn start(folders: &Folders) -> Result<Self> {
        Self::start_with(folders, "")
    }

    /// The same with this configuration: the user's own file would change what is measured.
    pub(crate) fn start_with(folders: &Folders, text: &str) -> Result<Self> {
        let config = folders.run.join("config.toml");
        std::fs::write(&config, text)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_sparklease"));
        command
            .arg("mcp")
            .env("SPARKLEASE_CONFIG", config)
            .env("SPARKLEASE_CACHE_DIR", &folders.cache)
            .env("SPARKLEASE_DATA_DIR", folders.run.join("data"))
            .current_dir(&folders.run)
            .stderr(File::create(folders.run.join("server.log"))?);
        Ok(Self {
            dialogue: Dialogue::start(command)?,
            next: 0,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.dialogue.child.id()
    }

    /// Says hello as a client does.
    pub(crate) fn hello(&mut self) -> Result<()> {
        self.request(
            "initialize",
            json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "bench", "version": "0"},
            }),
        )?;
        let hello = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.dialogue.say(&hello.to_string())
    }

    /// A request and its result.
    pub(crate) fn request(&mut self, method: &str, params: Value) -> Result<Value> {
        self.next += 1;
        let id = self.next;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.dialogue.say(&request.to_string())?;
        loop {
            let mut answer: Value = serde_json::from_str(&self.dialogue.hear()?)?;
            if answer.get("id").and_then(Value::as_u64) == Some(id) {
                return match answer.get_mut("result") {
                    Some(result) => Ok(result.take()),
                    None => Err(answer.to_string().into()),
                };
            }
        }
    }

    /// A tool's text.
    ///
    /// # Errors
    /// When the tool failed.
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Result<String> {
        let result = self.request("tools/call", json!({"name": tool, "arguments": arguments}))?;
        let text = result.pointer("/content/0/text").and_then(Value::as_str);
        let failed = result.get("isError").and_then(Value::as_bool);
        match (text, failed) {
            (Some(text), None | Some(false)) => Ok(text.to_owned()),
            _ => Err(result.to_string().into()),
        }
    }

    /// Selects a literal that nobody has selected before, and finds it in the answer. From the call to its answer.
    pub(crate) fn select(&mut self, literal: u64) -> Result<Duration> {
        let begun = Instant::now();
        let text = self.call("query_sql", json!({"sql": format!("select {literal}")}))?;
        let took = begun.elapsed();
        let literal = literal.to_string();
        if text.lines().any(|line| line == literal) {
            Ok(took)
        } else {
            Err(format!("{literal} is not in the answer: {text}").into())
        }
    }
}

/// How the reference is started: as our worker is, with the same interpreter and environment.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) python: String,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) folder: PathBuf,
}

impl Recipe {
    /// Reads it from a worker that runs.
    pub(crate) fn of_worker(worker: u32, folder: &Path) -> Result<Self> {
        let python = processes::words(worker, "cmdline")?.into_iter().next();
        let mut environment: BTreeMap<String, String> = processes::words(worker, "environ")?
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        // The worker's own folder goes with its session.
        for name in ["TMPDIR", "SPARK_HOME"] {
            environment.insert(name.to_owned(), folder.display().to_string());
        }
        Ok(Self {
            python: python.ok_or("a worker without a command line")?,
            environment,
            folder: folder.to_owned(),
        })
    }
}

/// pysail and pyspark-client alone.
pub(crate) struct Reference(Dialogue);

/// What the reference says to a query.
pub(crate) struct Said {
    pub rows: u64,
    /// Of `collect()`, measured inside.
    pub took: Duration,
}

impl Reference {
    /// Starts it with its first query, whose answer [`Reference::hear`] waits for.
    pub(crate) fn start(recipe: &Recipe, first: &str) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/local/reference.py");
        let mut command = Command::new(&recipe.python);
        command
            .arg(script)
            .arg(first)
            .env_clear()
            .envs(&recipe.environment)
            .current_dir(&recipe.folder)
            .stderr(File::create(recipe.folder.join("reference.log"))?);
        Ok(Self(Dialogue::start(command)?))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.child.id()
    }

    /// The next answer, which must begin with this cell.
    pub(crate) fn hear(&mut self, cell: u64) -> Result<Said> {
        let line = self.0.hear()?;
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [rows, first, seconds] if *first == cell.to_string() => Ok(Said {
                rows: rows.parse()?,
                took: Duration::from_secs_f64(seconds.parse()?),
            }),
            _ => Err(format!("the reference said {line:?} where {cell} was asked for").into()),
        }
    }

    /// Runs one query.
    pub(crate) fn query(&mut self, text: &str, cell: u64) -> Result<Said> {
        self.0.say(text)?;
        self.hear(cell)
    }
}
