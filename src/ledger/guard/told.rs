//! The secret settings of a server on their way to its guardian: through a pipe, since the environment of a process can be
//! read by every other process of the user as long as it lives.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, Command};

use crate::config::Private;
use crate::ledger::sweep::blocking;
use crate::model::{Error, Result};

/// What says that a line with settings comes first.
pub(crate) const FLAG: &str = "--told";

/// From the start of a guardian to that line, which its owner writes at once.
const TOLD_FOR: Duration = Duration::from_secs(10);

/// Takes the secrets out of a guardian's environment, and tells it to wait for those that it needs.
pub(super) fn hide(command: &mut Command, private: &Private) {
    for name in &private.names {
        command.env_remove(name);
    }
    if !private.settings.is_empty() {
        command.arg(FLAG);
    }
}

/// Writes the line. A guardian that takes none will be missed at READY.
pub(super) async fn tell(pipe: &mut ChildStdin, private: &Private) {
    if private.settings.is_empty() {
        return;
    }
    let settings: BTreeMap<&str, &str> = private
        .settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose_secret()))
        .collect();
    let Ok(mut line) = serde_json::to_vec(&settings) else {
        return;
    };
    line.push(b'\n');
    let _ = tokio::time::timeout(TOLD_FOR, pipe.write_all(&line)).await;
}

/// Reads the line in the guardian.
///
/// # Errors
/// `internal` when it does not come, or is no such line.
pub(crate) async fn listen() -> Result<BTreeMap<String, String>> {
    let read = blocking(|| {
        let mut line = String::new();
        match std::io::stdin().read_line(&mut line) {
            Ok(_) => Ok(line),
            Err(e) => Err(Error::internal("what the owner tells cannot be read").source_error(e)),
        }
    });
    let line = tokio::time::timeout(TOLD_FOR, read)
        .await
        .map_err(|_| Error::internal("the owner has not told its settings"))??;
    // What it holds is in no message.
    serde_json::from_str(&line)
        .map_err(|_| Error::internal("the owner has told its settings in another way"))
}
