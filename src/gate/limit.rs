//! How much an answer may hold, and how its parts share that. Nothing is cut without a word on how much is missing.

use super::redact::cut_place;

/// What bounds one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of text and structured content together (as JSON), without images. Default 24 KiB: 7,000 to 11,000
    /// tokens, under half of what common clients accept. Less than [`Limits::MIN_ANSWER_BYTES`] counts as that.
    pub(crate) answer_bytes: usize,
    /// Characters of one cell. Default 500.
    pub(crate) cell_chars: usize,
    /// Characters of a column's name, and of its type. Default 128: a struct's type can be pages long.
    pub(crate) name_chars: usize,
    /// Whether the structured content repeats the text, for clients that show only one of the two. Default true.
    pub(crate) structured_copy: bool,
}

impl Limits {
    /// Below this an answer with all its notes could not hold a row.
    pub(crate) const MIN_ANSWER_BYTES: usize = 8 * 1024;

    /// The bytes in force.
    pub(super) fn bytes(&self) -> usize {
        self.answer_bytes.max(Self::MIN_ANSWER_BYTES)
    }

    /// What `text` takes of an answer: itself, and its copy in the structured content.
    pub(super) fn cost(&self, text: &str) -> usize {
        let copy = if self.structured_copy {
            json_len(text)
        } else {
            0
        };
        text.len() + copy
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            answer_bytes: 24 * 1024,
            cell_chars: 500,
            name_chars: 128,
            structured_copy: true,
        }
    }
}

/// Bytes of `text` inside a JSON string.
fn json_len(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

/// Divides `total` by weight; who wants less than that leaves the rest to the others.
pub(super) fn shares(total: usize, wants: &[(usize, usize)]) -> Vec<usize> {
    let mut given: Vec<Option<usize>> = vec![None; wants.len()];
    loop {
        let spent: usize = given.iter().flatten().sum();
        let left = total.saturating_sub(spent);
        let open = || wants.iter().zip(&given).filter(|(_, g)| g.is_none());
        let weight: usize = open().map(|((weight, _), _)| *weight).sum();
        let fair = |weight_of: usize| left * weight_of / weight.max(1);
        let content = wants
            .iter()
            .zip(&given)
            .map(|((weight, want), given)| given.is_none() && *want <= fair(*weight))
            .collect::<Vec<_>>();
        if !content.contains(&true) {
            return wants
                .iter()
                .zip(&given)
                .map(|((weight, _), given)| given.unwrap_or_else(|| fair(*weight)))
                .collect();
        }
        for ((given, (_, want)), content) in given.iter_mut().zip(wants).zip(content) {
            if content {
                *given = Some(*want);
            }
        }
    }
}

/// The first `chars` characters, and how many are missing, as `…+n`. A placeholder stays whole or goes.
pub(super) fn cut_chars(text: &str, chars: usize) -> Option<String> {
    // Bytes first: counting the characters of every short cell would be waste.
    if text.len() <= chars {
        return None;
    }
    let (at, _) = text.char_indices().nth(chars)?;
    let (front, rest) = text.split_at(cut_place(text, at));
    Some(format!("{front}…+{}", rest.chars().count()))
}

/// The same for texts that must fit one line of an answer.
pub(super) fn shortened(text: String, chars: usize) -> String {
    cut_chars(&text, chars).unwrap_or(text)
}

/// A text whose middle went because it was too long.
pub(super) struct MiddleCut {
    /// What stays at the front.
    pub(super) head: String,
    /// What stays at the end.
    pub(super) tail: String,
    /// Bytes in between; 0 if all stayed.
    pub(super) left_out: usize,
}

impl MiddleCut {
    /// Both ends with a word on what stood between.
    pub(super) fn joined(&self) -> String {
        match self.left_out {
            0 => self.head.clone(),
            n => format!("{}\n[… {n} bytes …]\n{}", self.head, self.tail),
        }
    }
}

/// Keeps as much of both ends as `budget` pays for: of a log the end tells most, the front the rest. With
/// `front_only` nothing of the end.
pub(super) fn cut_middle(
    limits: &Limits,
    text: &str,
    budget: usize,
    front_only: bool,
) -> MiddleCut {
    if limits.cost(text) <= budget {
        return MiddleCut {
            head: text.to_owned(),
            tail: String::new(),
            left_out: 0,
        };
    }
    let for_head = if front_only { budget } else { budget * 2 / 5 };
    let mut spent = 0;
    let mut head_end = 0;
    for (at, c) in text.char_indices() {
        spent += limits.cost(c.encode_utf8(&mut [0; 4]));
        if spent > for_head {
            break;
        }
        head_end = at + c.len_utf8();
    }
    let head_end = cut_place(text, head_end);
    let mut tail_start = text.len();
    spent = 0;
    for (at, c) in text.char_indices().rev() {
        spent += limits.cost(c.encode_utf8(&mut [0; 4]));
        if spent > budget - for_head || at < head_end {
            break;
        }
        tail_start = at;
    }
    // A placeholder that the cut would open goes with the middle.
    if cut_place(text, tail_start) != tail_start {
        let inside = text.get(tail_start..).unwrap_or_default();
        tail_start += inside.find('»').map_or(0, |at| at + '»'.len_utf8());
    }
    MiddleCut {
        head: text.get(..head_end).unwrap_or_default().to_owned(),
        tail: text.get(tail_start..).unwrap_or_default().to_owned(),
        left_out: tail_start - head_end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(100, &[(1, 10), (1, 20)], &[10, 20])]
    #[case(100, &[(1, 10), (1, 200)], &[10, 90])]
    #[case(100, &[(3, 200), (1, 200)], &[75, 25])]
    #[case(100, &[], &[])]
    fn shares_leave_what_is_not_wanted(
        #[case] total: usize,
        #[case] wants: &[(usize, usize)],
        #[case] given: &[usize],
    ) {
        assert_eq!(shares(total, wants), given);
    }

    #[rstest]
    #[case("abc", 3, None)]
    #[case("abcd", 3, Some("abc…+1"))]
    #[case("ééé", 3, None)]
    #[case("éééé", 3, Some("ééé…+1"))]
    #[case("ab«redacted:token:1a2b»cd", 10, Some("ab…+23"))]
    #[case("ab«redacted:token:1a2b»cd", 23, Some("ab«redacted:token:1a2b»…+2"))]
    #[case("«redacted: not one", 5, Some("«reda…+13"))]
    fn cells_are_cut_between_characters_and_never_inside_a_placeholder(
        #[case] text: &str,
        #[case] chars: usize,
        #[case] cut: Option<&str>,
    ) {
        assert_eq!(cut_chars(text, chars).as_deref(), cut);
    }

    #[test]
    fn json_length_agrees_with_the_writer() {
        let text = "a\"b\\c\n\r\t\u{8}\u{c}\u{1}é漢\u{7f}/";
        assert_eq!(
            json_len(text) + 2,
            serde_json::to_string(text).unwrap().len()
        );
    }
}
