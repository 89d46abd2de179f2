//! Which type a column has where nobody says it: folded from every value that it holds, from the first row to the
//! last, so that reading them by it loses nothing.

use std::collections::HashMap;

use serde_json::Value;

use super::decode::{Misfits, present};
use super::time;
use crate::model::shown;
use crate::spark_connect::{Field, Type};

/// Arrays and objects inside of each other: deeper ones no reader of tables is tried with.
pub(in crate::platform) const MAX_DEPTH: usize = 20;
/// A double tells decimal digits apart up to here.
const EXACT_DIGITS: usize = 15;
/// A decimal's most.
const DECIMAL_DIGITS: usize = 38;

/// What a JSON value is, as far as columns tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Boolean,
    Whole,
    /// Whole, but more than a bigint holds.
    Huge,
    Number,
    Text,
    Array,
    Object,
}

impl Kind {
    fn of(value: &Value) -> Self {
        match value {
            Value::Bool(_) => Self::Boolean,
            Value::Number(n) if n.is_i64() => Self::Whole,
            Value::Number(n) if n.is_u64() => Self::Huge,
            Value::Number(_) => Self::Number,
            Value::Null | Value::String(_) => Self::Text,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }

    fn with(self, other: Self) -> Option<Self> {
        use Kind::{Huge, Number, Whole};
        match (self, other) {
            (one, other) if one == other => Some(one),
            (Number, Whole | Huge) | (Whole | Huge, Number) => Some(Number),
            (Huge, Whole) | (Whole, Huge) => Some(Huge),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Boolean => "a boolean",
            Self::Whole | Self::Huge | Self::Number => "a number",
            Self::Text => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// The JSON values of one place, folded.
#[derive(Debug, Default)]
pub(in crate::platform) struct Shape {
    /// What all of them are, and the row of the first.
    found: Option<(Kind, usize)>,
    /// The first that no bigint holds.
    huge: Option<(usize, String)>,
    /// Inside of an array.
    item: Option<Box<Shape>>,
    /// Inside of an object, in the order in which they were met.
    fields: Vec<(String, Shape)>,
    places: HashMap<String, usize>,
    too_deep: bool,
}

impl Shape {
    /// One more value; what is no one type with those before it is a misfit.
    pub(in crate::platform) fn fold(
        &mut self,
        row: usize,
        path: &str,
        value: &Value,
        misfits: &mut Misfits,
    ) {
        self.fold_at(row, path, value, misfits, 0);
    }

    fn fold_at(
        &mut self,
        row: usize,
        path: &str,
        value: &Value,
        misfits: &mut Misfits,
        depth: usize,
    ) {
        let Some(value) = present(value) else { return };
        let kind = Kind::of(value);
        match self.found {
            None => self.found = Some((kind, row)),
            Some((known, first)) => match known.with(kind) {
                Some(both) => self.found = Some((both, first)),
                None => {
                    let problem = format!(
                        "{} is {}, row {} has {}",
                        shown(value),
                        kind.word(),
                        first + 1,
                        known.word()
                    );
                    misfits.add(row, path, problem);
                    return;
                }
            },
        }
        if matches!(kind, Kind::Array | Kind::Object) && depth >= MAX_DEPTH {
            if !self.too_deep {
                self.too_deep = true;
                let problem = format!("it is nested deeper than {MAX_DEPTH} levels");
                misfits.add(row, path, problem);
            }
            return;
        }
        match value {
            Value::Array(items) => {
                let inside = self.item.get_or_insert_default();
                let path = format!("{path}[]");
                for item in items {
                    inside.fold_at(row, &path, item, misfits, depth + 1);
                }
            }
            Value::Object(object) => {
                for (name, value) in object {
                    let place = self.place(name);
                    if let Some((_, field)) = self.fields.get_mut(place) {
                        let path = format!("{path}.{name}");
                        field.fold_at(row, &path, value, misfits, depth + 1);
                    }
                }
            }
            Value::Number(n) if kind == Kind::Huge && self.huge.is_none() => {
                self.huge = Some((row, n.to_string()));
            }
            _ => {}
        }
    }

    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.fields.len();
        self.places.insert(name.to_owned(), place);
        self.fields.push((name.to_owned(), Self::default()));
        place
    }

    /// The one type that these values have; NULL alone is text. Whole numbers beside others are doubles.
    pub(in crate::platform) fn data_type(&self, path: &str, misfits: &mut Misfits) -> Type {
        let Some((kind, row)) = self.found else {
            return Type::String;
        };
        match kind {
            Kind::Boolean => Type::Boolean,
            Kind::Whole => Type::Long,
            Kind::Number => Type::Double,
            Kind::Text => Type::String,
            Kind::Huge => {
                if let Some((row, digits)) = &self.huge {
                    let problem =
                        format!("{digits} does not fit a bigint; make it decimal(20,0) by schema");
                    misfits.add(*row, path, problem);
                }
                Type::Long
            }
            Kind::Array => {
                let inside = self.item.as_deref();
                let inside = inside.map(|item| item.data_type(&format!("{path}[]"), misfits));
                Type::Array(Box::new(inside.unwrap_or(Type::String)))
            }
            Kind::Object => {
                if self.fields.is_empty() && !self.too_deep {
                    misfits.add(row, path, "an object without fields has no type");
                }
                let fields = self.fields.iter().map(|(name, shape)| {
                    Field::new(name, shape.data_type(&format!("{path}.{name}"), misfits))
                });
                Type::Struct(fields.collect())
            }
        }
    }
}

/// The texts of one column of a CSV, folded: which types every one of them is of.
#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "one for each type that the texts may still be of"
)]
pub(in crate::platform) struct Texts {
    some: bool,
    long: bool,
    decimal: bool,
    double: bool,
    /// Words like NaN alone make no number.
    number: bool,
    boolean: bool,
    date: bool,
    timestamp: bool,
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            some: false,
            long: true,
            decimal: true,
            double: true,
            number: false,
            boolean: true,
            date: true,
            timestamp: true,
        }
    }
}

impl Texts {
    /// One more text; an empty one is NULL.
    pub(in crate::platform) fn fold(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.some = true;
        if self.decimal {
            self.decimal = is_whole(text) && text.len() <= DECIMAL_DIGITS;
        }
        if self.long {
            self.long = self.decimal && text.parse::<i64>().is_ok();
        }
        if self.double {
            let word = matches!(text, "NaN" | "Infinity" | "-Infinity");
            self.double = word || is_double(text);
            self.number |= self.double && !word;
        }
        self.boolean = self.boolean
            && ["true", "false"]
                .iter()
                .any(|b| b.eq_ignore_ascii_case(text));
        // A signed year is a number to most who write it.
        let day = text.starts_with(|c: char| c.is_ascii_digit());
        self.timestamp = self.timestamp && day && time::timestamp(text, None).is_ok();
        self.date = self.date && self.timestamp && time::date(text).is_some();
    }

    /// The narrowest type that all of them are of, nothing lost.
    pub(in crate::platform) fn data_type(&self) -> Type {
        match self {
            Self { some: false, .. } => Type::String,
            Self { long: true, .. } => Type::Long,
            Self {
                double: true,
                number: true,
                ..
            } => Type::Double,
            Self { decimal: true, .. } => Type::Decimal(38, 0),
            Self { boolean: true, .. } => Type::Boolean,
            Self { date: true, .. } => Type::Date,
            Self {
                timestamp: true, ..
            } => Type::TimestampNtz,
            _ => Type::String,
        }
    }
}

/// Digits without a zero in front, which would be lost: `0`, `-12`, not `007`, `-0`, `+1`.
fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text == "0" || (!digits.starts_with('0') && is_digits(digits))
}

/// A number in its usual spelling whose digits a double keeps.
fn is_double(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let exponent = exponent.map(|e| e.strip_prefix(['+', '-']).unwrap_or(e));
    let (before, behind) = match mantissa.split_once('.') {
        Some((before, behind)) => (before, Some(behind)),
        None => (mantissa, None),
    };
    let spelt = (before == "0" || (is_digits(before) && !before.starts_with('0')))
        && behind.is_none_or(is_digits)
        && exponent.is_none_or(is_digits);
    let Some(number) = spelt.then(|| text.parse::<f64>().ok()).flatten() else {
        return false;
    };
    let digits = significant(mantissa);
    number.is_finite()
        && (number != 0.0 || digits.is_empty())
        // What was printed from a double has up to 17, and comes back the same.
        && (digits.len() <= EXACT_DIGITS || digits == shortest(number))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The digits of a mantissa without zeros at its ends.
fn significant(mantissa: &str) -> String {
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

/// The digits that tell a double apart.
fn shortest(number: f64) -> String {
    let text = format!("{number:e}");
    significant(text.split('e').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["1", "", "-9223372036854775808"], "bigint")]
    #[case(&["0", "9223372036854775808"], "decimal(38,0)")]
    #[case(&["123456789012345678901234567890123456789"], "string")]
    #[case(&["00123"], "string")]
    #[case(&["+1"], "string")]
    #[case(&["1", "2.50"], "double")]
    #[case(&["1e-3", "NaN"], "double")]
    #[case(&["0.30000000000000004"], "double")]
    #[case(&["0.1234567890123456789"], "string")]
    #[case(&["9007199254740993", "0.5"], "string")]
    #[case(&["1e999"], "string")]
    #[case(&["1e-999"], "string")]
    #[case(&["NaN"], "string")]
    #[case(&["true", "False"], "boolean")]
    #[case(&["true", "1"], "string")]
    #[case(&["2024-02-29", ""], "date")]
    #[case(&["2024-02-29", "2024-02-29 01:02:03.5"], "timestamp_ntz")]
    #[case(&["2024-02-29 01:02:03Z"], "string")]
    #[case(&["2024-02-30"], "string")]
    #[case(&["", ""], "string")]
    #[case(&["1", "x"], "string")]
    fn a_column_of_texts_has_the_narrowest_type_of_all(#[case] texts: &[&str], #[case] kind: &str) {
        let mut column = Texts::default();
        for text in texts {
            column.fold(text);
        }
        assert_eq!(column.data_type().to_string(), kind);
    }

    #[test]
    fn nesting_has_an_end() {
        let mut value = Value::from(1);
        for _ in 0..=MAX_DEPTH {
            value = Value::Array(vec![value]);
        }
        let mut misfits = Misfits::default();
        Shape::default().fold(0, "c", &value, &mut misfits);
        let words = misfits.words().unwrap();
        assert!(words.contains("nested deeper than 20 levels"), "{words}");
    }
}
