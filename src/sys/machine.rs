//! Which machine and user this is, and what a child may know of its parent.

use std::fs;

use rustix::process::{Pid, Signal};

/// What tells this machine from others: the system's machine id, else the host's name.
pub(crate) fn id() -> String {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
        .find(|text| !text.is_empty())
        .unwrap_or_else(|| {
            rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned()
        })
}

/// The number of the user whose rights this process has.
pub(crate) fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The process that started us, as long as it lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parent(Option<Pid>);

impl Parent {
    /// The one that says that it has this id. Ours may be another by now: who has lost its parent is given a new one.
    pub(crate) fn with_id(process: u32) -> Self {
        Self(i32::try_from(process).ok().and_then(Pid::from_raw))
    }

    /// Whether it lives and is ours.
    pub(crate) fn is_ours(self) -> bool {
        self.0.is_some() && rustix::process::getppid() == self.0
    }

    /// Ends it with SIGKILL. One that is gone already, so that its id may be another's, is left alone.
    pub(crate) fn kill(self) {
        if let Some(pid) = self.0
            && self.is_ours()
        {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }

    /// Whether a debugger holds it, as far as the system tells (Linux): it is then silent on purpose.
    pub(crate) fn is_traced(self) -> bool {
        let Some(pid) = self.0 else { return false };
        let path = format!("/proc/{}/status", pid.as_raw_nonzero());
        fs::read_to_string(path).is_ok_and(|status| {
            status
                .lines()
                .find_map(|line| line.strip_prefix("TracerPid:"))
                .is_some_and(|tracer| tracer.trim() != "0")
        })
    }
}
