//! The same tools on a Livy server: the test server of `tests/livy`, with real Python and a real engine behind it.

mod bad_server;
mod ends;
mod faults;
mod pool;
mod server;
mod tables;
mod work;
mod write;
