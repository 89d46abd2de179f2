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

/// File systems whose locks and memory maps other machines do not see, or that may answer late: by the number that
/// `statfs` gives (`man 2 statfs`). FUSE counts, since from here nobody can tell what is behind it.
#[cfg(target_os = "linux")]
const NETWORK: [(u32, &str); 15] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x7375_7245, "Coda"),
    (0x7461_636f, "OCFS2"),
    (0x564c, "NCP"),
];

/// The name of the network file system that `path` is on; `None` on a local one.
pub(crate) fn network_file_system(path: &Path) -> io::Result<Option<&'static str>> {
    let stat = rustix::fs::statfs(path)?;
    #[cfg(target_os = "linux")]
    {
        // Some architectures have it signed and wider; the number itself has 32 bits.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the number has 32 bits"
        )]
        let kind = stat.f_type as u32;
        Ok(NETWORK
            .iter()
            .find(|(number, _)| *number == kind)
            .map(|(_, name)| *name))
    }
    #[cfg(not(target_os = "linux"))]
    {
        /// `MNT_LOCAL` of the BSDs and macOS.
        const LOCAL: u32 = 0x1000;
        Ok((stat.f_flags & LOCAL == 0).then_some("a network file system"))
    }
}
