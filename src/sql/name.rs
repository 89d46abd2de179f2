//! Which names a temp view of a file may have. Names travel by protocol, never inside SQL text.

/// Spark's own limit for names in its catalogues, in characters.
const MAX_CHARS: usize = 255;

/// Checks the name of a temp view that a caller chose.
///
/// Letters, digits, `_`, and `-` and spaces inside are fine; anything but a plain name needs backticks in SQL.
/// Left out are quotes, dots (they read as `schema.table`), control and invisible characters.
///
/// # Errors
/// What is wrong, as a fragment for an error message.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.trim().is_empty() {
        return Err("a view name is empty".to_owned());
    }
    if name.chars().count() > MAX_CHARS {
        return Err(format!("a view name is longer than {MAX_CHARS} characters"));
    }
    if name.starts_with(' ') || name.ends_with(' ') {
        return Err(format!(
            "the view name {name:?} starts or ends with a space"
        ));
    }
    match name.chars().find(|&char| !is_allowed(char)) {
        Some(char) => Err(format!(
            "the view name {name:?} contains {}; use letters, digits and `_`",
            describe(char)
        )),
        None => Ok(()),
    }
}

fn is_allowed(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '-' | ' ')
}

fn describe(char: char) -> String {
    if char.is_ascii_graphic() {
        format!("`{char}`")
    } else {
        format!("U+{:04X}", u32::from(char))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("orders")]
    #[case("sales-2024")]
    #[case("my orders")]
    #[case("größe")]
    #[case("2024")]
    fn plain_names_pass(#[case] name: &str) {
        assert_eq!(check_name(name), Ok(()));
    }

    #[rstest]
    #[case("")]
    #[case("  ")]
    #[case(" a")]
    #[case("a.b")]
    #[case("a`b")]
    #[case("a'b")]
    #[case("a\"b")]
    #[case("a\nb")]
    #[case("a\0b")]
    #[case("a\u{202e}b")]
    #[case("a\u{200b}b")]
    #[case("a\u{feff}b")]
    #[case("a;b")]
    #[case("a/b")]
    fn names_that_could_mean_something_else_are_refused(#[case] name: &str) {
        assert!(check_name(name).is_err());
    }

    #[test]
    fn a_name_has_at_most_255_characters() {
        assert!(check_name(&"ä".repeat(255)).is_ok());
        assert!(check_name(&"a".repeat(256)).is_err());
    }

    #[test]
    fn the_error_escapes_what_it_quotes() {
        assert_eq!(
            check_name("a\nb").unwrap_err(),
            "the view name \"a\\nb\" contains U+000A; use letters, digits and `_`"
        );
    }
}
