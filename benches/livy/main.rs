//! How long an answer of a Livy server takes to reach an assistant, beside pylivy's and sparkmagic's own clients on the
//! same server in the same run, by turns.
//!
//! `cargo bench --bench livy --profile dev`, or `-- 3` for a third of the rounds. The server is the one of `tests/livy`, with
//! real Python; its event log says when a statement ended there. The peers are installed by pip from a lock file, once, under
//! the target folder. Nothing fails on a time; a wrong answer does.

#[path = "../local/client.rs"]
#[allow(dead_code, reason = "shared with the bench of the local target")]
mod client;
#[path = "../local/measure.rs"]
#[allow(dead_code, reason = "shared with the bench of the local target")]
mod measure;
#[path = "../local/processes.rs"]
#[allow(dead_code, reason = "shared with the bench of the local target")]
mod processes;
mod server;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use client::{Dialogue, Folders, Server};
use measure::{Report, Sample};
use server::TestServer;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long statements sleep, and how many rounds each client gets.
const LENGTHS: [(&str, usize); 3] = [("0.2", 30), ("2", 12), ("10", 5)];
const LEASES: usize = 30;
const COLD: usize = 6;
/// From the answer of a session's first statement to the session in the pool.
const SETTLE_FOR: Duration = Duration::from_millis(500);
/// First statements fill caches.
const WARM_UP: usize = 3;
/// The engine is downloaded once.
const INSTALL_S: u64 = 1200;

fn main() -> Result<()> {
    let share = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse::<usize>().ok())
        .unwrap_or(1)
        .max(1);
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let run = tempfile::Builder::new().prefix("bench-").tempdir_in(base)?;
    let folders = Folders {
        cache: base.join("cache"),
        run: run.path().to_owned(),
    };
    note("installing the engine if need be")?;
    let python = engine(&folders)?;
    let packages = peers(&python, base)?;
    let livy = TestServer::start(&python, &folders.run)?;
    let mut ours = Server::start_with(&folders, &config(&livy, "warm = 0"))?;
    ours.hello()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/livy/peers.py");
    let mut command = Command::new(&python);
    command
        .arg(script)
        .arg(&livy.url)
        .env("PYTHONPATH", packages)
        .env("HOME", &folders.run)
        .current_dir(&folders.run)
        .stderr(File::create(folders.run.join("peers.log"))?);
    let mut peers = Dialogue::start(command)?;
    if peers.hear()? != "ready" {
        return Err("the peers have no sessions; see peers.log".into());
    }
    let mut report = Report::default();
    let mut marks = 0;
    for (length, rounds) in LENGTHS {
        note(&format!("statements of {length} s"))?;
        let rounds = rounds.div_ceil(share);
        statements(
            &livy,
            &mut ours,
            &mut peers,
            length,
            rounds,
            &mut marks,
            &mut report,
        )?;
    }
    note("leases")?;
    leases(
        &livy,
        &mut ours,
        &folders,
        LEASES.div_ceil(share),
        &mut report,
    )?;
    drop(ours);
    drop(peers);
    livy.empties()?;
    note("")?;
    std::io::stdout().write_all(report.render().as_bytes())?;
    Ok(())
}

/// The configuration of ours, with one more limit.
fn config(livy: &TestServer, limit: &str) -> String {
    format!(
        "default_target = \"dev\"\n[server]\nwait = \"60s\"\n[targets.dev]\nplatform = \"livy\"\n\
         access = \"read-write\"\nurl = \"{}\"\nlimits = {{ sessions = 8, {limit} }}\n",
        livy.url
    )
}

/// A line on stderr: what takes the time.
fn note(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr(), "{text}")?)
}

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

/// The length of one round: from three quarters of `length` to five, evenly. Clients look by fixed schedules, and one fixed
/// length would hit or miss them by luck.
fn spread(length: &str, round: usize, rounds: usize) -> Result<String> {
    let share = round as f64 / (rounds.max(2) - 1) as f64;
    let seconds = length.parse::<f64>()? * (0.75 + 0.5 * share);
    Ok(format!("{seconds:.3}"))
}

/// From the statement's end on the server to its answer at the client, for each client by turns.
fn statements(
    livy: &TestServer,
    ours: &mut Server,
    peers: &mut Dialogue,
    length: &str,
    rounds: usize,
    marks: &mut u64,
    report: &mut Report,
) -> Result<()> {
    let clients = ["sparklease", "pylivy", "sparkmagic"];
    let mut samples: BTreeMap<&str, Sample> = BTreeMap::new();
    let warm_up = if length == "0.2" { WARM_UP } else { 0 };
    for round in 0..warm_up + rounds {
        for client in clients {
            *marks += 1;
            let mark = format!("mark{marks}");
            let length = spread(length, round.saturating_sub(warm_up), rounds)?;
            let before = livy.events()?;
            let answered = if client == "sparklease" {
                let code = format!("import time; time.sleep({length}); '{mark}'");
                let text = ours.call("run_pyspark", json!({"code": code, "wait_s": 60}))?;
                let at = now()?;
                if !text.contains(&mark) {
                    return Err(format!("{mark} is not in the answer: {text}").into());
                }
                at
            } else {
                peers.say(&format!("{client} {length} {mark}"))?;
                let line = peers.hear()?;
                match line.split_once(' ') {
                    Some((said, at)) if said == mark => at.parse()?,
                    _ => return Err(format!("{client} said {line:?}").into()),
                }
            };
            let ended = livy.last_after(before, "statement_ended")?;
            if round >= warm_up {
                let late = Duration::from_secs_f64((answered - ended).max(0.0));
                samples.entry(client).or_default().add(late);
            }
        }
    }
    let of = |client: &str| samples.get(client).cloned().unwrap_or_default();
    let mine = of("sparklease");
    let what = format!("end of a statement of about {length} s → its answer");
    for peer in ["pylivy", "sparkmagic"] {
        report.pair(&what, &mine, (peer, &of(peer)));
    }
    let seconds: f64 = length.parse()?;
    let (limit, words) = match length {
        "0.2" => (30.0, format!("1. {length} s: p50 from end to answer")),
        _ => (
            seconds * 50.0,
            format!("1. {length} s: p50, 5 % of run time"),
        ),
    };
    report.goal(&words, mine.p50() * 1e3, limit, " ms");
    for peer in ["pylivy", "sparkmagic"] {
        let ratio = mine.p50() / of(peer).p50();
        report.goal(&format!("2. {length} s: ratio to {peer}"), ratio, 0.1, "");
    }
    Ok(())
}

/// From a call to its statement at the server: with a session that is free, and with one that must be made.
fn leases(
    livy: &TestServer,
    ours: &mut Server,
    folders: &Folders,
    rounds: usize,
    report: &mut Report,
) -> Result<()> {
    let (mut free, mut cold) = (Sample::default(), Sample::default());
    for round in 0..WARM_UP + rounds {
        let before = livy.events()?;
        let begun = now()?;
        ours.call("run_pyspark", json!({"code": format!("{round}")}))?;
        let sent = livy.first_after(before, "POST", "/statements")?;
        if round >= WARM_UP {
            free.add(Duration::from_secs_f64((sent - begun).max(0.0)));
        }
    }
    for round in 0..COLD.min(rounds) {
        let name = format!("cold{round}");
        let begun = Instant::now();
        ours.call("open_session", json!({"name": name}))?;
        cold.add(begun.elapsed());
        ours.call("close_session", json!({"session": name}))?;
    }
    let against = ("open_session that creates one", &cold);
    let what = "call → its statement at the server, a free session";
    report.pair(what, &free, against);
    report.goal("3. free session, p50", free.p50() * 1e3, 5.0, " ms");
    // A server that keeps one ready, and its own ledger.
    let run = folders.run.join("warm");
    std::fs::create_dir(&run)?;
    let folders = Folders {
        cache: folders.cache.clone(),
        run,
    };
    let mut before = livy.events()?;
    let mut ours = Server::start_with(&folders, &config(livy, "warm = 1"))?;
    ours.hello()?;
    let mut ready = Sample::default();
    for round in 0..COLD.min(rounds) {
        // Its first statement has installed the harness; then it is free.
        livy.last_after(before, "statement_ended")?;
        std::thread::sleep(SETTLE_FOR);
        before = livy.events()?;
        let name = format!("warm{round}");
        let begun = Instant::now();
        ours.call("open_session", json!({"name": name}))?;
        ready.add(begun.elapsed());
        ours.call("close_session", json!({"session": name}))?;
    }
    report.pair("open_session, one is kept warm", &ready, against);
    report.goal("3. open_session, warm, p50", ready.p50() * 1e3, 5.0, " ms");
    Ok(())
}

/// Installs the engine by a first query; its Python runs the test server too.
fn engine(folders: &Folders) -> Result<PathBuf> {
    let mut server = Server::start(folders)?;
    server.hello()?;
    let begun = Instant::now();
    while server
        .call("query_sql", json!({"sql": "select 1", "wait_s": 60}))
        .is_err()
    {
        if begun.elapsed() > Duration::from_secs(INSTALL_S) {
            return Err("the engine was not installed; see server.log".into());
        }
    }
    let engines = std::fs::read_dir(folders.cache.join("engine"))?;
    engines
        .flatten()
        .map(|entry| entry.path().join("bin/python"))
        .find(|path| path.exists())
        .ok_or_else(|| "the engine has no Python".into())
}

/// The peers for that Python, in a folder of their own.
fn peers(python: &Path, base: &Path) -> Result<PathBuf> {
    let folder = base.join("bench-livy-peers");
    if folder.join("made").exists() {
        return Ok(folder);
    }
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/livy/requirements.txt");
    let installed = Command::new("python3")
        .args(["-m", "pip", "--python"])
        .arg(python)
        .args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
        ])
        .args(["--require-hashes", "--no-deps", "--target"])
        .arg(&folder)
        .arg("-r")
        .arg(lock)
        .status()?;
    if !installed.success() {
        return Err(
            "the peers cannot be installed: this needs pip, and a network the first time".into(),
        );
    }
    File::create(folder.join("made"))?;
    Ok(folder)
}
