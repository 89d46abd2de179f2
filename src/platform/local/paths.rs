//! Which files a text reads as tables (``parquet.`/x` ``), so that the caller can check that they are there: Sail
//! reads a missing path, or a glob without a match, as an empty table (seen on pysail 0.7.2; Delta alone raises).

use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::rewrite::{is, is_any, significant};

/// The formats that Sail reads by path. Case does not matter to it.
const FORMATS: [&str; 8] = [
    "parquet",
    "json",
    "csv",
    "text",
    "delta",
    "iceberg",
    "avro",
    "binaryfile",
];

/// The paths as written, in order: local paths, `file:` and other URLs, globs included. A relative one counts from
/// the engine's working directory.
///
/// Names with a catalog in front are tables for Sail. A text that cannot be cut has none: Sail refuses it.
pub(crate) fn path_relations(text: &str) -> Vec<String> {
    significant(text)
        .map(|tokens| paths(&tokens))
        .unwrap_or_default()
}

fn paths(tokens: &[TokenWithSpan]) -> Vec<String> {
    let mut paths = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| tokens.get(before));
        let rest = tokens.get(index..).unwrap_or(&[]);
        if let Some(path) = relation(before, rest) {
            paths.push(path);
        }
        if is(token, "IDENTIFIER") {
            paths.extend(identifier_clause(rest));
        }
    }
    paths
}

/// `format.path`, where a relation may stand. Behind a comma it may be a column: there only what looks like a path.
fn relation(before: Option<&TokenWithSpan>, tokens: &[TokenWithSpan]) -> Option<String> {
    let [format, dot, path, after @ ..] = tokens else {
        return None;
    };
    let (format, path) = (word(format)?, word(path)?);
    let known = FORMATS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(&format.value));
    let longer = after
        .first()
        .is_some_and(|token| token.token == Token::Period);
    if !known || dot.token != Token::Period || longer {
        return None;
    }
    let before = before?;
    let relation = is_any(before, &["FROM", "JOIN", "TABLE"]);
    let perhaps = before.token == Token::Comma
        && path.quote_style.is_some()
        && path.value.contains(['/', '*']);
    (relation || perhaps).then(|| path.value.clone())
}

fn word(token: &TokenWithSpan) -> Option<&Word> {
    match &token.token {
        Token::Word(word) => Some(word),
        _ => None,
    }
}

/// ``IDENTIFIER('text.`/x`')``, which Sail reads too.
fn identifier_clause(tokens: &[TokenWithSpan]) -> Vec<String> {
    match tokens {
        [
            _,
            open,
            TokenWithSpan {
                token: Token::SingleQuotedString(name) | Token::DoubleQuotedString(name),
                ..
            },
            ..,
        ] if open.token == Token::LParen => path_relations(&format!("TABLE {name}")),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("select * from parquet.`/data/x.parquet`", &["/data/x.parquet"])]
    #[case("select * from PARQUET . /* x */ `file:///data/*.parquet` p join csv.`a b.csv` on true", &["file:///data/*.parquet", "a b.csv"])]
    #[case("select * from t, json.`/x/*`", &["/x/*"])]
    #[case("select * from text.readme", &["readme"])]
    #[case("table text.`/x`", &["/x"])]
    #[case("insert into t select * from `csv`.`/x`;", &["/x"])]
    #[case("select * from (select * from text.`a``b`)", &["a`b"])]
    #[case("select * from identifier('text.`/x`')", &["/x"])]
    #[case("select * from identifier('t')", &[])]
    #[case("select json.id, json.`a b` from t as json", &[])]
    #[case("select * from spark_catalog.text.`/x`", &[])]
    #[case("select * from text.a.b", &[])]
    #[case("select 'from text.`/x`' -- from text.`/y`", &[])]
    #[case("select * from db.`t`", &[])]
    #[case("select 'not closed from text.`/x`", &[])]
    #[case("", &[])]
    fn files_read_as_tables_are_found(#[case] text: &str, #[case] expected: &[&str]) {
        assert_eq!(path_relations(text), expected);
    }
}
