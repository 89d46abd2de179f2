//! What the tokens alone forbid, wherever it stands: functions that reach out of SQL, files read as tables,
//! programs, writes, more than one statement. Grammar is not looked at here; so no parser can be talked out of it.

use super::classify::{HINT_RUN, Refusal};
use super::lex::{Kind, Token};

const HINT_FILES: &str = "Pass the file by the \"files\" argument: files={\"orders\": \"orders.csv\"}, and select from orders.";
const HINT_PARAMS: &str = "Pass values by the \"params\" argument and write names into the text.";

/// Functions that run Java, read secrets or files, or call out. Any name that begins with [`DENIED_PREFIXES`] too.
const DENIED_FUNCTIONS: [(&str, &str); 17] = [
    ("reflect", "runs any Java method"),
    ("java_method", "runs any Java method"),
    ("try_reflect", "runs any Java method"),
    ("secret", "reads secrets"),
    ("try_secret", "reads secrets"),
    ("list_secrets", "reads secrets"),
    ("read_files", "reads files by path"),
    ("read_kafka", "reads from any address"),
    ("read_kinesis", "reads from any address"),
    ("read_pubsub", "reads from any address"),
    ("read_pulsar", "reads from any address"),
    ("read_statestore", "reads files by path"),
    ("read_state_metadata", "reads files by path"),
    ("http_request", "sends requests"),
    ("remote_query", "runs text on another system"),
    ("from_avro", "can fetch its schema from any address"),
    ("to_avro", "can fetch its schema from any address"),
];

const DENIED_PREFIXES: [(&str, &str); 2] = [
    ("ai_", "sends data to a model"),
    ("cloud_files", "reads files by path"),
];

/// Names that, before a dot, make Spark read what follows as a file: data sources.
const FORMATS: [&str; 14] = [
    "avro",
    "binaryfile",
    "csv",
    "delta",
    "hudi",
    "iceberg",
    "image",
    "jdbc",
    "json",
    "libsvm",
    "orc",
    "parquet",
    "text",
    "xml",
];

/// The tokens of the one statement, without the `;` behind it.
pub(super) fn one_statement<'t, 'a>(tokens: &'t [Token<'a>]) -> Result<&'t [Token<'a>], Refusal> {
    let end = tokens
        .iter()
        .rposition(|token| !token.symbol(';'))
        .map_or(0, |last| last + 1);
    let tokens = tokens.get(..end).unwrap_or(&[]);
    let first = tokens
        .first()
        .ok_or_else(|| Refusal::new("no statement", "Pass one SELECT."))?;
    check_head(first)?;
    match tokens.iter().find(|token| token.symbol(';')) {
        Some(token) => Err(token.refuse(
            "more than one statement",
            "Pass one statement per call, without a `;` inside.",
        )),
        None => Ok(tokens),
    }
}

/// Whether a statement may begin like this at all; the words get their own reasons.
fn check_head(token: &Token<'_>) -> Result<(), Refusal> {
    if token.is_any(&["SHOW", "DESCRIBE", "DESC", "EXPLAIN"]) {
        return Ok(());
    }
    check_query_head(token)
}

/// Whether a query may begin like this.
pub(super) fn check_query_head(token: &Token<'_>) -> Result<(), Refusal> {
    if token.is_any(&["SELECT", "WITH", "VALUES", "TABLE", "FROM"]) || token.symbol('(') {
        return Ok(());
    }
    let word = token.raw.to_ascii_uppercase();
    let (reason, hint) = match word.as_str() {
        "SET" | "RESET" => (
            format!("{word}, which shows or changes the session's configuration"),
            HINT_RUN,
        ),
        "BEGIN" | "DECLARE" | "IF" | "WHILE" | "FOR" | "LOOP" | "REPEAT" | "CASE" => {
            ("a script, whose parts are not checked".to_owned(), HINT_RUN)
        }
        "EXECUTE" => (
            "EXECUTE IMMEDIATE, whose text is not checked".to_owned(),
            HINT_RUN,
        ),
        "MAP" | "REDUCE" => (format!("{word} … USING, which runs a program"), HINT_RUN),
        "USE" => (
            "USE, which changes the session's current schema".to_owned(),
            "Write the schema before the table: schema.table.",
        ),
        "CACHE" | "UNCACHE" | "CLEAR" | "REFRESH" => (
            format!("{word}, which changes what the session keeps"),
            HINT_RUN,
        ),
        _ if token.kind == Kind::Word => (
            format!("`{word}` does not begin a statement that only reads"),
            HINT_RUN,
        ),
        _ => (
            format!("`{}` does not begin a statement", token.raw),
            HINT_RUN,
        ),
    };
    Err(token.refuse(reason, hint))
}

/// Goes over the whole statement.
pub(super) fn check(tokens: &[Token<'_>]) -> Result<(), Refusal> {
    for start in 0..tokens.len() {
        let rest = tokens.get(start..).unwrap_or(&[]);
        let after_dot = start
            .checked_sub(1)
            .and_then(|before| tokens.get(before))
            .is_some_and(|token| token.symbol('.'));
        check_function(rest)?;
        check_path(rest)?;
        check_program(rest)?;
        check_identifier_clause(rest)?;
        if !after_dot {
            check_write(rest)?;
            check_table_of_format(rest)?;
        }
    }
    Ok(())
}

/// `reflect(…)`, however it is written and qualified: the last part stands before the parenthesis.
fn check_function(tokens: &[Token<'_>]) -> Result<(), Refusal> {
    let [name, open, ..] = tokens else {
        return Ok(());
    };
    match name.name() {
        Some(called) if open.symbol('(') => check_function_name(name, &called),
        _ => Ok(()),
    }
}

fn check_function_name(token: &Token<'_>, name: &str) -> Result<(), Refusal> {
    let lower = name.trim().to_lowercase();
    let exact = DENIED_FUNCTIONS.iter().find(|(denied, _)| *denied == lower);
    let prefix = DENIED_PREFIXES
        .iter()
        .find(|(denied, _)| lower.starts_with(denied));
    match exact.or(prefix) {
        Some((_, why)) => {
            Err(token.refuse(format!("the function `{lower}`, which {why}"), HINT_RUN))
        }
        None => Ok(()),
    }
}

/// ``fmt.`/path` `` in any position.
fn check_path(tokens: &[Token<'_>]) -> Result<(), Refusal> {
    let [format, dot, path, ..] = tokens else {
        return Ok(());
    };
    let (Some(first), Some(second)) = (format.name(), path.name()) else {
        return Ok(());
    };
    let quoted = matches!(path.kind, Kind::Quoted | Kind::DoubleQuoted);
    let file = is_path(&second) || (is_format(&first) && is_path_like(&second));
    if dot.symbol('.') && quoted && file {
        return Err(file_as_table(format));
    }
    Ok(())
}

fn file_as_table(token: &Token<'_>) -> Refusal {
    token.refuse("a file read as a table", HINT_FILES)
}

/// `TABLE text.readme`, `FROM (text.readme)`: Spark and Sail read the file `readme`. A comma's right side is left to
/// the tree.
fn check_table_of_format(tokens: &[Token<'_>]) -> Result<(), Refusal> {
    let Some((_, rest)) = tokens
        .split_first()
        .filter(|(first, _)| first.is_any(&["TABLE", "FROM", "JOIN"]))
    else {
        return Ok(());
    };
    let opened = rest.iter().take_while(|token| token.symbol('(')).count();
    let rest = rest.get(opened..).unwrap_or(&[]);
    check_relation(rest, parts(rest))
}

/// How many parts the dotted name at the start of `tokens` has.
fn parts(tokens: &[Token<'_>]) -> usize {
    let mut rest = tokens;
    let mut parts = 0_usize;
    while let [name, after @ ..] = rest
        && name.name().is_some()
    {
        parts += 1;
        match after {
            [dot, next @ ..] if dot.symbol('.') => rest = next,
            _ => break,
        }
    }
    parts
}

/// A relation's name of so many parts, at the start of `tokens`.
pub(super) fn check_relation(tokens: &[Token<'_>], parts: usize) -> Result<(), Refusal> {
    let names: Vec<String> = tokens
        .iter()
        .step_by(2)
        .take(parts)
        .filter_map(Token::name)
        .collect();
    match tokens.first() {
        Some(first) if is_file_relation(&names) => {
            Err(first.refuse(relation_reason(&names), relation_hint(&names)))
        }
        _ => Ok(()),
    }
}

/// Whether a relation of this name may be a file.
pub(crate) fn is_file_relation(names: &[String]) -> bool {
    let of_format = matches!(names, [format, _] if is_format(format) || format.contains('.'));
    of_format || names.iter().any(|name| is_path(name))
}

/// Why such a relation is refused.
pub(super) fn relation_reason(names: &[String]) -> String {
    match names {
        [format, _] if !names.iter().any(|name| is_path_like(name)) => {
            format!("a name after `{format}.`, which may be a file")
        }
        _ => "a file read as a table".to_owned(),
    }
}

/// What to do instead.
pub(super) fn relation_hint(names: &[String]) -> &'static str {
    if names.iter().any(|name| is_path_like(name)) {
        HINT_FILES
    } else {
        "Write the catalog before a schema of this name (catalog.schema.table), or pass a file by \"files\"."
    }
}

fn is_format(name: &str) -> bool {
    FORMATS
        .iter()
        .any(|format| name.trim().eq_ignore_ascii_case(format))
}

/// Certainly a path or an address.
fn is_path(name: &str) -> bool {
    let name = name.trim();
    name.starts_with(['/', '\\', '~'])
        || name.starts_with("./")
        || name.starts_with("../")
        || name.contains(":/")
}

/// Perhaps a path.
fn is_path_like(name: &str) -> bool {
    name.contains(['/', '\\', ':', '*', '?', '~']) || name.trim().starts_with('.')
}

/// `TRANSFORM … USING 'program'`, and MAP and REDUCE. A join's USING has a parenthesis.
fn check_program(tokens: &[Token<'_>]) -> Result<(), Refusal> {
    match tokens {
        [using, program, ..]
            if using.is("USING") && matches!(program.kind, Kind::Text | Kind::DoubleQuoted) =>
        {
            Err(using.refuse("TRANSFORM … USING, which runs a program", HINT_RUN))
        }
        _ => Ok(()),
    }
}

/// `IDENTIFIER('…')` with one plain literal only; else nobody knows what it names.
fn check_identifier_clause(tokens: &[Token<'_>]) -> Result<(), Refusal> {
    let [word, open, rest @ ..] = tokens else {
        return Ok(());
    };
    if !word.is("IDENTIFIER") || !open.symbol('(') {
        return Ok(());
    }
    let plain = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    };
    match rest {
        [text, close, ..]
            if text.kind == Kind::Text && close.symbol(')') && plain(text.inner()) =>
        {
            let names: Vec<String> = text.inner().split('.').map(str::to_owned).collect();
            if is_file_relation(&names) {
                return Err(text.refuse(relation_reason(&names), relation_hint(&names)));
            }
            names
                .iter()
                .try_for_each(|name| check_function_name(text, name))
        }
        _ => Err(word.refuse(
            "IDENTIFIER() of something else than a plain name",
            HINT_PARAMS,
        )),
    }
}

/// The words of every INSERT, MERGE, COPY and SELECT … INTO.
fn check_write(tokens: &[Token<'_>]) -> Result<(), Refusal> {
    match tokens.first() {
        Some(word) if word.is_any(&["INTO", "OVERWRITE"]) => Err(word.refuse(
            format!("{}, which writes", word.raw.to_ascii_uppercase()),
            "Use run_sql for statements that change something; put a column of this name in backticks.",
        )),
        _ => Ok(()),
    }
}
