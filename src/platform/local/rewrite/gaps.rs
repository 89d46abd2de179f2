//! What Sail cannot do, in words, and what to do instead. Tried on pysail 0.7.2; what it says itself stands behind
//! each group.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{is, is_any, starts_query, unsupported};
use crate::model::Error;

/// Statements by their first words: the words, what it is called, what to do instead.
const GAPS: &[(&[&str], &str, &str)] = &[
    // "found … expected …": not in its grammar.
    (&["OPTIMIZE"], "OPTIMIZE", LEAVE_OUT),
    (&["VACUUM"], "VACUUM", LEAVE_OUT),
    (
        &["RESTORE"],
        "RESTORE",
        "Use CREATE OR REPLACE TABLE t AS SELECT a, b FROM delta.`location` VERSION AS OF n, with the location that DESCRIBE DETAIL t shows and the columns named; DESCRIBE HISTORY t names the versions.",
    ),
    (&["BEGIN"], "SQL scripts (BEGIN … END)", ONE_BY_ONE),
    (&["DECLARE"], "SQL variables", VARIABLES),
    (&["SET", "VAR"], "SQL variables", VARIABLES),
    (&["SET", "VARIABLE"], "SQL variables", VARIABLES),
    (
        &["DROP", "TEMPORARY", "VARIABLE"],
        "SQL variables",
        VARIABLES,
    ),
    (
        &["EXECUTE"],
        "EXECUTE IMMEDIATE",
        "Send the statement itself.",
    ),
    (&["CALL"], "CALL", LEAVE_OUT),
    (&["MSCK"], "MSCK REPAIR TABLE", LEAVE_OUT),
    (&["REPAIR"], "REPAIR TABLE", LEAVE_OUT),
    (&["ADD"], "ADD JAR, FILE or ARCHIVE", LEAVE_OUT),
    (&["LIST"], "LIST JARS, FILES or ARCHIVES", LEAVE_OUT),
    (&["GRANT"], "GRANT", LEAVE_OUT),
    (&["REVOKE"], "REVOKE", LEAVE_OUT),
    (&["COPY", "INTO"], "COPY INTO", LOAD),
    (&["CREATE", "FUNCTION"], "CREATE FUNCTION", FUNCTIONS),
    (
        &["CREATE", "TEMPORARY", "FUNCTION"],
        "CREATE FUNCTION",
        FUNCTIONS,
    ),
    (
        &["CREATE", "OR", "REPLACE", "FUNCTION"],
        "CREATE FUNCTION",
        FUNCTIONS,
    ),
    (
        &["CREATE", "OR", "REPLACE", "TEMPORARY", "FUNCTION"],
        "CREATE FUNCTION",
        FUNCTIONS,
    ),
    (
        &["CREATE", "STREAMING", "TABLE"],
        "streaming tables",
        "Use CREATE TABLE t AS SELECT ….",
    ),
    (
        &["CREATE", "MATERIALIZED", "VIEW"],
        "materialized views",
        "Use CREATE TABLE t AS SELECT ….",
    ),
    // "CREATE VIEW is not supported" by the catalogue.
    (&["CREATE", "VIEW"], "views that stay", VIEWS),
    (
        &["CREATE", "OR", "REPLACE", "VIEW"],
        "views that stay",
        VIEWS,
    ),
    (
        &["FROM"],
        "queries that begin with FROM",
        "Write SELECT … FROM ….",
    ),
    // "PlanNode::CacheTable", "CommandNode::AnalyzeTable" and the like: parsed, then not done.
    (&["CACHE"], "CACHE TABLE", LEAVE_OUT),
    (&["UNCACHE"], "UNCACHE TABLE", LEAVE_OUT),
    (&["CLEAR", "CACHE"], "CLEAR CACHE", LEAVE_OUT),
    (&["REFRESH"], "REFRESH", LEAVE_OUT),
    (&["ANALYZE"], "ANALYZE TABLE", LEAVE_OUT),
    (&["LOAD", "DATA"], "LOAD DATA", LOAD),
    (
        &["ALTER", "VIEW"],
        "ALTER VIEW",
        "Use CREATE OR REPLACE TEMP VIEW v AS SELECT ….",
    ),
    (&["ALTER", "DATABASE"], "ALTER DATABASE", LEAVE_OUT),
    (&["ALTER", "SCHEMA"], "ALTER SCHEMA", LEAVE_OUT),
];

const LEAVE_OUT: &str = "Leave it out: the local engine has nothing in its place.";
const ONE_BY_ONE: &str = "Send the statements one by one, or use run_pyspark for the control flow.";
const VARIABLES: &str = "Pass values by the \"params\" argument, or keep them in run_pyspark.";
const FUNCTIONS: &str = "Register a Python function by spark.udf.register in run_pyspark, in a session of open_session.";
const VIEWS: &str = "Use CREATE OR REPLACE TEMP VIEW v AS SELECT …, which lives as long as the session, or CREATE TABLE t AS SELECT ….";
const LOAD: &str =
    "Use INSERT INTO t SELECT … from a view of the file: files={\"orders\": \"orders.csv\"}.";

/// Says what the statement needs and Sail lacks.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    for (words, what, hint) in GAPS {
        if begins(tokens, words) {
            return Err(unsupported(what, hint));
        }
    }
    // What stands behind a SET is a value, whatever it looks like.
    if begins(tokens, &["SET"]) {
        return Ok(());
    }
    check_describe(tokens)?;
    check_insert(tokens)?;
    check_with_write(tokens)?;
    check_pipes(tokens)?;
    check_stream(tokens)?;
    check_sample(tokens)
}

fn begins(tokens: &[TokenWithSpan], words: &[&str]) -> bool {
    // A last word with `=` behind it is the key of a SET, not a keyword.
    let key = tokens
        .get(words.len())
        .is_some_and(|token| token.token == Token::Eq);
    words.len() <= tokens.len()
        && !key
        && tokens
            .iter()
            .zip(words)
            .all(|(token, word)| is(token, word))
}

/// Of a query: "CommandNode::DescribeQuery"; of a catalog: "CommandNode::DescribeCatalog".
fn check_describe(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    let [describe, what, rest @ ..] = tokens else {
        return Ok(());
    };
    let Some(next) = rest.first() else {
        return Ok(());
    };
    if !is_any(describe, &["DESCRIBE", "DESC"]) || next.token == Token::Period {
        return Ok(());
    }
    if is(what, "CATALOG") {
        return Err(unsupported("DESCRIBE CATALOG", "Use SHOW CATALOGS."));
    }
    if starts_query(what) || (is(what, "QUERY") && starts_query(next)) {
        return Err(unsupported(
            "DESCRIBE of a query",
            "Run the query with LIMIT 0: the result names its columns and their types.",
        ));
    }
    Ok(())
}

/// "PARTITION for write"; by path a table that is "not found".
fn check_insert(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    if !begins(tokens, &["INSERT"]) {
        return Ok(());
    }
    let head: Vec<_> = tokens
        .iter()
        .take_while(|token| !starts_query(token))
        .collect();
    if head.iter().any(|token| is(token, "PARTITION")) {
        return Err(unsupported(
            "INSERT with PARTITION",
            "Name the partition columns in the query: INSERT INTO t SELECT a, 'x' AS part; to replace a partition, DELETE FROM t WHERE part = 'x' first.",
        ));
    }
    let by_path = head.windows(3).any(|window| match window {
        [format, dot, path] => {
            is(format, "DELTA")
                && dot.token == Token::Period
                && matches!(&path.token, Token::Word(word) if word.value.contains('/'))
        }
        _ => false,
    });
    if by_path {
        return Err(unsupported(
            "INSERT into a path",
            "Give the folder a name first: CREATE TABLE t USING delta LOCATION 'path', then INSERT INTO t.",
        ));
    }
    Ok(())
}

/// "found insert … expected ',', 'SELECT', …".
fn check_with_write(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    if !tokens.first().is_some_and(|token| is(token, "WITH")) {
        return Ok(());
    }
    let mut open = 0_i32;
    let mut closed = false;
    for token in tokens {
        match token.token {
            Token::LParen => open = open.saturating_add(1),
            Token::RParen => open = open.saturating_sub(1),
            _ if open == 0 && closed && is_any(token, &["INSERT", "UPDATE", "DELETE", "MERGE"]) => {
                return Err(unsupported(
                    "WITH before a statement that writes",
                    "Put it behind: INSERT INTO t WITH x AS (…) SELECT … FROM x.",
                ));
            }
            _ => {}
        }
        closed = token.token == Token::RParen;
    }
    Ok(())
}

/// "found > …".
fn check_pipes(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    if tokens
        .iter()
        .any(|token| token.token == Token::VerticalBarRightAngleBracket)
    {
        return Err(unsupported(
            "pipes (`|>`)",
            "Write the steps as subqueries or by WITH.",
        ));
    }
    Ok(())
}

/// Read as a table function, whose argument is then "missing from the schema".
fn check_stream(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    let stream = tokens.windows(3).any(|window| match window {
        [from, stream, open] => {
            is_any(from, &["FROM", "JOIN"]) && is(stream, "STREAM") && open.token == Token::LParen
        }
        _ => false,
    });
    if stream {
        return Err(unsupported(
            "streaming",
            "Read the table as it is: SELECT … FROM t.",
        ));
    }
    Ok(())
}

/// "TABLESAMPLE with ROWS".
fn check_sample(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    let mut rest = tokens.iter();
    while rest.any(|token| is(token, "TABLESAMPLE")) {
        let by_rows = rest
            .clone()
            .take_while(|token| token.token != Token::RParen)
            .any(|token| is(token, "ROWS"));
        if by_rows {
            return Err(unsupported(
                "TABLESAMPLE by ROWS",
                "Use LIMIT n, or TABLESAMPLE (n PERCENT).",
            ));
        }
    }
    Ok(())
}
