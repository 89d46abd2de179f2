//! Writing a table: what may be said without a session, then a statement of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Place, Service, Waiting, drive, files, writable};
use crate::model::{Code, DEFAULT_DATABASE, Details, Error, OwnerId, Result, TableName, WriteMode};
use crate::platform::{Source, Work, Write};
use crate::sql::{self, Verdict};

/// A table to write, as the caller said it.
#[derive(Clone, Debug)]
pub(crate) struct WriteCall {
    /// Which table.
    pub table: TableName,
    /// What becomes of rows that are there.
    pub mode: WriteMode,
    /// Where the rows come from.
    pub source: WriteSource,
    /// The columns as a DDL string.
    pub schema: Option<String>,
    /// For a merge.
    pub keys: Vec<String>,
    /// For a new table.
    pub partition_by: Vec<String>,
    /// The client's roots; empty where it offers none.
    pub roots: Vec<PathBuf>,
}

/// Where the rows of a table come from, as the caller said it.
#[derive(Clone, Debug)]
pub(crate) enum WriteSource {
    /// A query.
    Sql(String),
    /// Rows of the call.
    Rows {
        /// Names.
        columns: Vec<String>,
        /// Each as long as `columns`.
        rows: Vec<Vec<Value>>,
    },
    /// A path.
    File(String),
    /// A variable of the named session.
    Variable(String),
}

/// What a file of a write is called in an error.
const FILE: &str = "file";

impl Service {
    /// Starts to write a table and returns the statement's id without waiting for a session.
    ///
    /// # Errors
    /// `not_found` (target, session, file), `session_lost`, `policy_denied`, `invalid_argument`, `unsupported`.
    pub(crate) async fn start_write(
        &self,
        owner: &OwnerId,
        place: &Place,
        call: WriteCall,
    ) -> Result<Waiting> {
        let name = self.target_of(owner, place).await?;
        let (name, target) = self.target(name.as_ref())?;
        writable(name, target)?;
        let source = match call.source {
            WriteSource::Sql(text) => {
                query_only(&text)?;
                Source::Sql(text)
            }
            WriteSource::Rows { columns, rows } => Source::Rows { columns, rows },
            WriteSource::File(path) => {
                let capability = target.platform.capability();
                if !capability.local_files && capability.carries == 0 {
                    return Err(Error::new(
                        Code::Unsupported,
                        format!("the target {name} cannot read files of this machine"),
                    )
                    .hint("Pass rows or sql, or use a target that runs on this machine."));
                }
                let path = self.write_file(&path, &call.roots)?;
                if !capability.local_files {
                    light_enough(&path, capability.carries)?;
                }
                Source::File(path)
            }
            WriteSource::Variable(variable) => Source::Variable(variable),
        };
        let write = Write {
            table: call.table,
            mode: call.mode,
            source,
            schema: call.schema,
            keys: call.keys,
            partition_by: call.partition_by,
        };
        let work = Work::Write(Box::new(write));
        Ok(self.start(
            owner,
            name,
            target,
            place,
            work,
            drive::Keep::OneResult { only_reads: false },
        ))
    }

    /// The real path of a file that may be named.
    ///
    /// # Errors
    /// `invalid_argument`, `not_found`.
    pub(crate) fn write_file(&self, path: &str, roots: &[PathBuf]) -> Result<PathBuf> {
        let named = BTreeMap::from([(FILE.to_owned(), path.to_owned())]);
        let found = files::resolve(&named, roots, &self.parts.working, &self.parts.allowed)?;
        found
            .into_values()
            .next()
            .ok_or_else(|| Error::internal("a file was not resolved"))
    }
}

/// Refuses a file that is too large to travel along.
fn light_enough(path: &Path, most: u64) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let looked = std::fs::metadata(path).map_err(|e| {
        Error::new(Code::NotFound, format!("{name} cannot be read: {e}"))
            .hint("Correct file; nothing was written.")
    })?;
    if looked.is_dir() {
        return Err(Error::new(
            Code::InvalidArgument,
            format!("{name} is a folder, and one file travels along with the call"),
        )
        .hint("Call write_table once for each of its files, the later ones with mode=\"append\"; nothing was written."));
    }
    if looked.len() > most {
        return Err(Error::new(
            Code::ResultTooLarge,
            format!(
                "{name} has {} bytes; {} MB is the most that travels along with a call",
                looked.len(),
                most >> 20
            ),
        )
        .hint("Write it in parts, the later ones with mode=\"append\"; or put it where the cluster reads files, and call run_pyspark(code=\"spark.read.parquet('…').write.saveAsTable('…')\"). Nothing was written."));
    }
    Ok(())
}

/// A source is a query, and only reads.
fn query_only(text: &str) -> Result<()> {
    let hint = "Pass a query that only reads as sql: SELECT, WITH or VALUES.";
    match sql::classify(text) {
        Verdict::Reads(read) if read.is_relation() => Ok(()),
        Verdict::Reads(_) => Err(Error::new(
            Code::InvalidArgument,
            "sql: it is no query, so it has no rows to write",
        )
        .hint(hint)),
        Verdict::Refused(refusal) => Err(Error::new(
            Code::PolicyDenied,
            format!("sql: {}", refusal.reason),
        )
        .hint(hint)
        .details(Details {
            line: refusal.line,
            column: refusal.column,
            ..Default::default()
        })),
    }
}

/// A table's name as a caller writes it: one or two parts, each in backquotes where it needs them.
pub(crate) fn table_name(text: &str) -> Option<TableName> {
    match sql::parts(text.trim())?.as_slice() {
        [table] => Some(TableName::new(DEFAULT_DATABASE, table)),
        [database, table] => Some(TableName::new(database, table)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("t", Some(("default", "t")))]
    #[case(" sales.orders ", Some(("sales", "orders")))]
    #[case("`a.b`.`c``d`", Some(("a.b", "c`d")))]
    #[case("my table", Some(("default", "my table")))]
    #[case("a.b.c", None)]
    #[case("a..b", None)]
    #[case("`a", None)]
    fn a_table_has_one_or_two_parts(#[case] text: &str, #[case] name: Option<(&str, &str)>) {
        let name = name.map(|(database, table)| TableName::new(database, table));
        assert_eq!(table_name(text), name);
    }
}
