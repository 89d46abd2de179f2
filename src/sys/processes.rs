//! Signals, and the process table: what of ours really runs.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

use crate::model::{Error, Result};

/// The first words of every worker's tag; the table is searched for them.
pub(crate) const TAG_PREFIX: &str = "sparklease-se_";

/// A worker as the process table shows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct WorkerProcess {
    /// Its process id.
    pub pid: u32,
    /// Its parent now: a server or a command of ours.
    pub parent: Option<u32>,
    /// The process that started it, also when it is gone.
    pub started_by: Option<u32>,
    /// The parent's command line; `None` when it is gone.
    pub parent_command: Option<String>,
    /// The process that started it is gone, so that nobody will end it.
    pub left_behind: bool,
    /// The tag in its command line.
    pub tag: String,
    /// Seconds since its start.
    pub age_s: u64,
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
}

/// Every worker of this user on this machine, whoever's child it is.
///
/// # Errors
/// `internal` when the process table cannot be read: "none" would then be a guess.
pub(crate) fn workers() -> Result<Vec<WorkerProcess>> {
    let mut system = System::new()
        .map_err(|e| Error::internal("the process table cannot be read").source_error(e))?;
    system.refresh_processes_specifics(
        ProcessesToUpdate::All,
        true,
        ProcessRefreshKind::nothing()
            .with_cmd(UpdateKind::Always)
            .with_user(UpdateKind::Always)
            .with_memory()
            .without_tasks(),
    );
    let own = sysinfo::get_current_pid().ok();
    let user = own
        .and_then(|pid| system.process(pid))
        .and_then(|p| p.user_id())
        .cloned();
    let mut found: Vec<WorkerProcess> = system
        .processes()
        .values()
        .filter(|p| p.user_id() == user.as_ref())
        .filter_map(|p| {
            let words: Vec<_> = p.cmd().iter().map(|w| w.to_string_lossy()).collect();
            let after = |flag: &str| {
                let at = words.iter().position(|word| word == flag)?;
                words.get(at + 1)
            };
            let tag = after("--tag")?;
            let parent = p.parent();
            let starter: Option<u32> = after("--parent").and_then(|pid| pid.parse().ok());
            let command = parent.and_then(|pid| system.process(pid)).map(|parent| {
                let words = parent
                    .cmd()
                    .iter()
                    .map(|w| w.to_string_lossy().into_owned());
                words.collect::<Vec<_>>().join(" ")
            });
            tag.starts_with(TAG_PREFIX).then(|| WorkerProcess {
                pid: p.pid().as_u32(),
                parent: parent.map(sysinfo::Pid::as_u32),
                parent_command: command,
                started_by: starter,
                left_behind: starter.is_some() && starter != parent.map(sysinfo::Pid::as_u32),
                tag: tag.to_string(),
                age_s: p.run_time(),
                memory_bytes: p.memory(),
            })
        })
        .collect();
    found.sort_by_key(|p| p.pid);
    Ok(found)
}

/// Kills a whole process group at once. Gone already is fine.
pub(crate) fn kill_group(leader: u32) {
    if let Some(pid) = pid(leader) {
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
}

/// How a process ended: by this signal, or with this code; neither where that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its exit code.
    pub code: Option<i32>,
}

/// Whether a child of ours has ended, asked of the kernel and without collecting it: the runtime hears of it a moment
/// later.
pub(crate) fn ended(child: u32) -> Option<Ended> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match rustix::process::waitid(WaitId::Pid(pid(child)?), options) {
        Ok(status) => status.map(|status| Ended {
            signal: status.terminating_signal(),
            code: status.exit_status(),
        }),
        // Collected already.
        Err(rustix::io::Errno::CHILD) => Some(Ended::default()),
        Err(_) => None,
    }
}

/// Asks one process to interrupt what it does (SIGINT).
pub(crate) fn interrupt(process: u32) {
    if let Some(pid) = pid(process) {
        let _ = rustix::process::kill_process(pid, Signal::INT);
    }
}

/// Whether a process has this id, running or ended and not yet waited for.
pub(crate) fn is_there(process: u32) -> bool {
    pid(process).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

fn pid(raw: u32) -> Option<Pid> {
    i32::try_from(raw).ok().and_then(Pid::from_raw)
}
