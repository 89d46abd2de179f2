//! What a text needs before Sail gets it: Spark's spellings that Sail lacks, settings, and clear words about what
//! it cannot do. Nothing here is a guard, so what is not recognised goes on as it is.
//!
//! Each entry was tried on pysail 0.7.2. These work and are left alone, though older notes say otherwise: TABLESAMPLE
//! by PERCENT and BUCKET.

use sqlparser::dialect::DatabricksDialect;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Word};

use super::tables_sql::{self, TableStatement, Target};
use crate::model::{Code, Error};

mod gaps;

/// A text, ready for Sail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rewritten {
    /// Send this text.
    Sql(String),
    /// `SET k=v`: set this by the Config RPC. Sail's own SET knows no `spark.` keys.
    SetConfig {
        /// As Spark reads it.
        key: String,
        /// As Spark reads it: the rest of the text, quotes included.
        value: String,
    },
    /// `SET k`: answer with its value.
    ShowConfig {
        /// As Spark reads it.
        key: String,
    },
    /// `RESET k`: unset this by the Config RPC.
    UnsetConfig {
        /// As Spark reads it.
        key: String,
    },
    /// A statement about tables that the engine lacks, and we do ourselves.
    Own(Box<TableStatement>),
}

impl Rewritten {
    /// Whether it changes a table, as far as we made it do so: the second look at a text that was judged to read only.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Self::Own(statement) => statement.writes(),
            Self::Sql(text) => miscounted(text).is_some(),
            Self::SetConfig { .. } | Self::ShowConfig { .. } | Self::UnsetConfig { .. } => false,
        }
    }
}

/// Rewrites what Sail spells differently; comments, case and everything else stay.
///
/// # Errors
/// `unsupported` for what Sail cannot do, with what to do instead; `invalid_argument` for a SET that Spark refuses.
pub(crate) fn rewrite(text: &str) -> Result<Rewritten, Error> {
    let unchanged = || Ok(Rewritten::Sql(text.to_owned()));
    let Some(tokens) = cut(text) else {
        return unchanged();
    };
    gaps::check(&tokens)?;
    let Some(tokens) = single(tokens) else {
        return unchanged();
    };
    if let Some(statement) = tables_sql::parse(text, &tokens)? {
        return Ok(Rewritten::Own(Box::new(statement)));
    }
    match tokens.split_first() {
        Some((first, rest)) if is_any(first, &["DESCRIBE", "DESC"]) => Ok(describe(text, rest)),
        Some((first, rest)) if is(first, "USE") => Ok(use_database(text, rest)),
        Some((first, rest)) if is(first, "SET") => set(text, first, rest),
        Some((first, rest)) if is(first, "RESET") => reset(text, first, rest),
        _ => unchanged(),
    }
}

/// The table whose rows a DELETE, UPDATE or MERGE changes: Sail counts the rows that it wrote, which are others. Of one
/// row it said 0 and 6.
pub(crate) fn miscounted(text: &str) -> Option<Target> {
    let tokens = significant(text)?;
    let first = tokens.first()?;
    is_any(first, &["DELETE", "UPDATE", "MERGE"])
        .then(|| tables_sql::changed(text, &tokens))
        .flatten()
}

/// The tokens of one statement, without spaces, comments and the `;` behind it. `None` if the text cannot be cut or
/// has several statements: then Sail says so itself.
pub(super) fn significant(text: &str) -> Option<Vec<TokenWithSpan>> {
    cut(text).and_then(single)
}

fn single(mut tokens: Vec<TokenWithSpan>) -> Option<Vec<TokenWithSpan>> {
    while tokens
        .last()
        .is_some_and(|token| token.token == Token::SemiColon)
    {
        tokens.pop();
    }
    let several = tokens.iter().any(|token| token.token == Token::SemiColon);
    (!several).then_some(tokens)
}

fn cut(text: &str) -> Option<Vec<TokenWithSpan>> {
    let mut tokens = Tokenizer::new(&DatabricksDialect, text)
        .tokenize_with_location()
        .ok()?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    Some(tokens)
}

/// The bare word of a token, in upper case.
fn bare(token: &TokenWithSpan) -> Option<String> {
    match &token.token {
        Token::Word(Word {
            value,
            quote_style: None,
            ..
        }) => Some(value.to_ascii_uppercase()),
        _ => None,
    }
}

pub(super) fn is(token: &TokenWithSpan, word: &str) -> bool {
    bare(token).is_some_and(|bare| bare == word)
}

pub(super) fn is_any(token: &TokenWithSpan, words: &[&str]) -> bool {
    bare(token).is_some_and(|bare| words.contains(&bare.as_str()))
}

/// Where in the text a place is, in bytes. sqlparser counts characters.
pub(super) fn offset(text: &str, place: Location) -> usize {
    let line = usize::try_from(place.line).unwrap_or(1).saturating_sub(1);
    let column = usize::try_from(place.column).unwrap_or(1).saturating_sub(1);
    let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let within: usize = text
        .get(before..)
        .unwrap_or("")
        .chars()
        .take(column)
        .map(char::len_utf8)
        .sum();
    before + within
}

/// The text with `new` in place of what stands from `start` to `end`.
fn spliced(text: &str, start: Location, end: Location, new: &str) -> Rewritten {
    let before = text.get(..offset(text, start)).unwrap_or("");
    let after = text.get(offset(text, end)..).unwrap_or("");
    Rewritten::Sql(format!("{before}{new}{after}"))
}

fn inserted(text: &str, before: &TokenWithSpan, new: &str) -> Rewritten {
    spliced(text, before.span.start, before.span.start, new)
}

/// `DESCRIBE t` → `DESCRIBE TABLE t`; `FORMATTED`, which Sail takes for a name, → `EXTENDED`, its synonym in Spark.
fn describe(text: &str, rest: &[TokenWithSpan]) -> Rewritten {
    const KINDS: [&str; 8] = [
        "FUNCTION",
        "CATALOG",
        "DATABASE",
        "SCHEMA",
        "NAMESPACE",
        "TABLE",
        "EXTENDED",
        "QUERY",
    ];
    match rest {
        [formatted, _, ..] if is(formatted, "FORMATTED") => extended(text, formatted),
        [table, formatted, _, ..] if is(table, "TABLE") && is(formatted, "FORMATTED") => {
            extended(text, formatted)
        }
        [kind, next, ..] if is_any(kind, &KINDS) && next.token != Token::Period => {
            Rewritten::Sql(text.to_owned())
        }
        [name, ..] => inserted(text, name, "TABLE "),
        [] => Rewritten::Sql(text.to_owned()),
    }
}

fn extended(text: &str, formatted: &TokenWithSpan) -> Rewritten {
    spliced(text, formatted.span.start, formatted.span.end, "EXTENDED")
}

/// `USE db` → `USE DATABASE db`.
fn use_database(text: &str, rest: &[TokenWithSpan]) -> Rewritten {
    match rest {
        [kind, next, ..]
            if is_any(kind, &["DATABASE", "SCHEMA", "NAMESPACE", "CATALOG"])
                && next.token != Token::Period =>
        {
            Rewritten::Sql(text.to_owned())
        }
        [name, ..] => inserted(text, name, "DATABASE "),
        [] => Rewritten::Sql(text.to_owned()),
    }
}

const TIME_ZONE: &str = "spark.sql.session.timeZone";

/// SET in its forms. Spark reads the raw rest of the text, comments and quotes included, and so do we.
fn set(text: &str, set: &TokenWithSpan, rest: &[TokenWithSpan]) -> Result<Rewritten, Error> {
    match rest {
        [] => Err(no_listing()),
        [minus, v] if minus.token == Token::Minus && is(v, "V") => Err(no_listing()),
        [catalog, name, ..] if is(catalog, "CATALOG") && name.token != Token::Eq => {
            Ok(Rewritten::Sql(text.to_owned()))
        }
        [time, zone, value @ ..] if is(time, "TIME") && is(zone, "ZONE") => time_zone(value),
        [zone, value @ ..] if is(zone, "TIMEZONE") => time_zone(value),
        _ => set_key(raw_after(text, set)),
    }
}

fn no_listing() -> Error {
    unsupported(
        "a list of all settings",
        "Ask for one setting by its key: SET spark.sql.session.timeZone.",
    )
}

/// `SET TIMEZONE 'x'` is accepted by Sail and does nothing; `SET TIME ZONE` does not parse.
fn time_zone(value: &[TokenWithSpan]) -> Result<Rewritten, Error> {
    match value {
        [
            TokenWithSpan {
                token: Token::SingleQuotedString(zone) | Token::DoubleQuotedString(zone),
                ..
            },
        ] => Ok(Rewritten::SetConfig {
            key: TIME_ZONE.to_owned(),
            value: zone.clone(),
        }),
        _ => Err(unsupported(
            "SET TIME ZONE other than by name",
            "Name the zone: SET TIME ZONE 'Europe/Paris'.",
        )),
    }
}

/// What stands behind a token, without the `;` at the end.
fn raw_after<'t>(text: &'t str, token: &TokenWithSpan) -> &'t str {
    text.get(offset(text, token.span.end)..)
        .unwrap_or("")
        .trim()
        .trim_end_matches([';', ' ', '\t', '\r', '\n'])
}

fn set_key(raw: &str) -> Result<Rewritten, Error> {
    let (key, rest) = split_key(raw).ok_or_else(no_key)?;
    let rest = rest.trim_start();
    if rest.is_empty() {
        return Ok(Rewritten::ShowConfig { key });
    }
    let value = rest.strip_prefix('=').ok_or_else(no_key)?.trim();
    Ok(Rewritten::SetConfig {
        key,
        value: unquoted(value).unwrap_or_else(|| value.to_owned()),
    })
}

/// A key as Spark has it: bare of letters, digits, `_`, `.`, `:` and `-`, or anything in backticks.
fn split_key(raw: &str) -> Option<(String, &str)> {
    if let Some(body) = raw.strip_prefix('`') {
        let end = body.find('`')?;
        return Some((body.get(..end)?.to_owned(), body.get(end + 1..)?));
    }
    let end = raw
        .find(|char: char| !(char.is_ascii_alphanumeric() || "_.:-".contains(char)))
        .unwrap_or(raw.len());
    (end > 0).then_some((raw.get(..end)?.to_owned(), raw.get(end..)?))
}

/// What stands in backticks, if the whole value does.
fn unquoted(value: &str) -> Option<String> {
    let body = value.strip_prefix('`')?.strip_suffix('`')?;
    let alone = !body.replace("``", "").contains('`');
    alone.then(|| body.replace("``", "`"))
}

fn no_key() -> Error {
    Error::new(Code::InvalidArgument, "a SET that is neither `SET key` nor `SET key=value`")
        .hint("Write SET key=value, with a key of other characters than letters, digits, `_`, `.`, `:`, `-` in backticks.")
}

fn reset(text: &str, reset: &TokenWithSpan, rest: &[TokenWithSpan]) -> Result<Rewritten, Error> {
    if rest.is_empty() {
        return Err(unsupported(
            "RESET of all settings",
            "Reset one setting by its key: RESET spark.sql.session.timeZone.",
        ));
    }
    match split_key(raw_after(text, reset)) {
        Some((key, "")) => Ok(Rewritten::UnsetConfig { key }),
        _ => Err(Error::new(
            Code::InvalidArgument,
            "a RESET of something else than one key",
        )
        .hint("Write RESET key.")),
    }
}

pub(super) fn unsupported(what: &str, hint: &'static str) -> Error {
    Error::new(
        Code::Unsupported,
        format!("the local engine (Sail) does not support {what}"),
    )
    .hint(hint)
}

/// Whether the token opens a query.
pub(super) fn starts_query(token: &TokenWithSpan) -> bool {
    is_any(token, &["SELECT", "WITH", "VALUES", "FROM"]) || token.token == Token::LParen
}

#[cfg(test)]
mod tests;
