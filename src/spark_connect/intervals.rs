//! Dates, timestamps and intervals as text, for every value that Arrow can hold: what no calendar library represents
//! is still computed (proleptic Gregorian, as Spark does), never an error and never a wrong value.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

const MICROS_PER_SECOND: i128 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Days since 1970-01-01 as `YYYY-MM-DD`; years beyond 9999 have a sign.
pub(super) fn date(days: i64) -> String {
    let (year, month, day) = civil(days);
    if (0..=9999).contains(&year) {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:+05}-{month:02}-{day:02}")
    }
}

/// Microseconds since 1970-01-01T00:00 as `YYYY-MM-DD HH:MM:SS[.ffffff]`, in the zone and with its offset when there
/// is a zone.
pub(super) fn timestamp(micros: i128, zone: Option<&str>) -> String {
    let offset = zone.map(|zone| offset_at(micros, zone));
    let local = micros + i128::from(offset.unwrap_or(0)) * MICROS_PER_SECOND;
    let seconds = i64::try_from(local.div_euclid(MICROS_PER_SECOND)).unwrap_or(i64::MAX);
    let fraction = local.rem_euclid(MICROS_PER_SECOND);
    let day = date(seconds.div_euclid(SECONDS_PER_DAY));
    let clock = clock(seconds.rem_euclid(SECONDS_PER_DAY), fraction);
    let suffix = offset.map(offset_text).unwrap_or_default();
    format!("{day} {clock}{suffix}")
}

/// Microseconds since midnight.
pub(super) fn time_of_day(micros: i64) -> String {
    let micros = i128::from(micros);
    let seconds = i64::try_from(micros.div_euclid(MICROS_PER_SECOND)).unwrap_or(0);
    clock(seconds, micros.rem_euclid(MICROS_PER_SECOND))
}

/// A day-time interval: `1 02:03:04.500000`; the column's type says what it is.
pub(super) fn day_time(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let total = i128::from(micros).abs();
    let seconds = i64::try_from(total / MICROS_PER_SECOND).unwrap_or(i64::MAX);
    let days = seconds / SECONDS_PER_DAY;
    let clock = clock(seconds % SECONDS_PER_DAY, total % MICROS_PER_SECOND);
    format!("{sign}{days} {clock}")
}

/// A year-month interval: `1-2`.
pub(super) fn year_month(months: i32) -> String {
    let sign = if months < 0 { "-" } else { "" };
    let total = months.unsigned_abs();
    format!("{sign}{}-{}", total / 12, total % 12)
}

/// A calendar interval: `1 months 2 days 3.5 seconds`.
pub(super) fn calendar(months: i32, days: i32, nanos: i64) -> String {
    let seconds = SignedDuration::from_nanos(nanos).as_secs_f64();
    let parts: Vec<String> = [
        (months != 0).then(|| format!("{months} months")),
        (days != 0).then(|| format!("{days} days")),
        (nanos != 0).then(|| format!("{seconds} seconds")),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        "0 seconds".to_owned()
    } else {
        parts.join(" ")
    }
}

fn clock(seconds: i64, micros: i128) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if micros == 0 {
        format!("{hours:02}:{minutes:02}:{seconds:02}")
    } else {
        format!("{hours:02}:{minutes:02}:{seconds:02}.{micros:06}")
    }
}

/// The zone's offset at an instant, in seconds. An instant outside the zone table's range gets the offset at its edge.
fn offset_at(micros: i128, zone: &str) -> i32 {
    let zone = match zone {
        "UTC" | "Etc/UTC" | "Z" => return 0,
        named => TimeZone::get(named)
            .ok()
            .or_else(|| fixed_offset(named))
            .unwrap_or(TimeZone::UTC),
    };
    let edge = if micros < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    let instant = i64::try_from(micros)
        .ok()
        .and_then(|micros| Timestamp::from_microsecond(micros).ok())
        .unwrap_or(edge);
    zone.to_offset(instant).seconds()
}

fn fixed_offset(text: &str) -> Option<TimeZone> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    Some(
        jiff::tz::Offset::from_seconds(sign * seconds)
            .ok()?
            .to_time_zone(),
    )
}

fn offset_text(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let total = seconds.unsigned_abs();
    let (hours, minutes, rest) = (total / 3600, total / 60 % 60, total % 60);
    if rest == 0 {
        format!("{sign}{hours:02}:{minutes:02}")
    } else {
        format!("{sign}{hours:02}:{minutes:02}:{rest:02}")
    }
}

/// Year, month and day of a day number in the proleptic Gregorian calendar. jiff's dates end at the year 9999 and a
/// Spark date does not, so the calendar is computed here (Hinnant's algorithm for days to civil dates).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "1970-01-01")]
    #[case(-719_162, "0001-01-01")]
    #[case(2_932_896, "9999-12-31")]
    #[case(2_932_897, "+10000-01-01")]
    #[case(11_016, "2000-02-29")]
    #[case(-25_567, "1900-01-01")]
    fn days_become_dates(#[case] days: i64, #[case] expected: &str) {
        assert_eq!(date(days), expected);
    }

    #[rstest]
    #[case(0, None, "1970-01-01 00:00:00")]
    #[case(-1, None, "1969-12-31 23:59:59.999999")]
    #[case(0, Some("UTC"), "1970-01-01 00:00:00+00:00")]
    #[case(0, Some("+05:30"), "1970-01-01 05:30:00+05:30")]
    #[case(
        1_752_580_800_000_000,
        Some("Europe/Berlin"),
        "2025-07-15 14:00:00+02:00"
    )]
    #[case(i64::MAX.into(), None, "+294247-01-10 04:00:54.775807")]
    fn micros_become_timestamps(
        #[case] micros: i128,
        #[case] zone: Option<&str>,
        #[case] expected: &str,
    ) {
        assert_eq!(timestamp(micros, zone), expected);
    }

    #[test]
    fn intervals_read_as_spark_counts_them() {
        assert_eq!(day_time(93_784_000_000), "1 02:03:04");
        assert_eq!(day_time(-500_000), "-0 00:00:00.500000");
        assert_eq!(year_month(-14), "-1-2");
        assert_eq!(calendar(1, 2, 3_500_000_000), "1 months 2 days 3.5 seconds");
    }
}
