//! What is searched: the text itself, the text with escapes undone, and the text without separators. Each view maps
//! its bytes back to the original, which alone is replaced. What is looked for is in `forms.rs` and `known.rs`.

use std::borrow::Cow;

/// The widest gap that a disguise may put between two characters, in bytes of the original. A secret spread wider
/// than a screen's width of separators per character is no longer read by eye, and a stream would have to hold
/// back without end.
pub(super) const GAP: usize = 256;

/// The longest CSI sequence that is taken as one, in bytes: real ones have under 20.
const CSI_MAX: usize = 64;

/// The longest OSC, DCS or APC string that is taken as one, in bytes: a window title or a link.
const OSC_MAX: usize = 256;

/// A text to search, with the place of each byte in the original.
pub(super) struct View<'a> {
    /// What is searched.
    pub(super) bytes: Cow<'a, [u8]>,
    /// For each byte where it came from; `None` where the view is the original.
    spans: Option<Vec<(usize, usize)>>,
    /// Where an escape starts that the end of the text cuts, in the original.
    pub(super) open: Option<usize>,
    /// Length of the original.
    pub(super) raw_len: usize,
}

/// What a rewriting step makes of the front of a text.
enum Token {
    /// One byte, as it is.
    Keep,
    /// So many bytes vanish.
    Drop(usize),
    /// So many bytes stand for these.
    Replace(usize, [u8; 4], usize),
    /// The text ends inside an escape.
    Cut,
}

impl<'a> View<'a> {
    /// The text itself.
    pub(super) fn raw(bytes: &'a [u8]) -> Self {
        Self {
            bytes: Cow::Borrowed(bytes),
            spans: None,
            open: None,
            raw_len: bytes.len(),
        }
    }

    /// Where the view's byte `at` stands in the original.
    pub(super) fn span(&self, at: usize) -> (usize, usize) {
        match &self.spans {
            None => (at, at + 1),
            Some(spans) => spans
                .get(at)
                .copied()
                .unwrap_or((self.raw_len, self.raw_len)),
        }
    }

    /// The front of the view that what follows cannot spell anew, and where it ends in the original.
    pub(super) fn decided(&self) -> (&[u8], usize) {
        let end = self.open.unwrap_or(self.raw_len);
        let count = self.spans.as_ref().map_or(self.bytes.len(), |spans| {
            spans.partition_point(|(start, _)| *start < end)
        });
        (self.bytes.get(..count).unwrap_or_default(), end)
    }

    /// The largest place at or before `at` where the original can be cut without cutting an escape.
    pub(super) fn boundary(&self, at: usize) -> usize {
        let Some(spans) = &self.spans else {
            return at;
        };
        if at >= self.raw_len {
            return at;
        }
        // The first byte of the view that ends after `at`.
        let next = spans.partition_point(|(_, end)| *end <= at);
        let (start, _) = self.span(next);
        if start == at {
            return at;
        }
        // Inside an escape: before it. Inside what was dropped: at the end of what came before.
        let before = next
            .checked_sub(1)
            .and_then(|i| spans.get(i))
            .map_or(0, |(_, end)| *end);
        if start < at {
            start.max(before)
        } else {
            before
        }
    }

    /// The view without ANSI sequences and invisible characters, and with one level of JSON, `\x` and percent
    /// escapes undone. `None` when that changes nothing.
    pub(super) fn decoded(&self) -> Option<View<'static>> {
        // A look at every byte costs a twentieth of the rewriting; accents and `50 %` are not rewritten.
        let special = |byte: u8| matches!(byte, 0x1b | b'\\' | b'%') || byte >= 0x80;
        let changed = |at: usize| {
            let rest = self.bytes.get(at..).unwrap_or_default();
            !matches!((strip(rest), unescape(rest)), (Token::Keep, Token::Keep))
        };
        let mut bytes = self.bytes.iter().enumerate();
        if !bytes.any(|(at, byte)| special(*byte) && changed(at)) {
            return None;
        }
        Some(
            self.rewrite(strip)
                .rewrite(unescape)
                // Escaped ANSI sequences.
                .rewrite(strip),
        )
    }

    /// ASCII letters and digits alone, in lower case.
    pub(super) fn squeezed(&self) -> View<'static> {
        self.filtered(|byte| byte.is_ascii_alphanumeric())
    }

    /// Everything but white space and control characters, in lower case.
    pub(super) fn tight(&self) -> View<'static> {
        self.filtered(|byte| byte > b' ' && byte != 0x7f)
    }

    fn filtered(&self, keep: impl Fn(u8) -> bool) -> View<'static> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut spans: Vec<(usize, usize)> = Vec::with_capacity(self.bytes.len());
        let mut last = None;
        for (at, byte) in self.bytes.iter().enumerate() {
            if !keep(*byte) {
                continue;
            }
            let span = self.span(at);
            if last.is_some_and(|end| span.0.saturating_sub(end) > GAP) {
                // No form holds a NUL: nothing matches across it.
                bytes.push(0);
                spans.push((span.0, span.0));
            }
            bytes.push(byte.to_ascii_lowercase());
            spans.push(span);
            last = Some(span.1);
        }
        View {
            bytes: Cow::Owned(bytes),
            spans: Some(spans),
            open: self.open,
            raw_len: self.raw_len,
        }
    }

    fn rewrite(&self, token: fn(&[u8]) -> Token) -> View<'static> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut spans = Vec::with_capacity(self.bytes.len());
        let mut open = self.open;
        // No token reaches over the start of an escape that is cut: what it will be is not known.
        let decided = self.decided().0.len();
        let mut at = 0;
        loop {
            let end = if at < decided {
                decided
            } else {
                self.bytes.len()
            };
            let Some(rest) = self.bytes.get(at..end).filter(|rest| !rest.is_empty()) else {
                break;
            };
            let from = self.span(at).0;
            let (taken, made, count) = match token(rest) {
                Token::Keep => (1, None, 1),
                Token::Drop(taken) => (taken, None, 0),
                Token::Replace(taken, made, count) => (taken, Some(made), count),
                Token::Cut => {
                    open = Some(open.map_or(from, |open: usize| open.min(from)));
                    (1, None, 1)
                }
            };
            let span = (from, self.span(at + taken - 1).1);
            match made {
                Some(made) => {
                    for byte in made.iter().take(count) {
                        bytes.push(*byte);
                        spans.push(span);
                    }
                }
                None => {
                    for byte in rest.iter().take(count) {
                        bytes.push(*byte);
                        spans.push(span);
                    }
                }
            }
            at += taken;
        }
        View {
            bytes: Cow::Owned(bytes),
            spans: Some(spans),
            open,
            raw_len: self.raw_len,
        }
    }
}

/// How many bytes the ANSI sequence at the front of `rest` has.
pub(super) fn ansi_len(rest: &[u8]) -> Option<usize> {
    match (rest, strip(rest)) {
        ([0x1b, ..] | [0xc2, 0x9b, ..], Token::Drop(taken)) => Some(taken),
        _ => None,
    }
}

/// Drops ANSI sequences and invisible characters.
fn strip(rest: &[u8]) -> Token {
    match rest {
        [0x1b] => Token::Cut,
        [0x1b, b'[', tail @ ..] => csi(tail, 2),
        [0xc2, 0x9b, tail @ ..] => csi(tail, 2),
        [0x1b, b']' | b'P' | b'X' | b'^' | b'_', tail @ ..] => {
            let end = tail
                .iter()
                .take(OSC_MAX)
                .position(|b| *b == 0x07 || *b == 0x1b);
            match end {
                Some(end) if tail.get(end) == Some(&0x07) => Token::Drop(2 + end + 1),
                Some(end) => match tail.get(end + 1) {
                    Some(b'\\') => Token::Drop(2 + end + 2),
                    Some(_) => Token::Drop(2),
                    None => Token::Cut,
                },
                None if tail.len() < OSC_MAX => Token::Cut,
                None => Token::Drop(2),
            }
        }
        [0x1b, b' '..=b'/', tail @ ..] => {
            let more = tail
                .iter()
                .take(CSI_MAX)
                .take_while(|b| matches!(**b, b' '..=b'/'));
            let more = more.count();
            match tail.get(more) {
                Some(0x30..=0x7e) => Token::Drop(2 + more + 1),
                None if tail.len() < CSI_MAX => Token::Cut,
                _ => Token::Drop(1),
            }
        }
        [0x1b, 0x30..=0x7e, ..] => Token::Drop(2),
        [0x1b, ..] => Token::Drop(1),
        [0xc2, 0xad, ..] => Token::Drop(2),
        [0xd8, 0x9c, ..] => Token::Drop(2),
        [0xe1, 0xa0, 0x8e, ..] => Token::Drop(3),
        [0xe2, 0x80, 0x8b..=0x8f | 0xaa..=0xae, ..] => Token::Drop(3),
        [0xe2, 0x81, 0xa0..=0xaf, ..] => Token::Drop(3),
        [0xef, 0xb8, 0x80..=0x8f, ..] => Token::Drop(3),
        [0xef, 0xbb, 0xbf, ..] => Token::Drop(3),
        [0xf3, 0xa0, 0x80 | 0x81 | 0x84..=0x87, _, ..] => Token::Drop(4),
        _ => Token::Keep,
    }
}

/// The part of a CSI sequence after its introducer of `head` bytes.
fn csi(tail: &[u8], head: usize) -> Token {
    let params = tail
        .iter()
        .take(CSI_MAX)
        .take_while(|b| matches!(**b, 0x20..=0x3f));
    let params = params.count();
    match tail.get(params) {
        Some(0x40..=0x7e) => Token::Drop(head + params + 1),
        None if tail.len() < CSI_MAX => Token::Cut,
        _ => Token::Drop(head),
    }
}

/// Undoes one JSON, `\xNN` or percent escape.
pub(super) fn unescape_all(text: &[u8]) -> Vec<u8> {
    View::raw(text).rewrite(unescape).bytes.into_owned()
}

fn unescape(rest: &[u8]) -> Token {
    let one = |taken: usize, byte: u8| Token::Replace(taken, [byte, 0, 0, 0], 1);
    match rest {
        [b'%', tail @ ..] => match hex_number(tail, 2) {
            Hex::Is(value) => u8::try_from(value).map_or(Token::Keep, |byte| one(3, byte)),
            Hex::Cut => Token::Cut,
            Hex::Not => Token::Keep,
        },
        [b'\\'] => Token::Cut,
        [b'\\', c @ (b'"' | b'\\' | b'/' | b'\''), ..] => one(2, *c),
        [b'\\', b'n', ..] => one(2, b'\n'),
        [b'\\', b'r', ..] => one(2, b'\r'),
        [b'\\', b't', ..] => one(2, b'\t'),
        [b'\\', b'b', ..] => one(2, 0x08),
        [b'\\', b'f', ..] => one(2, 0x0c),
        [b'\\', b'x', tail @ ..] => match hex_number(tail, 2) {
            Hex::Is(value) => u8::try_from(value).map_or(Token::Keep, |byte| one(4, byte)),
            Hex::Cut => Token::Cut,
            Hex::Not => Token::Keep,
        },
        [b'\\', b'u', tail @ ..] => match hex_number(tail, 4) {
            Hex::Is(value) => match char::from_u32(value) {
                Some(c) => {
                    let mut made = [0; 4];
                    let count = c.encode_utf8(&mut made).len();
                    Token::Replace(6, made, count)
                }
                // Half of a surrogate pair.
                None => Token::Keep,
            },
            Hex::Cut => Token::Cut,
            Hex::Not => Token::Keep,
        },
        _ => Token::Keep,
    }
}

enum Hex {
    Is(u32),
    Not,
    Cut,
}

fn hex_number(digits: &[u8], count: usize) -> Hex {
    let mut value = 0;
    for at in 0..count {
        match digits.get(at).map(|b| char::from(*b).to_digit(16)) {
            Some(Some(digit)) => value = value * 16 + digit,
            Some(None) => return Hex::Not,
            None => return Hex::Cut,
        }
    }
    Hex::Is(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_undoing_would_change_is_rewritten() {
        for same in [
            "plain",
            "Orléans, 東京, “50 %”",
            "C:\\Users",
            "«é»",
            "%zz",
            "\\q",
        ] {
            assert!(View::raw(same.as_bytes()).decoded().is_none(), "{same}");
        }
        for (text, undone) in [
            ("a%41b", "aAb"),
            ("é\\u0041", "éA"),
            ("a\u{200b}b", "ab"),
            ("\x1b[1mx\x1b[0m", "x"),
            ("cut\\", "cut\\"),
        ] {
            let decoded = View::raw(text.as_bytes()).decoded();
            let bytes = decoded.map(|view| view.bytes.into_owned());
            assert_eq!(bytes.as_deref(), Some(undone.as_bytes()), "{text:?}");
        }
    }
}
