//! Reads a query with several dialects of sqlparser and walks their trees. A text is a query that only reads if
//! one dialect reads it so, and no dialect reads something else.

use std::ops::ControlFlow;

use sqlparser::ast::{
    ObjectName, ObjectNamePart, Query, Select, SetExpr, Spanned, Statement, TableFactor, Visit,
    Visitor,
};
use sqlparser::dialect::{
    DatabricksDialect, Dialect, GenericDialect, HiveDialect, SparkSqlDialect,
};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token as ParserToken, TokenWithSpan, Tokenizer};

use super::classify::{HINT_RUN, Refusal};
use super::depth;
use super::lex::Token;
use super::rules;

const DIALECTS: [&dyn Dialect; 4] = [
    &DatabricksDialect,
    &SparkSqlDialect,
    &GenericDialect,
    &HiveDialect {},
];

/// What a dialect makes of a text.
enum Reading {
    Reads,
    Other(Refusal),
    Fails(Failure),
}

/// Where and why a dialect gave up.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Failure {
    place: Option<(u32, u32)>,
    expected: Option<String>,
}

/// Whether the statement of these tokens, the last ones of the text, is a query that only reads.
pub(super) fn query(tokens: &[Token<'_>], masked: &str) -> Result<(), Refusal> {
    let first = tokens
        .first()
        .ok_or_else(|| Refusal::new("an incomplete statement", HINT_RUN))?;
    rules::check_query_head(first)?;
    depth::check(tokens)?;
    let mut reads = false;
    let mut furthest: Option<Failure> = None;
    for dialect in DIALECTS {
        match read(dialect, first, masked) {
            Reading::Reads => reads = true,
            Reading::Other(refusal) => return Err(refusal),
            Reading::Fails(failure) => {
                if furthest
                    .as_ref()
                    .is_none_or(|known| failure.place > known.place)
                {
                    furthest = Some(failure);
                }
            }
        }
    }
    if reads {
        Ok(())
    } else {
        Err(not_understood(tokens, furthest))
    }
}

fn not_understood(tokens: &[Token<'_>], failure: Option<Failure>) -> Refusal {
    const HINT: &str = "Correct the text, or use run_sql if it is right.";
    let Some(Failure { place, expected }) = failure else {
        return Refusal::new("a text that does not parse", HINT);
    };
    let expected = expected
        .map(|words| format!(", expected {words}"))
        .unwrap_or_default();
    let found = place.and_then(|place| {
        tokens
            .iter()
            .find(|token| (token.line, token.column) == place)
    });
    match (found, place) {
        (Some(token), _) => {
            let mut raw: String = token.raw.chars().take(40).collect();
            if raw.len() < token.raw.len() {
                raw.push('…');
            }
            token.refuse(
                format!("a text that does not parse: found `{raw}`{expected}"),
                HINT,
            )
        }
        (None, Some((line, column))) => Refusal::at(
            line,
            column,
            format!("a text that does not parse{expected}"),
            HINT,
        ),
        (None, None) => Refusal::new(
            format!("a text that does not parse at its end{expected}"),
            HINT,
        ),
    }
}

fn read(dialect: &dyn Dialect, first: &Token<'_>, masked: &str) -> Reading {
    let tokens = match Tokenizer::new(dialect, masked).tokenize_with_location() {
        Ok(tokens) => statement_tokens(tokens, first),
        Err(error) => {
            return Reading::Fails(Failure {
                place: place(error.location.line, error.location.column),
                expected: None,
            });
        }
    };
    let mut parser = Parser::new(dialect).with_tokens_with_locations(tokens);
    match parser.parse_statements() {
        Ok(statements) => judge(&statements),
        Err(error) => failure(&error),
    }
}

/// From the statement's first token on, without the `;` behind it; `TABLE t` as the `SELECT * FROM t` that it is.
fn statement_tokens(tokens: Vec<TokenWithSpan>, first: &Token<'_>) -> Vec<TokenWithSpan> {
    let start = (u64::from(first.line), u64::from(first.column));
    let mut tokens = tokens
        .into_iter()
        .skip_while(|token| (token.span.start.line, token.span.start.column) < start)
        .filter(|token| token.token != ParserToken::SemiColon)
        .peekable();
    let mut statement = Vec::new();
    let table = |token: &TokenWithSpan| matches!(&token.token, ParserToken::Word(word) if word.keyword == Keyword::TABLE);
    if let Some(TokenWithSpan { span, .. }) = tokens.next_if(table) {
        let words = [
            ParserToken::make_keyword("SELECT"),
            ParserToken::Mul,
            ParserToken::make_keyword("FROM"),
        ];
        statement.extend(words.map(|token| TokenWithSpan { token, span }));
    }
    statement.extend(tokens);
    statement
}

fn place(line: u64, column: u64) -> Option<(u32, u32)> {
    let place = (u32::try_from(line).ok()?, u32::try_from(column).ok()?);
    (place.0 > 0).then_some(place)
}

fn too_deep() -> Refusal {
    Refusal::new(
        "a query that is nested too deeply to be checked",
        "Use WITH to name the inner queries.",
    )
}

/// sqlparser gives places in the message only: `Expected: …, found: … at Line: 1, Column: 8`.
fn failure(error: &ParserError) -> Reading {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => return Reading::Other(too_deep()),
    };
    let numbers = text
        .rsplit_once(" at Line: ")
        .and_then(|(_, place)| place.split_once(", Column: "));
    let place = numbers.and_then(|(line, column)| place(line.parse().ok()?, column.parse().ok()?));
    let expected = text
        .strip_prefix("Expected: ")
        .and_then(|text| text.rsplit_once(", found: "))
        .map(|(expected, _)| expected.to_owned());
    Reading::Fails(Failure { place, expected })
}

fn judge(statements: &[Statement]) -> Reading {
    match statements {
        [statement @ Statement::Query(_)] => match statement.visit(&mut Judge { statements: 0 }) {
            ControlFlow::Continue(()) => Reading::Reads,
            ControlFlow::Break(refusal) => Reading::Other(*refusal),
        },
        [_] => Reading::Other(Refusal::new("a statement that is no query", HINT_RUN)),
        _ => Reading::Other(Refusal::new(
            "more than one statement",
            "Pass one statement per call.",
        )),
    }
}

/// Looks at every node of one tree.
struct Judge {
    /// Seen so far; the query itself is the only one.
    statements: u32,
}

type Walk = ControlFlow<Box<Refusal>>;

fn refuse(reason: impl Into<String>, hint: &str) -> Walk {
    ControlFlow::Break(Box::new(Refusal::new(reason, hint)))
}

impl Visitor for Judge {
    type Break = Box<Refusal>;

    fn pre_visit_statement(&mut self, _: &Statement) -> Walk {
        self.statements += 1;
        if self.statements > 1 {
            return refuse("a statement inside a query", HINT_RUN);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> Walk {
        let Query {
            locks,
            for_clause,
            settings,
            format_clause,
            body,
            ..
        } = query;
        if !locks.is_empty() {
            return refuse("FOR UPDATE, which locks rows", "Leave it out.");
        }
        if for_clause.is_some() || settings.is_some() || format_clause.is_some() {
            return refuse("a clause of another SQL dialect", "Leave it out.");
        }
        match **body {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                refuse("a query that writes", HINT_RUN)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> Walk {
        match select.into {
            Some(_) => refuse("SELECT … INTO, which writes", HINT_RUN),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Walk {
        match factor {
            TableFactor::Table {
                name, args: None, ..
            } => relation(name),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn relation(name: &ObjectName) -> Walk {
    let names: Vec<String> = name
        .0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => ident.value.clone(),
            ObjectNamePart::Function(function) => function.to_string(),
        })
        .collect();
    if !rules::is_file_relation(&names) {
        return ControlFlow::Continue(());
    }
    let (reason, hint) = (rules::relation_reason(&names), rules::relation_hint(&names));
    let start = name.span().start;
    ControlFlow::Break(Box::new(match place(start.line, start.column) {
        Some((line, column)) => Refusal::at(line, column, reason, hint),
        None => Refusal::new(reason, hint),
    }))
}
