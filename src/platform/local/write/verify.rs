//! What only engine and catalogue can tell of a write: before it, values that would be lost; after it, whether the
//! table that has the rows is still the one of that name.

use super::commit::{self, Commit};
use super::{Table, Writer};
use crate::model::{Code, Error, Result, Retry, TableName, Written};
use crate::platform::Source;
use crate::platform::write::check::same;
use crate::platform::write::plan::Plan;
use crate::platform::write::said;
use crate::spark_connect::{Relation, Type};
use crate::sql::quote;

impl Writer<'_> {
    /// Refuses empty text in a column that a table is partitioned by: a folder's name has no form for it, and the
    /// engine makes NULL of it.
    pub(super) async fn full_partitions(&self, rows: &Relation, plan: &Plan) -> Result<()> {
        let columns: Vec<&str> = plan
            .outputs
            .iter()
            .map(|output| output.name.as_str())
            .filter(|name| plan.partition_by.iter().any(|p| same(p, name)))
            .filter(|name| {
                let text = |f: &&crate::spark_connect::Field| same(&f.name, name);
                let field = plan.fields.iter().find(text);
                field.is_some_and(|f| f.data_type == Type::String)
            })
            .collect();
        if columns.is_empty() {
            return Ok(());
        }
        let counts: Vec<String> = columns
            .iter()
            .map(|name| format!("count_if({} = '')", quote(name)))
            .collect();
        let view = self.view(rows.clone()).await?;
        let sql = format!("select {} from {view}", counts.join(", "));
        let query = Relation::sql_positional(&sql, &[])?.without_place().rows();
        let counted = self.engine().rows(query).await;
        self.engine().drop_view(&view).await;
        let counted = counted.map_err(|e| self.unwritten(e))?;
        let counted = counted.into_iter().flatten();
        let counted = counted.map(|count| count.as_u64().unwrap_or(0));
        said::check_partition_texts(columns.into_iter().zip(counted))
    }

    /// What was written, if the table of that name still has it.
    ///
    /// # Errors
    /// `not_found` when the table was dropped meanwhile; `already_exists` when another has its name: then the write
    /// begins anew.
    pub(super) async fn confirmed(
        &self,
        table: &Table,
        before: Option<u64>,
        commit: Commit,
    ) -> Result<Written> {
        let name = &self.write.table;
        let Some(now) = self.metastore.find(name).await? else {
            return Err(dropped(name));
        };
        let same_place = now.location == table.location;
        if same_place && now.id == table.id {
            return Ok(self.written(table, commit, false));
        }
        // A table that was registered anew over the same files has the rows.
        let again = commit::of(&now.location, before, &self.mark()).await;
        match again {
            Ok(Some(commit)) if same_place => Ok(self.written(&now, commit, false)),
            _ => Err(self.outdated()),
        }
    }

    /// The table is not the one that was looked at.
    pub(super) fn outdated(&self) -> Error {
        Error::new(
            Code::AlreadyExists,
            format!("others replace {} all the time", self.write.table),
        )
        .hint("Call write_table again when nobody else changes the table.")
        .retry(Retry::Now)
    }

    /// An error in the middle of a write.
    pub(super) fn unwritten(&self, error: Error) -> Error {
        if error.code() != Code::StatementFailed {
            return error;
        }
        error.hint(match self.write.source {
            Source::Sql(_) => "Correct sql and call write_table again; nothing was written.",
            _ => "Nothing was written; correct the rows or the table, and call write_table again.",
        })
    }
}

/// The table went away in the middle; if the catalogue made its folder, it is trash with all that was added since.
pub(super) fn dropped(name: &TableName) -> Error {
    Error::new(
        Code::NotFound,
        format!("the table {name} was dropped or renamed while it was written"),
    )
    .hint("Call list_tables to see where it is; write_table makes it anew with mode=\"append\".")
}
