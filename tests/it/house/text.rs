//! Reads Rust as text: which words are code, which stand in strings, and where tests begin. No parser: comments, strings
//! and braces are all that the rules need.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One file of `src/`.
pub(super) struct Source {
    /// From the checkout, with `/`.
    pub(super) path: String,
    /// `mcp::tools::args`.
    pub(super) module: String,
    /// It is compiled for tests only.
    pub(super) is_test: bool,
    lines: usize,
    code: Vec<Piece>,
}

/// A word, a text or a sign.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Word(usize, String),
    Text(usize, String),
    Sign(usize, char),
}

impl Source {
    pub(super) fn read(folder: &Path, path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let below = path.strip_prefix(folder).unwrap().with_extension("");
        let mut parts: Vec<String> = below
            .components()
            .map(|c| c.as_os_str().to_string_lossy().into_owned())
            .collect();
        let path = format!("src/{}.rs", parts.join("/"));
        if parts.len() > 1 && parts.last().is_some_and(|p| p == "mod") {
            parts.pop();
        }
        let code = without_inline_tests(&pieces(&text));
        let lines = code.iter().map(Piece::line).max().unwrap_or(0);
        let module = parts.join("::");
        Self {
            path,
            module,
            is_test: false,
            lines,
            code,
        }
    }

    /// The first part of the module's path.
    pub(super) fn top(&self) -> &str {
        self.module.split("::").next().unwrap()
    }

    /// Lines up to the tests within the file.
    pub(super) fn lines_without_tests(&self) -> usize {
        self.lines
    }

    /// The modules that this file declares for tests only.
    pub(super) fn test_modules(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (at, _) in self.code.iter().enumerate() {
            if let Some(after) = cfg_test(&self.code, at)
                && let Some((name, Piece::Sign(_, ';'))) = declared(&self.code, after)
            {
                found.push(match self.module.as_str() {
                    "lib" | "main" => name,
                    module => format!("{module}::{name}"),
                });
            }
        }
        found
    }

    /// The modules of the crate's top that are used here: `crate::x`, `crate::{x, y}`, `super::…::x` up to the root.
    pub(super) fn uses(&self, top: &BTreeSet<&str>) -> Vec<(usize, String)> {
        let depth = self.module.split("::").count();
        let mut found = Vec::new();
        let mut add = |piece: &Piece| {
            if let Piece::Word(line, word) = piece
                && top.contains(word.as_str())
            {
                found.push((*line, word.clone()));
            }
        };
        for (at, piece) in self.code.iter().enumerate() {
            let next = match piece {
                Piece::Word(_, word) if word == "crate" => at + 1,
                Piece::Word(_, word) if word == "super" => match supers(&self.code, at) {
                    (count, next) if count == depth => next,
                    _ => continue,
                },
                _ => continue,
            };
            let Some(first) = after_colons(&self.code, next) else {
                continue;
            };
            match self.code.get(first) {
                Some(Piece::Sign(_, '{')) => {
                    heads(&self.code, first).into_iter().for_each(&mut add)
                }
                Some(word) => add(word),
                None => {}
            }
        }
        found
    }

    /// Words of code, without what stands in texts.
    pub(super) fn code_words(&self) -> Vec<(usize, String, bool)> {
        let words = self.all_words().into_iter();
        words.filter(|(_, _, in_text)| !in_text).collect()
    }

    /// Words of code and of texts; the last says which.
    pub(super) fn all_words(&self) -> Vec<(usize, String, bool)> {
        let mut found = Vec::new();
        for piece in &self.code {
            match piece {
                Piece::Word(line, word) => found.push((*line, word.clone(), false)),
                Piece::Text(line, text) => {
                    found.extend(identifiers(text).into_iter().map(|w| (*line, w, true)));
                }
                Piece::Sign(..) => {}
            }
        }
        found
    }

    /// Texts that are one word, and names of fields and variants as they are written in answers.
    pub(super) fn text_words(&self) -> Vec<(usize, String)> {
        let one = |piece: &Piece| match piece {
            Piece::Text(line, text) if identifiers(text) == [text.clone()] => {
                Some((*line, text.clone()))
            }
            Piece::Word(line, word) if word.contains('_') => Some((*line, word.clone())),
            _ => None,
        };
        self.code.iter().filter_map(one).collect()
    }

    /// The texts given to a field: `name: "…"`.
    pub(super) fn fields(&self, field: &str) -> Vec<String> {
        let given = |w: &[Piece]| match w {
            [
                Piece::Word(_, name),
                Piece::Sign(_, ':'),
                Piece::Text(_, text),
            ] if name == field => Some(text.clone()),
            _ => None,
        };
        self.code.windows(3).filter_map(given).collect()
    }
}

impl Piece {
    fn line(&self) -> usize {
        match self {
            Self::Word(line, _) | Self::Text(line, _) | Self::Sign(line, _) => *line,
        }
    }

    fn is(&self, sign: char) -> bool {
        matches!(self, Self::Sign(_, c) if *c == sign)
    }
}

/// The parts of an identifier, in lower case: `LocalSession` and `local_session` are `local`, `session`.
pub(super) fn words(identifier: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before = ' ';
    for c in identifier.chars() {
        if c == '_' || (c.is_uppercase() && before.is_lowercase()) {
            parts.push(String::new());
        }
        if c != '_' {
            parts.last_mut().unwrap().extend(c.to_lowercase());
        }
        before = c;
    }
    parts.retain(|p| !p.is_empty());
    parts
}

/// The identifiers in any text.
pub(super) fn identifiers(text: &str) -> Vec<String> {
    let ends = |c: char| !(c.is_alphanumeric() || c == '_');
    let all = text.split(ends);
    all.filter(|w| w.starts_with(|c: char| c.is_alphabetic()))
        .map(str::to_owned)
        .collect()
}

/// The code in the first cells of each Markdown table whose first column has this title.
pub(super) fn first_column(text: &str, title: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut in_table, mut wanted) = (false, false);
    for line in text.lines() {
        let cell = line.strip_prefix('|').and_then(|l| l.split('|').next());
        let Some(cell) = cell.map(str::trim) else {
            in_table = false;
            continue;
        };
        if !in_table {
            (in_table, wanted) = (true, cell == title);
        } else if wanted {
            let code = cell.split('`').skip(1).step_by(2);
            found.extend(code.map(str::to_owned));
        }
    }
    found
}

/// The end of `#[cfg(test)]` that begins here.
fn cfg_test(code: &[Piece], at: usize) -> Option<usize> {
    let signs = |i: usize, c: char| code.get(at + i).is_some_and(|p| p.is(c));
    let word =
        |i: usize, w: &str| matches!(code.get(at + i), Some(Piece::Word(_, found)) if found == w);
    let found =
        signs(0, '#') && signs(1, '[') && word(2, "cfg") && signs(3, '(') && word(4, "test");
    (found && signs(5, ')') && signs(6, ']')).then_some(at + 7)
}

/// The name of the module that is declared from here on, behind attributes and a visibility, and what follows it.
fn declared(code: &[Piece], mut at: usize) -> Option<(String, Piece)> {
    while code.get(at).is_some_and(|p| p.is('#')) {
        at = closed(code, at + 1);
    }
    if matches!(code.get(at), Some(Piece::Word(_, w)) if w == "pub") {
        at += 1;
        if code.get(at).is_some_and(|p| p.is('(')) {
            at = closed(code, at);
        }
    }
    match code.get(at..at + 3)? {
        [Piece::Word(_, keyword), Piece::Word(_, name), sign] if keyword == "mod" => {
            Some((name.clone(), sign.clone()))
        }
        _ => None,
    }
}

/// Behind the bracket that closes the one here.
fn closed(code: &[Piece], at: usize) -> usize {
    let mut depth = 0_usize;
    for (i, piece) in code.iter().enumerate().skip(at) {
        match piece {
            Piece::Sign(_, '(' | '[' | '{') => depth += 1,
            Piece::Sign(_, ')' | ']' | '}') => {
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// Without `#[cfg(test)] mod name { … }`.
fn without_inline_tests(code: &[Piece]) -> Vec<Piece> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let inline = cfg_test(code, at)
            .filter(|after| declared(code, *after).is_some_and(|(_, sign)| sign.is('{')));
        if let Some(after) = inline {
            let opens = (after..code.len()).find(|i| code[*i].is('{')).unwrap();
            at = closed(code, opens);
        } else {
            kept.push(code[at].clone());
            at += 1;
        }
    }
    kept
}

/// How many `super` stand here, joined by `::`, and where they end.
fn supers(code: &[Piece], mut at: usize) -> (usize, usize) {
    // Not in the middle of a chain.
    if at >= 2
        && code[at - 1].is(':')
        && matches!(&code[at.saturating_sub(3)], Piece::Word(_, w) if w == "super")
    {
        return (0, at);
    }
    let mut count = 1;
    at += 1;
    while let Some(next) = after_colons(code, at) {
        match code.get(next) {
            Some(Piece::Word(_, word)) if word == "super" => {
                count += 1;
                at = next + 1;
            }
            _ => break,
        }
    }
    (count, at)
}

/// Behind `::`, if it is here.
fn after_colons(code: &[Piece], at: usize) -> Option<usize> {
    let both = code.get(at..at + 2)?.iter().all(|p| p.is(':'));
    both.then_some(at + 2)
}

/// The first word of each entry of the braces that open here.
fn heads(code: &[Piece], open: usize) -> Vec<&Piece> {
    let mut depth = 0;
    let mut found = Vec::new();
    let mut fresh = false;
    for piece in &code[open..closed(code, open)] {
        match piece {
            Piece::Sign(_, '{') => {
                depth += 1;
                fresh = depth == 1;
            }
            Piece::Sign(_, '}') => depth -= 1,
            Piece::Sign(_, ',') => fresh = depth == 1,
            Piece::Word(..) if fresh => {
                found.push(piece);
                fresh = false;
            }
            _ => {}
        }
    }
    found
}

/// Takes a text apart; comments are gone.
fn pieces(text: &str) -> Vec<Piece> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut found, mut line, mut i) = (Vec::new(), 1, 0);
    while i < chars.len() {
        let begins = i;
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= chars.len() {
                        break;
                    }
                }
            }
            '"' => {
                i += 1;
                while i < chars.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                found.push(Piece::Text(
                    line,
                    chars[begins + 1..i.min(chars.len())].iter().collect(),
                ));
                i += 1;
            }
            // A character, unless it is a lifetime.
            '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => {
                i += if at(i + 1) == '\\' { 3 } else { 2 };
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            c if c.is_alphabetic() || c == '_' => {
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                let word: String = chars[begins..i].iter().collect();
                let hashes = (i..).take_while(|j| at(*j) == '#').count();
                if ["r", "br", "cr"].contains(&word.as_str()) && at(i + hashes) == '"' {
                    let end: Vec<char> = std::iter::once('"')
                        .chain((0..hashes).map(|_| '#'))
                        .collect();
                    let from = i + hashes + 1;
                    let to = (from..chars.len())
                        .find(|j| chars[*j..].starts_with(&end))
                        .unwrap();
                    found.push(Piece::Text(line, chars[from..to].iter().collect()));
                    i = to + end.len();
                } else {
                    found.push(Piece::Word(line, word));
                }
            }
            c if c.is_numeric() => {
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
            }
            c => {
                if !c.is_whitespace() {
                    found.push(Piece::Sign(line, c));
                }
                i += 1;
            }
        }
        line += chars[begins..i.min(chars.len())]
            .iter()
            .filter(|c| **c == '\n')
            .count();
    }
    found
}

#[test]
fn comments_are_gone_and_texts_and_code_are_told_apart() {
    let text = "// crate::gate\nuse crate::{model::Code, sql}; /* /* crate::app */ */\nlet a: &'a str = \"livy \\\" x\"; let b = r#\"fa\"bric\"#; let c = '\"';\n#[cfg(test)]\nmod tests { use super::super::cli; }\nlet d = 1;";
    let code = without_inline_tests(&pieces(text));
    let source = Source {
        path: String::new(),
        module: "x".to_owned(),
        is_test: false,
        lines: 0,
        code,
    };
    let top = BTreeSet::from(["model", "sql", "gate", "app", "cli"]);
    assert_eq!(
        source.uses(&top),
        [(2, "model".to_owned()), (2, "sql".to_owned())]
    );
    let texts: Vec<String> = source
        .all_words()
        .into_iter()
        .filter(|w| w.2)
        .map(|w| w.1)
        .collect();
    assert_eq!(texts, ["livy", "x", "fa", "bric"]);
    assert_eq!(words("LivySession_id"), ["livy", "session", "id"]);
    let tables = "| code | do |\n|---|---|\n| `a_b`, `c` | `d` |\n\n| what | do |\n| `e` | f |";
    assert_eq!(first_column(tables, "code"), ["a_b", "c"]);
    assert!(source.code_words().contains(&(6, "d".to_owned(), false)));
}
