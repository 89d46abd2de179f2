//! Numbers as people read them.

use std::time::Duration;

/// Bytes with one decimal: `640.2 MB`.
#[expect(
    clippy::cast_precision_loss,
    reason = "one decimal of a size for people"
)]
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

/// Seconds in whole units: `3m 5s`.
pub(super) fn age(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// A time with one decimal: `0.3 s`.
pub(super) fn took(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_largest_unit_that_fits() {
        assert_eq!(
            [0, 999, 1_500, 640_200_000, 4_294_967_296].map(size),
            ["0 B", "999 B", "1.5 KB", "640.2 MB", "4.3 GB"]
        );
    }

    #[test]
    fn times_are_short() {
        assert_eq!(
            (age(185), took(Duration::from_millis(349))),
            ("3m 5s".to_owned(), "0.3 s".to_owned())
        );
    }
}
