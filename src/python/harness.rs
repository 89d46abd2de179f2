//! The Python that the binary carries: the worker and the harness, written where an interpreter can read them, or
//! packed into the first statement of a session that has no file of ours.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Value, json};
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

/// What a session behind a REPL loads, in this order; each text is the module `sparklease_<name>`.
const REPL: [(&str, &str); 9] = [
    ("values", include_str!("values.py")),
    ("tables", include_str!("tables.py")),
    ("frames", include_str!("frames.py")),
    ("streams", include_str!("streams.py")),
    ("cell", include_str!("cell.py")),
    ("sql", include_str!("sql.py")),
    ("catalog", include_str!("catalog.py")),
    ("write", include_str!("write.py")),
    ("repl", include_str!("repl.py")),
];

/// Defines the function that loads them.
const BOOTSTRAP: &str = include_str!("bootstrap.py");

/// The name under which the REPL's own globals hold the harness; user code has other globals.
const NAME: &str = "_sparklease";

/// The first statement of a session behind a REPL: it installs the harness and answers `request`.
pub(crate) fn bootstrap(request: &Value) -> io::Result<String> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all(json!(REPL).to_string().as_bytes())?;
    let files = BASE64.encode(packed.finish()?);
    let request = BASE64.encode(request.to_string());
    Ok(format!(
        "{BOOTSTRAP}\n\n{NAME} = {NAME}(\"{files}\", \"{request}\")\n"
    ))
}

/// A later statement: it calls the harness with `request`. Base64, so that no text of the user's is ever read as
/// code or as a magic of the REPL.
pub(crate) fn call(request: &Value) -> String {
    format!("{NAME}(\"{}\")\n", BASE64.encode(request.to_string()))
}

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
        file.write_all(text.as_bytes())?;
        file.persist(&path).map_err(|e| e.error)?;
    }
    Ok(folder.join("worker.py"))
}
