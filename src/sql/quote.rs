//! Identifiers as SQL reads them, whatever is in them.

/// An identifier in backquotes: `a``b` for the name a`b. Quoted always, so that no name is a keyword or a number.
pub(crate) fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The parts of a name that may be quoted, as the engine spells it: bare words and words in backquotes, with dots
/// between them. `None` if it is no such name.
pub(crate) fn parts(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        let mut part = String::new();
        if chars.next_if_eq(&'`').is_some() {
            loop {
                match chars.next()? {
                    '`' if chars.next_if_eq(&'`').is_some() => part.push('`'),
                    '`' => break,
                    char => part.push(char),
                }
            }
        } else {
            while let Some(char) = chars.next_if(|char| *char != '.' && *char != '`') {
                part.push(char);
            }
        }
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match chars.next() {
            None => return Some(parts),
            Some('.') => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("orders", "`orders`")]
    #[case("a`b", "`a``b`")]
    #[case("``", "``````")]
    #[case("a.b; DROP TABLE t", "`a.b; DROP TABLE t`")]
    fn a_quoted_name_is_one_identifier(#[case] name: &str, #[case] quoted: &str) {
        assert_eq!(quote(name), quoted);
        assert_eq!(parts(quoted), Some(vec![name.to_owned()]));
    }

    #[rstest]
    #[case("lake.default.t", &["lake", "default", "t"])]
    #[case("lake.`a.b`.`c``d`", &["lake", "a.b", "c`d"])]
    #[case("ü x", &["ü x"])]
    fn parts_are_read_as_they_were_quoted(#[case] text: &str, #[case] expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|&part| part.to_owned()).collect();
        assert_eq!(parts(text), Some(expected));
    }

    #[rstest]
    #[case("")]
    #[case("a.")]
    #[case(".a")]
    #[case("a`b")]
    #[case("`a")]
    #[case("`a`b")]
    #[case("``")]
    fn what_is_no_name_is_none(#[case] text: &str) {
        assert_eq!(parts(text), None);
    }

    proptest::proptest! {
        #[test]
        fn every_list_of_names_comes_back(names in proptest::collection::vec(".{1,20}", 1..4)) {
            let quoted: Vec<String> = names.iter().map(|name| quote(name)).collect();
            proptest::prop_assert_eq!(parts(&quoted.join(".")), Some(names));
        }
    }
}
