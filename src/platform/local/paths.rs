//! Which files a text reads as tables, so that the caller can check that they are there: Sail reads a missing path, or
//! a pattern without a match, as an empty table (seen on pysail 0.7.2; Delta and Iceberg alone raise).
//!
//! `engine_shims.py` has the same rules for Python; both are tested with `tests/cases/paths.json`.

use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::rewrite::{is, is_any, significant};

/// The formats that Sail reads by path. Case does not matter to it.
const FORMATS: [&str; 9] = [
    "parquet",
    "json",
    "csv",
    "text",
    "delta",
    "iceberg",
    "avro",
    "binaryfile",
    "arrow",
];

/// The paths as written, in order: local paths, `file:` and other URLs, globs included. A relative one counts from
/// the engine's working directory.
///
/// Found are ``format.`path` `` wherever a relation may stand (Sail never looks for a table of that name, so `text.readme`
/// is a file), the same in `IDENTIFIER('…')`, and the place of a view or table that is created from what is there.
/// Names with a catalog in front are tables for Sail. A text that cannot be cut is searched for ``format.`path` `` alone:
/// Sail refuses most of those, but has strings (`r'\'`) that the tokenizer has not.
///
/// Not found is a name that is known only when the text runs: `IDENTIFIER('text.' || …)`, `IDENTIFIER(:name)`. A
/// missing path that is named so reads as an empty table.
pub(crate) fn path_relations(text: &str) -> Vec<String> {
    let Some(tokens) = significant(text) else {
        return quoted(text);
    };
    let mut paths = created_from(&tokens).unwrap_or_default();
    paths.extend(relations(&tokens));
    paths
}

fn quoted(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split('`').collect();
    let pairs = parts.windows(2).filter_map(|pair| match pair {
        [before, path] => {
            let before = before.trim_end().strip_suffix('.')?.trim_end();
            let format = before.rsplit(|c: char| !c.is_ascii_alphanumeric()).next()?;
            known(format).then(|| (*path).to_owned())
        }
        _ => None,
    });
    pairs.collect()
}

/// What is known of the text between two parentheses.
#[derive(Default)]
struct Level {
    /// A comma stands between relations.
    list: bool,
    /// `extract(year FROM x)` and its like: FROM is a word of a function.
    call: bool,
}

fn relations(tokens: &[TokenWithSpan]) -> Vec<String> {
    let mut paths = Vec::new();
    let mut outer = Vec::new();
    let mut level = Level::default();
    let mut may_stand = false;
    for (index, token) in tokens.iter().enumerate() {
        let (before, rest) = tokens.split_at_checked(index).unwrap_or_default();
        let here = std::mem::take(&mut may_stand);
        match &token.token {
            Token::LParen => {
                let call = before.last().is_some_and(has_from);
                outer.push(std::mem::replace(&mut level, Level { list: here, call }));
                may_stand = here;
            }
            Token::RParen => level = outer.pop().unwrap_or_default(),
            Token::Comma => may_stand = level.list,
            Token::Word(_) if is_any(token, &["SELECT", "BY", "SET"]) => level.list = false,
            Token::Word(_) if is(token, "FROM") && !level.call && !compares(before) => {
                level.list = true;
                may_stand = true;
            }
            Token::Word(_) if is_any(token, &["JOIN", "USING"]) => may_stand = true,
            Token::Word(_) if is(token, "TABLE") => may_stand = !before.last().is_some_and(names),
            Token::Word(_) if here && is(token, "IDENTIFIER") => paths.extend(identifier(rest)),
            Token::Word(_) if here => paths.extend(relation(rest)),
            _ => {}
        }
    }
    paths
}

fn has_from(function: &TokenWithSpan) -> bool {
    is_any(
        function,
        &["EXTRACT", "TRIM", "SUBSTRING", "SUBSTR", "OVERLAY"],
    )
}

/// `a IS [NOT] DISTINCT FROM b`.
fn compares(before: &[TokenWithSpan]) -> bool {
    matches!(before, [.., is_or_not, distinct]
        if is(distinct, "DISTINCT") && is_any(is_or_not, &["IS", "NOT"]))
}

/// Whether TABLE behind this word says what kind of thing a name is, rather than reading it.
fn names(word: &TokenWithSpan) -> bool {
    const STATEMENTS: [&str; 17] = [
        "CREATE",
        "REPLACE",
        "TEMPORARY",
        "TEMP",
        "EXTERNAL",
        "DROP",
        "ALTER",
        "TRUNCATE",
        "INTO",
        "OVERWRITE",
        "DESCRIBE",
        "DESC",
        "ANALYZE",
        "REFRESH",
        "REPAIR",
        "UNCACHE",
        "ON",
    ];
    is_any(word, &STATEMENTS)
}

/// `format.path`. A name may begin with digits, which the tokenizer takes for a number: `parquet.2024`.
fn relation(tokens: &[TokenWithSpan]) -> Option<String> {
    let (format, rest) = tokens.split_first()?;
    let (path, after) = match rest {
        [dot, path, after @ ..] if dot.token == Token::Period => (name(path)?, after),
        [number, after @ ..] => match (&number.token, after) {
            (Token::Number(digits, _), [next, tail @ ..]) if next.span.start == number.span.end => {
                let end = word(next).filter(|word| word.quote_style.is_none());
                let after = if end.is_some() { tail } else { after };
                let end = end.map_or("", |word| word.value.as_str());
                (format!("{}{end}", digits.strip_prefix('.')?), after)
            }
            (Token::Number(digits, _), _) => (digits.strip_prefix('.')?.to_owned(), after),
            _ => return None,
        },
        [] => return None,
    };
    let longer = after
        .first()
        .is_some_and(|token| token.token == Token::Period);
    (known(&word(format)?.value) && !longer).then_some(path)
}

fn name(token: &TokenWithSpan) -> Option<String> {
    match &token.token {
        Token::Word(word) => Some(word.value.clone()),
        Token::Number(digits, _) => Some(digits.clone()),
        _ => None,
    }
}

fn known(format: &str) -> bool {
    FORMATS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(format))
}

fn word(token: &TokenWithSpan) -> Option<&Word> {
    match &token.token {
        Token::Word(word) => Some(word),
        _ => None,
    }
}

fn literal(token: &TokenWithSpan) -> Option<&str> {
    match &token.token {
        Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => Some(text),
        _ => None,
    }
}

/// ``IDENTIFIER('text.`/x`')``, which Sail reads too.
fn identifier(tokens: &[TokenWithSpan]) -> Vec<String> {
    match tokens {
        [_, open, name, close, ..]
            if open.token == Token::LParen && close.token == Token::RParen =>
        {
            literal(name).map_or_else(Vec::new, |name| path_relations(&format!("TABLE {name}")))
        }
        _ => Vec::new(),
    }
}

/// The path of a `CREATE … USING format OPTIONS (path '…')` or `… LOCATION '…'`. A table with a column list, a query or
/// a model may mean a new folder, so it has none; a view always reads.
fn created_from(tokens: &[TokenWithSpan]) -> Option<Vec<String>> {
    const CLAUSES: [&str; 9] = [
        "USING",
        "OPTIONS",
        "LOCATION",
        "PARTITIONED",
        "CLUSTERED",
        "CLUSTER",
        "STORED",
        "COMMENT",
        "TBLPROPERTIES",
    ];
    let (first, rest) = tokens.split_first()?;
    let kind = rest
        .iter()
        .position(|token| is_any(token, &["TABLE", "VIEW"]))?;
    let view = is(rest.get(kind)?, "VIEW");
    if !is_any(first, &["CREATE", "REPLACE"]) {
        return None;
    }
    let (mut paths, mut depth, mut clauses, mut reads) = (Vec::new(), 0_usize, false, !view);
    let mut rest = rest.get(kind + 1..)?;
    while let [token, tail @ ..] = rest {
        rest = tail;
        match &token.token {
            Token::LParen if depth == 0 && !clauses && !view => return None,
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(_) if depth > 0 => {}
            Token::Word(_) if is_any(token, &["AS", "LIKE"]) => return None,
            Token::Word(_) if is_any(token, &["USING", "STORED"]) => {
                let [next, tail @ ..] = tail else {
                    return None;
                };
                let (format, tail) = match tail {
                    [format, tail @ ..] if is(next, "AS") => (format, tail),
                    _ => (next, tail),
                };
                rest = tail;
                reads = known(&word(format)?.value);
            }
            Token::Word(_) if is(token, "OPTIONS") => paths.extend(path_option(tail)),
            Token::Word(_) if is(token, "LOCATION") => {
                paths.extend(tail.first().and_then(literal).map(str::to_owned));
            }
            _ => {}
        }
        clauses |= is_any(token, &CLAUSES);
    }
    reads.then_some(paths)
}

/// The path in `(header 'true', path = '/x')`.
fn path_option(tokens: &[TokenWithSpan]) -> Option<String> {
    let end = tokens
        .iter()
        .position(|token| token.token == Token::RParen)?;
    let inside = tokens.get(1..end)?;
    inside
        .split(|token| token.token == Token::Comma)
        .find_map(|option| {
            let (key, value) = option.split_first()?;
            let name = literal(key).or_else(|| word(key).map(|word| word.value.as_str()))?;
            let value = match value {
                [equals, value] if equals.token == Token::Eq => value,
                [value] => value,
                _ => return None,
            };
            let value = literal(value)?;
            name.eq_ignore_ascii_case("path").then(|| value.to_owned())
        })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// The part of the shared cases that is about texts.
    #[derive(Deserialize)]
    struct Cases {
        formats: Vec<String>,
        texts: Vec<(String, Vec<String>)>,
    }

    #[test]
    fn files_read_as_tables_are_found() {
        let cases: Cases =
            serde_json::from_str(include_str!("../../../tests/cases/paths.json")).unwrap();
        assert_eq!(cases.formats, FORMATS);
        for (text, expected) in cases.texts {
            assert_eq!(path_relations(&text), expected, "{text}");
        }
    }
}
