//! Room on a disk, and what is written reaching it.

use std::io;
use std::path::Path;

/// Bytes that this user may still write below `path`, which must exist.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Waits until what was written to the file system of `path` is durable.
///
/// Elsewhere than on Linux it asks for all file systems, which POSIX lets return before the end.
pub(crate) fn flush(path: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let folder = std::fs::File::open(path)?;
        rustix::fs::syncfs(&folder)?;
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        rustix::fs::sync();
    }
    Ok(())
}
