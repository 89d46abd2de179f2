//! Says whether a text only reads. Here: the verdict, and the order of the checks; each check is a file of its own.
//!
//! Every check can only refuse. The tokens are judged first, on Spark's own cut of the text (`lex`, `rules`), then
//! the shape: SHOW, DESCRIBE and EXPLAIN by hand (`commands`), queries by the trees of several dialects (`tree`).
//! What is not known is refused.

use super::lex::{Lexed, Token, lex};
use super::{commands, rules, tree};

/// Longer texts are not classified, so that no text takes seconds: one of this length, read by four dialects, took
/// 0.9 s in a debug build on 2 cores. A list of 20,000 ids still fits.
const MAX_BYTES: usize = 256 << 10;

/// What to do instead, where nothing better is known.
pub(super) const HINT_RUN: &str = "Use run_sql for statements that change something.";

/// What a text does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It only reads.
    Reads(Read),
    /// It may do more, or we cannot tell.
    Refused(Refusal),
}

/// The kinds of statements that only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// SELECT, VALUES, TABLE, WITH … SELECT, FROM … SELECT.
    Query,
    /// SHOW.
    Show,
    /// DESCRIBE.
    Describe,
    /// EXPLAIN of a query.
    Explain,
}

impl Read {
    /// Whether it may be sent as a relation, in one round trip and under a row limit. The others are commands.
    pub(crate) fn is_relation(self) -> bool {
        self == Self::Query
    }
}

/// Why a text is not taken for a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// A fragment for an error message: names what stands in the text.
    pub(crate) reason: String,
    /// Of the text, from 1.
    pub(crate) line: Option<u32>,
    /// Of the line, from 1, in characters.
    pub(crate) column: Option<u32>,
    /// One sentence: what to do instead.
    pub(crate) hint: String,
}

impl Refusal {
    /// A refusal of the whole text.
    pub(super) fn new(reason: impl Into<String>, hint: &str) -> Self {
        Self {
            reason: reason.into(),
            line: None,
            column: None,
            hint: hint.to_owned(),
        }
    }

    /// A refusal of what stands at a place.
    pub(super) fn at(line: u32, column: u32, reason: impl Into<String>, hint: &str) -> Self {
        Self {
            line: Some(line),
            column: Some(column),
            ..Self::new(reason, hint)
        }
    }
}

/// Says whether `text` is one statement that only reads, whichever of the engines that we know runs it.
pub(crate) fn classify(text: &str) -> Verdict {
    match read(text) {
        Ok(read) => Verdict::Reads(read),
        Err(refusal) => Verdict::Refused(refusal),
    }
}

fn read(text: &str) -> Result<Read, Refusal> {
    if text.len() > MAX_BYTES {
        return Err(Refusal::new(
            format!(
                "a text of {} bytes; at most {MAX_BYTES} are checked",
                text.len()
            ),
            "Pass the data by \"files\", or make a temp view of it with run_pyspark, and query that.",
        ));
    }
    forbid(text, "\0", "a NUL character", "Remove it.")?;
    // Spark puts configuration, environment variables and properties into the text *before* it reads it, comments
    // and strings included: `${env:HOME}`.
    forbid(
        text,
        "${",
        "`${`, which Spark replaces by configuration and environment values",
        "Pass values by the \"params\" argument.",
    )?;
    let Lexed { tokens, masked } = lex(text)?;
    let tokens = rules::one_statement(&tokens)?;
    rules::check(tokens)?;
    statement(tokens, &masked)
}

fn forbid(text: &str, part: &str, reason: &str, hint: &str) -> Result<(), Refusal> {
    let Some(at) = text.find(part) else {
        return Ok(());
    };
    let (line, column) = position(text.get(..at).unwrap_or(""));
    Err(Refusal::at(line, column, reason, hint))
}

/// Where the text goes on after `before`.
fn position(before: &str) -> (u32, u32) {
    let line = before.matches('\n').count();
    let column = before
        .chars()
        .rev()
        .take_while(|&char| char != '\n')
        .count();
    let from_one = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
    (from_one(line), from_one(column))
}

/// Judges by the first word.
fn statement(tokens: &[Token<'_>], masked: &str) -> Result<Read, Refusal> {
    let Some((first, rest)) = tokens.split_first() else {
        return Err(Refusal::new("no statement", "Pass one SELECT."));
    };
    if first.is("SHOW") {
        commands::show(rest).map(|()| Read::Show)
    } else if first.is_any(&["DESCRIBE", "DESC"]) {
        match commands::describe(rest)? {
            commands::Described::Object => {}
            commands::Described::Query(query) => tree::query(query, masked)?,
        }
        Ok(Read::Describe)
    } else if first.is("EXPLAIN") {
        tree::query(commands::explained(rest), masked).map(|()| Read::Explain)
    } else {
        tree::query(tokens, masked).map(|()| Read::Query)
    }
}

#[cfg(test)]
mod tests;
