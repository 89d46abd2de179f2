//! A table from Parquet: `write_table` beside `deltalake`'s own writer and beside the engine's saveAsTable, by turns.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Dialogue, Recipe, Server};
use crate::measure::Sample;
use crate::{Bench, Result};

const ROUNDS: usize = 12;
/// The first writes fill caches.
const WARM_UP: usize = 2;
const ROWS: &str = "1000000";

impl Bench {
    /// 1,000,000 rows × 6 columns into a new table.
    pub(crate) fn write(&mut self, recipe: &Recipe, base: &Path) -> Result<()> {
        let packages = deltalake(recipe, base)?;
        let file = self.folders.run.join("rows.parquet");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/local/write_reference.py");
        let mut command = Command::new(&recipe.python);
        command
            .arg(script)
            .arg(&file)
            .env_clear()
            .envs(&recipe.environment)
            .env("PYTHONPATH", packages)
            .current_dir(&recipe.folder)
            .stderr(File::create(recipe.folder.join("write-reference.log"))?);
        let mut reference = Dialogue::start(command)?;
        if reference.hear()? != "made" {
            return Err("the rows were not made; see write-reference.log".into());
        }
        let mut server = Server::start(&self.folders)?;
        server.hello()?;
        let literal = self.fresh();
        server.select(literal)?;
        self.settled(&server, 2)?;
        let [mut ours, mut deltalake, mut engine] = [(); 3].map(|()| Sample::default());
        for round in 0..WARM_UP + ROUNDS {
            let begun = Instant::now();
            let written = json!({"table": format!("bench{round}"), "mode": "error", "file": file, "wait_s": 120});
            let text = server.call("write_table", written)?;
            let took = begun.elapsed();
            if !text.contains(&format!("# written: {ROWS} rows")) {
                return Err(format!("not {ROWS} rows: {text}").into());
            }
            let by_deltalake = timed(&mut reference, "deltalake")?;
            let by_engine = timed(&mut reference, "saveAsTable")?;
            if round >= WARM_UP {
                ours.add(took);
                deltalake.add(by_deltalake);
                engine.add(by_engine);
            }
        }
        let what = "write_table, 1e6 rows × 6 columns of Parquet";
        self.report
            .pair(what, &ours, ("pyarrow and write_deltalake", &deltalake));
        self.report
            .pair(what, &ours, ("the engine's saveAsTable", &engine));
        let ratio = ours.p50() / deltalake.p50();
        self.report
            .goal("6. write_table against deltalake, ratio", ratio, 1.5, "");
        let ratio = ours.p50() / engine.p50();
        self.report
            .goal("7. write_table against saveAsTable, ratio", ratio, 1.0, "");
        Ok(())
    }
}

/// A write by a reference, timed by itself.
fn timed(reference: &mut Dialogue, what: &str) -> Result<Duration> {
    reference.say(what)?;
    let line = reference.hear()?;
    match line.split_once(' ') {
        Some((ROWS, seconds)) => Ok(Duration::from_secs_f64(seconds.parse()?)),
        _ => Err(format!("{what} said {line:?}").into()),
    }
}

/// `deltalake` for the engine's Python, in a folder of its own: the engine's environment stays as it is.
fn deltalake(recipe: &Recipe, base: &Path) -> Result<std::path::PathBuf> {
    let folder = base.join("bench-deltalake");
    if folder.join("deltalake").is_dir() {
        return Ok(folder);
    }
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/local/requirements.txt");
    let installed = Command::new("python3")
        .args([
            "-m",
            "pip",
            "--python",
            &recipe.python,
            "install",
            "--quiet",
        ])
        .args([
            "--disable-pip-version-check",
            "--no-input",
            "--require-hashes",
        ])
        .args(["--only-binary", ":all:", "--target"])
        .arg(&folder)
        .arg("-r")
        .arg(lock)
        .status()?;
    if installed.success() {
        Ok(folder)
    } else {
        Err("deltalake cannot be installed: this needs pip, and a network the first time".into())
    }
}
