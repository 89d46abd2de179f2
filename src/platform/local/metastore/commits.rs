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
    pub(super) async fn add_commit(&self, commit: Commit, table_id: String) -> Result<()> {
        let (taken, id) = (commit.clone(), table_id.clone());
        let (table, all) = self
            .0
            .store
            .write(move |db| {
                let table = records::table_by_id(db, &id)?.ok_or_else(|| no_table(&id))?;
                records::add_commit(db, &id, &taken)?;
                Ok((table, records::commits(db, &id, 0, None)?))
            })
            .await?;
        // The log is where every reader looks. Should it not get there, the next reader puts it there.
        let published = tokio::task::spawn_blocking(move || {
            all.iter()
                .try_for_each(|commit| fresh::publish_commit(&table.path, commit))
        });
        match published.await {
            Ok(Ok(())) => self
                .0
                .store
                .write_later(move |db| records::forget_commits(db, &table_id, commit.version)),
            Ok(Err(e)) => {
                tracing::warn!(error = %e, version = commit.version, "a commit is not in its log");
            }
            Err(e) => tracing::warn!(error = %e, "a commit is not in its log"),
        }
        Ok(())
    }
}

fn no_table(id: &str) -> Error {
    Error::new(Code::NotFound, format!("there is no table of the id {id}"))
}
