//! Starts child processes from one thread that lives as long as the process.
//!
//! Linux sends a child its `PR_SET_PDEATHSIG` when the *thread* that spawned it ends, and a runtime's worker threads
//! may end before the process does.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

struct Job {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();

/// Starts a child. It is killed when its handle is dropped, if the command says so.
///
/// # Errors
/// What the operating system says.
pub(crate) async fn spawn(command: Command) -> io::Result<Child> {
    let (reply, answer) = oneshot::channel();
    let job = Job {
        command,
        runtime: Handle::current(),
        reply,
    };
    spawner()
        .send(job)
        .map_err(|_| io::Error::other("the spawning thread is gone"))?;
    answer
        .await
        .map_err(|_| io::Error::other("the spawning thread gave no answer"))?
}

fn spawner() -> &'static mpsc::Sender<Job> {
    SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        // Detached on purpose: it ends with the process.
        std::thread::spawn(move || {
            for mut job in jobs {
                let _inside = job.runtime.enter();
                let _ = job.reply.send(job.command.spawn());
            }
        });
        sender
    })
}
