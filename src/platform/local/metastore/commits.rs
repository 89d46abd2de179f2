//! Commits that go through the catalogue: a version goes to one writer, for ever, and what was taken gets into the
//! log.

use super::records::{self, Commit};
use super::{Metastore, fresh, wire};
use crate::model::{Code, Error, Result};

impl Metastore {
    /// The commits that the engine asks for, and the newest version that went through the catalogue.
    pub(super) async fn commits(
        &self,
        query: wire::CommitsQuery,
    ) -> Result<(Vec<Commit>, Option<i64>)> {
        self.0
            .store
            .read(move |db| {
                if records::table_by_id(db, &query.table_id)?.is_none() {
                    return Err(no_table(&query.table_id));
                }
                let commits =
                    records::commits(db, &query.table_id, query.start_version, query.end_version)?;
                Ok((commits, records::newest_commit(db, &query.table_id)?))
            })
            .await
    }

    /// Takes a commit: durable when it returns, and `already_exists` for every other writer of that version.
    ///
    /// None is ever forgotten, though the protocol lets us: the engine then looks for it among the staged files, and
    /// fails where two writers have staged the same version.
    pub(super) async fn add_commit(&self, commit: Commit, table_id: String) -> Result<()> {
        let version = commit.version;
        let (table, newest) = self
            .0
            .store
            .write(move |db| {
                let table =
                    records::table_by_id(db, &table_id)?.ok_or_else(|| no_table(&table_id))?;
                records::add_commit(db, &table_id, &commit)?;
                Ok((table, records::newest_commits(db, &table_id)?))
            })
            .await?;
        // The log is where every reader looks. Should it not get there, the next reader puts it there.
        let published =
            tokio::task::spawn_blocking(move || fresh::publish(&table.path, &newest)).await;
        if !matches!(published, Ok(Ok(()))) {
            tracing::warn!(version, "a commit is not in its log yet");
        }
        Ok(())
    }
}

fn no_table(id: &str) -> Error {
    Error::new(Code::NotFound, format!("there is no table of the id {id}"))
}
