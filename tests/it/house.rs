//! The rules of the house, kept by reading `src/`: which module may use which, what stays pure, how large a file may
//! grow, and that what SKILL.md and `skills/` name is there. Reading the text of code is in `house/text.rs`.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use sparklease::model::Code;

use self::text::{Source, words};

/// The arrows point down: a module may use what is in a lower row, and nothing of its own. Those of later issues have
/// their place already.
const ROWS: [&[&str]; 11] = [
    &["cli"],
    &["app"],
    &["mcp", "http"],
    &["gate", "service"],
    &["policy", "sql", "lease"],
    &["ledger", "guard"],
    &["platform"],
    &["spark_connect", "python", "auth"],
    &["config"],
    &["sys"],
    &["model"],
];
/// Crates whose types stay in one place: name, the modules that may name it, why.
const KEPT_IN: [(&str, &[&str], &str); 3] = [
    (
        "rmcp",
        &["mcp", "http"],
        "the protocol's types end at the face",
    ),
    (
        "reqwest",
        &["platform", "auth"],
        "one client, with its limits",
    ),
    (
        "figment",
        &["config"],
        "layers of settings stay replaceable",
    ),
];
/// Where no platform is known by name: what differs is data in `Capability`.
const NO_PLATFORM: [&str; 4] = ["lease", "ledger", "service", "gate"];
const PLATFORMS: [&str; 6] = ["local", "livy", "fabric", "databricks", "sail", "synapse"];
/// `local_files` is what a platform can do, not its name.
const NOT_A_PLATFORM: [&str; 1] = ["local_files"];
/// No await, no clock, no randomness, no input or output of their own.
const PURE: [&str; 3] = ["lease/core", "sql", "policy"];
const IMPURE: [&str; 16] = [
    "async",
    "await",
    "Instant",
    "SystemTime",
    "rand",
    "random",
    "Uuid",
    "fs",
    "net",
    "env",
    "process",
    "thread",
    "tokio",
    "io",
    "println",
    "eprintln",
];
/// Lines of a file without its tests. The aim is 400: what is above it is shown.
const LINES: usize = 600;
const LINES_AIM: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` with this ending, as a path from the checkout.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let folder = root().join("src");
    let all = files("src", "rs");
    let mut sources: Vec<Source> = all.iter().map(|p| Source::read(&folder, p)).collect();
    // `#[cfg(test)] mod name;` makes a file, and all below it, a test.
    let tests: BTreeSet<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        source.is_test = tests
            .iter()
            .any(|t| source.module == *t || source.module.starts_with(&format!("{t}::")));
    }
    assert!(
        sources.len() > 50,
        "the walk found only {} files",
        sources.len()
    );
    sources
}

fn none(problems: &[String], rule: &str) {
    assert!(problems.is_empty(), "{rule}:\n  {}", problems.join("\n  "));
}

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

fn may_use(from: &str, to: &str) -> bool {
    from == to || row(from).zip(row(to)).is_some_and(|(a, b)| a < b)
}

#[test]
fn arrows_between_modules_point_down() {
    let sources = sources();
    let top: BTreeSet<&str> = sources.iter().map(Source::top).collect();
    let mut problems = Vec::new();
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    for source in &sources {
        let from = source.top();
        if ["lib", "main"].contains(&from) {
            continue;
        }
        // A file of tests at the top is no room of the map, and shows nothing to others.
        if source.is_test && row(from).is_none() {
            continue;
        }
        if row(from).is_none() {
            problems.push(format!("{}: {from} has no row in the map", source.path));
        }
        for (line, to) in source.uses(&top) {
            *seen.entry((from.to_owned(), to.clone())).or_default() += 1;
            if !may_use(from, &to) {
                problems.push(format!("{}:{line}: {from} uses {to}", source.path));
            }
        }
    }
    none(&problems, "an arrow points up, or within a row");
    // A reader that finds nothing would keep every rule.
    for edge in [
        ("cli", "app"),
        ("mcp", "gate"),
        ("service", "lease"),
        ("platform", "spark_connect"),
    ] {
        assert!(
            seen.contains_key(&(edge.0.to_owned(), edge.1.to_owned())),
            "{edge:?} was not found"
        );
    }
}

#[test]
fn crates_are_named_only_where_their_types_stay() {
    let mut problems = Vec::new();
    for source in sources() {
        for (line, word, _) in source.code_words() {
            for (name, places, why) in KEPT_IN {
                if word == name && !places.contains(&source.top()) {
                    problems.push(format!("{}:{line}: {name} ({why})", source.path));
                }
            }
        }
    }
    none(&problems, "a crate is named outside its place");
}

#[test]
fn no_platform_is_known_by_name_above_the_platforms() {
    let mut problems = Vec::new();
    for source in sources() {
        if source.is_test || !NO_PLATFORM.contains(&source.top()) {
            continue;
        }
        for (line, word, _) in source.all_words() {
            let named = words(&word).iter().any(|w| PLATFORMS.contains(&w.as_str()));
            if named && !NOT_A_PLATFORM.contains(&word.as_str()) {
                problems.push(format!("{}:{line}: {word}", source.path));
            }
        }
    }
    none(
        &problems,
        "a platform's name where differences are data in Capability",
    );
}

#[test]
fn what_is_pure_has_no_await_clock_randomness_or_files() {
    let (mut problems, mut looked_at) = (Vec::new(), 0);
    for source in sources() {
        let path = source
            .path
            .trim_start_matches("src/")
            .trim_end_matches(".rs");
        let pure = PURE
            .iter()
            .any(|p| path == *p || path.starts_with(&format!("{p}/")));
        if source.is_test || !pure {
            continue;
        }
        looked_at += 1;
        for (line, word, _) in source.code_words() {
            if IMPURE.contains(&word.as_str()) {
                problems.push(format!("{}:{line}: {word}", source.path));
            }
        }
    }
    none(
        &problems,
        "the core, sql and policy do nothing by themselves",
    );
    assert!(looked_at > 10, "only {looked_at} files were looked at");
}

#[test]
fn a_file_says_what_lives_in_it() {
    let mut problems = Vec::new();
    for folder in ["src", "tests", "benches"] {
        if !root().join(folder).exists() {
            continue;
        }
        for (ending, opening) in [("rs", "//! "), ("py", "\"\"\"")] {
            for path in files(folder, ending) {
                let text = fs::read_to_string(&path).unwrap();
                if !text.is_empty() && !text.starts_with(opening) {
                    problems.push(path.display().to_string());
                }
            }
        }
    }
    none(&problems, "a file opens with a doc line");
}

#[allow(
    clippy::print_stdout,
    reason = "a list for whoever looks at the test's output"
)]
#[test]
fn files_stay_small() {
    let mut large: Vec<(usize, String)> = sources()
        .into_iter()
        .filter(|s| !s.is_test)
        .map(|s| (s.lines_without_tests(), s.path))
        .filter(|(lines, _)| *lines > LINES_AIM)
        .collect();
    large.sort();
    for (lines, path) in &large {
        println!("{path} has {lines} lines; the aim is {LINES_AIM}");
    }
    large.retain(|(lines, _)| *lines > LINES);
    assert!(large.is_empty(), "above {LINES} lines: {large:?}");
}

/// The texts that tell an assistant what is there.
fn skills() -> Vec<(String, String)> {
    let mut paths = vec![root().join("SKILL.md")];
    paths.extend(files("skills", "md"));
    assert!(paths.len() > 1, "skills/ holds no text");
    let read = |p: PathBuf| {
        let text = fs::read_to_string(&p).unwrap_or_else(|e| panic!("{}: {e}", p.display()));
        (p.strip_prefix(root()).unwrap().display().to_string(), text)
    };
    paths.into_iter().map(read).collect()
}

/// The tools' names, from their table.
fn tools() -> BTreeSet<String> {
    let table = Source::read(&root().join("src"), &root().join("src/mcp/tools/mod.rs"));
    let names: BTreeSet<String> = table.fields("name").into_iter().collect();
    assert!(names.contains("query_sql") && names.len() >= 8, "{names:?}");
    names
}

/// What we write in an answer or read from a call: the words of the contract.
fn contract() -> BTreeSet<String> {
    let ours = |s: &Source| ["mcp", "gate", "config"].contains(&s.top());
    let sources = sources();
    let found = sources
        .iter()
        .filter(|s| ours(s))
        .flat_map(Source::text_words);
    found.map(|(_, word)| word).collect()
}

#[test]
fn every_tool_that_a_skill_names_exists_and_each_tool_is_named() {
    let (tools, contract) = (tools(), contract());
    let verbs: BTreeSet<&str> = tools.iter().filter_map(|t| t.split('_').next()).collect();
    let mut problems = Vec::new();
    let mut named = BTreeSet::new();
    for (path, text) in skills() {
        for word in text::identifiers(&text) {
            let verb = word.split_once('_').map(|(verb, _)| verb);
            if tools.contains(&word) {
                named.insert(word);
            } else if verb.is_some_and(|v| verbs.contains(v)) && !contract.contains(&word) {
                problems.push(format!("{path}: there is no tool {word}"));
            }
        }
    }
    none(&problems, "a skill names a tool that is not there");
    assert_eq!(named, tools, "the skills name every tool");
}

/// What stands in the first column of a table that begins with `code`.
#[test]
fn every_code_that_a_skill_explains_exists() {
    let codes: Vec<&str> = Code::ALL.iter().map(|c| c.as_str()).collect();
    let mut problems = Vec::new();
    let mut named = 0;
    for (path, text) in skills() {
        for word in text::first_column(&text, "code") {
            named += 1;
            if !codes.contains(&word.as_str()) {
                problems.push(format!("{path}: there is no code {word}"));
            }
        }
    }
    none(&problems, "a skill explains a code that is not there");
    assert!(named > 0, "no skill has a table of codes");
}
