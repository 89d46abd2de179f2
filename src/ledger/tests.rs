//! The ledger as a whole, in earnest: real files, real processes that are killed, a real service over HTTP.

mod faults;
#[expect(clippy::print_stdout, reason = "times are printed, not judged")]
mod kill;
mod place;
mod role;
mod service;

use std::time::Duration;

/// Whatever takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a condition, looking often.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
