//! Reads the tokens of one statement, one after the other, and cuts pieces out of its text.

use std::ops::Range;

use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::super::rewrite::{is, is_any, offset};

/// A place in the tokens of a text.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    rest: &'a [TokenWithSpan],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str, tokens: &'a [TokenWithSpan]) -> Self {
        Self { text, rest: tokens }
    }

    pub(super) fn rest(&self) -> &'a [TokenWithSpan] {
        self.rest
    }

    pub(super) fn is_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn step(&mut self) -> Option<&'a TokenWithSpan> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn next_if(
        &mut self,
        accept: impl FnOnce(&TokenWithSpan) -> bool,
    ) -> Option<&'a TokenWithSpan> {
        let first = self.rest.first()?;
        accept(first).then(|| self.step()).flatten()
    }

    /// One of these words.
    pub(super) fn any(&mut self, words: &[&str]) -> bool {
        self.next_if(|token| is_any(token, words)).is_some()
    }

    /// All the words, or none of them.
    pub(super) fn words(&mut self, words: &[&str]) -> bool {
        let found = self.sees(words);
        if found {
            self.rest = self.rest.get(words.len()..).unwrap_or(&[]);
        }
        found
    }

    /// Whether these words come next.
    pub(super) fn sees(&self, words: &[&str]) -> bool {
        words.len() <= self.rest.len()
            && self
                .rest
                .iter()
                .zip(words)
                .all(|(token, word)| is(token, word))
    }

    pub(super) fn sign(&mut self, sign: &Token) -> bool {
        self.next_if(|token| token.token == *sign).is_some()
    }

    /// A name without its quotes.
    pub(super) fn ident(&mut self) -> Option<String> {
        let token = self.next_if(|token| matches!(token.token, Token::Word(_)))?;
        match &token.token {
            Token::Word(Word { value, .. }) => Some(value.clone()),
            _ => None,
        }
    }

    /// `a`, `a.b`, `a.b.c`, quoted or not.
    pub(super) fn name(&mut self) -> Option<Vec<String>> {
        let start = *self;
        let mut parts = Vec::new();
        loop {
            let Some(part) = self.ident() else {
                *self = start;
                return None;
            };
            parts.push(part);
            if !self.sign(&Token::Period) {
                return Some(parts);
            }
        }
    }

    /// The value of a text in quotes.
    pub(super) fn string(&mut self) -> Option<String> {
        let token = self.next_if(|token| {
            matches!(
                token.token,
                Token::SingleQuotedString(_) | Token::DoubleQuotedString(_)
            )
        })?;
        Some(unquoted(self.raw(std::slice::from_ref(token))))
    }

    /// A whole number.
    pub(super) fn number(&mut self) -> Option<u64> {
        let token = self.next_if(|token| matches!(token.token, Token::Number(..)))?;
        self.raw(std::slice::from_ref(token)).parse().ok()
    }

    /// What stands in the parentheses that open here.
    pub(super) fn group(&mut self) -> Option<Cursor<'a>> {
        if self.rest.first()?.token != Token::LParen {
            return None;
        }
        let mut depth = 0_usize;
        for (at, token) in self.rest.iter().enumerate() {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                let inside = self.rest.get(1..at).unwrap_or(&[]);
                self.rest = self.rest.get(at + 1..).unwrap_or(&[]);
                return Some(Cursor::new(self.text, inside));
            }
        }
        None
    }

    /// The parts between the commas that stand in no parentheses and no type's brackets.
    pub(super) fn list(self) -> Vec<Cursor<'a>> {
        if self.rest.is_empty() {
            return Vec::new();
        }
        let mut depth = 0_i32;
        self.rest
            .split(|token| {
                depth = depth.saturating_add(nesting(&token.token));
                depth == 0 && token.token == Token::Comma
            })
            .map(|part| Cursor::new(self.text, part))
            .collect()
    }

    /// Cuts off what comes before the first of these words, outside of parentheses and brackets.
    pub(super) fn until(&mut self, words: &[&str]) -> Cursor<'a> {
        let mut depth = 0_i32;
        let at = self
            .rest
            .iter()
            .position(|token| {
                depth = depth.saturating_add(nesting(&token.token));
                depth == 0 && is_any(token, words)
            })
            .unwrap_or(self.rest.len());
        let (before, rest) = self.rest.split_at(at);
        self.rest = rest;
        Cursor::new(self.text, before)
    }

    /// The text of what is left, as it was written.
    pub(super) fn rest_text(&self) -> &'a str {
        self.raw(self.rest)
    }

    fn raw(&self, tokens: &[TokenWithSpan]) -> &'a str {
        self.text.get(range(self.text, tokens)).unwrap_or("")
    }
}

fn range(text: &str, tokens: &[TokenWithSpan]) -> Range<usize> {
    match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => offset(text, first.span.start)..offset(text, last.span.end),
        _ => 0..0,
    }
}

/// How much deeper one is behind a token: `array<struct<a:int>>` has commas of its own.
fn nesting(token: &Token) -> i32 {
    match token {
        Token::LParen | Token::Lt => 1,
        Token::RParen | Token::Gt => -1,
        Token::ShiftRight => -2,
        _ => 0,
    }
}

/// A literal's value, by Spark's rules for backslashes; two quotes in one are one.
fn unquoted(raw: &str) -> String {
    let quote = raw.chars().next().unwrap_or('\'');
    let body = raw
        .strip_prefix(quote)
        .and_then(|raw| raw.strip_suffix(quote))
        .unwrap_or(raw);
    let mut value = String::new();
    let mut chars = body.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('r') => value.push('\r'),
                Some('0') => value.push('\0'),
                Some(other) => value.push(other),
                None => value.push('\\'),
            },
            _ if char == quote => {
                chars.next_if_eq(&quote);
                value.push(quote);
            }
            _ => value.push(char),
        }
    }
    value
}
