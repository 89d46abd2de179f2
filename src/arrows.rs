//! The arrows of the map: imports point down, and what belongs to one room stays in it. Tests only: it reads `src/`.

use std::fs;
use std::path::{Path, PathBuf};

/// From the top. A room may import from itself and from lower floors, never from its neighbours.
const FLOORS: [&[&str]; 11] = [
    &["cli"],
    &["app"],
    &["mcp"],
    &["gate", "service"],
    &["lease"],
    &["ledger"],
    &["platform"],
    &["spark_connect", "python", "sql"],
    &["config"],
    &["sys"],
    &["model"],
];

/// Crates that only these rooms may name.
const KEPT_IN: [(&str, &[&str]); 5] = [
    ("rmcp", &["mcp"]),
    ("figment", &["config"]),
    ("reqwest", &["platform"]),
    ("rusqlite", &["ledger", "platform"]),
    ("tonic", &["spark_connect"]),
];

/// Rooms that know no platform: what differs is data in `Capability`.
const KNOW_NO_PLATFORM: [&str; 5] = ["gate", "lease", "ledger", "service", "sql"];

/// How a platform would show itself in code. `local_files` is a capability, and variables may be local.
const PLATFORM_NAMES: [&str; 7] = [
    "\"local\"",
    "local::",
    "Local::",
    "Sail",
    "livy",
    "fabric",
    "databricks",
];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Every Rust file below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// Room, path below `src/`, and the code without comments. The root of the crate is no room.
fn sources() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources: Vec<_> = files(&root)
        .into_iter()
        .filter_map(|path| {
            let below = path.strip_prefix(&root).unwrap();
            let first = below.components().next().unwrap().as_os_str();
            let room = Path::new(first).file_stem().unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let code: Vec<&str> = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            let no_room = ["lib", "main", "arrows"].contains(&room);
            (!no_room).then(|| {
                (
                    room.to_owned(),
                    below.display().to_string(),
                    code.join("\n"),
                )
            })
        })
        .collect();
    assert!(sources.len() > 100, "src/ was not found");
    sources
}

/// The code that ships: up to the tests of the file, and no test files.
fn shipped(path: &str, code: &str) -> String {
    let test = path
        .split(['/', '.'])
        .any(|part| part == "tests" || part == "testing");
    let end = if test {
        0
    } else {
        code.find("\n#[cfg(test)]\nmod tests {")
            .unwrap_or(code.len())
    };
    code[..end].to_owned()
}

/// The rooms that `code` names as `crate::room`, also in `crate::{room, …}`.
fn rooms_named(code: &str) -> Vec<&str> {
    code.split("crate::")
        .skip(1)
        .flat_map(|after| {
            let list = after
                .strip_prefix('{')
                .and_then(|list| list.split('}').next());
            list.map_or_else(|| vec![after], |list| list.split(',').collect())
        })
        .map(|path| {
            let path = path.trim_start();
            let end = path.find(|c: char| c != '_' && !c.is_ascii_lowercase());
            &path[..end.unwrap_or(path.len())]
        })
        .collect()
}

#[test]
fn imports_point_down_only() {
    let mut wrong = Vec::new();
    for (room, path, code) in sources() {
        let own = floor(&room).unwrap_or_else(|| panic!("{path}: the map has no room {room}"));
        for named in rooms_named(&code) {
            let up = floor(named).is_some_and(|theirs| theirs <= own) && named != room;
            if up {
                wrong.push(format!("{path} imports crate::{named}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn crates_of_one_room_stay_in_it() {
    let mut wrong = Vec::new();
    for (room, path, code) in sources() {
        for (name, rooms) in KEPT_IN {
            if code.contains(&format!("{name}::")) && !rooms.contains(&room.as_str()) {
                wrong.push(format!("{path} names {name}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn rooms_above_the_platforms_know_none_by_name() {
    let mut wrong = Vec::new();
    for (room, path, code) in sources() {
        if !KNOW_NO_PLATFORM.contains(&room.as_str()) {
            continue;
        }
        let shipped = shipped(&path, &code);
        for name in PLATFORM_NAMES {
            if shipped.contains(name) {
                wrong.push(format!("{path} names {name}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn pure_rooms_await_nothing_and_have_no_clock() {
    let mut wrong = Vec::new();
    for (_, path, code) in sources() {
        if !path.starts_with("sql/") && !path.starts_with("lease/core") {
            continue;
        }
        let shipped = shipped(&path, &code);
        for name in [
            ".await",
            "async ",
            "tokio",
            "Instant::now",
            "SystemTime",
            "std::fs",
            "std::env",
            "rand::",
            "new_v4",
        ] {
            if shipped.contains(name) && !path.ends_with("properties.rs") {
                wrong.push(format!("{path} has {name}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn lists_of_imports_are_read_too() {
    assert_eq!(
        rooms_named("use crate::gate;\nuse crate::{model::Error, sys};\ncrate::sql::classify(x)"),
        ["gate", "model", "sys", "sql"]
    );
}

/// A file shows one idea: 400 lines are the aim, and at 600 it shows two.
#[test]
fn every_file_says_what_lives_in_it_and_stays_small() {
    const MOST: usize = 600;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in files(&root) {
        let text = fs::read_to_string(&path).unwrap();
        let below = path.strip_prefix(&root).unwrap().display().to_string();
        assert!(
            text.starts_with("//!"),
            "{below} does not say what lives in it"
        );
        let lines = shipped(&below, &text).lines().count();
        assert!(
            lines <= MOST,
            "{below} has {lines} lines, {MOST} is the most"
        );
    }
}
