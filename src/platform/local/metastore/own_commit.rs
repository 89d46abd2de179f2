//! A commit of our own to a table whose versions the catalogue hands out.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use uuid::Uuid;

use super::records::{Commit, now_ms};
use super::{Metastore, Table};
use crate::model::{Code, Error, Result};
use crate::platform::local::delta::Prepared;

impl Metastore {
    /// Commits to a table that is `catalog_managed`, as the engine does: staged, taken by the catalogue, published.
    ///
    /// # Errors
    /// `already_exists` where another writer has the version; `statement_failed` where the file cannot be written.
    /// # Cancel safety
    /// A dropped future may have committed or not; a staged file that stays behind does no harm.
    pub(crate) async fn commit(&self, table: &Table, prepared: &Prepared) -> Result<()> {
        let Ok(version) = i64::try_from(prepared.version) else {
            return Err(Error::internal("a version that is no version"));
        };
        let file_name = format!("{version:020}.{}.json", Uuid::new_v4());
        let (folder, name, text) = (
            table.location.join("_delta_log/_staged_commits"),
            file_name.clone(),
            prepared.text.clone(),
        );
        let staged = tokio::task::spawn_blocking(move || stage(&folder, &name, &text));
        let size = staged
            .await
            .map_err(|e| Error::internal("the commit's writing was stopped").source_error(e))?
            .map_err(|e| {
                Error::new(
                    Code::StatementFailed,
                    format!("version {version} of {} cannot be written: {e}", table.name),
                )
                .hint("Check that the data folder may be written and its disk has room.")
                .source_error(e)
            })?;
        let now = now_ms();
        let commit = Commit {
            version,
            timestamp: now,
            file_name,
            file_size: size,
            file_modified: now,
        };
        self.add_commit(commit, table.id.clone()).await
    }
}

fn stage(folder: &Path, name: &str, text: &str) -> io::Result<i64> {
    std::fs::create_dir_all(folder)?;
    let mut file = File::create_new(folder.join(name))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(i64::try_from(text.len()).unwrap_or(i64::MAX))
}
