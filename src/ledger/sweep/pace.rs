//! When to try a delete again. Pure, but for [`Timing::of`]: randomness and the clock come from outside.

use std::path::Path;
use std::time::Duration;

/// How a row is treated, in time. The defaults are the product's; tests are quicker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// How long a create without an answer may still turn up, from the start of whoever looks. It must exceed what a
    /// client and a gateway wait together; 5 min do.
    pub settle_for: Duration,
    /// The longest wait between two looks for such a create: an orphan costs no more than this.
    pub look_every: Duration,
    /// After so long without success a row is stuck, and is tried rarely. Most outages are shorter.
    pub stuck_after: Duration,
    /// The first wait; each further one is twice as long.
    pub first_wait: Duration,
    /// A silent owner is killed after this. It says something each 10 s, so 12 words are missing then.
    pub silence_for: Duration,
}

/// The longest wait between two tries of a row that is not stuck.
const LONGEST: Duration = Duration::from_secs(30);

/// The longest wait of a stuck one: it never ends, and it is no load.
const LONGEST_STUCK: Duration = Duration::from_secs(300);

/// The longest Retry-After that is believed: a service that says "tomorrow" is asked again all the same.
const LONGEST_TOLD: Duration = Duration::from_secs(900);

impl Default for Timing {
    fn default() -> Self {
        Self {
            settle_for: Duration::from_secs(300),
            look_every: Duration::from_secs(15),
            stuck_after: Duration::from_secs(300),
            first_wait: Duration::from_millis(500),
            silence_for: Duration::from_secs(120),
        }
    }
}

/// In a ledger's folder, and read in builds with debug assertions only: one JSON object of milliseconds by name.
#[cfg(debug_assertions)]
const TEST_FILE: &str = "timing-for-tests.json";

impl Timing {
    /// The product's timing for the ledger in this folder.
    ///
    /// A create without an answer is looked for for 5 min, and a silent owner is left alone for 2. Tests of the built
    /// binary and its guardian cannot wait so long, and what is shortened must be the same for a server, its guardian and
    /// every command. So a build with debug assertions takes what a test wrote into the folder; a released binary has
    /// no flag, setting or variable for it.
    pub(crate) fn of(folder: &Path) -> Self {
        let product = Self::default();
        #[cfg(debug_assertions)]
        if let Ok(text) = std::fs::read_to_string(folder.join(TEST_FILE))
            && let Ok(written) = serde_json::from_str::<serde_json::Value>(&text)
        {
            let or = |name: &str, product: Duration| {
                let written = written.get(name).and_then(serde_json::Value::as_u64);
                written.map_or(product, Duration::from_millis)
            };
            return Self {
                settle_for: or("settle_for", product.settle_for),
                look_every: or("look_every", product.look_every),
                stuck_after: or("stuck_after", product.stuck_after),
                first_wait: or("first_wait", product.first_wait),
                silence_for: or("silence_for", product.silence_for),
            };
        }
        #[cfg(not(debug_assertions))]
        let _ = folder;
        product
    }
}

/// How the last try ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tried {
    /// Tries so far that came to nothing, from 1.
    pub failures: u32,
    /// It is stuck, or the service says that we may not: only a person can change that.
    pub rarely: bool,
    /// What the service asked us to wait.
    pub told: Option<Duration>,
}

/// The wait before the next try. `jitter` is from 0 to 1; it shortens a wait by half at most, so that many rows do not
/// come at once. What a service asks for is never shortened.
pub(crate) fn next_wait(timing: &Timing, tried: Tried, jitter: f64) -> Duration {
    let longest = if tried.rarely { LONGEST_STUCK } else { LONGEST };
    // 2^10 × 0.5 s is beyond both.
    let doublings = tried.failures.saturating_sub(1).min(10);
    let wait = (timing.first_wait * (1 << doublings)).min(longest);
    let wait = wait.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0);
    wait.max(tried.told.unwrap_or_default().min(LONGEST_TOLD))
}

/// The wait before the next look for a create without an answer.
pub(crate) fn next_look(timing: &Timing, looks: u32) -> Duration {
    (timing.first_wait * (1 << looks.min(10))).min(timing.look_every)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tried(failures: u32) -> Tried {
        Tried {
            failures,
            ..Tried::default()
        }
    }

    #[test]
    fn waits_double_up_to_half_a_minute_and_to_five_when_stuck() {
        let timing = Timing::default();
        let waits = [1, 2, 3, 7, 50].map(|n| next_wait(&timing, tried(n), 0.0).as_millis());
        assert_eq!(waits, [500, 1000, 2000, 30_000, 30_000]);
        let stuck = Tried {
            rarely: true,
            ..tried(50)
        };
        assert_eq!(next_wait(&timing, stuck, 0.0), LONGEST_STUCK);
    }

    #[test]
    fn looks_for_an_answerless_create_are_close_together() {
        let timing = Timing::default();
        let looks = [0, 1, 5, 40].map(|n| next_look(&timing, n).as_millis());
        assert_eq!(looks, [500, 1000, 15_000, 15_000]);
    }

    proptest! {
        #[test]
        fn a_wait_obeys_the_service_and_never_ends(failures in 0_u32.., rarely: bool, told in 0_u64..100_000, jitter: f64) {
            let told = Duration::from_secs(told);
            let tried = Tried { failures, rarely, told: Some(told) };
            let jitter = if jitter.is_nan() { 0.0 } else { jitter };
            let wait = next_wait(&Timing::default(), tried, jitter);
            prop_assert!(wait >= told.min(LONGEST_TOLD));
            prop_assert!(wait <= LONGEST_TOLD);
            prop_assert!(wait >= Duration::from_millis(250));
        }
    }
}
