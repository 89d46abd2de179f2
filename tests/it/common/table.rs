//! The process table: which processes belong to a server, and signals to them.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

/// What every worker's command line has.
const TAG_PREFIX: &str = "sparklease-se_";

fn table(what: ProcessRefreshKind) -> System {
    let mut system = System::new().expect("the process table can be read");
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what.without_tasks());
    system
}

fn one(pid: u32, what: ProcessRefreshKind) -> Option<(u64, u64)> {
    let mut system = System::new().expect("the process table can be read");
    let pid = sysinfo::Pid::from_u32(pid);
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, what.without_tasks());
    let process = system.process(pid)?;
    Some((process.memory(), process.accumulated_cpu_time()))
}

/// The workers that a server has started and that still run, by pid.
pub(crate) fn workers_of(server: u32) -> Vec<u32> {
    let all = ProcessRefreshKind::nothing().with_cmd(UpdateKind::Always);
    let system = table(all);
    let mut found: Vec<u32> = system
        .processes()
        .values()
        .filter(|p| p.parent().map(sysinfo::Pid::as_u32) == Some(server))
        .filter(|p| {
            p.cmd()
                .iter()
                .any(|word| word.to_string_lossy().starts_with(TAG_PREFIX))
        })
        .map(|p| p.pid().as_u32())
        .collect();
    found.sort_unstable();
    found
}

/// Every process with this folder in its environment or command line: a server, its workers, and whatever they
/// started. Processes that have ended and wait to be collected have neither.
pub(crate) fn belonging_to(folder: &Path) -> Vec<(u32, String)> {
    let folder = folder
        .to_str()
        .expect("a temporary folder has a plain name");
    let system = table(
        ProcessRefreshKind::nothing()
            .with_cmd(UpdateKind::Always)
            .with_environ(UpdateKind::Always),
    );
    system
        .processes()
        .values()
        .filter(|p| {
            let mut words = p.environ().iter().chain(p.cmd());
            words.any(|word| word.to_string_lossy().contains(folder))
        })
        .map(|p| {
            let words: Vec<_> = p.cmd().iter().map(|w| w.to_string_lossy()).collect();
            (p.pid().as_u32(), words.join(" "))
        })
        .collect()
}

/// A process has ended and was collected by its parent. Before, it may still be taken apart.
pub(crate) fn has_ended(pid: u32) -> bool {
    one(pid, ProcessRefreshKind::nothing()).is_none()
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    one(pid, ProcessRefreshKind::nothing().with_memory())
        .expect("the process runs")
        .0
}

/// Processor time that a process has used.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let used = one(pid, ProcessRefreshKind::nothing().with_cpu());
    Duration::from_millis(used.expect("the process runs").1)
}

/// Sends a signal to one process.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    // Gone already is what most callers want anyway; those that do not, see it.
    let _ = rustix::process::kill_process(pid, signal);
}

/// SIGKILL to one process.
pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// The process group of a process.
pub(crate) fn group_of(pid: u32) -> Option<u32> {
    let pid = Pid::from_raw(pid.try_into().ok()?)?;
    let group = rustix::process::getpgid(Some(pid)).ok()?;
    group.as_raw_nonzero().get().try_into().ok()
}
