//! Finds the forms of known secrets in a view of a text.
//!
//! Every fifth run of eight bytes of a form is kept in a table, so that any twelve bytes of the form hold one. The
//! text is looked up at each byte; a hit is verified by comparing to both sides. A test keeps what the tables of a
//! hundred tokens take.

use super::forms::{Form, GRAM, Space, squeeze};
use super::view::{GAP, View};

/// Texts that are no secret although secrets hold them; a piece of one of them does not count alone.
const PUBLIC_PHRASES: [&str; 8] = [
    "-----BEGIN RSA PRIVATE KEY-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----END PRIVATE KEY-----",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----END ENCRYPTED PRIVATE KEY-----",
    "DefaultEndpointsProtocol=https;AccountName=",
    ";EndpointSuffix=core.windows.net",
    ".servicebus.windows.net/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=",
    ".database.windows.net",
    "https://login.microsoftonline.com/",
];

/// Distinct bytes that a piece needs: a line of dashes is no secret.
const MIN_DISTINCT: usize = 4;

/// A place in the original that shows a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Its place among the known secrets.
    pub(super) secret: usize,
}

/// The forms of one space.
pub(super) struct Grams {
    forms: Vec<(usize, Form)>,
    /// Gram, place of its form, place in the form; in order.
    table: Vec<(u64, u32, u32)>,
    /// One bit per hash of a gram; a clear bit says that the table has none.
    filter: Vec<u64>,
    shift: u32,
    longest_min_run: usize,
    phrases: Vec<Vec<u8>>,
}

impl Grams {
    /// The table of all forms in `space`; each comes with the place of its secret.
    pub(super) fn new(space: Space, all: &mut Vec<(usize, Form)>) -> Self {
        let (forms, rest) = std::mem::take(all)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, form)| form.space == space);
        *all = rest;
        let mut table = Vec::new();
        for (index, (_, form)) in forms.iter().enumerate() {
            let stride = form.min_run - GRAM + 1;
            let last = form.bytes.len() - GRAM;
            for at in (0..=last).step_by(stride) {
                let places = (u32::try_from(index), u32::try_from(at));
                if let (Some(gram), (Ok(index), Ok(at))) = (gram(&form.bytes, at), places) {
                    table.push((gram, index, at));
                }
            }
        }
        table.sort_unstable();
        table.shrink_to_fit();
        // 32 bits for each gram keep false passes near 3 %; 4 million bits at most, to stay in the cache.
        let bits = (table.len() * 32)
            .next_power_of_two()
            .clamp(1 << 12, 1 << 22);
        let shift = 64 - bits.trailing_zeros();
        let mut filter = vec![0; bits / 64];
        for (gram, _, _) in &table {
            let (word, bit) = filter_place(*gram, shift);
            if let Some(word) = filter.get_mut(word) {
                *word |= bit;
            }
        }
        Self {
            longest_min_run: forms.iter().map(|(_, f)| f.min_run).max().unwrap_or(0),
            forms,
            table,
            filter,
            shift,
            phrases: PUBLIC_PHRASES.map(|p| squeeze(p.as_bytes())).to_vec(),
        }
    }

    /// Memory in bytes.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let forms: usize = self.forms.iter().map(|(_, f)| f.bytes.capacity()).sum();
        let entries = size_of::<(u64, u32, u32)>() * self.table.capacity();
        forms + entries + 8 * self.filter.len()
    }

    /// Whether there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// Adds every place of `view` that shows a secret to `hits`, in places of the original.
    pub(super) fn find(&self, view: &View<'_>, hits: &mut Vec<Hit>) {
        if self.is_empty() {
            return;
        }
        let text = view.bytes.as_ref();
        let mut at = 0;
        while let Some(key) = gram(text, at) {
            let (word, bit) = filter_place(key, self.shift);
            if self.filter.get(word).is_none_or(|word| word & bit == 0) {
                at += 1;
                continue;
            }
            let mut reach = 0;
            let first = self.table.partition_point(|(gram, _, _)| *gram < key);
            let same = self.table.iter().skip(first);
            for (_, index, from) in same.take_while(|(gram, _, _)| *gram == key) {
                let (Ok(index), Ok(from)) = (usize::try_from(*index), usize::try_from(*from))
                else {
                    continue;
                };
                let Some((secret, form)) = self.forms.get(index) else {
                    continue;
                };
                let (left, right) = run(text, at, &form.bytes, from);
                if self.counts(form, from - left, from + right) {
                    hits.push(Hit {
                        start: view.span(at - left).0,
                        end: view.span(at + right - 1).1,
                        secret: *secret,
                    });
                    reach = reach.max(at + right);
                }
            }
            // What lies within the run is covered; what begins in it may go on beyond it.
            at = (at + 1).max((reach + 1).saturating_sub(self.longest_min_run));
        }
    }

    /// Whether the bytes `from..to` of a form give the secret away.
    fn counts(&self, form: &Form, from: usize, to: usize) -> bool {
        if from == 0 && to == form.bytes.len() {
            return true;
        }
        if to.saturating_sub(from.max(form.public)) < form.min_run {
            return false;
        }
        let piece = form.bytes.get(from..to).unwrap_or_default();
        let mut seen = [false; 256];
        for byte in piece {
            if let Some(seen) = seen.get_mut(usize::from(*byte)) {
                *seen = true;
            }
        }
        if seen.iter().filter(|seen| **seen).count() < MIN_DISTINCT {
            return false;
        }
        let longest = self.phrases.iter().map(Vec::len).max().unwrap_or(0);
        if piece.len() > 2 * longest {
            return true;
        }
        let piece = squeeze(piece);
        let inside = |phrase: &Vec<u8>| {
            phrase.len() >= piece.len() && phrase.windows(piece.len().max(1)).any(|w| w == piece)
        };
        piece.is_empty() || !self.phrases.iter().any(inside)
    }

    /// Where in the original the end of the text begins that could go on as a secret; only ends of at least
    /// `min_tail` bytes of the view count.
    pub(super) fn open_tail(&self, view: &View<'_>, min_tail: usize) -> Option<usize> {
        let (text, end) = view.decided();
        let last = *text.last()?;
        if end.saturating_sub(view.span(text.len() - 1).1) > GAP {
            return None;
        }
        let mut longest = 0;
        for (_, form) in &self.forms {
            // The last byte of a form cannot go on.
            let open = form.bytes.split_last().map_or(&[][..], |(_, open)| open);
            for (at, byte) in open.iter().enumerate() {
                if *byte != last {
                    continue;
                }
                let known = open.get(..=at).unwrap_or_default();
                let same = known.iter().rev().zip(text.iter().rev());
                longest = longest.max(same.take_while(|(a, b)| a == b).count());
            }
        }
        (longest >= min_tail.max(1)).then(|| view.span(text.len() - longest).0)
    }
}

/// How many bytes agree to the left of, and from, `text[at]` and `form[from]`.
fn run(text: &[u8], at: usize, form: &[u8], from: usize) -> (usize, usize) {
    let left = text.get(..at).unwrap_or_default().iter().rev();
    let left = left.zip(form.get(..from).unwrap_or_default().iter().rev());
    let right = text.get(at..).unwrap_or_default().iter();
    let right = right.zip(form.get(from..).unwrap_or_default());
    (
        left.take_while(|(a, b)| a == b).count(),
        right.take_while(|(a, b)| a == b).count(),
    )
}

fn gram(bytes: &[u8], at: usize) -> Option<u64> {
    let gram = bytes.get(at..at + GRAM)?;
    gram.try_into().ok().map(u64::from_le_bytes)
}

fn filter_place(gram: u64, shift: u32) -> (usize, u64) {
    let hash = gram.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift;
    (
        usize::try_from(hash / 64).unwrap_or(usize::MAX),
        1 << (hash % 64),
    )
}
