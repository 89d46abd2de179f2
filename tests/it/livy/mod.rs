//! The same tools on a Livy server: the test server of `tests/livy`, with real Python and a real engine behind it.
//!
//! What kills servers reads the process table of Linux, and some of it makes mounts.
#[cfg(target_os = "linux")]
#[cfg(target_os = "linux")]
#[cfg(target_os = "linux")]
#[cfg(target_os = "linux")]
#[cfg(target_os = "linux")]
#[cfg(target_os = "linux")]
#[cfg(target_os = "linux")]
#[cfg(target_os = "linux")]

mod bad_server;
mod busy;
mod disk;
mod ends;
mod faults;
mod guardian;
mod kill;
mod order;
mod pool;
mod server;
mod strangers;
mod sweep;
mod tables;
mod work;
mod world;
mod write;
