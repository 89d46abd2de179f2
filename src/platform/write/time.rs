//! Dates and timestamps from text, for every value that a table can hold: the spellings that our own results show, and
//! ISO 8601. Proleptic Gregorian, as Spark has it; years beyond 9999 have a sign.

use jiff::civil;
use jiff::tz::TimeZone;

const SECONDS_PER_DAY: i64 = 86_400;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// `2024-01-31` as days since 1970-01-01.
pub(in crate::platform) fn date(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    let mut parts = rest.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let lengths = year.len() >= 4 && month.len() == 2 && day.len() == 2;
    if !lengths || parts.next().is_some() {
        return None;
    }
    let year = sign * i64::from(digits(year)?);
    let (month, day) = (digits(month)?, digits(day)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    i32::try_from(days(year, i64::from(month), i64::from(day))).ok()
}

/// Days since 1970-01-01 of a valid date: years begin with March, so that a leap day is the last one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Why a text is no timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::platform) enum Wrong {
    /// It is none, or has more than 6 digits behind the second.
    Form,
    /// It names a zone although the column has none.
    Zone,
}

/// `2024-01-31 23:59:59.123456+02:00` as microseconds since 1970: an instant where there is a `zone`, in which a text
/// without an offset is meant; else what clock and calendar show.
pub(in crate::platform) fn timestamp(text: &str, zone: Option<&TimeZone>) -> Result<i64, Wrong> {
    let (local, offset) = parts(text).ok_or(Wrong::Form)?;
    let offset = match (zone, offset) {
        (None, Some(_)) => return Err(Wrong::Zone),
        (None, None) => 0,
        (Some(_), Some(offset)) => offset,
        (Some(zone), None) => offset_in(local, zone),
    };
    i64::try_from(local - i128::from(offset) * i128::from(MICROS_PER_SECOND))
        .map_err(|_| Wrong::Form)
}

/// Microseconds of what the clock shows, and the offset in seconds.
fn parts(text: &str) -> Option<(i128, Option<i64>)> {
    // The date's own signs come before its first digit pair; what follows is ASCII or wrong.
    let (day, rest) = match text
        .char_indices()
        .find(|(_, c)| matches!(c, ' ' | 'T' | 't'))
    {
        Some((at, _)) => (text.get(..at)?, text.get(at + 1..)?),
        None => (text, ""),
    };
    let day = i64::from(date(day)?);
    let micros = |seconds: i64, micros: i64| {
        i128::from(day * SECONDS_PER_DAY + seconds) * i128::from(MICROS_PER_SECOND)
            + i128::from(micros)
    };
    if rest.is_empty() {
        return (!text.contains([' ', 'T', 't'])).then(|| (micros(0, 0), None));
    }
    let end = rest.find(['+', '-', 'Z', 'z', ' ']).unwrap_or(rest.len());
    let (clock, offset) = (rest.get(..end)?, rest.get(end..)?);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut fields = clock.split(':').map(two);
    let (hour, minute) = (fields.next()??, fields.next()??);
    let second = match fields.next() {
        Some(second) => second?,
        None => 0,
    };
    if fields.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let kept = fraction.trim_end_matches('0');
    if kept.len() > 6 || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction = i64::from(digits(&format!("{kept:0<6}"))?);
    let local = micros(
        i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second),
        fraction,
    );
    Some((local, self::offset(offset.trim_start())?))
}

/// `Z`, `+02:00`, `+02:00:30`, or nothing.
#[allow(clippy::option_option, reason = "no offset is not a wrong one")]
fn offset(text: &str) -> Option<Option<i64>> {
    let (sign, rest) = match text.as_bytes().first() {
        None => return Some(None),
        Some(b'Z' | b'z') if text.len() == 1 => return Some(Some(0)),
        Some(b'+') => (1, text.get(1..)?),
        Some(b'-') => (-1, text.get(1..)?),
        Some(_) => return None,
    };
    let fields: Vec<u32> = rest.split(':').map(two).collect::<Option<_>>()?;
    let seconds = match *fields.as_slice() {
        [hours] => hours * 3600,
        [hours, minutes] => hours * 3600 + minutes * 60,
        [hours, minutes, seconds] => hours * 3600 + minutes * 60 + seconds,
        _ => return None,
    };
    Some(Some(sign * i64::from(seconds)))
}

/// The zone's offset at what its clock shows; outside its table's range the one at the edge.
fn offset_in(local: i128, zone: &TimeZone) -> i64 {
    let shown = i64::try_from(local)
        .ok()
        .and_then(|local| jiff::Timestamp::from_microsecond(local).ok())
        .map(|as_if| TimeZone::UTC.to_datetime(as_if))
        .unwrap_or(if local < 0 {
            civil::DateTime::MIN
        } else {
            civil::DateTime::MAX
        });
    let instant = zone.to_ambiguous_timestamp(shown).compatible();
    instant.map_or(0, |instant| i64::from(zone.to_offset(instant).seconds()))
}

fn two(text: &str) -> Option<u32> {
    (text.len() == 2).then(|| digits(text)).flatten()
}

fn digits(text: &str) -> Option<u32> {
    let all = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1970-01-01", Some(0))]
    #[case("1969-12-31", Some(-1))]
    #[case("2000-02-29", Some(11_016))]
    #[case("1582-10-04", Some(-141_438))]
    #[case("0001-01-01", Some(-719_162))]
    #[case("+10000-01-01", Some(2_932_897))]
    #[case("1900-02-29", None)]
    #[case("2024-13-01", None)]
    #[case("2024-1-1", None)]
    #[case("2024-01-01-01", None)]
    #[case("24-01-01", None)]
    #[case("", None)]
    fn dates_are_days(#[case] text: &str, #[case] days: Option<i32>) {
        assert_eq!(date(text), days);
    }

    #[rstest]
    #[case("1970-01-01 00:00:01", Ok(1_000_000))]
    #[case("1970-01-01T00:00:00.000001Z", Ok(1))]
    #[case("1970-01-01 01:00:00+01:00", Ok(0))]
    #[case("1899-12-31 23:59:59.999999+00:00", Ok(-2_208_988_800_000_001))]
    #[case("1970-01-01 00:00:00.1234567", Err(Wrong::Form))]
    #[case("1970-01-01 00:00:00.1234560", Ok(123_456))]
    #[case("1970-01-01", Ok(0))]
    #[case("1970-01-01 24:00:00", Err(Wrong::Form))]
    #[case("1970-01-01 ", Err(Wrong::Form))]
    #[case("tomorrow", Err(Wrong::Form))]
    fn instants_are_microseconds(#[case] text: &str, #[case] micros: Result<i64, Wrong>) {
        assert_eq!(timestamp(text, Some(&TimeZone::UTC)), micros);
    }

    #[test]
    fn a_text_without_offset_is_meant_in_the_session_s_zone() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let micros = timestamp("2024-07-01 02:00:00", Some(&zone)).unwrap();
        assert_eq!(
            micros,
            timestamp("2024-07-01 00:00:00Z", Some(&zone)).unwrap()
        );
    }

    #[test]
    fn a_column_without_zone_takes_no_offset() {
        assert_eq!(
            timestamp("2024-07-01 02:00:00", None),
            Ok(1_719_799_200_000_000)
        );
        assert_eq!(timestamp("2024-07-01 02:00:00Z", None), Err(Wrong::Zone));
    }
}
