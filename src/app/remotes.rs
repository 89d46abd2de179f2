//! Targets whose sessions outlive our process: each one's platform, the ledger of all, and what sweeps. The ledger, the
//! guardian and the command `sweep` all work on what is made here, so that each can delete what another has created.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::ExposeSecret;

use crate::config::secrets::is_secret;
use crate::config::{Auth, Limits, Loaded, Paths, Platform as Kind, Target};
use crate::ledger::guard::trial::try_guardian as try_guardian_at;
use crate::ledger::guard::watch::GuardCommand;
use crate::ledger::{self, Caps, Ledger, Sweeper, Terms, Timing};
use crate::model::{Code, Error, Result, SecretRegistry, TargetName};
use crate::platform::http::{Address, Credential, Source};
use crate::platform::livy::{HEARTBEAT, Livy, Options};
use crate::platform::remote::{Place, Remote};

/// Every Livy server of these settings. Nothing is asked of them yet. Their secrets are known from here on: whatever is said
/// before the first sign-in must not show them either.
pub(crate) fn livys(loaded: &Loaded, secrets: &SecretRegistry) -> BTreeMap<TargetName, Arc<Livy>> {
    let targets = loaded.settings.targets.iter();
    targets
        .filter(|(_, target)| target.platform == Kind::Livy)
        .map(|(name, target)| (name.clone(), Arc::new(livy(name, target, secrets))))
        .collect()
}

/// The Livy server of a target.
pub(crate) fn livy(name: &TargetName, target: &Target, secrets: &SecretRegistry) -> Livy {
    register(target, secrets);
    let secret = match (&target.secret, &target.secret_file) {
        (Some(secret), _) => Source::Value(secret.value().clone()),
        (None, path) => Source::File(path.clone().unwrap_or_default()),
    };
    let credential = match target.auth.unwrap_or_default() {
        Auth::None => Credential::None,
        Auth::Basic => Credential::Basic {
            user: target.user.clone().unwrap_or_default(),
            secret,
        },
        Auth::Bearer => Credential::Bearer(secret),
    };
    let headers = &target.headers;
    let address = Address {
        target: name.clone(),
        url: target.url.clone().unwrap_or_default(),
        credential,
        headers: headers
            .iter()
            .map(|(name, value)| (name.clone(), value.value().clone()))
            .collect(),
        ca_file: target.ca_file.clone(),
    };
    let options = Options {
        proxy_user: target.proxy_user.clone(),
        conf: target.conf.clone(),
        heartbeat: target.heartbeat.unwrap_or(HEARTBEAT),
        open_for: target.limits.open,
    };
    Livy::new(address, options, secrets)
}

/// Registers what the configuration says, and what is in the file that it names. A file that cannot be read is told at
/// the sign-in.
fn register(target: &Target, secrets: &SecretRegistry) {
    let kind = match target.auth.unwrap_or_default() {
        Auth::None | Auth::Basic => "password",
        Auth::Bearer => "token",
    };
    if let Some(secret) = &target.secret {
        secrets.register(kind, secret.value().expose_secret());
    }
    let file = target.secret_file.as_deref().map(std::fs::read_to_string);
    if let Some(Ok(text)) = file {
        secrets.register(kind, &text);
    }
    for (name, value) in &target.headers {
        let value = value.value().expose_secret();
        if is_secret(name, value) {
            secrets.register("header", value);
        }
    }
}

/// What the ledger holds a target to.
pub(crate) fn terms(name: &TargetName, limits: &Limits) -> Terms {
    Terms {
        target: name.clone(),
        life_for: limits.life,
        caps: Caps {
            sessions: limits.sessions,
            seconds_per_day: Some(limits.budget.as_secs()),
        },
        opening: limits.opening,
    }
}

/// The ledger of a server; none where no session can outlive it.
///
/// # Errors
/// `internal` when the system gives no thread.
pub(crate) fn ledger(
    loaded: &Loaded,
    livys: &BTreeMap<TargetName, Arc<Livy>>,
) -> Result<Option<Ledger>> {
    if livys.is_empty() {
        return Ok(None);
    }
    let folder = ledger::folder(&loaded.paths.data);
    let timing = Timing::of(&folder);
    Ledger::new(folder, places(livys), guard_command(loaded), timing).map(Some)
}

/// How a guardian is started: with the same configuration, and with its secrets by a pipe.
fn guard_command(loaded: &Loaded) -> GuardCommand {
    let mut arguments = Vec::new();
    if loaded.paths.config_named_by == Some("--config") {
        arguments.extend(["--config".into(), loaded.paths.config.clone().into()]);
    }
    arguments.push("guard".into());
    let mut command = GuardCommand::of_this_binary(arguments);
    command.private = loaded.private.clone();
    command
}

/// Whether a guardian of these settings can be started. What it makes is in a folder of its own, and is removed.
///
/// # Errors
/// Why not.
pub(crate) async fn try_guardian(loaded: &Loaded, secrets: &SecretRegistry) -> Result<()> {
    let folder = tempfile::tempdir().map_err(|e| {
        Error::new(
            Code::ConfigurationInvalid,
            format!("no temporary folder can be made: {e}"),
        )
        .hint("Free some room, or set TMPDIR to a folder that you may write.")
    })?;
    let mut command = guard_command(loaded);
    let data = folder.path().as_os_str().to_owned();
    command.variables.push(("SPARKLEASE_DATA_DIR".into(), data));
    let places: Vec<Place> = livys(loaded, secrets)
        .values()
        .map(|livy| livy.place())
        .collect();
    try_guardian_at(command, &ledger::folder(folder.path()), &places).await
}

/// What deletes the sessions of dead processes, for a command. It makes nothing by itself.
///
/// # Errors
/// `internal` when the system gives no thread.
pub(crate) fn sweeper(loaded: &Loaded, secrets: &SecretRegistry) -> Result<Sweeper> {
    let folder = ledger::folder(&loaded.paths.data);
    let timing = Timing::of(&folder);
    Sweeper::new(folder, places(&livys(loaded, secrets)), timing)
}

/// The ledger for a command that deletes nothing: it works with a configuration that cannot be read, too.
///
/// # Errors
/// `internal` when the system gives no thread.
pub(crate) fn ledger_of(paths: &Paths) -> Result<Sweeper> {
    Sweeper::new(ledger::folder(&paths.data), Vec::new(), Timing::default())
}

fn places(livys: &BTreeMap<TargetName, Arc<Livy>>) -> Vec<Arc<dyn Remote>> {
    livys
        .values()
        .map(|livy| livy.clone() as Arc<dyn Remote>)
        .collect()
}
