//! A table as its newest version has it: the newest checkpoint that can be read, and the commits behind it.
//!
//! # Why not `delta_kernel`
//! For a listing it would bring 86 more crates, one of them a C library, and an HTTP client for files on the
//! disk; its commits tell nothing of `userMetadata`, so that commits would be read here all the same.

use std::collections::HashMap;
use std::path::Path;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::Snapshot;
use super::log::{Action, Listing, MetaData, Protocol, ReadError, unreadable};
use super::schema;
use crate::model::{Code, Error, Result};

/// A writer that cleans up may take a file away that was just listed. It does so once in a long while.
const TRIES: usize = 3;

/// What the protocol lets a reader of schema and counts meet: none of these changes what is read here, deletion
/// vectors are counted.
const KNOWN_FEATURES: [&str; 13] = [
    "catalogManaged",
    "catalogOwned-preview",
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "variantShredding-preview",
    "variantType",
    "variantType-preview",
    "variantShredding",
];

/// The last reader version; from 3 on features tell.
const READER_VERSION: u32 = 3;

/// The table at `location`; `None` where there is no Delta log.
///
/// # Errors
/// `statement_failed` for a log that cannot be read; `unsupported` for one that asks for more than is known here.
pub(crate) fn snapshot(location: &Path) -> Result<Option<Snapshot>> {
    for _ in 1..TRIES {
        match attempt(location) {
            Err(Trouble::Gone) => {}
            Err(Trouble::Wrong(error)) => return Err(error),
            Ok(snapshot) => return Ok(snapshot),
        }
    }
    attempt(location).map_err(|trouble| match trouble {
        Trouble::Gone => unreadable(location, "its files go while they are read"),
        Trouble::Wrong(error) => error,
    })
}

/// Its newest version only: a listing, no reading.
///
/// # Errors
/// As [`snapshot`].
pub(crate) fn newest_version(location: &Path) -> Result<Option<u64>> {
    Ok(Listing::of(location)?.and_then(|listing| listing.newest()))
}

enum Trouble {
    Gone,
    Wrong(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Wrong(error)
    }
}

fn attempt(location: &Path) -> std::result::Result<Option<Snapshot>, Trouble> {
    let Some(listing) = Listing::of(location)? else {
        return Ok(None);
    };
    let Some(newest) = listing.newest() else {
        return Ok(None);
    };
    // From the newest checkpoint backwards, then from the first commit: any complete way leads to the same table.
    let bases = listing
        .checkpoints
        .iter()
        .rev()
        .map(|version| Some(*version));
    let mut first_trouble = None;
    for base in bases.chain([None]) {
        let from = base.map_or(0, |version| version + 1);
        let missing = (from..=newest).find(|version| !listing.commits.contains(version));
        let trouble = match missing {
            Some(missing) => Some(incomplete(&listing, missing)),
            None => match replay(&listing, base, newest) {
                Ok(replay) => return Ok(Some(replay.finish(location, newest)?)),
                Err(ReadError::Gone) => return Err(Trouble::Gone),
                Err(ReadError::Bad(why)) => Some(why),
            },
        };
        first_trouble = first_trouble.or(trouble);
    }
    let why = first_trouble.unwrap_or_default();
    Err(unreadable(location, &why).into())
}

/// Why there is no way to the newest version.
fn incomplete(listing: &Listing, missing: u64) -> String {
    match listing.foreign.iter().next_back() {
        Some((version, shape)) => format!(
            "commit {missing} is not there, and the checkpoint of version {version} is {shape}, which only the engine reads"
        ),
        None => format!("commit {missing} is not there, and no checkpoint stands for it"),
    }
}

fn replay(
    listing: &Listing,
    base: Option<u64>,
    newest: u64,
) -> std::result::Result<Replay, ReadError> {
    let mut replay = Replay::default();
    let named = |version: u64, what: &str, e: ReadError| match e {
        ReadError::Bad(why) => ReadError::Bad(format!("{what} {version}: {why}")),
        gone => gone,
    };
    if let Some(version) = base {
        listing
            .checkpoint(version, |actions| replay.apply(actions))
            .map_err(|e| named(version, "checkpoint", e))?;
        if replay.sidecars {
            return Err(ReadError::Bad(format!(
                "the checkpoint of version {version} is of the V2 kind, which only the engine reads"
            )));
        }
    }
    for version in base.map_or(0, |version| version + 1)..=newest {
        let actions = listing
            .commit(version)
            .map_err(|e| named(version, "commit", e))?;
        replay.apply(actions);
    }
    Ok(replay)
}

/// What the actions up to some version add up to.
#[derive(Default)]
struct Replay {
    protocol: Option<Protocol>,
    metadata: Option<MetaData>,
    /// By path and deletion vector; bytes and rows.
    files: HashMap<(String, String), (u64, Option<u64>)>,
    sidecars: bool,
}

impl Replay {
    /// One commit, or a piece of a checkpoint.
    fn apply(&mut self, actions: Vec<Action>) {
        let key = |path: &str, vector: Option<String>| {
            let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
            (path, vector.unwrap_or_default())
        };
        // A commit that gives a file a deletion vector removes and adds the same path, in any order.
        for remove in actions.iter().filter_map(|a| a.remove.as_ref()) {
            let vector = remove.deletion_vector.as_ref().map(|v| v.id());
            self.files.remove(&key(&remove.path, vector));
        }
        for action in actions {
            if let Some(add) = action.add {
                let vector = add.deletion_vector.as_ref().map(|v| v.id());
                self.files
                    .insert(key(&add.path, vector), (add.size, add.rows()));
            }
            self.metadata = action.meta_data.or(self.metadata.take());
            self.protocol = action.protocol.or(self.protocol.take());
            self.sidecars |= action.sidecar.is_some();
        }
    }

    fn finish(self, location: &Path, version: u64) -> Result<Snapshot> {
        let wrong = |why: &str| unreadable(location, why);
        let protocol = self.protocol.ok_or_else(|| wrong("it has no protocol"))?;
        readable(location, &protocol)?;
        let metadata = self.metadata.ok_or_else(|| wrong("it has no schema"))?;
        let schema: Value = serde_json::from_str(&metadata.schema_string)
            .map_err(|e| wrong("its schema is no JSON").source_error(e))?;
        if !schema.get("fields").is_some_and(Value::is_array) {
            return Err(wrong("its schema is no struct of named columns"));
        }
        let columns = schema::columns(&schema);
        Ok(Snapshot {
            version,
            columns,
            schema,
            comment: metadata.description.filter(|text| !text.is_empty()),
            partition_by: metadata.partition_columns,
            rows: self
                .files
                .values()
                .try_fold(0_u64, |sum, (_, rows)| sum.checked_add((*rows)?)),
            bytes: self.files.values().map(|(bytes, _)| bytes).sum(),
            files: u64::try_from(self.files.len()).unwrap_or(u64::MAX),
            properties: metadata.configuration.unwrap_or_else(Map::new),
        })
    }
}

fn readable(location: &Path, protocol: &Protocol) -> Result<()> {
    let features = protocol.reader_features.iter().flatten();
    let unknown: Vec<&str> = features
        .map(String::as_str)
        .filter(|feature| !KNOWN_FEATURES.contains(feature))
        .collect();
    let asks = if protocol.min_reader_version > READER_VERSION {
        format!("reader version {}", protocol.min_reader_version)
    } else if !unknown.is_empty() {
        format!("the reader features {}", unknown.join(", "))
    } else {
        return Ok(());
    };
    Err(Error::new(
        Code::Unsupported,
        format!(
            "the Delta table {} asks for {asks}, which is not known here",
            location.display()
        ),
    )
    .hint("Read the table with query_sql: the engine may know it."))
}

#[cfg(test)]
mod tests;
