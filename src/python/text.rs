//! Bytes of a worker's pipe into text: characters that arrive in halves, the mark that ends a cell's output, and
//! the last words for an error.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use memchr::memmem;

/// How much of a process's output is remembered for the error of a failed start, in characters.
const LAST_WORDS: usize = 2_000;

/// What one read gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Piece {
    /// Text, without the mark.
    pub text: String,
    /// The mark was in it.
    pub marked: bool,
}

/// Decodes one pipe.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    /// Adds bytes. A character or a mark that may go on in the next read is held back.
    pub(super) fn push(&mut self, bytes: &[u8], mark: Option<&str>) -> Piece {
        self.pending.extend_from_slice(bytes);
        let mut piece = Piece::default();
        let mark = mark.unwrap_or_default().as_bytes();
        if !mark.is_empty()
            && let Some(start) = memmem::find(&self.pending, mark)
        {
            piece.text = lossy(self.pending.get(..start));
            self.pending.drain(..start + mark.len());
            piece.marked = true;
        }
        let keep = held(&self.pending, mark);
        let whole = self.pending.len() - keep;
        piece.text.push_str(&lossy(self.pending.get(..whole)));
        self.pending.drain(..whole);
        piece
    }

    /// What was held back, at the end of the pipe.
    pub(super) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

fn lossy(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

/// How many bytes at the end may be the beginning of the mark or of a character.
fn held(bytes: &[u8], mark: &[u8]) -> usize {
    let longest = mark.len().saturating_sub(1).min(bytes.len());
    let of_mark = (1..=longest)
        .rev()
        .find(|count| bytes.ends_with(mark.get(..*count).unwrap_or_default()))
        .unwrap_or(0);
    of_mark.max(unfinished_character(bytes))
}

fn unfinished_character(bytes: &[u8]) -> usize {
    let tail = bytes
        .get(bytes.len().saturating_sub(3)..)
        .unwrap_or_default();
    match std::str::from_utf8(tail) {
        Ok(_) => 0,
        Err(_) => (1..=tail.len())
            .find(|count| {
                let end = tail.get(tail.len() - count..).unwrap_or_default();
                matches!(std::str::from_utf8(end), Err(e) if e.valid_up_to() == 0 && e.error_len().is_none())
            })
            .unwrap_or(0),
    }
}

/// The last words of a process, from both its pipes.
#[derive(Clone, Debug, Default)]
pub(super) struct Drain(Arc<Mutex<VecDeque<char>>>);

impl Drain {
    /// Remembers the end of `text`.
    pub(super) fn keep(&self, text: &str) {
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = text.len().saturating_sub(LAST_WORDS);
        let end: Vec<char> = text
            .char_indices()
            .rev()
            .take_while(|(at, _)| *at >= start)
            .map(|(_, c)| c)
            .collect();
        words.extend(end.into_iter().rev());
        let over = words.len().saturating_sub(LAST_WORDS);
        words.drain(..over);
    }

    /// How many characters are remembered.
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The end of what it said.
    pub(super) fn last_words(&self) -> String {
        let words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        words.iter().collect::<String>().trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_split_of_a_text_with_its_mark_gives_the_same_text(
            before in "\\PC{0,40}", after in "[a-z]{0,8}", cuts in prop::collection::vec(0usize..200, 0..12)
        ) {
            let mark = "<<mark:0123>>";
            let bytes = format!("{before}{mark}{after}").into_bytes();
            let mut decoder = Decoder::default();
            let mut places: Vec<usize> = cuts.into_iter().map(|c| c % (bytes.len() + 1)).collect();
            places.push(0);
            places.push(bytes.len());
            places.sort_unstable();
            let (mut text, mut marks) = (String::new(), 0);
            for pair in places.windows(2) {
                let piece = decoder.push(&bytes[pair[0]..pair[1]], Some(mark));
                text.push_str(&piece.text);
                marks += u32::from(piece.marked);
            }
            text.push_str(&decoder.finish());
            prop_assert_eq!(text, format!("{before}{after}"));
            prop_assert_eq!(marks, 1);
        }
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_shown_as_replacements() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(b"a\xffb", None).text, "a\u{fffd}b");
    }
}
