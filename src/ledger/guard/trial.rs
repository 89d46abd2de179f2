//! Whether a guardian can be started, which is known only by trying: one for an owner without sessions, in a folder that is
//! nobody's.

use std::path::Path;
use std::time::Duration;

use super::owner::Owners;
use super::watch::{GuardCommand, begin};
use crate::ledger::sweep::blocking;
use crate::model::{Error, Result};
use crate::platform::remote::Place;

/// From its owner's end to a guardian's: it has nothing to delete.
const ENDS_FOR: Duration = Duration::from_secs(10);

/// Starts one, hears READY, and waits for its end.
///
/// # Errors
/// Why it could not be started. `internal` when it did not end; it is killed then.
/// # Cancel safety
/// Dropped, the owner's lock is free and the guardian ends by itself.
pub(crate) async fn try_guardian(
    mut command: GuardCommand,
    ledger: &Path,
    places: &[Place],
) -> Result<()> {
    let flags = places
        .iter()
        .flat_map(|place| ["--place".to_owned(), place.fingerprint()]);
    command.arguments.extend(flags.map(Into::into));
    let owners = Owners::below(ledger);
    let claimed = owners.clone();
    let lock = blocking(move || claimed.claim()).await?;
    let (mut child, _beats, _line) = begin(&command, &lock.owner).await?;
    blocking(move || {
        owners.remove(lock);
        Ok(())
    })
    .await?;
    match tokio::time::timeout(ENDS_FOR, child.wait()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => {
            let _ = child.kill().await;
            Err(Error::internal("a guardian did not end with its owner"))
        }
    }
}
