//! What the local target costs, each figure beside a reference that is measured by turns in the same run.
//!
//! `cargo bench`, or `cargo bench --bench local -- 5` for 5 cold starts instead of 15, or `-- write` for the parts of
//! that name alone (cold, warm, lease, idle, exit, write, list). The engine is installed by the
//! binary itself, once, under the target folder. Nothing fails on a time; a wrong answer or a process that is left
//! does. Linux only: the process table is read from /proc.

mod client;
mod exit;
mod list;
mod measure;
mod processes;
mod write;

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use client::{Folders, Recipe, Reference, Server};
use measure::{Report, Sample};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A process start takes up to a second on each side.
const COLD_ROUNDS: usize = 15;
const WARM_ROUNDS: usize = 300;
/// First queries compile nothing, but fill caches.
const WARM_UP: usize = 20;
const LEASE_ROUNDS: usize = 15;
const LARGE_ROUNDS: usize = 15;
/// Rows that a target keeps of a result.
const KEPT: u64 = 10_000;
/// Rows of them that an answer shows.
const SHOWN: usize = 100;
/// The engine is downloaded once.
const INSTALL_S: u64 = 1200;

fn main() -> Result<()> {
    let cold_rounds = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(COLD_ROUNDS);
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let run = tempfile::Builder::new().prefix("bench-").tempdir_in(base)?;
    let folders = Folders {
        cache: base.join("cache"),
        run: run.path().to_owned(),
    };
    let mut bench = Bench {
        folders,
        literal: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() % 1_000_000 * 1000,
        workers: Vec::new(),
        report: Report::default(),
    };
    note("installing the engine if need be")?;
    let recipe = bench.recipe()?;
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| {
        let named = asked.iter().any(|a| a.chars().all(char::is_alphabetic));
        !named || asked.iter().any(|a| a == name)
    };
    if wanted("cold") {
        note("cold starts")?;
        bench.cold(&recipe, cold_rounds)?;
    }
    if wanted("warm") {
        note("warm queries")?;
        bench.warm(&recipe)?;
    }
    if wanted("lease") {
        note("leases with a spare")?;
        bench.leases()?;
    }
    if wanted("idle") {
        note("idle memory")?;
        bench.idle()?;
    }
    if wanted("exit") {
        note("the exit")?;
        exit::measure(&mut bench.report)?;
    }
    if wanted("write") {
        note("writing a table")?;
        bench.write(&recipe, base)?;
    }
    if wanted("list") {
        note("listing 10,000 tables")?;
        bench.list()?;
    }
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_sparklease"))?.len();
    bench.report.goal(
        "5. release binary, stripped",
        binary as f64 / 1e6,
        25.0,
        " MB",
    );
    note("")?;
    std::io::stdout().write_all(bench.report.render().as_bytes())?;
    match processes::left(&bench.workers) {
        0 => Ok(()),
        left => Err(format!("{left} workers are left").into()),
    }
}

/// A line on stderr: what takes the time.
fn note(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr(), "{text}")?)
}

struct Bench {
    folders: Folders,
    literal: u64,
    /// Every worker that was seen.
    workers: Vec<u32>,
    report: Report,
}

impl Bench {
    /// A number that no query has held before, so that no cache can answer.
    fn fresh(&mut self) -> u64 {
        self.literal += 1;
        self.literal
    }

    fn settled(&mut self, server: &Server, workers: usize) -> Result<Vec<u32>> {
        let found = processes::settled(server.pid(), workers)?;
        self.workers.extend(&found);
        Ok(found)
    }

    /// Installs the engine by a first query, and looks at the worker that it got.
    fn recipe(&mut self) -> Result<Recipe> {
        let mut server = Server::start(&self.folders)?;
        server.hello()?;
        let wanted = format!("select {}", self.fresh());
        server.call("query_sql", json!({"sql": wanted, "wait_s": 60}))?;
        let begun = Instant::now();
        loop {
            // An installation outlives its call; the next one waits for it.
            let literal = self.fresh();
            if server.select(literal).is_ok() {
                break;
            }
            if begun.elapsed() > Duration::from_secs(INSTALL_S) {
                return Err("the engine was not installed; see server.log".into());
            }
        }
        let workers = self.settled(&server, 2)?;
        let worker = workers.first().ok_or("no worker")?;
        Recipe::of_worker(*worker, &self.folders.run)
    }

    /// Goals 1 and 3b: from nothing to the first row.
    fn cold(&mut self, recipe: &Recipe, rounds: usize) -> Result<()> {
        let (mut ours, mut first, mut theirs) = Default::default();
        for _ in 0..rounds {
            let literal = self.fresh();
            let begun = Instant::now();
            let mut server = Server::start(&self.folders)?;
            server.hello()?;
            let call = server.select(literal)?;
            Sample::add(&mut ours, begun.elapsed());
            Sample::add(&mut first, call);
            // The reference must not compete with our spare.
            self.settled(&server, 2)?;
            drop(server);

            let literal = self.fresh();
            let begun = Instant::now();
            let mut reference = Reference::start(recipe, &format!("select {literal}"))?;
            reference.hear(literal)?;
            Sample::add(&mut theirs, begun.elapsed());
        }
        let against = ("pysail + pyspark-client", &theirs);
        self.report
            .pair("process start → first select", &ours, against);
        self.report
            .pair("first statement, no spare", &first, against);
        let ratio = ours.p50() / theirs.p50();
        self.report
            .goal("1. process start → first select, ratio", ratio, 0.7, "");
        self.report.goal(
            "3. first statement, no spare, p50",
            first.p50() * 1e3,
            300.0,
            " ms",
        );
        Ok(())
    }

    /// Goal 2, and a large result; the spare is ready and nothing else works.
    fn warm(&mut self, recipe: &Recipe) -> Result<()> {
        let mut server = Server::start(&self.folders)?;
        server.hello()?;
        let literal = self.fresh();
        server.select(literal)?;
        let mut reference = Reference::start(recipe, &format!("select {literal}"))?;
        reference.hear(literal)?;
        self.settled(&server, 2)?;
        let (mut ours, mut theirs) = (Sample::default(), Sample::default());
        for round in 0..WARM_UP + WARM_ROUNDS {
            let literal = self.fresh();
            let our_time = server.select(literal)?;
            let literal = self.fresh();
            let said = reference.query(&format!("select {literal}"), literal)?;
            if round >= WARM_UP {
                ours.add(our_time);
                theirs.add(said.took);
            }
        }
        let against = ("spark.sql(…).collect()", &theirs);
        self.report.pair("warm select over MCP", &ours, against);
        let ratio = ours.p50() / theirs.p50();
        self.report
            .goal("2. warm select, ratio of p50", ratio, 1.0, "");
        self.large(&mut server, &mut reference)?;
        let (server, reference) = (server.pid(), reference.pid());
        let (server, reference) = (
            processes::resident_mb(server)?,
            processes::resident_mb(reference)?,
        );
        self.report.value(
            "resident after all that, without the worker",
            format!("{server:.1} MB"),
            format!("{:.2}", server / reference),
        );
        self.report.value(
            "  against the reference",
            format!("{reference:.1} MB"),
            "1".to_owned(),
        );
        Ok(())
    }

    /// A million rows of which a target keeps [`KEPT`].
    fn large(&mut self, server: &mut Server, reference: &mut Reference) -> Result<()> {
        let (mut ours, mut theirs) = (Sample::default(), Sample::default());
        for _ in 0..LARGE_ROUNDS {
            // The rows come in no order: the first cell of each shows that it is this query's.
            let mark = self.fresh();
            let sql = format!(
                "select {mark} as mark, id, id % 7 as k, cast(id as string) as s from range(1000000)"
            );
            let begun = Instant::now();
            let text = server.call("query_sql", json!({"sql": sql}))?;
            ours.add(begun.elapsed());
            let rows = text
                .lines()
                .filter(|line| line.starts_with(&format!("{mark},")));
            if rows.count() != SHOWN {
                return Err(format!("not {SHOWN} rows in the answer: {text}").into());
            }
            let said = reference.query(&format!("{sql} limit {}", KEPT + 1), mark)?;
            if said.rows != KEPT + 1 {
                return Err(format!("{} rows instead of {}", said.rows, KEPT + 1).into());
            }
            theirs.add(said.took);
        }
        let what = format!("1,000,000 rows cut at {KEPT}");
        let against = ("collect() with that limit", &theirs);
        self.report.pair(&what, &ours, against);
        Ok(())
    }

    /// Goal 3a: a new name when a spare is ready, beside one when none is.
    fn leases(&mut self) -> Result<()> {
        let (mut spare, mut cold) = (Sample::default(), Sample::default());
        for _ in 0..LEASE_ROUNDS {
            let mut server = Server::start(&self.folders)?;
            server.hello()?;
            for (name, sample, workers) in [("cold", &mut cold, 2), ("spare", &mut spare, 3)] {
                let begun = Instant::now();
                server.call("open_session", json!({"name": name}))?;
                sample.add(begun.elapsed());
                // The next spare is there and rests.
                self.settled(&server, workers)?;
            }
        }
        let against = ("an open without a spare", &cold);
        self.report
            .pair("open_session with a spare", &spare, against);
        self.report.goal(
            "3. open_session with a spare, p50",
            spare.p50() * 1e3,
            5.0,
            " ms",
        );
        Ok(())
    }

    /// Goal 4: a server that was greeted and asked for its tools, and no more.
    fn idle(&mut self) -> Result<()> {
        let mut server = Server::start(&self.folders)?;
        server.hello()?;
        server.request("tools/list", json!({}))?;
        self.settled(&server, 0)?;
        let resident = processes::resident_mb(server.pid())?;
        self.report
            .goal("4. idle server, resident", resident, 15.0, " MB");
        Ok(())
    }
}
