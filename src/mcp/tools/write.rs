//! `write_table`: its arguments, all that is wrong with them at once, and the call.

use std::path::PathBuf;

use rmcp::RoleServer;
use rmcp::service::RequestContext;
use serde_json::{Map, Value};

use super::Failed;
use super::args::{Args, kind};
use super::statements::{self, Wish};
use crate::gate::Answer;
use crate::mcp::{Server, roots};
use crate::model::{TableName, WriteMode, shown};
use crate::service::{WriteCall, WriteSource, table_name};

/// More rows that are wrong in the same way tell nothing new.
const ROWS_SHOWN: usize = 3;

/// What each mode is also called; the nearest spelling is looked for beside these.
const OTHER_WORDS: [(&str, &str); 8] = [
    ("create", "error"),
    ("errorifexists", "error"),
    ("new", "error"),
    ("insert", "append"),
    ("add", "append"),
    ("replace", "overwrite"),
    ("upsert", "merge"),
    ("update", "merge"),
];

const MODES: [WriteMode; 4] = [
    WriteMode::Error,
    WriteMode::Append,
    WriteMode::Overwrite,
    WriteMode::Merge,
];

pub(super) async fn table(
    server: &Server,
    mut args: Args<'_>,
    context: &RequestContext<RoleServer>,
) -> Result<Answer, Failed> {
    let table = args.table();
    let mode = args.mode();
    let source = args.source();
    let schema = args.schema();
    let keys = args.names("keys");
    let partition_by = args.names("partition_by");
    let place = args.place();
    let wish = Wish::plain(&mut args, server);
    match (mode, keys.is_empty()) {
        (Some(WriteMode::Merge), true) => {
            args.problem("keys are missing: a merge needs the columns whose values name a row");
        }
        (Some(WriteMode::Merge) | None, _) | (Some(_), true) => {}
        (Some(mode), false) => args.problem(format!(
            "keys are for mode merge, not for {}",
            mode.as_word()
        )),
    }
    if matches!(source, Some(WriteSource::Variable(_))) && place.session.is_none() {
        args.problem("variable needs session: the named session that holds it");
    }
    if let Some(WriteSource::Rows { columns, .. }) = &source {
        for (what, names) in [("keys", &keys), ("partition_by", &partition_by)] {
            let near = |name: &&String| {
                !columns
                    .iter()
                    .any(|c| c.to_lowercase() == name.to_lowercase())
            };
            let unknown: Vec<&str> = names.iter().filter(near).map(String::as_str).collect();
            if !unknown.is_empty() {
                args.problem(format!(
                    "{what}: rows have no column {}; their columns are {}",
                    unknown.join(", "),
                    columns.join(", ")
                ));
            }
        }
    }
    let roots: Vec<PathBuf> = match &source {
        Some(WriteSource::File(path)) => {
            let roots = roots::ask(context).await;
            // Beside other faults it is told now; alone it has a code of its own.
            if args.has_problems()
                && let Err(e) = server.service.write_file(path, &roots)
            {
                args.problem(e.message().to_owned());
            }
            roots
        }
        _ => Vec::new(),
    };
    args.finish()?;
    let (Some(table), Some(mode), Some(source)) = (table, mode, source) else {
        return Err(crate::model::Error::internal("an argument was lost").into());
    };
    let call = WriteCall {
        table,
        mode,
        source,
        schema,
        keys,
        partition_by,
        roots,
    };
    let waiting = server
        .service
        .start_write(&server.owner, &place, call)
        .await?;
    statements::wait(server, waiting, wish, context).await
}

impl Args<'_> {
    /// `table`: `t` or `db.t`, each part in backquotes where it needs them.
    fn table(&mut self) -> Option<TableName> {
        let text = self.text("table");
        if text.is_empty() {
            return None;
        }
        let name = table_name(&text);
        if name.is_none() {
            self.problem(format!(
                "table: {} is no name; write t or db.t, with backquotes around a part that holds a dot",
                shown(&Value::from(text))
            ));
        }
        name
    }

    fn mode(&mut self) -> Option<WriteMode> {
        let Some(given) = self.string("mode") else {
            if !self.complained("mode") {
                self.problem("mode is missing: error, append, overwrite or merge");
            }
            return None;
        };
        let mode = mode_of(&given);
        if let Err(near) = &mode {
            self.problem(format!(
                "mode must be error, append, overwrite or merge, not {given:?}{near}"
            ));
        }
        mode.ok()
    }

    /// The one of the four sources that is given.
    fn source(&mut self) -> Option<WriteSource> {
        const ALL: [&str; 4] = ["sql", "rows", "file", "variable"];
        let given: Vec<&str> = ALL.into_iter().filter(|name| self.has(name)).collect();
        match given.len() {
            1 => {}
            0 => self
                .problem("one of sql, rows, file, variable is missing: where the rows come from"),
            _ => self.problem(format!(
                "exactly one of sql, rows, file, variable is needed, not {}",
                given.join(" and ")
            )),
        }
        let sql = self.has("sql").then(|| self.text("sql"));
        let rows = self.take("rows").map(|rows| self.rows(rows));
        let file = self.string("file");
        let variable = self.string("variable");
        if given.len() != 1 {
            return None;
        }
        sql.map(WriteSource::Sql)
            .or(rows.flatten())
            .or(file.map(WriteSource::File))
            .or(variable.map(WriteSource::Variable))
    }

    fn schema(&mut self) -> Option<String> {
        let schema = self.string("schema")?;
        if schema.trim().is_empty() {
            self.problem("schema is empty: write id bigint, price decimal(10,2)");
        }
        Some(schema)
    }

    /// A list of column names; a single one may stand alone.
    fn names(&mut self, argument: &'static str) -> Vec<String> {
        let list = match self.take(argument) {
            None => return Vec::new(),
            Some(Value::Array(list)) => list,
            Some(one) => vec![one],
        };
        let mut names: Vec<String> = Vec::new();
        for name in list {
            match name {
                Value::String(name) if names.contains(&name) => {
                    self.problem(format!("{argument}: {name} stands there twice"));
                }
                Value::String(name) => names.push(name),
                other => self.problem(format!(
                    "{argument} must be column names, not {}",
                    kind(&other)
                )),
            }
        }
        names
    }

    /// `rows`: objects of one set of keys, or `{columns, rows}`.
    fn rows(&mut self, given: Value) -> Option<WriteSource> {
        // Models pass JSON as text.
        let given = match &given {
            Value::String(text) => serde_json::from_str(text).unwrap_or(given),
            _ => given,
        };
        match given {
            Value::Array(rows) => self.objects(rows),
            Value::Object(mut fields) => {
                let columns = fields.remove("columns");
                let rows = fields.remove("rows");
                match (columns, rows, fields.is_empty()) {
                    (Some(Value::Array(columns)), Some(Value::Array(rows)), true) => {
                        self.table_rows(columns, rows)
                    }
                    _ => {
                        self.problem("rows must be [{column: value}] or {\"columns\": [name], \"rows\": [[value]]}");
                        None
                    }
                }
            }
            other => {
                self.problem(format!(
                    "rows must be a list of objects, or an object of columns and rows, not {}",
                    kind(&other)
                ));
                None
            }
        }
    }

    fn objects(&mut self, given: Vec<Value>) -> Option<WriteSource> {
        let columns: Vec<String> = match given.first() {
            Some(Value::Object(first)) => first.keys().cloned().collect(),
            Some(_) => Vec::new(),
            None => {
                self.problem("rows is empty, so it has no columns; write {\"columns\": [name], \"rows\": []}");
                return None;
            }
        };
        let mut rows = Vec::with_capacity(given.len());
        let mut wrong = Vec::new();
        for (place, row) in given.into_iter().enumerate() {
            match row {
                Value::Object(mut row) => {
                    if let Some(words) = difference(&columns, &row) {
                        wrong.push(format!("rows[{place}] {words}"));
                    }
                    let value = |name: &String| row.remove(name).unwrap_or(Value::Null);
                    rows.push(columns.iter().map(value).collect());
                }
                other => wrong.push(format!("rows[{place}] is {}, not an object", kind(&other))),
            }
        }
        self.few(wrong, "rows");
        Some(WriteSource::Rows { columns, rows })
    }

    fn table_rows(&mut self, names: Vec<Value>, given: Vec<Value>) -> Option<WriteSource> {
        let mut columns = Vec::new();
        for name in names {
            match name {
                Value::String(name) => columns.push(name),
                other => self.problem(format!("rows.columns must be names, not {}", kind(&other))),
            }
        }
        let mut rows = Vec::with_capacity(given.len());
        let mut wrong = Vec::new();
        for (place, row) in given.into_iter().enumerate() {
            match row {
                Value::Array(row) if row.len() == columns.len() => rows.push(row),
                Value::Array(row) => wrong.push(format!(
                    "rows.rows[{place}] has {} values, there are {} columns",
                    row.len(),
                    columns.len()
                )),
                other => wrong.push(format!(
                    "rows.rows[{place}] is {}, not an array",
                    kind(&other)
                )),
            }
        }
        self.few(wrong, "rows");
        Some(WriteSource::Rows { columns, rows })
    }

    fn few(&mut self, wrong: Vec<String>, what: &str) {
        let more = wrong.len().saturating_sub(ROWS_SHOWN);
        for text in wrong.into_iter().take(ROWS_SHOWN) {
            self.problem(text);
        }
        if more > 0 {
            self.problem(format!("{more} more {what} are wrong"));
        }
    }
}

/// A mode by its word, or which one may have been meant.
///
/// # Errors
/// `; did you mean …?`, or nothing.
fn mode_of(word: &str) -> Result<WriteMode, String> {
    let word = word.trim().to_lowercase();
    if let Some(mode) = MODES.into_iter().find(|mode| mode.as_word() == word) {
        return Ok(mode);
    }
    let words = MODES
        .into_iter()
        .map(|mode| (mode.as_word(), mode.as_word()))
        .chain(OTHER_WORDS);
    let near = words
        .map(|(like, mode)| (strsim::jaro_winkler(like, &word), mode))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    Err(near.map_or(String::new(), |(_, mode)| format!("; did you mean {mode}?")))
}

/// What a row's keys are, beside those of the first one.
fn difference(columns: &[String], row: &Map<String, Value>) -> Option<String> {
    let missing: Vec<&str> = columns
        .iter()
        .filter(|name| !row.contains_key(*name))
        .map(String::as_str)
        .collect();
    let other: Vec<&str> = row
        .keys()
        .filter(|name| !columns.contains(name))
        .map(String::as_str)
        .collect();
    let lacks = (!missing.is_empty()).then(|| format!("lacks {}", missing.join(", ")));
    let has = (!other.is_empty()).then(|| format!("has {} besides", other.join(", ")));
    let both: Vec<String> = lacks.into_iter().chain(has).collect();
    (!both.is_empty()).then(|| format!("{}: every row has the keys of rows[0]", both.join(" and ")))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("merge", Ok(WriteMode::Merge))]
    #[case(" Append", Ok(WriteMode::Append))]
    #[case("appned", Err("; did you mean append?"))]
    #[case("upsert", Err("; did you mean merge?"))]
    #[case("replace", Err("; did you mean overwrite?"))]
    #[case("x", Err(""))]
    fn a_mode_is_one_word_of_four(#[case] word: &str, #[case] mode: Result<WriteMode, &str>) {
        assert_eq!(mode_of(word), mode.map_err(str::to_owned));
    }

    #[test]
    fn rows_with_other_keys_are_told_with_their_keys() {
        let columns = ["a".to_owned(), "b".to_owned()];
        let row = json!({"a": 1, "c": 2});
        assert_eq!(
            difference(&columns, row.as_object().unwrap()).unwrap(),
            "lacks b and has c besides: every row has the keys of rows[0]"
        );
        let row = json!({"b": 1, "a": 2});
        assert_eq!(difference(&columns, row.as_object().unwrap()), None);
    }
}
