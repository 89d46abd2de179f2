//! The tools: one table of what each is called, says of itself and may do; the code of each group in its own file.

mod args;
mod schema;
mod sessions;
mod statements;
mod tables;
mod write;

use rmcp::RoleServer;
use rmcp::model::{Tool, ToolAnnotations};
use rmcp::service::RequestContext;
use serde_json::{Map, Value};

use self::args::Args;
use super::Server;
use crate::gate::Answer;
use crate::model::{Error, StatementId};

/// A call that failed, and the statement it was about.
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) statement: Option<StatementId>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self {
            error,
            statement: None,
        }
    }
}

/// One tool.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    title: &'static str,
    description: &'static str,
    kind: Kind,
    schema: fn() -> Map<String, Value>,
}

/// What a client may assume of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Changes nothing and may be repeated.
    Reads,
    /// May change or delete data. Not listed where nothing may be changed.
    Changes,
    /// Changes sessions and statements of the caller only; may be repeated.
    Tidies,
    /// Makes something of the caller's own.
    Opens,
}

/// In the order of the list: what most calls are, first.
static TOOLS: [Spec; 10] = [
    Spec {
        name: "query_sql",
        title: "Query with Spark SQL",
        description: "Runs one Spark SQL statement that only reads (SELECT, WITH, SHOW, DESCRIBE, EXPLAIN) and returns its rows as CSV. Refuses anything else, with the reason. Bind values with :name or ? and params. files reads local CSV (with header), JSON-lines or Parquet files as temp views.",
        kind: Kind::Reads,
        schema: schema::sql,
    },
    Spec {
        name: "run_sql",
        title: "Run Spark SQL",
        description: "Runs any one Spark SQL statement, DDL and DML included. Arguments as query_sql.",
        kind: Kind::Changes,
        schema: schema::sql,
    },
    Spec {
        name: "run_pyspark",
        title: "Run PySpark",
        description: "Runs Python with a Spark session in `spark`. Returns printed text, the value of a last expression, DataFrames (also by display(df)) as rows, matplotlib figures as PNG. Without session each call starts in a fresh namespace.",
        kind: Kind::Changes,
        schema: schema::python,
    },
    Spec {
        name: "list_tables",
        title: "List tables",
        description: "Tables of the catalogue and temp views of a session: names first; detail adds columns, or stats: columns, rows, bytes, partitions. pattern with * compares names (sales.*, *orders*); a word searches names, columns and comments.",
        kind: Kind::Reads,
        schema: schema::list_tables,
    },
    Spec {
        name: "write_table",
        title: "Write a table",
        description: "Writes rows to a Delta table, all of them or none: from exactly one of sql (a query), rows, file (local CSV with header, JSON lines or Parquet) or variable (a Spark or pandas frame of session). Columns are checked before; the answer has rows written, version and location.",
        kind: Kind::Changes,
        schema: schema::write_table,
    },
    Spec {
        name: "get_statement",
        title: "Get a statement",
        description: "State, result, further rows (cursor) or full error of a statement; waits up to wait_s for its end. Results are kept 30 min.",
        kind: Kind::Reads,
        schema: schema::get_statement,
    },
    Spec {
        name: "cancel_statement",
        title: "Cancel a statement",
        description: "Cancels a statement and confirms that it has stopped.",
        kind: Kind::Tidies,
        schema: schema::cancel_statement,
    },
    Spec {
        name: "open_session",
        title: "Open a session",
        description: "Opens a named session: calls that pass session=<name> share variables and temp views. Close it when done; it also ends after 15 min without a call.",
        kind: Kind::Opens,
        schema: schema::open_session,
    },
    Spec {
        name: "list_sessions",
        title: "List sessions",
        description: "Your sessions: state, age, cost, and why one went away.",
        kind: Kind::Reads,
        schema: schema::list_sessions,
    },
    Spec {
        name: "close_session",
        title: "Close a session",
        description: "Closes a named session and deletes what it held.",
        kind: Kind::Tidies,
        schema: schema::close_session,
    },
];

impl Spec {
    fn definition(&self) -> Tool {
        let annotations = ToolAnnotations::new()
            .read_only(self.kind == Kind::Reads)
            .destructive(self.kind == Kind::Changes)
            .idempotent(matches!(self.kind, Kind::Reads | Kind::Tidies))
            .open_world(false);
        let mut tool = Tool::new(self.name, self.description, (self.schema)());
        tool.title = Some(self.title.to_owned());
        tool.annotations = Some(annotations);
        tool
    }

    fn listed(&self, writable: bool) -> bool {
        writable || self.kind != Kind::Changes
    }
}

/// The definitions, in a fixed order.
pub(super) fn definitions(writable: bool) -> Vec<Tool> {
    TOOLS
        .iter()
        .filter(|t| t.listed(writable))
        .map(Spec::definition)
        .collect()
}

/// The names, in the same order.
pub(super) fn names(writable: bool) -> Vec<&'static str> {
    TOOLS
        .iter()
        .filter(|t| t.listed(writable))
        .map(|t| t.name)
        .collect()
}

/// A listed tool by its name.
pub(super) fn find(name: &str, writable: bool) -> Option<&'static Spec> {
    TOOLS.iter().find(|t| t.name == name && t.listed(writable))
}

/// Runs a call.
pub(super) async fn call(
    server: &Server,
    tool: &'static Spec,
    given: Map<String, Value>,
    context: &RequestContext<RoleServer>,
) -> Result<Answer, Failed> {
    let args = Args::new(tool.name, given, &server.service);
    match tool.name {
        "query_sql" => statements::sql(server, args, context, true).await,
        "run_sql" => statements::sql(server, args, context, false).await,
        "run_pyspark" => statements::python(server, args, context).await,
        "list_tables" => tables::list(server, args, context).await,
        "write_table" => write::table(server, args, context).await,
        "get_statement" => statements::get(server, args, context).await,
        "cancel_statement" => statements::cancel(server, args, context).await,
        "open_session" => sessions::open(server, args, context).await,
        "list_sessions" => sessions::list(server, args).await,
        "close_session" => sessions::close(server, args).await,
        other => Err(Error::internal(format!("the tool {other} has no code")).into()),
    }
}

#[cfg(test)]
mod tests;
