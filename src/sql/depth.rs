//! Bounds how deep a tree can become, before a parser builds one: trees are walked and dropped by recursion.
//!
//! sqlparser bounds its own recursion (50 levels of grammar), but chains (`a + b + c`, `a UNION b UNION c`) are
//! built by loops and are as deep as they are long. Measured with a debug build on a stack of 2 MB: 20,000 links of
//! 24 kinds of chains pass, 60,000 overflow it when they are dropped.

use super::classify::Refusal;
use super::lex::Token;

/// Tokens between two commas, summed over the brackets that are open around them; a link has at least one.
const MAX_DEPTH: usize = 8_000;

/// Brackets inside brackets; a clearer answer than the parser's limit, which allows about 25 subqueries.
const MAX_NESTING: usize = 64;

/// The inside of one pair of brackets.
#[derive(Default)]
struct Level {
    /// Tokens since the last comma.
    chain: usize,
    /// Set operations: these go on across commas.
    sets: usize,
    /// The deepest bracket since the last comma.
    inner: usize,
    /// The deepest of the parts before it.
    deepest: usize,
}

impl Level {
    fn comma(&mut self) {
        self.deepest = self.depth();
        self.chain = 0;
        self.inner = 0;
    }

    fn depth(&self) -> usize {
        self.deepest.max(self.chain + self.inner)
    }

    fn total(&self) -> usize {
        self.depth() + self.sets
    }
}

/// Refuses what may become too deep.
pub(super) fn check(tokens: &[Token<'_>]) -> Result<(), Refusal> {
    let mut around: Vec<Level> = Vec::new();
    let mut level = Level::default();
    for token in tokens {
        if token.symbol('(') || token.symbol('[') {
            around.push(std::mem::take(&mut level));
        } else if token.symbol(')') || token.symbol(']') {
            let inner = level.total() + 1;
            level = around.pop().unwrap_or_default();
            level.inner += inner;
        } else if token.symbol(',') {
            level.comma();
        } else if token.is_any(&["UNION", "EXCEPT", "INTERSECT", "MINUS"]) {
            level.sets += 1;
        } else {
            level.chain += 1;
        }
        if around.len() > MAX_NESTING {
            return Err(token.refuse(
                format!("brackets nested more than {MAX_NESTING} deep"),
                "Use WITH to name the inner queries.",
            ));
        }
        if level.total() > MAX_DEPTH {
            return Err(token.refuse(
                format!("a chain of more than {MAX_DEPTH} words and signs without a comma"),
                "Use IN (…) instead of many ORs, and VALUES instead of many UNIONs.",
            ));
        }
    }
    Ok(())
}
