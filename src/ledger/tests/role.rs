//! Owners and guardians as processes of their own: the test binary once more, with a role in its environment.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind};

use super::place::{Client, Create, place};
use super::service::Service;
use super::{PATIENCE, wait_until};
use crate::ledger::guard::guardian::{self, Duty};
use crate::ledger::guard::watch::GuardCommand;
use crate::ledger::{Caps, Intent, Ledger, Owner, Sweeper, Timing};
use crate::model::{Tag, TargetName};
use crate::platform::remote::Remote;

const ROLE: &str = "SPARKLEASE_TEST_ROLE";
const FOLDER: &str = "SPARKLEASE_TEST_FOLDER";
const SERVICE: &str = "SPARKLEASE_TEST_SERVICE";
const SILENCE_MS: &str = "SPARKLEASE_TEST_SILENCE_MS";
const MYSELF: &str = "ledger::tests::role::a_process_of_its_own_plays_its_role";

/// Quicker than in life: an answer is late by 0.3 s at most.
pub(super) fn timing() -> Timing {
    Timing {
        settle_for: Duration::from_millis(900),
        look_every: Duration::from_millis(100),
        first_wait: Duration::from_millis(20),
        ..Timing::default()
    }
}

fn command(role: &str, folder: &Path, service: SocketAddr, silence: Duration) -> GuardCommand {
    // The folder is not read from there: it shows in the process table whose a process is.
    let arguments = [
        MYSELF,
        "--exact",
        "--nocapture",
        "--test-threads=1",
        "--",
        &folder.to_string_lossy(),
    ];
    let variables = [
        (ROLE, role.into()),
        (FOLDER, folder.as_os_str().to_owned()),
        (SERVICE, service.to_string().into()),
        (SILENCE_MS, silence.as_millis().to_string().into()),
    ];
    GuardCommand {
        program: std::env::current_exe().unwrap(),
        name: "sparklease-test".into(),
        arguments: arguments.map(Into::into).to_vec(),
        variables: variables.map(|(name, value)| (name.into(), value)).to_vec(),
        private: crate::config::Private::default(),
    }
}

/// A ledger in this process, whose guardian is a process.
pub(super) fn ledger(folder: &Path, service: SocketAddr, silence: Duration) -> Ledger {
    let guard = command("guardian", folder, service, silence);
    let remotes: Vec<Arc<dyn Remote>> = vec![Arc::new(Client(service))];
    Ledger::new(folder.to_owned(), remotes, guard, timing()).unwrap()
}

pub(super) fn intent(service: SocketAddr, sessions: usize) -> Intent {
    Intent {
        target: TargetName::new("dev"),
        place: place(service),
        life_for: Duration::from_secs(3600),
        caps: Caps {
            sessions,
            seconds_per_day: None,
        },
    }
}

/// An owner: it does what it is told on its stdin and says what it has done.
pub(super) struct Process {
    child: Child,
    orders: Option<ChildStdin>,
    said: Receiver<String>,
    folder: PathBuf,
}

impl Process {
    pub(super) fn start(folder: &Path, service: &Service, silence: Duration) -> Self {
        let command = command("owner", folder, service.address, silence);
        Self::start_by(Command::new(&command.program), &command, folder)
    }

    /// Started by another program, which gets ours and its arguments.
    pub(super) fn start_by(mut program: Command, command: &GuardCommand, folder: &Path) -> Self {
        let mut child = program
            .args(&command.arguments)
            .envs(command.variables.clone())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, said) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Self {
            orders: child.stdin.take(),
            child,
            said,
            folder: folder.to_owned(),
        }
    }

    pub(super) fn owner_command(folder: &Path, service: &Service) -> GuardCommand {
        command("owner", folder, service.address, Duration::from_secs(120))
    }

    pub(super) fn order(&mut self, order: &str) {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
    }

    /// Waits for a word; gives what comes after it.
    pub(super) fn says(&self, word: &str) -> String {
        loop {
            let line = self.said.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("the process does not say {word:?}"));
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
            assert!(!line.starts_with("REFUSED"), "{line}");
        }
    }

    /// What it says to an intent: the name, or why not.
    pub(super) fn answer(&self) -> Result<String, String> {
        loop {
            let line = self.said.recv_timeout(PATIENCE).expect("an answer");
            if let Some(tag) = line.strip_prefix("INTENDED ") {
                return Ok(tag.to_owned());
            }
            if let Some(error) = line.strip_prefix("REFUSED ") {
                return Err(error.to_owned());
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Closes its input, which ends it as a client's end would.
    pub(super) fn end(&mut self) {
        self.orders = None;
        self.child.wait().unwrap();
    }

    /// The guardian that began last.
    pub(super) fn guardian(&self) -> u32 {
        guardian(&self.folder).expect("a guardian has begun")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The guardian that began last in a folder.
pub(super) fn guardian(folder: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(folder.join("guardian.pid")).ok()?;
    text.parse().ok()
}

pub(super) fn kill(pid: u32) {
    signal(pid, rustix::process::Signal::KILL);
}

pub(super) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

fn status(pid: u32) -> Option<ProcessStatus> {
    let pid = Pid::from_u32(pid);
    let mut system = System::new().unwrap();
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[pid]),
        true,
        ProcessRefreshKind::nothing(),
    );
    system.process(pid).map(|process| process.status())
}

fn has_ended(status: ProcessStatus) -> bool {
    matches!(status, ProcessStatus::Zombie | ProcessStatus::Dead)
}

/// Whether a process has not ended; one that only waits for its parent has.
pub(super) fn runs(pid: u32) -> bool {
    status(pid).is_some_and(|status| !has_ended(status))
}

/// Stops a process, and waits until all of it stands still.
pub(super) fn stop(pid: u32) {
    signal(pid, rustix::process::Signal::STOP);
    wait_until("the process stands still", || {
        status(pid) == Some(ProcessStatus::Stop)
    });
}

/// Processes of a folder that have not ended: owners, guardians, and those that are just being started.
fn processes_of(folder: &Path) -> usize {
    let mut system = System::new().unwrap();
    system.refresh_processes_specifics(
        ProcessesToUpdate::All,
        true,
        ProcessRefreshKind::nothing()
            .with_cmd(UpdateKind::Always)
            .without_tasks(),
    );
    let processes = system.processes().values();
    processes
        .filter(|p| !has_ended(p.status()) && p.cmd().iter().any(|word| word == folder.as_os_str()))
        .count()
}

/// Waits until the guardians of a folder have done their work; its owners have ended before.
pub(super) fn guardian_ends(folder: &Path) {
    wait_until("the guardians end", || processes_of(folder) == 0);
}

#[test]
fn a_process_of_its_own_plays_its_role() {
    let Ok(role) = std::env::var(ROLE) else {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start(folder.path());
        let mut process = Process::start(folder.path(), &service, PATIENCE);
        process.says("BEGUN");
        process.end();
        return;
    };
    let folder = PathBuf::from(std::env::var(FOLDER).unwrap());
    let service: SocketAddr = std::env::var(SERVICE).unwrap().parse().unwrap();
    let silence: u64 = std::env::var(SILENCE_MS).unwrap().parse().unwrap();
    let silence = Duration::from_millis(silence);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match role.as_str() {
        "owner" => runtime.block_on(act_as_owner(&folder, service, silence)),
        "guardian" => {
            let after = |flag: &str| {
                let mut words = std::env::args().skip_while(|word| word != flag);
                words.nth(1).unwrap()
            };
            let duty = Duty {
                owner: Owner::parse(&after("--owner")).unwrap(),
                parent: after("--parent").parse().unwrap(),
                places: vec![after("--place")],
            };
            let pid = std::process::id().to_string();
            crate::sys::files::replace_file(&folder.join("guardian.pid"), pid.as_bytes()).unwrap();
            let mut timing = timing();
            timing.silence_for = silence;
            let remotes: Vec<Arc<dyn Remote>> = vec![Arc::new(Client(service))];
            let sweeper = Sweeper::new(folder, remotes, timing).unwrap();
            let mut out = std::io::stdout();
            // The test runner has begun a line.
            let _ = writeln!(out);
            runtime
                .block_on(guardian::run(duty, &sweeper, &mut out))
                .unwrap();
        }
        other => panic!("no role {other:?}"),
    }
    runtime.shutdown_background();
    #[expect(clippy::exit, reason = "the runner's last words are nobody's")]
    std::process::exit(0);
}

/// Says a line, whole and at once.
fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(format!("\n{line}\n").as_bytes());
    let _ = out.flush();
}

async fn act_as_owner(folder: &Path, service: SocketAddr, silence: Duration) {
    let ledger = ledger(folder, service, silence);
    let beating = ledger.clone();
    tokio::spawn(async move {
        loop {
            beating.beat();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    say("BEGUN");
    let (send, mut orders) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut lines = std::io::stdin().lines();
        while let Some(Ok(line)) = lines.next() {
            let _ = send.send(line);
        }
    });
    let client = Client(service);
    let mut last: Option<Tag> = None;
    while let Some(order) = orders.recv().await {
        match order.as_str() {
            "intend" => match ledger.intend(intent(service, 4)).await {
                Ok(permit) => {
                    say(&format!("INTENDED {}", permit.tag));
                    last = Some(permit.tag);
                }
                Err(error) => say(&format!("REFUSED {error}")),
            },
            "create" => {
                let created = client.create(last.as_ref().unwrap()).await;
                say(&format!("ANSWERED {created:?}"));
                if let Create::Done(id) = created {
                    let file = folder.join("id");
                    std::fs::write(file, id).unwrap();
                }
            }
            "note" => {
                let id = std::fs::read_to_string(folder.join("id")).unwrap();
                let tag = last.as_ref().unwrap();
                match ledger.created(tag, &id).await {
                    Ok(()) => say("NOTED"),
                    Err(error) => say(&format!("REFUSED {error}")),
                }
            }
            "remove" => {
                ledger.remove(last.as_ref().unwrap()).await.unwrap();
                say("REMOVED");
            }
            "live" => live(&ledger, client, service).await,
            other => panic!("no order {other:?}"),
        }
    }
    ledger.stop().await;
}

/// Opens and deletes without end, some at once, until it is killed.
async fn live(ledger: &Ledger, client: Client, service: SocketAddr) {
    let lives = (0..3).map(|_| async {
        loop {
            let Ok(permit) = ledger.intend(intent(service, 1000)).await else {
                continue;
            };
            if let Create::Done(id) = client.create(&permit.tag).await {
                let _ = ledger.created(&permit.tag, &id).await;
                let _ = ledger.remove(&permit.tag).await;
            }
        }
    });
    futures::future::join_all(lives).await;
}
