//! Whether rows fit a table, before anything is written: which column goes where, what is cast, and what is wrong,
//! all at once. Pure.

use std::collections::HashMap;

use super::infer::MAX_DEPTH;
use crate::model::{Code, Error, TableName};
use crate::platform::names::{self, NameOf};
use crate::spark_connect::{Field, Output, Type};
use crate::sql::quote;

/// Columns of a table: with more, each commit's schema and statistics are megabytes.
const MAX_COLUMNS: usize = 10_000;

/// Whether every value of one type is one of the other, so that a cast loses nothing.
///
/// A date becomes no `timestamp`: which instant it is depends on a zone. It becomes a `timestamp_ntz`.
pub(in crate::platform) fn fits(from: &Type, to: &Type) -> bool {
    use Type::{
        Array, Byte, Date, Decimal, Double, Float, Int, Long, Map, Short, Struct, TimestampNtz,
        Void,
    };
    // The digits that a whole number of that type may have.
    let digits = |kind: &Type| match kind {
        Byte => Some(3),
        Short => Some(5),
        Int => Some(10),
        Long => Some(19),
        _ => None,
    };
    match (from, to) {
        (one, other) if one == other => true,
        (Void, _) => true,
        (Byte, Short | Int | Long | Float | Double) => true,
        (Short, Int | Long | Float | Double) => true,
        (Int, Long | Double) => true,
        (Float, Double) => true,
        (Date, TimestampNtz) => true,
        (Decimal(p, s), Decimal(precision, scale)) => {
            scale >= s && i16::from(*precision) - i16::from(*scale) >= i16::from(*p) - i16::from(*s)
        }
        (whole, Decimal(precision, scale)) => {
            digits(whole).is_some_and(|most| i16::from(*precision) - i16::from(*scale) >= most)
        }
        (Array(one), Array(other)) => fits(one, other),
        (Map(key, value), Map(to_key, to_value)) => fits(key, to_key) && fits(value, to_value),
        (Struct(fields), Struct(to)) => {
            fields.len() == to.len()
                && fields
                    .iter()
                    .zip(to)
                    .all(|(f, t)| f.name == t.name && fits(&f.data_type, &t.data_type))
        }
        _ => false,
    }
}

/// Names are compared as Spark does.
pub(in crate::platform) fn same(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

/// A field by its name.
pub(in crate::platform) fn find<'f>(fields: &'f [Field], name: &str) -> Option<&'f Field> {
    fields.iter().find(|f| same(&f.name, name))
}

/// Fields by their names as Spark compares them; of two with one name, the first.
pub(in crate::platform) struct Index<'f>(HashMap<String, &'f Field>);

impl<'f> Index<'f> {
    pub(in crate::platform) fn new(fields: &'f [Field]) -> Self {
        let mut index = HashMap::with_capacity(fields.len());
        for field in fields {
            index.entry(field.name.to_lowercase()).or_insert(field);
        }
        Self(index)
    }

    pub(in crate::platform) fn get(&self, name: &str) -> Option<&'f Field> {
        self.0.get(&name.to_lowercase()).copied()
    }
}

/// Refuses more columns than a table may have.
///
/// # Errors
/// `invalid_argument`.
pub(in crate::platform) fn few_columns(count: usize) -> Result<(), Error> {
    if count <= MAX_COLUMNS {
        return Ok(());
    }
    Err(Error::new(
        Code::InvalidArgument,
        format!("the source has {count} columns, the most is {MAX_COLUMNS}"),
    )
    .hint("Put values into rows, such as (id, name, value), or into arrays; nothing was written."))
}

/// What is wrong with a write, gathered.
#[derive(Debug, Default)]
pub(in crate::platform) struct Problems {
    texts: Vec<String>,
    hints: Vec<String>,
    code: Option<Code>,
}

impl Problems {
    /// Something that another argument would put right.
    pub(in crate::platform) fn add(&mut self, text: impl Into<String>) {
        self.code = Some(Code::InvalidArgument);
        self.texts.push(text.into());
    }

    /// What an error says.
    pub(in crate::platform) fn error(&mut self, error: &Error) {
        let wider = self.code.is_some_and(|code| code != error.code());
        self.code = Some(if wider {
            Code::InvalidArgument
        } else {
            error.code()
        });
        self.texts.push(error.message().to_owned());
        self.hint(error.hint_text());
    }

    /// What to do about it.
    pub(in crate::platform) fn hint(&mut self, hint: impl Into<String>) {
        let hint = hint.into();
        if !hint.is_empty() && !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
    }

    /// All of it as one error, if there is any.
    ///
    /// # Errors
    /// The gathered one.
    pub(in crate::platform) fn finish(self) -> Result<(), Error> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(self.error_of())
        }
    }

    /// Nothing is wrong.
    pub(in crate::platform) fn is_empty(&self) -> bool {
        self.code.is_none()
    }

    /// One thing is wrong.
    pub(in crate::platform) fn is_one(&self) -> bool {
        self.texts.len() == 1
    }

    /// All of it as one error.
    pub(in crate::platform) fn error_of(self) -> Error {
        let code = self.code.unwrap_or(Code::InvalidArgument);
        // Each of them says that nothing was written; together they say it once.
        let last = self.hints.len().saturating_sub(1);
        let hints: Vec<String> = self
            .hints
            .iter()
            .enumerate()
            .map(
                |(at, hint)| match hint.strip_suffix("; nothing was written.") {
                    Some(rest) if at < last => format!("{rest}."),
                    _ => hint.clone(),
                },
            )
            .collect();
        let mut hint = hints.join(" ");
        if hint.is_empty() {
            hint = "Correct this and call write_table again; nothing was written.".to_owned();
        }
        Error::new(code, self.texts.join("; ")).hint(hint)
    }
}

/// Columns that no table may have.
pub(in crate::platform) fn check_source(fields: &[Field], problems: &mut Problems) {
    if let Err(e) = few_columns(fields.len()) {
        problems.error(&e);
    }
    let mut firsts: HashMap<String, &Field> = HashMap::new();
    for (place, field) in fields.iter().enumerate() {
        let name = &field.name;
        if let Some(problem) = names::problem(NameOf::Column, name) {
            problems.add(format!("column {}: {problem}", place + 1));
        }
        if let Some(first) = firsts.get(&name.to_lowercase()) {
            problems.add(if first.name == *name {
                format!("the source has two columns {name}")
            } else {
                format!(
                    "the source has columns {} and {name}, which are one name to Spark",
                    first.name
                )
            });
        }
        firsts.entry(name.to_lowercase()).or_insert(field);
        let kind = &field.data_type;
        if depth(kind) > MAX_DEPTH {
            problems.add(format!(
                "column {name}: it is nested deeper than {MAX_DEPTH} levels"
            ));
            continue;
        }
        if kind.holds(&|part| matches!(part, Type::Other(_))) {
            problems.add(format!(
                "column {name}: a table cannot hold {kind}; cast it in the query"
            ));
        }
    }
}

/// What a schema may say and no table of ours would keep.
pub(in crate::platform) fn check_ddl(ddl: &str, fields: &[Field], problems: &mut Problems) {
    let lower = ddl.to_lowercase();
    let comment = |rest: &str| rest.trim_start().starts_with(['\'', '"']);
    if lower.split("comment").skip(1).any(comment) {
        problems.add("schema: comments of columns are not kept; leave them out");
    }
    for field in fields {
        let strict =
            |part: &Type| matches!(part, Type::Struct(parts) if parts.iter().any(|f| !f.nullable));
        if field.data_type.holds(&strict) {
            problems.add(format!(
                "schema: not null inside of {} is not kept; say it of whole columns only",
                field.name
            ));
        }
    }
}

/// Levels of arrays, maps and structs inside of each other.
fn depth(kind: &Type) -> usize {
    match kind {
        Type::Array(item) => 1 + depth(item),
        Type::Map(key, value) => 1 + depth(key).max(depth(value)),
        Type::Struct(fields) => {
            let inner = fields.iter().map(|f| depth(&f.data_type));
            1 + inner.max().unwrap_or(0)
        }
        _ => 0,
    }
}

/// NULL alone has no type that a new table could have.
pub(in crate::platform) fn check_new(fields: &[Field], problems: &mut Problems) {
    for field in fields {
        if field.data_type.holds(&|part| *part == Type::Void) {
            problems.add(format!(
                "column {}: it holds NULL alone and has no type; say one by schema or cast(null as string)",
                field.name
            ));
        }
    }
    if fields.is_empty() {
        problems.add("the source has no columns");
    }
}

/// Names of keys or partition columns, as the columns spell them.
pub(in crate::platform) fn named(
    what: &str,
    names: &[String],
    fields: &[Field],
    problems: &mut Problems,
) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in names {
        match find(fields, name) {
            Some(field) if found.contains(&field.name) => {
                problems.add(format!("{what}: {name} stands there twice"));
            }
            Some(field) => found.push(field.name.clone()),
            None => {
                let list: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
                problems.add(format!(
                    "{what}: there is no column {name}; the columns are {}",
                    list.join(", ")
                ));
            }
        }
    }
    found
}

/// What a table may be partitioned by.
pub(in crate::platform) fn check_partitions(
    columns: &[String],
    fields: &[Field],
    problems: &mut Problems,
) {
    if !columns.is_empty() && columns.len() == fields.len() {
        problems.add("partition_by: a column is needed that the table is not partitioned by");
    }
    for name in columns {
        if let Some(problem) = names::problem(NameOf::Partition, name) {
            problems.add(format!("partition_by: {problem}"));
        }
        let nested = find(fields, name).filter(|f| {
            matches!(
                f.data_type,
                Type::Array(_) | Type::Map(..) | Type::Struct(_) | Type::Binary
            )
        });
        if let Some(field) = nested {
            problems.add(format!("partition_by: {name} is {}", field.data_type));
        }
    }
}

/// The table's columns, each from its place in the source: cast where it widens, NULL where it is missing.
pub(in crate::platform) fn into_table(
    table: &TableName,
    columns: &[Field],
    source: &[Field],
    problems: &mut Problems,
) -> Vec<Output> {
    let mut differences = Vec::new();
    let (by_name, there) = (Index::new(source), Index::new(columns));
    let mut outputs = Vec::new();
    for column in columns {
        let name = &column.name;
        let Some(found) = by_name.get(name) else {
            if !column.nullable {
                differences.push(format!(
                    "{name}: table {} not null, source has no such column",
                    column.data_type
                ));
            }
            outputs.push(Output {
                name: name.clone(),
                from: None,
                cast: Some(column.data_type.clone()),
            });
            continue;
        };
        if !fits(&found.data_type, &column.data_type) {
            differences.push(format!(
                "{name}: table {}, source {}",
                column.data_type, found.data_type
            ));
        }
        let same_type = found.data_type == column.data_type;
        outputs.push(Output {
            name: name.clone(),
            from: Some(found.name.clone()),
            cast: (!same_type).then(|| column.data_type.clone()),
        });
    }
    for field in source.iter().filter(|f| there.get(&f.name).is_none()) {
        let near = columns
            .iter()
            .map(|c| {
                (
                    strsim::jaro_winkler(&c.name.to_lowercase(), &field.name.to_lowercase()),
                    c,
                )
            })
            .filter(|(likeness, _)| *likeness > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map_or(String::new(), |(_, c)| {
                format!(" (did you mean {}?)", c.name)
            });
        differences.push(format!(
            "{}: not in the table, source {}{near}",
            field.name, field.data_type
        ));
    }
    if !differences.is_empty() {
        problems.add(format!(
            "the columns do not fit {table}: {}",
            differences.join("; ")
        ));
        problems.hint(
            "Name and cast the columns in sql or say their types by schema; mode=\"overwrite\" replaces rows and columns. Nothing was written.",
        );
    }
    outputs
}

/// The columns that a schema asks for, each cast from the source's.
pub(in crate::platform) fn into_schema(
    wanted: &[Field],
    source: &[Field],
    problems: &mut Problems,
) -> Vec<Output> {
    let (by_name, there) = (Index::new(source), Index::new(wanted));
    for field in source.iter().filter(|f| there.get(&f.name).is_none()) {
        problems.add(format!(
            "schema: it lacks the source's column {}",
            field.name
        ));
    }
    let mut outputs = Vec::new();
    for field in wanted {
        let found = by_name.get(&field.name);
        if found.is_none() {
            problems.add(format!("schema: the source has no column {}", field.name));
        }
        outputs.push(Output {
            name: field.name.clone(),
            from: found.map(|f| f.name.clone()),
            cast: found
                .is_none_or(|f| f.data_type != field.data_type)
                .then(|| field.data_type.clone()),
        });
    }
    outputs
}

/// Whether a table's columns are already these, so that an overwrite keeps them; of a schema `not null` counts too.
pub(in crate::platform) fn same_columns(columns: &[Field], source: &[Field], typed: bool) -> bool {
    columns.len() == source.len()
        && columns.iter().zip(source).all(|(c, s)| {
            let nulls = !typed || c.nullable == s.nullable;
            c.name == s.name && c.data_type == s.data_type && nulls
        })
}

/// The table property that keeps statistics of floats out of the log: from equal bounds the engine takes a column for
/// constant, and NaN is in no bounds, so that it read NaN as its neighbour (pysail 0.7.2).
pub(in crate::platform) fn statistics(fields: &[Field]) -> Option<(String, String)> {
    let float = |f: &Field| {
        f.data_type
            .holds(&|part| matches!(part, Type::Float | Type::Double))
    };
    if !fields.iter().any(float) {
        return None;
    }
    // As many as the log has statistics of by default.
    let kept: Vec<String> = fields
        .iter()
        .filter(|f| !float(f))
        .take(32)
        .map(|f| quote(&f.name))
        .collect();
    Some(if kept.is_empty() {
        (
            "delta.dataSkippingNumIndexedCols".to_owned(),
            "0".to_owned(),
        )
    } else {
        ("delta.dataSkippingStatsColumns".to_owned(), kept.join(","))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Type::Int, Type::Long, true)]
    #[case(Type::Long, Type::Int, false)]
    #[case(Type::Long, Type::Double, false)]
    #[case(Type::Int, Type::Float, false)]
    #[case(Type::Short, Type::Float, true)]
    #[case(Type::Float, Type::Double, true)]
    #[case(Type::Long, Type::Decimal(38, 18), true)]
    #[case(Type::Long, Type::Decimal(20, 2), false)]
    #[case(Type::Decimal(10, 2), Type::Decimal(12, 4), true)]
    #[case(Type::Decimal(10, 2), Type::Decimal(12, 5), false)]
    #[case(Type::Decimal(10, 2), Type::Decimal(12, 1), false)]
    #[case(Type::Date, Type::TimestampNtz, true)]
    #[case(Type::Date, Type::Timestamp, false)]
    #[case(Type::TimestampNtz, Type::Timestamp, false)]
    #[case(Type::Int, Type::String, false)]
    #[case(Type::String, Type::Int, false)]
    #[case(Type::Void, Type::Binary, true)]
    #[case(
        Type::Array(Box::new(Type::Int)),
        Type::Array(Box::new(Type::Long)),
        true
    )]
    fn only_what_loses_nothing_fits(#[case] from: Type, #[case] to: Type, #[case] fitting: bool) {
        assert_eq!(fits(&from, &to), fitting);
    }

    #[test]
    fn a_difference_shows_all_columns_at_once() {
        let mut table = vec![
            Field::new("id", Type::Long),
            Field::new("price", Type::Decimal(10, 2)),
            Field::new("day", Type::Date),
        ];
        table[0].nullable = false;
        let source = [
            Field::new("Price", Type::String),
            Field::new("days", Type::Date),
        ];
        let mut problems = Problems::default();
        into_table(
            &TableName::new("default", "t"),
            &table,
            &source,
            &mut problems,
        );
        assert_eq!(
            problems.finish().unwrap_err().message(),
            "the columns do not fit default.t: id: table bigint not null, source has no such column; \
             price: table decimal(10,2), source string; days: not in the table, source date (did you mean day?)"
        );
    }

    #[test]
    fn other_order_other_case_and_missing_columns_fit() {
        let table = [Field::new("a", Type::Long), Field::new("b", Type::String)];
        let source = [Field::new("A", Type::Int)];
        let mut problems = Problems::default();
        let outputs = into_table(
            &TableName::new("default", "t"),
            &table,
            &source,
            &mut problems,
        );
        problems.finish().unwrap();
        assert_eq!(
            outputs,
            [
                Output {
                    name: "a".to_owned(),
                    from: Some("A".to_owned()),
                    cast: Some(Type::Long)
                },
                Output {
                    name: "b".to_owned(),
                    from: None,
                    cast: Some(Type::String)
                },
            ]
        );
    }

    #[test]
    fn a_source_s_own_faults_are_named_together() {
        let source = [
            Field::new("a", Type::Long),
            Field::new("A", Type::Other("interval".to_owned())),
            Field::new("", Type::Void),
        ];
        let mut problems = Problems::default();
        check_source(&source, &mut problems);
        check_new(&source, &mut problems);
        named(
            "keys",
            &["x".to_owned(), "a".to_owned(), "a".to_owned()],
            &source,
            &mut problems,
        );
        let error = problems.finish().unwrap_err();
        for part in [
            "columns a and A",
            "cannot hold interval",
            "column 3",
            "NULL alone",
            "no column x",
            "a stands there twice",
        ] {
            assert!(error.message().contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn statistics_leave_floats_out() {
        let f = |name: &str, kind| Field::new(name, kind);
        assert_eq!(statistics(&[f("a", Type::Long)]), None);
        let (key, value) = statistics(&[
            f("a b", Type::Long),
            f("x", Type::Array(Box::new(Type::Double))),
        ])
        .unwrap();
        assert_eq!(
            (key.as_str(), value.as_str()),
            ("delta.dataSkippingStatsColumns", "`a b`")
        );
        let (key, value) = statistics(&[f("x", Type::Float)]).unwrap();
        assert_eq!(
            (key.as_str(), value.as_str()),
            ("delta.dataSkippingNumIndexedCols", "0")
        );
    }
}
