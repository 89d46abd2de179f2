//! Which local files a caller may name: those under the client's roots, else the working directory, and what the
//! configuration adds. Links are resolved first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::model::{Code, Error, Result};

/// Resolves every file, or names all that is wrong with them.
///
/// `named` is view → path as the caller gave it; relative paths start from the first root, else from `working`.
///
/// # Errors
/// `invalid_argument` or `not_found`, with every problem in one message.
pub(super) fn resolve(
    named: &BTreeMap<String, String>,
    roots: &[PathBuf],
    working: &Path,
    allowed: &[PathBuf],
) -> Result<BTreeMap<String, PathBuf>> {
    let folders = folders(roots, working, allowed);
    let mut resolved = BTreeMap::new();
    let mut problems = Vec::new();
    let mut code = Code::NotFound;
    for (view, path) in named {
        let base = roots.first().map_or(working, PathBuf::as_path);
        match one(&base.join(path), path, &folders) {
            Ok(path) => {
                resolved.insert(view.clone(), path);
            }
            Err((kind, problem)) => {
                if kind == Code::InvalidArgument {
                    code = kind;
                }
                problems.push(format!("{view}: {problem}"));
            }
        }
    }
    if problems.is_empty() {
        return Ok(resolved);
    }
    let list: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
    let hint = if list.is_empty() {
        "No folder is allowed: start the server in a project's folder, or add one to files.allowed in the configuration (sparklease config path).".to_owned()
    } else {
        format!(
            "Files are read under {}; add a folder to files.allowed in the configuration (sparklease config path).",
            list.join(", ")
        )
    };
    Err(Error::new(code, problems.join("; ")).hint(hint))
}

/// The allowed folders, resolved. The root of the file system is no project's folder: some clients start servers
/// there, and everything would be allowed.
fn folders(roots: &[PathBuf], working: &Path, allowed: &[PathBuf]) -> Vec<PathBuf> {
    let own: Vec<&Path> = if roots.is_empty() {
        vec![working]
    } else {
        roots.iter().map(PathBuf::as_path).collect()
    };
    own.into_iter()
        .filter(|f| f.parent().is_some())
        .chain(allowed.iter().map(PathBuf::as_path))
        .filter_map(|f| f.canonicalize().ok())
        .collect()
}

fn one(
    full: &Path,
    given: &str,
    folders: &[PathBuf],
) -> std::result::Result<PathBuf, (Code, String)> {
    let path = full.canonicalize().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => (Code::NotFound, format!("{given} is not there")),
        _ => (
            Code::InvalidArgument,
            format!("{given} cannot be read: {e}"),
        ),
    })?;
    // The engine takes these for a pattern, and would read other files than the one that was allowed.
    if path
        .to_string_lossy()
        .contains(['*', '?', '[', ']', '{', '}'])
    {
        return Err((
            Code::InvalidArgument,
            format!("{given} has one of * ? [ ] {{ }} in its path; rename it or its folder"),
        ));
    }
    if !folders.iter().any(|f| path.starts_with(f)) {
        return Err((
            Code::InvalidArgument,
            format!("{given} is outside the allowed folders"),
        ));
    }
    if path.is_dir() && !given.to_ascii_lowercase().contains(".parquet") {
        return Err((
            Code::InvalidArgument,
            format!("{given} is a folder; name a CSV, JSON-lines or Parquet file"),
        ));
    }
    match path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase())
    {
        Some(ending) if ENDINGS.contains(&ending.as_str()) => Ok(path),
        _ => Err((
            Code::InvalidArgument,
            format!(
                "{given} has none of the endings {}",
                ENDINGS.map(|e| format!(".{e}")).join(" ")
            ),
        )),
    }
}

/// What names a format.
const ENDINGS: [&str; 5] = ["csv", "jsonl", "ndjson", "json", "parquet"];

#[cfg(test)]
mod tests {
    use super::*;

    fn named(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn links_and_dots_do_not_lead_out_and_all_problems_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("in");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(folder.path().join("secret.csv"), "a").unwrap();
        std::fs::write(inside.join("ok.csv"), "a").unwrap();
        std::fs::write(inside.join("x.exe"), "a").unwrap();
        std::fs::write(inside.join("data[1].csv"), "a").unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret.csv"), inside.join("link.csv"))
            .unwrap();
        let bad = [
            ("a", "../secret.csv"),
            ("b", "link.csv"),
            ("c", "none.csv"),
            ("d", "."),
            ("e", "x.exe"),
            ("f", "data[1].csv"),
        ];
        let error = resolve(&named(&bad), &[], &inside, &[]).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        for part in [
            "a: ../secret.csv is outside the allowed folders",
            "b: link.csv is outside the allowed folders",
            "c: none.csv is not there",
            "d: . is a folder",
            "e: x.exe has none of the endings",
            "f: data[1].csv has one of",
        ] {
            assert!(error.message().contains(part), "{part}: {error}");
        }
        let good = named(&[("ok", "ok.csv")]);
        assert!(resolve(&good, &[], &inside, &[]).is_ok());
        let far = named(&[("s", "../secret.csv")]);
        assert!(resolve(&far, &[], &inside, &[folder.path().to_owned()]).is_ok());
    }

    #[test]
    fn the_root_of_the_file_system_is_not_an_allowed_folder_by_itself() {
        let error =
            resolve(&named(&[("h", "/etc/hosts.csv")]), &[], Path::new("/"), &[]).unwrap_err();
        assert!(error.hint_text().starts_with("No folder is allowed"));
    }
}
