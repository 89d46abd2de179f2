//! The shapes of SHOW, DESCRIBE and EXPLAIN, by hand: the parsers know a part of them only. Whatever does not have
//! exactly one of these shapes is refused.

use super::classify::{HINT_RUN, Refusal};
use super::lex::{Kind, Token};
use super::rules;

/// What a DESCRIBE is about.
pub(super) enum Described<'t, 'a> {
    /// Something with a name.
    Object,
    /// The columns of a query, which is not run, but must be a read all the same: constants are computed.
    Query(&'t [Token<'a>]),
}

/// Reads tokens one after the other.
struct Cursor<'t, 'a> {
    rest: &'t [Token<'a>],
}

impl<'t, 'a> Cursor<'t, 'a> {
    fn next_if(&mut self, accept: impl FnOnce(&Token<'a>) -> bool) -> Option<&'t Token<'a>> {
        let (first, rest) = self.rest.split_first()?;
        accept(first).then(|| {
            self.rest = rest;
            first
        })
    }

    fn word(&mut self, words: &[&str]) -> bool {
        self.next_if(|token| token.is_any(words)).is_some()
    }

    /// All the words, or none of them.
    fn words(&mut self, words: &[&str]) -> bool {
        let found = words.len() <= self.rest.len()
            && self
                .rest
                .iter()
                .zip(words)
                .all(|(token, word)| token.is(word));
        if found {
            self.rest = self.rest.get(words.len()..).unwrap_or(&[]);
        }
        found
    }

    fn text(&mut self) -> bool {
        self.next_if(|token| matches!(token.kind, Kind::Text | Kind::DoubleQuoted))
            .is_some()
    }

    /// `a`, `a.b`, `a.b.c`, quoted or not; never a file.
    fn name(&mut self) -> Result<bool, Refusal> {
        let start = self.rest;
        let mut parts = 0_usize;
        while self
            .next_if(|token| matches!(token.kind, Kind::Word | Kind::Quoted))
            .is_some()
        {
            parts += 1;
            if self.next_if(|token| token.symbol('.')).is_none() {
                rules::check_relation(start, parts)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// `(` … `)` of names, texts, `=`, and commas.
    fn spec(&mut self) -> bool {
        if self.next_if(|token| token.symbol('(')).is_none() {
            return false;
        }
        let plain = |token: &Token<'a>| {
            token.kind != Kind::Symbol
                || token.symbol('=')
                || token.symbol(',')
                || token.symbol('.')
        };
        while self.next_if(plain).is_some() {}
        self.next_if(|token| token.symbol(')')).is_some()
    }

    fn end(&self, what: &str) -> Result<(), Refusal> {
        match self.rest.first() {
            None => Ok(()),
            Some(token) => {
                Err(token.refuse(format!("unknown {what} at `{}`", token.raw), HINT_RUN))
            }
        }
    }
}

/// What follows SHOW.
pub(super) fn show(tokens: &[Token<'_>]) -> Result<(), Refusal> {
    let mut cursor = Cursor { rest: tokens };
    let known = show_shape(&mut cursor)?;
    if known {
        cursor.end("SHOW")
    } else {
        unknown(&cursor, "SHOW")
    }
}

fn unknown(cursor: &Cursor<'_, '_>, what: &str) -> Result<(), Refusal> {
    cursor.end(what)?;
    Err(Refusal::new(format!("an incomplete {what}"), HINT_RUN))
}

fn show_shape(cursor: &mut Cursor<'_, '_>) -> Result<bool, Refusal> {
    if cursor.words(&["CURRENT"]) {
        return Ok(cursor.word(&["NAMESPACE", "SCHEMA", "DATABASE"]));
    }
    if cursor.words(&["CREATE", "TABLE"]) {
        return Ok(cursor.name()? && (cursor.words(&["AS", "SERDE"]) || cursor.rest.is_empty()));
    }
    if cursor.words(&["TABLE", "EXTENDED"]) {
        within(cursor)?;
        let like = cursor.word(&["LIKE"]) && cursor.text();
        return Ok(like && (!cursor.word(&["PARTITION"]) || cursor.spec()));
    }
    if cursor.words(&["PARTITIONS"]) {
        return Ok(cursor.name()? && (!cursor.word(&["PARTITION"]) || cursor.spec()));
    }
    if cursor.words(&["TBLPROPERTIES"]) {
        return Ok(cursor.name()? && (cursor.rest.is_empty() || cursor.spec()));
    }
    if cursor.words(&["COLUMNS"]) {
        return Ok(within(cursor)? && (cursor.rest.is_empty() || within(cursor)?));
    }
    let scoped = cursor.word(&["USER", "SYSTEM", "ALL"]);
    if cursor.word(&["FUNCTIONS"]) {
        let _ = within(cursor)?;
        let _ = cursor.word(&["LIKE"]);
        return Ok(cursor.text() || cursor.rest.is_empty() || cursor.name()?);
    }
    let listed = [
        "TABLES",
        "VIEWS",
        "DATABASES",
        "SCHEMAS",
        "NAMESPACES",
        "CATALOGS",
        "VOLUMES",
    ];
    if !scoped && cursor.word(&listed) {
        let _ = within(cursor)?;
        let like = cursor.word(&["LIKE"]);
        return Ok(cursor.text() || !like);
    }
    Ok(false)
}

/// `FROM name` or `IN name`, if it is there.
fn within(cursor: &mut Cursor<'_, '_>) -> Result<bool, Refusal> {
    if cursor.word(&["FROM", "IN"]) {
        cursor.name()
    } else {
        Ok(false)
    }
}

/// What follows DESCRIBE.
pub(super) fn describe<'t, 'a>(tokens: &'t [Token<'a>]) -> Result<Described<'t, 'a>, Refusal> {
    let mut cursor = Cursor { rest: tokens };
    if let [first, second, ..] = tokens
        && first.is("QUERY")
        && starts_query(second)
    {
        return Ok(Described::Query(tokens.get(1..).unwrap_or(&[])));
    }
    if tokens.first().is_some_and(starts_query) && !is_named_table(tokens) {
        return Ok(Described::Query(tokens));
    }
    let known = describe_shape(&mut cursor)?;
    if known {
        cursor.end("DESCRIBE")?;
    } else {
        unknown(&cursor, "DESCRIBE")?;
    }
    Ok(Described::Object)
}

fn starts_query(token: &Token<'_>) -> bool {
    token.is_any(&["SELECT", "WITH", "VALUES", "FROM"]) || token.symbol('(')
}

/// `values` and `from` are names too.
fn is_named_table(tokens: &[Token<'_>]) -> bool {
    tokens.len() == 1
}

fn describe_shape(cursor: &mut Cursor<'_, '_>) -> Result<bool, Refusal> {
    let all = cursor.rest;
    if cursor.word(&["FUNCTION"]) {
        let _ = cursor.word(&["EXTENDED"]);
        if cursor.text() || cursor.name()? {
            return Ok(true);
        }
    }
    cursor.rest = all;
    if cursor.word(&["DATABASE", "SCHEMA", "NAMESPACE", "CATALOG"]) {
        let _ = cursor.word(&["EXTENDED"]);
        if cursor.name()? {
            return Ok(true);
        }
    }
    cursor.rest = all;
    if cursor.word(&["HISTORY", "DETAIL"]) && cursor.name()? {
        return Ok(true);
    }
    cursor.rest = all;
    let _ = all.len() > 1 && cursor.word(&["TABLE"]);
    let _ = cursor.rest.len() > 1 && cursor.word(&["EXTENDED", "FORMATTED"]);
    if !cursor.name()? {
        return Ok(false);
    }
    if cursor.word(&["PARTITION"]) && !cursor.spec() {
        return Ok(false);
    }
    if cursor.words(&["AS", "JSON"]) || cursor.rest.is_empty() {
        return Ok(true);
    }
    Ok(cursor.name()? && (cursor.words(&["AS", "JSON"]) || cursor.rest.is_empty()))
}

/// The statement that an EXPLAIN explains. `EXPLAIN ANALYZE` runs it on some engines, so it is not in the list.
pub(super) fn explained<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    match tokens.split_first() {
        Some((mode, rest))
            if mode.is_any(&["EXTENDED", "FORMATTED", "COST", "CODEGEN", "LOGICAL"]) =>
        {
            rest
        }
        _ => tokens,
    }
}
