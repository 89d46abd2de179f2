//! Paths are looked at before the engine reads them: Sail answers a missing path or a pattern without match with no
//! rows, no columns and no error.
//!
//! So this answers as Sail would (0.7.2, `sail-data-source/src/url.rs` and DataFusion's `ListingTableUrl`; each case of
//! `tests/cases/paths.json` was read by it), not as a shell or Spark would: a pattern matches files and never folders,
//! its `*` goes over `/`, `key=value` folders are not there for it, names that begin with `_` or `.` are passed over,
//! and only `file://` URLs are percent-decoded, but every pattern is.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use glob::Pattern;
use percent_encoding::percent_decode_str;

use crate::model::{Code, Error, Result};

/// How long the looking may take; then the path passes, and the engine answers. Shorter than what a cancelled
/// statement is given to stop (5 s), so that `/**/*.csv` costs nobody the session.
const LOOK_FOR: Duration = Duration::from_secs(3);

/// Checks that each local path, or one match of each pattern, is there. Paths with a scheme other than `file` are the
/// engine's own business.
///
/// # Errors
/// `not_found` with every path that is not there, and the folder that relative ones start from.
/// # Cancel safety
/// Cancel-safe: what still looks, only reads, and ends after [`LOOK_FOR`].
pub(super) async fn check(paths: Vec<String>, folder: &Path) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let folder = folder.to_owned();
    let until = Instant::now() + LOOK_FOR;
    tokio::task::spawn_blocking(move || check_until(&paths, &folder, until))
        .await
        .map_err(|e| Error::internal("the check of paths broke").source_error(e))?
}

fn check_until(paths: &[String], folder: &Path, until: Instant) -> Result<()> {
    let missing: Vec<&str> = paths
        .iter()
        .map(String::as_str)
        .filter(|path| !found(path, folder, until))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Code::NotFound,
        format!(
            "nothing to read is at {} (relative paths start from {})",
            missing.join(", "),
            folder.display()
        ),
    )
    .hint(hint(&missing)))
}

/// What Spark reads and Sail does not, or else the plain advice.
fn hint(missing: &[&str]) -> &'static str {
    if missing.iter().any(|path| one_slash(path)) {
        "Write file:///path or /path: the local engine takes file:/path for a relative path."
    } else if missing.iter().any(|path| is_pattern(path)) {
        "Write a pattern that matches files (`/data/*/*.csv`, `/data/**`): the local engine matches no folders, no `key=value` parts of a path, and no names that begin with _ or a dot; `[` in a name is written `[[]`."
    } else {
        "Give the path of a file or folder that exists and whose name begins with neither _ nor a dot; pass local files by the files argument."
    }
}

fn one_slash(path: &str) -> bool {
    path.get(..6)
        .is_some_and(|start| start.eq_ignore_ascii_case("file:/"))
        && path.get(6..7) != Some("/")
}

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[', '{'])
}

/// Whether the engine finds a file or folder there, or answers by itself.
fn found(path: &str, folder: &Path, until: Instant) -> bool {
    let (path, url) = match place(path) {
        Place::Plain => (path, false),
        Place::Url(path) => (path, true),
        Place::Elsewhere => return true,
    };
    any_choice(path, &mut |choice| {
        if Instant::now() >= until {
            return true;
        }
        let Some(at) = choice.find(['*', '?', '[']) else {
            return there(&folder.join(decoded(choice, url)));
        };
        let (before, after) = choice.split_at(at);
        let cut = before.rfind('/').map_or(0, |slash| slash + 1);
        let base = before.get(..cut).unwrap_or("");
        let wanted = format!("{}{after}", before.get(cut..).unwrap_or(""));
        match Pattern::new(&decoded(&classes(&wanted), true)) {
            Ok(pattern) => matched(&folder.join(decoded(base, url)), &pattern, until),
            Err(_) => true,
        }
    })
}

/// What a path is for Sail.
enum Place<'a> {
    /// Absolute, or relative to the working folder.
    Plain,
    /// The path of a `file://` URL.
    Url(&'a str),
    /// Another file system, or what Sail refuses.
    Elsewhere,
}

fn place(path: &str) -> Place<'_> {
    let Some((scheme, rest)) = path.split_once(':') else {
        return Place::Plain;
    };
    if scheme.is_empty() || scheme.contains(['/', '\\']) {
        return Place::Plain;
    }
    match rest.strip_prefix("//") {
        Some(rest) if scheme.eq_ignore_ascii_case("file") => {
            Place::Url(rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"))
        }
        Some(_) => Place::Elsewhere,
        None if rest.starts_with(['/', '?', '#']) => Place::Plain,
        None => Place::Elsewhere,
    }
}

fn decoded(text: &str, decode: bool) -> String {
    if decode {
        percent_decode_str(text).decode_utf8_lossy().into_owned()
    } else {
        text.to_owned()
    }
}

fn there(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(found) => !(found.is_file() && path.file_name().is_some_and(hidden)),
        Err(e) => !is_absent(&e),
    }
}

fn is_absent(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes()
        .first()
        .is_some_and(|first| matches!(first, b'_' | b'.'))
}

/// Whether a file under `base` matches; what is near is looked at first. What cannot be read is left to the engine.
fn matched(base: &Path, pattern: &Pattern, until: Instant) -> bool {
    let mut folders = VecDeque::from([(base.to_owned(), PathBuf::new())]);
    while let Some((folder, seen)) = folders.pop_front() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if is_absent(&e) => continue,
            Err(_) => return true,
        };
        for entry in entries.flatten() {
            if Instant::now() >= until {
                return true;
            }
            let name = entry.file_name();
            if hidden(&name) {
                continue;
            }
            let path = entry.path();
            let seen = if name.as_encoded_bytes().contains(&b'=') {
                seen.clone()
            } else {
                seen.join(&name)
            };
            match fs::metadata(&path) {
                Ok(found) if found.is_dir() => folders.push_back((path, seen)),
                Ok(_) if pattern.matches(&seen.to_string_lossy()) => return true,
                _ => {}
            }
        }
    }
    false
}

/// Calls `each` with every way to choose from the `{a,b}` of a pattern, until one is true. They may be nested, so the
/// innermost are chosen from first; a brace without partner is itself.
fn any_choice(pattern: &str, each: &mut dyn FnMut(&str) -> bool) -> bool {
    let innermost = pattern.find('}').and_then(|close| {
        let (before, after) = (pattern.get(..close)?, pattern.get(close + 1..)?);
        let (before, inside) = before.rsplit_once('{')?;
        Some((before, inside, after))
    });
    match innermost {
        None => each(pattern),
        Some((before, inside, after)) => inside
            .split(',')
            .any(|choice| any_choice(&format!("{before}{}{after}", choice.trim()), each)),
    }
}

/// Hadoop's classes in the `glob` crate's words: `[^a]` is `[!a]`, and in `[!a]` the `!` is itself.
fn classes(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, class)) = rest.split_once('[') {
        out.push_str(before);
        let Some(end) = class.get(1..).and_then(|tail| tail.find(']')) else {
            rest = "";
            out.push('[');
            out.push_str(class);
            break;
        };
        let (inside, after) = class.split_at(end + 1);
        match (inside.strip_prefix('^'), inside.strip_prefix('!')) {
            (Some(others), _) => out.extend(["[!", others]),
            (None, Some(also)) => out.extend(["[", also, "!"]),
            (None, None) => out.extend(["[", inside]),
        }
        out.push(']');
        rest = after.strip_prefix(']').unwrap_or(after);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// The part of the shared cases that is about files.
    #[derive(Deserialize)]
    struct Cases {
        files: Files,
    }

    #[derive(Deserialize)]
    struct Files {
        tree: Vec<String>,
        present: Vec<String>,
        missing: Vec<String>,
        in_bracket_folder: InFolder,
    }

    #[derive(Deserialize)]
    struct InFolder {
        folder: String,
        present: Vec<String>,
        missing: Vec<String>,
    }

    fn tree() -> (tempfile::TempDir, Files) {
        let cases: Cases =
            serde_json::from_str(include_str!("../../../tests/cases/paths.json")).unwrap();
        let root = tempfile::tempdir().unwrap();
        for file in &cases.files.tree {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "v\n").unwrap();
        }
        (root, cases.files)
    }

    fn missing(paths: &[String], folder: &Path, root: &Path) -> Vec<String> {
        let until = Instant::now() + Duration::from_secs(60);
        let root = root.to_str().unwrap();
        paths
            .iter()
            .filter(|path| !found(&path.replace("ROOT", root), folder, until))
            .cloned()
            .collect()
    }

    #[test]
    fn a_path_is_there_when_the_engine_reads_it() {
        let (root, files) = tree();
        let all = [files.present, files.missing.clone()].concat();
        assert_eq!(missing(&all, root.path(), root.path()), files.missing);
        let inner = files.in_bracket_folder;
        let folder = root.path().join(inner.folder);
        let all = [inner.present, inner.missing.clone()].concat();
        assert_eq!(missing(&all, &folder, root.path()), inner.missing);
    }

    #[tokio::test]
    async fn every_missing_path_is_named_with_what_to_do() {
        let folder = Path::new("/no/such");
        let error = |path: &str| {
            let paths = vec![path.to_owned(), "/also/none".to_owned()];
            async move {
                let error = check(paths, folder).await.unwrap_err();
                format!("{error} | {}", error.hint_text())
            }
        };
        insta::assert_snapshot!(error("b.csv").await, @"not_found: nothing to read is at b.csv, /also/none (relative paths start from /no/such) | Give the path of a file or folder that exists and whose name begins with neither _ nor a dot; pass local files by the files argument.");
        insta::assert_snapshot!(error("*.csv").await, @"not_found: nothing to read is at *.csv, /also/none (relative paths start from /no/such) | Write a pattern that matches files (`/data/*/*.csv`, `/data/**`): the local engine matches no folders, no `key=value` parts of a path, and no names that begin with _ or a dot; `[` in a name is written `[[]`.");
        insta::assert_snapshot!(error("file:/x").await, @"not_found: nothing to read is at file:/x, /also/none (relative paths start from /no/such) | Write file:///path or /path: the local engine takes file:/path for a relative path.");
        assert!(
            check(vec!["s3://bucket/key".to_owned()], folder)
                .await
                .is_ok()
        );
    }

    #[test]
    fn a_look_that_takes_too_long_leaves_the_answer_to_the_engine() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("x"), "").unwrap();
        let braces = "{a,b}".repeat(40);
        for path in ["*.nope", braces.as_str()] {
            assert!(found(path, root.path(), Instant::now()));
        }
    }

    #[test]
    fn links_in_a_circle_end() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("a/back")).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        assert!(!found("./**/*.nope", root.path(), until));
    }
}
