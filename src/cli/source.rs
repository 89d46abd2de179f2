//! Code from a file or from stdin, as text.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::model::{Code, Error, Result};

/// Reads a file, or stdin for `-`. A byte order mark is dropped.
///
/// # Errors
/// `not_found`; `invalid_argument` for what is no UTF-8 text, with the place of the first wrong byte.
/// # Cancel safety
/// Safe: a read of stdin that nobody waits for ends with the process.
pub(super) async fn read(file: &Path) -> Result<String> {
    let (path, shown) = match file.to_str() {
        Some("-") => (None, "stdin".to_owned()),
        _ => (Some(file.to_owned()), file.display().to_string()),
    };
    let bytes = tokio::task::spawn_blocking(move || bytes(path.as_deref()))
        .await
        .map_err(|error| Error::internal("reading broke off").source_error(error))?
        .map_err(|error| {
            let (code, why) = match error.kind() {
                ErrorKind::NotFound => (Code::NotFound, "is not there".to_owned()),
                ErrorKind::IsADirectory => (Code::InvalidArgument, "is a folder".to_owned()),
                _ => (Code::InvalidArgument, format!("cannot be read: {error}")),
            };
            Error::new(code, format!("{shown} {why}"))
                .hint("Name a file that you may read, or `-` for stdin.")
                .source_error(error)
        })?;
    text(bytes, &shown)
}

fn bytes(path: Option<&Path>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match path {
        Some(path) => return std::fs::read(PathBuf::from(path)),
        None => std::io::stdin().lock().read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

fn text(bytes: Vec<u8>, shown: &str) -> Result<String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let (front, rest) = error.as_bytes().split_at(at);
        let line = front.iter().filter(|byte| **byte == b'\n').count() + 1;
        let byte = rest.first().copied().unwrap_or_default();
        Error::new(
            Code::InvalidArgument,
            format!("{shown} is not UTF-8 text: byte 0x{byte:02x} at offset {at}, line {line}"),
        )
        .hint("Save it as UTF-8: `iconv -f LATIN1 -t UTF-8 FILE`.")
    })?;
    Ok(text
        .strip_prefix('\u{feff}')
        .map_or_else(|| text.clone(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_byte_is_named_with_its_place() {
        let error = text(b"a\nb\xffc".to_vec(), "x.py").unwrap_err();
        assert_eq!(
            (error.code(), error.message()),
            (
                Code::InvalidArgument,
                "x.py is not UTF-8 text: byte 0xff at offset 3, line 2"
            )
        );
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(text(b"\xef\xbb\xbfa".to_vec(), "x").unwrap(), "a");
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_and_a_folder_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let missing = read(&folder.path().join("x")).await.unwrap_err();
        assert_eq!(missing.code(), Code::NotFound);
        let error = read(folder.path()).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().ends_with(" is a folder"), "{error}");
    }
}
