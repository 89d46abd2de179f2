//! Characters that a reader cannot see, or that act on a terminal, become visible or go. What is secret is not
//! decided here: texts come here redacted.

use super::redact::ansi_len;

/// Printed output, tracebacks, messages: ANSI sequences go, line ends become `\n`, what else is invisible is escaped.
pub(super) fn block(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = ansi_len(rest.as_bytes());
        let after = |n: usize| rest.get(n..).unwrap_or_default();
        if let Some(skip) = skip {
            rest = after(skip);
            continue;
        }
        match c {
            '\r' => {
                made.push('\n');
                rest = after(if after(1).starts_with('\n') { 2 } else { 1 });
            }
            '\n' | '\t' => {
                made.push(c);
                rest = after(1);
            }
            _ => {
                visible(c, &mut made);
                rest = after(c.len_utf8());
            }
        }
    }
    made
}

/// A value of a table: nothing goes; line ends and tabs stay, what is invisible is escaped.
pub(super) fn cell(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' => made.push(c),
            '\r' if chars.peek() == Some(&'\n') => made.push(c),
            _ => visible(c, &mut made),
        }
    }
    made
}

/// Names, phases, warnings: one line.
pub(super) fn line(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for c in block(text).trim_end().chars() {
        match c {
            '\n' => made.push_str("\\n"),
            '\t' => made.push_str("\\t"),
            _ => made.push(c),
        }
    }
    made
}

/// Adds `c`, escaped as JSON does if it is invisible. Joiners between letters beyond ASCII are part of scripts and
/// of emoji, and stay.
fn visible(c: char, made: &mut String) {
    let joins = matches!(c, '\u{200c}' | '\u{200d}') && made.ends_with(|c: char| !c.is_ascii());
    if joins || !invisible(c) {
        made.push(c);
        return;
    }
    match c {
        '\r' => made.push_str("\\r"),
        _ => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                made.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

/// Control characters, bidirectional controls, zero-width characters, tags: what hides text from people.
fn invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::colour("\u{1b}[31mred\u{1b}[0m", "red")]
    #[case::title("\u{1b}]0;evil\u{7}x", "x")]
    #[case::half_a_sequence("x\u{1b}[3", "x\\u001b[3")]
    #[case::progress_bar("10%\r20%\r\nend", "10%\n20%\nend")]
    #[case::bidi("a\u{202e}b", "a\\u202eb")]
    #[case::tag("a\u{e0041}b", "a\\udb40\\udc41b")]
    #[case::null("a\0b", "a\\u0000b")]
    #[case::emoji("👩\u{200d}💻 ok", "👩\u{200d}💻 ok")]
    #[case::hidden_joiner("a\u{200d}b", "a\\u200db")]
    fn blocks_lose_what_acts_on_a_terminal(#[case] text: &str, #[case] seen: &str) {
        assert_eq!(block(text), seen);
    }

    #[rstest]
    #[case::colour("\u{1b}[31mred", "\\u001b[31mred")]
    #[case::lines("a\r\nb\tc\nd", "a\r\nb\tc\nd")]
    #[case::return_("a\rb", "a\\rb")]
    fn cells_keep_all_and_show_it(#[case] text: &str, #[case] seen: &str) {
        assert_eq!(cell(text), seen);
    }

    #[test]
    fn lines_are_one_line() {
        assert_eq!(line("a\nb\r\n"), "a\\nb");
    }
}
