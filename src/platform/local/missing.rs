//! Paths are looked at before the engine reads them: Sail answers a missing path or a glob without match with no
//! rows, no columns and no error.

use std::path::{Path, PathBuf};

use crate::model::{Code, Error, Result};

/// Checks that each local path, or one match of each glob, is there. Paths with a scheme other than `file` are the
/// engine's own business.
///
/// # Errors
/// `not_found` with every path that is not there, and the folder that relative ones start from.
pub(super) fn check(paths: &[String], folder: &Path) -> Result<()> {
    let missing: Vec<&str> = paths
        .iter()
        .map(String::as_str)
        .filter(|path| local(path, folder).is_some_and(|local| !exists(&local)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Code::NotFound,
        format!(
            "nothing is at {} (relative paths start from {})",
            missing.join(", "),
            folder.display()
        ),
    )
    .hint("Give the path of a file or folder that exists; pass local files by the files argument."))
}

fn local(path: &str, folder: &Path) -> Option<PathBuf> {
    let plain = match path.split_once(':') {
        Some(("file", rest)) => format!("/{}", rest.trim_start_matches('/')),
        Some((scheme, _))
            if scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_alphanumeric()) =>
        {
            return None;
        }
        _ => path.to_owned(),
    };
    Some(folder.join(plain))
}

fn exists(path: &Path) -> bool {
    let Some(pattern) = path.to_str() else {
        return path.exists();
    };
    if path.exists() {
        return true;
    }
    pattern.contains(['*', '?', '[', '{'])
        && braces(pattern)
            .iter()
            .any(|p| glob::glob(p).is_ok_and(|mut found| found.any(|f| f.is_ok())))
}

/// `{a,b}` alternatives, which Hadoop's globs have and the `glob` crate has not; one level.
fn braces(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return vec![pattern.to_owned()];
    };
    let Some((inside, after)) = rest.split_once('}') else {
        return vec![pattern.to_owned()];
    };
    inside
        .split(',')
        .flat_map(|choice| braces(&format!("{before}{choice}{after}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_what_is_there_passes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.csv"), "x").unwrap();
        let here = |p: &str| check(&[p.to_owned()], folder.path());
        assert!(here("a.csv").is_ok());
        assert!(here("*.csv").is_ok());
        assert!(here("{a,b}.csv").is_ok());
        assert!(here("s3://bucket/key").is_ok());
        let absolute = folder.path().join("a.csv");
        assert!(here(&format!("file://{}", absolute.display())).is_ok());
        assert!(here(&format!("file:{}", absolute.display())).is_ok());
        for missing in ["b.csv", "*.parquet", "{b,c}.csv", "file:/no/such/thing"] {
            let error = here(missing).unwrap_err();
            assert_eq!(error.code(), Code::NotFound);
            assert!(error.message().contains(missing), "{error}");
        }
    }
}
