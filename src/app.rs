//! Wiring: config → platforms → lease → service → gate; and the order of shutdown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Access, Loaded, Paths, Platform as Kind, create_private_folder};
use crate::gate::{self, Gate};
use crate::lease::{LeaseHandle, Limits};
use crate::ledger::guard::watch::GuardCommand;
use crate::ledger::{self, Ledger, Sweeper, Timing};
use crate::mcp::{Defaults, Server};
use crate::model::{Error, OwnerId, Result, SecretRegistry};
use crate::platform::Platform;
use crate::platform::local::{Local, Workshop};
use crate::platform::remote::Remote;
use crate::python::install::Installer;
use crate::service::{Parts, Service, Target};
use crate::sys::scratch::Scratch;

/// What the end of the process may take. The Python SDK kills a server 2 s after it closed the input; what is before
/// (draining, stopping) has its own second.
const SHUTDOWN_FOR: Duration = Duration::from_millis(900);

/// Everything that runs, of one process.
pub(crate) struct App {
    service: Service,
    gate: Gate,
    defaults: Defaults,
    /// What keeps account of remote sessions; absent where all sessions die with this process.
    ledger: Option<Ledger>,
    /// Removed last: sessions' folders and spilled results are in it.
    scratch: Arc<Scratch>,
}

impl App {
    /// Wires it. Starts no worker and installs nothing: that is the first statement's doing.
    ///
    /// # Errors
    /// `configuration_invalid` when our folders cannot be made.
    pub(crate) fn start(loaded: &Loaded, secrets: &SecretRegistry) -> Result<Self> {
        let settings = &loaded.settings;
        create_private_folder(&loaded.paths.data)?;
        create_private_folder(&loaded.paths.cache)?;
        let scratch = Scratch::new(&loaded.paths.data).map_err(|e| {
            Error::new(
                crate::model::Code::ConfigurationInvalid,
                format!(
                    "no folder can be made in {}: {e}",
                    loaded.paths.data.display()
                ),
            )
            .hint("Set SPARKLEASE_DATA_DIR to a folder that you may write, on a local disk.")
        })?;
        let scratch = Arc::new(scratch);
        let working = std::env::current_dir().unwrap_or_default();
        let mut platforms: BTreeMap<_, (Arc<dyn Platform>, Limits)> = BTreeMap::new();
        let mut targets = BTreeMap::new();
        for (name, target) in &settings.targets {
            let platform: Arc<dyn Platform> = match target.platform {
                Kind::Local => Arc::new(Local::new(
                    installer(loaded),
                    Workshop {
                        folder: working.clone(),
                        cache: loaded.paths.cache.clone(),
                        memory_bytes: settings.engine.memory.bytes(),
                        scratch: scratch.clone(),
                    },
                    settings.engine.spare,
                )),
            };
            let limits = &target.limits;
            platforms.insert(
                name.clone(),
                (
                    platform.clone(),
                    Limits {
                        sessions: limits.sessions,
                        queue: limits.queue,
                        idle_for: limits.idle,
                        silence_for: settings.server.silence,
                        life_for: limits.life,
                    },
                ),
            );
            targets.insert(
                name.clone(),
                Target {
                    platform,
                    read_only: settings.access(name) == Access::ReadOnly,
                    queue_wait: limits.queue_wait,
                    open: limits.open,
                    statement: limits.statement,
                    rows: limits.rows,
                    bytes: limits.bytes.bytes(),
                },
            );
        }
        let ledger = open_ledger(loaded)?;
        if let Some(ledger) = &ledger {
            ledger.watch_over();
        }
        let service = Service::new(Parts {
            targets,
            default_target: settings.default_target.clone(),
            lease: LeaseHandle::start(platforms),
            keep: settings.server.keep,
            folder: scratch.path().to_owned(),
            working,
            allowed: settings.files.allowed.clone(),
        });
        let gate = Gate::new(
            secrets.clone(),
            gate::Limits {
                answer_bytes: usize::try_from(settings.server.answer_bytes.bytes())
                    .unwrap_or(usize::MAX),
                structured_copy: settings.server.structured_copy,
                ..gate::Limits::default()
            },
        );
        Ok(Self {
            service,
            gate,
            defaults: Defaults {
                wait_s: settings.server.wait.as_secs(),
                rows: settings.server.rows,
            },
            ledger,
            scratch,
        })
    }

    /// The use cases.
    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    /// The exit.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// A server for one client. Its sessions are its owner's alone.
    pub(crate) fn server(&self, owner: OwnerId) -> Server {
        Server::new(
            self.service.clone(),
            self.gate.clone(),
            owner,
            self.defaults,
        )
    }

    /// Refuses leases, cancels statements, closes sessions, ends workers; within about a second.
    pub(crate) async fn shutdown(self) {
        self.service.shutdown(SHUTDOWN_FOR).await;
        if let Some(ledger) = &self.ledger {
            // What is left is the guardian's work from here on.
            let _ = tokio::time::timeout(SHUTDOWN_FOR, ledger.stop()).await;
        }
        // Tasks that end after us may hold it too: it is removed here, not when the last of them lets go.
        let scratch = self.scratch.clone();
        let removed = tokio::task::spawn_blocking(move || scratch.remove());
        let _ = tokio::time::timeout(SHUTDOWN_FOR, removed).await;
    }
}

/// The remote places of these settings: where sessions outlive our process. The ledger, the guardian and `sweep` all
/// work on these.
pub(crate) fn remotes(loaded: &Loaded) -> Vec<Arc<dyn Remote>> {
    let targets = loaded.settings.targets.values();
    targets
        .filter_map(|target| match target.platform {
            // Its sessions die with our process.
            Kind::Local => None,
        })
        .collect()
}

/// The ledger of a server; none where no session can outlive it.
fn open_ledger(loaded: &Loaded) -> Result<Option<Ledger>> {
    let remotes = remotes(loaded);
    if remotes.is_empty() {
        return Ok(None);
    }
    let mut arguments = Vec::new();
    if loaded.paths.config_named_by == Some("--config") {
        arguments.extend(["--config".into(), loaded.paths.config.clone().into()]);
    }
    arguments.push("guard".into());
    let folder = ledger::folder(&loaded.paths.data);
    let command = GuardCommand::of_this_binary(arguments);
    Ledger::new(folder, remotes, command, Timing::default()).map(Some)
}

/// What deletes the sessions of dead processes, for a command. It makes nothing by itself.
///
/// # Errors
/// `internal` when the system gives no thread.
pub(crate) fn sweeper(loaded: &Loaded, timing: Timing) -> Result<Sweeper> {
    let folder = ledger::folder(&loaded.paths.data);
    Sweeper::new(folder, remotes(loaded), timing)
}

/// The ledger for a command that deletes nothing: it works with a configuration that cannot be read, too.
///
/// # Errors
/// `internal` when the system gives no thread.
pub(crate) fn ledger_of(paths: &Paths) -> Result<Sweeper> {
    Sweeper::new(ledger::folder(&paths.data), Vec::new(), Timing::default())
}

/// The installer of these settings.
pub(crate) fn installer(loaded: &Loaded) -> Installer {
    let engine = &loaded.settings.engine;
    let mut installer = Installer::new(loaded.paths.cache.clone());
    installer.wheels = engine.wheels.clone();
    installer.python = engine.python.clone();
    installer
}

#[cfg(test)]
mod tests;
