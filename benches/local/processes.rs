//! What Linux says of processes: children, processor time, resident memory. The benches start and end them elsewhere.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// A process that works shows it within this time.
const STILL_FOR: Duration = Duration::from_millis(300);
/// A spare imports PySpark within a second; a busy machine gets time.
const SETTLE_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

struct Process {
    pid: u32,
    parent: u32,
    /// Of user and system, in ticks of 10 ms.
    ticks: u64,
}

/// The process table, without what ends while it is read.
fn all() -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // The name may hold spaces and brackets; the fields begin behind the last one.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        if let (Some(parent), Some(user), Some(system)) = (number(1), number(11), number(12)) {
            found.push(Process {
                pid,
                parent: u32::try_from(parent)?,
                ticks: user + system,
            });
        }
    }
    Ok(found)
}

/// Whether a worker has loaded what PySpark needs: its parent lets it begin when its session is ready for a lease.
fn imported(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/maps"))
        .is_ok_and(|maps| String::from_utf8_lossy(&maps).contains("/pyarrow/"))
}

/// Waits until `parent` has `children` with PySpark loaded and none of them, nor itself, works; returns the children.
pub(crate) fn settled(parent: u32, children: usize) -> Result<Vec<u32>> {
    let deadline = Instant::now() + SETTLE_WITHIN;
    let (mut before, mut since) = (None, Instant::now());
    loop {
        let family: Vec<Process> = all()?
            .into_iter()
            .filter(|p| p.pid == parent || p.parent == parent)
            .collect();
        // A tick of housekeeping in 0.3 s is no work.
        let ticks: u64 = family.iter().map(|p| p.ticks).sum();
        let now = (family.len(), ticks / 2);
        let whole = family.len() == children + 1;
        if !whole
            || before != Some(now)
            || !family.iter().all(|p| p.pid == parent || imported(p.pid))
        {
            (before, since) = (Some(now), Instant::now());
        } else if since.elapsed() >= STILL_FOR {
            let pids = family.iter().map(|p| p.pid);
            return Ok(pids.filter(|pid| *pid != parent).collect());
        }
        if Instant::now() > deadline {
            return Err(format!(
                "{} workers instead of {children}, or they work without end",
                family.len().saturating_sub(1)
            )
            .into());
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Resident memory in MB of 10⁶ bytes.
pub(crate) fn resident_mb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or("no VmRSS")?
        .parse()?;
    Ok(kib * 1024.0 / 1e6)
}

/// Words of a process's command line, or variables of its environment.
pub(crate) fn words(pid: u32, file: &str) -> Result<Vec<String>> {
    let text = fs::read(format!("/proc/{pid}/{file}"))?;
    let words = text
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty());
    Ok(words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect())
}

/// How many workers of a server that has ended are still there, after the kernel had time to end them.
pub(crate) fn left(workers: &[u32]) -> usize {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let lives = |pid: &&u32| {
            words(**pid, "cmdline").is_ok_and(|words| words.iter().any(|w| w == "--tag"))
        };
        let count = workers.iter().filter(lives).count();
        if count == 0 || Instant::now() > deadline {
            return count;
        }
        thread::sleep(LOOK_EVERY);
    }
}
