//! Wiring: config → platforms → ledger → lease → service → gate; and the order of shutdown.

pub(crate) mod remotes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Access, Loaded, Platform as Kind, create_private_folder};
use crate::gate::{self, Gate};
use crate::lease::{LeaseHandle, Limits};
use crate::ledger::{Ledger, Recorded};
use crate::mcp::{Defaults, Server};
use crate::model::{Error, OwnerId, Result, SecretRegistry};
use crate::platform::Platform;
use crate::platform::local::{Local, Workshop};
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
        let livys = remotes::livys(loaded, secrets);
        let ledger = remotes::ledger(loaded, &livys)?;
        for (name, target) in &settings.targets {
            let platform: Arc<dyn Platform> = match target.platform {
                Kind::Local => Arc::new(Local::new(
                    installer(loaded),
                    Workshop {
                        folder: working.clone(),
                        cache: loaded.paths.cache.clone(),
                        memory_bytes: settings.engine.memory.bytes(),
                        scratch: scratch.clone(),
                        data: loaded.paths.data.clone(),
                        secrets: secrets.clone(),
                    },
                    settings.engine.spare,
                )),
                Kind::Livy => {
                    let (Some(livy), Some(ledger)) = (livys.get(name), &ledger) else {
                        return Err(Error::internal("a target has no ledger"));
                    };
                    let terms = remotes::terms(name, &target.limits);
                    Arc::new(Recorded::new(livy.clone(), ledger.clone(), terms))
                }
            };
            let limits = &target.limits;
            platforms.insert(
                name.clone(),
                (
                    platform.clone(),
                    Limits {
                        sessions: limits.sessions,
                        warm: limits.warm,
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
        if let Some(ledger) = &ledger {
            ledger.watch_over();
        }
        let service = Service::new(Parts {
            targets,
            default_target: settings.default_target.clone(),
            lease: LeaseHandle::start(platforms, ledger.clone()),
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
        self.service.keep_warm();
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
