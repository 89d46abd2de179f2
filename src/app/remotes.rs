//! Targets whose sessions outlive our process: each one's platform, the ledger of all, and what sweeps. The ledger, the
//! guardian and the command `sweep` all work on what is made here, so that each can delete what another has created.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Auth, Limits, Loaded, Paths, Platform as Kind, Target};
use crate::ledger::guard::watch::GuardCommand;
use crate::ledger::{self, Caps, Ledger, Sweeper, Terms, Timing};
use crate::model::{Result, SecretRegistry, TargetName};
use crate::platform::http::{Address, Credential, Source};
use crate::platform::livy::{HEARTBEAT, Livy, Options};
use crate::platform::remote::Remote;

/// Every Livy server of these settings. Nothing is asked of them yet, and no file is read.
pub(crate) fn livys(loaded: &Loaded, secrets: &SecretRegistry) -> BTreeMap<TargetName, Arc<Livy>> {
    let targets = loaded.settings.targets.iter();
    targets
        .filter(|(_, target)| target.platform == Kind::Livy)
        .map(|(name, target)| (name.clone(), Arc::new(livy(name, target, secrets))))
        .collect()
}

/// The Livy server of a target.
pub(crate) fn livy(name: &TargetName, target: &Target, secrets: &SecretRegistry) -> Livy {
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
    let mut arguments = Vec::new();
    if loaded.paths.config_named_by == Some("--config") {
        arguments.extend(["--config".into(), loaded.paths.config.clone().into()]);
    }
    arguments.push("guard".into());
    let folder = ledger::folder(&loaded.paths.data);
    let command = GuardCommand::of_this_binary(arguments);
    let timing = Timing::of(&folder);
    Ledger::new(folder, places(livys), command, timing).map(Some)
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
