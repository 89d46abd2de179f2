//! What `engine.lock` says: its text, its hash, its packages. Pure.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

/// The hash-pinned requirements of the engine, as pip and uv read them.
pub(crate) const LOCK: &str = include_str!("../engine.lock");

/// Comes as a source archive only; every other package must be a wheel, so that nothing is compiled here.
pub(super) const FROM_SOURCE: &str = "pyspark-client";

/// What builds it. Installed first, from the same lock, so that the build needs no second, unpinned download.
pub(super) const BUILD_BACKEND: &str = "setuptools";

/// What must be there whatever the markers say; the first names the engine's version.
pub(super) const ROOTS: [&str; 6] = [
    "pysail",
    FROM_SOURCE,
    "pandas",
    "pyarrow",
    "numpy",
    "matplotlib",
];

/// 64 hex digits over the whole text.
pub(super) fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The entry of one package with its hashes, to be installed before the rest.
pub(super) fn entry(text: &str, package: &str) -> String {
    let mut inside = false;
    let mut entry = String::new();
    for line in text.lines() {
        if !line.starts_with([' ', '#']) {
            inside = requirement(line).is_some_and(|(name, _)| name == package);
        }
        if inside && !line.trim_start().starts_with('#') {
            entry.push_str(line);
            entry.push('\n');
        }
    }
    entry
}

/// Every package with the versions that some Python of ours gets.
pub(super) fn pins(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut pins: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, version) in text
        .lines()
        .filter(|line| !line.starts_with([' ', '#']))
        .filter_map(requirement)
    {
        pins.entry(name).or_default().insert(version);
    }
    pins
}

/// One spelling per package: `pyspark_client`, `PySpark-Client` and `pyspark.client` are the same one.
pub(super) fn normal(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

fn requirement(line: &str) -> Option<(String, String)> {
    let (name, rest) = line.split_once("==")?;
    let version = rest.split([' ', ';', '\\']).next()?;
    Some((normal(name.trim()), version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_of_the_lock_has_hashes_and_none_names_a_place() {
        for (name, _) in pins(LOCK) {
            assert!(entry(LOCK, &name).contains("--hash=sha256:"), "{name}");
        }
        assert!(!LOCK.contains("://"));
        assert!(
            !LOCK
                .lines()
                .any(|line| line.starts_with('-') || line.starts_with('/'))
        );
    }

    #[test]
    fn the_lock_pins_what_the_engine_is_known_to_work_with() {
        let pins = pins(LOCK);
        let one = |name: &str| {
            pins.get(name)
                .map(|set| set.iter().cloned().collect::<Vec<_>>())
        };
        assert_eq!(one("pysail"), Some(vec!["0.7.2".to_owned()]));
        assert_eq!(one(FROM_SOURCE), Some(vec!["4.2.0".to_owned()]));
        assert!(one("pandas").unwrap().iter().all(|v| v.starts_with("2.")));
        assert_eq!(one(BUILD_BACKEND).unwrap().len(), 1);
        for root in ROOTS {
            assert!(pins.contains_key(root), "{root}");
        }
    }

    #[test]
    fn an_entry_holds_its_own_hashes_only() {
        let text = "# made\na==1 ; x < '3' \\\n    --hash=sha256:aa\nb-c==2 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n    # via a\nd==3 \\\n    --hash=sha256:dd\n";
        assert_eq!(
            entry(text, "b-c"),
            "b-c==2 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
        );
        assert_eq!(entry(text, "none"), "");
        assert_eq!(pins(text).len(), 3);
    }
}
