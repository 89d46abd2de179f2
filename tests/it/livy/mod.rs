//! The same tools on a Livy server: the test server of `tests/livy`, with real Python and a real engine behind it.
//!
//! What kills servers reads the process table of Linux, and some of it makes mounts.

mod bad_server;
#[cfg(target_os = "linux")]
mod busy;
mod cancel;
mod deaths;
#[cfg(target_os = "linux")]
mod disk;
mod ends;
mod faults;
#[cfg(target_os = "linux")]
mod guardian;
#[cfg(target_os = "linux")]
mod kill;
#[cfg(target_os = "linux")]
mod order;
mod pool;
mod recordings;
mod secrets;
pub(crate) mod server;
#[cfg(target_os = "linux")]
mod strangers;
#[cfg(target_os = "linux")]
mod sweep;
mod tables;
mod work;
#[cfg(target_os = "linux")]
mod world;
mod write;
