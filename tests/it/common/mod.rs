//! What all these tests drive with: the server's process, two clients, answers, the process table.

mod answer;
mod client;
mod place;
mod process;
mod raw;
mod table;

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::answer::{Answer, arguments_of};
pub(crate) use self::client::{Server, install_engine};
pub(crate) use self::place::{Place, on};
pub(crate) use self::process::{Process, Setup, cache};
pub(crate) use self::raw::Raw;
pub(crate) use self::table::{
    belonging_to, cpu_time, group_of, has_ended, kill, resident_bytes, signal,
};

/// No test waits longer for anything: whatever takes more hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// From a client's end to the end of the server and all of its processes: the Python SDK kills after 2 s, and the
/// issue allows half a second more.
pub(crate) const GONE_WITHIN: Duration = Duration::from_millis(2500);

/// SQL that ends with the world: an engine that is not stopped goes on for days.
pub(crate) const ENDLESS_SQL: &str =
    "select count(*) from range(100000000) a, range(10000000) b where a.id + b.id = -1";

/// Waits for a condition, looking often.
///
/// # Panics
/// When `limit` is over, naming what was waited for.
pub(crate) async fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
