//! What the skills and the README tell assistants exists.

use std::collections::BTreeSet;
use std::path::Path;

use super::names;
use crate::model::Code;

const TEXTS: [&str; 4] = [
    "SKILL.md",
    "README.md",
    "skills/executing-spark/SKILL.md",
    "skills/executing-spark/references/local-engine.md",
];

/// With what a tool's name begins, ours and those of tools to come.
const VERBS: [&str; 8] = [
    "query_", "run_", "get_", "list_", "write_", "open_", "close_", "cancel_",
];

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The words of a text that look like tools.
fn tools(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| c != '_' && !c.is_ascii_alphanumeric())
        .filter(|word| VERBS.iter().any(|verb| word.starts_with(verb)))
        .collect()
}

#[test]
fn every_tool_that_is_named_exists() {
    let all = BTreeSet::from_iter(names(true));
    for path in TEXTS {
        let text = text(path);
        let unknown: Vec<_> = tools(&text).difference(&all).copied().collect();
        assert_eq!(unknown, Vec::<&str>::new(), "{path}");
    }
}

#[test]
fn the_skill_and_the_readme_name_every_tool() {
    let all = BTreeSet::from_iter(names(true));
    for path in ["README.md", "skills/executing-spark/SKILL.md"] {
        assert_eq!(tools(&text(path)), all, "{path}");
    }
}

#[test]
fn every_code_of_the_skill_exists() {
    let all: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let skill = text("skills/executing-spark/SKILL.md");
    let table = skill.split("\n## Errors\n").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let named: BTreeSet<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert!(named.len() > 10, "{named:?}");
    let unknown: Vec<_> = named.difference(&all).copied().collect();
    assert_eq!(unknown, Vec::<&str>::new());
}

#[test]
fn skills_have_the_frontmatter_that_clients_read() {
    for (path, name) in [
        ("SKILL.md", "sparklease"),
        ("skills/executing-spark/SKILL.md", "executing-spark"),
    ] {
        let text = text(path);
        let front = text.strip_prefix("---\n").unwrap();
        let (front, body) = front.split_once("\n---\n").unwrap();
        assert!(
            front.lines().any(|l| l == format!("name: {name}")),
            "{path}"
        );
        let description = front.lines().find_map(|l| l.strip_prefix("description: "));
        let description = description.unwrap();
        assert!(
            description.len() <= 1024 && description.contains("Use"),
            "{path}"
        );
        assert!(body.lines().count() < 500, "{path}");
    }
}
