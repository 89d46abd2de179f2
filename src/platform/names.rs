//! Which names a database, a table or a column may have: those that come back from the engine as they went in, that
//! a person can read, and that SQL can mean only one thing by.

use crate::model::{Code, Error, Result, TableName};
use crate::sql::is_file_relation;

/// The most bytes of a name in UTF-8: more is no name, and paths and logs carry it.
const MOST_BYTES: usize = 255;

/// The most bytes of a partition column's name: with `=`, the value and escapes it has to fit into a folder's name,
/// which has 255.
const MOST_PARTITION_BYTES: usize = 64;

/// What a database cannot be called, in lower case: names of formats, since delta.`x` reads a path, of the catalogue
/// and of what the engine has beside it.
const NO_DATABASE: &[&str] = &[
    "spark_catalog",
    "avro",
    "binaryfile",
    "csv",
    "delta",
    "global_temp",
    "iceberg",
    "json",
    "orc",
    "parquet",
    "system",
    "text",
];

/// What a name is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameOf {
    /// A database.
    Database,
    /// A table.
    Table,
    /// A column.
    Column,
    /// A column that a table is partitioned by: `name=value` is a folder.
    Partition,
}

/// By what names are compared: as Spark does, without regard to case. Unicode's lower case, so that `İ` and `i̇` are
/// the same name and `ß` and `ss` are two.
pub(crate) fn key(name: &str) -> String {
    name.to_lowercase()
}

/// Why a name cannot be kept; `None` if it can. The one place that decides it.
pub(crate) fn problem(of: NameOf, name: &str) -> Option<String> {
    let what = match of {
        NameOf::Database => "database",
        NameOf::Table => "table",
        NameOf::Column => "column",
        NameOf::Partition => "partition column",
    };
    if name.trim().is_empty() {
        return Some(format!("a {what} name is empty"));
    }
    let most = match of {
        NameOf::Partition => MOST_PARTITION_BYTES,
        _ => MOST_BYTES,
    };
    if name.len() > most {
        let start: String = name.chars().take(20).collect();
        return Some(format!(
            "the {what} name {start:?}… has {} bytes, {most} is the most",
            name.len()
        ));
    }
    if let Some(char) = name.chars().find(|&char| is_unseen(char)) {
        return Some(format!(
            "the {what} name {name:?} contains U+{:04X}, which cannot be seen",
            u32::from(char)
        ));
    }
    if name.starts_with(char::is_whitespace) || name.ends_with(char::is_whitespace) {
        return Some(format!(
            "the {what} name {name:?} starts or ends with a space"
        ));
    }
    if of == NameOf::Database && NO_DATABASE.contains(&key(name).as_str()) {
        return Some(format!(
            "a database cannot be called {name:?}: SQL means something else by it"
        ));
    }
    None
}

/// Checks a table's name, both parts; all that is wrong in one error.
///
/// # Errors
/// `invalid_argument`.
pub(crate) fn check(name: &TableName) -> Result<()> {
    refuse(
        [
            problem(NameOf::Database, &name.database),
            problem(NameOf::Table, &name.table),
            is_file_relation(&[name.database.clone(), name.table.clone()])
                .then(|| format!("{name} reads like a path, which SQL takes for a file")),
        ]
        .into_iter()
        .flatten()
        .collect(),
    )
}

/// Checks the columns of a table to be: each name, and that no two are the same to Spark.
///
/// # Errors
/// `invalid_argument`, with all that is wrong.
pub(crate) fn check_columns<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut problems = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for name in names {
        problems.extend(problem(NameOf::Column, name));
        if !seen.insert(key(name)) {
            problems.push(format!(
                "the column {name:?} is there twice; case makes no difference"
            ));
        }
    }
    refuse(problems)
}

/// An error of these problems, or none.
pub(in crate::platform) fn refuse(problems: Vec<String>) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::new(Code::InvalidArgument, problems.join("; ")).hint(
        "Choose another name: at most 255 bytes, of characters that can be seen, with no space at either end.",
    ))
}

/// Control characters, line ends, and what changes the direction or joins without a width.
fn is_unseen(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A part of a folder's name: ASCII that no file system and no URL changes, never the user's text as it is.
pub(in crate::platform) fn slug(name: &str) -> String {
    /// Enough to recognise a table by; the rest of its name is told by the catalogue.
    const MOST: usize = 40;
    let slug: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .take(MOST)
        .collect();
    if slug.is_empty() {
        "_".to_owned()
    } else {
        slug
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("orders")]
    #[case("Übersicht 2026")]
    #[case("表 😀")]
    #[case("a`b.c'd\"e;f/g\\h%i?j#k")]
    #[case("x; DROP TABLE t; --")]
    #[case("select")]
    #[case("1")]
    fn names_that_the_engine_keeps_are_let_through(#[case] name: &str) {
        for of in [NameOf::Database, NameOf::Table, NameOf::Column] {
            assert_eq!(problem(of, name), None);
        }
    }

    #[rstest]
    #[case("")]
    #[case(" ")]
    #[case(" a")]
    #[case("a\u{a0}")]
    #[case("a\nb")]
    #[case("a\0b")]
    #[case("a\u{202e}b")]
    #[case("a\u{200b}b")]
    #[case("a\u{7f}b")]
    fn names_that_nobody_could_read_or_type_are_refused(#[case] name: &str) {
        for of in [NameOf::Database, NameOf::Table, NameOf::Column] {
            assert!(problem(of, name).is_some());
        }
    }

    #[test]
    fn a_name_has_at_most_255_bytes() {
        assert_eq!(problem(NameOf::Table, &"a".repeat(255)), None);
        assert_eq!(problem(NameOf::Table, &"ä".repeat(127)), None);
        assert!(problem(NameOf::Table, &"ä".repeat(128)).is_some());
    }

    #[test]
    fn a_database_is_not_called_like_a_format() {
        assert!(problem(NameOf::Database, "Delta").is_some());
        assert_eq!(problem(NameOf::Table, "delta"), None);
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let error = check(&TableName::new("", "a\nb")).unwrap_err();
        assert!(error.message().contains("database name is empty"));
        assert!(error.message().contains("U+000A"));
        let error = check_columns(["a", "", "A"]).unwrap_err();
        assert!(error.message().contains("column name is empty"));
        assert!(error.message().contains("\"A\" is there twice"));
    }

    #[test]
    fn a_slug_is_plain_whatever_the_name_is() {
        assert_eq!(slug("Sales 2026/../x"), "sales_2026____x");
        assert_eq!(slug("表"), "_");
        assert_eq!(slug(&"x".repeat(300)).len(), 40);
    }
}
