//! Cuts a text into tokens exactly where Spark's own lexer cuts it. What the tokens mean is not decided here.
//!
//! Parsers disagree first of all about where a string or a comment ends, and what one reader skips another runs.
//! So we cut by Spark's rules, refuse the few forms on which engines are known to differ, and give the parsers a
//! *masked* text of the same shape, with comments blanked and strings filled with `x`, on which they cannot differ.

use super::classify::{HINT_RUN, Refusal};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, a bare identifier or a number.
    Word,
    /// An identifier in backticks.
    Quoted,
    /// A string in single quotes, raw or not.
    Text,
    /// A string in double quotes; an identifier where `spark.sql.ansi.doubleQuotedIdentifiers` says so.
    DoubleQuoted,
    /// Any other character.
    Symbol,
}

/// One token and where it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// As written, with its quotes.
    pub(super) raw: &'a str,
    /// From 1.
    pub(super) line: u32,
    /// From 1, in characters.
    pub(super) column: u32,
}

impl Token<'_> {
    /// Whether this is the bare word `word` (given in upper case).
    pub(super) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.raw.eq_ignore_ascii_case(word)
    }

    /// Whether this is one of the bare words (given in upper case).
    pub(super) fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    /// Whether this is the symbol.
    pub(super) fn symbol(&self, symbol: char) -> bool {
        self.kind == Kind::Symbol && self.raw.starts_with(symbol)
    }

    /// The name that it stands for, if it can be an identifier. Double quotes count: some configurations read
    /// them so.
    pub(super) fn name(&self) -> Option<String> {
        match self.kind {
            Kind::Word => Some(self.raw.to_owned()),
            Kind::Quoted => Some(self.inner().replace("``", "`")),
            Kind::DoubleQuoted => Some(self.inner().to_owned()),
            Kind::Text | Kind::Symbol => None,
        }
    }

    /// What stands between the quotes, escapes and all.
    pub(super) fn inner(&self) -> &str {
        let body = match self.kind {
            Kind::Text | Kind::DoubleQuoted => self.raw.trim_start_matches(['r', 'R']),
            Kind::Quoted => self.raw,
            Kind::Word | Kind::Symbol => return self.raw,
        };
        body.get(1..body.len().saturating_sub(1)).unwrap_or("")
    }

    /// A refusal that points here.
    pub(super) fn refuse(&self, reason: impl Into<String>, hint: &str) -> Refusal {
        Refusal::at(self.line, self.column, reason, hint)
    }
}

/// A cut text.
#[derive(Debug)]
pub(super) struct Lexed<'a> {
    pub(super) tokens: Vec<Token<'a>>,
    /// The text, character for character, with comments blanked and strings filled.
    pub(super) masked: String,
}

/// Cuts `text`.
///
/// # Errors
/// What Spark cannot read, and what engines are known to read differently.
pub(super) fn lex(text: &str) -> Result<Lexed<'_>, Refusal> {
    let mut lexer = Lexer {
        text,
        at: 0,
        line: 1,
        column: 1,
        masked: String::with_capacity(text.len()),
        tokens: Vec::new(),
    };
    while lexer.step()? {}
    Ok(Lexed {
        tokens: lexer.tokens,
        masked: lexer.masked,
    })
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    column: u32,
    masked: String,
    tokens: Vec<Token<'a>>,
}

/// How a character shows in the masked text.
#[derive(Clone, Copy)]
enum Mask {
    Keep,
    Blank,
    Fill,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Goes on by one character.
    fn take(&mut self, mask: Mask) -> Option<char> {
        let char = self.peek()?;
        self.masked.push(match (mask, char) {
            (_, '\n') => '\n',
            (Mask::Keep, char) => char,
            (Mask::Blank, _) => ' ',
            (Mask::Fill, _) => 'x',
        });
        self.at += char.len_utf8();
        if char == '\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
        Some(char)
    }

    fn take_n(&mut self, count: usize, mask: Mask) {
        for _ in 0..count {
            self.take(mask);
        }
    }

    fn push(&mut self, kind: Kind, from: (usize, u32, u32)) {
        let (start, line, column) = from;
        self.tokens.push(Token {
            kind,
            raw: self.text.get(start..self.at).unwrap_or(""),
            line,
            column,
        });
    }

    /// One token, comment or space; false at the end.
    fn step(&mut self) -> Result<bool, Refusal> {
        let Some(char) = self.peek() else {
            return Ok(false);
        };
        let from = (self.at, self.line, self.column);
        let rest = self.rest();
        match char {
            ' ' | '\t' | '\n' => {
                self.take(Mask::Keep);
            }
            // Spark ends a `--` comment here too; the parsers get a blank.
            '\r' => {
                self.take(Mask::Blank);
            }
            '-' if rest.starts_with("--") => self.line_comment()?,
            '/' if rest.starts_with("/*+") => self.optimizer_hint()?,
            '/' if rest.starts_with("/*") => self.block_comment()?,
            'r' | 'R' if rest.get(1..).is_some_and(|s| s.starts_with(['\'', '"'])) => {
                self.raw_string()?;
                self.push(string_kind(rest.get(1..)), from);
            }
            '\'' | '"' => {
                self.string(char)?;
                self.push(string_kind(Some(rest)), from);
            }
            '`' => {
                self.backticks()?;
                self.push(Kind::Quoted, from);
            }
            _ if is_word(char) => {
                while self.peek().is_some_and(is_word) {
                    self.take(Mask::Keep);
                }
                self.push(Kind::Word, from);
                self.check_prefix()?;
            }
            _ if is_symbol(char) => {
                self.take(Mask::Keep);
                self.push(Kind::Symbol, from);
            }
            _ => return Err(self.refuse(unexpected(char), HINT_QUOTE)),
        }
        Ok(true)
    }

    fn refuse(&self, reason: impl Into<String>, hint: &str) -> Refusal {
        Refusal::at(self.line, self.column, reason, hint)
    }

    /// `-- …`. Spark goes on after `\` and a line end, other engines do not.
    fn line_comment(&mut self) -> Result<(), Refusal> {
        let mut last = ' ';
        while let Some(char) = self.peek() {
            if char == '\n' || char == '\r' {
                if last == '\\' {
                    return Err(self.refuse(
                        "a `--` comment line that ends with `\\`, after which engines go on differently",
                        "Remove the `\\` at the end of the comment.",
                    ));
                }
                break;
            }
            last = char;
            self.take(Mask::Blank);
        }
        Ok(())
    }

    /// `/* … /* … */ … */`. In Spark a `/*+` inside does not nest, elsewhere it does.
    fn block_comment(&mut self) -> Result<(), Refusal> {
        let (line, column) = (self.line, self.column);
        let mut depth = 0_u32;
        while !self.rest().is_empty() {
            let rest = self.rest();
            if depth > 0 && rest.starts_with("/*+") {
                return Err(self.refuse(
                    "`/*+` inside a comment, which engines end at different places",
                    "Remove the inner `/*+`.",
                ));
            }
            if rest.starts_with("/*") {
                depth = depth.saturating_add(1);
                self.take_n(2, Mask::Blank);
            } else if rest.starts_with("*/") {
                depth = depth.saturating_sub(1);
                self.take_n(2, Mask::Blank);
                if depth == 0 {
                    return Ok(());
                }
            } else {
                self.take(Mask::Blank);
            }
        }
        Err(Refusal::at(
            line,
            column,
            "a comment that does not end",
            "Close it with `*/`.",
        ))
    }

    /// `/*+ broadcast(t) */`: code for Spark, a comment for others, so only what both end at the same place.
    fn optimizer_hint(&mut self) -> Result<(), Refusal> {
        let (line, column) = (self.line, self.column);
        self.take_n(3, Mask::Blank);
        while let Some(char) = self.peek() {
            if self.rest().starts_with("*/") {
                self.take_n(2, Mask::Blank);
                return Ok(());
            }
            if !(char.is_ascii_alphanumeric() || "_,.() \t\r\n".contains(char)) {
                return Err(self.refuse(
                    format!("`{char}` in an optimizer hint"),
                    "Use plain names and numbers in `/*+ … */`.",
                ));
            }
            self.take(Mask::Blank);
        }
        Err(Refusal::at(
            line,
            column,
            "an optimizer hint that does not end",
            "Close it with `*/`.",
        ))
    }

    /// `'…'` or `"…"`, in which `\` takes the next character with it.
    fn string(&mut self, quote: char) -> Result<(), Refusal> {
        let (line, column) = (self.line, self.column);
        self.open_string();
        while let Some(char) = self.peek() {
            if char == quote {
                self.close_string();
                return Ok(());
            }
            self.take(Mask::Fill);
            if char == '\\' {
                self.take(Mask::Fill);
            }
        }
        Err(unclosed(line, column, "string"))
    }

    /// `r'…'`, in which `\` is a character. Spark before 3.4 reads an ordinary string there.
    fn raw_string(&mut self) -> Result<(), Refusal> {
        let (line, column) = (self.line, self.column);
        self.take(Mask::Blank);
        let quote = self.peek().unwrap_or('\'');
        self.open_string();
        let mut escaped = false;
        while let Some(char) = self.peek() {
            if char == quote {
                if escaped {
                    return Err(self.refuse(
                        "a raw string that ends with `\\`, which engines end at different places",
                        "Write it as an ordinary string with `\\\\`.",
                    ));
                }
                self.close_string();
                return Ok(());
            }
            escaped = char == '\\' && !escaped;
            self.take(Mask::Fill);
        }
        Err(unclosed(line, column, "string"))
    }

    /// The parsers see single quotes, whichever stand there.
    fn open_string(&mut self) {
        self.take(Mask::Fill);
        self.masked.pop();
        self.masked.push('\'');
    }

    fn close_string(&mut self) {
        self.open_string();
    }

    /// `` `…` ``, in which `` `` `` is one backtick.
    fn backticks(&mut self) -> Result<(), Refusal> {
        let (line, column) = (self.line, self.column);
        self.take(Mask::Keep);
        while let Some(char) = self.take(Mask::Keep) {
            if char == '`' && self.take_if('`').is_none() {
                return Ok(());
            }
        }
        Err(unclosed(line, column, "name in backticks"))
    }

    fn take_if(&mut self, char: char) -> Option<char> {
        (self.peek() == Some(char)).then(|| self.take(Mask::Keep))?
    }

    /// `N'…'` and its like are strings of their own kind in some dialects; none is Spark's.
    fn check_prefix(&self) -> Result<(), Refusal> {
        let prefixed = matches!(self.peek(), Some('\'' | '"'));
        match self.tokens.last() {
            Some(word) if prefixed && word.is_any(&["B", "E", "G", "N", "NQ", "Q", "U"]) => {
                Err(word.refuse(
                    format!("`{}` right before a string", word.raw),
                    "Put a space between, or leave the prefix out.",
                ))
            }
            _ => Ok(()),
        }
    }
}

const HINT_QUOTE: &str =
    "Put names with such characters in backticks and text in quotes; plain spaces between words.";

fn string_kind(from: Option<&str>) -> Kind {
    if from.is_some_and(|text| text.starts_with('"')) {
        Kind::DoubleQuoted
    } else {
        Kind::Text
    }
}

fn unclosed(line: u32, column: u32, what: &str) -> Refusal {
    Refusal::at(
        line,
        column,
        format!("a {what} that does not end"),
        HINT_RUN,
    )
}

/// Characters of a bare word. Letters that an engine may fold to an ASCII letter are left out (`ſelect` is a
/// `select` for Spark and Sail), `ß` excepted: no word that we look for has `SS` in it.
fn is_word(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_alphanumeric() || char == '_';
    }
    let folds =
        |c: char| c.to_uppercase().any(|c| c.is_ascii()) || c.to_lowercase().any(|c| c.is_ascii());
    char.is_alphabetic() && (char == 'ß' || !folds(char))
}

/// The signs of Spark's grammar. `$ # @ { } \` start strings, comments or variables elsewhere.
fn is_symbol(char: char) -> bool {
    ";(),.[]!:=<>~&|^+-*/%?".contains(char)
}

fn unexpected(char: char) -> String {
    if char.is_ascii_graphic() {
        format!("unexpected character `{char}`")
    } else {
        format!("unexpected character U+{:04X}", u32::from(char))
    }
}
