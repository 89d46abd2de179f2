//! The Python that the binary carries: the worker and the harness, written where an interpreter can read them.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::sys::files::create_private_folder;

const FILES: [(&str, &str); 9] = [
    ("cell.py", include_str!("cell.py")),
    ("engine_paths.py", include_str!("engine_paths.py")),
    ("engine_shims.py", include_str!("engine_shims.py")),
    ("engine_tables.py", include_str!("engine_tables.py")),
    ("frames.py", include_str!("frames.py")),
    ("streams.py", include_str!("streams.py")),
    ("tables.py", include_str!("tables.py")),
    ("values.py", include_str!("values.py")),
    ("worker.py", include_str!("worker.py")),
];

/// Writes it into the cache, in a folder named by its content, and returns `worker.py`.
///
/// # Errors
/// What the file system says.
pub(crate) fn write(cache: &Path) -> io::Result<PathBuf> {
    let mut hash = Sha256::new();
    for (name, text) in FILES {
        hash.update(name);
        hash.update([0]);
        hash.update(text);
    }
    let key: String = hash
        .finalize()
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect();
    let folder = cache.join("harness").join(key);
    create_private_folder(&folder)?;
    for (name, text) in FILES {
        let path = folder.join(name);
        if std::fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
            continue;
        }
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        file.persist(&path).map_err(|e| e.error)?;
    }
    Ok(folder.join("worker.py"))
}
