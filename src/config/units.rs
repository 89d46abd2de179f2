//! Settings with units and bounds: how they are written, read, checked and described. No setting is named here.
//!
//! Each type stands in `#[serde(with = "Span::<1, 600>")]`, so that a setting's bounds are in one place and its
//! field keeps a plain type; the schema reads the same attribute.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A number of bytes, written with its unit: `24KiB`, `4GiB`, `10MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(u64);

/// Units from the largest, so that the shortest exact writing is found first.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// So many bytes.
    pub(crate) const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// In bytes.
    pub(crate) const fn bytes(self) -> u64 {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.chars().take_while(char::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let unit = unit.trim();
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        number
            .parse::<u64>()
            .ok()?
            .checked_mul(*factor)
            .map(ByteSize)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match exact {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// One value as a file or a variable has it. Variables are text, whatever they hold.
#[derive(Debug)]
enum Scalar {
    Text(String),
    Whole(i128),
    Other(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// `expected` ends the error for a list or a table.
fn scalar<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<Scalar, D::Error> {
    struct One(&'static str);
    impl Visitor<'_> for One {
        type Value = Scalar;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
            Ok(Scalar::Text(text.to_owned()))
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Scalar, E> {
            Ok(Scalar::Whole(number.into()))
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Scalar, E> {
            Ok(Scalar::Whole(number.into()))
        }
        fn visit_f64<E: de::Error>(self, number: f64) -> Result<Scalar, E> {
            Ok(Scalar::Other(number.to_string()))
        }
        fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Scalar, E> {
            Ok(Scalar::Other(truth.to_string()))
        }
    }
    deserializer.deserialize_any(One(expected))
}

/// A duration as it may be written. Whole days stay days: `2months 3days 2h 52m 48s` is no bound that anyone chose.
fn written_for(span: Duration) -> String {
    const DAY: u64 = 86_400;
    match (span.as_secs() / DAY, span.as_secs() % DAY) {
        (days @ 2.., 0) => format!("{days}days"),
        _ => humantime::format_duration(span).to_string(),
    }
}

/// A duration from `MIN` to `MAX` seconds, written `"90s"`, `"5m"`, `"2h 30m"`.
pub(crate) struct Span<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Span<MIN, MAX> {
    const EXPECTED: &'static str = "a duration with its unit, like \"90s\" or \"5m\"";

    pub(crate) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*value))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let written = scalar(from, Self::EXPECTED)?;
        let parsed = match &written {
            Scalar::Text(text) => humantime::parse_duration(text.trim()).ok(),
            Scalar::Whole(_) | Scalar::Other(_) => None,
        };
        let Some(value) = parsed else {
            return Err(de::Error::custom(format!(
                "is {written}; it takes {}",
                Self::EXPECTED
            )));
        };
        let (min, max) = (Duration::from_secs(MIN), Duration::from_secs(MAX));
        if value < min || value > max {
            return Err(de::Error::custom(format!(
                "is {written}; it takes {} to {}",
                written_for(min),
                written_for(max)
            )));
        }
        Ok(value)
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Span<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let written = |seconds| written_for(Duration::from_secs(seconds));
        json_schema!({
            "type": "string",
            "pattern": "^\\s*[0-9]+\\s*[a-zµ]+(\\s*[0-9]+\\s*[a-zµ]+)*\\s*$",
            "x-least": written(MIN),
            "x-most": written(MAX),
        })
    }
}

/// A size from `MIN` to `MAX` bytes, written `"24KiB"`.
pub(crate) struct Size<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    const EXPECTED: &'static str =
        "a whole number of bytes with its unit, like \"24KiB\" or \"4GiB\"";

    pub(crate) fn serialize<S: Serializer>(value: &ByteSize, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ByteSize, D::Error> {
        let written = scalar(from, Self::EXPECTED)?;
        let parsed = match &written {
            Scalar::Text(text) => ByteSize::parse(text),
            Scalar::Whole(_) | Scalar::Other(_) => None,
        };
        let Some(value) = parsed else {
            return Err(de::Error::custom(format!(
                "is {written}; it takes {}",
                Self::EXPECTED
            )));
        };
        if !(MIN..=MAX).contains(&value.bytes()) {
            return Err(de::Error::custom(format!(
                "is {written}; it takes {} to {}",
                ByteSize(MIN),
                ByteSize(MAX)
            )));
        }
        Ok(value)
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Size<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^\\s*[0-9]+\\s*([KMGTkmgt][Ii]?)?[Bb]\\s*$",
            "x-least": ByteSize(MIN).to_string(),
            "x-most": ByteSize(MAX).to_string(),
        })
    }
}

/// A [`Span`] that need not be there.
pub(crate) struct MaybeSpan<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> MaybeSpan<MIN, MAX> {
    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => Span::<MIN, MAX>::serialize(value, to),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Span::<MIN, MAX>::deserialize(from).map(Some)
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for MaybeSpan<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        Span::<MIN, MAX>::schema_name()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Span::<MIN, MAX>::json_schema(generator)
    }
}

/// A whole number from `MIN` to `MAX`.
pub(crate) struct Count<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Count<MIN, MAX> {
    pub(crate) fn serialize<T, S>(value: &T, to: S) -> Result<S::Ok, S::Error>
    where
        T: Serialize,
        S: Serializer,
    {
        value.serialize(to)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: TryFrom<u64>,
        D: Deserializer<'de>,
    {
        let written = scalar(from, "a whole number")?;
        let number = match &written {
            Scalar::Text(text) => text.trim().parse::<i128>().ok(),
            Scalar::Whole(number) => Some(*number),
            Scalar::Other(_) => None,
        };
        let Some(number) = number else {
            return Err(de::Error::custom(format!(
                "is {written}; it takes a whole number"
            )));
        };
        u64::try_from(number)
            .ok()
            .filter(|number| (MIN..=MAX).contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| de::Error::custom(format!("is {number}; it takes {MIN} to {MAX}")))
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Count<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// `true` or `false`, also as text, since variables are text.
pub(crate) struct Switch;

impl Switch {
    pub(crate) fn serialize<S: Serializer>(value: &bool, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bool(*value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
        let written = scalar(from, "true or false")?;
        match written.to_string().trim_matches('"') {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(de::Error::custom(format!(
                "is {written}; it takes true or false"
            ))),
        }
    }
}

impl JsonSchema for Switch {
    fn schema_name() -> Cow<'static, str> {
        "Switch".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

/// A list of folders; a text is split as `PATH` is.
pub(crate) struct Folders;

impl Folders {
    pub(crate) fn serialize<S: Serializer>(value: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
        value.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<PathBuf>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "takes a list of folders, like [\"/data\"]")]
        enum Written {
            List(Vec<PathBuf>),
            Text(String),
        }
        Ok(match Written::deserialize(from)? {
            Written::List(list) => list,
            Written::Text(text) => std::env::split_paths(&text)
                .filter(|path| !path.as_os_str().is_empty())
                .collect(),
        })
    }
}

impl JsonSchema for Folders {
    fn schema_name() -> Cow<'static, str> {
        "Folders".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "string" } })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("24KiB", Some(24 * 1024))]
    #[case(" 4 GiB ", Some(4 << 30))]
    #[case("10mb", Some(10_000_000))]
    #[case("7B", Some(7))]
    #[case("24", None)]
    #[case("1.5GiB", None)]
    #[case("GiB", None)]
    #[case("-1KiB", None)]
    #[case("99999999999999999999B", None)]
    #[case("99999999TiB", None)]
    #[case("", None)]
    #[case("24KiB24", None)]
    #[case("２KiB", None)]
    fn a_size_is_a_whole_number_with_a_unit(#[case] text: &str, #[case] bytes: Option<u64>) {
        assert_eq!(ByteSize::parse(text).map(ByteSize::bytes), bytes);
    }

    proptest! {
        #[test]
        fn a_size_reads_back_as_it_was_written(bytes: u64) {
            prop_assert_eq!(ByteSize::parse(&ByteSize(bytes).to_string()), Some(ByteSize(bytes)));
        }
    }
}
